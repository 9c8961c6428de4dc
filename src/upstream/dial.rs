//! From a host name to a connection: all addresses are tried, TLS included, each without waiting long for the one before, and the
//! last good answer of the resolver is kept.
//!
//! Where a proxy is on the way, it is the proxy's name that is resolved and the proxy that is connected to; the upstream's name
//! is the proxy's to resolve (`tunnel`).
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
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use pingora::{
    Error, ErrorType, OrErr,
    connectors::l4::Connect,
    protocols::{
        TcpKeepalive,
        l4::{ext::set_tcp_keepalive, socket::SocketAddr as PeerAddr, stream::Stream},
    },
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    send::{Failure, connect_failure},
    tunnel::{PROXY_PASSWORD, PROXY_REFUSED, Tunnel},
};
use crate::config::{Origin, ProxyConfig};

/// The host name could not be resolved.
pub(super) const RESOLVE_FAILED: ErrorType = ErrorType::new("ResolveFailed");
/// No address accepted a TCP connection in time. Pingora's own `ConnectTimedout` is left to mean the TLS handshake.
pub(super) const TCP_TIMED_OUT: ErrorType = ErrorType::new("TcpTimedOut");

/// What has not connected after so long, TLS included, is no longer waited for alone: the next address is tried beside it (RFC 8305 §5),
/// because an exchange may have less time than one that answers nothing takes until its time-out. Twice what the RFC recommends for TCP
/// alone, so that one that is just far away is seldom doubled.
const NEXT_AFTER: Duration = Duration::from_millis(500);
/// So many are tried beside each other: an upstream that is overloaded must not be asked by each exchange for as many connections as it
/// has addresses.
const AT_ONCE: usize = 2;

/// How long a resolver's answer is used before a new one is fetched. The resolver's own TTL is not told to programs.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// A dead pooled connection is noticed by probes before a NAT forgets it, and by unacknowledged data within seconds:
/// otherwise it costs an exchange its time-out and the caller a `sent: maybe`.
pub(super) const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(15),
    interval: Duration::from_secs(5),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(30),
};

/// Connects to one host, or through a proxy to one.
#[derive(Clone, Debug)]
pub(super) struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What is resolved and connected to: the upstream's, or the proxy's.
    host: String,
    port: u16,
    tunnel: Option<Tunnel>,
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
    pub(super) fn new(
        origin: &Origin,
        proxy: Option<&ProxyConfig>,
        connect_timeout: Duration,
    ) -> Self {
        let proxy = proxy.filter(|proxy| proxy.serves(origin));
        let (host, port) = proxy.map_or((&origin.host, origin.port), |p| (&p.host, p.port));
        let literal = host.parse::<IpAddr>().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip, port));
        Self(Arc::new(Inner {
            host: host.clone(),
            port,
            tunnel: proxy.map(|proxy| Tunnel::new(origin, proxy)),
            connect_timeout,
            known: Mutex::new(Known {
                addresses: addresses.into_iter().collect(),
                fetched: None,
            }),
            refreshing: AtomicBool::new(false),
        }))
    }

    /// What is asked of the proxy, if one is on the way.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.0.tunnel.as_ref()
    }

    /// Connects to `address`, and through it where it is the proxy's. What is heard from nobody within the time-out counts as
    /// a time-out, of the proxy too.
    pub(super) async fn reach(&self, address: SocketAddr) -> pingora::Result<TcpStream> {
        let limit = self.0.connect_timeout;
        let connecting = timeout(limit, TcpStream::connect(address));
        let mut stream = match connecting.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                        ErrorType::ConnectNoRoute
                    }
                    io::ErrorKind::TimedOut => TCP_TIMED_OUT,
                    _ => ErrorType::ConnectError,
                };
                return Err(Error::because(kind, "connecting to the upstream", error));
            }
            Err(_) => return Err(Error::explain(TCP_TIMED_OUT, "connecting to the upstream")),
        };
        // Pingora does this, too, but only once the proxy has answered.
        set_tcp_keepalive(&stream, &KEEPALIVE)?;
        if let Some(tunnel) = &self.0.tunnel {
            timeout(limit, tunnel.open(&mut stream))
                .await
                .unwrap_or_else(|_| Err(Error::explain(TCP_TIMED_OUT, "asking the proxy")))?;
        }
        Ok(stream)
    }

    /// Makes a connection by `make` to the first address to which it can be made, and tries that one first from then on. The next
    /// address is tried once one has failed, or beside it after [`NEXT_AFTER`]; what the others have come to by then is dropped. One that
    /// took so long is tried last from then on: whoever has no time to wait for the next leaves others the way to it.
    ///
    /// # Errors
    /// The last; but what became of a TLS handshake tells more than that another address did not listen.
    pub(super) async fn first<T, F: Future<Output = pingora::Result<T>>>(
        &self,
        mut make: impl FnMut(SocketAddr) -> F,
    ) -> pingora::Result<T> {
        let addresses = self
            .addresses()
            .await
            .or_err(RESOLVE_FAILED, "resolving the upstream")?;
        let mut told = Error::explain(RESOLVE_FAILED, "the upstream has no address");
        let mut addresses = addresses.into_iter().peekable();
        let mut trying = FuturesUnordered::new();
        loop {
            let newest = addresses.next_if(|_| trying.len() < AT_ONCE);
            if let Some(address) = newest {
                let made = make(address);
                trying.push(async move { (address, made.await) });
            }
            let made = match newest {
                // One alone, with others to come.
                Some(address) if trying.len() == 1 && addresses.peek().is_some() => {
                    let Ok(made) = timeout(NEXT_AFTER, trying.next()).await else {
                        self.0.put_last(address);
                        continue;
                    };
                    made
                }
                _ => trying.next().await,
            };
            match made {
                None => return Err(told),
                Some((address, Ok(made))) => {
                    self.0.prefer(address);
                    return Ok(made);
                }
                // The proxy is there and says no: another of its addresses would say the same.
                Some((_, Err(error))) if is_verdict(error.etype()) => return Err(error),
                Some((_, Err(error))) if is_tls(&error) || !is_tls(&told) => told = error,
                Some((_, Err(_))) => {}
            }
        }
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
                    tracing::warn!(host = inner.host, %error, "could not resolve again, the last good addresses stay in use; check the name and this host's DNS");
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
        let addresses: Vec<SocketAddr> = timeout(self.connect_timeout, lookup).await??.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        let mut addresses = addresses;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What answered last is asked first still: a resolver does not know which of its addresses is dead.
        let preferred = known.addresses.first();
        if let Some(at) = addresses.iter().position(|a| Some(a) == preferred) {
            addresses[..=at].rotate_right(1);
        }
        *known = Known {
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

    /// Puts an address that has not answered in time behind all others.
    fn put_last(&self, address: SocketAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.addresses.iter().position(|a| *a == address) {
            known.addresses[at..].rotate_left(1);
        }
    }
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Stream> {
        let address = address.as_inet().expect("endpoints have such addresses");
        Ok(self.reach(*address).await?.into())
    }
}

/// Whether a proxy decided. One that failed (5xx) is not the only one of its name.
fn is_verdict(error: &ErrorType) -> bool {
    match error {
        ErrorType::CustomCode(PROXY_REFUSED, status) => *status < 500,
        other => *other == PROXY_PASSWORD,
    }
}

fn is_tls(error: &Error) -> bool {
    matches!(connect_failure(error), Failure::Tls { .. })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::{super::tunnel::PROXY_UNINTELLIGIBLE, *};

    /// A dialer whose resolver answered `addresses`.
    fn dialer(addresses: Vec<SocketAddr>) -> Dialer {
        dialer_with(Duration::from_secs(5), addresses)
    }

    fn dialer_with(connect_timeout: Duration, addresses: Vec<SocketAddr>) -> Dialer {
        let origin = Origin {
            tls: false,
            host: "upstream.test".to_owned(),
            port: 1,
        };
        let dialer = Dialer::new(&origin, None, connect_timeout);
        *dialer.0.known.lock().expect("nobody panicked") = Known {
            addresses,
            fetched: None,
        };
        dialer
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    /// A port of the loopback interface that is taken, and not listened at.
    fn dead() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("an address");
        (socket, address)
    }

    /// An address that answers nothing: as many connections wait to be accepted there as may.
    fn silent() -> ((socket2::Socket, Vec<std::net::TcpStream>), SocketAddr) {
        let (socket, address) = dead();
        socket.listen(0).expect("it can listen");
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let waiting = std::iter::from_fn(|| connect().ok()).take(16).collect();
        ((socket, waiting), address)
    }

    #[tokio::test]
    async fn a_dead_address_is_passed_over_once_and_the_good_one_is_preferred_from_then_on() {
        let (_listener, good) = listener().await;
        let (_taken, dead) = dead();
        let dialer = dialer(vec![dead, good]);
        for _ in 0..2 {
            let made = dialer.first(|address| dialer.reach(address));
            made.await.expect("one of two is good");
            assert_eq!(dialer.addresses().await.expect("known"), [good, dead]);
        }
    }

    #[tokio::test]
    async fn an_address_that_answers_nothing_keeps_nobody_waiting_until_its_time_out() {
        let (_listener, good) = listener().await;
        let (_full, silent) = silent();
        let (_taken, dead) = dead();
        // One of each kind before the good one, which is reached long before the time-out of the silent one.
        let dialer = dialer_with(Duration::from_secs(600), vec![silent, dead, good]);
        let made = dialer.first(|address| dialer.reach(address));
        let made = timeout(Duration::from_secs(60), made).await;
        let made = made.expect("in time").expect("one of them is good");
        assert_eq!(made.peer_addr().expect("connected"), good);
        assert_eq!(dialer.addresses().await.expect("known")[0], good);
    }

    #[tokio::test]
    async fn an_address_that_is_only_slow_is_still_waited_for_when_the_next_has_failed() {
        let [slow, dead] = [1, 2].map(|host| SocketAddr::from(([127, 0, 0, host], 1)));
        let dialer = dialer(vec![slow, dead]);
        let next_has_failed = tokio::sync::Notify::new();
        let made = dialer.first(async |address| {
            if address == dead {
                next_has_failed.notify_one();
                return Err(Error::new(ErrorType::ConnectRefused));
            }
            next_has_failed.notified().await;
            Ok(address)
        });
        let made = timeout(Duration::from_secs(60), made).await;
        assert_eq!(made.expect("in time").expect("it was only slow"), slow);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_with_too_little_time_for_several_silent_addresses_lead_others_past_them() {
        let addresses = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 1)));
        let dialer = dialer(addresses.to_vec());
        let asked = Mutex::new(Vec::new());
        let make = async |address| {
            asked.lock().expect("nobody panicked").push(address);
            if address != addresses[2] {
                std::future::pending::<()>().await;
            }
            Ok(address)
        };
        let a_second = Duration::from_secs(1);
        let made = timeout(a_second, dialer.first(make)).await;
        assert!(made.is_err(), "two at once, and both say nothing");
        assert_eq!(*asked.lock().expect("nobody panicked"), addresses[..2]);
        let made = timeout(a_second, dialer.first(make)).await;
        let made = made.expect("in time").expect("it is good");
        assert_eq!(made, addresses[2]);
        assert_eq!(dialer.addresses().await.expect("known")[0], addresses[2]);
    }

    #[tokio::test]
    async fn an_address_that_fails_after_tcp_is_passed_over_as_one_that_does_not_listen() {
        let [first, second, third] = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 1)));
        let failing = |error: ErrorType, address| {
            move |asked| match asked == address {
                true => Err(Error::new(error.clone())),
                false => Ok(asked),
            }
        };
        for error in [
            ErrorType::TLSHandshakeFailure,
            ErrorType::TLSHandshakeTimedout,
            ErrorType::InvalidCert,
            ErrorType::CustomCode(PROXY_REFUSED, 503),
            PROXY_UNINTELLIGIBLE,
        ] {
            let dialer = dialer(vec![first, second, third]);
            let answer = failing(error.clone(), first);
            let made = dialer.first(async |address| answer(address)).await;
            assert_eq!(made.expect("two are good"), second, "{error:?}");
            let known = dialer.addresses().await.expect("known");
            assert_eq!(known, [second, first, third], "{error:?}");
        }
        for verdict in [ErrorType::CustomCode(PROXY_REFUSED, 407), PROXY_PASSWORD] {
            let dialer = dialer(vec![first, second]);
            let answer = failing(verdict.clone(), first);
            let made = dialer.first(async |address| answer(address)).await;
            let error = made.expect_err("nobody else is asked");
            assert_eq!(*error.etype(), verdict);
        }
    }

    #[tokio::test]
    async fn of_several_addresses_what_became_of_a_handshake_is_told() {
        let addresses = [1, 2].map(|host| SocketAddr::from(([127, 0, 0, host], 1)));
        let dialer = dialer(addresses.to_vec());
        let made = dialer.first(async |address| {
            let tls = address == addresses[0];
            let error = if tls {
                ErrorType::InvalidCert
            } else {
                ErrorType::ConnectRefused
            };
            Err::<(), _>(Error::new(error))
        });
        let error = made.await.expect_err("neither is good");
        assert_eq!(*error.etype(), ErrorType::InvalidCert);
    }

    #[tokio::test]
    async fn the_last_good_addresses_stay_where_a_name_no_longer_resolves() {
        let (_listener, good) = listener().await;
        // RFC 6761 §6.4: never resolves.
        let origin = Origin {
            tls: false,
            host: "upstream.invalid".to_owned(),
            port: 1,
        };
        let dialer = Dialer::new(&origin, None, Duration::from_secs(5));
        let long_ago = Instant::now()
            .checked_sub(FRESH_FOR + FRESH_FOR)
            .expect("it runs for long enough");
        *dialer.0.known.lock().expect("nobody panicked") = Known {
            addresses: vec![good],
            fetched: Some(long_ago),
        };
        assert_eq!(dialer.addresses().await.expect("known"), [good]);
        dialer
            .0
            .refresh()
            .await
            .expect_err("such a name has no address");
        assert_eq!(dialer.addresses().await.expect("still known"), [good]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dead_connection_is_noticed_by_the_system_within_its_limits() {
        let (_listener, address) = listener().await;
        let stream = dialer(vec![address])
            .reach(address)
            .await
            .expect("it listens");
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().expect("readable"));
        assert_eq!(
            socket.tcp_user_timeout().expect("readable"),
            Some(KEEPALIVE.user_timeout)
        );
        assert_eq!(
            socket.tcp_keepalive_time().expect("readable"),
            KEEPALIVE.idle
        );
        assert_eq!(
            socket.tcp_keepalive_interval().expect("readable"),
            KEEPALIVE.interval
        );
    }
}
