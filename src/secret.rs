//! Bytes that must never be seen: Ingo secrets and `api_key`s.
//!
//! A [`Secret`] has no `Display`, a `Debug` that says nothing of its content or length, and is wiped when dropped.
//! It must not grow a method that returns a `String`.

use std::fmt;

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
}
