//! A small network on loopback: the emulator behind real TLS, and a real CONNECT proxy in front of it.
//!
//! Ports are the system's, nothing sleeps, and every socket is gone with its [`Stage`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use ingo_signing_proxy::{emulator::Emulator, secret::Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use crate::support::{SECRET, USERNAME, process::is_installed};

/// Where everything runs.
pub struct Stage {
    runtime: Runtime,
    /// The stand-in for Ingo, in the clear.
    pub emulator: Emulator,
    directory: TempDir,
}

/// How a server's certificate is made.
pub struct Identity {
    /// The names and addresses it is for.
    pub names: Vec<&'static str>,
    /// Whether its time is over.
    pub expired: bool,
    /// Whether it vouches for itself.
    pub self_signed: bool,
    /// What is spoken.
    pub alpn: Vec<&'static str>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            names: vec!["127.0.0.1", "localhost", "::1", "ingo.test"],
            expired: false,
            self_signed: false,
            alpn: vec!["h2", "http/1.1"],
        }
    }
}

/// A server that speaks TLS and has the emulator behind it.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    /// A PEM file of the authority that vouches for it.
    pub authority: PathBuf,
}

/// A CONNECT proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What a proxy does with a request.
#[derive(Clone)]
pub enum Rule {
    /// Connects to this address, whatever was asked for.
    Lead(SocketAddr),
    /// The same, for whoever shows these credentials; 407 for all others.
    LeadWho(SocketAddr, &'static str),
    /// Answers with these bytes and closes.
    Say(Vec<u8>),
}

impl Stage {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let builder = Emulator::builder(USERNAME, Secret::new(SECRET.to_vec()));
        let emulator = runtime.block_on(builder.start()).expect("an emulator");
        Self {
            runtime,
            emulator,
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The emulator's URL, in the clear.
    pub fn cleartext(&self) -> String {
        format!("http://{}", self.emulator.addresses().gateway)
    }

    /// A file of this stage.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a temporary directory can be written to");
        path
    }

    /// TLS in front of the emulator, on 127.0.0.1.
    pub fn front(&self, identity: Identity) -> Front {
        self.front_at("127.0.0.1:0", identity)
            .expect("a free port of the loopback")
    }

    /// The same elsewhere; `None` where this host has no such address.
    pub fn front_at(&self, address: &str, identity: Identity) -> Option<Front> {
        let (config, authority) = certified(&identity);
        let listener = self.runtime.block_on(TcpListener::bind(address)).ok()?;
        let address = listener.local_addr().expect("bound");
        let gateway = self.emulator.addresses().gateway;
        let acceptor = pingora::tls::TlsAcceptor::from(Arc::new(config));
        self.runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut tls = acceptor.accept(socket).await?;
                    let mut behind = TcpStream::connect(gateway).await?;
                    copy_bidirectional(&mut tls, &mut behind).await
                });
            }
        });
        Some(Front {
            address,
            authority: self.file(&format!("authority-{}.pem", address.port()), authority),
        })
    }

    /// A CONNECT proxy that goes by `rule`.
    pub fn proxy(&self, rule: Rule) -> Proxy {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port of the loopback");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        self.runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(conduct(socket, rule.clone(), seen.clone()));
            }
        });
        Proxy { address, heads }
    }

    /// TLS in front of the emulator under a name with two addresses, of which the one that is tried first is dead: the
    /// server, the command of a program that knows the name, and the socket that keeps the dead port free. `None` where
    /// this system lets nobody give a program names of its own.
    pub fn half_dead(&self) -> Option<(Front, Command, socket2::Socket)> {
        let allowed = is_installed("unshare", &["-rm", "true"]);
        let (front, socket) = (0..100).filter(|_| allowed).find_map(|_| {
            let front = self.front_at(
                "127.0.0.2:0",
                Identity {
                    names: vec!["twice.test"],
                    ..Identity::default()
                },
            )?;
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("a socket");
            let dead = SocketAddr::from(([127, 0, 0, 1], front.address.port()));
            socket.bind(&dead.into()).ok()?;
            Some((front, socket))
        })?;
        let hosts = self.file("hosts", "127.0.0.1 twice.test\n127.0.0.2 twice.test\n");
        let mut command = Command::new("unshare");
        command
            .args([
                "-rm",
                "sh",
                "-c",
                "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
            ])
            .arg(hosts)
            .arg(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
        Some((front, command, socket))
    }

    /// A port at which nothing listens, as long as the socket lives.
    pub fn closed_port() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("bound").as_socket();
        (socket, address.expect("an internet address"))
    }
}

impl Front {
    /// Its URL by that name.
    pub fn url(&self, name: &str) -> String {
        format!("https://{name}:{}", self.address.port())
    }
}

impl Proxy {
    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panicked").clone()
    }
}

async fn conduct(
    mut socket: TcpStream,
    rule: Rule,
    seen: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().expect("nobody panicked").push(head.clone());
    let target = match rule {
        Rule::Lead(target) => target,
        Rule::LeadWho(target, credentials)
            if head.contains(&format!("\r\nProxy-Authorization: Basic {credentials}\r\n")) =>
        {
            target
        }
        Rule::LeadWho(..) => {
            return socket
                .write_all(b"HTTP/1.1 407 canary-reason\r\nProxy-Authenticate: Basic realm=\"canary-realm\"\r\nContent-Length: 11\r\n\r\ncanary-body")
                .await;
        }
        Rule::Say(bytes) => return socket.write_all(&bytes).await,
    };
    let mut behind = TcpStream::connect(target).await?;
    socket
        .write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
        .await?;
    copy_bidirectional(&mut socket, &mut behind).await.map(drop)
}

/// A server's configuration, and the PEM of whoever vouches for it.
fn certified(identity: &Identity) -> (ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);

    let names: Vec<String> = identity.names.iter().map(|n| (*n).to_owned()).collect();
    let mut leaf = CertificateParams::new(names).expect("names that can stand in a certificate");
    leaf.distinguished_name
        .push(rcgen::DnType::CommonName, "Ingo of the tests");
    if identity.expired {
        leaf.not_before = date_time_ymd(2019, 1, 1);
        leaf.not_after = date_time_ymd(2020, 1, 1);
    }
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = if identity.self_signed {
        leaf.self_signed(&leaf_key)
    } else {
        leaf.signed_by(&leaf_key, &issuer)
    };
    let leaf = leaf.expect("a certificate");
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
    config.alpn_protocols = identity
        .alpn
        .iter()
        .map(|p| p.as_bytes().to_vec())
        .collect();
    (config, authority)
}

/// What the configuration says of the roots to trust.
pub fn trusting(authority: &Path) -> String {
    format!("upstream:\n  ca_file: {}\n", authority.display())
}

/// `user:password` of the proxies, and how it is shown to them.
pub const PROXY_USER: &str = "corporate";
pub const PROXY_PASSWORD: &str = "canary-proxy-p@ss";
/// `printf '%s' 'corporate:canary-proxy-p@ss' | base64`
pub const PROXY_BASIC: &str = "Y29ycG9yYXRlOmNhbmFyeS1wcm94eS1wQHNz";
