//! The second stage: the caller's body, whole, within its limits and its deadline, and JSON.
//!
//! The bytes are kept as they came: what is digested is what is sent.

use std::future::Future;

use bytes::Bytes;
use pingora::{ErrorType, protocols::http::ServerSession};
use tokio::time::{Instant, timeout_at};

use super::{
    Proxy, Rejection,
    admit::Admitted,
    attempt::patience_lost,
    patience::{Lost, Patience},
    session::guards_refusal,
};
use crate::{
    bounds::{Parts, Reservation},
    ingo::{
        Facts, Identity, Members, Route,
        contract::{self, Finding},
        is_asked_for,
    },
    problem::Code,
    telemetry::{Phase, Trail},
};

/// A body that may be signed.
#[derive(Debug)]
pub(super) struct Body {
    /// The bytes, as they came.
    pub(super) bytes: Bytes,
    /// By what Ingo recognises a repeat, where the body tells (protocol.md §4).
    pub(super) identity: Identity,
    /// What it breaks of Ingo's documents, where the route says that this is looked at.
    pub(super) findings: Vec<Finding>,
    /// Whether it asks for a session with a `host_uri`, which Ingo may refuse with 401 as well (protocol.md §3).
    pub(super) has_host_uri: bool,
    /// The memory they are accounted with.
    pub(super) memory: Reservation,
}

impl Proxy {
    /// Reads the body of an admitted request.
    pub(super) async fn read_body(
        &self,
        session: &mut ServerSession,
        admitted: &Admitted<'_>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Result<Body, Rejection> {
        let now = Instant::from_std(trail.progress.stopwatch.enter(Phase::ReadBody));
        let limit = now + self.limits.body_deadline;
        if admitted.expects_continue && admitted.content_length != Some(0) {
            within(limit, patience, continue_reading(session)).await??;
        }
        let mut memory = self.memory.reserve();
        let bytes = within(limit, patience, self.collect(session, &mut memory)).await??;
        trail.progress.stopwatch.enter(Phase::Validate);
        trail.request_bytes = bytes.len();
        let members = Members::of_json(&bytes, is_asked_for)
            .map_err(|not| Rejection::unsent(Code::BodyNotJson, not.to_string()))?;
        let facts = Facts::of(&members);
        let route = admitted.destination.route;
        let findings = (admitted.destination.validation.as_ref())
            .map(|validation| contract::check_members(&members, validation.profile));
        trail.participant_unique_id1 =
            (!facts.participant_unique_id1.is_empty()).then(|| told(&facts.participant_unique_id1));
        Ok(Body {
            has_host_uri: route == Route::CreateSession && facts.has_host_uri,
            identity: facts.identity(route),
            bytes,
            findings: findings.unwrap_or_default(),
            memory,
        })
    }

    async fn collect(
        &self,
        session: &mut ServerSession,
        memory: &mut Reservation,
    ) -> Result<Bytes, Rejection> {
        let mut parts = Parts::default();
        while let Some(part) = read_part(session).await? {
            if parts.len() + part.len() > self.limits.body_bytes {
                return Err(self.body_too_large());
            }
            memory.grow_for_request(part.len()).map_err(|_| {
                overloaded(
                    "the proxy holds as many bytes of bodies as limits.buffered_bytes allows",
                )
            })?;
            parts.push(part);
        }
        Ok(parts.into_bytes())
    }
}

/// The values of one member, of which there should be one, as far as they are told in logs.
fn told(values: &[String]) -> String {
    const LONGEST: usize = 128;
    let joined = values.join(",");
    joined.chars().take(LONGEST).collect()
}

async fn read_part(session: &mut ServerSession) -> Result<Option<Bytes>, Rejection> {
    match session.read_request_body().await {
        Ok(part) => Ok(part),
        Err(error) => Err(guards_refusal(session).unwrap_or_else(|| unreadable(&error))),
    }
}

pub(super) fn overloaded(detail: &'static str) -> Rejection {
    Rejection::try_again(Code::Overloaded, detail, 1)
}

/// One limit for all of it, within the exchange's deadline: Pingora's own time-out starts anew with each byte, and HTTP/2 has none.
async fn within<T>(
    limit: Instant,
    patience: &Patience<'_>,
    reading: impl Future<Output = T>,
) -> Result<T, Rejection> {
    let end = limit.min(patience.begin_by);
    timeout_at(end, reading).await.map_err(|_| {
        if end < limit {
            patience_lost(Lost::Deadline)
        } else {
            too_slow()
        }
    })
}

fn too_slow() -> Rejection {
    Rejection::unsent(
        Code::BodyTimeout,
        "the body was not complete in time; the limit is limits.body_deadline",
    )
}

/// Tells a caller that waits for it to send the body (RFC 9110 §10.1.1). HTTP/2 callers do not wait in practice, and
/// Pingora cannot send an interim answer there.
async fn continue_reading(session: &mut ServerSession) -> Result<(), Rejection> {
    let kept = session.get_keepalive();
    let ServerSession::H1(http1) = session else {
        return Ok(());
    };
    http1
        .write_continue_response()
        .await
        .map_err(|e| unreadable(&e))?;
    // Pingora ends connections whose body was not read when an answer is written, and takes this for one.
    session.set_keepalive(kept);
    Ok(())
}

fn unreadable(error: &pingora::Error) -> Rejection {
    match error.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            Rejection::caller_gone("the connection ended before the body was complete")
        }
        ErrorType::ReadTimedout => too_slow(),
        _ => Rejection::unsent(Code::BadRequest, "the body's framing cannot be read"),
    }
}
