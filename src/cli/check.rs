//! `check`: shows what a configuration means and where each part of it comes from.
//!
//! The listing is itself a configuration that means the same. It must not open a secret or touch the network.

use super::{Exit, complain, print, sources::ConfigArgs};
use crate::config::{json_schema, load, reference_file, reference_page};

/// Validates a configuration and prints the effective one
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the configuration's JSON Schema instead, for editors that complete YAML
    #[arg(long, exclusive = true)]
    schema: bool,
    /// Print the reference of all keys instead: as a file to start from, or as a page
    #[arg(long, exclusive = true, value_name = "FORMAT", value_enum)]
    reference: Option<Format>,
}

/// How the reference is written
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A configuration file with every key
    Yaml,
    /// A page of documentation
    Markdown,
}

pub(super) fn run(args: &CheckArgs) -> Exit {
    let text = match args.reference {
        _ if args.schema => json_schema(),
        Some(Format::Yaml) => reference_file(),
        Some(Format::Markdown) => reference_page(),
        None => return check(args),
    };
    print(&text, Exit::Well)
}

fn check(args: &CheckArgs) -> Exit {
    let loaded = match load(&args.config.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Config;
        }
    };
    print(&loaded.to_string(), Exit::Well)
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
