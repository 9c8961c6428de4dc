//! Whether an attempt is repeated (the proxy's first promise: nothing is ever done twice).
//!
//! Two facts decide first: whether a byte of this attempt was written, and whether Ingo recognises a repeat on this route.
//! Everything else (attempts, deadline, budget) only ever turns a repeat into a stop.

use std::time::Duration;

use super::Backoff;
use crate::ingo::Class;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No connection was made, so no byte was written: nothing can have been done.
    Unconnected,
    /// Bytes were written and no answer came: the connection broke, or the answer could not be read.
    Unanswered,
    /// Bytes were written and no answer came in time. The request may still be on its way or at work.
    TimedOut,
    /// Ingo's gateway refused the request before it reached Ingo: nothing was done.
    Refused(Refusal),
    /// An answer came.
    Answered {
        /// The HTTP status.
        http: u16,
        /// The body's own `status`, where it is a number.
        ingo: Option<u32>,
        /// `Retry-After`, where the answer has one.
        retry_after: Option<Duration>,
    },
}

/// Why Ingo's gateway refused, where a remedy of ours makes the next attempt different (protocol.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The date was too far off, and the signing clock has been corrected by its answer's `Date`.
    ClockSkew,
    /// The credential was refused, and there is another to sign with.
    Credential,
}

/// For which refusals an exchange was repeated already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remedied {
    clock_skew: bool,
    credential: bool,
}

impl Remedied {
    /// Takes note of a repeat for `refusal`.
    pub fn note(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::ClockSkew => self.clock_skew = true,
            Refusal::Credential => self.credential = true,
        }
    }

    /// Whether there was a repeat for `refusal`.
    pub fn has(self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::ClockSkew => self.clock_skew,
            Refusal::Credential => self.credential,
        }
    }
}

/// What is known after an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempted {
    /// What a repeat means on the route.
    pub class: Class,
    /// How it ended.
    pub ended: Ended,
    /// Attempts made, this one included.
    pub attempts: u32,
    /// For which refusals this exchange was repeated already.
    pub remedied: Remedied,
    /// What is left of the exchange's deadline; after an attempt by which nothing can have been done, until the first may begin at the
    /// latest.
    pub time_left: Duration,
    /// Whether the budget has a repeat left.
    pub affordable: bool,
    /// Random, 0 to 1.
    pub fraction: f64,
}

/// What is configured of repeats on a route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Attempts per exchange, the first included.
    pub attempts: u32,
    /// Whether a money route may be repeated after bytes were written. Off unless someone says otherwise.
    pub money_after_write: bool,
    /// The waits.
    pub backoff: Backoff,
}

words! {
    /// Why an attempt is repeated. The names are label values of `retries_total`.
    Reason {
        /// No connection was made.
        Unconnected = "unconnected";
        /// The connection broke, or the answer could not be read.
        Unanswered = "unanswered";
        /// No answer came in time.
        TimedOut = "timed_out";
        /// The answer said to come back: 429, 502, 503, 504.
        HttpStatus = "http_status";
        /// The body's status is a system failure of Ingo's (5xx).
        IngoStatus = "ingo_status";
        /// The first request is still being processed (104).
        Pending = "pending";
        /// The signing clock was corrected.
        ClockSkew = "clock_skew";
        /// There is another credential to sign with.
        Credential = "credential";
        /// The `authorized_url` of the answer had too little time left.
        UrlLife = "url_life";
    }
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The caller gets what this attempt brought.
    Stop,
    /// Another attempt is made, signed afresh.
    Repeat {
        /// How long to wait before it.
        after: Duration,
        /// Why.
        reason: Reason,
    },
}

/// A money call that was written may be repeated no sooner than this: Ingo asks for 3 to 4 s (protocol.md §4).
const MONEY_PAUSE: Duration = Duration::from_secs(4);
/// How long the first request of a pending pair is given before it is asked for again.
const PENDING_PAUSE: Duration = Duration::from_millis(500);

/// Decides what follows an attempt.
pub fn decide(policy: &Policy, attempted: &Attempted) -> Decision {
    let Some(reason) = reason(attempted.ended) else {
        return Decision::Stop;
    };
    let allowed = match attempted.ended {
        // Nothing was done by this attempt; whatever an earlier one did was judged when it ended.
        Ended::Unconnected => true,
        Ended::Refused(refusal) => return remedy(attempted, refusal, reason),
        Ended::Unanswered | Ended::TimedOut | Ended::Answered { .. } => {
            recognised(attempted.class, policy.money_after_write)
        }
    };
    if !allowed || attempted.attempts >= policy.attempts || !attempted.affordable {
        return Decision::Stop;
    }
    let after = pause(attempted).max(policy.backoff.after(attempted.attempts, attempted.fraction));
    // Another money call may be held as long as the first, and its answer is worth nothing if nobody waits for it.
    let held = match attempted.ended {
        Ended::Unconnected => Duration::ZERO,
        _ => attempted.class.held_for(),
    };
    within(after, attempted.time_left.saturating_sub(held), reason)
}

/// A remedied refusal is repeated once, at once, on every route: it proves that nothing was done.
fn remedy(attempted: &Attempted, refusal: Refusal, reason: Reason) -> Decision {
    if attempted.remedied.has(refusal) {
        return Decision::Stop;
    }
    within(Duration::ZERO, attempted.time_left, reason)
}

/// A repeat that cannot begin before the deadline is none.
fn within(after: Duration, time_left: Duration, reason: Reason) -> Decision {
    if after < time_left {
        Decision::Repeat { after, reason }
    } else {
        Decision::Stop
    }
}

/// Why one would repeat at all; `None` for an answer that is final.
fn reason(ended: Ended) -> Option<Reason> {
    match ended {
        Ended::Unconnected => Some(Reason::Unconnected),
        Ended::Unanswered => Some(Reason::Unanswered),
        Ended::TimedOut => Some(Reason::TimedOut),
        Ended::Refused(Refusal::ClockSkew) => Some(Reason::ClockSkew),
        Ended::Refused(Refusal::Credential) => Some(Reason::Credential),
        Ended::Answered {
            http: 429 | 502..=504,
            ..
        } => Some(Reason::HttpStatus),
        // protocol.md §4: 104 means that the first is still being processed; 5xx, retry with backoff.
        Ended::Answered {
            ingo: Some(104), ..
        } => Some(Reason::Pending),
        Ended::Answered {
            ingo: Some(500..=599),
            ..
        } => Some(Reason::IngoStatus),
        Ended::Answered { .. } => None,
    }
}

/// Whether Ingo takes a repeat on the route for what it is.
fn recognised(class: Class, money_after_write: bool) -> bool {
    match class {
        Class::KeyedByHeader | Class::KeyedByBody => true,
        Class::PushMoney | Class::PullMoney => money_after_write,
        Class::Unkeyed => false,
    }
}

/// The least wait that Ingo asks for.
fn pause(attempted: &Attempted) -> Duration {
    let asked = match attempted.ended {
        Ended::Unconnected | Ended::Refused(_) => return Duration::ZERO,
        Ended::Unanswered | Ended::TimedOut => Duration::ZERO,
        Ended::Answered {
            ingo, retry_after, ..
        } => {
            let pending = if ingo == Some(104) {
                PENDING_PAUSE
            } else {
                Duration::ZERO
            };
            retry_after.unwrap_or_default().max(pending)
        }
    };
    if attempted.class.moves_money() {
        asked.max(MONEY_PAUSE)
    } else {
        asked
    }
}
