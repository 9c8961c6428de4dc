//! The exchange's outer side: Pingora hands over a session; a head is read, the stages run, the answer is written, the
//! connection kept or closed.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration, time::Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use pingora::{
    ErrorType,
    apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{
        ServerSession,
        v2::server::{H2Options, default_h2_options},
    },
    server::ShutdownWatch,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt, copy, sink},
    time::timeout,
};

use super::{Proxy, Rejection, Reply, broken};
use crate::{
    lifecycle::Stage,
    listener::{Guarded, HeadFault},
    problem::Code,
    telemetry::{Outcome, Phase, Trail},
};

/// A caller that stops reading its answer holds memory and a turn; after this it is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// Having refused a body, this much more of it is read and discarded, so that the caller gets to read the answer:
/// closing with unread bytes resets the connection.
const LINGER_BYTES: u64 = 256 * 1024;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(1);
/// HTTP/2 streams a connection may have open at once: a bound for what it can buffer before we read.
const H2_STREAMS: u32 = 128;

/// [`Proxy`] as Pingora's application.
#[derive(Debug)]
pub struct ProxyApp {
    proxy: Arc<Proxy>,
    options: HttpServerOptions,
}

impl ProxyApp {
    /// Serves `proxy` over HTTP/1.1 and cleartext HTTP/2.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(proxy.limits.inbound_idle_timeout);
        Self { proxy, options }
    }
}

#[async_trait]
impl HttpServerApp for ProxyApp {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let proxy = &self.proxy;
        proxy.expect_head(&mut session);
        let read = read_head(&mut session).await;
        let _running = proxy.lifecycle.begin();
        let mut trail = Trail::begin(Instant::now());
        let result = match read {
            Head::Complete => {
                proxy.settle_keepalive(&mut session);
                // What the stages share is counters and gauges, whole after every step, and this exchange's own session
                // and trail, of which only `written` and times are read again.
                let stages = AssertUnwindSafe(proxy.exchange(&mut session, &mut trail));
                stages.catch_unwind().await.unwrap_or_else(|_panic| {
                    proxy.metrics.panicked();
                    Err(broken(&trail))
                })
            }
            Head::Refused(rejection) => Err(rejection),
            Head::None => return None,
        };
        if result
            .as_ref()
            .is_err_and(|rejection| ends_connection(rejection.code))
        {
            session.set_keepalive(None);
        }
        let reply = result
            .or_else(|rejection| Proxy::refuse(&rejection, &trail).ok_or(()))
            .ok()?;
        proxy.reply(session, reply, trail).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(H2_STREAMS);
        options.max_header_list_size(
            u32::try_from(self.proxy.limits.header_bytes).unwrap_or(u32::MAX),
        );
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// What reading a request head came to.
enum Head {
    Complete,
    Refused(Rejection),
    /// The caller closed the connection, or asked for nothing until its time was up.
    None,
}

async fn read_head(session: &mut ServerSession) -> Head {
    let error = match session.read_request().await {
        Ok(true) => {
            if let Some(guarded) = session.as_http1().and_then(|s| Guarded::of(s.stream())) {
                guarded.head_complete();
            }
            return Head::Complete;
        }
        Ok(false) => return Head::None,
        Err(error) => error,
    };
    let refused = |code, detail| Head::Refused(Rejection::unsent(code, detail));
    let fault = session
        .as_http1()
        .and_then(|s| Guarded::of(s.stream()))
        .and_then(Guarded::fault);
    // The error itself is told to nobody: it quotes the request.
    match (fault, error.etype()) {
        (Some(HeadFault::LineTooLarge), _) => refused(
            Code::TargetTooLong,
            "the request line is larger than limits.header_bytes",
        ),
        (Some(HeadFault::TooLarge), _) => Head::Refused(Rejection::head_too_large()),
        (Some(HeadFault::TooSlow), _) => refused(
            Code::BodyTimeout,
            "the request head was not complete in time; the limit is limits.header_deadline",
        ),
        (None, ErrorType::InvalidHTTPHeader)
            if error
                .cause
                .as_ref()
                .is_some_and(|c| c.to_string().contains("too many headers")) =>
        {
            refused(
                Code::HeadersTooLarge,
                "the request has more than 256 header fields",
            )
        }
        (None, ErrorType::InvalidHTTPHeader) => refused(
            Code::BadRequest,
            "the request head cannot be read, or its framing cannot be trusted",
        ),
        (None, _) => Head::None,
    }
}

/// Whether nothing that follows on the connection can be trusted to be a request: where a head or a body ended is not
/// known (RFC 9112 §11.2).
fn ends_connection(code: Code) -> bool {
    matches!(
        code,
        Code::BadRequest
            | Code::HeadersTooLarge
            | Code::TargetTooLong
            | Code::BodyTimeout
            | Code::Internal
    )
}

impl Proxy {
    fn expect_head(&self, session: &mut ServerSession) {
        let ServerSession::H1(http1) = session else {
            return;
        };
        if let Some(guarded) = Guarded::of(http1.stream()) {
            guarded.expect_head();
        }
        http1.set_pipelining_enabled(true);
        // Until the first byte of a head, this is the only time-out; after it, the guard's.
        session.set_keepalive(Some(self.idle_seconds()));
    }

    /// Keeps the connection where the caller and the stage of our life allow it.
    fn settle_keepalive(&self, session: &mut ServerSession) {
        let keep = session.get_keepalive().is_some() && self.lifecycle.stage() == Stage::Serving;
        session.set_keepalive(keep.then(|| self.idle_seconds()));
    }

    /// Pingora counts whole seconds, and takes 0 for no limit.
    fn idle_seconds(&self) -> u64 {
        self.limits.inbound_idle_timeout.as_secs().max(1)
    }

    /// Writes the answer, tells of the exchange, and gives the connection back where it can be used again.
    async fn reply(
        &self,
        mut session: ServerSession,
        reply: Reply,
        mut trail: Trail,
    ) -> Option<ReusedHttpStream> {
        trail.progress.stopwatch.enter(Phase::WriteAnswer);
        let Reply {
            head,
            body,
            mut ending,
            _held,
        } = reply;
        let writing = async {
            session.write_response_header(head).await?;
            session.write_response_body(body, true).await
        };
        let written = matches!(timeout(WRITE_DEADLINE, writing).await, Ok(Ok(())));
        if !written {
            ending.outcome = Outcome::Aborted;
        }
        trail.progress.stopwatch.stop();
        trail.end(&ending, &self.metrics);
        drop(_held);
        if !written {
            return None;
        }
        if session.get_keepalive().is_none() {
            linger(session).await;
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Ends a connection, or an HTTP/2 stream, so that the caller can read what was written to it.
async fn linger(session: ServerSession) {
    let _closed_or_late = timeout(LINGER, async {
        match session {
            ServerSession::H1(http1) => {
                let mut stream = http1.into_inner();
                if AsyncWriteExt::shutdown(&mut stream).await.is_ok() {
                    let _end = copy(&mut (&mut stream).take(LINGER_BYTES), &mut sink()).await;
                }
            }
            mut http2 => {
                let mut left = LINGER_BYTES;
                while let Ok(Some(part)) = http2.read_request_body().await {
                    left = left.saturating_sub(part.len() as u64);
                    if left == 0 {
                        break;
                    }
                }
                let _ended = http2.finish().await;
            }
        }
    })
    .await;
}
