//! `man`: the manual, a page for the program and one for each command, in roff.
//!
//! Made from the definition of the command line itself, so that it cannot be behind it.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{Cli, Exit, complain, print};

/// Prints the manual page, or writes the pages of all commands
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write a page for the program and one for each command into this directory instead, which must exist
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Exit {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        let rendered = Man::new(Cli::command()).render(&mut page);
        // Nothing fails that writes to memory.
        return rendered.map_or(Exit::Internal, |()| {
            print(&String::from_utf8_lossy(&page), Exit::Well)
        });
    };
    match clap_mangen::generate_to(Cli::command(), dir) {
        Ok(()) => Exit::Well,
        Err(error) => {
            complain(&format_args!(
                "the manual could not be written to {}: {error}; name a directory that exists and can be written with --dir",
                dir.display()
            ));
            Exit::System
        }
    }
}
