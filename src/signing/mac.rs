//! The keyed MAC: made once for a credential, cloned for each request.
//!
//! Keying HMAC costs two compressions of its hash; a clone is a copy of a few hundred bytes instead. Comparison is in
//! constant time only. The key cannot be read back, and `Debug` does not show its state.

use std::{cell::RefCell, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;
use thread_local::ThreadLocal;

use super::{Algorithm, Sha512};
use crate::secret::Secret;

/// What the longest MAC takes in base64.
pub(super) const BASE64_LEN: usize = 88;

/// How much of a text's beginning is taken in once for all that begin alike: a block of SHA-512, two of SHA-256. The request line and the
/// date fill it, as Ingo's documents order the parts, and neither changes for a route within a second.
const BEGINNING: usize = 128;

/// HMAC with its key already absorbed.
pub(super) enum Key {
    /// HMAC-SHA512.
    Sha512(Keyed<Hmac<Sha512>>),
    /// HMAC-SHA256.
    Sha256(Keyed<Hmac<Sha256>>),
}

/// A keyed MAC that has taken in nothing, and one that has taken in what texts begin with.
pub(super) struct Keyed<M: Send> {
    mac: M,
    /// What the last text on each thread began with, and the MAC that has taken it in. As good as the key, and gone with it.
    begun: ThreadLocal<RefCell<([u8; BEGINNING], M)>>,
}

impl Key {
    /// Keys `algorithm` with the secret's bytes as they are; any length is possible (RFC 2104 §3).
    pub(super) fn new(secret: &Secret, algorithm: Algorithm) -> Self {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match algorithm {
            Algorithm::HmacSha512 => Self::Sha512(Keyed::new(
                Hmac::new_from_slice(secret.expose()).expect(ANY_LENGTH),
            )),
            Algorithm::HmacSha256 => Self::Sha256(Keyed::new(
                Hmac::new_from_slice(secret.expose()).expect(ANY_LENGTH),
            )),
        }
    }

    /// Appends the MAC of `text` to `out`, in padded standard base64.
    pub(super) fn append_base64(&self, text: &[u8], out: &mut String) {
        match self {
            Self::Sha512(key) => append(key.of(text).finalize().into_bytes(), out),
            Self::Sha256(key) => append(key.of(text).finalize().into_bytes(), out),
        }
    }

    /// Whether `mac` is the MAC of `text`, compared in constant time. A wrong length is simply wrong.
    pub(super) fn verifies(&self, text: &[u8], mac: &[u8]) -> bool {
        match self {
            Self::Sha512(key) => key.mac.clone().chain_update(text).verify_slice(mac).is_ok(),
            Self::Sha256(key) => key.mac.clone().chain_update(text).verify_slice(mac).is_ok(),
        }
    }
}

impl<M: Mac + Clone + Send> Keyed<M> {
    fn new(mac: M) -> Self {
        let begun = ThreadLocal::new();
        Self { mac, begun }
    }

    /// The MAC that has taken in all of `text`.
    fn of(&self, text: &[u8]) -> M {
        let Some((beginning, rest)) = text.split_first_chunk() else {
            return self.mac.clone().chain_update(text);
        };
        let begin = || (*beginning, self.mac.clone().chain_update(beginning));
        let begun = self.begun.get_or(|| RefCell::new(begin()));
        let mut begun = begun.borrow_mut();
        if begun.0 != *beginning {
            *begun = begin();
        }
        begun.1.clone().chain_update(rest)
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn texts_that_begin_alike_or_not_have_each_the_mac_of_a_key_that_made_no_other(
            secret in vec(any::<u8>(), 0..200),
            texts in vec((0..3_u8, 0..300_usize, any::<u8>()), 1..12),
        ) {
            let secret = Secret::new(secret);
            for algorithm in [Algorithm::HmacSha512, Algorithm::HmacSha256] {
                let used = Key::new(&secret, algorithm);
                for &(beginning, length, end) in &texts {
                    // The beginning may be too short, or differ in its last byte alone.
                    let mut text = vec![0; length];
                    text.iter_mut().skip(BEGINNING - 1).take(1).for_each(|byte| *byte = beginning);
                    text.push(end);
                    let expected = match algorithm {
                        Algorithm::HmacSha512 => mac(Hmac::<sha2::Sha512>::new_from_slice(secret.expose()), &text),
                        Algorithm::HmacSha256 => mac(Hmac::<Sha256>::new_from_slice(secret.expose()), &text),
                    };
                    let mut signature = String::new();
                    used.append_base64(&text, &mut signature);
                    prop_assert_eq!(signature, STANDARD.encode(&expected));
                    prop_assert!(used.verifies(&text, &expected));
                }
            }
        }
    }

    fn mac<M: Mac, E: fmt::Debug>(keyed: Result<M, E>, text: &[u8]) -> Vec<u8> {
        let mac = keyed.expect("of any length").chain_update(text);
        mac.finalize().into_bytes().to_vec()
    }

    #[test]
    fn many_threads_sign_by_one_key_at_once() {
        let key = Key::new(&Secret::new(b"shared".to_vec()), Algorithm::HmacSha512);
        let signed = |text: &[u8]| {
            let mut signature = String::new();
            key.append_base64(text, &mut signature);
            signature
        };
        let texts = [[b'a'; 200], [b'b'; 200]];
        let expected = texts.map(|text| signed(&text));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(texts.map(|text| signed(&text)), expected);
                    }
                });
            }
        });
    }
}
