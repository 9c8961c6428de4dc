//! What was counted so far, read back for the status page. Changes nothing, and makes no series.

use std::sync::Arc;

use prometheus::IntCounter;

use super::{Metrics, ROUTES, STATUS_CLASSES};
use crate::{
    config::Buckets,
    ingo::Route,
    problem::Code,
    telemetry::{Outcome, Phase, Problem, Spread},
};

/// The upper bounds of each kind of histogram.
#[derive(Debug)]
pub(super) struct Bounds {
    own: Arc<[f64]>,
    ingo: Arc<[f64]>,
    phases: Arc<[f64]>,
}

impl Bounds {
    pub(super) fn of(buckets: &Buckets, phases: &[f64]) -> Self {
        Self {
            own: buckets.own.as_slice().into(),
            ingo: buckets.ingo.as_slice().into(),
            phases: phases.into(),
        }
    }
}

/// How exchanges ended, told apart as a person wants to see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The caller got an answer of Ingo's that is no error by its HTTP status.
    Answered,
    /// The caller got an answer of Ingo's with a status of 400 and more.
    IngoError,
    /// [`Outcome::Rejected`].
    Rejected,
    /// [`Outcome::Failed`].
    Failed,
    /// [`Outcome::Aborted`].
    Aborted,
}

/// How many exchanges of one route ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends([u64; 5]);

impl Ends {
    /// How many ended so.
    pub fn of(&self, end: End) -> u64 {
        self.0[end as usize]
    }

    /// How many ended.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many ended otherwise than well.
    pub fn errors(&self) -> u64 {
        self.all() - self.of(End::Answered)
    }

    /// What was counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|at| {
            self.0[at].saturating_sub(earlier.0[at])
        }))
    }

    /// Adds another route's.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0) {
            *ours += theirs;
        }
    }
}

/// How exchanges of every route ended, and of those that belong to none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally([Ends; ROUTES]);

impl Tally {
    /// Those of one route; `None`: of no route.
    pub fn of(&self, route: Option<Route>) -> &Ends {
        &self.0[cell(route)]
    }

    /// What was counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].since(&earlier.0[at])))
    }

    /// Those of all routes.
    pub fn sum(&self) -> Ends {
        self.0.iter().fold(Ends::default(), |mut sum, ends| {
            sum.add(ends);
            sum
        })
    }
}

/// Where the time of exchanges went.
#[derive(Clone, Debug)]
pub struct Spreads {
    /// One for each phase, in the order of [`Phase::ALL`](crate::telemetry::Phase::ALL).
    pub phases: Vec<Spread>,
    /// What the proxy itself added.
    pub overhead: Spread,
    /// Exchanges that were answered or failed, of each route of [`Route::ALL`] that has any.
    exchanges: Vec<Option<Spread>>,
    none: Spread,
}

impl Spreads {
    /// What was counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let phases = self.phases.iter().zip(&earlier.phases);
        let exchanges = self.exchanges.iter().zip(&earlier.exchanges);
        Self {
            phases: phases.map(|(now, then)| now.since(then)).collect(),
            overhead: self.overhead.since(&earlier.overhead),
            exchanges: exchanges
                .map(|(now, then)| {
                    let then = then.as_ref().unwrap_or(&self.none);
                    Some(now.as_ref()?.since(then))
                })
                .collect(),
            none: self.none.clone(),
        }
    }

    /// Durations of the exchanges of `route` that were answered or failed.
    pub fn exchanges(&self, route: Route) -> &Spread {
        let found = self.exchanges[route as usize].as_ref();
        found.unwrap_or(&self.none)
    }

    /// Those of all routes.
    pub fn all_exchanges(&self) -> Spread {
        let mut all = self.none.clone();
        self.exchanges.iter().flatten().for_each(|s| all.add(s));
        all
    }
}

fn cell(route: Option<Route>) -> usize {
    route.map_or(Route::ALL.len(), |route| route as usize)
}

impl Metrics {
    /// How exchanges ended so far.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (route, ends) in tally.0.iter_mut().enumerate() {
            for outcome in Outcome::ALL {
                for class in 0..STATUS_CLASSES.len() {
                    let cell = (route * Outcome::ALL.len() + *outcome as usize)
                        * STATUS_CLASSES.len()
                        + class;
                    let Some(counter) = self.exchanges.made(cell) else {
                        continue;
                    };
                    let end = match outcome {
                        Outcome::Answered if class >= 3 => End::IngoError,
                        Outcome::Answered => End::Answered,
                        Outcome::Rejected => End::Rejected,
                        Outcome::Failed => End::Failed,
                        Outcome::Aborted => End::Aborted,
                    };
                    ends.0[end as usize] += counter.get();
                }
            }
        }
        tally
    }

    /// Where the time of exchanges went so far.
    pub fn spreads(&self) -> Spreads {
        self.gather();
        let Bounds { own, ingo, phases } = &self.bounds;
        let mut overhead = Spread::empty(own);
        for route in 0..ROUTES {
            if let Some(histogram) = self.overhead.made(route) {
                overhead.add(&Spread::of(histogram, own));
            }
        }
        let exchanges = Route::ALL.map(|route| {
            let ends = [Outcome::Answered, Outcome::Failed];
            let cells = ends.map(|end| route as usize * Outcome::ALL.len() + end as usize);
            let mut made = cells.iter().filter_map(|cell| self.durations.made(*cell));
            let mut spread = Spread::of(made.next()?, ingo);
            made.for_each(|more| spread.add(&Spread::of(more, ingo)));
            Some(spread)
        });
        Spreads {
            phases: (0..Phase::ALL.len())
                .filter_map(|phase| Some(Spread::of(self.phases.made(phase)?, phases)))
                .collect(),
            overhead,
            exchanges: exchanges.into(),
            none: Spread::empty(ingo),
        }
    }

    /// How many exchanges of `route` run now.
    pub fn running(&self, route: Route) -> i64 {
        let gauge = self.in_flight.made(route as usize);
        gauge.map_or(0, prometheus::IntGauge::get)
    }

    /// How many exchanges run now that move money.
    pub fn running_money(&self) -> i64 {
        let money = Route::ALL.iter().filter(|r| r.class().moves_money());
        money.map(|route| self.running(*route)).sum()
    }

    /// How often the proxy itself answered so far, by code, the most frequent first.
    pub fn rejections(&self) -> Vec<(Code, u64)> {
        let counters = self.rejections.iter().map(IntCounter::get);
        let counts = Code::ALL.iter().copied().zip(counters);
        let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// Faults of the proxy so far that ended one exchange.
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// The last problems, the latest first.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.latest_first()
    }
}
