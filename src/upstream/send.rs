//! One attempt: take a connection, write the request, read the answer whole, give the connection back.
//!
//! Every failure says what is known, in the terms of `product.md`; whether bytes were written is kept apart in [`Progress`],
//! outside this future, so that it survives a time-out, a dropped future and a panic.

use std::{borrow::Cow, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, StatusCode, Version};
use pingora::{
    Error, ErrorType, protocols::Stream, protocols::http::v1::client::HttpSession, tls::RusTlsError,
};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    Answer, Freshness, Upstream,
    answer::announced,
    breaker::Permit,
    connections::Busy,
    dial::{RESOLVE_FAILED, TCP_TIMED_OUT},
    endpoint::Endpoint,
    idle::is_quiet,
    roots::Pool,
    tunnel::{PROXY_PASSWORD, PROXY_REFUSED, PROXY_UNINTELLIGIBLE},
};
use crate::{
    bounds::{Parts, Reservation},
    message::{self, Head},
    telemetry::{Phase, Progress, Stopwatch, waits},
};

/// Of an attempt's time, so much is left for an answer that came while the request was still being written.
const EARLY_ANSWER: Duration = Duration::from_millis(250);
/// An upstream may send interim answers (RFC 9110 §15.2), but not for ever.
const MAX_INTERIM_ANSWERS: usize = 16;

/// A request, and what of its answer is wanted.
pub struct Outgoing<'a> {
    /// The head.
    pub head: Head,
    /// The body.
    pub body: Bytes,
    /// The fields of the answer's head that are kept: a copy of all would cost more than reading them did.
    pub asked_for: &'a [HeaderName],
}

/// A connection to an upstream, for one attempt.
pub struct Connection<'a> {
    stream: Stream,
    /// It idles longer than its endpoint's may if nothing is sent by then.
    until: Instant,
    /// The pool that it came from and goes back to: what is verified otherwise since is not mixed with it.
    pool: Arc<Pool>,
    endpoint: &'a Endpoint,
    _place: OwnedSemaphorePermit,
    _busy: Busy,
}

impl Connection<'_> {
    /// Whether it can still be used: it has not idled for too long, and the upstream has neither ended it nor said anything unasked.
    pub fn is_good(&mut self) -> bool {
        Instant::now() < self.until && is_quiet(&mut self.stream)
    }
}

/// Why an attempt brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection was made.
    Unreachable(Unreachable),
    /// The TLS handshake failed, or took too long where `timed_out`.
    Tls {
        /// Whether the handshake took too long.
        timed_out: bool,
    },
    /// The connection ended before the answer did.
    Reset,
    /// An answer came that cannot be passed on.
    BadResponse(BadResponse),
}

/// Why there is no connection for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotConnected {
    /// As many attempts run as may.
    Busy,
    /// It could not be connected to several times in a row; how long it is left alone.
    CircuitOpen(Duration),
    /// It was tried, and failed.
    Failed(Failure),
}

/// Why no connection was made: to the upstream, or to [the proxy on the way to it](Upstream::proxy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host name could not be resolved.
    Resolve,
    /// Nothing listens there.
    Refused,
    /// Nothing answered in time.
    TimedOut,
    /// There is no route, or the system refused.
    Other,
    /// The proxy answered with this status, which is none of success.
    ProxyRefused(u16),
    /// What the proxy answered, if anything, is no answer.
    ProxyUnintelligible,
    /// The password for the proxy could not be read.
    ProxyPassword,
}

impl BadResponse {
    /// What is wrong, in one word for the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::Framing => "Framing",
            Self::TooLarge => "TooLarge",
            Self::NoMemory => "NoMemory",
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadResponse {
    /// It is not HTTP/1.1.
    Malformed,
    /// Its Transfer-Encoding is not `chunked` alone, or stands beside a Content-Length.
    Framing,
    /// Its body is larger than `upstream.max_response_bytes`.
    TooLarge,
    /// There was no memory left for it within `limits.buffered_bytes`.
    NoMemory,
}

impl Upstream {
    /// Takes a pooled connection or makes one.
    ///
    /// # Errors
    /// [`NotConnected`]; nothing was written then.
    pub async fn connect(
        &self,
        freshness: Freshness,
        progress: &mut Progress,
    ) -> Result<Connection<'_>, NotConnected> {
        let now = progress.stopwatch.enter(Phase::Connect);
        let place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| NotConnected::Busy)?;
        let endpoint = self.endpoint(freshness);
        let pool = self.pool.now();
        // Also while a connection is made, which is open before it can be used.
        let busy = self.connections.busy();
        let (stream, until) = if let Some(pooled) = pool.idle.take(endpoint.key(), now.into()) {
            progress.stopwatch.works();
            pooled
        } else {
            let permit = self
                .breaker
                .permit(now)
                .map_err(NotConnected::CircuitOpen)?;
            // Boxed: connecting is rare and its future large.
            let stream = Box::pin(self.made(&pool, endpoint, permit, progress))
                .await
                .map_err(NotConnected::Failed)?;
            (stream, Instant::now() + endpoint.idles_for())
        };
        Ok(Connection {
            _busy: busy,
            stream,
            until,
            pool,
            endpoint,
            _place: place,
        })
    }

    /// Makes a connection, and tells the breaker and the stopwatch how that went.
    async fn made(
        &self,
        pool: &Pool,
        endpoint: &Endpoint,
        mut permit: Permit<'_>,
        progress: &mut Progress,
    ) -> Result<Stream, Failure> {
        let made = self
            .dialer()
            .first(|address| {
                permit.begin(Instant::now().into_std());
                async move {
                    let endpoint = endpoint.at(address);
                    pool.connector.new_stream(&endpoint).await
                }
            })
            .await;
        let stopwatch = &mut progress.stopwatch;
        stopwatch.stop();
        let stream = match made {
            Ok(stream) => stream,
            Err(error) => {
                permit.failed(Instant::now().into_std());
                let failure = connect_failure(&error);
                if matches!(failure, Failure::Tls { .. }) {
                    // TCP has no part in it that would be worth telling apart.
                    stopwatch.reassign(Phase::Connect, Phase::Tls, Duration::MAX);
                }
                // Nothing of a request was written, so nothing of one can be quoted.
                progress.cause = Some(error.to_string());
                return Err(failure);
            }
        };
        permit.connected();
        if let Some(Some(tls)) = stream.get_timing_digest().get(1)
            && let Some(spent) = tls.establishment_duration
        {
            stopwatch.reassign(Phase::Connect, Phase::Tls, spent);
        }
        Ok(stream)
    }

    /// Writes a request and reads the answer; `memory` grows by what is read. The caller drops this at `limit`.
    ///
    /// # Errors
    /// [`Failure::Reset`] or [`Failure::BadResponse`]. [`Progress::written`] is set before the first byte is written.
    pub async fn send(
        &self,
        connection: Connection<'_>,
        outgoing: Outgoing<'_>,
        limit: Instant,
        memory: &mut Reservation,
        progress: &mut Progress,
    ) -> Result<Answer, Failure> {
        let Connection {
            mut stream,
            until: _,
            pool,
            endpoint,
            _place,
            _busy,
        } = connection;
        let began = progress.stopwatch.enter(Phase::Send);
        progress.written = true;
        // A server may answer before it has read everything, then stop reading or close: its answer says more than our failed
        // write does.
        let spare = limit.saturating_duration_since(began.into()) / 4;
        let mut waited = Duration::ZERO;
        let written = {
            let head = outgoing.head.into_wire();
            let writing = pin!(message::write(&mut stream, &head, &outgoing.body));
            let writing = waits(writing, &mut waited);
            let written = timeout_at(limit - spare.min(EARLY_ANSWER), writing).await;
            matches!(written, Ok(Ok(())))
        };
        progress.stopwatch.enter(Phase::FirstByte);
        progress.stopwatch.waited(waited);
        let mut session = HttpSession::new(stream);
        let head = read_head(&mut session, outgoing.asked_for, &mut progress.stopwatch).await;
        let mut answer = match head {
            Ok(answer) => answer,
            Err(failed) => return Err(failed.told(written, progress)),
        };
        answer.body = match self.read_body(&mut session, memory).await {
            Ok(body) => body,
            Err(failed) => return Err(failed.told(true, progress)),
        };
        self.breaker.answered(answer.head_at);
        if written {
            session.respect_keepalive();
            if let Some(stream) = session.reuse().await {
                let since = answer.head_at.into();
                (pool.idle).put(endpoint.key(), stream, since, endpoint.idles_for());
            }
        }
        Ok(answer)
    }

    async fn read_body(
        &self,
        session: &mut HttpSession,
        memory: &mut Reservation,
    ) -> Result<Bytes, Failed> {
        let length = session.resp_header().and_then(announced);
        if length.is_some_and(|length| length > self.max_response_bytes as u64) {
            // What is known from its head is not waited for.
            return Err(Failed::here(BadResponse::TooLarge));
        }
        let mut parts = Parts::default();
        while let Some(part) = session
            .read_body_bytes()
            .await
            .map_err(|e| Failed::reading(&e))?
        {
            if parts.len() + part.len() > self.max_response_bytes {
                return Err(Failed::here(BadResponse::TooLarge));
            }
            memory
                .grow_for_answer(part.len())
                .map_err(|_| Failed::here(BadResponse::NoMemory))?;
            parts.push(part);
        }
        Ok(parts.into_bytes())
    }
}

/// Reads the head of the final answer, past interim ones, and keeps what is `asked_for`; the body is still to be read.
async fn read_head(
    session: &mut HttpSession,
    asked_for: &[HeaderName],
    stopwatch: &mut Stopwatch,
) -> Result<Answer, Failed> {
    for _ in 0..MAX_INTERIM_ANSWERS {
        session
            .read_response()
            .await
            .map_err(|e| Failed::reading(&e))?;
        let Some(head) = session.resp_header() else {
            break;
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS || head.version > Version::HTTP_11 {
            break;
        }
        if !head.status.is_informational() {
            let head_at = stopwatch.enter(Phase::ReadResponse);
            let raw = session.get_headers_raw_bytes();
            return Answer::begun(head, &raw, asked_for, head_at).map_err(Failed::here);
        }
    }
    Err(Failed::here(BadResponse::Malformed))
}

pub(super) fn connect_failure(error: &Error) -> Failure {
    match error.etype() {
        e if *e == RESOLVE_FAILED => Failure::Unreachable(Unreachable::Resolve),
        e if *e == TCP_TIMED_OUT => Failure::Unreachable(Unreachable::TimedOut),
        ErrorType::CustomCode(PROXY_REFUSED, status) => {
            Failure::Unreachable(Unreachable::ProxyRefused(*status))
        }
        e if *e == PROXY_UNINTELLIGIBLE => Failure::Unreachable(Unreachable::ProxyUnintelligible),
        e if *e == PROXY_PASSWORD => Failure::Unreachable(Unreachable::ProxyPassword),
        ErrorType::ConnectRefused => Failure::Unreachable(Unreachable::Refused),
        // See `TCP_TIMED_OUT`: what Pingora times itself is the handshake.
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
            Failure::Tls { timed_out: true }
        }
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSWantX509Lookup
        | ErrorType::HandshakeError
        | ErrorType::InvalidCert => Failure::Tls { timed_out: false },
        _ => Failure::Unreachable(Unreachable::Other),
    }
}

/// Why an answer could not be read.
struct Failed {
    failure: Failure,
    /// For the log: Pingora's name for it. Its error's text would quote the answer.
    cause: Cow<'static, str>,
}

/// The alert by which an upstream ended TLS, if it did. In TLS 1.3 it hears of our certificate only after the handshake, when
/// the request has been written.
fn tls_alert(error: &Error) -> Option<Cow<'static, str>> {
    let io = error.root_cause().downcast_ref::<std::io::Error>()?;
    let tls = io.get_ref()?.downcast_ref::<RusTlsError>()?;
    match tls {
        RusTlsError::AlertReceived(alert) => Some(format!("tls alert: {alert:?}").into()),
        _ => None,
    }
}

impl Failed {
    fn here(why: BadResponse) -> Self {
        Self {
            failure: Failure::BadResponse(why),
            cause: why.as_str().into(),
        }
    }

    fn reading(error: &Error) -> Self {
        if let Some(alert) = tls_alert(error) {
            return Self {
                failure: Failure::Reset,
                cause: alert,
            };
        }
        let failure = match error.etype() {
            ErrorType::ConnectionClosed
            | ErrorType::ReadError
            | ErrorType::ReadTimedout
            | ErrorType::Custom("PrematureBodyEnd") => Failure::Reset,
            _ => Failure::BadResponse(BadResponse::Malformed),
        };
        Self {
            failure,
            cause: error.etype().as_str().into(),
        }
    }

    /// What it comes to, where the request was `written` whole or not.
    fn told(self, written: bool, progress: &mut Progress) -> Failure {
        progress.cause = Some(self.cause.into_owned());
        if written {
            self.failure
        } else {
            Failure::Reset
        }
    }
}
