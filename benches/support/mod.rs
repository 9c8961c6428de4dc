//! What the benches share: the request that is measured, and an upstream and a caller that do as little as they can.
//!
//! Both work on threads of their own with blocking sockets, so that an exchange costs the proxy's work and little else.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "no bench needs all that the benches share"
)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use ingo_signing_proxy::{
    secret::Secret,
    signing::{Algorithm, BodyDigest, HeaderOrder, SignedHeaders, Signer, Unsigned},
};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where Create Session is posted to.
pub const TARGET: &str = "/api/v1/sessions/point-in-time/plugin";
/// Body sizes at which signing is measured, in bytes.
pub const SIZES: [usize; 5] = [0, 300, 4096, 65_536, 1 << 20];
/// The secret of all benches.
pub const SECRET: &[u8] = b"bench-secret-of-thirty-two-bytes";
/// 2026-01-02 03:04:05 UTC: the same date in every run, and so the same work.
pub const AT: Duration = Duration::from_secs(1_767_323_045);

/// Threads that [`upstream`] starts.
pub const UPSTREAM_THREADS: usize = 4;
/// How long a proxy may take to listen; under valgrind it takes seconds.
const START: Duration = Duration::from_secs(60);

/// The signer that is measured.
pub fn signer() -> Signer {
    let secret = Secret::new(SECRET.to_vec());
    Signer::new(
        "bench",
        &secret,
        Algorithm::HmacSha512,
        HeaderOrder::ORDER_A,
    )
}

/// A request as each is signed, `after` [`AT`]: the body's digest, then the headers, of which `take` has what it returns.
pub fn sign<T>(
    signer: &Signer,
    body: &[u8],
    after: Duration,
    take: impl FnOnce(&SignedHeaders<'_>) -> T,
) -> T {
    let digest = BodyDigest::of(body);
    let unsigned = Unsigned {
        method: "POST",
        target: TARGET.as_bytes(),
        digest: &digest,
    };
    take(&signer.sign(unsigned, UNIX_EPOCH + AT + after))
}

/// Signed headers as a verifier gets them.
pub fn captured(headers: &SignedHeaders<'_>) -> Vec<(String, Vec<u8>)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.as_bytes().to_vec());
    headers.fields().map(owned).to_vec()
}

/// What the MAC is over for a body, for measuring the MAC by itself.
pub fn signing_string(body: &[u8]) -> Vec<u8> {
    let digest = BodyDigest::of(body);
    let unsigned = Unsigned {
        method: "POST",
        target: TARGET.as_bytes(),
        digest: &digest,
    };
    let date = ingo_signing_proxy::signing::imf_fixdate(UNIX_EPOCH + AT);
    ingo_signing_proxy::signing::signing_string(&HeaderOrder::ORDER_A, unsigned, &date)
}

/// A valid Create Session of `size` bytes; one that is shorter than any is filled with spaces instead.
pub fn body(size: usize) -> Vec<u8> {
    let head = br#"{"participant_unique_id1":"bench","recipient_information":{"first_name":"Ada","last_name":"L","address_line1":"1 Main St","city":"Atlanta","state":"GA","zip_code":"30313"},"note":""#;
    if size < head.len() + 2 {
        return vec![b' '; size];
    }
    let mut body = head.to_vec();
    body.resize(size - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

/// Starts an upstream that answers every request with a session, on [`UPSTREAM_THREADS`] threads, and says where it is.
pub fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    for _ in 0..UPSTREAM_THREADS {
        let listener = listener.try_clone().expect("a second handle");
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                serve(stream);
            }
        });
    }
    address
}

fn serve(mut stream: TcpStream) {
    let answer = concat!(
        r#"{"status":100,"client_message":"Success","data":{"session_identifier":"7830227a-ba47-4d28-9416-cad41a446db7","#,
        r#""authorized_url":"https://iip-webplugin-uat.ingo.money/session/7830227a","#,
        r#""authorized_url_expiration_utc":"2099-12-10T20:14:19.763941Z","participant_unique_id1":"bench","#,
        r#""participant_unique_id2":""},"time":0.8}"#
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    let _sent_at_once = stream.set_nodelay(true);
    let mut message = Message::default();
    while message.read(&mut stream) {
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A caller with one connection.
#[derive(Debug)]
pub struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Message,
}

impl Caller {
    /// Connects, as soon as somebody listens at `address`, to post `body` there.
    pub fn connect(address: SocketAddr, body: &[u8]) -> Self {
        let start = Instant::now();
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => assert!(start.elapsed() < START, "no proxy at {address}: {error}"),
            }
            thread::yield_now();
        };
        stream.set_nodelay(true).expect("a TCP socket");
        let mut request = format!(
            "POST {TARGET} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        Self {
            stream,
            request,
            answer: Message::default(),
        }
    }

    /// One exchange. Anything but 200 ends the bench: what is refused says nothing of what an exchange costs.
    pub fn exchange(&mut self) {
        self.stream.write_all(&self.request).expect("it is read");
        assert!(self.answer.read(&mut self.stream), "it is answered");
        let start = String::from_utf8_lossy(&self.answer.bytes[..self.answer.bytes.len().min(15)]);
        assert!(start.starts_with("HTTP/1.1 200"), "answered with {start}");
    }
}

/// A message with `Content-Length`, and room for the next one.
#[derive(Debug, Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Whether one came, whole.
    fn read(&mut self, stream: &mut TcpStream) -> bool {
        self.bytes.clear();
        let mut whole = usize::MAX;
        let mut piece = [0; 65_536];
        while self.bytes.len() < whole {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
            }
            if whole == usize::MAX {
                whole = self.length().unwrap_or(usize::MAX);
            }
        }
        true
    }

    /// Head and body together, once the head is here.
    fn length(&self) -> Option<usize> {
        let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let (_, rest) = head.split_once("\r\ncontent-length:")?;
        let (length, _) = rest.split_once("\r\n")?;
        Some(end + length.trim().parse::<usize>().expect("a length"))
    }
}
