//! A stand-in for Ingo that does what a script says and keeps every byte it was sent.
//!
//! It speaks HTTP/1.1 on a port of 127.0.0.1 that the system chooses, in plain text or over TLS. A script decides for
//! each request what is answered, and for each connection whether it is cut before a request was read.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    PATIENCE, Recorded, Reply,
    reply::Ending,
    tls::{self, Handshake, Identity, Peer},
    wire::{self, Incoming},
};

/// A running upstream. It ends when dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Where a connection is cut before a request has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    Never,
    /// Closed at once, without reading.
    AtOnce,
    /// Reset when the request's first byte arrives.
    AtFirstByte,
    /// Reset when the request's head has been read.
    AfterHead,
}

type Answering = dyn Fn(&Recorded) -> Reply + Send + Sync;
type Cutting = dyn Fn(usize, usize) -> Cut + Send + Sync;

struct Shared {
    answering: Box<Answering>,
    cutting: Box<Cutting>,
    identity: Option<Identity>,
    state: Mutex<State>,
    changed: Condvar,
    accepted: AtomicUsize,
    bytes: AtomicUsize,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    requests: Vec<Arc<Recorded>>,
    handshakes: Vec<Handshake>,
    peers: Vec<Peer>,
    /// Open connections, and whether each waits for its next request.
    open: HashMap<usize, (Arc<TcpStream>, bool)>,
}

impl Upstream {
    /// Gives every request the same answer.
    pub fn answering(reply: Reply) -> Self {
        Self::scripted(move |_| reply.clone())
    }

    /// Gives each request the answer that names its participant.
    pub fn echoing() -> Self {
        Self::scripted(|request| Reply::session(&request.participant()))
    }

    /// Gives each request the answer that `answering` makes of it.
    pub fn scripted(answering: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, |_, _| Cut::Never, answering)
    }

    /// As `scripted`, and `cutting` decides from the numbers of a connection and its request what is cut short.
    pub fn cutting(
        cutting: impl Fn(usize, usize) -> Cut + Send + Sync + 'static,
        answering: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, cutting, answering)
    }

    /// As `answering`, over TLS.
    pub fn over_tls(identity: Identity, reply: Reply) -> Self {
        Self::start(Some(identity), |_, _| Cut::Never, move |_| reply.clone())
    }

    /// As `scripted`, over TLS.
    pub fn scripted_over_tls(
        identity: Identity,
        answering: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(identity), |_, _| Cut::Never, answering)
    }

    fn start(
        identity: Option<Identity>,
        cutting: impl Fn(usize, usize) -> Cut + Send + Sync + 'static,
        answering: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            answering: Box::new(answering),
            cutting: Box::new(cutting),
            identity,
            state: Mutex::default(),
            changed: Condvar::new(),
            accepted: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, by address.
    pub fn url(&self) -> String {
        let scheme = self.shared.identity.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    /// All requests that arrived whole so far.
    pub fn requests(&self) -> Vec<Arc<Recorded>> {
        self.shared.state().requests.clone()
    }

    /// The one request that arrived. Panics unless it is exactly one.
    pub fn only_request(&self) -> Arc<Recorded> {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request should have come up");
        Arc::clone(&requests[0])
    }

    /// Waits until `count` requests have arrived whole, and gives all that have.
    pub fn wait_for(&self, count: usize) -> Vec<Arc<Recorded>> {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |s| s.requests.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "{count} requests should have come up, {} did",
            state.requests.len()
        );
        state.requests.clone()
    }

    /// How many connections were ever made to it.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Who made those handshakes, in order.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.state().peers.clone()
    }

    /// All TLS handshakes so far.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.shared.state().handshakes.clone()
    }

    /// Panics if a single byte came up.
    pub fn received_nothing(&self) {
        let requests = self.requests();
        assert!(requests.is_empty(), "this came up: {}", requests[0]);
        assert_eq!(
            self.shared.bytes.load(Ordering::SeqCst),
            0,
            "part of a request came up"
        );
    }

    /// Closes every connection that waits for a request, and says how many those were.
    pub fn close_idle_connections(&self) -> usize {
        let state = self.shared.state();
        let idle = state.open.values().filter(|(_, idle)| *idle);
        idle.map(|(socket, _)| socket.shutdown(Shutdown::Both))
            .filter(Result::is_ok)
            .count()
    }

    /// Waits until `count` connections are open and wait for a request.
    pub fn wait_for_idle(&self, count: usize) {
        let state = self.shared.state();
        let idle = |s: &State| s.open.values().filter(|(_, idle)| *idle).count();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |s| idle(s) != count)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        assert!(
            !waited.timed_out(),
            "{count} connections should have become idle"
        );
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for (socket, _) in self.shared.state().open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that fails while it looks at the state must not keep it from being torn down.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let _ = socket.set_nodelay(true);
        let connection = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let socket = Arc::new(socket);
        shared.note(|s| {
            s.open.insert(connection, (Arc::clone(&socket), false));
        });
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let ending = converse(&shared, connection, &socket).unwrap_or(Ending::Closed);
            if ending == Ending::Reset {
                // RFC 9293 §3.6: an abort. The last handle's drop then sends RST instead of FIN.
                let _ = socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
            shared.note(|s| {
                s.open.remove(&connection);
            });
        });
    }
}

/// Answers one connection's requests until it ends.
fn converse(shared: &Shared, connection: usize, socket: &Arc<TcpStream>) -> io::Result<Ending> {
    let plain = Plain(Arc::clone(socket));
    if (shared.cutting)(connection, 0) == Cut::AtOnce {
        return Ok(Ending::Closed);
    }
    let mut incoming: Incoming<Box<dyn Wire>> = Incoming::from(match &shared.identity {
        None => Box::new(plain),
        Some(identity) => {
            let (stream, handshake, peer) = tls::accept(identity, plain)?;
            shared.note(|s| {
                s.handshakes.push(handshake);
                s.peers.push(peer);
            });
            Box::new(stream)
        }
    });
    for number in 0.. {
        shared.note(|s| idle(s, connection, true));
        let cut = (shared.cutting)(connection, number);
        if cut == Cut::AtOnce {
            return Ok(Ending::Closed);
        }
        let before = incoming.total;
        if !incoming.begins()? {
            return Ok(Ending::Closed);
        }
        shared.note(|s| idle(s, connection, false));
        shared
            .bytes
            .fetch_add(incoming.total - before, Ordering::SeqCst);
        if cut == Cut::AtFirstByte {
            return Ok(Ending::Reset);
        }
        let Some(head) = incoming.head()? else {
            return Ok(Ending::Closed);
        };
        if cut == Cut::AfterHead {
            return Ok(Ending::Reset);
        }
        let body = body(&mut incoming, &head)?;
        let recorded = Arc::new(Recorded {
            connection,
            number,
            head,
            body,
        });
        let reply = (shared.answering)(&recorded);
        shared.note(|s| s.requests.push(recorded));
        let ending = answer(incoming.source(), &reply)?;
        if ending != Ending::Open {
            return Ok(ending);
        }
    }
    Ok(Ending::Closed)
}

fn idle(state: &mut State, connection: usize, idle: bool) {
    if let Some((_, was)) = state.open.get_mut(&connection) {
        *was = idle;
    }
}

fn body(incoming: &mut Incoming<Box<dyn Wire>>, head: &[u8]) -> io::Result<Vec<u8>> {
    let fields = wire::fields(head);
    let value = |name: &str| {
        let field = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(&field.1).into_owned())
    };
    if value("transfer-encoding").is_some() {
        return incoming.chunked();
    }
    match value("content-length").and_then(|v| v.parse().ok()) {
        Some(length) => incoming.exactly(length),
        None => Ok(Vec::new()),
    }
}

fn answer(wire: &mut Box<dyn Wire>, reply: &Reply) -> io::Result<Ending> {
    if !reply.interim.is_empty() {
        wire.write_all(&reply.interim)?;
        wire.flush()?;
    }
    if let Some(gate) = &reply.gate {
        gate.pass();
    }
    let (head, body) = reply.parts();
    match &reply.body_gate {
        None => wire.write_all(&[head, body].concat())?,
        Some(gate) => {
            wire.write_all(&head)?;
            wire.flush()?;
            gate.pass();
            wire.write_all(&body)?;
        }
    }
    wire.flush()?;
    Ok(reply.ending)
}

/// Plain text or TLS.
trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A socket that several threads may hold, so that a connection can be closed from outside.
pub struct Plain(Arc<TcpStream>);

impl Read for Plain {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(bytes)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}
