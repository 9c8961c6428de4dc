//! When each phase began and ended, for the spans of an exchange that is recorded. Others pay one branch a phase.

use std::time::{Duration, Instant};

use super::Phase;

/// More than all phases of as many attempts as there can be; whatever would go on for ever does not take memory for ever.
const MOST: usize = 256;

/// A phase, from when to when, and which attempt it belongs to; `None`: to the exchange itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) phase: Phase,
    pub(super) attempt: Option<u8>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// The intervals of one exchange, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Intervals {
    all: Vec<Interval>,
    /// To what the phase belongs that runs now.
    running: Option<u8>,
    /// To what the next one will.
    next: Option<u8>,
    /// Whether the last one was made of a part of the phase that still runs.
    told_apart: bool,
}

impl Intervals {
    /// Has the phases that are entered from now on belong to `attempt`.
    pub(super) fn attribute(&mut self, attempt: Option<u8>) {
        self.next = attempt;
    }

    /// Takes note of a phase that ended, or was looked at while it runs. Cold, so that who is not recorded has nothing but the
    /// branch around it.
    #[cold]
    pub(super) fn note(&mut self, phase: Phase, began: Instant, ended: Instant) {
        let attempt = std::mem::replace(&mut self.running, self.next);
        let told_apart = std::mem::take(&mut self.told_apart);
        if let Some(last) = self.all.last_mut()
            && (last.phase == phase || told_apart)
            && last.attempt == attempt
        {
            last.ended = ended;
        } else if self.all.len() < MOST {
            self.all.push(Interval {
                phase,
                attempt,
                began,
                ended,
            });
        }
    }

    /// The last `spent` of what was noted last turned out to be `to`.
    pub(super) fn tell_apart(&mut self, from: Phase, to: Phase, spent: Duration) {
        let Some(last) = self.all.last_mut().filter(|last| last.phase == from) else {
            return;
        };
        let lasted = last.ended.saturating_duration_since(last.began);
        self.told_apart = true;
        if spent >= lasted {
            last.phase = to;
            return;
        }
        let (attempt, ended) = (last.attempt, last.ended);
        let began = ended - spent;
        last.ended = began;
        self.all.push(Interval {
            phase: to,
            attempt,
            began,
            ended,
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Interval> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Stopwatch;

    fn told(watch: &Stopwatch) -> Vec<(Phase, Option<u8>)> {
        let intervals = watch.intervals().map(|i| (i.phase, i.attempt));
        intervals.collect()
    }

    #[test]
    fn a_phase_belongs_to_what_it_was_entered_in() {
        let mut watch = Stopwatch::start(Instant::now());
        watch.record();
        watch.enter(Phase::Sign);
        watch.attribute(Some(0));
        watch.enter(Phase::Connect);
        watch.stop();
        watch.enter(Phase::Validate);
        watch.attribute(None);
        watch.enter(Phase::Backoff);
        watch.attribute(Some(1));
        watch.enter(Phase::Connect);
        watch.stop();
        assert_eq!(
            told(&watch),
            [
                (Phase::Authenticate, None),
                (Phase::Sign, None),
                (Phase::Connect, Some(0)),
                (Phase::Validate, Some(0)),
                (Phase::Validate, None),
                (Phase::Backoff, None),
                (Phase::Connect, Some(1)),
            ]
        );
        let intervals: Vec<_> = watch.intervals().collect();
        assert!(
            intervals
                .windows(2)
                .all(|pair| pair[0].ended == pair[1].began)
        );
        assert_eq!(intervals[0].began, watch.started());
        assert_eq!(intervals[6].ended, watch.started() + watch.total());
    }

    #[test]
    fn a_part_that_is_known_afterwards_has_its_own_interval_at_the_end() {
        let mut watch = Stopwatch::start(Instant::now());
        watch.record();
        watch.enter(Phase::Connect);
        while watch.started().elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
        watch.stop();
        watch.reassign(Phase::Connect, Phase::Tls, Duration::from_micros(1));
        watch.enter(Phase::Sign);
        watch.stop();
        let phases: Vec<_> = told(&watch).into_iter().map(|(phase, _)| phase).collect();
        assert_eq!(
            phases,
            [Phase::Authenticate, Phase::Connect, Phase::Tls, Phase::Sign]
        );
        let lengths: Vec<_> = watch.intervals().map(|i| i.ended - i.began).collect();
        assert!(lengths[2] >= Duration::from_micros(1));
        assert_eq!(lengths.iter().sum::<Duration>(), watch.total());
        watch.reassign(Phase::Sign, Phase::Tls, Duration::MAX);
        assert_eq!(told(&watch).last(), Some(&(Phase::Tls, None)));
    }

    #[test]
    fn what_is_not_recorded_keeps_nothing() {
        let mut watch = Stopwatch::start(Instant::now());
        watch.attribute(Some(0));
        watch.enter(Phase::Connect);
        assert!(told(&watch).is_empty());
    }
}
