//! A budget of repeats, so that an outage at Ingo is not multiplied by those who wait for it.
//!
//! A token bucket: every exchange earns a fraction of a token, every repeat costs a whole one. It starts full, so that a
//! proxy that has just started can repeat at once. State is plain numbers; whoever shares it puts it behind a lock.

/// What repeats may still be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    tokens: f64,
    capacity: f64,
    earned: f64,
}

impl Budget {
    /// A full budget: `capacity` repeats at once, and `earned` repeats per exchange in the long run.
    pub fn full(capacity: u32, earned: f64) -> Self {
        let capacity = f64::from(capacity);
        Self {
            tokens: capacity,
            capacity,
            earned: earned.clamp(0.0, 1.0),
        }
    }

    /// An exchange has begun.
    pub fn earn(&mut self) {
        self.tokens = (self.tokens + self.earned).min(self.capacity);
    }

    /// Whether a repeat can be paid for.
    pub fn has_one(&self) -> bool {
        self.tokens >= 1.0
    }

    /// Pays for a repeat; `false`, and nothing is paid, where it cannot be.
    pub fn spend(&mut self) -> bool {
        let affordable = self.has_one();
        if affordable {
            self.tokens -= 1.0;
        }
        affordable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_full_and_is_never_more_than_full() {
        let mut budget = Budget::full(2, 0.5);
        budget.earn();
        assert!(budget.spend() && budget.spend());
        assert!(!budget.spend(), "the bucket is empty");
    }

    #[test]
    fn in_the_long_run_repeats_are_the_earned_share_of_exchanges() {
        let mut budget = Budget::full(10, 0.2);
        let repeats = (0..10_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        let repeats = repeats.count();
        assert!((2000..=2010).contains(&repeats), "{repeats}");
    }
}
