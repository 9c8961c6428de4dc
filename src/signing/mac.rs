//! The keyed MAC: made once for a credential, cloned for each request.
//!
//! Keying HMAC costs two compressions of its hash; a clone is a copy of a few hundred bytes instead. Comparison is in
//! constant time only. The key cannot be read back, and `Debug` does not show its state.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Algorithm, Sha512};
use crate::secret::Secret;

/// What the longest MAC takes in base64.
pub(super) const BASE64_LEN: usize = 88;

/// HMAC with its key already absorbed.
#[derive(Clone)]
pub(super) enum Key {
    /// HMAC-SHA512.
    Sha512(Hmac<Sha512>),
    /// HMAC-SHA256.
    Sha256(Hmac<Sha256>),
}

impl Key {
    /// Keys `algorithm` with the secret's bytes as they are; any length is possible (RFC 2104 §3).
    pub(super) fn new(secret: &Secret, algorithm: Algorithm) -> Self {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match algorithm {
            Algorithm::HmacSha512 => {
                Self::Sha512(Hmac::new_from_slice(secret.expose()).expect(ANY_LENGTH))
            }
            Algorithm::HmacSha256 => {
                Self::Sha256(Hmac::new_from_slice(secret.expose()).expect(ANY_LENGTH))
            }
        }
    }

    /// Appends the MAC of `text` to `out`, in padded standard base64.
    pub(super) fn append_base64(&self, text: &[u8], out: &mut String) {
        match self {
            Self::Sha512(key) => {
                append(key.clone().chain_update(text).finalize().into_bytes(), out)
            }
            Self::Sha256(key) => {
                append(key.clone().chain_update(text).finalize().into_bytes(), out)
            }
        }
    }

    /// Whether `mac` is the MAC of `text`, compared in constant time. A wrong length is simply wrong.
    pub(super) fn verifies(&self, text: &[u8], mac: &[u8]) -> bool {
        match self {
            Self::Sha512(key) => key.clone().chain_update(text).verify_slice(mac).is_ok(),
            Self::Sha256(key) => key.clone().chain_update(text).verify_slice(mac).is_ok(),
        }
    }
}

/// Appends a MAC or a digest in base64. Encoded on the stack, because `encode_string` goes through a kilobyte of its own.
pub(super) fn append(bytes: impl AsRef<[u8]>, out: &mut String) {
    let mut text = [0; BASE64_LEN];
    let length = STANDARD.encode_slice(bytes, &mut text);
    let length = length.expect("neither is longer than 64 bytes");
    out.push_str(std::str::from_utf8(&text[..length]).expect("base64 is ASCII"));
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}
