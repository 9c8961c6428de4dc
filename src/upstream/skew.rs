//! How far an upstream's clock is from ours, and by how much the signing clock is corrected.
//!
//! Every answer's `Date` is compared. The correction follows only where the upstream itself said that our date is too far
//! off: anything else could be provoked by a caller. The host's clock is never touched.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

/// No answer has been compared yet.
const UNKNOWN: i64 = i64::MIN;

/// The clock of one upstream, against ours.
#[derive(Debug)]
pub(super) struct Skew {
    /// The upstream's `Date` less ours, in seconds (`Date` has no fractions).
    measured: AtomicI64,
    /// What is added to our clock before signing, in seconds.
    correction: AtomicI64,
}

impl Skew {
    pub(super) fn new() -> Self {
        Self {
            measured: AtomicI64::new(UNKNOWN),
            correction: AtomicI64::new(0),
        }
    }

    /// Takes note of an answer's `Date`, whose head came at `now`; the difference in seconds.
    pub(super) fn measure(&self, date: &str, now: SystemTime) -> Option<i64> {
        let seconds = seconds_between(httpdate::parse_http_date(date).ok()?, now);
        self.measured.store(seconds, Ordering::Relaxed);
        Some(seconds)
    }

    /// The upstream's clock less ours, in seconds, once an answer was compared.
    pub(super) fn measured(&self) -> Option<i64> {
        Some(self.measured.load(Ordering::Relaxed)).filter(|s| *s != UNKNOWN)
    }

    /// What is added to our clock before signing, in seconds.
    pub(super) fn correction(&self) -> i64 {
        self.correction.load(Ordering::Relaxed)
    }

    /// Corrects the signing clock to `skew`, within `bound`, after a request that was signed with the correction `used` was
    /// refused for its date. Answers the correction now in force, unless it is the one that was used: then signing again would
    /// not help.
    pub(super) fn correct(&self, bound: Duration, skew: i64, used: i64) -> Option<i64> {
        if skew.unsigned_abs() > bound.as_secs() {
            return None;
        }
        // Whoever was refused at the same time may have corrected it already.
        self.correction.store(skew, Ordering::Relaxed);
        Some(skew).filter(|now| *now != used)
    }

    /// `now` as this upstream would say it.
    pub(super) fn corrected(&self, now: SystemTime) -> SystemTime {
        let seconds = self.correction();
        let by = Duration::from_secs(seconds.unsigned_abs());
        let corrected = if seconds < 0 {
            now.checked_sub(by)
        } else {
            now.checked_add(by)
        };
        corrected.unwrap_or(now)
    }
}

fn seconds_between(theirs: SystemTime, ours: SystemTime) -> i64 {
    let whole = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => whole(ahead),
        Err(behind) => -whole(behind.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn measured(theirs: u64, ours: u64) -> Skew {
        let skew = Skew::new();
        let _seconds = skew.measure(&httpdate::fmt_http_date(at(theirs)), at(ours));
        skew
    }

    #[test]
    fn what_is_measured_corrects_only_on_demand_and_within_the_bound() {
        let skew = measured(1_000_600, 1_000_000);
        assert_eq!(skew.measured(), Some(600));
        assert_eq!(skew.corrected(at(5)), at(5));
        assert_eq!(skew.correct(Duration::from_secs(599), 600, 0), None);
        assert_eq!(skew.correct(Duration::from_secs(900), 600, 0), Some(600));
        assert_eq!(skew.corrected(at(5)), at(605));
        assert_eq!(
            skew.correct(Duration::from_secs(900), 600, 600),
            None,
            "the same correction cannot help twice"
        );
        assert_eq!(
            skew.correct(Duration::from_secs(900), 600, 0),
            Some(600),
            "one who signed before it may sign again"
        );
    }

    #[test]
    fn a_clock_behind_corrects_backwards_and_no_date_corrects_nothing() {
        let skew = measured(1_000_000, 1_000_400);
        assert_eq!(skew.correct(Duration::from_secs(900), -400, 0), Some(-400));
        assert_eq!(skew.corrected(at(1000)), at(600));
        assert_eq!(
            skew.corrected(at(0)),
            SystemTime::UNIX_EPOCH - Duration::from_secs(400)
        );
        let skew = Skew::new();
        assert_eq!(skew.measure("yesterday", at(0)), None);
        assert_eq!(skew.measured(), None);
    }
}
