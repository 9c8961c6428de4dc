//! A circuit breaker: an upstream that cannot be connected to is left alone for a while, then tried with one probe.
//!
//! Only failures to connect count. An upstream that answers slowly or wrongly is reached, and each exchange must be
//! judged for itself. A connection that was given up counts as one that failed where it had been given time enough: callers may have
//! less time than `upstream.connect_timeout`, and must learn at once, too, that an upstream cannot be reached.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::config::CircuitBreaker;

/// A connection that was given up after so long has failed. TCP and TLS take up to three round trips, which is less anywhere on earth, also
/// where the first packet was lost and went again after a second (RFC 6298); and callers mostly have two seconds and more.
const TIME_ENOUGH: Duration = Duration::from_millis(1500);

/// The breaker of one upstream.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The upstream's, for the log.
    name: String,
    policy: CircuitBreaker,
    state: Mutex<State>,
    /// For the metric, readable without the lock.
    open: AtomicBool,
}

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One probe is under way.
    HalfOpen,
}

/// The right to connect. Dropped without a verdict, as where a deadline passes or a caller hangs up, it counts as a failure after
/// [`TIME_ENOUGH`], and before as nothing.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    since: Instant,
    judged: bool,
    /// Whether this is the one that a half-open breaker waits for.
    probe: bool,
}

impl Breaker {
    pub(super) fn new(name: String, policy: CircuitBreaker) -> Self {
        Self {
            name,
            policy,
            state: Mutex::new(State::Closed { failures: 0 }),
            open: AtomicBool::new(false),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets a connection through, or says how long to stay away.
    pub(super) fn permit(&self, now: Instant) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => {
                *state = State::HalfOpen;
                true
            }
            // Another may have opened it after `now`.
            State::Open { until } => return Err((until - now).min(self.policy.open_for)),
            State::HalfOpen => return Err(self.policy.open_for),
        };
        Ok(Permit {
            breaker: self,
            since: now,
            judged: false,
            probe,
        })
    }

    /// An answer came over a connection that was there: once connecting was left alone for long enough, it is open no more for who looks,
    /// where nobody may need to connect for a long time. Whoever does is the probe all the same.
    pub(super) fn answered(&self, now: Instant) {
        if self.is_open() && matches!(*self.lock(), State::Open { until } if now >= until) {
            self.open.store(false, Ordering::Relaxed);
        }
    }

    /// How long connections are still kept back; nothing where a probe would be let through.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        match *self.lock() {
            State::Open { until } => until
                .checked_duration_since(now)
                .filter(|left| !left.is_zero()),
            State::Closed { .. } | State::HalfOpen => None,
        }
    }

    fn note_failure(&self, now: Instant) {
        let mut state = self.lock();
        let failures = match *state {
            State::Closed { failures } => failures.saturating_add(1),
            // A straggler that began before it opened.
            State::Open { .. } => return,
            State::HalfOpen => self.policy.failures,
        };
        if self.policy.failures == 0 || failures < self.policy.failures {
            return self.set(&mut state, State::Closed { failures });
        }
        let until = now + self.policy.open_for;
        self.set(&mut state, State::Open { until });
        drop(state);
        tracing::warn!(
            upstream = self.name,
            "the upstream could not be connected to several times in a row and is left alone for circuit_breaker.open_for; check that it is up and can be reached from here"
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment, so a panic elsewhere cannot leave it half-made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: &mut State, next: State) {
        self.open
            .store(!matches!(next, State::Closed { .. }), Ordering::Relaxed);
        *state = next;
    }
}

impl Permit<'_> {
    /// Another address is tried from `now` on, and is to have time enough, too.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    /// A connection was made; taking a pooled one proves nothing.
    pub(super) fn connected(mut self) {
        self.judged = true;
        let mut state = self.breaker.lock();
        if !matches!(*state, State::Closed { failures: 0 }) {
            self.breaker.set(&mut state, State::Closed { failures: 0 });
        }
    }

    /// The connection failed.
    pub(super) fn failed(mut self, now: Instant) {
        self.judged = true;
        self.breaker.note_failure(now);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.judged {
            return;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.since) >= TIME_ENOUGH {
            self.breaker.note_failure(now);
        } else if self.probe {
            let mut state = self.breaker.lock();
            // A probe that nobody waited for must not keep the next one out.
            if matches!(*state, State::HalfOpen) {
                self.breaker.set(&mut state, State::Open { until: now });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CircuitBreaker = CircuitBreaker {
        failures: 3,
        open_for: Duration::from_secs(5),
    };

    fn opened(now: Instant) -> Breaker {
        let breaker = closed(POLICY);
        for _ in 0..3 {
            assert!(!breaker.is_open());
            breaker.permit(now).expect("closed").failed(now);
        }
        assert!(breaker.is_open());
        breaker
    }

    fn closed(policy: CircuitBreaker) -> Breaker {
        Breaker::new("upstream.test".to_owned(), policy)
    }

    #[test]
    fn it_opens_on_consecutive_failures_only() {
        let now = Instant::now();
        let breaker = closed(POLICY);
        for _ in 0..5 {
            breaker.permit(now).expect("closed").failed(now);
            breaker.permit(now).expect("closed").failed(now);
            breaker.permit(now).expect("closed").connected();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn open_it_says_how_long_then_lets_one_probe_through() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(
            breaker.permit(now + Duration::from_secs(2)).err(),
            Some(Duration::from_secs(3))
        );
        let before = now.checked_sub(Duration::from_secs(1));
        let before = before.expect("it runs for long enough");
        assert_eq!(breaker.permit(before).err(), Some(POLICY.open_for));
        let later = now + Duration::from_secs(5);
        let probe = breaker.permit(later).expect("half open");
        assert!(breaker.permit(later).is_err(), "one probe at a time");
        probe.connected();
        assert!(!breaker.is_open() && breaker.permit(later).is_ok());
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_an_abandoned_one_does_not_keep_the_next_out() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + Duration::from_secs(5);
        breaker.permit(later).expect("half open").failed(later);
        assert!(breaker.permit(later).is_err());
        let later = later + Duration::from_secs(5);
        drop(breaker.permit(later).expect("half open"));
        assert!(breaker.permit(later).is_ok());
    }

    #[test]
    fn a_connection_that_was_given_up_has_failed_only_if_it_was_given_time_enough() {
        let now = Instant::now();
        let ago = |time| now.checked_sub(time).expect("it runs for long enough");
        let breaker = closed(POLICY);
        for _ in 0..10 {
            drop(breaker.permit(now).expect("closed"));
        }
        assert!(!breaker.is_open());
        for _ in 0..3 {
            assert!(!breaker.is_open());
            drop(breaker.permit(ago(TIME_ENOUGH)).expect("closed"));
        }
        assert!(breaker.is_open());
        assert!(breaker.left(now).is_some());

        let breaker = closed(POLICY);
        for _ in 0..10 {
            let mut permit = breaker.permit(ago(TIME_ENOUGH)).expect("closed");
            permit.begin(now);
        }
        assert!(!breaker.is_open(), "the last address had no time");

        let long_open = opened(ago(Duration::from_secs(10)));
        let probe = long_open.permit(ago(TIME_ENOUGH)).expect("half open");
        drop(probe);
        assert!(long_open.permit(now).is_err(), "the probe failed");
    }

    #[test]
    fn an_answer_over_a_connection_that_was_there_ends_what_is_shown_and_not_the_probe() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.answered(now + Duration::from_secs(4));
        assert!(breaker.is_open());
        let later = now + Duration::from_secs(5);
        breaker.answered(later);
        assert!(!breaker.is_open());
        let probe = breaker.permit(later).expect("the probe");
        assert!(breaker.permit(later).is_err(), "one probe at a time");
        probe.failed(later);
        assert!(breaker.is_open());
    }

    #[test]
    fn switched_off_it_never_opens() {
        let now = Instant::now();
        let breaker = closed(CircuitBreaker {
            failures: 0,
            ..POLICY
        });
        for _ in 0..100 {
            breaker.permit(now).expect("never open").failed(now);
        }
        assert!(!breaker.is_open());
    }
}
