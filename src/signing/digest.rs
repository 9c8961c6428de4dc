//! What the signature says about the body: its SHA-512 and its length.
//!
//! Computed once per exchange, over the exact bytes that are sent; every attempt is then signed from it without
//! touching the body again. It keeps no part of the body.

use std::fmt;

use sha2::Digest as _;

use super::{
    mac::{BASE64_LEN, append},
    sha512::{Sha512, at_once, digest_each},
};

/// `Content-sha512` and `Content-Length` of a body, computed once however many attempts follow.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyDigest {
    content_sha512: String,
    content_length: String,
}

impl BodyDigest {
    /// The digest of `body`, byte for byte: a BOM or a final newline is part of it.
    pub fn of(body: &[u8]) -> Self {
        Self::from_sha512(Sha512::digest(body).into(), body.len())
    }

    /// The digest of each of `bodies`, in their order. Of [`at_once`](Self::at_once) bodies that are equally long they take two to two and a
    /// half times as long as that of one.
    pub fn of_each(bodies: &[&[u8]]) -> Vec<Self> {
        let digests = digest_each(bodies).into_iter();
        let lengths = bodies.iter().map(|body| body.len());
        digests
            .zip(lengths)
            .map(|(sha512, length)| Self::from_sha512(sha512, length))
            .collect()
    }

    /// How many digests this processor makes side by side: 8 with AVX-512, 4 by AVX2 on AMD's from Zen 3 on, otherwise 1.
    pub fn at_once() -> usize {
        at_once()
    }

    fn from_sha512(sha512: [u8; 64], length: usize) -> Self {
        // The raw 64 bytes in base64, not their hex form: the classic mistake (protocol.md §1).
        let mut content_sha512 = String::with_capacity(BASE64_LEN);
        append(sha512, &mut content_sha512);
        Self {
            content_sha512,
            content_length: length.to_string(),
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
