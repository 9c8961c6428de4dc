//! What the program trusts: a [`Config`] in which every value has been checked, before any socket is bound.
//!
//! Raw text comes in through [`load()`] (flags, environment, YAML file, defaults) and leaves as a [`Config`] or as
//! all [`Mistake`]s at once. Nothing here opens a secret, binds a socket or resolves a name, and no message holds a value.
//!
//! The way of a value: `schema` names its key, `yaml` and `layers` bring its text with where it was written,
//! the `reader` hands it to the file of its section (`listeners`, `credentials`, `routes`, `limits`, `headers`).

mod credentials;
mod effective;
mod headers;
mod histograms;
mod json_schema;
mod layers;
mod limits;
mod listeners;
mod load;
mod mistake;
mod no_proxy;
mod origin;
#[cfg(test)]
mod properties;
mod proxy;
mod quantity;
mod reader;
mod reference;
mod routes;
mod safety;
#[cfg(test)]
mod samples;
mod schema;
mod traces;
mod yaml;

pub use effective::{Effective, Entry, is_read_at_start};
pub use json_schema::json_schema;
pub use listeners::listener_address;
pub use load::{Flag, Loaded, Sources, load, load_with, process_environment, read_file};
pub use mistake::{LoadError, Mistake};
pub use no_proxy::Bypass;
pub use proxy::{ProxyConfig, ProxyCredentials, userinfo};
pub use reference::{markdown as reference_page, yaml as reference_file};
pub use safety::no_journal;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use crate::{
    ingo::{Environment, Route, contract::Profile},
    signing::{Algorithm, HeaderOrder},
};

/// A complete, checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which of Ingo's worlds the built-in hosts are taken from; `None` where every enabled route has a URL of its own.
    pub environment: Option<Environment>,
    /// The sockets to listen on.
    pub listeners: Listeners,
    /// Whose signature stands under each request.
    pub credentials: Credentials,
    /// The enabled routes, each once, in the order of [`Route::ALL`]. Never empty.
    pub routes: Vec<RouteConfig>,
    /// How upstream connections are made and kept.
    pub upstream: UpstreamConfig,
    /// The bounds that keep memory and sockets finite.
    pub limits: Limits,
    /// What is repeated, and what holds the proxy back.
    pub safety: Safety,
    /// Which further headers pass.
    pub headers: Headers,
    /// The way out.
    pub shutdown: Shutdown,
    /// How log lines look; `None`: pretty on a terminal, JSON otherwise.
    pub log_format: Option<LogFormat>,
    /// Worker threads.
    pub threads: usize,
    /// Whether the configuration file is taken anew when it changes.
    pub reload_on_change: bool,
    /// The upper bounds of histograms.
    pub buckets: Buckets,
    /// Where spans go; `None`: tracing is off.
    pub tracing: Option<Tracing>,
}

impl Config {
    /// Where each secret is read from that a call to Ingo needs, by name.
    pub fn secrets(&self) -> Vec<(&'static str, &SecretSource)> {
        let credentials = &self.credentials;
        let next = credentials.next.as_ref().map(|next| &next.secret);
        let keys = match &self.safety.idempotency {
            Idempotency::Generate => None,
            Idempotency::Derive { secret } => Some(secret),
        };
        let proxy = self.upstream.proxy.as_ref();
        let named = [
            ("secret", Some(&credentials.secret)),
            ("next_secret", next),
            ("api_key", credentials.api_key.as_ref()),
            ("idempotency", keys),
            ("proxy_password", proxy.and_then(ProxyConfig::password)),
        ];
        named
            .into_iter()
            .filter_map(|(name, source)| Some((name, source?)))
            .collect()
    }
}

/// Where spans go, and of how many traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Where.
    pub collector: Collector,
    /// Of the traces that begin here, so many are recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// What the collector knows us as.
    pub service_name: String,
    /// A file with header fields for the collector, such as credentials.
    pub headers_file: Option<PathBuf>,
}

/// The URL of a collector that takes spans by OTLP/HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The path, from its first slash.
    pub path: String,
}

/// The upper bounds of histograms, in seconds, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// Of our own work.
    pub own: Vec<f64>,
    /// Of exchanges and of what Ingo takes.
    pub ingo: Vec<f64>,
}

/// The sockets to listen on.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// The routes, nothing else.
    pub proxy: Listener,
    /// `/livez`, `/readyz`, `/metrics`.
    pub health: Listener,
    /// The admin listener, off by default. Loopback or a Unix socket only.
    pub admin: Option<Listener>,
}

/// One socket to listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Host names accepted on a loopback address besides the loopback names themselves: lower case, without port.
    pub hosts: Vec<String>,
    /// TLS for callers; only on the proxy listener.
    pub tls: Option<InboundTls>,
}

/// TLS for callers: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundTls {
    /// The certificate and those that vouch for it.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authorities whose certificates callers must show; `None`: they need none.
    pub client_ca: Option<PathBuf>,
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Permission bits of the socket file.
        mode: u32,
    },
}

impl Address {
    /// Whether only this host can reach it over IP. A Unix socket has no `Host` to be deceived by.
    pub fn is_loopback_ip(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().to_canonical().is_loopback())
    }
}

/// Whose signature stands under each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Ingo's name for the integration; visible ASCII without `"` and `\`.
    pub username: String,
    /// Where the shared secret is read from.
    pub secret: SecretSource,
    /// HMAC-SHA512 unless a legacy integration needs SHA-256.
    pub algorithm: Algorithm,
    /// The order in which headers are signed.
    pub signed_headers: HeaderOrder,
    /// Where the Banking Platform's `api_key` is read from.
    pub api_key: Option<SecretSource>,
    /// What is signed with once Ingo refuses the above.
    pub next: Option<NextCredential>,
}

/// A credential that Ingo will accept in place of the current one, at a moment of its choosing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextCredential {
    /// Ingo's name for the integration; the former one may stay.
    pub username: String,
    /// Where its secret is read from: a file.
    pub secret: SecretSource,
}

/// Where secret bytes are read from. Never the bytes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; one trailing newline is dropped and nothing else.
    File(PathBuf),
    /// An environment variable of this name; nothing is dropped.
    Environment(String),
}

/// A route that is enabled.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Which.
    pub route: Route,
    /// Where its requests go.
    pub upstream: Origin,
    /// The whole exchange may take this long, body and all attempts included.
    pub deadline: Duration,
    /// One attempt may take this long, from the first byte written to the last byte read.
    pub attempt_timeout: Duration,
    /// Attempts per exchange, the first included.
    pub attempts: u32,
    /// Switched off for a while: known, and refused.
    pub disabled: bool,
    /// Whether a call that moves money may be repeated after bytes were written. `false` elsewhere.
    pub danger_repeat_after_write: bool,
    /// Whether its bodies are checked against Ingo's documents. Only Create Session's are documented well enough.
    pub validation: Option<Validation>,
    /// An `authorized_url` with less time left is refreshed before it is passed on; `None`: none is.
    pub refresh_url_below: Option<Duration>,
}

/// How bodies are checked against Ingo's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Whether what breaks a rule is refused; it is counted and logged in either case.
    pub enforce: bool,
    /// Which document is gone by.
    pub profile: Profile,
    /// Whether a refusal has the form of Ingo's own, for services that read that already.
    pub in_ingos_form: bool,
}

/// What is repeated, and what holds the proxy back.
#[derive(Clone, Debug)]
pub struct Safety {
    /// The waits and the budget of repeats.
    pub repeats: Repeats,
    /// Where an `Idempotency-Key` comes from that the caller did not send.
    pub idempotency: Idempotency,
    /// The journal of calls that move money.
    pub journal: Option<JournalConfig>,
    /// When an upstream that cannot be connected to is left alone.
    pub circuit_breaker: CircuitBreaker,
    /// How many requests are sent in a second; `None`: as many as come.
    pub rate_limit: Option<RateLimit>,
    /// By how much the signing clock may be corrected; `None`: not at all.
    pub max_clock_correction: Option<Duration>,
}

/// The waits and the budget of repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The upper bound of the first wait.
    pub backoff_base: Duration,
    /// The upper bound of every wait.
    pub backoff_cap: Duration,
    /// Repeats that can be made at once.
    pub budget: u32,
    /// Repeats per hundred exchanges in the long run.
    pub budget_percent: u32,
}

/// Where an `Idempotency-Key` comes from that the caller did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// A new V4 UUID per exchange.
    Generate,
    /// From what is asked: the same request has the same key, on every replica.
    Derive {
        /// Where the key derivation's own secret is read from. It must never change.
        secret: SecretSource,
    },
}

/// The journal of calls that move money.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The file that is appended to.
    pub file: PathBuf,
    /// Whether a record must be on the disk before the request is sent.
    pub fsync: bool,
}

/// When an upstream that cannot be connected to is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Consecutive failures to connect that open it; 0: it never opens.
    pub failures: u32,
    /// How long it stays open before one probe is let through.
    pub open_for: Duration,
}

/// How many requests are sent in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Scheme, host and port of an upstream (RFC 6454 §4). Paths are the caller's: a base URL has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// HTTPS, or cleartext.
    pub tls: bool,
    /// A DNS name in lower case, or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port, given or by scheme.
    pub port: u16,
}

/// How upstream connections are made and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// TCP connect may take this long.
    pub connect_timeout: Duration,
    /// The TLS handshake may take this long.
    pub tls_handshake_timeout: Duration,
    /// An idle pooled connection is closed after this long.
    pub idle_timeout: Duration,
    /// Idle connections kept for reuse.
    pub idle_connections: usize,
    /// Attempts at one upstream that may run at once.
    pub attempts_in_flight: usize,
    /// PEM file of the roots to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// What we show to an upstream that asks who we are.
    pub client_certificate: Option<ClientCertificate>,
    /// The name that an upstream's certificate must bear, and that is asked for (SNI); `None`: its URL's host.
    pub server_name: Option<String>,
    /// The HTTP proxy on the way; `None`: there is none.
    pub proxy: Option<ProxyConfig>,
    /// The largest answer body that is passed on, in bytes.
    pub max_response_bytes: usize,
}

/// What we show to an upstream that asks who we are: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and those that vouch for it.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// The bounds that keep memory and sockets finite.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The largest request head (request line and headers), in bytes.
    pub header_bytes: usize,
    /// The longest request target, in bytes.
    pub target_bytes: usize,
    /// A request head must be complete this long after its first byte.
    pub header_deadline: Duration,
    /// A request body must be complete this long after its head.
    pub body_deadline: Duration,
    /// Exchanges that may run at once.
    pub exchanges_in_flight: usize,
    /// Exchanges that may wait for their turn.
    pub queue_length: usize,
    /// How long one may wait for its turn.
    pub queue_wait: Duration,
    /// Connections that may be open on the proxy listener.
    pub inbound_connections: usize,
    /// An inbound connection without a request is closed after this long.
    pub inbound_idle_timeout: Duration,
    /// Bytes of request and answer bodies held at once.
    pub buffered_bytes: usize,
    /// Exchanges that may wait for one with the same `Idempotency-Key`.
    pub followers_per_key: usize,
}

/// Which headers pass besides those that product.md names. Names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Of the caller's request, to Ingo.
    pub to_ingo: Vec<http::HeaderName>,
    /// Of Ingo's answer, to the caller.
    pub to_caller: Vec<http::HeaderName>,
}

/// The way out.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// New connections are still served for this long after the signal.
    pub delay: Duration,
    /// Exchanges in flight may take this long to finish.
    pub limit: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people at a terminal.
    Pretty,
}

impl Origin {
    /// Host and port as `Host` carries them: brackets around IPv6, no port where it is the scheme's own (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}
