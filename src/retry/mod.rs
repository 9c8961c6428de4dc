//! The decision whether an attempt may be repeated.
//!
//! Pure: what happened goes in, a decision comes out. It must never allow a repeat that could make Ingo act twice, and it
//! never consults Pingora's own `retry` flag, which is set even where a server read a whole request before it closed.

use std::time::Duration;

use crate::ingo::Class;

/// What is known after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What a repeat means on the route.
    pub class: Class,
    /// Whether a byte of any attempt of this exchange was written to an upstream connection.
    pub written: bool,
    /// Attempts made, this one included.
    pub attempts: u32,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The caller gets what this attempt brought.
    Stop,
    /// Another attempt is made, signed afresh.
    Repeat {
        /// How long to wait before it.
        after: Duration,
    },
}

/// Decides what follows an attempt. For now an exchange has one attempt, whatever became of it.
pub fn decide(_evidence: Evidence) -> Decision {
    Decision::Stop
}
