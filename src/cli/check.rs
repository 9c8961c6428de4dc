//! `check`: shows what a configuration means and where each part of it comes from.
//!
//! The listing is itself a configuration that means the same. It must not open a secret or touch the network.

use std::io::Write as _;

use super::{Exit, complain, sources::ConfigArgs};
use crate::config::load;

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
    let text = loaded.to_string();
    // Whoever reads only the first lines, as `head` does, is not told that something failed.
    let _printed = std::io::stdout().write_all(text.as_bytes());
    Exit::Well
}

#[cfg(test)]
mod tests {
    use crate::config::{Flag, Sources, load};

    #[test]
    fn warnings_follow_the_listing_as_comments_so_that_the_whole_stays_a_configuration() {
        let sources = Sources {
            file: Some("config/minimal.yaml".into()),
            flags: vec![Flag {
                key: "listeners.proxy.address",
                value: "0.0.0.0:8646".to_owned(),
                name: "--listen",
            }],
            environment: Vec::new(),
        };
        let text = load(&sources).expect("valid").to_string();
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), &text).expect("written");
        let again = load(&Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        });
        assert!(again.is_ok(), "{text}");
        assert!(text.contains("address: 0.0.0.0:8646"), "{text}");
        let last = text.lines().last().expect("lines");
        assert!(last.starts_with("# warning: listeners.proxy.address is not a loopback"));
    }
}
