//! A credential's prepared signature, and the five header values it makes.
//!
//! A [`Signer`] is immutable and shared between requests: signing takes `&self`, a request and a time, and returns
//! values. It must not change a request, and neither it nor [`SignedHeaders`] shows a key or a signature when printed.

use std::{fmt, time::SystemTime};

use super::{
    Algorithm, CONTENT_TYPE, HeaderOrder, Unsigned, imf_fixdate,
    mac::{BASE64_LEN, Key},
    signing_string,
};
use crate::secret::Secret;

/// A credential's prepared signature: the HMAC key state is computed once and cloned for each request.
pub struct Signer {
    username: String,
    algorithm: Algorithm,
    order: HeaderOrder,
    key: Key,
    /// `Authorization` up to and including the quote before the signature.
    authorization: String,
}

impl Signer {
    /// Prepares a signer.
    ///
    /// `username` is Ingo's name for the integration and goes between quotes: [`is_username`] must hold, which the
    /// configuration checks. `secret` keys the MAC with its bytes as they are; nothing is decoded or trimmed.
    pub fn new(username: &str, secret: &Secret, algorithm: Algorithm, order: HeaderOrder) -> Self {
        Self {
            username: username.to_owned(),
            algorithm,
            key: Key::new(secret, algorithm),
            authorization: format!(
                r#"hmac username="{username}", algorithm="{algorithm}", headers="{order}", signature=""#
            ),
            order,
        }
    }

    /// Signs one request as of `at`, which becomes `X-Date` in whole seconds ([`imf_fixdate`]); Ingo accepts ±300 s.
    ///
    /// Pure: the same request and time give the same headers.
    pub fn sign<'d>(&self, request: Unsigned<'_, 'd>, at: SystemTime) -> SignedHeaders<'d> {
        let x_date = imf_fixdate(at);
        let text = signing_string(&self.order, request, &x_date);

        // And the closing quote.
        let mut authorization = String::with_capacity(self.authorization.len() + BASE64_LEN + 1);
        authorization.push_str(&self.authorization);
        self.key.append_base64(&text, &mut authorization);
        authorization.push('"');

        SignedHeaders {
            x_date,
            content_type: CONTENT_TYPE,
            content_sha512: request.digest.content_sha512(),
            content_length: request.digest.content_length(),
            authorization,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("username", &self.username)
            .field("algorithm", &self.algorithm)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// Whether `text` can stand as the username in `Authorization`: visible ASCII without `"` and `\`, not empty.
///
/// The scheme has no escape for either character (Kong reads up to the quote), so such a name cannot be signed for.
pub fn is_username(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// The five header values to send with one request, exactly as they are.
#[derive(Clone)]
pub struct SignedHeaders<'d> {
    /// `X-Date`: IMF-fixdate.
    pub x_date: String,
    /// `Content-Type`: always [`CONTENT_TYPE`].
    pub content_type: &'static str,
    /// `Content-sha512`: base64 of the body's raw SHA-512.
    pub content_sha512: &'d str,
    /// `Content-Length`: the body's length in bytes.
    pub content_length: &'d str,
    /// `Authorization`: holds the signature. Never print it.
    pub authorization: String,
}

impl SignedHeaders<'_> {
    /// Names and values, in the order in which Ingo's documents list them. Names are spelt as Ingo spells them.
    pub fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ("X-Date", &self.x_date),
            ("Content-Type", self.content_type),
            ("Content-sha512", self.content_sha512),
            ("Content-Length", self.content_length),
            ("Authorization", &self.authorization),
        ]
    }
}

impl fmt::Debug for SignedHeaders<'_> {
    /// Shows neither the signature nor the body's digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedHeaders")
            .field("x_date", &self.x_date)
            .field("content_length", &self.content_length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::signing::BodyDigest;

    #[test]
    fn debug_shows_whose_signature_it_is_and_no_key() {
        let secret = Secret::new(b"hunter2".to_vec());
        let signer = Signer::new("acme", &secret, Algorithm::HmacSha512, HeaderOrder::ORDER_A);
        let shown = format!("{signer:?}");
        assert!(
            shown.contains("acme")
                && shown.contains("HmacSha512")
                && shown.contains("ContentLength")
        );
        assert!(!shown.contains("hunter2") && !shown.contains("signature"));
    }

    #[test]
    fn debug_of_signed_headers_shows_no_signature() {
        let secret = Secret::new(b"hunter2".to_vec());
        let signer = Signer::new("acme", &secret, Algorithm::HmacSha512, HeaderOrder::ORDER_A);
        let digest = BodyDigest::of(b"{}");
        let headers = signer.sign(
            Unsigned {
                method: "POST",
                target: b"/",
                digest: &digest,
            },
            UNIX_EPOCH,
        );
        let shown = format!("{headers:?} {digest:?}");
        assert!(!shown.contains("hmac") && !shown.contains(digest.content_sha512()));
    }

    #[test]
    fn a_username_that_would_leave_its_quotes_is_recognised() {
        assert!(is_username("acme-01"));
        for name in ["", "a b", "a\"b", "a\\b", "a\nb", "ä"] {
            assert!(!is_username(name), "{name:?}");
        }
    }
}
