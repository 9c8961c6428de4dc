//! `check`: shows what a configuration means and where each part of it comes from.
//!
//! The listing is itself a configuration that means the same. It must not open a secret or touch the network.

use std::io::Write as _;

use super::{Exit, complain, sources::ConfigArgs};
use crate::config::{Loaded, load};

/// Validates a configuration and prints the effective one
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &CheckArgs) -> Exit {
    let loaded = match load(&args.config.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Config;
        }
    };
    let text = render_check(&loaded);
    // Whoever reads only the first lines, as `head` does, is not told that something failed.
    let _printed = std::io::stdout().write_all(text.as_bytes());
    Exit::Well
}

/// What `check` prints for a configuration without mistakes.
pub(crate) fn render_check(loaded: &Loaded) -> String {
    let mut text = loaded.effective.to_string();
    for warning in &loaded.warnings {
        text.push_str("\n# warning: ");
        text.push_str(warning);
    }
    if !loaded.warnings.is_empty() {
        text.push('\n');
    }
    text
}
