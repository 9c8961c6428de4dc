//! The image: built by `make image`, unpacked, and its binary run in nothing but what the image holds. And the tarball.
//!
//! Ignored unless asked for, because a release is built for each: `cargo test --test image -- --ignored` with the packages
//! `buildah`, `jq` and `iproute2` installed. What runs in the image needs root, for chroot and mounts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test ends by panicking, and says aloud what it skips and what it measured"
)]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the support and the stage serve several test binaries, and none uses all of it"
)]

mod built;
mod contained;
mod contents;
mod dist;
mod names;
mod running;
mod sbom;
#[path = "../wayout/stage.rs"]
mod stage;
#[path = "../it/support/mod.rs"]
mod support;
