//! HTTP/1.1 read off a socket to the byte.
//!
//! Nothing is read ahead: the bytes of a head are looked at in the kernel's buffer first and only those up to its end are
//! taken out. So what the ledger counts is what was read, and a fault "after the head" has not one byte of the body.
//! Framing only; whether a request is right is judged elsewhere, from the header lines as they came.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::framing::is_token;

/// A head of more bytes is refused: eight times what the proxy itself takes from its callers.
const HEAD_BYTES: usize = 128 * 1024;
/// A chunk-size line or a trailer of more bytes is refused.
const CHUNK_LINE_BYTES: usize = 4096;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    received: u64,
    body_bytes: usize,
}

/// Why a request could not be read to its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// The client closed or reset the connection.
    Gone,
    /// More than the emulator takes.
    TooLarge,
    /// It is no HTTP/1 message, or one whose end cannot be known.
    Unreadable(&'static str),
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A request head as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    pub(super) version: String,
    /// In order and spelling, repeated ones too.
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Wire {
    /// `body_bytes` bounds a request body.
    pub(super) fn new(stream: TcpStream, body_bytes: usize) -> Self {
        Self {
            stream,
            received: 0,
            body_bytes,
        }
    }

    /// Bytes read since the last call.
    pub(super) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// Waits until the client has sent something that is not read yet; `false` if it closes instead.
    pub(super) async fn begun(&self) -> io::Result<bool> {
        Ok(self.stream.peek(&mut [0]).await? > 0)
    }

    /// Reads a request head and not one byte more.
    pub(super) async fn read_head(&mut self) -> Result<Head, Cut> {
        let mut bytes = Vec::with_capacity(1024);
        self.read_through(&mut bytes, b"\r\n\r\n", HEAD_BYTES)
            .await?;
        Head::parse(&bytes).map_err(Cut::Unreadable)
    }

    /// Reads the body that `head` announces and not one byte more; a chunked one without its chunks' frames.
    pub(super) async fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, Cut> {
        match head.framing()? {
            Framing::Length(length) if length > self.body_bytes => Err(Cut::TooLarge),
            Framing::Length(length) => {
                let mut body = Vec::new();
                self.read_exactly(length, &mut body).await?;
                Ok(body)
            }
            Framing::Chunked => self.read_chunks().await,
        }
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, Cut> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            self.read_through(&mut line, b"\r\n", CHUNK_LINE_BYTES)
                .await?;
            let size = line
                .split(|byte| matches!(byte, b';' | b'\r'))
                .next()
                .and_then(|digits| std::str::from_utf8(digits.trim_ascii()).ok())
                .and_then(|digits| usize::from_str_radix(digits, 16).ok())
                .ok_or(Cut::Unreadable("a chunk has no size"))?;
            if size == 0 {
                break;
            }
            if size > self.body_bytes - body.len() {
                return Err(Cut::TooLarge);
            }
            self.read_exactly(size, &mut body).await?;
            let mut end = Vec::new();
            self.read_exactly(2, &mut end).await?;
            if end != b"\r\n" {
                return Err(Cut::Unreadable("a chunk is longer than its size"));
            }
        }
        let mut trailers = 0;
        loop {
            let mut line = Vec::new();
            self.read_through(&mut line, b"\r\n", CHUNK_LINE_BYTES)
                .await?;
            trailers += line.len();
            if line == b"\r\n" {
                return Ok(body);
            }
            if trailers > CHUNK_LINE_BYTES {
                return Err(Cut::TooLarge);
            }
        }
    }

    async fn read_exactly(&mut self, count: usize, into: &mut Vec<u8>) -> Result<(), Cut> {
        let stop = into.len() + count;
        while into.len() < stop {
            let missing = (stop - into.len()) as u64;
            let read = (&mut self.stream).take(missing).read_buf(into).await?;
            self.received += read as u64;
            if read == 0 {
                return Err(Cut::Gone);
            }
        }
        Ok(())
    }

    /// Appends to `into` up to and including `end`.
    async fn read_through(
        &mut self,
        into: &mut Vec<u8>,
        end: &[u8],
        limit: usize,
    ) -> Result<(), Cut> {
        let mut window = [0; 4096];
        loop {
            let seen = self.stream.peek(&mut window).await?;
            if seen == 0 {
                return Err(Cut::Gone);
            }
            let before = into.len();
            into.extend_from_slice(&window[..seen]);
            // `end` may have begun in what was read before.
            let from = before.saturating_sub(end.len() - 1);
            let stop = into[from..]
                .windows(end.len())
                .position(|bytes| bytes == end)
                .map(|at| from + at + end.len());
            let take = stop.map_or(seen, |stop| stop - before);
            into.truncate(before + take);
            // The very bytes that were looked at; they are there.
            self.stream.read_exact(&mut window[..take]).await?;
            self.received += take as u64;
            if stop.is_some() {
                return Ok(());
            }
            if into.len() > limit {
                return Err(Cut::TooLarge);
            }
        }
    }

    /// Writes all of `bytes`; answers how many the kernel took.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> (u64, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]).await {
                Ok(0) => return (written as u64, Err(io::ErrorKind::WriteZero.into())),
                Ok(some) => written += some,
                Err(error) => return (written as u64, Err(error)),
            }
        }
        (written as u64, Ok(()))
    }

    /// Ends the connection with a TCP reset (RST) in place of a FIN: what the client has not read yet may be lost to it.
    pub(super) fn reset(self) {
        // Where the socket is gone already there is nobody to reset.
        let _set = self.stream.set_zero_linger();
    }

    /// Ends the connection so that the client can read what was written, though some of its request was never read:
    /// closing with unread bytes would send a reset.
    pub(super) async fn close(mut self) {
        if self.stream.shutdown().await.is_ok() {
            let mut rest = (&mut self.stream).take(256 * 1024);
            let _discarded = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        }
    }
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = bytes.strip_suffix(b"\r\n\r\n").unwrap_or(bytes);
        let mut lines = split_lines(text);
        let request_line = lines.next().unwrap_or_default();
        let mut words = request_line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("the request line has not three words");
        };
        if !is_token(method) || target.is_empty() || !version.starts_with(b"HTTP/") {
            return Err("the request line is not one of HTTP/1");
        }
        let headers = lines.map(|line| {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.ok_or("a header has no colon")?);
            if !is_token(name) {
                return Err("a header has no name, or a folded line stands among them");
            }
            if value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
                return Err("a header has a line end or NUL in its value");
            }
            Ok((text_of(name), value[1..].trim_ascii().to_vec()))
        });
        Ok(Self {
            method: text_of(method),
            target: target.to_vec(),
            version: text_of(version),
            headers: headers.collect::<Result<_, _>>()?,
        })
    }

    /// The values of every header called `name` in any case.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &[u8] {
        let mut parts = self.target.split(|byte| *byte == b'?');
        parts.next().unwrap_or_default()
    }

    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub(super) fn expects_continue(&self) -> bool {
        self.values("expect")
            .any(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether the connection may carry another request (RFC 9112 §9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        let closes = self
            .values("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        // RFC 9112 §6.1: after a message whose framing two servers could read differently, the connection is closed.
        let ambiguous = self.values("transfer-encoding").next().is_some();
        self.version == "HTTP/1.1" && !closes && !ambiguous
    }

    fn framing(&self) -> Result<Framing, Cut> {
        let coding = self.values("transfer-encoding").last();
        if let Some(coding) = coding {
            // RFC 9112 §6.3: the last coding must be chunked, else the end cannot be known.
            let last = coding.rsplit(|byte| *byte == b',').next();
            return if last.is_some_and(|it| it.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
                Ok(Framing::Chunked)
            } else {
                Err(Cut::Unreadable("Transfer-Encoding does not end in chunked"))
            };
        }
        let mut lengths = self.values("content-length");
        let Some(length) = lengths.next() else {
            return Ok(Framing::Length(0));
        };
        if lengths.any(|other| other != length) {
            return Err(Cut::Unreadable("there are two different Content-Length"));
        }
        let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(length)
            .ok()
            .filter(|_| digits)
            .and_then(|length| length.parse().ok())
            .map(Framing::Length)
            .ok_or(Cut::Unreadable("Content-Length is not a whole number"))
    }
}

fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.windows(2).position(|bytes| bytes == b"\r\n") {
            Some(at) => {
                rest = Some(&text[at + 2..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Head {
        Head::parse(text.as_bytes()).expect("a head")
    }

    #[test]
    fn headers_keep_order_spelling_and_repetition() {
        let head = parsed("POST /a?b=%2f HTTP/1.1\r\nHost: x\r\nX-a:  1 \r\nx-A: 2\r\n\r\n");
        assert_eq!(head.target, b"/a?b=%2f");
        assert_eq!(head.path(), b"/a");
        let names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "X-a", "x-A"]);
        assert_eq!(head.values("X-A").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn what_is_no_http_is_not_guessed_at() {
        for text in [
            "",
            "POST\r\n\r\n",
            "POST / HTTP/1.1 x\r\n\r\n",
            "PO ST / HTTP/1.1\r\n\r\n",
            "POST  HTTP/1.1\r\n\r\n",
            "POST / FTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nno colon\r\n\r\n",
            "POST / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "POST / HTTP/1.1\r\nA : b\r\n\r\n",
            "POST / HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
            "POST / HTTP/1.1\r\n: b\r\n\r\n",
        ] {
            assert!(Head::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_known_or_the_request_refused() {
        let framing = |fields: &str| parsed(&format!("POST / HTTP/1.1\r\n{fields}\r\n")).framing();
        assert!(matches!(framing(""), Ok(Framing::Length(0))));
        assert!(matches!(
            framing("Content-Length: 3\r\n"),
            Ok(Framing::Length(3))
        ));
        let twice = "Content-Length: 3\r\ncontent-length: 3\r\n";
        assert!(matches!(framing(twice), Ok(Framing::Length(3))));
        for fields in [
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n",
        ] {
            assert!(matches!(framing(fields), Ok(Framing::Chunked)), "{fields}");
        }
        for fields in [
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert!(
                matches!(framing(fields), Err(Cut::Unreadable(_))),
                "{fields}"
            );
        }
    }

    #[test]
    fn only_http_1_1_without_close_keeps_a_connection() {
        let keeps = |text: &str| parsed(text).keeps_alive();
        assert!(keeps("POST / HTTP/1.1\r\nConnection: te\r\n\r\n"));
        for text in [
            "POST / HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nConnection: te, Close\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(!keeps(text), "{text:?}");
        }
    }
}
