//! An upstream looked at step by step, for `doctor`: the same resolver, proxy and connections as an exchange has.
//!
//! Nothing is decided here and nothing repeated. What an answer holds is the caller's to judge.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Answer, Failure, Freshness, NotConnected, Outgoing, Unreachable, Upstream,
    send::connect_failure,
};
use crate::{
    bounds::Memory,
    message::{Head, Unwritable},
    telemetry::{Progress, Stopwatch},
};

/// A connection to one address of an upstream; through the proxy, if one is on the way.
#[derive(Debug)]
pub struct Reached(pub(super) TcpStream);

/// A request as it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'static str,
    /// The target, byte for byte.
    pub target: &'a str,
    /// The header fields besides `Host`.
    pub fields: &'a [(&'static str, &'a str)],
    /// The body.
    pub body: &'static [u8],
    /// How long it may take, connecting apart.
    pub limit: Duration,
}

/// Why a [`Request`] brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It could not be sent, or its answer not be read.
    Failed(Failure),
    /// None came in time.
    TimedOut,
    /// It was left alone, after failures or for want of room.
    LeftAlone,
}

impl Upstream {
    /// The addresses of the upstream, or of the proxy on the way to it.
    ///
    /// # Errors
    /// The resolver's.
    pub async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        self.dialer().addresses().await
    }

    /// Connects to one of those addresses, and through it where it is the proxy's.
    ///
    /// # Errors
    /// Why no connection was made.
    pub async fn reach(&self, address: SocketAddr) -> Result<Reached, Unreachable> {
        let reached = self.dialer().reach(address).await;
        reached
            .map(Reached)
            .map_err(|error| match connect_failure(&error) {
                Failure::Unreachable(why) => why,
                _ => Unreachable::Other,
            })
    }

    /// Sends `request` over a connection of the pool and reads the answer.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask(&self, request: Request<'_>) -> Result<Answer, Unanswered> {
        let head = self
            .head(&request)
            .map_err(|_| Unanswered::Failed(Failure::Unreachable(Unreachable::Other)))?;
        let mut progress = Progress {
            written: false,
            stopwatch: Stopwatch::start(std::time::Instant::now()),
            cause: None,
        };
        let connection = self
            .connect(Freshness::AnyAge, &mut progress)
            .await
            .map_err(|why| match why {
                NotConnected::Failed(failure) => Unanswered::Failed(failure),
                NotConnected::Busy | NotConnected::CircuitOpen(_) => Unanswered::LeftAlone,
            })?;
        let mut memory = Memory::new(2 * self.max_response_bytes).reserve();
        let limit = Instant::now() + request.limit;
        let outgoing = Outgoing {
            head,
            body: Bytes::from_static(request.body),
            asked_for: &[],
        };
        let sending = self.send(connection, outgoing, limit, &mut memory, &mut progress);
        timeout_at(limit, sending)
            .await
            .map_err(|_| Unanswered::TimedOut)?
            .map_err(Unanswered::Failed)
    }

    fn head(&self, request: &Request<'_>) -> Result<Head, Unwritable> {
        let mut head = Head::request(request.method, request.target.as_bytes())?;
        head.field("Host", self.authority())?;
        for (name, value) in request.fields {
            head.field(name, value)?;
        }
        Ok(head)
    }
}
