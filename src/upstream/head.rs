//! A request's head as it is written to an upstream: bytes, in the order in which its fields were added.
//!
//! What is added is what is sent, and nothing is sent besides. Nothing that would end a line or the request line's target gets in,
//! whoever said it.

use std::fmt;

/// Room for the head of most requests, in bytes.
const USUAL: usize = 1024;

/// The head of a request (RFC 9112 §3, §5).
pub struct Head {
    wire: Vec<u8>,
    /// Where the target stands in it.
    target: std::ops::Range<usize>,
}

/// A target or a value that cannot stand in a head. It is not shown: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

impl Head {
    /// `method target HTTP/1.1`, without any field. Always that version: the signature names it.
    ///
    /// # Errors
    /// [`Unwritable`] where `target` is empty, or holds a space or a control character.
    pub fn new(method: &'static str, target: &[u8]) -> Result<Self, Unwritable> {
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

    /// The target as it will be written.
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
    pub(super) fn into_wire(mut self) -> Vec<u8> {
        self.wire.extend_from_slice(b"\r\n");
        self.wire
    }
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
        let mut head = Head::new("POST", b"/a%2F?b=\xc3\xa4").expect("a target");
        head.field("Content-sha512", "c2hh").expect("a value");
        head.field("x-empty", b"").expect("a value");
        assert_eq!(head.target(), b"/a%2F?b=\xc3\xa4");
        assert_eq!(
            head.into_wire(),
            b"POST /a%2F?b=\xc3\xa4 HTTP/1.1\r\nContent-sha512: c2hh\r\nx-empty: \r\n\r\n"
        );
    }

    #[test]
    fn nothing_gets_in_that_would_begin_a_line_of_its_own() {
        for target in ["", "/a b", "/a\r\nX: y", "/a\nb", "/\0", "/\x7f"] {
            assert!(Head::new("POST", target.as_bytes()).is_err(), "{target:?}");
        }
        let mut head = Head::new("POST", b"/").expect("a target");
        for value in ["a\r\nX: y", "a\n", "\r", "a\0"] {
            assert_eq!(head.field("X", value), Err(Unwritable), "{value:?}");
        }
        assert_eq!(head.into_wire(), b"POST / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn debug_shows_no_field() {
        let mut head = Head::new("POST", b"/").expect("a target");
        head.field("Authorization", "hmac s3cret").expect("a value");
        assert!(!format!("{head:?}").contains("s3cret"));
    }
}
