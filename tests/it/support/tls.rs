//! TLS for the upstream: certificates made for one test, and a record of what each client offered.

use std::{io, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{Acceptor, WebPkiClientVerifier},
};

use super::upstream::Plain;

/// Who vouches for certificates.
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
    /// The certificate as it is shown in a handshake.
    pub der: Vec<u8>,
}

impl Authority {
    /// A fresh one.
    pub fn fresh() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A fresh certificate for `names` (DNS names or addresses).
    pub fn issue(&self, names: &[&str]) -> Leaf {
        self.issue_until(names, 4096)
    }

    /// The same, which expires at the end of the `year`.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Leaf {
        self.issue_to(names, rcgen::date_time_ymd(year, 12, 31))
    }

    /// The same, which expires in so many seconds.
    pub fn issue_for(&self, names: &[&str], seconds: i64) -> Leaf {
        let now = time::OffsetDateTime::now_utc();
        self.issue_to(names, now + time::Duration::seconds(seconds))
    }

    fn issue_to(&self, names: &[&str], not_after: time::OffsetDateTime) -> Leaf {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let called = names.first().cloned().unwrap_or_default();
        let key = KeyPair::generate().expect("a key");
        let mut params =
            CertificateParams::new(names).expect("names that can stand in a certificate");
        // Some take a certificate for self-signed whose subject is its issuer.
        params.distinguished_name.push(DnType::CommonName, called);
        params.not_after = not_after;
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            certificate: leaf.pem(),
            key: key.serialize_pem(),
            der: leaf.der().to_vec(),
        }
    }

    /// As roots of trust.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes());
        roots
            .add(certificate.expect("PEM"))
            .expect("a certificate of an authority");
        roots
    }
}

impl Leaf {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.der.clone())]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }
}

/// What a caller trusts and shows.
pub fn caller(trusted: &Authority, shown: Option<&Leaf>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(trusted.roots());
    Arc::new(match shown {
        Some(leaf) => builder
            .with_client_auth_cert(leaf.chain(), leaf.private_key())
            .expect("a certificate that goes with its key"),
        None => builder.with_no_client_auth(),
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

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

/// Who it was in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whether it resumed a session.
    pub resumed: bool,
    /// The certificate that it showed.
    pub certificate: Option<Vec<u8>>,
}

impl Identity {
    /// A fresh certificate for `names` (DNS names or addresses), signed by a fresh authority.
    pub fn of(names: &[&str]) -> Self {
        Self::by(&Authority::fresh(), names, None)
    }

    /// A fresh certificate signed by `authority`; clients must show one that `clients` vouches for.
    pub fn by(authority: &Authority, names: &[&str], clients: Option<&Authority>) -> Self {
        let leaf = authority.issue(names);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3");
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider())
                    .build()
                    .expect("there are roots"),
            ),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(leaf.chain(), leaf.private_key())
            .expect("a certificate that goes with its key");
        // h2 first: whoever offers it gets it, and then its request is no HTTP/1.1.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            authority: authority.pem.clone(),
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
) -> io::Result<(StreamOwned<ServerConnection, Plain>, Handshake, Peer)> {
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
    let mut connection = accepted
        .into_connection(Arc::clone(&identity.config))
        .map_err(|(e, _)| io::Error::other(e))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let peer = Peer {
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: shown.map(|certificate| certificate.to_vec()),
    };
    Ok((StreamOwned::new(connection, socket), handshake, peer))
}
