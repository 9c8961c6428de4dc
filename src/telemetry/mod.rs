//! What the program says about itself: metrics, the access line of each exchange, log lines.
//!
//! Label values and field names are public API (docs/observability.md). No label comes from a request's text, and nothing
//! here is given a secret, a signature or a body.

mod family;
mod intervals;
mod limiter;
mod lines;
pub mod logging;
mod metrics;
mod phases;
mod problems;
mod spread;
mod traces;
mod trail;

/// The one tenant there is until the gateway comes.
pub(crate) const TENANT: &str = "default";

pub(crate) use self::limiter::{
    CONFIGURATION as CONFIGURATION_TARGET, PANIC as PANIC_TARGET,
    WINDOW as REPEATED_WARNINGS_WINDOW,
};
pub use self::{
    metrics::{End, Ends, InFlight, Metrics, Spreads, Tally},
    phases::{Phase, Stopwatch, waits},
    problems::Problem,
    spread::{Quantile, Spread},
    traces::{AttemptEnd, IngoStatus, Trace, Tracer, TracingError},
    trail::{Ending, Outcome, Progress, Trail},
};
