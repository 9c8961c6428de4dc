//! The outbound rate limit: Ingo advises at most five requests a second per client (protocol.md §4).
//!
//! Callers wait in line, first come first served, and whoever would wait past its deadline is told at once.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};

use crate::config::RateLimit;

/// One tenant's rate of requests to Ingo.
#[derive(Debug)]
pub(crate) struct Pace {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Only the first in line waits for the limiter: tokio's mutex is fair, so nobody is overtaken.
    line: Mutex<()>,
    waiting: AtomicU32,
    interval: Duration,
    limit: RateLimit,
}

/// The request cannot be sent before its deadline; how long it would have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) Duration);

impl Pace {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Self {
            limiter: RateLimiter::direct(quota),
            clock: DefaultClock::default(),
            line: Mutex::new(()),
            waiting: AtomicU32::new(0),
            interval: quota.replenish_interval(),
            limit,
        }
    }

    /// What was configured.
    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// How many wait in line now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for the right to send one request, unless that would come after `deadline`.
    pub(super) async fn keep(&self, deadline: Instant) -> Result<(), TooLong> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let _waiting = Waiting::join(&self.waiting);
        let ahead = self.waiting().saturating_sub(1);
        let behind_others = self.interval.saturating_mul(ahead);
        if behind_others > left() {
            return Err(TooLong(behind_others));
        }
        let _first = timeout_at(deadline, self.line.lock())
            .await
            .map_err(|_| TooLong(self.interval))?;
        while let Err(not_until) = self.limiter.check() {
            let wait = not_until.wait_time_from(self.clock.now());
            if wait > left() {
                return Err(TooLong(wait));
            }
            sleep(wait).await;
        }
        Ok(())
    }
}

/// One who waits in line; gone when dropped, also where the waiting future is.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn join(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
