//! A collector of spans that takes OTLP/HTTP in JSON, on a port of 127.0.0.1 that the system chooses.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

use super::{
    PATIENCE,
    tls::Identity,
    wire::{self, Incoming},
};

/// A running collector. It ends when dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// One request to it.
#[derive(Clone)]
pub struct Export {
    /// Request line and headers.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// One span as it arrived.
#[derive(Clone, Debug)]
pub struct Span(Value);

type Answering = dyn Fn(usize) -> String + Send + Sync;

struct Shared {
    identity: Option<Identity>,
    answering: Box<Answering>,
    exports: Mutex<Vec<Export>>,
    changed: Condvar,
    ended: AtomicBool,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::scripted(|_| answer("200 OK", "", "{}"))
    }

    /// One that gives each request, counted from 0, the answer that `answering` makes: all bytes of it.
    pub fn scripted(answering: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::listening(None, answering)
    }

    /// One that takes everything over TLS.
    pub fn over_tls(identity: Identity) -> Self {
        Self::listening(Some(identity), |_| answer("200 OK", "", "{}"))
    }

    fn listening(
        identity: Option<Identity>,
        answering: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            identity,
            answering: Box::new(answering),
            exports: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || match &shared.identity {
                    None => converse(&shared, socket),
                    Some(identity) => {
                        let connection = ServerConnection::new(identity.server());
                        let connection = connection.expect("a whole configuration");
                        converse(&shared, StreamOwned::new(connection, socket));
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// Where spans are to be sent.
    pub fn url(&self) -> String {
        let scheme = self.shared.identity.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}/v1/traces", self.address)
    }

    /// A configuration that has spans sent here, with more lines of the section `tracing`.
    pub fn yaml(&self, more: &str) -> String {
        format!("tracing:\n  otlp_endpoint: {}\n{more}", self.url())
    }

    /// All requests so far.
    pub fn exports(&self) -> Vec<Export> {
        self.shared.exports().clone()
    }

    /// All bytes of bodies and heads so far.
    pub fn bytes(&self) -> Vec<u8> {
        let exports = self.exports().into_iter();
        exports.flat_map(|e| [e.head, e.body].concat()).collect()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        spans(&self.exports())
    }

    /// Waits until as many exchanges have arrived with all their spans, and gives these.
    pub fn wait_for_exchanges(&self, count: usize) -> Vec<Span> {
        let exchanges =
            |exports: &[Export]| spans(exports).iter().filter(|s| s.kind() == 2).count();
        self.wait(|exports| exchanges(exports) >= count);
        self.spans()
    }

    /// Waits until as many requests have arrived.
    pub fn wait_for_exports(&self, count: usize) -> Vec<Export> {
        self.wait(|exports| exports.len() >= count);
        self.exports()
    }

    fn wait(&self, enough: impl Fn(&[Export]) -> bool) {
        let exports = self.shared.exports();
        let (exports, waited) = self
            .shared
            .changed
            .wait_timeout_while(exports, PATIENCE, |exports| !enough(exports))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "more spans should have arrived than {:#?}",
            spans(&exports)
        );
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

impl Span {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Its trace, in hexadecimal digits.
    pub fn trace(&self) -> &str {
        self.text("traceId")
    }

    /// Its identifier.
    pub fn id(&self) -> &str {
        self.text("spanId")
    }

    /// Its parent's; empty where it has none.
    pub fn parent(&self) -> &str {
        self.text("parentSpanId")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// 1: internal, 2: server, 3: client.
    pub fn kind(&self) -> u64 {
        self.0["kind"].as_u64().expect("a number")
    }

    /// Whether it says that it failed.
    pub fn failed(&self) -> bool {
        self.0["status"]["code"] == 2
    }

    /// From when to when, in nanoseconds since 1970.
    pub fn times(&self) -> (u64, u64) {
        let time = |name| self.text(name).parse().expect("a number as text");
        (time("startTimeUnixNano"), time("endTimeUnixNano"))
    }

    /// The value of an attribute as text; `None` where it has none.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array().expect("a list");
        let attribute = attributes.iter().find(|a| a["key"] == key)?;
        let value = attribute["value"].as_object().expect("an object");
        value.values().next()?.as_str()
    }
}

impl Shared {
    fn exports(&self) -> MutexGuard<'_, Vec<Export>> {
        // A test that fails while it looks must not keep others from looking.
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn converse(shared: &Shared, socket: impl Read + Write) {
    let mut incoming = Incoming::from(socket);
    while let Ok(Some(head)) = incoming.head() {
        let fields = wire::fields(&head);
        let length = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| String::from_utf8_lossy(value).parse().ok())
            .expect("a Content-Length");
        let Ok(body) = incoming.exactly(length) else {
            return;
        };
        let mut exports = shared.exports();
        let answer = (shared.answering)(exports.len());
        exports.push(Export { head, body });
        drop(exports);
        shared.changed.notify_all();
        let source = incoming.source();
        let written = source.write_all(answer.as_bytes());
        if written.and_then(|()| source.flush()).is_err() {
            return;
        }
    }
}

/// The bytes of an answer.
pub fn answer(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

fn spans(exports: &[Export]) -> Vec<Span> {
    let mut spans = Vec::new();
    for export in exports {
        let body: Value = serde_json::from_slice(&export.body).expect("JSON");
        for resource in body["resourceSpans"].as_array().expect("a list") {
            for scope in resource["scopeSpans"].as_array().expect("a list") {
                let list = scope["spans"].as_array().expect("a list");
                spans.extend(list.iter().cloned().map(Span));
            }
        }
    }
    spans
}
