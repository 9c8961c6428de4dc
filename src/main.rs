//! The binary: hands its arguments to the library and leaves with the status that comes back.

use std::process::ExitCode;

/// By measurement: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ingo_signing_proxy::cli::run(std::env::args_os())
}
