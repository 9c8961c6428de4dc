//! What callers' connections are secured with.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    server::{ServerSessionMemoryCache, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};

use super::{Expiry, Made, Renewed, TlsFile, Unusable, certificates, expiry, identity, provider};
use crate::{config::InboundTls, secret::Secret};

/// Sessions that callers may resume (RFC 8446 §2.2), two for each in TLS 1.3. They are kept with the certificates they began under: with other ones,
/// above all with another `client_ca_file`, nobody gets in by a former session.
const SESSIONS: usize = 1024;

/// Makes what `settings` ask for.
///
/// # Errors
/// [`Unusable`]: which file, and what to do.
pub fn inbound(settings: &InboundTls) -> Result<Arc<Renewed<ServerConfig>>, Unusable> {
    let file = |key, path: &std::path::Path| TlsFile {
        key,
        path: path.to_owned(),
    };
    let mut files = vec![
        file(
            "listeners.proxy.tls.certificate_file",
            &settings.certificate,
        ),
        file("listeners.proxy.tls.key_file", &settings.key),
    ];
    let authority = settings.client_ca.as_deref();
    files.extend(authority.map(|path| file("listeners.proxy.tls.client_ca_file", path)));
    let named = files.clone();
    Renewed::new(files, move |contents| make(&named, contents))
}

fn make(files: &[TlsFile], contents: &[Secret]) -> Result<Made<ServerConfig>, String> {
    let named: Vec<_> = files.iter().zip(contents).collect();
    let [certificate, key, authority @ ..] = named.as_slice() else {
        unreachable!("a certificate and a key are always named");
    };
    let provider = provider();
    let identity = identity(*certificate, *key)?;
    let mut expiries = Vec::new();
    let mut expires = |certificate, when: Option<i64>| {
        expiries.extend(when.map(|not_after| Expiry {
            certificate,
            not_after,
        }));
    };
    expires("listener", identity.cert.iter().filter_map(expiry).min());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match authority.first() {
        Some((file, pem)) => {
            let mut roots = RootCertStore::empty();
            let authorities = certificates(file, pem)?;
            // While one of them is good, there is someone to let in.
            expires("client_ca", authorities.iter().filter_map(expiry).max());
            for certificate in authorities {
                let added = roots.add(certificate);
                added.map_err(|_| file.is("holds a certificate that is no authority's"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| file.is(&error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(Made {
        value: config,
        expiries,
    })
}
