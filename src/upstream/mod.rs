//! The way to Ingo: resolve, connect, reuse, send one attempt and read its answer whole.
//!
//! Always HTTP/1.1, because the signature names the version. Nothing here signs, retries or knows a route; what it
//! must get right is [`Progress::written`](crate::telemetry::Progress::written): after the first byte an honest proxy can no longer say that Ingo did not act.

mod answer;
mod breaker;
mod connections;
mod dial;
mod endpoint;
mod examine;
mod handshake;
mod idle;
mod roots;
mod send;
mod skew;
mod tunnel;
mod unreached;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use pingora::time::fast_timeout::set_fast_timeout_to_tokio_threshold;

use self::roots::Pool;
pub use self::{
    answer::Answer,
    endpoint::{Freshness, Upstream},
    examine::{Reached, Request, Unanswered},
    handshake::{Certificate, Distrust, Handshake, Roots},
    idle::pool_apart,
    send::{BadResponse, Connection, Failure, NotConnected, Outgoing, Unreachable},
};
use crate::{
    config::{CircuitBreaker, Config, Origin, Repeats, UpstreamConfig},
    retry::Budget,
    tls::{Expiry, Renewed, Unusable},
    watch::Watching,
};

/// Every upstream of a configuration, over one pool of connections.
pub struct Upstreams {
    by_origin: HashMap<Origin, Arc<Upstream>>,
    pool: Arc<Renewed<Pool>>,
    /// Has the pool made anew when the files of TLS change.
    watching: Option<Arc<Watching>>,
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
    /// [`Unusable`] where an upstream speaks TLS and there is nothing to verify it with, or nothing good to show it.
    pub fn new(config: &Config, former: Option<&Self>) -> Result<Self, Unusable> {
        // Pingora keeps its timers by a thread that wakes a hundred times a second from the first of them on, for as long as the
        // process lives. Its time-outs of a second or more are tokio's instead. What is left to that thread are shorter ones, and how
        // long an HTTP/2 connection may idle, which is no time-out but a sleep.
        set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
        let settings = Settings {
            upstream: config.upstream.clone(),
            circuit_breaker: config.safety.circuit_breaker,
            repeats: config.safety.repeats,
            any_tls: config.routes.iter().any(|r| r.upstream.tls),
        };
        let former = former.filter(|former| former.settings == settings);
        let pool = match former {
            Some(former) => former.pool.clone(),
            None => settings.pool()?,
        };
        let mut by_origin = HashMap::new();
        for route in &config.routes {
            let origin = &route.upstream;
            by_origin.entry(origin.clone()).or_insert_with(|| {
                let known = former.and_then(|former| former.by_origin.get(origin));
                known
                    .cloned()
                    .unwrap_or_else(|| Arc::new(settings.upstream_at(origin, &pool)))
            });
        }
        Ok(Self {
            by_origin,
            pool,
            watching: former.and_then(|former| former.watching.clone()),
            settings,
        })
    }

    /// Has connections made by what is in the files of TLS, from the moment of a change.
    #[must_use]
    pub fn watched(mut self) -> Self {
        let pool = &self.pool;
        self.watching.get_or_insert_with(|| Arc::new(pool.watch()));
        self
    }

    /// When the certificates expire that connections are made with.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.pool.expiries()
    }

    /// What is wrong with the files of TLS now, for people.
    pub fn trouble(&self) -> Option<String> {
        self.pool.trouble()
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
    fn pool(&self) -> Result<Arc<Renewed<Pool>>, Unusable> {
        let files = roots::files(&self.upstream, self.any_tls);
        let (settings, any_tls) = (self.upstream.clone(), self.any_tls);
        Renewed::new(files, move |contents| {
            roots::pool(&settings, any_tls, contents)
        })
    }

    fn upstream_at(&self, origin: &Origin, pool: &Arc<Renewed<Pool>>) -> Upstream {
        let earned = f64::from(self.repeats.budget_percent) / 100.0;
        let budget = Budget::full(self.repeats.budget, earned);
        Upstream::new(origin, &self.upstream, self.circuit_breaker, budget, pool)
    }
}
