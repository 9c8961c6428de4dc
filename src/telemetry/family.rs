//! Families of metrics: made and registered once, their children found by an index.

use std::sync::OnceLock;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// A vector's children, made when first used and then found by index.
#[derive(Debug)]
pub(super) struct Cells<V, T> {
    vector: V,
    cells: Vec<OnceLock<T>>,
}

impl<V, T: Clone> Cells<V, T> {
    pub(super) fn new(vector: V, size: usize) -> Self {
        Self {
            vector,
            cells: (0..size).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(super) fn at(&self, index: usize, make: impl FnOnce(&V) -> T) -> &T {
        self.cells[index].get_or_init(|| make(&self.vector))
    }

    /// The child at `index`, where it was used already.
    pub(super) fn made(&self, index: usize) -> Option<&T> {
        self.cells[index].get()
    }
}

/// Makes and registers; every name and label here is a constant, so that failing is a fault of this file that any test
/// that makes a `Metrics` finds.
pub(super) struct Registering<'a>(pub(super) &'a Registry);

pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn prefixed(name: &str) -> String {
    format!("ingo_proxy_{name}")
}

pub(super) const VALID: &str = "names and labels in this file are valid and unique";

impl Registering<'_> {
    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(prefixed(name), help), labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    /// A counter of each of `words`, in their order; at zero from the start, so that the first one is an increase.
    pub(super) fn counter_of_each(
        &self,
        name: &str,
        help: &str,
        label: &str,
        words: impl Iterator<Item = &'static str>,
    ) -> Vec<IntCounter> {
        let counters = self.counters(name, help, &[label]);
        words
            .map(|word| counters.with_label_values(&[word]))
            .collect()
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        let made = IntCounter::new(prefixed(name), help).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(prefixed(name), help), labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let made = IntGauge::new(prefixed(name), help).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(prefixed(name), help).buckets(buckets.to_vec());
        let made = HistogramVec::new(options, labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }
}
