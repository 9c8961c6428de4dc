//! A whole proxy: everything it needs is loaded and bound first, then it runs until it is told to leave.
//!
//! What can fail at a start fails in [`Server::bind`], before anything is served, each with a message for people.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    admin::{Control, Health},
    bounds::{Memory, Turns},
    clock::Clock,
    config::{Config, Idempotency, Limits, Listener, ProxyConfig, ProxyCredentials},
    credentials::{Rotation, SecretError, pin, read_secret},
    exchange::{
        Destination, KeySource, Keys, Pace, Proxy, ProxyApp, hosts::Hosts, overloaded_connection,
    },
    idempotency::Deriver,
    journal::{Journal, JournalError},
    lifecycle::{Lifecycle, Stage},
    listener::{BindError, Bound, BoundAddress, ConnectionLimits, Listening, bind},
    problem::Code,
    retry::{Backoff, Policy},
    telemetry::Metrics,
    upstream::{RootsError, Upstreams},
    watch::Watching,
};

/// The health and admin listeners serve a kubelet, a few scrapers, a person; whoever else connects must not keep those out.
const OPERATOR_LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 1024,
    head_bytes: 16 * 1024,
    head_deadline: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
};
/// The last records of the journal are given this long to reach a disk that may hang.
const JOURNAL_CLOSE: Duration = Duration::from_secs(5);
/// HTTP/2 callers are given this long to take what was written for them and to hear that the connection ends.
const FLUSH: Duration = Duration::from_secs(1);

/// A proxy whose sockets are bound and whose credentials are loaded.
#[derive(Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    upstreams: Upstreams,
    config: Config,
    proxy_socket: Bound,
    health_socket: Bound,
    admin_socket: Option<Bound>,
    configuration: String,
    pinned: Option<Watching>,
}

/// Why a proxy could not start.
#[derive(Debug)]
pub enum StartError {
    /// A secret could not be read.
    Secret(SecretError),
    /// No upstream could be verified.
    Roots(RootsError),
    /// The system refused a socket.
    Bind(BindError),
    /// The journal cannot be written.
    Journal(JournalError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => error.fmt(f),
            Self::Roots(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<SecretError> for StartError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl From<RootsError> for StartError {
    fn from(error: RootsError) -> Self {
        Self::Roots(error)
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

/// Where a proxy listens, with the real ports.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The routes.
    pub proxy: BoundAddress,
    /// Health and metrics.
    pub health: BoundAddress,
    /// The admin listener, if it is on.
    pub admin: Option<BoundAddress>,
}

impl Server {
    /// Loads credentials and roots, and binds every socket. `configuration` is what `/config` shows.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn bind(config: Config, configuration: String, clock: Clock) -> Result<Self, StartError> {
        let rotation = Rotation::load(&config.credentials)?;
        Self::bind_as(config, rotation, configuration, clock)
    }

    /// As [`bind`](Self::bind), with a credential that is here already: the secret that `config` names is not read.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn bind_as(
        config: Config,
        rotation: Rotation,
        configuration: String,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let upstreams = Upstreams::new(&config)?;
        if let Some(ProxyConfig {
            credentials: Some(ProxyCredentials::File { password, .. }),
            ..
        }) = &config.upstream.proxy
        {
            // It is read anew for each connection; where it cannot be read at all, this is the time to say so.
            read_secret(password)?;
        }
        let proxy_socket = bind(&config.listeners.proxy.address)?;
        let health_socket = bind(&config.listeners.health.address)?;
        let admin_socket = config
            .listeners
            .admin
            .as_ref()
            .map(|a| bind(&a.address))
            .transpose()?;
        let safety = &config.safety;
        let moves_money = config.routes.iter().any(|r| r.route.class().moves_money());
        let journal = safety.journal.as_ref().filter(|_| moves_money);
        let journal = journal
            .map(|j| Journal::open(j, clock.clone()))
            .transpose()?;
        let destinations = config.routes.iter().map(|route| Destination {
            route: route.route,
            upstream: upstreams.at(&route.upstream),
            deadline: route.deadline,
            attempt_timeout: route.attempt_timeout,
            policy: Policy {
                attempts: route.attempts,
                money_after_write: route.danger_repeat_after_write,
                backoff: Backoff {
                    base: safety.repeats.backoff_base,
                    cap: safety.repeats.backoff_cap,
                },
            },
            disabled: route.disabled,
        });
        let limits = &config.limits;
        let (key_source, pinned) = key_source(&safety.idempotency)?;
        let proxy = Proxy {
            routes: destinations.collect(),
            key_source,
            rotation: Arc::new(rotation),
            hosts: hosts(&config.listeners.proxy, &proxy_socket),
            headers: config.headers.clone(),
            memory: Memory::new(limits.buffered_bytes),
            turns: Turns::new(
                limits.exchanges_in_flight,
                limits.queue_length,
                limits.queue_wait,
            ),
            keys: Keys::new(limits.followers_per_key),
            environment: environment(&config),
            pace: safety.rate_limit.map(Pace::new),
            journal: journal.map(Arc::new),
            max_clock_correction: safety.max_clock_correction,
            limits: limits.clone(),
            lifecycle: Lifecycle::new(),
            metrics: Arc::new(Metrics::new()),
            clock,
        };
        Ok(Self {
            proxy: Arc::new(proxy),
            upstreams,
            config,
            proxy_socket,
            health_socket,
            admin_socket,
            configuration,
            pinned,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            proxy: self.proxy_socket.address.clone(),
            health: self.health_socket.address.clone(),
            admin: self.admin_socket.as_ref().map(|s| s.address.clone()),
        }
    }

    /// By which it is told to leave, and asked how it stands.
    pub fn lifecycle(&self) -> Lifecycle {
        self.proxy.lifecycle.clone()
    }

    /// The journal, if one is kept: to be reopened after a rotation.
    pub fn journal(&self) -> Option<Arc<Journal>> {
        self.proxy.journal.clone()
    }

    /// Serves until [`Stage::Leaving`] is reached, then leaves: new connections are still served for `shutdown_delay`,
    /// exchanges in flight finish within `shutdown_limit`. Answers how many did not.
    pub async fn run(self) -> usize {
        let addresses = self.addresses();
        let Self {
            proxy,
            upstreams,
            config,
            proxy_socket,
            health_socket,
            admin_socket,
            configuration,
            pinned: _pinned,
        } = self;
        let lifecycle = proxy.lifecycle.clone();
        let _watching = proxy.rotation.watch();
        // Pingora stops accepting when its watch says so: callers first, operators only when all is over.
        let (stop_callers, callers) = watch::channel(false);
        let (stop_operators, operators) = watch::channel(false);

        let mut accepting = JoinSet::new();
        let metrics = proxy.metrics.clone();
        let listening = Listening {
            name: "proxy",
            bound: proxy_socket,
            app: ProxyApp::new(proxy.clone()),
            limits: connection_limits(&config.limits),
            memory: proxy.memory.clone(),
            lifecycle: Some(lifecycle.clone()),
            refusal: Box::new(move || {
                metrics.reject(Code::Overloaded);
                overloaded_connection()
            }),
        };
        accepting.spawn(listening.serve(callers));
        let for_operators = |name, bound, app| Listening {
            name,
            bound,
            app,
            limits: OPERATOR_LIMITS,
            memory: proxy.memory.clone(),
            lifecycle: None,
            refusal: Box::new(overloaded_connection),
        };
        let hosts = hosts(&config.listeners.health, &health_socket);
        let health = for_operators("health", health_socket, Health::app(proxy.clone(), hosts));
        tokio::spawn(health.serve(operators.clone()));
        if let (Some(socket), Some(listener)) = (admin_socket, &config.listeners.admin) {
            let hosts = Hosts::of(&socket.address, &listener.hosts);
            let control = Control::app(configuration, lifecycle.clone(), hosts);
            tokio::spawn(for_operators("admin", socket, control).serve(operators));
        }
        tokio::spawn(async move { upstreams.warm_up().await });

        lifecycle.reached(Stage::Leaving).await;
        leave(&lifecycle, &config, stop_callers, accepting).await;
        for address in [
            Some(addresses.proxy),
            Some(addresses.health),
            addresses.admin,
        ]
        .into_iter()
        .flatten()
        {
            address.clean_up();
        }
        if let Some(journal) = proxy.journal.clone() {
            // The last ends are on their way to the file.
            let closing = tokio::task::spawn_blocking(move || journal.close());
            if timeout(JOURNAL_CLOSE, closing).await.is_err() {
                tracing::error!(
                    "the journal's disk does not answer: the last ends may be missing, and their exchanges are listed as unresolved"
                );
            }
        }
        // Said, not dropped: Pingora takes a dropped watch for an error.
        let _told = stop_operators.send(true);
        lifecycle.running()
    }
}

async fn leave(
    lifecycle: &Lifecycle,
    config: &Config,
    stop_callers: watch::Sender<bool>,
    mut accepting: JoinSet<()>,
) {
    let shutdown = &config.shutdown;
    tracing::info!(
        exchanges_in_flight = lifecycle.running(),
        delay_seconds = shutdown.delay.as_secs_f64(),
        limit_seconds = shutdown.limit.as_secs_f64(),
        "draining"
    );
    sleep(shutdown.delay).await;
    lifecycle.advance(Stage::Draining);
    // Whoever is accepting reads this; if nobody is, nothing needs to stop.
    let _told = stop_callers.send(true);
    while accepting.join_next().await.is_some() {}
    if timeout(shutdown.limit, lifecycle.idle()).await.is_err() {
        tracing::warn!(
            exchanges_in_flight = lifecycle.running(),
            "exchanges were cut off, because shutdown_limit passed before they ended; their outcome is not known"
        );
    }
    let _flushed_or_late = timeout(FLUSH, lifecycle.flushed()).await;
}

fn key_source(idempotency: &Idempotency) -> Result<(KeySource, Option<Watching>), SecretError> {
    Ok(match idempotency {
        Idempotency::Generate => (KeySource::Generate, None),
        Idempotency::Derive { secret: source } => {
            let secret = read_secret(source)?;
            let pinned = pin(source, &secret);
            (KeySource::Derive(Deriver::new(&secret)), Some(pinned))
        }
    })
}

/// What tells the sandbox's keys from production's; with an upstream of one's own, that upstream.
fn environment(config: &Config) -> String {
    match (config.environment, config.routes.first()) {
        (Some(environment), _) => environment.to_string(),
        (None, route) => route.map(|r| r.upstream.authority()).unwrap_or_default(),
    }
}

fn hosts(listener: &Listener, socket: &Bound) -> Hosts {
    Hosts::of(&socket.address, &listener.hosts)
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        connections: limits.inbound_connections,
        head_bytes: limits.header_bytes,
        head_deadline: limits.header_deadline,
        idle_timeout: limits.inbound_idle_timeout,
    }
}
