//! Certificates and keys as PEM (RFC 7468) has them.

use std::time::SystemTime;

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{TlsFile, provider};
use crate::secret::Secret;

/// The certificates in a file, in order; never none.
///
/// # Errors
/// What is wrong with the file, for people.
pub fn certificates(file: &TlsFile, pem: &Secret) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => {
            Err(file.is("holds no certificate; it must be a PEM file with CERTIFICATE blocks"))
        }
        Err(_) => Err(file.is("is no PEM file that can be read; write it anew")),
    }
}

/// A certificate chain and the key that goes with it.
///
/// # Errors
/// What is wrong with which file, for people.
pub fn identity(
    (certificate_file, certificate_pem): (&TlsFile, &Secret),
    (key_file, key_pem): (&TlsFile, &Secret),
) -> Result<CertifiedKey, String> {
    let chain = certificates(certificate_file, certificate_pem)?;
    // All of it: others that read the file do not stop at the first key.
    let sections: Result<Vec<(pem::SectionKind, Vec<u8>)>, _> =
        PemObject::pem_slice_iter(key_pem.expose()).collect();
    if sections.is_err() {
        return Err(key_file.is("is no PEM file that can be read; write it anew"));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose()).map_err(|error| match error {
        pem::Error::NoItemsFound => key_file.is(
            "holds no private key that can be used; it must be a PEM file with a PRIVATE KEY block that is not encrypted",
        ),
        _ => key_file.is("is no PEM file that can be read; write it anew"),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key_file.is(&format!(
            "does not go with the certificate in {}; write both anew",
            certificate_file.path.display()
        )),
        _ => key_file.is("or its certificate cannot be used: an algorithm that is not supported, or damaged; use an RSA, ECDSA or Ed25519 key"),
    })
}

/// Whether one of the certificates that a caller showed has expired by now. A session that is resumed is not asked again
/// for a certificate, nor is the one looked at that it began with.
pub fn has_expired(shown: &[CertificateDer<'_>], now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    shown.iter().filter_map(expiry).any(|then| then < now)
}

/// When a certificate expires, in seconds since 1970 (RFC 5280 §4.1.2.5).
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
