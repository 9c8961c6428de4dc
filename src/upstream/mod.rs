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

use std::{collections::HashMap, fmt, sync::Arc};

use pingora::connectors::{ConnectorOptions, http::v1::Connector};

pub use self::{
    endpoint::{Freshness, Upstream},
    examine::{Reached, Request, Unanswered},
    handshake::{Certificate, Distrust, Handshake, Roots},
    roots::RootsError,
    send::{Answer, BadResponse, Connection, Failure, NotConnected, Unreachable},
};
use crate::{
    config::{CircuitBreaker, Config, Origin, Repeats, UpstreamConfig},
    retry::Budget,
};

/// Every upstream of a configuration, over one pool of connections.
pub struct Upstreams {
    by_origin: HashMap<Origin, Arc<Upstream>>,
    connector: Arc<Connector>,
    settings: Settings,
}

/// What decides how upstreams are spoken to, besides where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    upstream: UpstreamConfig,
    circuit_breaker: CircuitBreaker,
    repeats: Repeats,
    /// Whether roots are needed.
    any_tls: bool,
}

impl Upstreams {
    /// Prepares every upstream that `config` names. Connects to none of them.
    ///
    /// What `former` has and what is spoken to as before is kept, with its connections and what is known of it.
    ///
    /// # Errors
    /// [`RootsError`] where an upstream speaks TLS and there is nothing to verify it with.
    pub fn new(config: &Config, former: Option<&Self>) -> Result<Self, RootsError> {
        let settings = Settings {
            upstream: config.upstream.clone(),
            circuit_breaker: config.safety.circuit_breaker,
            repeats: config.safety.repeats,
            any_tls: config.routes.iter().any(|r| r.upstream.tls),
        };
        let former = former.filter(|former| former.settings == settings);
        let connector = match former {
            Some(former) => former.connector.clone(),
            None => settings.connector()?,
        };
        let mut by_origin = HashMap::new();
        for route in &config.routes {
            let origin = &route.upstream;
            by_origin.entry(origin.clone()).or_insert_with(|| {
                let known = former.and_then(|former| former.by_origin.get(origin));
                known
                    .cloned()
                    .unwrap_or_else(|| Arc::new(settings.upstream_at(origin, &connector)))
            });
        }
        Ok(Self {
            by_origin,
            connector,
            settings,
        })
    }

    /// The upstream at `origin`, which a route of the configuration must name.
    pub fn at(&self, origin: &Origin) -> Arc<Upstream> {
        self.by_origin
            .get(origin)
            .expect("every route's upstream was prepared from the same configuration")
            .clone()
    }

    /// Every upstream.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.by_origin.values()
    }

    /// Looks every host up once, so that the first exchange need not wait for it.
    pub async fn warm_up(&self) {
        for upstream in self.by_origin.values() {
            upstream.resolve().await;
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_origin.values()).finish()
    }
}

impl Settings {
    fn connector(&self) -> Result<Arc<Connector>, RootsError> {
        let mut options = ConnectorOptions::new(self.upstream.idle_connections);
        options.ca_file = roots::check(self.upstream.ca_file.as_deref(), self.any_tls)?;
        Ok(Arc::new(Connector::new(Some(options))))
    }

    fn upstream_at(&self, origin: &Origin, connector: &Arc<Connector>) -> Upstream {
        let earned = f64::from(self.repeats.budget_percent) / 100.0;
        let budget = Budget::full(self.repeats.budget, earned);
        Upstream::new(
            origin,
            &self.upstream,
            self.circuit_breaker,
            budget,
            connector,
        )
    }
}
