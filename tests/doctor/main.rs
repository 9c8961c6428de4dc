//! `doctor` from outside: the real binary against what can be wrong, one fault at a time, and against nothing wrong.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a test ends by panicking and says aloud what it skips; parts of the support are for other tests"
)]

mod command;
mod faults;
#[path = "../wayout/stage.rs"]
mod stage;
#[path = "../it/support/mod.rs"]
mod support;
