//! An emulator from its settings to its end: built, started, asked and told by a test, stopped when dropped.
//!
//! Everything that can fail at a start fails in [`Builder::start`], before anything is served.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::{
    State,
    clock::SettableClock,
    control::Control,
    fault::{Fault, FaultError},
    faults::Faults,
    gateway::{Gateway, Settings},
    kong::Kong,
    ledger::{Entry, Ledger},
    serve::accept,
    sessions::{SessionEnd, SessionState},
};
use crate::{
    bounds::Memory,
    clock::Clock,
    config::Address,
    exchange::{hosts::Hosts, refused_connection},
    ingo::contract::Profile,
    listener::{BindError, BoundAddress, ConnectionLimits, Listening, bind, bind_tcp},
    secret::Secret,
};

/// A request body of more is refused with 413: four times what the proxy forwards by default.
const BODY_BYTES: usize = 4 * 1024 * 1024;
/// The bounds of a connection to the control endpoint.
/// What incomplete request heads on the control listener may take together, in bytes.
const CONTROL_HEAD_BYTES: usize = 1024 * 1024;
const CONTROL_LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 64,
    from_one: None,
    head_bytes: 16 * 1024,
    head_deadline: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(10),
};

const TOO_MANY: &str = "as many connections are open as the control listener takes";

/// The settings of an emulator; what is not set has a default that suits a test.
#[derive(Debug)]
pub struct Builder {
    kong: Kong,
    settings: Settings,
    listen: SocketAddr,
    control: Option<Address>,
    faults: Vec<Fault>,
    clock: Clock,
    remembered: usize,
    ledger_entries: usize,
}

/// A running emulator. Dropping it closes its sockets and every connection.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    addresses: Addresses,
    accepting: JoinHandle<()>,
    /// Stops the control endpoint.
    stop_control: watch::Sender<bool>,
}

/// Where an emulator listens, with the real ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Ingo's gateway and Session Management.
    pub gateway: SocketAddr,
    /// The control endpoint, if it is on.
    pub control: Option<BoundAddress>,
}

/// Why an emulator could not start.
#[derive(Debug)]
pub enum StartError {
    /// The system refused the gateway's socket.
    Gateway(SocketAddr, io::Error),
    /// The system refused the control endpoint's socket.
    Control(BindError),
    /// The control endpoint would be reachable from other hosts.
    ControlExposed(SocketAddr),
    /// There are too many faults.
    Fault(FaultError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: another process listens there; stop it or choose another address"
            ),
            Self::Gateway(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Control(error) => error.fmt(f),
            Self::ControlExposed(address) => write!(
                f,
                "the control endpoint must be on a loopback address or unix:/path, and {address} is neither"
            ),
            Self::Fault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl Builder {
    /// Where the gateway listens; by default a free port on 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Where the control endpoint listens: loopback or a Unix socket. By default there is none.
    pub fn control(mut self, address: Address) -> Self {
        self.control = Some(address);
        self
    }

    /// A fault that is armed from the start.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The time by which signatures are judged and everything ages; by default the host's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The HTTP status of Kong's refusals: 401, or 403 as older versions of Kong (protocol.md §1).
    pub fn refusal_status(mut self, status: u16) -> Self {
        self.settings.refusal_status = status;
        self
    }

    /// The HTTP status of bodies that report an error: 400 by default, which is invented (protocol.md §3).
    pub fn error_status(mut self, status: u16) -> Self {
        self.settings.error_status = status;
        self
    }

    /// The origins that `host_uri` may name, such as `https://pay.example`; by default any (protocol.md §3).
    pub fn allowed_hosts(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.settings.allowed_hosts = Some(origins.into_iter().collect());
        self
    }

    /// By which of Ingo's documents the fields of Create Session are checked; by default the newer (protocol.md §3).
    pub fn profile(mut self, profile: Profile) -> Self {
        self.settings.profile = profile;
        self
    }

    /// The participant in the message of 13723.
    pub fn participant_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.settings.participant_id);
        self
    }

    /// How many sessions, keys and transactions are remembered, each; 10,000 by default.
    pub fn remembered(mut self, count: usize) -> Self {
        self.remembered = count;
        self
    }

    /// How many requests the ledger holds; 4,096 by default.
    pub fn ledger_entries(mut self, count: usize) -> Self {
        self.ledger_entries = count;
        self
    }

    /// Binds the sockets and serves them on the current Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub async fn start(self) -> Result<Emulator, StartError> {
        if let Some(control @ Address::Tcp(address)) = &self.control
            && !control.is_loopback_ip()
        {
            return Err(StartError::ControlExposed(*address));
        }
        let refused = |error| StartError::Gateway(self.listen, error);
        let listener = bind_tcp(self.listen).and_then(TcpListener::from_std);
        let listener = listener.map_err(refused)?;
        let gateway = listener.local_addr().map_err(refused)?;
        let control = self.control.as_ref().map(bind).transpose();
        let control = control.map_err(StartError::Control)?;

        let origin = format!("http://{}", reachable(gateway));
        let state = Arc::new(State {
            clock: SettableClock::new(self.clock),
            gateway: Gateway::new(self.kong, self.settings, origin, self.remembered),
            faults: Faults::new(),
            ledger: Ledger::new(self.ledger_entries),
            body_bytes: BODY_BYTES,
        });
        for fault in self.faults {
            state.faults.arm(fault).map_err(StartError::Fault)?;
        }
        let (stop, stopped) = watch::channel(false);
        let addresses = Addresses {
            gateway,
            control: control.as_ref().map(|bound| bound.address.clone()),
        };
        if let (Some(bound), Some(address)) = (control, &self.control) {
            let hosts = Hosts::of(address, &[]);
            let listening = Listening {
                name: "control",
                bound,
                app: Control::new(state.clone(), hosts),
                limits: CONTROL_LIMITS,
                places: CONTROL_LIMITS.places(),
                memory: Memory::new(CONTROL_HEAD_BYTES),
                lifecycle: None,
                tls: None,
                refusal: Box::new(|why| {
                    refused_connection(why, TOO_MANY).map_or_else(Vec::new, |(_, answer)| answer)
                }),
            };
            tokio::spawn(async move {
                // The panic itself was told of by the panic hook; the emulated gateway goes on without its control.
                let _deaf = listening.serve(stopped, &[]).await;
            });
        }
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Ok(Emulator {
            state,
            addresses,
            accepting,
            stop_control: stop,
        })
    }
}

/// An address that a client on this host can connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

impl Emulator {
    /// An emulator that accepts the signatures of `username` with `secret`.
    pub fn builder(username: &str, secret: Secret) -> Builder {
        Builder {
            kong: Kong::accepting([(username.to_owned(), secret)]),
            settings: Settings {
                refusal_status: 401,
                error_status: 400,
                allowed_hosts: None,
                profile: Profile::default(),
                participant_id: "12345".to_owned(),
            },
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            control: None,
            faults: Vec::new(),
            clock: Clock::system(),
            remembered: 10_000,
            ledger_entries: 4096,
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Arms a fault, written as for `--fault`, and answers its number.
    ///
    /// # Errors
    /// [`FaultError`], which says what to write instead.
    pub fn inject(&self, specification: &str) -> Result<u64, FaultError> {
        self.state.faults.arm(specification.parse()?)
    }

    /// Disarms every fault; requests that one delays are answered at once.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Accepts the signatures of `credentials`, each a username and its secret, from now on, and of no other: how Ingo issues
    /// a credential and drops one.
    pub fn accept(&self, credentials: &[(&str, Secret)]) {
        let owned = |(username, secret): &(&str, Secret)| ((*username).to_owned(), secret.clone());
        self.state
            .gateway
            .kong()
            .accept(credentials.iter().map(owned));
    }

    /// How many requests each of the accepted credentials signed since it was accepted, in the order in which they were given.
    pub fn signed(&self) -> Vec<u64> {
        self.state.gateway.kong().signed()
    }

    /// What it received, the oldest first. An entry is complete before the last byte of its answer is written.
    pub fn ledger(&self) -> Vec<Entry> {
        self.state.ledger.entries()
    }

    /// How many requests it received since the ledger was cleared, also where they are no longer held.
    pub fn received(&self) -> u64 {
        self.state.ledger.count()
    }

    /// Waits until the ledger is as `wanted`, and answers it: for what a client cannot see, such as a request that is being
    /// delayed.
    pub async fn ledger_when(&self, wanted: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        self.state.ledger.reached(wanted).await
    }

    /// Forgets what it received.
    pub fn clear_ledger(&self) {
        self.state.ledger.clear();
    }

    /// The emulator's time.
    pub fn now(&self) -> SystemTime {
        self.state.clock.now()
    }

    /// Puts another clock in place of the one it has.
    pub fn set_clock(&self, clock: Clock) {
        self.state.clock.set(clock);
    }

    /// Moves its clock on.
    pub fn advance(&self, by: Duration) {
        self.state.clock.advance(by);
    }

    /// Ends a session as its user would in the browser; `false` if there is none of that identifier.
    pub fn end_session(&self, session_identifier: &str, end: SessionEnd) -> bool {
        let id = session_identifier.parse::<Uuid>();
        id.is_ok_and(|id| self.state.gateway.end_session(id, end, self.now()))
    }

    /// The state of a session; `None` if there is none of that identifier.
    pub fn session_state(&self, session_identifier: &str) -> Option<SessionState> {
        let id = session_identifier.parse().ok()?;
        self.state.gateway.session_state(id, self.now())
    }

    /// Counts of sessions, keys and transactions, as `GET /sessions` shows them.
    pub fn counts(&self) -> Value {
        self.state.gateway.counts(self.now())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The listener and every connection belong to this task.
        self.accepting.abort();
        // Said, not dropped: Pingora takes a dropped watch for an error.
        let _told = self.stop_control.send(true);
        if let Some(control) = &self.addresses.control {
            control.clean_up();
        }
    }
}
