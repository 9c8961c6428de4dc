//! A caller's connection, guarded where Pingora has no bound of its own.
//!
//! What is read passes a [`Scanner`] first: bytes whose framing cannot be trusted never reach Pingora. Pingora also reads up to
//! 1 MiB of a request head, for as long as each read brings a byte within its time-out, and peeks for HTTP/2 until 24 bytes have
//! come; [`Guarded`] bounds a head in bytes, in time and in memory, and answers short requests at once.

use std::{
    collections::VecDeque,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use memchr::memmem;
use parking_lot::Mutex;
use pingora::protocols::{Peek, Shutdown, Stream};
use pingora::tls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep, sleep_until, timeout_at},
};

use super::{
    serve::{Door, H2_STREAMS, Refusal},
    wire::Wire,
};
use crate::{
    bounds::Reservation,
    framing::{self, Scanner, Target},
    lifecycle::{Lifecycle, Open},
    tls::Renewed,
};

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a connection's bytes are not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the scanner found.
    Framing(framing::Fault),
    /// The head was not complete in time.
    TooSlow,
    /// There is no memory left for a head so large.
    NoMemory,
}

/// A connection whose requests are framed without doubt and bounded.
#[derive(Debug)]
pub struct Guarded {
    inner: Wire,
    door: Door,
    /// Under what callers are let in now, and whether this one was let in by a certificate of its own: under what.
    tls: Option<Arc<Renewed<ServerConfig>>>,
    let_in_under: Option<Arc<ServerConfig>>,
    /// Bytes that were peeked at and not yet read.
    peeked: BytesMut,
    /// Reads along; `None` over HTTP/2, which frames its messages itself.
    scanner: Option<Scanner>,
    /// What a large head holds of the memory budget.
    charged: Option<Reservation>,
    /// Runs from where a head is found incomplete, or a connection's first byte came, until the head is complete: most heads come in
    /// one read and need no timer.
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs from the first request that is waited for; it is set anew only when it ends, not for each.
    idle: Option<Pin<Box<Sleep>>>,
    told: Mutex<Told>,
    _places: Vec<OwnedSemaphorePermit>,
    _open: Option<Open>,
}

/// What the guard tells the application, which Pingora lends the connection as `&` only.
#[derive(Debug, Default)]
struct Told {
    targets: VecDeque<Target>,
    fault: Option<Fault>,
    /// What the application tells the guard: until when it waits for a request to begin, while it does.
    waits_until: Option<Instant>,
}

/// A head up to this size is not charged to the memory budget: the connections that may be open are counted.
const FREE_HEAD: usize = 4 * 1024;
/// What Pingora and the scanner hold for each byte of an incomplete head, measured: 97 KB for 31 KB.
const HELD_PER_HEAD_BYTE: usize = 3;

/// What is read at once, at least; from the stack, so that an idle connection holds none of it. No more, because what came beyond a
/// head is held before the budget of bodies is asked.
const READ_AHEAD: usize = 8 * 1024;

impl Guarded {
    pub(super) fn new(
        inner: Wire,
        door: Door,
        tls: Option<Arc<Renewed<ServerConfig>>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let let_in_under = inner.let_in_under();
        Self {
            inner,
            tls,
            let_in_under,
            peeked: BytesMut::new(),
            scanner: Some(Scanner::new(door.limits.head_bytes)),
            charged: None,
            timer: None,
            idle: None,
            told: Mutex::default(),
            _places: vec![place],
            _open: None,
            door,
        }
    }

    /// The guarded connection below a Pingora stream, if it is one.
    pub fn of(stream: &Stream) -> Option<&Self> {
        stream.as_ref().as_any().downcast_ref()
    }

    /// Whether the caller was let in by a certificate, and who is let in may have changed since: it has to show it again.
    pub fn is_outdated(&self) -> bool {
        match (&self.tls, &self.let_in_under) {
            (Some(tls), Some(under)) => !Arc::ptr_eq(&tls.now(), under),
            _ => false,
        }
    }

    /// Ends the connection where no request has begun `until` then. To be said before each request is read.
    pub fn awaits_request(&self, until: Instant) {
        self.told.lock().waits_until = Some(until);
    }

    /// The target of the next request as it came, once its head is complete. Ask once for each.
    pub fn target(&self) -> Option<Vec<u8>> {
        let mut told = self.told.lock();
        told.waits_until = None;
        told.targets.pop_front().map(|Target(bytes)| bytes)
    }

    /// Why nothing more is passed on.
    pub fn fault(&self) -> Option<Fault> {
        self.told.lock().fault
    }

    fn refuse(&self, fault: Fault) -> io::Error {
        self.told.lock().fault = Some(fault);
        io::Error::other("refused by the guard")
    }

    /// Refuses the next read of a head that is too slow, or too large for the memory there is.
    fn poll_head_bounds(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(fault) = self.fault() {
            return Err(self.refuse(fault));
        }
        let begun = self
            .scanner
            .as_ref()
            .filter(|s| s.is_within_head())
            .map(Scanner::head_len);
        let Some(begun) = begun else {
            self.charged = None;
            return Ok(());
        };
        if begun > FREE_HEAD {
            let memory = &self.door.memory;
            let charge = self.charged.get_or_insert_with(|| memory.reserve());
            let more = (begun * HELD_PER_HEAD_BYTE).saturating_sub(charge.bytes());
            if charge.grow_for_request(more).is_err() {
                return Err(self.refuse(Fault::NoMemory));
            }
        }
        let deadline = self.door.limits.head_deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(deadline)));
        if timer.as_mut().poll(cx).is_ready() {
            return Err(self.refuse(Fault::TooSlow));
        }
        Ok(())
    }

    /// Ready when a request that is waited for has not begun in time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let within_head = self.scanner.as_ref().is_some_and(Scanner::is_within_head);
        let Some(until) = self.told.get_mut().waits_until.filter(|_| !within_head) else {
            return Poll::Pending;
        };
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < idle.deadline() {
            idle.as_mut().reset(until);
        }
        while idle.as_mut().poll(cx).is_ready() {
            if until <= idle.deadline() {
                return Poll::Ready(());
            }
            // It was set for an earlier request.
            idle.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// Reads what was peeked at, or from the connection.
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() && buf.remaining() >= READ_AHEAD {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        if self.peeked.is_empty() {
            return self.poll_read_ahead(cx, buf);
        }
        let n = self.peeked.len().min(buf.remaining());
        buf.put_slice(&self.peeked[..n]);
        self.peeked.advance(n);
        if self.peeked.is_empty() {
            // An idle connection must not hold the room that a busy one took.
            self.peeked = BytesMut::new();
            if buf.remaining() >= READ_AHEAD {
                // What is there already of the same body; where nothing is, or it fails, the next read says so.
                let _more = Pin::new(&mut self.inner).poll_read(cx, buf);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Fills `buf`, and keeps what came beyond it: of a request that is somewhat larger than Pingora's buffer for a head, the rest
    /// needs no second system call. Where the head ends before that, only the head goes on, so that the body is read in one part.
    fn poll_read_ahead(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ahead = [MaybeUninit::uninit(); READ_AHEAD];
        let mut ahead = ReadBuf::uninit(&mut ahead);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut ahead))?;
        let ahead = ahead.filled();
        let room = buf.remaining();
        let now = if ahead.len() > room {
            // A place to cut, and no more: what is a head is for the scanner to say.
            memmem::find(&ahead[..room], b"\r\n\r\n").map_or(room, |at| at + 4)
        } else {
            ahead.len()
        };
        let (now, later) = ahead.split_at(now);
        buf.put_slice(now);
        self.peeked.extend_from_slice(later);
        Poll::Ready(Ok(()))
    }

    /// Lets the scanner read what was read; answers how much of it may be passed on.
    fn scan(&mut self, read: &[u8]) -> usize {
        let Some(scanner) = &mut self.scanner else {
            return read.len();
        };
        let passed = match scanner.feed(read) {
            Ok(()) => read.len(),
            Err(violation) => {
                self.told.get_mut().fault = Some(Fault::Framing(violation.fault));
                violation.passed
            }
        };
        let told = self.told.get_mut();
        while let Some(target) = scanner.accepted() {
            told.targets.push_back(target);
            // That head is complete; what follows it in these bytes may begin another.
            self.timer = None;
        }
        passed
    }

    /// An HTTP/2 connection: it counts as many as it may have streams, and may hold answers that are written and not yet
    /// flushed, which the way out must wait for.
    async fn becomes_h2(&mut self) -> io::Result<()> {
        (self.scanner, self.timer) = (None, None);
        let more = H2_STREAMS - 1;
        let Ok(places) = self.door.places.clone().try_acquire_many_owned(more) else {
            let refusals = self.door.refusals.clone();
            refusals.tell(&mut self.inner, Refusal::TooManyHttp2).await;
            return Err(io::Error::other("refused by the guard"));
        };
        self._places.push(places);
        self._open = self.door.lifecycle.as_ref().map(Lifecycle::open);
        Ok(())
    }

    /// Reads until what came is HTTP/2's preface or cannot become it. A head of HTTP/1.1 begins like it with the P of POST, so its
    /// deadline runs from the first byte on.
    async fn peek_preface(&mut self) -> io::Result<()> {
        while self.peeked.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.peeked) {
            let limits = &self.door.limits;
            let until = match &self.timer {
                Some(deadline) => deadline.deadline(),
                None => Instant::now() + limits.idle_timeout,
            };
            let mut more = [0; H2_PREFACE.len()];
            let room = H2_PREFACE.len() - self.peeked.len();
            match timeout_at(until, self.inner.read(&mut more[..room])).await {
                Err(late) if self.peeked.is_empty() => return Err(late.into()),
                Err(_late) => {
                    // Told as that of any other head, by whoever reads on.
                    self.told.get_mut().fault = Some(Fault::TooSlow);
                    return Ok(());
                }
                Ok(read) => match read? {
                    0 if self.peeked.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                    0 => return Ok(()),
                    n => self.peeked.extend_from_slice(&more[..n]),
                },
            }
            let deadline = limits.head_deadline;
            (self.timer).get_or_insert_with(|| Box::pin(sleep(deadline)));
        }
        Ok(())
    }
}

#[async_trait]
impl Peek for Guarded {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.peek_preface().await?;
        if self.peeked.as_ref() == H2_PREFACE {
            self.becomes_h2().await?;
        }
        buf.fill(0);
        let n = self.peeked.len().min(buf.len());
        buf[..n].copy_from_slice(&self.peeked[..n]);
        Ok(true)
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_head_bounds(cx)?;
        let before = buf.filled().len();
        match self.poll_more(cx, buf) {
            Poll::Ready(read) => read?,
            // As if the caller had closed it.
            Poll::Pending => return self.poll_idle(cx).map(Ok),
        }
        let passed = self.scan(&buf.filled()[before..]);
        let refused = passed < buf.filled().len() - before;
        buf.set_filled(before + passed);
        if refused && passed == 0 {
            return Poll::Ready(Err(io::Error::other("refused by the guard")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // Ends TLS as well, so that the caller knows that nothing was cut off.
        let _ended = AsyncWriteExt::shutdown(&mut self.inner).await;
    }
}

overlay!(Guarded, |guarded| guarded.inner.below());
