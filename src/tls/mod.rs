//! TLS on our side: certificates and keys from PEM files, when they expire, and what is made of them while they change.
//!
//! rustls speaks; nothing here names Pingora. TLS 1.2 at least, because rustls knows nothing older. An error names the file
//! and the key of the configuration, never what is in it.

mod inbound;
mod pem;
mod renewed;

use std::{fmt, sync::Arc};

use rustls::crypto::CryptoProvider;

pub use self::{
    inbound::inbound,
    pem::{certificates, expiry, has_expired, identity},
    renewed::{Expiry, Made, Renewed, TlsFile},
};

/// A file cannot be used for TLS. Says which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// The cryptography that all TLS of this process uses, Pingora's as well: ring, or AWS-LC where it was built with the feature
/// `aws-lc-rs`. To be called before anything of TLS is made, as often as one likes.
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let ours = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let ours = rustls::crypto::ring::default_provider();
    // Where there is one already, it is this one, or an embedding program's own choice.
    let _installed = CryptoProvider::install_default(ours.clone());
    CryptoProvider::get_default().map_or_else(|| Arc::new(ours), Arc::clone)
}
