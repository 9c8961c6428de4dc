//! What needs a real Prometheus: it scrapes the proxy under load with faults, and is asked what it has seen.
//!
//! Run by `make test-all`, which installs Prometheus; `make test` passes these by.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking, and says aloud what it skips"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the support is another test's"
)]
#[path = "../it/support/mod.rs"]
mod support;

mod rules;
mod scraped;
mod server;
