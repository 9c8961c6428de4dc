//! Ingo's request signature, as pure functions (protocol.md §1).
//!
//! No pingora, tokio, files, environment, clock or randomness: bytes and a time go in, header values come out.

use std::{str::FromStr, time::SystemTime};

use crate::secret::Secret;

/// Which MAC signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `hmac-sha512`, for every new integration.
    #[default]
    HmacSha512,
    /// `hmac-sha256`, for legacy integrations only.
    HmacSha256,
}

/// The order in which the five parts are signed; each stands in it exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderOrder {}

impl FromStr for HeaderOrder {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self {})
    }
}

/// A credential's prepared signature: the HMAC key state is computed once and cloned for each request.
#[derive(Clone, Debug)]
pub struct Signer {}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The method, `POST` but for the `sign` command.
    pub method: &'a str,
    /// The request target exactly as it will be sent.
    pub target: &'a [u8],
    /// The body's digest.
    pub digest: &'a BodyDigest,
}

/// `Content-sha512` and `Content-Length` of a body, computed once however many attempts follow.
#[derive(Clone, Debug)]
pub struct BodyDigest {}

impl BodyDigest {
    /// The digest of `body`.
    pub fn of(_body: &[u8]) -> Self {
        Self {}
    }
}

/// The five header values to send with one request.
#[derive(Clone)]
pub struct SignedHeaders {
    /// `X-Date`.
    pub x_date: String,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-sha512`.
    pub content_sha512: String,
    /// `Content-Length`.
    pub content_length: String,
    /// `Authorization`.
    pub authorization: String,
}

impl Signer {
    /// Prepares a signer.
    pub fn new(
        _username: &str,
        _secret: &Secret,
        _algorithm: Algorithm,
        _order: HeaderOrder,
    ) -> Self {
        Self {}
    }

    /// Signs one request as of `at`.
    pub fn sign(&self, _request: Unsigned<'_>, _at: SystemTime) -> SignedHeaders {
        unimplemented!()
    }
}
