//! What deploys the proxy (`deploy/kubernetes`, `deploy/systemd`, `deploy/compose.yaml`), held against the real binary: ports, paths,
//! grace periods, probes and commands are read out of the files and tried.
//!
//! The YAML is read as it is written, so that nothing but the toolchain is needed; `deploy/check` validates what Kustomize makes of it.

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

#[allow(dead_code, reason = "another test's")]
#[path = "../live/stage.rs"]
mod stage;

#[allow(dead_code, reason = "another test's")]
#[path = "../charts/yaml.rs"]
mod yaml;

mod coherence;
mod compose;
mod jobs;
mod manifests;
mod notify;
mod place;
mod probes;
mod rotation;
mod systemd;
mod termination;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A path in the repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file in the repository.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name} should be there: {e}"))
}
