//! A caller's connection as bytes: in the clear, or out of TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pingora::{
    protocols::Stream,
    tls::{ServerConfig, ServerTlsStream},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A caller's connection.
#[derive(Debug)]
pub(super) enum Wire {
    /// What comes is what the caller sent.
    Plain(Stream),
    /// What comes is what the caller sent through TLS.
    Tls(Box<Secured>),
}

/// A connection out of TLS.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: ServerTlsStream<Stream>,
    /// Under what the handshake was made.
    pub(super) under: Arc<ServerConfig>,
}

impl Wire {
    /// Pingora's own view of the connection.
    pub(super) fn below(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(secured) => secured.stream.get_ref().0,
        }
    }

    /// Under what a caller was let in that showed a certificate.
    pub(super) fn let_in_under(&self) -> Option<Arc<ServerConfig>> {
        let Self::Tls(secured) = self else {
            return None;
        };
        let shown = secured.stream.get_ref().1.peer_certificates();
        shown.map(|_| secured.under.clone())
    }

    fn read_half(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(secured) => Pin::new(&mut secured.stream),
        }
    }

    fn write_half(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(secured) => Pin::new(&mut secured.stream),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read_half().poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_half().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_half().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_half().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_half().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(secured) => secured.stream.is_write_vectored(),
        }
    }
}
