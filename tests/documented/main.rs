//! The pages as their readers use them: every command that stands in one is run with the real binary, every configuration
//! is checked, every link is followed. What is not run says in the page why, so that a page cannot go stale unseen.
//!
//! A block of a page is run after its language:
//!
//! | block | what is done with it |
//! |---|---|
//! | `sh` | run; each command must succeed, and what curl asks must be answered with 2xx |
//! | `console` | run; what is printed must be what stands there, where `…` stands for anything |
//! | `sh needs: cluster` | not run, because it needs what the word says ([`page::NEEDS`]); it must be good shell all the same |
//! | `yaml` | a configuration: completed by `environment` and `credentials` where it has none, it passes `check` |
//! | `yaml of: kubernetes` | that of another program ([`page::KINDS`]): it is YAML |
//! | `json` | it is JSON |
//! | `java`, `php`, `csharp` | compiled and run against the proxy ([`snippets`]), by `make test-all` |
//! | `haproxy`, `nginx` | written to haproxy.cfg and nginx.conf, which the commands of the page use |
//! | `promql` | `promtool` understands it, by `make test-all` |
//! | `text`, `toml`, `rust`, `ini`, `diff`, `gotemplate` | only read |
//!
//! The pages name the ports that the program has by default. Each page therefore has a loopback address of its own, which
//! takes the place of 127.0.0.1, and a folder of its own, which takes the place of /run/secrets and its like.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a test ends by panicking and says aloud what it skips; parts of the support are for other tests"
)]

mod console;
mod data;
mod links;
mod log_lines;
mod manifests;
mod options;
mod page;
mod place;
mod queries;
mod shell;
mod shims;
mod snippets;
#[path = "../it/support/mod.rs"]
mod support;
