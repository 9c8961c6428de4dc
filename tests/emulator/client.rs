//! A client that writes what it is told and reads what comes, to the byte; and a signer on the bare primitives.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ingo_signing_proxy::{
    clock::Clock,
    emulator::{Builder, Emulator},
    secret::Secret,
};
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const USERNAME: &str = "acme";
pub(crate) const SECRET: &[u8] = b"made up for these tests";
pub(crate) const SESSIONS: &str = "/api/v1/sessions/point-in-time/plugin";
pub(crate) const NAMES: &str = "request-line x-date content-type content-sha512 content-length";

/// Fri, 17 Jan 2020 19:59:29 GMT: where the emulator's clock stands still in these tests.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_579_291_169)
}

pub(crate) fn builder() -> Builder {
    Emulator::builder(USERNAME, Secret::new(SECRET.to_vec())).clock(Clock::from_fn(now))
}

pub(crate) async fn started() -> Emulator {
    builder().start().await.expect("a free port")
}

/// A request that can be changed before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A POST that is signed as Ingo asks, now.
    pub(crate) fn signed(target: &str, body: &[u8]) -> Self {
        Self::signed_at(target, body, now())
    }

    pub(crate) fn signed_at(target: &str, body: &[u8], at: SystemTime) -> Self {
        let date = httpdate::fmt_http_date(at);
        let digest = STANDARD.encode(Sha512::digest(body));
        let length = body.len();
        let text = format!(
            "POST {target} HTTP/1.1\nx-date: {date}\ncontent-type: application/json\ncontent-sha512: {digest}\ncontent-length: {length}"
        );
        let signature = STANDARD.encode(mac(SECRET, text.as_bytes()));
        let authorization = format!(
            r#"hmac username="{USERNAME}", algorithm="hmac-sha512", headers="{NAMES}", signature="{signature}""#
        );
        Self {
            method: "POST".to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: [
                ("Host", "127.0.0.1"),
                ("X-Date", &date),
                ("Content-Type", "application/json"),
                ("Content-sha512", &digest),
                ("Content-Length", &length.to_string()),
                ("Authorization", &authorization),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            body: body.to_vec(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

pub(crate) fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// A signed Create Session request.
pub(crate) fn create_session(key: Option<&str>, body: &str) -> Request {
    let request = Request::signed(SESSIONS, body.as_bytes());
    match key {
        Some(key) => request.with("Idempotency-Key", key),
        None => request,
    }
}

pub(crate) const SESSION: &str =
    r#"{"participant_unique_id1":"p-1","recipient_information":{"first_name":"Alex"}}"#;

/// A signed call that pushes money.
pub(crate) fn payment(id: &str) -> Request {
    let body = format!(r#"{{"participant_unique_id1":"{id}","amount":"1.00"}}"#);
    Request::signed("/gateway/process", body.as_bytes())
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes of head and body.
    pub(crate) bytes: usize,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream }
    }

    pub(crate) async fn to(emulator: &Emulator) -> Self {
        Self::connect(emulator.addresses().gateway).await
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn call(&mut self, request: &Request) -> io::Result<Answer> {
        self.stream.write_all(&request.bytes()).await?;
        self.answer().await
    }

    /// Reads an answer and not one byte more. An end before that is `UnexpectedEof`, a reset is `ConnectionReset`.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let text = String::from_utf8(head).expect("ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status: status.and_then(|it| it.parse().ok()).expect("a status"),
            headers,
            body: Vec::new(),
            bytes: text.len(),
        };
        let length = answer.header("content-length").expect("a length");
        answer.body = vec![0; length.parse().expect("a number")];
        self.stream.read_exact(&mut answer.body).await?;
        answer.bytes += answer.body.len();
        Ok(answer)
    }

    /// Reads until the connection ends; what came, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        loop {
            match self.stream.read_buf(&mut bytes).await {
                Ok(0) => return (bytes, Ok(())),
                Ok(_) => {}
                Err(error) => return (bytes, Err(error)),
            }
        }
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn call(emulator: &Emulator, request: &Request) -> Answer {
    let mut client = Client::to(emulator).await;
    client.call(request).await.expect("an answer")
}
