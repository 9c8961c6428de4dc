//! `completions`: what a shell needs to complete this program's commands and flags.
//!
//! Made from the definition of the command line itself, so that it cannot be behind it.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, print};

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "bash: ingo-signing-proxy completions bash > ~/.local/share/bash-completion/completions/ingo-signing-proxy\n\
    zsh:  ingo-signing-proxy completions zsh > a file _ingo-signing-proxy in a directory of $fpath\n\
    fish: ingo-signing-proxy completions fish > ~/.config/fish/completions/ingo-signing-proxy.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "ingo-signing-proxy",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script), Exit::Well)
}
