//! The emulator's time: a [`Clock`] that can be set and moved while requests are served.
//!
//! Everything that ages here (signatures, keys, sessions, URLs) asks this clock; only time-outs of sockets do not.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::clock::Clock;

/// A clock under the control of a test.
#[derive(Debug)]
pub(super) struct SettableClock(Mutex<Setting>);

#[derive(Debug)]
struct Setting {
    clock: Clock,
    ahead: Duration,
}

impl SettableClock {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Mutex::new(Setting {
            clock,
            ahead: Duration::ZERO,
        }))
    }

    pub(super) fn now(&self) -> SystemTime {
        let setting = self.0.lock();
        let now = setting.clock.now();
        now.checked_add(setting.ahead).unwrap_or(now)
    }

    pub(super) fn set(&self, clock: Clock) {
        *self.0.lock() = Setting {
            clock,
            ahead: Duration::ZERO,
        };
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut setting = self.0.lock();
        setting.ahead = setting.ahead.saturating_add(by);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_clock_is_set_and_moved_on() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let clock = SettableClock::new(Clock::from_fn(move || at(100)));
        assert_eq!(clock.now(), at(100));
        clock.advance(Duration::from_secs(5));
        clock.advance(Duration::from_secs(6));
        assert_eq!(clock.now(), at(111));
        clock.set(Clock::from_fn(move || at(7)));
        assert_eq!(clock.now(), at(7));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), at(7));
    }
}
