//! The charts of `deploy/helm`: what they render is what the program takes, and what Kustomize makes of the same sidecar.
//!
//! What needs Helm is run by `make test-all`, which installs it; `make test` passes these by. Whether the manifests are valid
//! is checked by `deploy/checks/helm`.

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

mod drift;
mod files;
mod helm;
mod library;
mod pod;
mod readme;
mod schema;
mod served;
mod yaml;

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
