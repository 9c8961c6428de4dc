//! What follows an attempt: the decision, the budget, the backoff.
//!
//! Pure: what happened, a random fraction and durations go in, a decision comes out. It must never allow a repeat that could
//! make Ingo act twice, and it never consults Pingora's own `retry` flag, which is set even where a server read a whole
//! request before it closed.

mod backoff;
mod budget;
mod decision;

pub use self::{
    backoff::Backoff,
    budget::Budget,
    decision::{Attempted, Decision, Ended, Policy, Reason, Refusal, Remedied, decide},
};

#[cfg(test)]
mod properties;
