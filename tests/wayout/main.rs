//! `serve` on its way out of a corporate network: through a CONNECT proxy, past dead addresses, over IPv6, and what it says
//! where the way is barred.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a test ends by panicking and says aloud what it skips; parts of the support are for other tests"
)]

mod barred;
mod proxied;
mod real_proxy;
mod stage;
#[path = "../it/support/mod.rs"]
mod support;
