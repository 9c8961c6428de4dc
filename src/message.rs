//! HTTP/1.1 messages as they are written (RFC 9112 §2.1): a head in bytes, and head and body in one go.
//!
//! What is added to a head is what is sent, in the order in which it was added, and nothing is sent besides. Nothing that would end
//! a line or the request line's target gets in, whoever said it.

use std::{
    fmt,
    io::{self, IoSlice},
};

use http::StatusCode;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Room for most heads, in bytes.
const USUAL: usize = 1024;

/// A head: a request line or a status line, and fields (RFC 9112 §3, §4, §5).
pub struct Head {
    wire: Vec<u8>,
    /// Where a request's target stands in it.
    target: std::ops::Range<usize>,
}

/// A target or a value that cannot stand in a head. It is not shown: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

impl Head {
    /// A request's: `method target HTTP/1.1`, without any field. Always that version: the signature names it.
    ///
    /// # Errors
    /// [`Unwritable`] where `target` is empty, or holds a space or a control character.
    pub fn request(method: &'static str, target: &[u8]) -> Result<Self, Unwritable> {
        if target.is_empty() || target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
            return Err(Unwritable);
        }
        let mut wire = Vec::with_capacity(USUAL + target.len());
        wire.extend_from_slice(method.as_bytes());
        wire.push(b' ');
        let begins = wire.len();
        wire.extend_from_slice(target);
        let target = begins..wire.len();
        wire.extend_from_slice(b" HTTP/1.1\r\n");
        Ok(Self { wire, target })
    }

    /// An answer's: `HTTP/1.1 status reason`, without any field.
    pub fn answer(status: StatusCode) -> Self {
        let mut wire = Vec::with_capacity(USUAL);
        wire.extend_from_slice(b"HTTP/1.1 ");
        wire.extend_from_slice(status.as_str().as_bytes());
        wire.push(b' ');
        wire.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        wire.extend_from_slice(b"\r\n");
        Self { wire, target: 0..0 }
    }

    /// A request's target as it will be written; an answer has none.
    pub fn target(&self) -> &[u8] {
        &self.wire[self.target.clone()]
    }

    /// Adds a field. `name` is a token in the spelling that is sent.
    ///
    /// # Errors
    /// [`Unwritable`] where `value` holds CR, LF or NUL (RFC 9110 §5.5).
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Unwritable> {
        let value = value.as_ref();
        if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
            return Err(Unwritable);
        }
        self.wire.extend_from_slice(name.as_bytes());
        self.wire.extend_from_slice(b": ");
        self.wire.extend_from_slice(value);
        self.wire.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// All of it, complete.
    pub fn into_wire(mut self) -> Vec<u8> {
        self.wire.extend_from_slice(b"\r\n");
        self.wire
    }
}

/// Writes a head and a body together: one system call and one segment, or one TLS record, where Pingora makes two of them.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    head: &[u8],
    body: &[u8],
) -> io::Result<()> {
    let mut parts = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = &mut parts[..];
    while !left.is_empty() {
        match stream.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    stream.flush().await
}

impl fmt::Debug for Head {
    /// Shows no field: there is a signature among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_its_request_line_and_its_fields_as_they_were_added() {
        let mut head = Head::request("POST", b"/a%2F?b=\xc3\xa4").expect("a target");
        head.field("Content-sha512", "c2hh").expect("a value");
        head.field("x-empty", b"").expect("a value");
        assert_eq!(head.target(), b"/a%2F?b=\xc3\xa4");
        assert_eq!(
            head.into_wire(),
            b"POST /a%2F?b=\xc3\xa4 HTTP/1.1\r\nContent-sha512: c2hh\r\nx-empty: \r\n\r\n"
        );
    }

    #[test]
    fn the_head_of_an_answer_begins_with_its_status() {
        let mut head = Head::answer(StatusCode::CREATED);
        head.field("Content-Length", "2").expect("a value");
        assert_eq!(head.target(), b"");
        assert_eq!(
            head.into_wire(),
            b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n"
        );
        let unnamed = Head::answer(StatusCode::from_u16(299).expect("a status"));
        assert_eq!(unnamed.into_wire(), b"HTTP/1.1 299 \r\n\r\n");
    }

    #[tokio::test]
    async fn head_and_body_are_written_whole_however_little_is_taken_at_once() {
        let (mut near, mut far) = tokio::io::duplex(3);
        let writing = async {
            let written = write(&mut near, b"head\r\n\r\n", b"a body").await;
            drop(near);
            written
        };
        let mut read = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read);
        let (written, count) = tokio::join!(writing, reading);
        written.expect("the other end reads");
        count.expect("the other end is there");
        assert_eq!(read, b"head\r\n\r\na body");
    }

    #[test]
    fn nothing_gets_in_that_would_begin_a_line_of_its_own() {
        for target in ["", "/a b", "/a\r\nX: y", "/a\nb", "/\0", "/\x7f"] {
            assert!(
                Head::request("POST", target.as_bytes()).is_err(),
                "{target:?}"
            );
        }
        let mut head = Head::request("POST", b"/").expect("a target");
        for value in ["a\r\nX: y", "a\n", "\r", "a\0"] {
            assert_eq!(head.field("X", value), Err(Unwritable), "{value:?}");
        }
        assert_eq!(head.into_wire(), b"POST / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn debug_shows_no_field() {
        let mut head = Head::request("POST", b"/").expect("a target");
        head.field("Authorization", "hmac s3cret").expect("a value");
        assert!(!format!("{head:?}").contains("s3cret"));
    }
}
