//! What changes while the proxy runs: secrets, configuration, certificates, and an Ingo that drops credentials when it likes.
//! The real binary, and callers that must not notice.
//!
//! Nothing sleeps to wait for something: what must have happened is asked for until it has, within a bound.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its files has failed"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the support is another test's"
)]
#[path = "../it/support/mod.rs"]
mod support;

mod certificates;
mod refusals;
mod reload;
mod rotation;
mod stage;
