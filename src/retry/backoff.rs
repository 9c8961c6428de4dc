//! Exponential backoff with full jitter, so that callers who failed together do not come back together.

use std::time::Duration;

/// How long to wait before a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The upper bound of the first wait; it doubles with each repeat.
    pub base: Duration,
    /// What the upper bound never exceeds.
    pub cap: Duration,
}

impl Default for Backoff {
    /// From 50 ms, at most 2 s (product.md, "Routes and defaults").
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        }
    }
}

impl Backoff {
    /// The wait after `attempts` attempts: a `fraction` (0 to 1, random) of the upper bound that belongs to that many.
    pub fn after(self, attempts: u32, fraction: f64) -> Duration {
        let doubled = 2_u32.checked_pow(attempts.saturating_sub(1));
        let bound = doubled
            .and_then(|d| self.base.checked_mul(d))
            .unwrap_or(self.cap)
            .min(self.cap);
        bound.mul_f64(fraction.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_from_the_base_up_to_the_cap() {
        let bounds =
            [1, 2, 3, 6, 7, 40, u32::MAX].map(|n| Backoff::default().after(n, 1.0).as_millis());
        assert_eq!(bounds, [50, 100, 200, 1600, 2000, 2000, 2000]);
    }

    #[test]
    fn jitter_is_full_and_nonsense_stays_within_it() {
        let backoff = Backoff::default();
        assert_eq!(backoff.after(1, 0.0), Duration::ZERO);
        assert_eq!(backoff.after(1, -1.0), Duration::ZERO);
        assert_eq!(backoff.after(1, 2.0), backoff.base);
    }
}
