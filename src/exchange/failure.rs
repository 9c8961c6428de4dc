//! One map from what an attempt met to what the caller is told.

use super::Rejection;
use crate::{
    problem::Code,
    telemetry::Trail,
    upstream::{BadResponse, Failure, Unreachable},
};

/// What the caller is told of an attempt that brought no answer.
pub(super) fn rejection(failure: Failure, trail: &Trail, upstream: &str) -> Rejection {
    let (code, detail) = match failure {
        Failure::Unreachable(why) => {
            let (why, remedy) = match why {
                Unreachable::Resolve => (
                    "its name could not be resolved",
                    "check the name and this host's DNS",
                ),
                Unreachable::Refused => (
                    "the connection was refused",
                    "check that it runs and listens on this port",
                ),
                Unreachable::TimedOut => {
                    ("no address answered in time", "check routes and firewalls")
                }
                Unreachable::Other => {
                    ("the system could not connect", "check routes and firewalls")
                }
            };
            (
                Code::UpstreamUnreachable,
                format!("no connection to {upstream} was made: {why}; nothing was sent; {remedy}"),
            )
        }
        Failure::Tls { timed_out } => {
            let why = if timed_out { "took too long" } else { "failed" };
            (
                Code::UpstreamTls,
                format!(
                    "the TLS handshake with {upstream} {why}; nothing was sent; check its certificate, the trusted roots (upstream.ca_file) and this host's clock"
                ),
            )
        }
        Failure::Reset => (
            Code::UpstreamReset,
            format!(
                "the connection to {upstream} ended before its answer did, so Ingo may have acted"
            ),
        ),
        Failure::BadResponse(why) => {
            let why = match why {
                BadResponse::Malformed => "it is not HTTP/1.1",
                BadResponse::TooLarge => "its body is larger than upstream.max_response_bytes",
                BadResponse::NoMemory => {
                    "the proxy holds as many bytes of bodies as limits.buffered_bytes allows"
                }
            };
            (
                Code::UpstreamBadResponse,
                format!(
                    "{upstream} answered and the answer cannot be passed on: {why}; Ingo may have acted"
                ),
            )
        }
    };
    Rejection {
        code,
        sent: trail.sent(),
        detail: detail.into(),
        retry_after: None,
        caller_gone: false,
    }
}

/// What the caller is told where the answer did not come in time.
pub(super) fn timed_out(trail: &Trail, upstream: &str) -> Rejection {
    Rejection {
        code: Code::UpstreamTimeout,
        sent: trail.sent(),
        detail: format!("{upstream} did not answer in time, so Ingo may have acted").into(),
        retry_after: None,
        caller_gone: false,
    }
}
