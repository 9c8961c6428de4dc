//! HTTP/1.1 as bytes (RFC 9112): finding a head's end, reading a body by its framing, and nothing more.
//!
//! Used by the upstream and the client alike. It is strict where the proxy must be: CRLF ends a line, a chunk's size
//! is hexadecimal. It never changes a byte of what it read.

use std::io::{self, ErrorKind, Read};

/// Bytes that arrive, and those that arrived early.
pub struct Incoming<R> {
    source: R,
    held: Vec<u8>,
    /// All bytes that ever arrived.
    pub total: usize,
}

impl<R: Read> Incoming<R> {
    /// Reads from `source`.
    pub fn from(source: R) -> Self {
        Self {
            source,
            held: Vec::new(),
            total: 0,
        }
    }

    /// What is read from, for writing to it.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Whether bytes arrived that nobody asked for yet.
    pub fn has_more(&self) -> bool {
        !self.held.is_empty()
    }

    /// Waits for at least one more byte; 0 is the end.
    pub fn more(&mut self) -> io::Result<usize> {
        let mut block = [0; 16 * 1024];
        let count = loop {
            match self.source.read(&mut block) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.held.extend_from_slice(&block[..count]);
        self.total += count;
        Ok(count)
    }

    /// Waits until at least one byte is there; `false` is the end.
    pub fn begins(&mut self) -> io::Result<bool> {
        Ok(self.has_more() || self.more()? > 0)
    }

    /// A message's head with the empty line that ends it; `None` where the peer closed before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.held[searched..], b"\r\n\r\n") {
                return self.exactly(searched + at + 4).map(Some);
            }
            searched = self.held.len().saturating_sub(3);
            if self.more()? == 0 {
                return match self.held.is_empty() {
                    true => Ok(None),
                    false => Err(cut("in a head")),
                };
            }
        }
    }

    /// The next `count` bytes.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.held.len() < count {
            if self.more()? == 0 {
                return Err(cut("in a body"));
            }
        }
        Ok(self.held.drain(..count).collect())
    }

    /// Everything until the peer closes.
    pub fn the_rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.held))
    }

    /// A chunked body, decoded (RFC 9112 §7.1). Trailers are read and dropped.
    pub fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = std::str::from_utf8(&line)
                .ok()
                .and_then(|l| usize::from_str_radix(l.split(';').next()?.trim(), 16).ok())
                .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a chunk without a size"))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "a chunk that does not end where its size says",
                ));
            }
        }
    }

    /// A line without its CRLF.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.held, b"\r\n") {
                let mut line = self.exactly(at + 2)?;
                line.truncate(at);
                return Ok(line);
            }
            if self.more()? == 0 {
                return Err(cut("in a line"));
            }
        }
    }
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// The lines of a head after its first, as (name, value) in the order and the case in which they arrived.
pub fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let end = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut lines = Vec::new();
    let mut rest = end;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
        .into_iter()
        .skip(1)
        .map(|line| {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
            (
                String::from_utf8_lossy(&line[..colon]).into_owned(),
                value.to_vec(),
            )
        })
        .collect()
}

fn cut(place: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("the peer closed {place}"))
}
