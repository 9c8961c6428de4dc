//! What a histogram has counted, read back: differences between two looks, and what quantiles can be told of them.
//!
//! Pure. A quantile of a histogram is an estimate: within the bucket where it lies, values are taken to be spread evenly.

use std::sync::Arc;

use prometheus::{Histogram, core::Metric as _};

/// What one or several histograms with the same bounds have counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    bounds: Arc<[f64]>,
    /// How many values were at most the bound of the same place.
    at_most: Box<[u64]>,
    count: u64,
    sum: f64,
}

/// A quantile, as far as buckets tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// About this.
    About(f64),
    /// Beyond the largest bound, which is this.
    Beyond(f64),
}

impl Quantile {
    /// The number, or the one that it is beyond.
    pub fn value(self) -> f64 {
        match self {
            Self::About(value) | Self::Beyond(value) => value,
        }
    }
}

impl Spread {
    /// Nothing counted yet.
    pub(super) fn empty(bounds: &Arc<[f64]>) -> Self {
        Self {
            bounds: bounds.clone(),
            at_most: vec![0; bounds.len()].into(),
            count: 0,
            sum: 0.0,
        }
    }

    /// What `histogram`, whose bounds are `bounds`, has counted so far.
    pub(super) fn of(histogram: &Histogram, bounds: &Arc<[f64]>) -> Self {
        let read = histogram.metric();
        let read = read.get_histogram();
        let mut spread = Self::empty(bounds);
        for (ours, theirs) in spread.at_most.iter_mut().zip(read.get_bucket()) {
            *ours = theirs.cumulative_count();
        }
        spread.count = read.get_sample_count();
        spread.sum = read.get_sample_sum();
        spread
    }

    /// Adds what another with the same bounds has counted.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.at_most.iter_mut().zip(&other.at_most) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// What was counted since an `earlier` look at the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let both = self.at_most.iter().zip(&earlier.at_most);
        Self {
            bounds: self.bounds.clone(),
            at_most: both.map(|(now, then)| now.saturating_sub(*then)).collect(),
            count: self.count.saturating_sub(earlier.count),
            sum: (self.sum - earlier.sum).max(0.0),
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The quantile `q` of 0 to 1; nothing where nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        if self.count == 0 {
            return None;
        }
        // Counts that f64 cannot hold exactly are far beyond what a process counts in minutes.
        let rank = q * self.count as f64;
        let found = self.at_most.iter().position(|n| *n as f64 >= rank);
        let Some(at) = found else {
            return Some(Quantile::Beyond(self.bounds.last().copied()?));
        };
        let (lower, below) = match at.checked_sub(1) {
            Some(before) => (self.bounds[before], self.at_most[before] as f64),
            None => (0.0, 0.0),
        };
        let within = self.at_most[at] as f64 - below;
        let part = if within > 0.0 {
            ((rank - below) / within).clamp(0.0, 1.0)
        } else {
            1.0
        };
        Some(Quantile::About(lower + (self.bounds[at] - lower) * part))
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    const BOUNDS: [f64; 3] = [0.1, 0.2, 0.4];

    fn spread(values: &[f64]) -> Spread {
        let options = HistogramOpts::new("name", "help").buckets(BOUNDS.to_vec());
        let histogram = Histogram::with_opts(options).expect("valid");
        values.iter().for_each(|value| histogram.observe(*value));
        Spread::of(&histogram, &BOUNDS.into())
    }

    #[test]
    fn a_quantile_lies_within_the_bucket_that_holds_it() {
        let spread = spread(&[0.05, 0.15, 0.15, 0.3]);
        assert_eq!(spread.count(), 4);
        assert_eq!(spread.quantile(0.25), Some(Quantile::About(0.1)));
        let median = spread.quantile(0.5).expect("counted").value();
        assert!((median - 0.15).abs() < 1e-9, "{median}");
        assert_eq!(spread.quantile(1.0), Some(Quantile::About(0.4)));
    }

    #[test]
    fn beyond_the_largest_bound_only_that_bound_is_known() {
        assert_eq!(
            spread(&[0.05, 7.0]).quantile(0.99),
            Some(Quantile::Beyond(0.4))
        );
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(spread(&[]).quantile(0.5), None);
        let same = spread(&[0.3]);
        assert_eq!(same.since(&same).quantile(0.5), None);
    }

    #[test]
    fn what_was_counted_since_is_a_spread_of_its_own() {
        let mut later = spread(&[0.05, 0.3]);
        later.add(&spread(&[0.15]));
        let since = later.since(&spread(&[0.05, 0.3]));
        assert_eq!((since.count(), &*since.at_most), (1, &[0, 1, 1][..]));
        assert!((since.sum() - 0.15).abs() < 1e-9);
    }
}
