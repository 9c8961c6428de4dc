//! Bytes that must never be seen: Ingo secrets and `api_key`s.
//!
//! A [`Secret`] has no `Display`, a `Debug` that says nothing of its content or length, is compared without telling where
//! it differs, and is wiped when dropped. It must not grow a method that returns a `String`.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Secret bytes, wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes` as they are; nothing is trimmed.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves, for keying a MAC. Do not copy them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Without the last byte, if that is a newline, and nothing else: editors and `echo` add one to a file.
    #[must_use]
    pub fn without_newline(mut self) -> Self {
        if self.0.last() == Some(&b'\n') {
            self.0.pop();
        }
        self
    }

    /// Whether both hold the same bytes. How long this takes tells their lengths and nothing else.
    pub fn is_same(&self, other: &Self) -> bool {
        bool::from(self.0.as_slice().ct_eq(other.0.as_slice()))
    }
}

/// Keeps the memory of this process, in which secrets are, out of core dumps and from other processes of the same user.
///
/// Where the system refuses, or is not Linux, everything goes on without: what then ends in a core dump is for whoever
/// runs the host to decide (`ulimit -c 0`).
pub fn keep_out_of_core_dumps() {
    #[cfg(all(target_os = "linux", feature = "proxy"))]
    let _refused = nix::sys::prctl::set_dumpable(false);
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_content_nor_length() {
        let short = format!("{:?}", Secret::new(b"hunter2".to_vec()));
        let long = format!("{:?}", Secret::new(vec![b'x'; 999]));
        assert_eq!(short, long);
        assert!(!short.contains("hunter2"));
    }

    #[test]
    fn secrets_are_the_same_when_every_byte_is() {
        let secret = |bytes: &[u8]| Secret::new(bytes.to_vec());
        assert!(secret(b"hunter2").is_same(&secret(b"hunter2")));
        for other in [
            b"hunter3".as_slice(),
            b"iunter2",
            b"hunter",
            b"hunter22",
            b"",
        ] {
            assert!(!secret(b"hunter2").is_same(&secret(other)));
        }
    }
}
