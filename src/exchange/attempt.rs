//! The third stage: attempts, until one brings an answer or the decision says stop.
//!
//! Each attempt is signed afresh, after a connection is there, so that its date is that of its first byte. The body's
//! digest and the `Idempotency-Key` are the same for all.

use http::HeaderValue;
use pingora::http::RequestHeader;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Proxy, Rejection, admit::Admitted, body::Body, failure};
use crate::{
    bounds::Reservation,
    ingo::Route,
    problem::Code,
    retry::{Decision, Evidence, decide},
    signing::{BodyDigest, Unsigned},
    telemetry::{Phase, Trail},
    upstream::Answer,
};

/// What we say we are (RFC 9110 §10.1.5).
const USER_AGENT: &str = concat!("ingo-signing-proxy/", env!("CARGO_PKG_VERSION"));

/// A request that has everything but a signature.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    admitted: Admitted<'a>,
    key: HeaderValue,
    body: Body,
    digest: BodyDigest,
}

impl<'a> Keyed<'a> {
    /// Fixes the `Idempotency-Key` for all attempts: the caller's own, or a new V4 UUID.
    pub(super) fn new(admitted: Admitted<'a>, body: Body, trail: &mut Trail) -> Self {
        trail.progress.stopwatch.enter(Phase::Sign);
        let key = admitted
            .idempotency_key
            .clone()
            .unwrap_or_else(|| uuid::Uuid::new_v4().as_hyphenated().to_string());
        let value = HeaderValue::from_str(&key)
            .expect("a caller's key was checked to be visible ASCII, and so is a UUID");
        trail.idempotency_key = Some(key);
        let digest = BodyDigest::of(&body.bytes);
        Self {
            admitted,
            key: value,
            body,
            digest,
        }
    }

    /// What the exchange holds of the memory budget.
    pub(super) fn into_memory(self) -> Reservation {
        self.body.memory
    }
}

impl Proxy {
    /// Brings Ingo's answer.
    pub(super) async fn attempts(
        &self,
        keyed: &mut Keyed<'_>,
        deadline: Instant,
        trail: &mut Trail,
    ) -> Result<Answer, Rejection> {
        let route = keyed.admitted.destination.route;
        loop {
            trail.attempts += 1;
            let result = self.attempt(keyed, deadline, trail).await;
            self.metrics.attempt(route, result.is_ok());
            let evidence = Evidence {
                class: route.class(),
                written: trail.progress.written,
                attempts: trail.attempts,
            };
            match decide(evidence) {
                Decision::Stop => return result,
                Decision::Repeat { after } => sleep(after).await,
            }
        }
    }

    async fn attempt(
        &self,
        keyed: &mut Keyed<'_>,
        deadline: Instant,
        trail: &mut Trail,
    ) -> Result<Answer, Rejection> {
        let destination = keyed.admitted.destination;
        let upstream = &destination.upstream;
        let connecting = upstream.connect(&mut trail.progress);
        let connection = timeout_at(deadline, connecting)
            .await
            .map_err(|_| deadline_exceeded())?
            .map_err(|f| failure::rejection(f, trail, upstream.name()))?;

        trail.progress.stopwatch.enter(Phase::Sign);
        let request = self.signed(keyed).map_err(|_| unbuildable())?;

        let limit = deadline.min(Instant::now() + destination.attempt_timeout);
        let body = keyed.body.bytes.clone();
        let sending = upstream.send(
            connection,
            request,
            body,
            limit,
            &mut keyed.body.memory,
            &mut trail.progress,
        );
        match timeout_at(limit, sending).await {
            Ok(result) => result.map_err(|f| failure::rejection(f, trail, upstream.name())),
            Err(_) => Err(failure::timed_out(trail, upstream.name())),
        }
    }

    /// The request as it goes up, signed now: the fields that product.md names, and no others.
    fn signed(&self, keyed: &Keyed<'_>) -> pingora::Result<Box<RequestHeader>> {
        let destination = keyed.admitted.destination;
        let mut request = RequestHeader::build("POST", &keyed.admitted.target, Some(16))?;
        let signed = self.credential.signer.sign(
            Unsigned {
                method: request.method.as_str(),
                // What will be written, not what we asked for: the two cannot part.
                target: request.raw_path(),
                digest: &keyed.digest,
            },
            self.clock.now(),
        );
        request.append_header("Host", destination.upstream.authority())?;
        request.append_header("X-Date", signed.x_date.as_str())?;
        request.append_header("Content-Type", signed.content_type)?;
        request.append_header("Content-sha512", signed.content_sha512.as_str())?;
        request.append_header("Content-Length", signed.content_length.as_str())?;
        request.append_header("Authorization", sensitive(&signed.authorization)?)?;
        request.append_header("Idempotency-Key", &keyed.key)?;
        request.append_header("User-Agent", USER_AGENT)?;
        if destination.route == Route::Banking
            && let Some(api_key) = &self.credential.api_key
        {
            request.append_header("api_key", api_key)?;
        }
        for (name, value) in &keyed.admitted.forwarded {
            request.append_header(name.clone(), value)?;
        }
        Ok(Box::new(request))
    }
}

/// A value that debug output hides.
fn sensitive(value: &str) -> pingora::Result<HeaderValue> {
    use pingora::{ErrorType, OrErr as _};
    let mut value = HeaderValue::from_str(value)
        .or_err(ErrorType::InvalidHTTPHeader, "building Authorization")?;
    value.set_sensitive(true);
    Ok(value)
}

fn deadline_exceeded() -> Rejection {
    Rejection::try_again(
        Code::DeadlineExceeded,
        "the deadline passed before a connection to Ingo was there, so nothing was sent",
        1,
    )
}

/// Cannot happen with a target that Pingora itself parsed; if it does, nothing was sent.
fn unbuildable() -> Rejection {
    Rejection::unsent(
        Code::Internal,
        "the request to Ingo could not be built, so nothing was sent",
    )
}
