//! One upstream as Pingora sees it: how to connect to it, and which pooled connections are its own.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use pingora::{
    protocols::{ALPN, l4::socket::SocketAddr as PeerAddr},
    upstreams::peer::{Peer, PeerOptions, Tracer},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::{
    Answer,
    breaker::Breaker,
    connections::Connections,
    dial::{Dialer, KEEPALIVE},
    idle::Key,
    roots::Pool,
    skew::Skew,
    tunnel::Tunnel,
};
use crate::{
    config::{CircuitBreaker, Origin, UpstreamConfig},
    ingo::Class,
    retry::Budget,
    tls::Renewed,
};

/// An Ingo host, and the connections to it.
pub struct Upstream {
    pub(super) pool: Arc<Renewed<Pool>>,
    pub(super) breaker: Breaker,
    pub(super) places: Arc<Semaphore>,
    pub(super) connections: Connections,
    any_age: Endpoint,
    fresh: Endpoint,
    skew: Skew,
    pub(super) max_response_bytes: usize,
    authority: HeaderValue,
    name: String,
    dialer: Dialer,
    budget: Mutex<Budget>,
}

impl Upstream {
    pub(super) fn new(
        origin: &Origin,
        settings: &UpstreamConfig,
        breaker: CircuitBreaker,
        budget: Budget,
        pool: &Arc<Renewed<Pool>>,
    ) -> Self {
        let dialer = Dialer::new(origin, settings.proxy.as_ref(), settings.connect_timeout);
        let authority = origin.authority();
        let connections = Connections::default();
        Self {
            pool: pool.clone(),
            breaker: Breaker::new(authority.clone(), breaker),
            places: Arc::new(Semaphore::new(settings.attempts_in_flight)),
            any_age: Endpoint::new(
                origin,
                settings,
                settings.idle_timeout,
                &dialer,
                &connections,
            ),
            fresh: Endpoint::new(
                origin,
                settings,
                settings.idle_timeout.min(FRESH),
                &dialer,
                &connections,
            ),
            connections,
            skew: Skew::new(),
            budget: Mutex::new(budget),
            max_response_bytes: settings.max_response_bytes,
            authority: HeaderValue::from_str(&authority)
                .expect("a configured host is visible ASCII, so it is a header value"),
            name: authority,
            dialer,
        }
    }

    /// The value of `Host` in requests to it (RFC 9110 §7.2).
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Its name in logs: host, and port where it is not the scheme's own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port of its URL.
    pub fn host_and_port(&self) -> (&str, u16) {
        let origin = &self.any_age.fixed.origin;
        (&origin.host, origin.port)
    }

    /// The proxy on the way to it, host and port.
    pub fn proxy(&self) -> Option<&str> {
        Some(self.dialer.tunnel()?.proxy())
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Whether the proxy on the way to it is shown credentials.
    pub(super) fn shows_credentials(&self) -> bool {
        self.dialer.tunnel().is_some_and(Tunnel::has_credentials)
    }

    /// What repeats may still be made here: an outage of one upstream must not use up another's.
    pub fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock()
    }

    /// How long it is still left alone, if it is.
    pub fn circuit_open_for(&self) -> Option<Duration> {
        if !self.circuit_open() {
            return None;
        }
        self.breaker.left(Instant::now())
    }

    /// How long a call is still kept back that would need a connection made: where one is there to be used again, it would not. Where money
    /// moves it is kept back all the same: that connection may be as dead as the upstream, and a call that was written is one of which
    /// nobody knows what became.
    pub fn keeps_back_for(&self, freshness: Freshness) -> Option<Duration> {
        let left = self.circuit_open_for()?;
        let key = self.endpoint(freshness).key();
        let there =
            freshness == Freshness::AnyAge && self.pool.now().idle.has(key, Instant::now().into());
        (!there).then_some(left)
    }

    /// Whether it is left alone because it could not be connected to.
    pub fn circuit_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// How many connections to it wait to be used again, and how many are used.
    pub fn connections(&self) -> (usize, usize) {
        self.connections.idle_and_busy()
    }

    /// Its clock less ours, in seconds, as of its last answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.skew.measured()
    }

    /// Compares the `Date` of an answer with the time at which its head came, `age` before `now`: the difference in seconds.
    pub fn compare_clocks(&self, answer: &Answer, age: Duration, now: SystemTime) -> Option<i64> {
        let came = now.checked_sub(age).unwrap_or(now);
        self.skew.measure(answer.date()?, came)
    }

    /// What the upstream's clock says at `now`, as far as its answers tell.
    pub fn upstreams_time(&self, now: SystemTime) -> SystemTime {
        let skew = self.clock_skew().unwrap_or(0);
        let seconds = Duration::from_secs(skew.unsigned_abs());
        let moved = if skew < 0 {
            now.checked_sub(seconds)
        } else {
            now.checked_add(seconds)
        };
        moved.unwrap_or(now)
    }

    /// What is added to our clock before signing, in seconds.
    pub fn clock_correction(&self) -> i64 {
        self.skew.correction()
    }

    /// `now` as it is signed for this upstream.
    pub fn corrected(&self, now: SystemTime) -> SystemTime {
        self.skew.corrected(now)
    }

    /// Corrects the signing clock to `skew`, within `bound`, after a request signed with the correction `used` was refused for
    /// its date by an answer whose own `Date` told that skew; `None` where signing again would not help.
    pub fn correct_clock(&self, bound: Duration, skew: i64, used: i64) -> Option<i64> {
        self.skew.correct(bound, skew, used)
    }

    pub(super) fn endpoint(&self, freshness: Freshness) -> &Endpoint {
        match freshness {
            Freshness::AnyAge => &self.any_age,
            Freshness::Fresh => &self.fresh,
        }
    }

    /// Looks the host up, so that the first exchange need not wait for it. A failure is met again when connecting.
    pub(super) async fn resolve(&self) {
        if let Err(error) = self.dialer.addresses().await {
            tracing::warn!(upstream = self.name, %error, proxy = self.proxy(), "could not resolve the upstream, or the proxy on the way to it; exchanges fail until it resolves; check the name and this host's DNS");
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.name).finish()
    }
}

/// Which pooled connections may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Any that the pool holds: a dead one costs a repeat.
    AnyAge,
    /// One that idled for less than 5 s: where money moves, a dead one costs an unknown outcome.
    Fresh,
}

/// How long a connection for money may idle. Those connections are pooled apart, with this idle time-out.
const FRESH: Duration = Duration::from_secs(5);

impl Freshness {
    /// What calls of that class may use.
    pub fn of(class: Class) -> Self {
        if class.moves_money() {
            Self::Fresh
        } else {
            Self::AnyAge
        }
    }
}

/// What Pingora asks of a peer. Peers have one address, ours have as many as the resolver says: until it is [at](Self::at) one of
/// them, that of an endpoint means nothing.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    fixed: Arc<Fixed>,
    address: PeerAddr,
}

#[derive(Debug)]
struct Fixed {
    origin: Origin,
    server_name: String,
    number: u64,
    idles_for: Duration,
    options: PeerOptions,
}

impl Endpoint {
    fn new(
        origin: &Origin,
        settings: &UpstreamConfig,
        idle_timeout: Duration,
        dialer: &Dialer,
        connections: &Connections,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut options = PeerOptions::new();
        // The signature names HTTP/1.1: offering h2 would break every one.
        options.alpn = ALPN::H1;
        options.custom_l4 = Some(Arc::new(dialer.clone()));
        // The dialer bounds TCP itself, so this bounds the TLS handshake alone.
        options.connection_timeout = Some(settings.tls_handshake_timeout);
        options.tcp_keepalive = Some(KEEPALIVE);
        options.tracer = Some(connections.tracer());
        let server_name = settings.server_name.as_ref().unwrap_or(&origin.host);
        let fixed = Arc::new(Fixed {
            server_name: server_name.clone(),
            origin: origin.clone(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            idles_for: idle_timeout,
            options,
        });
        Self {
            fixed,
            address: PeerAddr::Inet(([0, 0, 0, 0], origin.port).into()),
        }
    }

    /// The same, to be connected to at `address`.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self {
            fixed: self.fixed.clone(),
            address: PeerAddr::Inet(address),
        }
    }

    /// Under what its connections of this thread wait to be used again.
    pub(super) fn key(&self) -> Key {
        Key::of(self.fixed.number)
    }

    /// How long they may.
    pub(super) fn idles_for(&self) -> Duration {
        self.fixed.idles_for
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fixed.origin.authority())
    }
}

impl Peer for Endpoint {
    fn address(&self) -> &PeerAddr {
        &self.address
    }

    fn tls(&self) -> bool {
        self.fixed.origin.tls
    }

    /// Never empty: Pingora takes an empty name as a wish not to verify the certificate.
    fn sni(&self) -> &str {
        &self.fixed.server_name
    }

    /// Of a pool that is not used: [`Idle`](super::idle::Idle) is.
    fn reuse_hash(&self) -> u64 {
        self.fixed.number
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        Some(&self.fixed.options)
    }

    fn get_tracer(&self) -> Option<Tracer> {
        self.fixed.options.tracer.clone()
    }
}
