//! One map from what the last attempt met to what the caller is told.

use std::time::Duration;

use super::{Destination, Rejection, attempt::Missed};
use crate::{
    ingo::Class,
    problem::Code,
    telemetry::Trail,
    upstream::{BadResponse, Failure},
};

/// What the caller is told where no attempt brought an answer.
pub(super) fn rejection(missed: Missed, trail: &Trail, destination: &Destination) -> Rejection {
    let upstream = destination.upstream.name();
    let (code, detail) = match missed {
        Missed::Held(rejection) => {
            return Rejection {
                sent: trail.sent(),
                ..rejection
            };
        }
        Missed::TimedOut => (
            Code::UpstreamTimeout,
            format!("{upstream} did not answer in time"),
        ),
        Missed::Unconnected(failure) | Missed::Unanswered(failure) => match failure {
            Failure::Unreachable(why) => (
                Code::UpstreamUnreachable,
                destination.upstream.unreached(why),
            ),
            Failure::Tls { timed_out } => (Code::UpstreamTls, no_tls(upstream, timed_out)),
            Failure::Reset => (
                Code::UpstreamReset,
                format!("the connection to {upstream} ended before its answer did"),
            ),
            Failure::BadResponse(why) => (Code::UpstreamBadResponse, bad_response(upstream, why)),
        },
    };
    let sent = trail.sent();
    let consequence = if trail.progress.written {
        assumption(destination.route.class())
    } else {
        "; nothing was sent"
    };
    Rejection {
        code,
        sent,
        detail: format!("{detail}{consequence}").into(),
        retry_after: None,
        caller_gone: false,
        invalid: None,
    }
}

/// What the caller is told where an upstream is left alone.
pub(super) fn circuit_open(upstream: &str, left: Duration) -> Rejection {
    let seconds = left.as_millis().div_ceil(1_000).max(1);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let detail = format!(
        "{upstream} could not be connected to several times in a row and is left alone for a moment"
    );
    Rejection::try_again(Code::CircuitOpen, detail, seconds)
}

/// What Ingo documents is to be assumed where no answer came (protocol.md §4).
fn assumption(class: Class) -> &'static str {
    match class {
        Class::PushMoney => {
            "; Ingo may have acted: for a push of money its documents say to assume success until it is known, and never to send the same payment under another id"
        }
        Class::PullMoney => {
            "; Ingo may have acted: for a pull of money its documents say to assume failure until it is known, and never to send the same payment under another id"
        }
        Class::KeyedByHeader => "; Ingo may have acted: ask again with the same Idempotency-Key",
        Class::KeyedByBody => {
            "; Ingo may have acted: ask again with the same identifying value in the body"
        }
        Class::Unkeyed => {
            "; Ingo may have acted, and documents no way to recognise a repeat: ask your integration manager"
        }
    }
}

fn no_tls(upstream: &str, timed_out: bool) -> String {
    let why = if timed_out { "took too long" } else { "failed" };
    format!(
        "the TLS handshake with {upstream} {why}; check its certificate, the trusted roots (upstream.ca_file) and this host's clock"
    )
}

fn bad_response(upstream: &str, why: BadResponse) -> String {
    let why = match why {
        BadResponse::Malformed => "it is not HTTP/1.1",
        BadResponse::Framing => {
            "where its body ends is not certain, because its Transfer-Encoding is not chunked alone or stands beside a Content-Length; check the gateways on the way"
        }
        BadResponse::TooLarge => "its body is larger than upstream.max_response_bytes",
        BadResponse::NoMemory => {
            "the proxy holds as many bytes of bodies as limits.buffered_bytes allows"
        }
    };
    format!("{upstream} answered and the answer cannot be passed on: {why}")
}
