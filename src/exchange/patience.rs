//! How long an exchange waits, and for whom: its deadline, and a caller that may hang up.
//!
//! Before bytes were written, an exchange whose caller is gone is dropped. After that it is finished: its outcome must be
//! known and logged, whether anybody waits for it or not.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::HeaderMap;
use pingora::protocols::{SocketDigest, http::ServerSession};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Rejection, session::guards_refusal};
use crate::{ingo::Class, problem::Code};

/// By which a caller shortens its exchange's deadline, in seconds.
const TIMEOUT: &str = "ingo-proxy-timeout";

/// TCP does not tell a caller that hung up from one that only closed its sending half and waits for the answer, as `nc` does.
/// The latter does so together with its request, the former later, when it has lost patience. A reset is told apart always.
const HALF_CLOSE: Duration = Duration::from_millis(10);

/// What the caller wrote in `Ingo-Proxy-Timeout`, if anything.
pub(super) fn caller_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Rejection> {
    let refused = || {
        Rejection::unsent(
            Code::BadRequest,
            "Ingo-Proxy-Timeout is not one number of seconds greater than 0",
        )
    };
    let mut values = headers.get_all(TIMEOUT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| refused())?.trim();
            // No signs, exponents, infinities: a number of seconds as people write it.
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let seconds = text
                .parse::<f64>()
                .ok()
                .filter(|s| plain && *s > 0.0)
                .ok_or_else(refused)?;
            Ok(Some(
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            ))
        }
        (Some(_), Some(_)) => Err(refused()),
    }
}

/// However short its deadline, an exchange has so long to begin, if it has so long at all: a body has to come, and a connection to be made.
const LEAST_TO_BEGIN: Duration = Duration::from_secs(10);

/// How long an exchange may still wait.
#[derive(Clone, Debug)]
pub(super) struct Patience<'a> {
    /// The whole exchange ends then.
    pub(super) deadline: Instant,
    /// What is not sent by then is not sent at all: too little time would be left for its answer.
    pub(super) begin_by: Instant,
    gone: &'a Gone,
}

/// Whether the caller hung up. Whoever waits for that is polled by [`watched`] or [`queued`], which set it, so that nobody needs to be woken.
#[derive(Debug, Default)]
pub(super) struct Gone(AtomicBool);

/// Why a wait ended before what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The deadline passed, or came too near.
    Deadline,
    /// The caller hung up.
    Caller,
}

impl Gone {
    /// Relaxed: it is set and read in one task.
    fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<'a> Patience<'a> {
    /// The patience of an exchange of `class` that may take `time` from `began` on, for a caller that is not `gone` yet.
    pub(super) fn of(class: Class, began: Instant, time: Duration, gone: &'a Gone) -> Self {
        // Whoever gives a call little more time than Ingo may hold it for, or less, wants it sent all the same.
        let to_begin = time
            .saturating_sub(class.held_for())
            .max(time.min(LEAST_TO_BEGIN));
        Self {
            deadline: began + time,
            begin_by: began + to_begin,
            gone,
        }
    }

    /// The same, which ends after `time` if not before.
    pub(super) fn at_most(&self, time: Duration) -> Self {
        let end = Instant::now() + time;
        Self {
            deadline: self.deadline.min(end),
            begin_by: self.begin_by.min(end),
            gone: self.gone,
        }
    }

    /// Waits for `future`, which writes nothing to Ingo, for as long as something may still be written; `finish` where bytes were
    /// written before and the exchange goes on without its caller.
    pub(super) async fn wait<T>(
        &self,
        finish: bool,
        future: impl Future<Output = T>,
    ) -> Result<T, Lost> {
        let caller_left = poll_fn(|_| match !finish && self.gone.is_so() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = sleep_until(self.begin_by) => Err(Lost::Deadline),
            () = caller_left => Err(Lost::Caller),
        }
    }

    /// Waits for `future`, which writes to Ingo, until `limit` or the deadline.
    pub(super) async fn finish<T>(
        &self,
        limit: Instant,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        timeout_at(limit.min(self.deadline), future).await.ok()
    }

    /// Whether the caller hung up.
    pub(super) fn caller_is_gone(&self) -> bool {
        self.gone.is_so()
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What is left until something can be sent no more.
    pub(super) fn left_to_begin(&self) -> Duration {
        self.begin_by.saturating_duration_since(Instant::now())
    }
}

/// Runs `exchange` while watching whether the caller of `session`, whose request was read whole, hangs up.
pub(super) async fn watched<T>(
    session: &mut ServerSession,
    gone: &Gone,
    exchange: impl Future<Output = T>,
) -> T {
    let mut exchange = pin!(exchange);
    let mut watching = pin!(until_gone(session));
    poll_fn(|cx| {
        if let Poll::Ready(value) = exchange.as_mut().poll(cx) {
            return Poll::Ready(value);
        }
        if gone.is_so() || watching.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        gone.0.store(true, Ordering::Relaxed);
        // It may have waited for that.
        exchange.as_mut().poll(cx)
    })
    .await
}

/// Runs `waiting`, for a turn, while watching whether the caller of `session` hangs up, whose request was not read to its end and need
/// not have come to it.
pub(super) async fn queued<T>(
    session: &mut ServerSession,
    gone: &Gone,
    waiting: impl Future<Output = T>,
) -> T {
    if session.as_http2().is_some() {
        return watched(session, gone, waiting).await;
    }
    let Some(socket) = tcp(session) else {
        // A Unix socket tells of its end only whoever reads, and what is to be read here is the body.
        return waiting.await;
    };
    let mut waiting = pin!(waiting);
    let mut ask_again = pin!(sleep(QUEUED_ASKED_EVERY));
    let mut open_at = None;
    poll_fn(|cx| {
        // Also when the turn has come: it must not be used for somebody who left just before.
        if hung_up(&socket, &mut open_at) {
            gone.0.store(true, Ordering::Relaxed);
        }
        while ask_again.as_mut().poll(cx).is_ready() {
            ask_again
                .as_mut()
                .reset(Instant::now() + QUEUED_ASKED_EVERY);
        }
        waiting.as_mut().poll(cx)
    })
    .await
}

/// Whether the connection was reset, or ended when it had been silent for a while: whoever only stops sending does so together with
/// its last byte, whenever that comes. Over TLS its end comes with a last word of its own and is not told apart. `open_at`: when this
/// last met it open.
fn hung_up(socket: &SocketDigest, open_at: &mut Option<Instant>) -> bool {
    let asked_at = Instant::now();
    match socket.tcp_info() {
        Some(info) if info.tcpi_state == TCP_CLOSE_WAIT => {
            let silent = Duration::from_millis(info.tcpi_last_data_recv.into());
            open_at.is_some_and(|open_at| open_at.elapsed() + HALF_CLOSE <= silent)
        }
        Some(info) if info.tcpi_state != TCP_CLOSE => {
            *open_at = Some(asked_at);
            false
        }
        _ => true,
    }
}

/// Waits until the caller is gone.
async fn until_gone(session: &mut ServerSession) {
    if let Some(closed) = session.watch_h2_stream_close() {
        let _reset_or_closed = closed.await;
        return;
    }
    // Most exchanges are over by then, and the kernel need not be asked.
    sleep(HALF_CLOSE).await;
    match tcp(session) {
        Some(socket) => until_tcp_closed(&socket).await,
        None => until_read_ends(session).await,
    }
}

/// The caller's socket, where the kernel tells of its state.
fn tcp(session: &ServerSession) -> Option<Arc<SocketDigest>> {
    let digest = session.digest()?.socket_digest.clone();
    digest.filter(|d| d.tcp_info().is_some())
}

/// States of a TCP connection, as the kernel counts them (`include/net/tcp_states.h`).
const TCP_CLOSE: u8 = 7;
const TCP_CLOSE_WAIT: u8 = 8;
/// How often the kernel is asked.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// And while a request is queued: whoever hangs up so soon after its last byte is not told from whoever stops sending.
const QUEUED_ASKED_EVERY: Duration = Duration::from_millis(15);

/// Asks the kernel and reads nothing: what a pipelining caller has sent behind its request stays where it is, and hides
/// nothing.
async fn until_tcp_closed(socket: &SocketDigest) {
    let state = || socket.tcp_info().map_or(TCP_CLOSE, |info| info.tcpi_state);
    let half_closed = state() == TCP_CLOSE_WAIT;
    loop {
        match state() {
            TCP_CLOSE => return,
            TCP_CLOSE_WAIT if !half_closed => return,
            _ => sleep(ASKED_EVERY).await,
        }
    }
}

/// A Unix socket has no such state: its end is met by reading. What a pipelining caller sends next is kept by Pingora for
/// the next exchange.
async fn until_read_ends(session: &mut ServerSession) {
    let mut began = Some(Instant::now());
    loop {
        match session.read_body_or_idle(true).await {
            Ok(_more) => began = None,
            // The guard refused what came behind the request; that is the next exchange's affair.
            Err(_) if guards_refusal(session).is_some() => break,
            // It had ended before it was watched.
            Err(_) if began.is_some_and(|b| b.elapsed() < HALF_CLOSE) => break,
            Err(_) => return,
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_begins_while_as_much_is_left_as_ingo_may_hold_it_for_and_has_ten_seconds_at_least()
    {
        let (began, gone) = (Instant::now(), Gone::default());
        let to_begin = |class, seconds| {
            let patience = Patience::of(class, began, Duration::from_secs(seconds), &gone);
            assert_eq!(patience.deadline - began, Duration::from_secs(seconds));
            (patience.begin_by - began).as_secs()
        };
        let money = [
            (5, 5),
            (10, 10),
            (59, 10),
            (60, 10),
            (61, 10),
            (70, 10),
            (71, 11),
            (90, 30),
        ];
        for (given, expected) in money {
            assert_eq!(to_begin(Class::PushMoney, given), expected, "{given} s");
        }
        assert_eq!(to_begin(Class::KeyedByHeader, 30), 30);
    }

    fn timeout(value: &[&str]) -> Result<Option<Duration>, Code> {
        let mut headers = HeaderMap::new();
        for value in value {
            headers.append(TIMEOUT, value.parse().expect("a header value"));
        }
        caller_timeout(&headers).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_callers_timeout_is_a_number_of_seconds() {
        assert_eq!(timeout(&[]), Ok(None));
        assert_eq!(timeout(&["5"]), Ok(Some(Duration::from_secs(5))));
        assert_eq!(timeout(&["0.25"]), Ok(Some(Duration::from_millis(250))));
        assert_eq!(timeout(&[&"9".repeat(30)]), Ok(Some(Duration::MAX)));
        for bad in ["", "0", "-1", "+1", "1s", "1e3", "inf", "NaN", "."] {
            assert_eq!(timeout(&[bad]), Err(Code::BadRequest), "{bad}");
        }
        assert_eq!(timeout(&["1", "1"]), Err(Code::BadRequest));
    }
}
