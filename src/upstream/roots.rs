//! The certificate authorities that upstreams are verified with, and what upstreams are shown.
//!
//! Pingora's rustls connector panics where they are missing or do not go together, so they are looked at first and a clear error
//! is given. It reads the files by itself: what was looked at and what it reads are the same but for a change in that moment, which
//! is refused where it makes Pingora panic, and otherwise found by whoever watches the files.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use pingora::{
    connectors::{ConnectorOptions, TransportConnector},
    tls::{
        RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store,
        sign::CertifiedKey,
    },
};

use super::idle::Idle;
use crate::{
    config::{ClientCertificate, UpstreamConfig},
    secret::Secret,
    tls::{Expiry, Made, TlsFile, Unusable, certificates, expiry, identity, provider},
};

const CA_FILE: &str = "upstream.ca_file";
/// A PEM file that exists everywhere and holds no certificate. Pingora loads roots even where no upstream speaks TLS,
/// and would panic for want of them.
const NO_ROOTS: &str = "/dev/null";

/// The files that a pool of connections is made of, in the order in which [`pool`] expects what is in them.
pub(super) fn files(settings: &UpstreamConfig, any_tls: bool) -> Vec<TlsFile> {
    let shown = settings.client_certificate.iter().flat_map(shown_files);
    let files = shown.chain(settings.ca_file.as_deref().map(ca_file));
    files.filter(|_| any_tls).collect()
}

/// The files of what upstreams are shown: the certificate, then its key.
fn shown_files(shown: &ClientCertificate) -> [TlsFile; 2] {
    [
        TlsFile {
            key: "upstream.client_certificate_file",
            path: shown.certificate.clone(),
        },
        TlsFile {
            key: "upstream.client_key_file",
            path: shown.key.clone(),
        },
    ]
}

/// What upstreams are shown, read now.
pub(super) fn shown(shown: &ClientCertificate) -> Result<CertifiedKey, Unusable> {
    let files = shown_files(shown);
    let contents = (files[0].read()?, files[1].read()?);
    identity((&files[0], &contents.0), (&files[1], &contents.1)).map_err(Unusable)
}

fn ca_file(path: &Path) -> TlsFile {
    TlsFile {
        key: CA_FILE,
        path: path.to_owned(),
    }
}

/// What connects, and the connections that it made and that wait to be used again: what is verified otherwise is not mixed.
pub(super) struct Pool {
    pub(super) connector: TransportConnector,
    pub(super) idle: Arc<Idle>,
}

/// Makes a pool of connections, without any yet. `contents` are those of [`files`].
pub(super) fn pool(
    settings: &UpstreamConfig,
    any_tls: bool,
    contents: &[Secret],
) -> Result<Made<Pool>, String> {
    // Before Pingora makes its own choice.
    let _installed = provider();
    // Pingora's own pool stays empty.
    let mut options = ConnectorOptions::new(0);
    let mut expiries = Vec::new();
    let mut expires = |certificate, when: Option<i64>| {
        expiries.extend(when.map(|not_after| Expiry {
            certificate,
            not_after,
        }));
    };
    if any_tls {
        load(settings.ca_file.as_deref()).map_err(|error| error.0)?;
        let mut contents = contents.iter();
        if let Some(shown) = &settings.client_certificate
            && let [Some(certificate), Some(key)] = [contents.next(), contents.next()]
        {
            let files = shown_files(shown);
            let identity = identity((&files[0], certificate), (&files[1], key))?;
            expires(
                "upstream_client",
                identity.cert.iter().filter_map(expiry).min(),
            );
            options.cert_key_file = Some((
                text(files[0].key, &shown.certificate)?,
                text(files[1].key, &shown.key)?,
            ));
        }
        if let (Some(path), Some(pem)) = (&settings.ca_file, contents.next()) {
            let authorities = certificates(&ca_file(path), pem)?;
            // While one of them is good, there is something to trust.
            expires("upstream_ca", authorities.iter().filter_map(expiry).max());
            options.ca_file = Some(text(CA_FILE, path)?);
        }
    } else {
        options.ca_file = Some(NO_ROOTS.to_owned());
    }
    // What was looked at is good; what Pingora reads a moment later may be another file, and half of it.
    let made = catch_unwind(AssertUnwindSafe(|| TransportConnector::new(Some(options))));
    let connector = made.map_err(|_| {
        "the files of upstream's TLS changed while they were read; write each to another name, then rename it".to_owned()
    })?;
    let value = Pool {
        connector,
        idle: Idle::new(settings.idle_connections),
    };
    Ok(Made { value, expiries })
}

/// Pingora takes paths as text.
fn text(key: &str, path: &Path) -> Result<String, String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| format!("{key}: {} is not UTF-8; rename it", path.display()))
}

/// Loads the roots of `ca_file`, or the system's; never none.
pub(super) fn load(ca_file: Option<&Path>) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    let (loaded, place) = match ca_file {
        Some(path) => (load_ca_file_into_store(path, &mut store), path.display()),
        None => {
            let loaded = load_platform_certs_incl_env_into_store(&mut store);
            (loaded, Path::new("").display())
        }
    };
    let why = match loaded {
        Ok(()) if !store.is_empty() => return Ok(store),
        Ok(()) => "it holds none".to_owned(),
        // The innermost error: "No such file or directory" helps, the wrapping does not.
        Err(error) => error.root_cause().to_string(),
    };
    Err(Unusable(if ca_file.is_some() {
        format!(
            "{CA_FILE}: no root certificates could be loaded from {place}: {why}; it must be a PEM file of CERTIFICATE blocks only"
        )
    } else {
        format!(
            "no root certificates were found on this system ({why}), so no upstream can be verified; install the package ca-certificates, or name a PEM file with upstream.ca_file or the environment variable SSL_CERT_FILE"
        )
    }))
}
