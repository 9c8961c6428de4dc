//! The stage between body and attempts: the `Idempotency-Key` and the digest, fixed for all attempts.

use std::sync::Arc;

use http::HeaderValue;

use super::{Proxy, admit::Admitted, body::Body, digests, keys::Scope, validate::Validated};
use crate::{
    bounds::Reservation,
    credentials::Credential,
    idempotency::{Asked, Deriver},
    ingo::Class,
    signing::BodyDigest,
    telemetry::{Phase, TENANT, Trail},
};

/// Where a key comes from that the caller did not send.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// A new V4 UUID per exchange.
    Generate,
    /// From what is asked, on routes where Ingo goes by the header.
    Derive(Deriver),
}

/// A request that has everything but a signature.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    pub(super) admitted: Admitted<'a>,
    pub(super) key: HeaderValue,
    pub(super) body: Body,
    pub(super) digest: BodyDigest,
    /// What to sign with instead of the current credential, once that was refused.
    pub(super) credential: Option<Arc<Credential>>,
    /// Whether another exchange may come with the same key: a generated one is nobody else's.
    recurring: bool,
}

impl Proxy {
    /// Fixes the key: the caller's own always wins.
    pub(super) async fn key<'a>(
        &self,
        admitted: Admitted<'a>,
        Validated(body): Validated,
        trail: &mut Trail,
    ) -> Keyed<'a> {
        trail.progress.stopwatch.enter(Phase::Sign);
        let route = admitted.destination.route;
        let (key, recurring) = match (&admitted.idempotency_key, &self.key_source) {
            (Some(own), _) => (own.clone(), true),
            (None, KeySource::Derive(deriver)) if route.class() == Class::KeyedByHeader => {
                let asked = Asked {
                    tenant: TENANT,
                    environment: &self.environment,
                    route,
                    body: &body.bytes,
                };
                (deriver.derive(asked).as_hyphenated().to_string(), true)
            }
            (None, _) => (uuid::Uuid::new_v4().as_hyphenated().to_string(), false),
        };
        let value = HeaderValue::from_str(&key)
            .expect("a caller's key was checked to be visible ASCII, and so is a UUID");
        trail.idempotency_key = Some(key);
        let running = self.lifecycle.running();
        let digest = digests::digest(&body.bytes, running, &mut trail.progress.stopwatch).await;
        Keyed {
            admitted,
            key: value,
            body,
            digest,
            credential: None,
            recurring,
        }
    }
}

impl Keyed<'_> {
    /// What a repeat of this very request means: where its body does not say what Ingo would recognise it by, nothing.
    pub(super) fn class(&self) -> Class {
        let class = self.admitted.destination.route.class();
        let by_body = class == Class::KeyedByBody || class.moves_money();
        if by_body && !self.body.identity.is_certain {
            Class::Unkeyed
        } else {
            class
        }
    }

    /// Under which name another exchange could meet this one; `None` where none can.
    pub(super) fn scope(&self) -> Option<Scope> {
        self.recurring.then(|| Scope {
            route: self.admitted.destination.route,
            key: String::from_utf8_lossy(self.key.as_bytes()).into_owned(),
        })
    }

    /// What the exchange holds of the memory budget.
    pub(super) fn into_memory(self) -> Reservation {
        self.body.memory
    }
}
