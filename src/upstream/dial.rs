//! From a host name to a TCP connection: all addresses are tried, and the last good answer of the resolver is kept.
//!
//! Resolution never blocks a worker and, once an answer is known, never delays an exchange: a stale answer is used while
//! a new one is fetched. Timeouts are told apart from refusals here, because afterwards Pingora calls them alike.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr,
    connectors::l4::Connect,
    protocols::l4::{socket::SocketAddr as PeerAddr, stream::Stream},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// The host name could not be resolved.
pub(super) const RESOLVE_FAILED: ErrorType = ErrorType::new("ResolveFailed");
/// No address accepted a TCP connection in time. Pingora's own `ConnectTimedout` is left to mean the TLS handshake.
pub(super) const TCP_TIMED_OUT: ErrorType = ErrorType::new("TcpTimedOut");

/// How long a resolver's answer is used before a new one is fetched. The resolver's own TTL is not told to programs.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// Connects to one host.
#[derive(Clone, Debug)]
pub(super) struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    port: u16,
    connect_timeout: Duration,
    known: Mutex<Known>,
    refreshing: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// `None`: an IP address literal, which never goes stale.
    fetched: Option<Instant>,
}

impl Dialer {
    pub(super) fn new(host: &str, port: u16, connect_timeout: Duration) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip, port));
        Self(Arc::new(Inner {
            host: host.to_owned(),
            port,
            connect_timeout,
            known: Mutex::new(Known {
                addresses: addresses.into_iter().collect(),
                fetched: None,
            }),
            refreshing: AtomicBool::new(false),
        }))
    }

    /// The addresses to try, in order. Looks the host up where no answer is known yet.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let known = self.0.known();
        if known.addresses.is_empty() {
            self.0.refresh().await?;
            return Ok(self.0.known().addresses);
        }
        if known.fetched.is_some_and(|at| at.elapsed() > FRESH_FOR)
            && !self.0.refreshing.swap(true, Ordering::AcqRel)
        {
            let inner = self.0.clone();
            tokio::spawn(async move {
                if let Err(error) = inner.refresh().await {
                    tracing::warn!(host = inner.host, %error, "could not resolve again, the last good addresses stay in use");
                }
                inner.refreshing.store(false, Ordering::Release);
            });
        }
        Ok(known.addresses)
    }
}

impl Inner {
    fn known(&self) -> Known {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn refresh(&self) -> io::Result<()> {
        let lookup = lookup_host((self.host.as_str(), self.port));
        let addresses: Vec<_> = timeout(self.connect_timeout, lookup).await??.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known {
            addresses,
            fetched: Some(Instant::now()),
        };
        Ok(())
    }

    /// Puts the address that answered first, so that the next connection does not wait for a dead one again.
    fn prefer(&self, address: SocketAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.addresses.iter().position(|a| *a == address) {
            known.addresses[..=at].rotate_right(1);
        }
    }
}

#[async_trait]
impl Connect for Dialer {
    /// Connects to the first address that accepts. The address given is a placeholder: Pingora's peers have one address,
    /// ours have as many as the resolver says.
    async fn connect(&self, _placeholder: &PeerAddr) -> pingora::Result<Stream> {
        let addresses = self
            .addresses()
            .await
            .or_err(RESOLVE_FAILED, "resolving the upstream")?;
        let mut last = Error::explain(RESOLVE_FAILED, "the upstream has no address");
        for address in addresses {
            match timeout(self.0.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    self.0.prefer(address);
                    return Ok(stream.into());
                }
                Ok(Err(error)) => {
                    let kind = match error.kind() {
                        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                            ErrorType::ConnectNoRoute
                        }
                        io::ErrorKind::TimedOut => TCP_TIMED_OUT,
                        _ => ErrorType::ConnectError,
                    };
                    last = Error::because(kind, "connecting to the upstream", error);
                }
                Err(_) => last = Error::explain(TCP_TIMED_OUT, "connecting to the upstream"),
            }
        }
        Err(last)
    }
}
