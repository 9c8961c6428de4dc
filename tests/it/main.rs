//! The program as its users meet it: the real binary over real sockets, against an upstream that does what a script says.
//!
//! One module per topic, one behaviour per test, and each test's name is the sentence that it holds true.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking, and says aloud what it skips"
)]
#![allow(
    unreachable_pub,
    reason = "in a test binary nothing is public; `pub` marks what a support module offers"
)]

mod access_log;
mod answers;
mod bodies;
mod bounds;
mod cli;
mod clients;
mod connections;
mod framing;
mod health;
mod http2;
mod levels;
mod lifecycle;
mod metrics;
mod refusals;
mod repeats;
mod scaffolding;
mod secrets;
mod signing;
mod status;
mod stress;
#[allow(dead_code, reason = "it serves tests/faults, too")]
mod support;
mod tls;
mod traces;
mod validation;
