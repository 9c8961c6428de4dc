//! A request as a caller writes it, made into bytes; whatever is odd about it is written out in the test.

use super::{SESSIONS, reply::chunked};

/// A POST of a caller.
#[derive(Clone)]
pub struct Post {
    method: String,
    target: Vec<u8>,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Length,
    Chunks(usize),
    Unsaid,
}

impl Post {
    /// A session request to a loopback name with this body and its Content-Length.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            target: SESSIONS.as_bytes().to_vec(),
            version: "HTTP/1.1",
            headers: vec![("Host".to_owned(), b"localhost".to_vec())],
            body: body.into(),
            framing: Framing::Length,
        }
    }

    /// Another method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// Another target.
    pub fn to(mut self, target: impl AsRef<[u8]>) -> Self {
        self.target = target.as_ref().to_vec();
        self
    }

    /// HTTP/1.0.
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Another Host.
    pub fn host(self, host: &str) -> Self {
        self.without("Host").header("Host", host)
    }

    /// Without a header that was there.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// With the body in chunks of `size` bytes instead of a Content-Length.
    pub fn in_chunks_of(mut self, size: usize) -> Self {
        self.framing = Framing::Chunks(size);
        self
    }

    /// Without any framing header of its own; the body follows the head as it is.
    pub fn unframed(mut self) -> Self {
        self.framing = Framing::Unsaid;
        self
    }

    /// Request line and headers, with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} ", self.method).into_bytes();
        head.extend_from_slice(&self.target);
        head.extend_from_slice(format!(" {}\r\n", self.version).as_bytes());
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        match self.framing {
            Framing::Length => {
                head.extend_from_slice(
                    format!("Content-Length: {}\r\n", self.body.len()).as_bytes(),
                );
            }
            Framing::Chunks(_) => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Unsaid => {}
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        match self.framing {
            Framing::Chunks(size) => bytes.extend(chunked(&self.body, size)),
            Framing::Length | Framing::Unsaid => bytes.extend_from_slice(&self.body),
        }
        bytes
    }
}
