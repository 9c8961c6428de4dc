//! A whole proxy: everything it needs is loaded and bound first, then it runs until it is told to leave.
//!
//! What can fail at a start fails in [`Server::bind`], before anything is served, each with a message for people.

mod assemble;
mod lanes;
mod leave;
mod reload;
mod systemd;

use std::{fmt, future::pending, pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{interval, timeout},
};

use self::{
    assemble::{Assembly, Process},
    lanes::Lanes,
    leave::leave,
    reload::{Configured, Reload},
};
use crate::{
    admin::{Control, Health, History},
    allocator,
    bounds::Memory,
    clock::Clock,
    config::{Limits, Listener, Loaded, Sources},
    credentials::{Rotation, SecretError},
    exchange::{Current, Keys, ProxyApp, hosts::Hosts, refused_connection},
    journal::JournalError,
    lifecycle::{Lifecycle, Stage},
    listener::{BindError, Bound, BoundAddress, ConnectionLimits, Deaf, Listening, bind},
    telemetry::{Metrics, REPEATED_WARNINGS_WINDOW, Tracer, TracingError, logging},
    tls::{Unusable, inbound},
};

/// The health and admin listeners serve a kubelet, a few scrapers, a person; whoever else connects must not keep those out.
const OPERATOR_LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 1024,
    from_one: Some(64),
    head_bytes: 16 * 1024,
    head_deadline: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
};
/// What the heads of each of these listeners may hold: of callers' `limits.buffered_bytes` they take nothing.
const OPERATOR_HEADS: usize = 4 << 20;
/// The last records of the journal are given this long to reach a disk that may hang.
const JOURNAL_CLOSE: Duration = Duration::from_secs(5);
const TOO_MANY_CALLERS: &str = "as many connections are open as limits.inbound_connections allows";
const TOO_MANY_OPERATORS: &str =
    "as many connections are open as this listener takes, of all or of one address";
/// The last spans are given this long to reach a collector that may not answer.
const SPANS_CLOSE: Duration = Duration::from_secs(3);

/// A proxy whose sockets are bound and whose credentials are loaded.
pub struct Server {
    configured: Arc<Configured>,
    sources: Option<Sources>,
    hangup: Arc<Notify>,
    asked: Arc<Notify>,
    proxy_socket: Bound,
    health_socket: Bound,
    admin_socket: Option<Bound>,
}

/// Why a proxy could not start.
#[derive(Debug)]
pub enum StartError {
    /// A secret could not be read.
    Secret(SecretError),
    /// A file cannot be used for TLS, or there are no roots to verify an upstream with.
    Tls(Unusable),
    /// A file cannot be taken while the proxy runs. Says which, and what to do.
    File(String),
    /// The system refused a socket.
    Bind(BindError),
    /// The journal cannot be written.
    Journal(JournalError),
    /// Spans cannot be sent as configured.
    Tracing(TracingError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::File(what) => f.write_str(what),
            Self::Bind(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Tracing(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<SecretError> for StartError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl From<Unusable> for StartError {
    fn from(error: Unusable) -> Self {
        Self::Tls(error)
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<TracingError> for StartError {
    fn from(error: TracingError) -> Self {
        Self::Tracing(error)
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
    /// Loads credentials and roots, and binds every socket.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn bind(loaded: Loaded, clock: Clock) -> Result<Self, StartError> {
        Self::bind_as(loaded, None, clock)
    }

    /// As [`bind`](Self::bind), with a credential that may be here already: then the secret that is named is not read.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn bind_as(
        loaded: Loaded,
        rotation: Option<Rotation>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let listeners = loaded.config.listeners.clone();
        let metrics = Arc::new(Metrics::new(&loaded.config.buckets));
        let tracing = loaded.config.tracing.as_ref();
        let process = Process {
            memory: Memory::new(loaded.config.limits.buffered_bytes),
            keys: Arc::new(Keys::new()),
            lifecycle: Lifecycle::new(),
            tracer: Tracer::start(tracing, metrics.dropped_spans())?,
            metrics,
            places: connection_limits(&loaded.config.limits).places(),
            clock,
            inbound_tls: listeners.proxy.tls.as_ref().map(inbound).transpose()?,
        };
        let assembly = Assembly::make(&process, loaded, rotation, None)?;
        let proxy_socket = bind(&listeners.proxy.address)?;
        let health_socket = bind(&listeners.health.address)?;
        let admin = listeners.admin.as_ref();
        let admin_socket = admin.map(|a| bind(&a.address)).transpose()?;
        let current = Current::new(assembly.proxy.clone());
        Ok(Self {
            configured: Arc::new(Configured {
                process,
                current,
                assembly: Mutex::new(Arc::new(assembly)),
            }),
            sources: None,
            hangup: Arc::default(),
            asked: Arc::default(),
            proxy_socket,
            health_socket,
            admin_socket,
        })
    }

    /// Whoever notifies this has the journal begun anew, which was moved away, and the configuration taken anew.
    pub fn hangup(&self) -> Arc<Notify> {
        self.hangup.clone()
    }

    /// Whoever notifies this while it leaves has the log say what is waited for.
    pub fn asked(&self) -> Arc<Notify> {
        self.asked.clone()
    }

    /// Lets what it was configured from be taken anew.
    #[must_use]
    pub fn reloading(mut self, sources: Sources) -> Self {
        self.sources = Some(sources);
        self
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
        self.configured.process.lifecycle.clone()
    }

    /// Serves until [`Stage::Leaving`] is reached, then leaves: new connections are still served for `shutdown_delay`, unless
    /// [`Stage::Draining`] is reached before; exchanges in flight finish within `shutdown_limit`. Answers how many did not.
    ///
    /// # Errors
    /// [`Deaf`], where a listener stopped to accept connections before: everything else was left in order, without the delay.
    pub async fn run(self) -> Result<usize, Deaf> {
        let addresses = self.addresses();
        let Self {
            configured,
            sources,
            hangup,
            asked,
            proxy_socket,
            health_socket,
            admin_socket,
        } = self;
        let current = configured.current.clone();
        let Process {
            lifecycle,
            metrics,
            inbound_tls,
            ..
        } = &configured.process;
        let _watching = inbound_tls.as_ref().map(|tls| tls.watch());
        let (listeners, limits, threads) = {
            let config = &configured.assembly.lock().loaded.config;
            let (listeners, limits) = (config.listeners.clone(), config.limits.clone());
            (listeners, limits, config.threads)
        };
        // Pingora stops accepting when its watch says so: callers first, operators only when all is over.
        let (stop_callers, callers) = watch::channel(false);
        let (stop_operators, operators) = watch::channel(false);

        let mut accepting = JoinSet::new();
        let refused = metrics.clone();
        let listening = Listening {
            name: "proxy",
            bound: proxy_socket,
            app: ProxyApp::new(current.clone()),
            limits: connection_limits(&limits),
            places: configured.process.places.clone(),
            memory: configured.process.memory.clone(),
            lifecycle: Some(lifecycle.clone()),
            tls: inbound_tls.clone(),
            refusal: Box::new(move |why| match refused_connection(why, TOO_MANY_CALLERS) {
                Some((code, answer)) => {
                    refused.reject(code);
                    answer
                }
                None => {
                    refused.handshake_failed();
                    Vec::new()
                }
            }),
        };
        let lanes = Lanes::beside_this_one(threads);
        let handles = lanes.handles().to_vec();
        accepting.spawn(async move { listening.serve(callers, &handles).await });
        let for_operators = |name, bound, app| Listening {
            name,
            bound,
            app,
            limits: OPERATOR_LIMITS,
            places: OPERATOR_LIMITS.places(),
            memory: Memory::new(OPERATOR_HEADS),
            lifecycle: None,
            tls: None,
            refusal: Box::new(|why| {
                refused_connection(why, TOO_MANY_OPERATORS)
                    .map_or_else(Vec::new, |(_, answer)| answer)
            }),
        };
        let hosts = |listener: &Listener| Hosts::of(&listener.address, &listener.hosts);
        let health = Health::app(current.clone(), hosts(&listeners.health));
        let serving = for_operators("health", health_socket, health);
        let until = operators.clone();
        let mut operating = JoinSet::new();
        operating.spawn(async move { serving.serve(until, &[]).await });
        // Aborted when dropped.
        let mut sampling = JoinSet::new();
        sampling.spawn(allocator::give_back());
        if let (Some(socket), Some(listener)) = (admin_socket, &listeners.admin) {
            let history = Arc::new(History::begin(metrics.clone()));
            let control = Control::app(current.clone(), history.clone(), hosts(listener));
            sampling.spawn(async move { history.keep().await });
            let serving = for_operators("admin", socket, control);
            operating.spawn(async move { serving.serve(operators, &[]).await });
        }
        let upstreams = configured.assembly.lock().proxy.tls.upstreams.clone();
        tokio::spawn(async move { upstreams.warm_up().await });
        tokio::spawn(async {
            let mut windows = interval(REPEATED_WARNINGS_WINDOW);
            loop {
                windows.tick().await;
                logging::tell_left_out(false);
            }
        });
        let reload = sources.map(|sources| Reload::of(&configured, sources));
        let mut hung_up = pin!(async {
            loop {
                hangup.notified().await;
                let serving = lifecycle.stage() == Stage::Serving;
                if serving {
                    systemd::reloading().await;
                }
                if let Some(journal) = &current.load().journal {
                    tracing::info!("reopening the journal");
                    journal.reopen();
                }
                if !serving {
                    tracing::warn!(
                        "the configuration is not reloaded, because the process is leaving; the next one reads it"
                    );
                    continue;
                }
                let reloaded = reload.as_ref().map(Reload::ask);
                let lifecycle = lifecycle.clone();
                tokio::spawn(async move {
                    if let Some(reloaded) = reloaded {
                        reloaded.await;
                    }
                    // Where it was refused, too: what was in use before still is.
                    if lifecycle.stage() == Stage::Serving {
                        systemd::ready().await;
                    }
                });
            }
        });
        systemd::ready().await;
        let deaf = tokio::select! {
            () = lifecycle.reached(Stage::Leaving) => None,
            () = &mut hung_up => None,
            deaf = first_deaf(&mut accepting) => Some(deaf),
            deaf = first_deaf(&mut operating) => Some(deaf),
        };
        if let Some(Deaf(listener)) = deaf {
            tracing::error!(
                listener,
                "a listener accepts no more connections after a fault of the proxy, so the process ends, to be started anew; report it with the lines before this one"
            );
            // Whoever would still come is better off with the next process.
            lifecycle.advance(Stage::Draining);
        }
        systemd::stopping().await;
        let shutdown = configured.assembly.lock().loaded.config.shutdown.clone();
        // Aborted when dropped, at the very end: what comes after the exchanges may be waited for, too.
        let mut telling = JoinSet::new();
        telling.spawn(leave::tell(
            lifecycle.clone(),
            metrics.clone(),
            shutdown.clone(),
            asked,
        ));
        // Until the last call has ended a rotation must not make those forgotten that are unresolved.
        tokio::select! {
            () = leave(lifecycle, metrics, &shutdown, stop_callers, accepting) => {}
            () = hung_up => {}
        }
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
        if let Some(journal) = current.load().journal.clone() {
            // The last ends are on their way to the file.
            let closing = tokio::task::spawn_blocking(move || journal.close());
            if timeout(JOURNAL_CLOSE, closing).await.is_err() {
                tracing::error!(
                    "the journal's disk does not answer: the last ends may be missing, and their exchanges are listed as unresolved; mend it, and look them up with the command unresolved"
                );
            }
        }
        let tracer = configured.process.tracer.clone();
        // It ends by itself within that time; nobody waits for what does not.
        let _closed = tokio::task::spawn_blocking(move || tracer.close(SPANS_CLOSE)).await;
        // Said, not dropped: Pingora takes a dropped watch for an error.
        let _told = stop_operators.send(true);
        logging::tell_left_out(true);
        match deaf {
            Some(deaf) => Err(deaf),
            None => Ok(lifecycle.running()),
        }
    }
}

/// Waits until a listener stops to accept though it was not told to. One that panicked has lost its name.
async fn first_deaf(serving: &mut JoinSet<Result<(), Deaf>>) -> Deaf {
    match serving.join_next().await {
        Some(Ok(Err(deaf))) => deaf,
        Some(Err(_panic)) => Deaf("unknown"),
        Some(Ok(Ok(()))) | None => pending().await,
    }
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        connections: limits.inbound_connections,
        from_one: None,
        head_bytes: limits.header_bytes,
        head_deadline: limits.header_deadline,
        idle_timeout: limits.inbound_idle_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flag, load};

    #[tokio::test]
    async fn a_process_whose_listener_broke_leaves_instead_of_answering_nothing() {
        for broken in ["proxy", "health"] {
            let folder = tempfile::tempdir().expect("room in the temporary folder");
            let secret = folder.path().join("secret");
            std::fs::write(&secret, "0123456789abcdef").expect("written");
            let flag = |key, value: &str| Flag {
                key,
                value: value.to_owned(),
                name: "a flag",
            };
            let loaded = load(&Sources {
                flags: vec![
                    flag("listeners.proxy.address", "127.0.0.1:0"),
                    flag("listeners.health.address", "127.0.0.1:0"),
                    flag("upstream.url", "http://127.0.0.1:1"),
                    flag("credentials.username", "acme"),
                    flag("credentials.secret_file", &secret.display().to_string()),
                ],
                ..Sources::default()
            })
            .expect("valid");
            let mut server = Server::bind(loaded, Clock::system()).expect("free ports");
            match broken {
                "proxy" => server.proxy_socket = server.proxy_socket.broken(),
                _ => server.health_socket = server.health_socket.broken(),
            }
            let ended = timeout(Duration::from_secs(30), server.run()).await;
            assert_eq!(ended.expect("in time"), Err(Deaf(broken)));
        }
    }
}
