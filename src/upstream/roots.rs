//! The certificate authorities that upstreams are verified with.
//!
//! Pingora's rustls connector panics where they are missing, so they are looked at first and a clear error is given.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use pingora::tls::{
    RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store,
};

/// There is nothing to verify an upstream's certificate with.
#[derive(Debug)]
pub enum RootsError {
    /// The file that `upstream.ca_file` names holds no certificate that can be used.
    File(PathBuf, String),
    /// The system has no root certificates.
    System(String),
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(
                f,
                "upstream.ca_file: no root certificates could be loaded from {}: {why}; it must be a PEM file of CERTIFICATE blocks only",
                path.display()
            ),
            Self::System(why) => write!(
                f,
                "no root certificates were found on this system ({why}), so no upstream can be verified; install the package ca-certificates, or name a PEM file with upstream.ca_file or the environment variable SSL_CERT_FILE"
            ),
        }
    }
}

impl std::error::Error for RootsError {}

/// A PEM file that exists everywhere and holds no certificate. Pingora loads roots even where no upstream speaks TLS,
/// and would panic for want of them.
const NO_ROOTS: &str = "/dev/null";

/// Makes sure that there are roots where TLS is spoken; answers the file to load them from, `None` for the system's.
pub(super) fn check(ca_file: Option<&Path>, any_tls: bool) -> Result<Option<String>, RootsError> {
    if !any_tls {
        return Ok(Some(NO_ROOTS.to_owned()));
    }
    load(ca_file)?;
    let text = |path: &Path| {
        let not_text = || RootsError::File(path.to_owned(), "its path is not UTF-8".to_owned());
        path.to_str().map(str::to_owned).ok_or_else(not_text)
    };
    ca_file.map(text).transpose()
}

/// Loads the roots of `ca_file`, or the system's; never none.
pub(super) fn load(ca_file: Option<&Path>) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let failed = |why: &str| RootsError::File(path.to_owned(), why.to_owned());
            load_ca_file_into_store(path, &mut store).map_err(|e| failed(&root_cause(&e)))?;
            if store.is_empty() {
                return Err(failed("it holds none"));
            }
        }
        None => {
            load_platform_certs_incl_env_into_store(&mut store)
                .map_err(|e| RootsError::System(root_cause(&e)))?;
            if store.is_empty() {
                return Err(RootsError::System("the store is empty".to_owned()));
            }
        }
    }
    Ok(store)
}

/// The innermost error: "No such file or directory" helps, the wrapping does not.
fn root_cause(error: &pingora::Error) -> String {
    error.root_cause().to_string()
}
