//! A caller that sends exactly the bytes it is given and reads answers by their framing.
//!
//! Every read ends after [`PATIENCE`]: a proxy that does not answer fails the test and never hangs it.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, pki_types::ServerName};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::{PATIENCE, Post, wire, wire::Incoming};

/// One connection of a caller.
pub struct Client {
    incoming: Incoming<Stream>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// The statuses of the interim answers (1xx) before it.
    pub interim: Vec<u16>,
    /// Its status.
    pub status: u16,
    /// Its headers as they came.
    pub headers: Vec<(String, String)>,
    /// Its body, decoded where it came chunked.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the listener should accept connections")
    }

    /// Connects over TCP, or says why not.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream)))
    }

    /// Connects over TCP from another of this host's addresses.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source = SocketAddr::new(source, 0).into();
        socket.bind(&source).expect("an address of this host");
        let connected = socket.connect_timeout(&address.into(), PATIENCE);
        connected.expect("the listener should accept connections");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a TCP socket");
        Self::over(Stream::Tcp(stream))
    }

    /// Connects over TLS, to 127.0.0.1 by that name, or says why not.
    pub fn try_connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self::over(Stream::Tls(Box::new(StreamOwned::new(
            connection, stream,
        )))))
    }

    /// The certificate that the proxy showed, and whether a session was resumed.
    pub fn secured(&mut self) -> (Vec<u8>, bool) {
        let Stream::Tls(stream) = self.incoming.source() else {
            panic!("the connection should be TLS");
        };
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        (shown.map_or_else(Vec::new, |c| c.to_vec()), resumed)
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the listener should accept connections");
        Self::over(Stream::Unix(stream))
    }

    fn over(stream: Stream) -> Self {
        stream.limit_reads(PATIENCE);
        stream.limit_writes(PATIENCE);
        Self {
            incoming: Incoming::from(stream),
        }
    }

    /// Sends `bytes`, all of them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .expect("the proxy should read what it is sent");
    }

    /// Sends `bytes`; the other side may have closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.incoming.source();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Sends a request and reads its answer.
    pub fn post(&mut self, post: &Post) -> Answer {
        self.send(&post.bytes());
        self.answer("POST")
    }

    /// Sends a GET and reads its answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.answer("GET")
    }

    /// Reads one answer. Panics where none comes whole.
    pub fn answer(&mut self, method: &str) -> Answer {
        match self.try_answer(method) {
            Ok(answer) => answer,
            Err(e) => panic!("a whole answer should have come: {e}"),
        }
    }

    /// Reads one answer to a request of `method`, the interim ones before it included.
    pub fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let head = self.incoming.head()?.ok_or(ErrorKind::UnexpectedEof)?;
            let status = status(&head)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let headers: Vec<_> = wire::fields(&head)
                .into_iter()
                .map(|(n, v)| (n, String::from_utf8_lossy(&v).into_owned()))
                .collect();
            let mut answer = Answer {
                interim,
                status,
                headers,
                body: Vec::new(),
            };
            answer.body = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
                Vec::new()
            } else if let Some(coding) = answer.header("transfer-encoding") {
                assert_eq!(coding, "chunked");
                self.incoming.chunked()?
            } else if let Some(length) = answer.header("content-length") {
                self.incoming
                    .exactly(length.parse().expect("a length is a number"))?
            } else {
                self.incoming.the_rest()?
            };
            return Ok(answer);
        }
    }

    /// Reads an interim answer and nothing after it.
    pub fn interim(&mut self) -> u16 {
        let head = self.incoming.head();
        let head = head.expect("an interim answer").expect("no end before it");
        status(&head).expect("a status line")
    }

    /// Whether bytes of an answer are there within `patience`.
    pub fn hears_something_within(&mut self, patience: Duration) -> bool {
        self.incoming.source().limit_reads(patience);
        let heard = self.incoming.begins();
        self.incoming.source().limit_reads(PATIENCE);
        match heard {
            // An end is heard, too.
            Ok(_) => true,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Panics unless the other side closes the connection, without a further byte.
    pub fn is_closed(&mut self) {
        match self.incoming.begins() {
            Ok(false) => {}
            Ok(true) => panic!("more came instead of the connection's end"),
            // What we sent and nobody read makes the end a reset.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            Err(e) => panic!("the connection should have been closed: {e}"),
        }
    }

    /// Sends exact bytes and finishes sending, so that both arrive at once.
    #[cfg(target_os = "linux")]
    pub fn send_the_last(&mut self, bytes: &[u8]) {
        let Stream::Tcp(stream) = self.incoming.source() else {
            panic!("only TCP can");
        };
        let socket = socket2::SockRef::from(&*stream);
        socket.set_tcp_cork(true).expect("a TCP socket");
        self.send(bytes);
        self.finish_sending();
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        match self.incoming.source() {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
            Stream::Tls(s) => s.sock.shutdown(Shutdown::Write),
        }
        .expect("an open connection");
    }

    /// Reads all there is until the other side closes.
    pub fn everything(&mut self) -> Vec<u8> {
        self.incoming.the_rest().unwrap_or_default()
    }
}

impl Answer {
    /// The one value of a header; `None` where it is absent. Panics where it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = values.next()?;
        assert!(values.next().is_none(), "{name} is repeated: {self:?}");
        Some(&first.1)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("the body should be JSON ({e}): {}", self.text()))
    }

    /// Panics unless this is the proxy's own answer with that status, code and `sent`; gives its body.
    pub fn is_problem(&self, status: u16, code: &str, sent: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let problem = self.problem();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["sent"], sent, "{problem}");
        problem
    }

    /// Panics unless this is a problem of the shape that product.md gives it (RFC 9457); gives its body.
    pub fn problem(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        let code = problem["code"].as_str().expect("a code");
        assert_eq!(
            problem["type"],
            format!("urn:ingo-signing-proxy:problem:{code}")
        );
        assert_eq!(problem["status"], self.status, "{problem}");
        for field in ["title", "detail", "exchange_id"] {
            let text = problem[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {field}: {problem}");
        }
        let sent = problem["sent"].as_str().expect("whether it was sent");
        assert!(["no", "maybe"].contains(&sent), "{problem}");
        if self.status == 503 || self.status < 500 {
            assert_eq!(sent, "no", "4xx and 503 always mean no: {problem}");
        }
        problem
    }
}

fn status(head: &[u8]) -> io::Result<u16> {
    std::str::from_utf8(head)
        .ok()
        .and_then(|h| h.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| {
            let text = String::from_utf8_lossy(head).into_owned();
            io::Error::new(
                ErrorKind::InvalidData,
                format!("no HTTP/1.1 answer: {text}"),
            )
        })
}

impl Stream {
    fn limit_reads(&self, patience: Duration) {
        match self {
            Self::Tcp(s) => s.set_read_timeout(Some(patience)),
            Self::Unix(s) => s.set_read_timeout(Some(patience)),
            Self::Tls(s) => s.sock.set_read_timeout(Some(patience)),
        }
        .expect("a time-out above zero");
    }

    fn limit_writes(&self, patience: Duration) {
        match self {
            Self::Tcp(s) => s.set_write_timeout(Some(patience)),
            Self::Unix(s) => s.set_write_timeout(Some(patience)),
            Self::Tls(s) => s.sock.set_write_timeout(Some(patience)),
        }
        .expect("a time-out above zero");
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(bytes),
            Self::Unix(s) => s.read(bytes),
            Self::Tls(s) => s.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(bytes),
            Self::Unix(s) => s.write(bytes),
            Self::Tls(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.flush(),
            Self::Unix(s) => s.flush(),
            Self::Tls(s) => s.flush(),
        }
    }
}
