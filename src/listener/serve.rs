//! Serving a bound socket: Pingora accepts, we count and guard each connection, the application answers.

use std::{
    collections::HashMap,
    fmt,
    fs::Permissions,
    io,
    net::IpAddr,
    os::{
        fd::{IntoRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    apps::ServerApp,
    listeners::{L4BufferSettings, ListenerConfig},
    protocols::Stream,
    server::{Fds, ShutdownWatch},
    services::{Service as _, listening::Service},
    tls::{ServerConfig, TlsAcceptor},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, copy, sink},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

use super::{
    Bound, BoundAddress, Guarded,
    wire::{Secured, Wire},
};
use crate::{
    bounds::Memory,
    lifecycle::Lifecycle,
    tls::{Renewed, has_expired},
};

/// The bounds of one listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once; one of HTTP/2 counts as [`H2_STREAMS`].
    pub connections: usize,
    /// Of these, what one peer's address may have; `None` where all callers are one host's.
    pub from_one: Option<usize>,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// A head must be complete this long after its first byte.
    pub head_deadline: Duration,
    /// A connection that asks for nothing is closed after this long.
    pub idle_timeout: Duration,
}

/// Streams that an HTTP/2 connection may have open at once: clients open as many before they hear of a limit (RFC 9113 §6.5.2
/// recommends no fewer).
pub const H2_STREAMS: u32 = 100;
/// Connections over the limit that are told so at once. Those over this limit too are closed without a word.
const REFUSED_AT_ONCE: usize = 64;
/// What a refused caller may still send before its connection is closed.
const REFUSED_REQUEST_BYTES: u64 = 256 * 1024;
/// How long one may take to read that it is refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Bytes that are read ahead of TLS: a record at a time (RFC 8446 §5.1). In the clear HTTP has buffers of its own; Pingora's
/// default of 64 KiB more for each connection, also for those that idle, is most of what one would take.
const TLS_RECORD: usize = 16 * 1024;
/// How TLS begins (RFC 8446 §5.1): no HTTP request does.
const HANDSHAKE_RECORD: u8 = 22;

/// What every connection of one listener passes.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) limits: ConnectionLimits,
    pub(super) places: Arc<Semaphore>,
    pub(super) memory: Memory,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) refusals: Arc<Refusals>,
}

/// How connections are refused, of which few at once are told.
pub(super) struct Refusals {
    places: Semaphore,
    answer: Box<dyn Fn(Refusal) -> Vec<u8> + Send + Sync>,
}

/// A socket and how it is to be served.
pub struct Listening<A> {
    /// Its name in Pingora's log records.
    pub name: &'static str,
    /// The socket.
    pub bound: Bound,
    /// Who answers.
    pub app: A,
    /// The bounds of each of its connections.
    pub limits: ConnectionLimits,
    /// The connections that may still be opened, of `limits.connections`.
    pub places: Arc<Semaphore>,
    /// The budget that large heads are charged to.
    pub memory: Memory,
    /// Where connections are counted that the way out must wait for; `None` where it need not.
    pub lifecycle: Option<Lifecycle>,
    /// TLS, where callers must speak it.
    pub tls: Option<Arc<Renewed<ServerConfig>>>,
    /// Counts a connection that is refused, and says what is written to it: a whole answer that closes the connection.
    pub refusal: Box<dyn Fn(Refusal) -> Vec<u8> + Send + Sync>,
}

/// Why a connection is refused of which no request was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many are open as may.
    TooMany,
    /// It speaks HTTP/2 and counts as [`H2_STREAMS`], which is more than may still be opened.
    TooManyHttp2,
    /// It speaks HTTP in the clear where TLS is spoken.
    Cleartext,
    /// Its TLS handshake failed or was too slow. Nothing can be answered.
    Handshake,
}

/// The listener of this name accepts no more connections, and nobody told it to stop: a fault of ours, which only a new process
/// mends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf(pub &'static str);

impl ConnectionLimits {
    /// The connections that may be opened, while none is.
    pub fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.connections))
    }
}

impl<A: ServerApp + Send + Sync + 'static> Listening<A> {
    /// Serves until `shutdown` says so: no connection is accepted after that; those that are open are left to the application.
    ///
    /// Each of `lanes`, and the runtime that this runs on, accepts connections for itself.
    ///
    /// # Errors
    /// [`Deaf`], as soon as one of them no longer does.
    pub async fn serve(self, shutdown: ShutdownWatch, lanes: &[Handle]) -> Result<(), Deaf> {
        let counted = Arc::new(Counted {
            app: Arc::new(self.app),
            door: Door {
                limits: self.limits,
                places: self.places,
                memory: self.memory,
                lifecycle: self.lifecycle,
                refusals: Arc::new(Refusals {
                    places: Semaphore::new(REFUSED_AT_ONCE),
                    answer: self.refusal,
                }),
            },
            peers: Arc::default(),
            tls: self.tls,
        });
        let mut accepting = JoinSet::new();
        for lane in lanes {
            match self.bound.fd.try_clone() {
                Ok(fd) => {
                    let serving = accept(self.name, &self.bound.address, fd, &counted, &shutdown);
                    accepting.spawn_on(serving, lane);
                }
                Err(error) => {
                    tracing::error!(%error, listener = self.name, "the system refused a file descriptor, so a worker thread accepts no connections; raise the limit on open files (ulimit -n, LimitNOFILE)");
                }
            }
        }
        let Bound { fd, address } = self.bound;
        accepting.spawn(accept(self.name, &address, fd, &counted, &shutdown));
        while accepting.join_next().await.is_some() {
            if !*shutdown.borrow() {
                return Err(Deaf(self.name));
            }
        }
        Ok(())
    }
}

/// Accepts connections on a socket, for the runtime that this runs on.
fn accept<A: ServerApp + Send + Sync + 'static>(
    name: &str,
    address: &BoundAddress,
    fd: OwnedFd,
    counted: &Arc<Counted<A>>,
    shutdown: &ShutdownWatch,
) -> impl Future<Output = ()> + Send + use<A> {
    let mut service = Service::new(name.to_owned(), OnLane(counted.clone()));
    let (key, listener) = match address {
        BoundAddress::Tcp(address) => {
            let key = address.to_string();
            (key.clone(), ListenerConfig::tcp(key))
        }
        BoundAddress::Unix { path, mode, .. } => {
            let key = path.display().to_string();
            let listener = ListenerConfig::uds(key.clone());
            (key, listener.permissions(Permissions::from_mode(*mode)))
        }
    };
    let read = match counted.tls {
        Some(_) => TLS_RECORD,
        None => 0,
    };
    service.add_listener(listener.l4_buffer(L4BufferSettings::default().read(read)));
    let mut fds = Fds::new();
    fds.add(key, fd.into_raw_fd());
    let shutdown = shutdown.clone();
    async move {
        service
            .start_service(Some(Arc::new(Mutex::new(fds))), shutdown, 1)
            .await;
    }
}

/// One lane's part of a listener: Pingora's services have an application each.
struct OnLane<A>(Arc<Counted<A>>);

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for OnLane<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.0.admit(stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.0.app.cleanup().await;
    }
}

/// An application whose connections are counted and guarded.
struct Counted<A> {
    app: Arc<A>,
    door: Door,
    peers: Arc<Peers>,
    tls: Option<Arc<Renewed<ServerConfig>>>,
}

/// How many connections each peer has open, where that is bounded.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection of a peer that is counted; not any more when dropped.
struct OfPeer {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl<A: ServerApp + Send + Sync + 'static> Counted<A> {
    /// Lets a connection in, if it may be, and has it served.
    async fn admit(&self, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Some((place, _of_peer)) = self.place(&stream) else {
            if self.tls.is_none() {
                Box::pin(self.door.refusals.tell(&mut stream, Refusal::TooMany)).await;
            } else {
                // Within TLS an answer would cost a handshake, which is what there is too much of.
                self.door.refusals.count(Refusal::TooMany);
            }
            return None;
        };
        let wire = match &self.tls {
            // Boxed, so that a connection in the clear holds no room for a handshake.
            Some(tls) => Box::pin(self.secure(stream, tls.now())).await?,
            None => Wire::Plain(stream),
        };
        let guarded = Guarded::new(wire, self.door.clone(), self.tls.clone(), place);
        self.app.process_new(Box::new(guarded), shutdown).await
    }
}

/// The address at the other end, where it has one.
fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip().to_canonical())
}

fn is_goodbye(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

impl Peers {
    /// Counts a connection of `address`, unless it has as many as it may.
    fn one_more(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<OfPeer> {
        let mut open = self.0.lock();
        let of_this = open.entry(address).or_default();
        if *of_this >= most {
            return None;
        }
        *of_this += 1;
        let peers = self.clone();
        Some(OfPeer { peers, address })
    }
}

impl Drop for OfPeer {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock();
        if let Some(of_this) = open.get_mut(&self.address) {
            *of_this -= 1;
            if *of_this == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

impl Refusals {
    /// Counts a connection that ends without a word.
    fn count(&self, why: Refusal) {
        let _unsent = (self.answer)(why);
    }

    /// Counts a connection and tells it why it ends, if not too many are being told.
    pub(super) async fn tell<S>(&self, mut stream: &mut S, why: Refusal)
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let answer = (self.answer)(why);
        let Ok(_one_of_few) = self.places.try_acquire() else {
            return;
        };
        let _closed_or_late = timeout(REFUSAL_DEADLINE, async {
            if stream.write_all(&answer).await.is_ok()
                && AsyncWriteExt::shutdown(&mut stream).await.is_ok()
            {
                // Closing with unread bytes would reset the connection and with it the answer.
                let _end = copy(&mut stream.take(REFUSED_REQUEST_BYTES), &mut sink()).await;
            }
        })
        .await;
    }
}

impl<A> Counted<A> {
    /// A place for the connection, if there is one for it and for its peer.
    fn place(&self, stream: &Stream) -> Option<(OwnedSemaphorePermit, Option<OfPeer>)> {
        let of_peer = match self.door.limits.from_one {
            Some(most) => match peer(stream) {
                Some(address) => Some(self.peers.one_more(address, most)?),
                None => None,
            },
            None => None,
        };
        let place = self.door.places.clone().try_acquire_owned().ok()?;
        Some((place, of_peer))
    }

    /// Makes the TLS handshake.
    async fn secure(&self, mut stream: Stream, config: Arc<ServerConfig>) -> Option<Wire> {
        let mut first = [0];
        let accepting = async {
            if !stream.try_peek(&mut first).await? {
                return Err(io::ErrorKind::Unsupported.into());
            }
            if first[0] != HANDSHAKE_RECORD {
                return Ok(Err(stream));
            }
            let accepted = TlsAcceptor::from(config.clone()).accept(stream).await?;
            let session = accepted.get_ref().1;
            let shown = session.peer_certificates().unwrap_or_default();
            if has_expired(shown, SystemTime::now()) {
                return Err(io::Error::other(
                    "the caller's certificate has expired, which began its session",
                ));
            }
            Ok(Ok(Wire::Tls(Box::new(Secured {
                stream: accepted,
                under: config,
            }))))
        };
        match timeout(self.door.limits.head_deadline, accepting).await {
            Ok(Ok(Ok(wire))) => Some(wire),
            Ok(Ok(Err(mut cleartext))) => {
                let refusals = &self.door.refusals;
                refusals.tell(&mut cleartext, Refusal::Cleartext).await;
                None
            }
            // Whoever only looks whether the port is open, as load balancers do, is no news.
            Ok(Err(error)) if is_goodbye(error.kind()) => None,
            Ok(Err(error)) => {
                self.door.refusals.count(Refusal::Handshake);
                tracing::warn!(%error, "a caller's TLS handshake failed; check its trust, its certificate and its TLS version");
                None
            }
            Err(_late) => {
                self.door.refusals.count(Refusal::Handshake);
                tracing::warn!(
                    "a caller's TLS handshake was not complete within limits.header_deadline; check the caller and what lies on the way"
                );
                None
            }
        }
    }
}
