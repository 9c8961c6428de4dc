//! Families of metrics: made and registered once, their children found by an index.

use std::sync::OnceLock;

use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, local::LocalHistogram,
};
use thread_local::ThreadLocal;

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

/// Histograms that each thread counts in by itself until somebody reads them: an exchange is a dozen observations, each of which
/// would be four locked instructions in a place where all threads meet.
#[derive(Debug)]
pub(super) struct Histograms {
    shared: Cells<HistogramVec, Histogram>,
    /// What threads observed since they were last gathered, by index.
    own: ThreadLocal<Own>,
}

/// Apart from other threads', also in the processors' caches.
#[derive(Debug)]
#[repr(align(128))]
struct Own(Mutex<Box<[Option<LocalHistogram>]>>);

impl Histograms {
    fn new(vector: HistogramVec, size: usize) -> Self {
        let shared = Cells::new(vector, size);
        let own = ThreadLocal::new();
        Self { shared, own }
    }

    /// The child at `index`, of the `labels`, is there from now on, also where nothing was observed.
    pub(super) fn make<const N: usize>(&self, index: usize, labels: [&str; N]) -> &Histogram {
        self.shared.at(index, |v| v.with_label_values(&labels))
    }

    /// Observes `value` in the child at `index`, which is that of `labels`.
    pub(super) fn observe<const N: usize>(
        &self,
        index: usize,
        labels: [&'static str; N],
        value: f64,
    ) {
        self.observe_each([(index, labels, value)]);
    }

    /// Observes in several children.
    pub(super) fn observe_each<const N: usize>(
        &self,
        each: impl IntoIterator<Item = (usize, [&'static str; N], f64)>,
    ) {
        let size = self.shared.cells.len();
        let Own(own) = (self.own).get_or(|| Own(Mutex::new(vec![None; size].into())));
        let mut own = own.lock();
        for (index, labels, value) in each {
            own[index]
                .get_or_insert_with(|| self.make(index, labels).local())
                .observe(value);
        }
    }

    /// Has everything that threads observed so far in the shared children, which are read.
    pub(super) fn gather(&self) {
        for Own(own) in &self.own {
            own.lock().iter().flatten().for_each(LocalHistogram::flush);
        }
    }

    /// What was observed in the child at `index` until it was last gathered; nothing where it was not used.
    pub(super) fn made(&self, index: usize) -> Option<&Histogram> {
        self.shared.made(index)
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
        size: usize,
    ) -> Histograms {
        let options = HistogramOpts::new(prefixed(name), help).buckets(buckets.to_vec());
        let made = HistogramVec::new(options, labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        Histograms::new(made, size)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_threads_observe_is_all_there_when_it_is_gathered_also_of_those_that_ended() {
        let histograms = Registering(&Registry::new()).histograms("x", "x", &["of"], &[1.0], 2);
        let counted = || {
            histograms.gather();
            histograms.made(1).map(Histogram::get_sample_count)
        };
        assert_eq!(counted(), None);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| histograms.observe(1, ["b"], 0.5)));
            }
        });
        assert_eq!(counted(), Some(400));
        histograms.observe_each([(1, ["b"], 0.5), (0, ["a"], 2.0), (1, ["b"], 3.0)]);
        assert_eq!(counted(), Some(402));
        assert_eq!(counted(), Some(402), "once each");
        let sum = histograms.made(1).map(Histogram::get_sample_sum);
        assert_eq!(sum, Some(203.5));
        assert_eq!(histograms.made(0).map(Histogram::get_sample_count), Some(1));
    }
}
