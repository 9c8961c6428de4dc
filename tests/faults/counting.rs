//! An upstream that fails as the table says and counts every byte it reads, and none ahead.
//!
//! What it saw of a request is noted before it answers, resets or falls silent, so that whoever has an answer finds it.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    support::{PATIENCE, tls::Identity, wire},
    table::Fault,
};

/// A running upstream. It ends when dropped.
pub struct Counting {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Bound, and not listening: connections to it are refused.
    closed: Mutex<Option<Socket>>,
}

/// What was read of one request.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub connection: usize,
    /// Counted from 0 on its connection.
    pub number: usize,
    /// When its first byte had arrived.
    pub at: SystemTime,
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    /// Whether nothing of it is missing.
    pub whole: bool,
}

/// Decides from the how-manieth request it is, of all and of its connection, both counted from 0.
type Script = dyn Fn(usize, usize) -> Option<Fault> + Send + Sync;

struct Shared {
    script: Box<Script>,
    tls: Option<Arc<ServerConfig>>,
    /// How many connections still fail their TLS handshake.
    no_tls: AtomicUsize,
    healed: AtomicBool,
    /// How many connections are still accepted.
    left: AtomicUsize,
    ended: AtomicBool,
    connections: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    begun: usize,
    arrivals: Vec<Arrival>,
    open: Vec<(usize, Arc<TcpStream>)>,
}

impl Counting {
    /// One that speaks plain text and meets each request with what `script` says.
    pub fn scripted(
        script: impl Fn(usize, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let upstream = Self::refusing(script);
        upstream.listen();
        upstream
    }

    /// The same, refusing connections until [`Counting::listen`].
    pub fn refusing(
        script: impl Fn(usize, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::bound(Box::new(script), None, 0)
    }

    /// One that never fails but for the TLS handshakes of its first `failing` connections.
    pub fn over_tls(identity: &Identity, failing: usize) -> Self {
        let upstream = Self::bound(Box::new(|_, _| None), Some(identity.server()), failing);
        upstream.listen();
        upstream
    }

    fn bound(script: Box<Script>, tls: Option<Arc<ServerConfig>>, no_tls: usize) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        Self {
            shared: Arc::new(Shared {
                script,
                tls,
                no_tls: AtomicUsize::new(no_tls),
                healed: AtomicBool::new(false),
                left: AtomicUsize::new(usize::MAX),
                ended: AtomicBool::new(false),
                connections: AtomicUsize::new(0),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            address: address.as_socket().expect("an IP address"),
            closed: Mutex::new(Some(socket)),
        }
    }

    /// Accepts connections from now on.
    pub fn listen(&self) {
        let socket = self.closed.lock().expect("no holder panics").take();
        let Some(socket) = socket else { return };
        socket.listen(1024).expect("a bound socket can listen");
        let listener = TcpListener::from(socket);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || accept(listener, &shared));
    }

    /// Accepts so many connections more, and refuses those after them.
    pub fn listen_for(&self, connections: usize) {
        self.shared.left.store(connections, Ordering::SeqCst);
        self.listen();
    }

    /// Fails no more.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::SeqCst);
        self.shared.no_tls.store(0, Ordering::SeqCst);
        self.listen();
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        let scheme = self.shared.tls.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    /// All that arrived so far, whole or in part.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.state().arrivals.clone()
    }

    /// Waits until `count` requests have arrived, whole or in part, and gives them.
    pub fn wait_for(&self, count: usize) -> Vec<Arrival> {
        self.wait(
            |s| s.arrivals.len() >= count,
            "more requests should have come up",
        );
        self.arrivals()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections, as a server does with idle ones.
    pub fn close_connections(&self) {
        for (_, socket) in &self.shared.state().open {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits until no connection is open.
    pub fn wait_for_no_connection(&self) {
        self.wait(
            |s| s.open.is_empty(),
            "every connection should have been closed",
        );
    }

    fn wait(&self, enough: impl Fn(&State) -> bool, otherwise: &str) {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |s| !enough(s))
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        assert!(!waited.timed_out(), "{otherwise}");
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.close_connections();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while let Some(listening) = &listener {
        let socket = listening.accept();
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok((socket, _)) = socket else { continue };
        if shared.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Before this one is served, so that the next is refused for certain.
            listener = None;
        }
        let _ = socket.set_nodelay(true);
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let socket = Arc::new(socket);
        shared.note(|s| s.open.push((connection, Arc::clone(&socket))));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let reset = converse(&shared, connection, &socket).unwrap_or(false);
            if reset {
                // RFC 9293 §3.6: an abort. The last handle's drop then sends RST instead of FIN.
                let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
            shared.note(|s| s.open.retain(|(c, _)| *c != connection));
        });
    }
}

/// Serves one connection; `true` where it is to be reset.
fn converse(shared: &Shared, connection: usize, socket: &Arc<TcpStream>) -> io::Result<bool> {
    let failing = |n: usize| n.checked_sub(1);
    if shared
        .no_tls
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, failing)
        .is_ok()
    {
        socket.peek(&mut [0])?;
        (&**socket).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        return Ok(false);
    }
    let mut wire: Box<dyn Wire> = match &shared.tls {
        None => Box::new(socket.try_clone()?),
        Some(tls) => {
            let session = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(session, socket.try_clone()?))
        }
    };
    for number in 0.. {
        let mut first = [0];
        if shared.tls.is_none() && socket.peek(&mut first)? == 0 {
            return Ok(false);
        }
        let mut arrival = Arrival {
            connection,
            number,
            at: SystemTime::now(),
            head: Vec::new(),
            body: Vec::new(),
            whole: false,
        };
        let mut fault = None;
        if shared.tls.is_none() {
            fault = begin(shared, number);
        }
        if matches!(fault, Some(Fault::ResetUnread | Fault::DeadPooled)) {
            shared.note(|s| s.arrivals.push(arrival));
            return Ok(true);
        }
        while !arrival.head.ends_with(b"\r\n\r\n") {
            if wire.read(&mut first)? == 0 {
                return Ok(false);
            }
            // Over TLS nothing could be peeked at, and what came before this was the handshake.
            if arrival.head.is_empty() {
                arrival.at = SystemTime::now();
            }
            arrival.head.push(first[0]);
        }
        if fault == Some(Fault::ResetAfterHead) {
            shared.note(|s| s.arrivals.push(arrival));
            return Ok(true);
        }
        arrival.body = vec![0; length(&arrival.head)];
        wire.read_exact(&mut arrival.body)?;
        arrival.whole = true;
        shared.note(|s| s.arrivals.push(arrival));
        let (bytes, ending) = answer(fault);
        wire.write_all(&bytes)?;
        wire.flush()?;
        match ending {
            Ending::Open => {}
            Ending::Closed => return Ok(false),
            Ending::Reset => return Ok(true),
            Ending::Silent => {
                // Until the proxy has had enough.
                let _gone = wire.read(&mut first);
                return Ok(false);
            }
        }
    }
    Ok(false)
}

fn begin(shared: &Shared, number: usize) -> Option<Fault> {
    let mut count = 0;
    shared.note(|s| {
        count = s.begun;
        s.begun += 1;
    });
    let healed = shared.healed.load(Ordering::SeqCst);
    (shared.script)(count, number).filter(|_| !healed)
}

fn length(head: &[u8]) -> usize {
    let fields = wire::fields(head);
    let field = fields
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let value = field.map(|(_, v)| String::from_utf8_lossy(v).into_owned());
    value.and_then(|v| v.parse().ok()).unwrap_or(0)
}

enum Ending {
    Open,
    Closed,
    Reset,
    Silent,
}

/// The body of an answer that has this status, or none of Ingo's.
pub fn body(status: Option<u32>) -> String {
    match status {
        Some(status) => format!(
            r#"{{ "status": {status}, "client_message":"Made up","data":{{"session_identifier":"s","transaction_id":7}},"time":0.8 }}"#
        ),
        None => r#"{"message": "made up"}"#.to_owned(),
    }
}

fn http(status: u16, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Made-Up\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn answer(fault: Option<Fault>) -> (Vec<u8>, Ending) {
    let well = http(200, "", &body(Some(100)));
    match fault {
        None => (well, Ending::Open),
        Some(Fault::ResetAfterBody) => (Vec::new(), Ending::Reset),
        Some(Fault::ResetInAnswer) => (well[..well.len() - 20].to_vec(), Ending::Reset),
        Some(Fault::Truncated) => (well[..well.len() - 20].to_vec(), Ending::Closed),
        Some(Fault::Stall) => (Vec::new(), Ending::Silent),
        Some(Fault::Garbage) => (b"\x16\x03 this is no HTTP\r\n\r\n".to_vec(), Ending::Closed),
        Some(Fault::Status(status, retry_after)) => {
            let more = retry_after.map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
            (http(status, &more, &body(None)), Ending::Open)
        }
        Some(Fault::LastStatus(status)) => {
            let close = "Connection: close\r\n";
            (http(status, close, &body(None)), Ending::Closed)
        }
        Some(Fault::BodyStatus(status)) => (http(200, "", &body(Some(status))), Ending::Open),
        Some(other) => unreachable!("{other:?} happens before an answer"),
    }
}

/// Plain text or TLS.
trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}
