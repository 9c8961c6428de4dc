//! TLS for the upstream: certificates made for one test, and a record of what each client offered.

use std::{io, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::Acceptor,
};

use super::upstream::Plain;

/// A server's certificate, and the authority that vouches for it.
#[derive(Clone)]
pub struct Identity {
    /// The authority's certificate, PEM.
    pub authority: String,
    config: Arc<ServerConfig>,
}

/// What a client said in its first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The protocols it offered by ALPN.
    pub alpn: Vec<String>,
    /// The name it asked for.
    pub server_name: Option<String>,
}

impl Identity {
    /// A fresh certificate for `names` (DNS names or addresses), signed by a fresh authority.
    pub fn of(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);

        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let leaf_key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names)
            .expect("names that can stand in a certificate")
            .signed_by(&leaf_key, &issuer)
            .expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(leaf.der().to_vec())],
                PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("a key"),
            )
            .expect("a certificate that goes with its key");
        // h2 first: whoever offers it gets it, and then its request is no HTTP/1.1.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            authority,
            config: Arc::new(config),
        }
    }

    /// For a server that makes its own handshakes.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Takes a handshake's first message, notes what it offers, and goes on with it.
pub(super) fn accept(
    identity: &Identity,
    mut socket: Plain,
) -> io::Result<(StreamOwned<ServerConnection, Plain>, Handshake)> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if acceptor.read_tls(&mut socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(accepted) = acceptor.accept().map_err(|(e, _)| io::Error::other(e))? {
            break accepted;
        }
    };
    let hello = accepted.client_hello();
    let handshake = Handshake {
        alpn: hello
            .alpn()
            .into_iter()
            .flatten()
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect(),
        server_name: hello.server_name().map(str::to_owned),
    };
    let connection = accepted
        .into_connection(Arc::clone(&identity.config))
        .map_err(|(e, _)| io::Error::other(e))?;
    Ok((StreamOwned::new(connection, socket), handshake))
}
