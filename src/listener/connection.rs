//! A caller's connection, guarded where Pingora has no bound of its own.
//!
//! Pingora reads up to 1 MiB of a request head, for as long as each read brings a byte within its time-out, and peeks for
//! HTTP/2 until 24 bytes have come. [`Guarded`] bounds a head in bytes and in time, and answers short requests at once.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout},
};

use super::ConnectionLimits;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is wrong with a request head that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// The request line alone is larger than a head may be.
    LineTooLarge,
    /// The head is larger than it may be.
    TooLarge,
    /// The head was not complete in time.
    TooSlow,
}

/// A connection whose request heads are bounded.
#[derive(Debug)]
pub struct Guarded {
    inner: Stream,
    limits: ConnectionLimits,
    /// Bytes that were peeked at and not yet read.
    peeked: BytesMut,
    head: Head,
    /// Runs only while a head has begun and is not complete: most heads come in one read and need no timer.
    timer: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// How far the head that is being read has come. Shared, because Pingora lends the connection out as `&`.
#[derive(Debug, Default)]
struct Head {
    expected: AtomicBool,
    bytes: AtomicUsize,
    line_complete: AtomicBool,
    too_large: AtomicBool,
    too_slow: AtomicBool,
}

impl Guarded {
    pub(super) fn new(
        inner: Stream,
        limits: ConnectionLimits,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            inner,
            limits,
            peeked: BytesMut::new(),
            head: Head::default(),
            timer: None,
            _place: place,
        }
    }

    /// The guarded connection below a Pingora stream, if it is one.
    pub fn of(stream: &Stream) -> Option<&Self> {
        stream.as_ref().as_any().downcast_ref()
    }

    /// From now on what is read is a request head.
    pub fn expect_head(&self) {
        self.head.bytes.store(0, Ordering::Relaxed);
        self.head.line_complete.store(false, Ordering::Relaxed);
        self.head.expected.store(true, Ordering::Relaxed);
    }

    /// The head is complete: from now on what is read is a body.
    pub fn head_complete(&self) {
        self.head.expected.store(false, Ordering::Relaxed);
    }

    /// Why the last head could not be read, if it was refused here.
    pub fn fault(&self) -> Option<HeadFault> {
        if self.head.too_slow.load(Ordering::Relaxed) {
            return Some(HeadFault::TooSlow);
        }
        self.head.too_large.load(Ordering::Relaxed).then(|| {
            if self.head.line_complete.load(Ordering::Relaxed) {
                HeadFault::TooLarge
            } else {
                HeadFault::LineTooLarge
            }
        })
    }

    /// Refuses the next read of a head that is too large or too slow already.
    fn poll_head_bounds(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let begun = self.head.bytes.load(Ordering::Relaxed);
        if !self.head.expected.load(Ordering::Relaxed) || begun == 0 {
            self.timer = None;
            return Ok(());
        }
        if begun > self.limits.head_bytes {
            self.head.too_large.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the request head is too large"));
        }
        let deadline = self.limits.head_deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(deadline)));
        if timer.as_mut().poll(cx).is_ready() {
            self.head.too_slow.store(true, Ordering::Relaxed);
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the request head is too slow",
            ));
        }
        Ok(())
    }

    fn count(&self, read: &[u8]) {
        if self.head.expected.load(Ordering::Relaxed) {
            self.head.bytes.fetch_add(read.len(), Ordering::Relaxed);
            if read.contains(&b'\n') {
                self.head.line_complete.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Reads until what came is HTTP/2's preface or cannot become it.
    async fn peek_preface(&mut self) -> io::Result<()> {
        while self.peeked.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.peeked) {
            let mut more = [0; H2_PREFACE.len()];
            let room = H2_PREFACE.len() - self.peeked.len();
            match self.inner.read(&mut more[..room]).await? {
                0 if self.peeked.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => return Ok(()),
                n => self.peeked.extend_from_slice(&more[..n]),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Peek for Guarded {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let limit = self.limits.idle_timeout;
        timeout(limit, self.peek_preface()).await??;
        if self.peeked.as_ref() == H2_PREFACE {
            // HTTP/2 bounds its heads itself, by frames; what is read here is frames of all kinds.
            self.head_complete();
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
        if self.peeked.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        } else {
            let n = self.peeked.len().min(buf.remaining());
            buf.put_slice(&self.peeked[..n]);
            self.peeked.advance(n);
        }
        self.count(&buf.filled()[before..]);
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
        self.inner.as_mut().shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}
