//! The way to Ingo: resolve, connect, reuse, send one attempt and read its answer whole.
//!
//! Always HTTP/1.1, because the signature names the version. Nothing here signs, retries or knows a route; what it
//! must get right is [`Progress::written`](crate::telemetry::Progress::written): after the first byte an honest proxy can no longer say that Ingo did not act.

mod breaker;
mod dial;
mod endpoint;
mod examine;
mod handshake;
mod roots;
mod send;
mod skew;
mod tunnel;
mod unreached;

use std::{collections::HashMap, sync::Arc};

use pingora::connectors::{ConnectorOptions, http::v1::Connector};

pub use self::{
    endpoint::{Freshness, Upstream},
    examine::{Reached, Request, Unanswered},
    handshake::{Certificate, Distrust, Handshake, Roots},
    roots::RootsError,
    send::{Answer, BadResponse, Connection, Failure, NotConnected, Unreachable},
};
use crate::{
    config::{Config, Origin},
    retry::Budget,
};

/// Every upstream of a configuration, over one pool of connections.
#[derive(Debug)]
pub struct Upstreams(HashMap<Origin, Arc<Upstream>>);

impl Upstreams {
    /// Prepares every upstream that `config` names. Connects to none of them.
    ///
    /// # Errors
    /// [`RootsError`] where an upstream speaks TLS and there is nothing to verify it with.
    pub fn new(config: &Config) -> Result<Self, RootsError> {
        let settings = &config.upstream;
        let repeats = &config.safety.repeats;
        let budget = Budget::full(repeats.budget, f64::from(repeats.budget_percent) / 100.0);
        let any_tls = config.routes.iter().any(|r| r.upstream.tls);
        let mut options = ConnectorOptions::new(settings.idle_connections);
        options.ca_file = roots::check(settings.ca_file.as_deref(), any_tls)?;
        let connector = Arc::new(Connector::new(Some(options)));
        let mut upstreams = HashMap::new();
        for route in &config.routes {
            upstreams.entry(route.upstream.clone()).or_insert_with(|| {
                Arc::new(Upstream::new(
                    &route.upstream,
                    settings,
                    config.safety.circuit_breaker,
                    budget,
                    &connector,
                ))
            });
        }
        Ok(Self(upstreams))
    }

    /// The upstream at `origin`, which a route of the configuration must name.
    pub fn at(&self, origin: &Origin) -> Arc<Upstream> {
        self.0
            .get(origin)
            .expect("every route's upstream was prepared from the same configuration")
            .clone()
    }

    /// Every upstream.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }

    /// Looks every host up once, so that the first exchange need not wait for it.
    pub async fn warm_up(&self) {
        for upstream in self.0.values() {
            upstream.resolve().await;
        }
    }
}
