//! What the signature says about the body: its SHA-512 and its length.
//!
//! Computed once per exchange, over the exact bytes that are sent; every attempt is then signed from it without
//! touching the body again. It keeps no part of the body.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::Digest as _;

use super::Sha512;

/// `Content-sha512` and `Content-Length` of a body, computed once however many attempts follow.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyDigest {
    content_sha512: String,
    content_length: String,
}

impl BodyDigest {
    /// The digest of `body`, byte for byte: a BOM or a final newline is part of it.
    pub fn of(body: &[u8]) -> Self {
        Self {
            // The raw 64 bytes in base64, not their hex form: the classic mistake (protocol.md §1).
            content_sha512: STANDARD.encode(Sha512::digest(body)),
            content_length: body.len().to_string(),
        }
    }

    /// The value of `Content-sha512`: padded standard base64 of the raw SHA-512, 88 characters.
    pub fn content_sha512(&self) -> &str {
        &self.content_sha512
    }

    /// The value of `Content-Length`: the body's length in bytes, in decimal.
    pub fn content_length(&self) -> &str {
        &self.content_length
    }
}

impl fmt::Debug for BodyDigest {
    /// Shows the length alone: the digest of a short body can be searched back to the card number in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyDigest")
            .field("content_length", &self.content_length)
            .finish_non_exhaustive()
    }
}
