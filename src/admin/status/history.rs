//! The last ten minutes, kept in memory for the status page: counters and histograms as they were every few seconds.
//!
//! Its size is fixed by constants: 121 tallies of 0.5 KiB and 21 looks at the histograms of some 4 KiB each, so about 150 KiB
//! with the default buckets, and never more than 350 KiB with the most that `histograms.…` may have. It is filled by a task
//! of its own, which costs an exchange nothing, and only where there is an admin listener.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::telemetry::{Metrics, Spread, Spreads, Tally};

/// Between two looks at the counters.
const STEP: Duration = Duration::from_secs(5);
/// Ten minutes of steps, and the look before the first.
const TALLIES: usize = 121;
/// Histograms are larger, so they are looked at in every so-manieth step: each 30 seconds.
const STEPS_PER_SPREAD: usize = 6;
const SPREADS: usize = 21;
/// Over how long rates are told.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Over how long quantiles are told.
const QUANTILE_WINDOW: Duration = Duration::from_secs(5 * 60);

/// What is remembered of one process.
#[derive(Debug)]
pub struct History {
    metrics: Arc<Metrics>,
    began: SystemTime,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    tallies: VecDeque<(Instant, Tally)>,
    spreads: VecDeque<(Instant, Spreads)>,
}

/// What can be told of the last minutes.
#[derive(Debug)]
pub(super) struct Recent {
    /// When the process began to serve.
    pub(super) began: SystemTime,
    /// How exchanges ended in the last minute, or since the start where that is less.
    pub(super) minute: Tally,
    /// How long that was.
    pub(super) minute_is: Duration,
    /// How exchanges ended since the start.
    pub(super) ever: Tally,
    /// Where the time went in the last five minutes, or since the start.
    pub(super) spreads: Spreads,
    /// How long that was.
    pub(super) spreads_are: Duration,
    /// The steps of the last ten minutes, the latest last.
    pub(super) steps: Vec<Step>,
    /// Durations of exchanges, the latest last, each of some 30 seconds.
    pub(super) durations: Vec<Spread>,
}

/// What was counted between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) tally: Tally,
    pub(super) seconds: f64,
}

/// The places of a whole plot of [`Recent::steps`] and of one of [`Recent::durations`].
pub(super) const STEPS: usize = TALLIES - 1;
pub(super) const DURATIONS: usize = SPREADS - 1;

impl History {
    /// Begins with what `metrics` says now.
    pub fn begin(metrics: Arc<Metrics>) -> Self {
        let kept = Kept::new(Instant::now(), metrics.tally(), metrics.spreads());
        Self {
            metrics,
            began: SystemTime::now(),
            kept: Mutex::new(kept),
        }
    }

    /// Looks again and again, for as long as the future lives.
    pub async fn keep(&self) {
        let mut ticks = interval(STEP);
        // After a stopped host there is one late step, not a burst of empty ones.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and the first look was taken.
        ticks.tick().await;
        for step in 1_usize.. {
            ticks.tick().await;
            let tally = self.metrics.tally();
            let spreads = (step.is_multiple_of(STEPS_PER_SPREAD)).then(|| self.metrics.spreads());
            self.kept.lock().look(Instant::now(), tally, spreads);
        }
    }

    /// What can be told now.
    pub(super) fn recent(&self) -> Recent {
        let (tally, spreads) = (self.metrics.tally(), self.metrics.spreads());
        let kept = self.kept.lock();
        kept.recent(self.began, Instant::now(), tally, spreads)
    }
}

impl Kept {
    fn new(now: Instant, tally: Tally, spreads: Spreads) -> Self {
        let mut kept = Self {
            tallies: VecDeque::with_capacity(TALLIES),
            spreads: VecDeque::with_capacity(SPREADS),
        };
        kept.look(now, tally, Some(spreads));
        kept
    }

    fn look(&mut self, now: Instant, tally: Tally, spreads: Option<Spreads>) {
        push(&mut self.tallies, TALLIES, (now, tally));
        if let Some(spreads) = spreads {
            push(&mut self.spreads, SPREADS, (now, spreads));
        }
    }

    fn recent(&self, began: SystemTime, now: Instant, tally: Tally, spreads: Spreads) -> Recent {
        let (minute_ago, then) = before(&self.tallies, now, RATE_WINDOW);
        let (spreads_at, earlier) = before(&self.spreads, now, QUANTILE_WINDOW);
        let pairs = self.tallies.iter().zip(self.tallies.iter().skip(1));
        let steps = pairs.map(|((from, earlier), (to, later))| Step {
            tally: later.since(earlier),
            seconds: to.saturating_duration_since(*from).as_secs_f64(),
        });
        let pairs = self.spreads.iter().zip(self.spreads.iter().skip(1));
        let durations = pairs.map(|((_, earlier), (_, later))| {
            let later = later.all_exchanges();
            later.since(&earlier.all_exchanges())
        });
        Recent {
            began,
            minute: tally.since(then),
            minute_is: now.saturating_duration_since(minute_ago),
            ever: tally,
            spreads: spreads.since(earlier),
            spreads_are: now.saturating_duration_since(spreads_at),
            steps: steps.collect(),
            durations: durations.collect(),
        }
    }
}

fn push<T>(kept: &mut VecDeque<T>, most: usize, new: T) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(new);
}

/// The latest look that is at least `window` old, or else the oldest there is.
fn before<T>(kept: &VecDeque<(Instant, T)>, now: Instant, window: Duration) -> (Instant, &T) {
    let old = |(at, _): &&(Instant, T)| now.saturating_duration_since(*at) >= window;
    let found = kept.iter().rev().find(old).or_else(|| kept.front());
    let (at, look) = found.expect("the first look was taken when this was made");
    (*at, look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Buckets,
        ingo::{Facts, Route},
        problem::Code,
        telemetry::{Ending, Outcome, Trail},
    };

    fn metrics() -> Metrics {
        Metrics::new(&Buckets {
            own: vec![0.001, 0.1],
            ingo: vec![0.1, 10.0],
        })
    }

    fn ends(metrics: &Metrics, times: usize) {
        for _ in 0..times {
            let mut trail = Trail::begin(Instant::now());
            trail.route = Some(Route::Verify);
            let ending = Ending {
                outcome: Outcome::Failed,
                status: 502,
                problem: Some(Code::UpstreamReset),
                answer: Facts::default(),
                answer_bytes: 0,
            };
            trail.end(&ending, metrics);
        }
    }

    #[test]
    fn at_the_start_everything_is_told_since_the_start() {
        let (metrics, start) = (metrics(), Instant::now());
        let kept = Kept::new(start, metrics.tally(), metrics.spreads());
        ends(&metrics, 3);
        let now = start + Duration::from_secs(2);
        let recent = kept.recent(
            SystemTime::UNIX_EPOCH,
            now,
            metrics.tally(),
            metrics.spreads(),
        );
        assert_eq!(recent.minute.of(Some(Route::Verify)).all(), 3);
        assert_eq!(recent.minute_is, Duration::from_secs(2));
        assert_eq!(recent.spreads.all_exchanges().count(), 3);
        assert!(recent.steps.is_empty() && recent.durations.is_empty());
    }

    #[test]
    fn rates_are_of_the_last_minute_and_nothing_is_kept_for_longer_than_ten() {
        let (metrics, start) = (metrics(), Instant::now());
        let mut kept = Kept::new(start, metrics.tally(), metrics.spreads());
        let steps = 3 * TALLIES;
        for step in 1..=steps {
            ends(&metrics, 1);
            let spreads = (step % STEPS_PER_SPREAD == 0).then(|| metrics.spreads());
            let now = start + STEP * u32::try_from(step).expect("few");
            kept.look(now, metrics.tally(), spreads);
        }
        let now = start + STEP * u32::try_from(steps).expect("few");
        let recent = kept.recent(
            SystemTime::UNIX_EPOCH,
            now,
            metrics.tally(),
            metrics.spreads(),
        );
        assert_eq!(recent.minute_is, RATE_WINDOW);
        assert_eq!(recent.minute.sum().all(), 12);
        assert_eq!(recent.ever.sum().all(), steps as u64);
        assert_eq!(recent.steps.len(), STEPS);
        assert_eq!(recent.durations.len(), DURATIONS);
        let per_spread = STEPS_PER_SPREAD as u64;
        assert!(recent.durations.iter().all(|d| d.count() == per_spread));
        let window = QUANTILE_WINDOW.as_secs() / STEP.as_secs();
        let told = recent.spreads.exchanges(Route::Verify).count();
        assert!((window..window + per_spread).contains(&told), "{told}");
    }
}
