//! Serving a bound socket: Pingora accepts, we count and guard each connection, the application answers.

use std::{
    fs::Permissions,
    io,
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
    io::{AsyncReadExt as _, AsyncWriteExt, copy, sink},
    runtime::Handle,
    sync::Semaphore,
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
    /// What is written to a connection that is refused: a whole HTTP/1.1 answer that closes the connection.
    pub refusal: Box<dyn Fn(Refusal) -> Vec<u8> + Send + Sync>,
}

/// Why a connection is refused of which no request was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many are open as may.
    TooMany,
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
            },
            refusals: Semaphore::new(REFUSED_AT_ONCE),
            tls: self.tls,
            refusal: self.refusal,
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
    refusals: Semaphore,
    tls: Option<Arc<Renewed<ServerConfig>>>,
    refusal: Box<dyn Fn(Refusal) -> Vec<u8> + Send + Sync>,
}

impl<A: ServerApp + Send + Sync + 'static> Counted<A> {
    /// Lets a connection in, if it may be, and has it served.
    async fn admit(&self, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(place) = self.door.places.clone().try_acquire_owned() else {
            if self.tls.is_none() {
                Box::pin(self.refuse(stream, Refusal::TooMany)).await;
            } else {
                // Within TLS an answer would cost a handshake, which is what there is too much of.
                let _counted = (self.refusal)(Refusal::TooMany);
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

fn is_goodbye(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

impl<A> Counted<A> {
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
            Ok(Ok(Err(cleartext))) => {
                self.refuse(cleartext, Refusal::Cleartext).await;
                None
            }
            // Whoever only looks whether the port is open, as load balancers do, is no news.
            Ok(Err(error)) if is_goodbye(error.kind()) => None,
            Ok(Err(error)) => {
                let _counted = (self.refusal)(Refusal::Handshake);
                tracing::warn!(%error, "a caller's TLS handshake failed; check its trust, its certificate and its TLS version");
                None
            }
            Err(_late) => {
                let _counted = (self.refusal)(Refusal::Handshake);
                tracing::warn!(
                    "a caller's TLS handshake was not complete within limits.header_deadline; check the caller and what lies on the way"
                );
                None
            }
        }
    }

    async fn refuse(&self, mut stream: Stream, why: Refusal) {
        let Ok(_one_of_few) = self.refusals.try_acquire() else {
            return;
        };
        let answer = (self.refusal)(why);
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
