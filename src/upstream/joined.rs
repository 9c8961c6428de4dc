//! A connection to an upstream that sends a request's head and body together.
//!
//! Pingora flushes the head before it is given the body: two system calls and two segments, or two TLS records, where one
//! does. What is written while this holds back is sent before whatever is written next, in the same call.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use pingora::protocols::{Peek, Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room for a head and a small body; what is larger grows it for that request only.
const USUAL: usize = 2 * 1024;

/// A stream whose flushes can be put off.
#[derive(Debug)]
pub(super) struct Joined {
    inner: Stream,
    /// Pingora lends the stream as `&` only. Relaxed: whoever sets it writes next, in the same task.
    holds: AtomicBool,
    /// Written and not yet passed on.
    held: Vec<u8>,
}

impl Joined {
    pub(super) fn over(inner: Stream) -> Self {
        Self {
            inner,
            holds: AtomicBool::new(false),
            held: Vec::new(),
        }
    }

    /// Has the Joined below a Pingora stream hold back what is written from now on, or no longer.
    pub(super) fn hold(stream: &Stream, holds: bool) {
        let joined = stream.as_ref().as_any().downcast_ref::<Self>();
        let joined = joined.expect("every stream of the pool is laid over when it is made");
        joined.holds.store(holds, Ordering::Relaxed);
    }

    /// Passes on what was held, and as much of `after` as goes with it.
    fn poll_pass_on(&mut self, cx: &mut Context<'_>, after: &[u8]) -> Poll<io::Result<usize>> {
        let mut passed = 0;
        loop {
            let held = &self.held[passed..];
            let both = [IoSlice::new(held), IoSlice::new(after)];
            let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, &both);
            let written = match polled {
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written,
                Poll::Pending => {
                    self.held.drain(..passed);
                    return Poll::Pending;
                }
            };
            passed += written?;
            if let Some(of_after) = passed.checked_sub(self.held.len()) {
                self.held.clear();
                self.held.shrink_to(USUAL);
                return Poll::Ready(Ok(of_after));
            }
        }
    }
}

impl AsyncWrite for Joined {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds.load(Ordering::Relaxed) {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if !self.held.is_empty() {
            let of_buf = ready!(self.poll_pass_on(cx, buf))?;
            if of_buf > 0 || buf.is_empty() {
                return Poll::Ready(Ok(of_buf));
            }
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if !self.held.is_empty() {
            ready!(self.poll_pass_on(cx, &[]))?;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for Joined {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

#[async_trait]
impl Shutdown for Joined {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

/// Nothing is peeked at that an upstream sends.
impl Peek for Joined {}

overlay!(Joined, |joined| joined.inner);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A joined stream and its other end.
    async fn connected() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let near = pingora::protocols::l4::stream::Stream::from(near.expect("connected"));
        let joined: Stream = Box::new(Joined::over(Box::new(near)));
        (joined, far.expect("accepted").0)
    }

    #[tokio::test]
    async fn what_is_held_comes_before_what_is_written_next_whatever_its_size() {
        for size in [1, 300, 5_000, 3_000_000] {
            let (mut near, mut far) = connected().await;
            let body = vec![b'b'; size];
            let expected = [b"head".as_slice(), &body].concat();
            let reading = tokio::spawn(async move {
                let mut read = Vec::new();
                far.read_to_end(&mut read).await.expect("readable");
                read
            });
            Joined::hold(&near, true);
            near.write_all(b"head").await.expect("held");
            near.flush().await.expect("put off");
            Joined::hold(&near, false);
            near.write_all(&body).await.expect("written");
            near.flush().await.expect("flushed");
            drop(near);
            assert!(reading.await.expect("no panic") == expected, "{size}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_while_it_holds_and_a_flush_sends_what_was_held() {
        let (mut near, mut far) = connected().await;
        Joined::hold(&near, true);
        near.write_all(b"head").await.expect("held");
        near.flush().await.expect("put off");
        let mut byte = [0];
        assert_eq!(
            far.try_read(&mut byte).map_err(|error| error.kind()),
            Err(io::ErrorKind::WouldBlock)
        );
        Joined::hold(&near, false);
        near.flush().await.expect("flushed");
        let mut head = [0; 4];
        far.read_exact(&mut head).await.expect("all of it");
        assert_eq!(&head, b"head");
    }
}
