//! What becomes of an exchange when something fails, and what the upstream received of it.
//!
//! `table` says what must happen in each case; the tests and docs/failures.md are both made from it. The other modules
//! hold what a table cannot: crowds, outages, keys in flight, deadlines, the rate limit, clocks and the journal.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking, and says aloud what it skips"
)]
#![allow(
    unreachable_pub,
    reason = "in a test binary nothing is public; `pub` marks what a module offers"
)]

mod blackhole;
mod cells;
mod clocks;
mod counting;
mod deadlines;
mod document;
mod identity;
mod ingo;
mod journals;
mod keys;
mod mixed;
mod outage;
mod storm;
#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "it serves two test binaries, and neither uses all of it"
)]
mod support;
mod table;
