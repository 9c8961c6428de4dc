//! The exchange's outer side: Pingora hands over a session; a head is read, the stages run, the answer is written, the
//! connection kept or closed.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header;
use pingora::{
    ErrorType,
    apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::{
        Stream,
        http::{
            ServerSession,
            v2::server::{H2Options, default_h2_options},
        },
    },
    server::ShutdownWatch,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt, copy, sink},
    time::{timeout, timeout_at},
};

use super::{Current, Proxy, Rejection, Reply, body::overloaded, boxed, broken, respond};
use crate::{
    framing,
    lifecycle::Stage,
    listener::{Fault, Guarded, H2_STREAMS},
    message,
    problem::Code,
    telemetry::{Outcome, Phase, Trail},
};

/// A caller that stops reading its answer holds memory and a turn; after this it is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// A refusal costs a caller little to ask for, so it is given less time to read one.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);
/// Keeps a connection, as Pingora puts it, in seconds.
const NO_TIMEOUT: Option<u64> = Some(0);
/// Having refused a body, this much more of it is read and discarded, so that the caller gets to read the answer:
/// closing with unread bytes resets the connection.
const LINGER_BYTES: u64 = 256 * 1024;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(1);
/// What a stream's header fields may take before anybody has looked at them.
const H2_HEADER_BYTES: usize = 16 * 1024;

/// [`Proxy`] as Pingora's application.
#[derive(Debug)]
pub struct ProxyApp {
    current: Current,
    options: HttpServerOptions,
}

impl ProxyApp {
    /// Serves the current proxy over HTTP/1.1 and HTTP/2.
    pub fn new(current: Current) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(current.load().limits.inbound_idle_timeout);
        Self { current, options }
    }
}

#[async_trait]
impl HttpServerApp for ProxyApp {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.current.load().prepare(&mut session);
        let read = read_head(&mut session).await;
        // Taken once its head is here: a connection that idled through a reload must not bring back what was before.
        let proxy = &self.current.load();
        let _running = proxy.lifecycle.begin();
        // Boxed, so that a connection that idles holds no room for one: this future then takes less than 2 KiB. Just less: one more
        // local that is kept over an await, and each connection takes the allocator's next size, half a KiB more.
        let mut trail = Box::new(Trail::begin(Instant::now()));
        let result = match read {
            Head::Complete => {
                proxy.settle_keepalive(&mut session);
                // What the stages share is counters and gauges, whole after every step, and this exchange's own session
                // and trail, of which only `written` and times are read again.
                // Boxed, because it is large and would be moved from hand to hand otherwise.
                let stages = AssertUnwindSafe(boxed(|| proxy.exchange(&mut session, &mut trail)));
                stages.catch_unwind().await.unwrap_or_else(|_panic| {
                    proxy.metrics.panicked();
                    Err(broken(&trail))
                })
            }
            Head::Refused(rejection) => {
                // Where the next request would begin is not known.
                session.set_keepalive(None);
                Err(rejection)
            }
            Head::None => return None,
        };
        let untrusted = matches!(&result, Err(rejection) if ends_connection(rejection.code));
        if untrusted {
            session.set_keepalive(None);
        }
        let reply = result.unwrap_or_else(|rejection| Proxy::refuse(&rejection, &trail));
        let now = trail.progress.stopwatch.enter(Phase::WriteAnswer);
        if proxy.lifecycle.stage() != Stage::Serving {
            session.set_keepalive(None);
        }
        // Nothing is left to answer with here; the connection is closed. Boxed, so that a connection that idles does not hold room
        // for an answer; and the session, because each future that takes it holds it twice.
        let session = Box::new(session);
        let replied = AssertUnwindSafe(boxed(|| proxy.reply(session, reply, now, &mut trail)));
        replied.catch_unwind().await.unwrap_or_else(|_panic| {
            proxy.metrics.panicked();
            None
        })
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(H2_STREAMS);
        options.max_header_list_size(
            u32::try_from(self.current.load().limits.header_bytes.min(H2_HEADER_BYTES))
                .unwrap_or(u32::MAX),
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
    let read = session.read_request().await;
    if matches!(read, Ok(true)) {
        return Head::Complete;
    }
    // Before the first byte of a head, Pingora takes the guard's refusal for the connection's end.
    if let Some(rejection) = guards_refusal(session) {
        return Head::Refused(rejection);
    }
    // The error itself is told to nobody: it quotes the request.
    let Err(error) = read else {
        return Head::None;
    };
    match error.etype() {
        ErrorType::InvalidHTTPHeader if is_too_many_headers(&error) => {
            Head::Refused(Rejection::unsent(
                Code::HeadersTooLarge,
                "the request has more than 256 header fields",
            ))
        }
        ErrorType::InvalidHTTPHeader => Head::Refused(Rejection::unsent(
            Code::BadRequest,
            "the target is no URI, or it or Host names a user; send the path alone, with \", <, > and what is no UTF-8 percent-encoded",
        )),
        _ => Head::None,
    }
}

fn is_too_many_headers(error: &pingora::Error) -> bool {
    let cause = error.cause.as_ref();
    cause.is_some_and(|c| c.to_string().contains("too many headers"))
}

/// What the caller is told where the guard let no more of the connection pass.
pub(super) fn guards_refusal(session: &ServerSession) -> Option<Rejection> {
    let fault = Guarded::of(session.as_http1()?.stream())?.fault()?;
    Some(match fault {
        Fault::Framing(framing::Fault::Untrusted(why)) => Rejection::unsent(Code::BadRequest, why),
        Fault::Framing(framing::Fault::LineTooLarge) => Rejection::unsent(
            Code::TargetTooLong,
            "the request line is larger than limits.header_bytes",
        ),
        Fault::Framing(framing::Fault::HeadTooLarge) => Rejection::unsent(
            Code::HeadersTooLarge,
            "the request head is larger than limits.header_bytes",
        ),
        Fault::Framing(framing::Fault::LengthTooLarge) => Rejection::unsent(
            Code::BodyTooLarge,
            "Content-Length is larger than any body may be; the limit is limits.body_bytes",
        ),
        Fault::TooSlow => Rejection::unsent(
            Code::BodyTimeout,
            "the request head was not complete in time; the limit is limits.header_deadline",
        ),
        Fault::NoMemory => {
            overloaded("the proxy holds as many bytes of requests as limits.buffered_bytes allows")
        }
    })
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
    fn prepare(&self, session: &mut ServerSession) {
        let ServerSession::H1(http1) = session else {
            return;
        };
        http1.set_pipelining_enabled(true);
        // The guard ends a connection that idles: a timer of Pingora's would be made for each request.
        if let Some(guarded) = Guarded::of(http1.stream()) {
            guarded.awaits_request((Instant::now() + self.limits.inbound_idle_timeout).into());
        }
        session.set_keepalive(NO_TIMEOUT);
    }

    /// Keeps the connection where the caller and the stage of our life allow it.
    fn settle_keepalive(&self, session: &mut ServerSession) {
        // Whoever sent CONNECT takes what follows for the inside of a tunnel (RFC 9110 §9.3.6).
        let tunnel = session.req_header().method == http::Method::CONNECT;
        let guarded = session.as_http1().and_then(|s| Guarded::of(s.stream()));
        // Pingora goes by the first line of the field alone, and they are one list (RFC 9110 §5.3).
        let lines = session.req_header().headers.get_all(header::CONNECTION);
        let closes = lines.iter().any(|line| {
            let options = line.as_bytes().split(|byte| *byte == b',');
            options
                .map(<[u8]>::trim_ascii)
                .any(|option| option.eq_ignore_ascii_case(b"close"))
        });
        let keep = session.get_keepalive().is_some()
            && !closes
            && !guarded.is_some_and(Guarded::is_outdated)
            && !tunnel
            && self.lifecycle.stage() == Stage::Serving;
        session.set_keepalive(NO_TIMEOUT.filter(|_| keep));
    }

    /// Writes the answer, which began `now`, and tells of the exchange; the connection, where it can be used again.
    async fn reply(
        &self,
        session: Box<ServerSession>,
        reply: Reply,
        now: Instant,
        trail: &mut Trail,
    ) -> Option<ReusedHttpStream> {
        let Reply {
            head,
            mut body,
            mut ending,
            held,
        } = reply;
        let http2 = session.as_http2();
        if http2.is_some_and(|stream| stream.req_header().method == http::Method::HEAD) {
            // Pingora sees to it over HTTP/1.1. Here a body is an error of the protocol's, and strict callers end the connection.
            body.clear();
            ending.answer_bytes = 0;
        }
        let allowed = match ending.outcome {
            Outcome::Answered => WRITE_DEADLINE,
            Outcome::Rejected | Outcome::Failed | Outcome::Aborted => REFUSAL_DEADLINE,
        };
        let is_answered = ending.outcome == Outcome::Answered;
        let writing = pin!(async {
            let mut way = Way::of(session, is_answered).await?;
            way.write(&head, body).await?;
            Some(way)
        });
        let written = timeout_at((now + allowed).into(), writing).await;
        let written = written.ok().flatten();
        if written.is_none() {
            ending.outcome = Outcome::Aborted;
        }
        trail.progress.stopwatch.stop();
        trail.end(&ending, &self.metrics);
        self.tracer.tell(trail, &ending);
        drop(held);
        written?.release().await
    }
}

/// On which way an answer is written.
enum Way {
    /// HTTP/1.1, the request read whole: head and body go out in one go. With settings where the connection is kept.
    Stream(Stream, Option<HttpPersistentSettings>),
    /// HTTP/2, or a request of which something may be left to read.
    Session(Box<ServerSession>),
}

impl Way {
    /// The way of an exchange that `is_answered` by Ingo, or else by us. `None` where the connection cannot be used.
    async fn of(session: Box<ServerSession>, is_answered: bool) -> Option<Self> {
        if !is_answered {
            return Some(Self::Session(session));
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        match *session {
            ServerSession::H1(http1) if http1.will_keepalive() => {
                // Ends Pingora's part: there is nothing left to read, and what came of the next request is kept.
                let (stream, next) = http1.reuse().await.ok()??.into_parts();
                if let Some(next) = next {
                    settings.set_pipelined_prefix(next);
                }
                Some(Self::Stream(stream, Some(settings)))
            }
            ServerSession::H1(http1) => Some(Self::Stream(http1.into_inner(), None)),
            http2 => Some(Self::Session(Box::new(http2))),
        }
    }

    /// Writes an answer. `None` where it was not written whole.
    async fn write(&mut self, head: &respond::Head, body: Bytes) -> Option<()> {
        match self {
            Self::Stream(stream, kept) => {
                let body = if head.has_no_body() { &[] } else { &body[..] };
                let head = head.to_wire(kept.is_some()).ok()?;
                message::write(stream, &head, body).await.ok()
            }
            Self::Session(session) => {
                let head = head.for_pingora().ok()?;
                // Boxed, because it is rare and every exchange's future would be larger by it.
                let writing = Box::pin(async {
                    session.write_response_header(head).await?;
                    session.write_response_body(body, true).await
                });
                writing.await.ok()
            }
        }
    }

    /// Gives back the connection of an exchange that is over, where it can be used again; otherwise ends it.
    async fn release(self) -> Option<ReusedHttpStream> {
        let session = match self {
            Self::Stream(stream, Some(settings)) => {
                return Some(ReusedHttpStream::new(stream, Some(settings)));
            }
            Self::Stream(stream, None) => {
                Box::pin(linger(stream)).await;
                return None;
            }
            Self::Session(session) => session,
        };
        if session.get_keepalive().is_none() {
            match *session {
                ServerSession::H1(http1) => Box::pin(linger(http1.into_inner())).await,
                http2 => Box::pin(linger_h2(http2)).await,
            }
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = Box::pin(session.finish()).await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Ends a connection so that the caller can read what was written to it.
pub(crate) async fn linger(mut stream: Stream) {
    let _closed_or_late = timeout(LINGER, async {
        if AsyncWriteExt::shutdown(&mut stream).await.is_ok() {
            let _end = copy(&mut (&mut stream).take(LINGER_BYTES), &mut sink()).await;
        }
    })
    .await;
}

/// Ends an HTTP/2 stream so that the caller can read what was written to it.
async fn linger_h2(mut session: ServerSession) {
    let _closed_or_late = timeout(LINGER, async {
        let mut left = LINGER_BYTES;
        while let Ok(Some(part)) = session.read_request_body().await {
            left = left.saturating_sub(part.len() as u64);
            if left == 0 {
                break;
            }
        }
        let _ended = session.finish().await;
    })
    .await;
}
