//! One attempt: take a connection, write the request, read the answer whole, give the connection back.
//!
//! Every failure says what is known, in the terms of `product.md`; whether bytes were written is kept apart in [`Progress`],
//! outside this future, so that it survives a time-out, a dropped future and a panic.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use pingora::{Error, ErrorType, http::RequestHeader, protocols::http::v1::client::HttpSession};

use super::{
    Upstream,
    dial::{RESOLVE_FAILED, TCP_TIMED_OUT},
};
use crate::{
    bounds::Reservation,
    telemetry::{Phase, Progress},
};

/// An upstream may send interim answers (RFC 9110 §15.2), but not for ever.
const MAX_INTERIM_ANSWERS: usize = 16;

/// Ingo's answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// All header fields, as received.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
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

/// Why no connection was made.
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
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadResponse {
    /// It is not HTTP/1.1.
    Malformed,
    /// Its body is larger than `upstream.max_response_bytes`.
    TooLarge,
    /// There was no memory left for it within `limits.buffered_bytes`.
    NoMemory,
}

impl Upstream {
    /// Takes a pooled connection or makes one.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] or [`Failure::Tls`]; nothing was written then.
    pub async fn connect(&self, progress: &mut Progress) -> Result<HttpSession, Failure> {
        progress.stopwatch.enter(Phase::Connect);
        let found = self.connector.get_http_session(&self.endpoint).await;
        progress.stopwatch.stop();
        let (mut session, reused) = found.map_err(|error| connect_failure(&error))?;
        if !reused
            && let Some(Some(tls)) = session.digest_mut().timing_digest.get(1)
            && let Some(spent) = tls.establishment_duration
        {
            progress
                .stopwatch
                .reassign(Phase::Connect, Phase::Tls, spent);
        }
        Ok(session)
    }

    /// Writes `request` and `body` and reads the answer; `memory` grows by what is read.
    ///
    /// # Errors
    /// [`Failure::Reset`] or [`Failure::BadResponse`]. [`Progress::written`] is set before the first byte is written.
    pub async fn send(
        &self,
        mut session: HttpSession,
        request: Box<RequestHeader>,
        body: Bytes,
        memory: &mut Reservation,
        progress: &mut Progress,
    ) -> Result<Answer, Failure> {
        progress.stopwatch.enter(Phase::Send);
        progress.written = true;
        let written = write(&mut session, request, &body).await;
        // A server may answer and close before it has read everything: its answer says more than our failed write does.
        progress.stopwatch.enter(Phase::FirstByte);
        let (status, headers) = match read_head(&mut session).await {
            Ok(head) => head,
            Err(_) if written.is_err() => return Err(Failure::Reset),
            Err(failure) => return Err(failure),
        };
        progress.stopwatch.enter(Phase::ReadResponse);
        let body = self.read_body(&mut session, memory).await?;
        if written.is_ok() {
            self.connector
                .release_http_session(session, &self.endpoint, Some(self.idle_timeout))
                .await;
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    async fn read_body(
        &self,
        session: &mut HttpSession,
        memory: &mut Reservation,
    ) -> Result<Bytes, Failure> {
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(part) = session
            .read_body_bytes()
            .await
            .map_err(|e| read_failure(&e))?
        {
            if whole.len() + joined.len() + part.len() > self.max_response_bytes {
                return Err(Failure::BadResponse(BadResponse::TooLarge));
            }
            memory
                .grow_for_answer(part.len())
                .map_err(|_| Failure::BadResponse(BadResponse::NoMemory))?;
            // Most answers come in one part, which is then passed on without a copy.
            if whole.is_empty() && joined.is_empty() {
                whole = part;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut whole));
                joined.extend_from_slice(&part);
            }
        }
        Ok(if joined.is_empty() {
            whole
        } else {
            joined.freeze()
        })
    }
}

async fn write(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
    body: &Bytes,
) -> pingora::Result<()> {
    session.write_request_header(request).await?;
    if !body.is_empty() {
        session.write_body(body).await?;
    }
    session.finish_body().await?;
    Ok(())
}

/// Reads the head of the final answer, past interim ones.
async fn read_head(session: &mut HttpSession) -> Result<(StatusCode, HeaderMap), Failure> {
    for _ in 0..MAX_INTERIM_ANSWERS {
        session
            .read_response()
            .await
            .map_err(|e| read_failure(&e))?;
        let Some(head) = session.resp_header() else {
            break;
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS || head.version > Version::HTTP_11 {
            break;
        }
        if !head.status.is_informational() {
            let codings = head.headers.get_all(header::TRANSFER_ENCODING);
            if codings
                .iter()
                .any(|c| !c.as_bytes().eq_ignore_ascii_case(b"chunked"))
            {
                // What is not decoded cannot be passed on as if it were the body.
                break;
            }
            return Ok((head.status, head.headers.clone()));
        }
    }
    Err(Failure::BadResponse(BadResponse::Malformed))
}

fn connect_failure(error: &Error) -> Failure {
    match error.etype() {
        e if *e == RESOLVE_FAILED => Failure::Unreachable(Unreachable::Resolve),
        e if *e == TCP_TIMED_OUT => Failure::Unreachable(Unreachable::TimedOut),
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

fn read_failure(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectionClosed
        | ErrorType::ReadError
        | ErrorType::ReadTimedout
        | ErrorType::Custom("PrematureBodyEnd") => Failure::Reset,
        _ => Failure::BadResponse(BadResponse::Malformed),
    }
}
