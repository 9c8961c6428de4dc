//! Ingo's request signature, as pure functions (protocol.md §1).
//!
//! Bytes and a time go in, header values come out; [`verify`] reads the same signature backwards with the same code.
//! No pingora, tokio, files, environment, clock or randomness, and nothing here sends, stores or logs anything.
//!
//! The stages, in order: [`BodyDigest`] → [`signing_string`] → MAC → [`SignedHeaders`]. A body is digested once,
//! however many attempts follow; each attempt is signed afresh, because `X-Date` is signed.

mod algorithm;
mod canonical;
mod date;
mod digest;
mod mac;
mod order;
mod sha512;
mod signer;
pub mod verify;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;

pub use algorithm::Algorithm;
pub use canonical::{Unsigned, signing_string};
pub use date::{imf_fixdate, parse_imf_fixdate};
pub use digest::BodyDigest;
pub use order::HeaderOrder;
pub use sha512::Sha512;
pub use signer::{SignedHeaders, Signer, is_username};

/// The only `Content-Type` that is signed and sent: exactly this, without parameters (protocol.md §1).
pub const CONTENT_TYPE: &str = "application/json";
