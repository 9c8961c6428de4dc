//! `doctor`: says step by step what works between here and Ingo, and what to do about what does not.

use super::{Exit, complain, print, sources::ConfigArgs};
use crate::{
    clock::Clock,
    config::load,
    doctor::{Report, examine, refused},
};

/// Probes the configured upstreams step by step
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also ask whether Ingo accepts the credentials, by a signed Create Session that creates nothing. Done by itself in the sandbox
    #[arg(long)]
    probe: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> Exit {
    let loaded = match load(&args.config.sources()) {
        Ok(loaded) => loaded,
        Err(error) => return show(&refused(&error), args.json, Exit::Config),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!(
                "the system refused what is needed to wait for sockets: {error}"
            ));
            return Exit::System;
        }
    };
    let report = runtime.block_on(examine(&loaded, args.probe, &Clock::system()));
    // A resolver that hangs is not waited for.
    runtime.shutdown_background();
    let exit = if report.is_healthy() {
        Exit::Well
    } else {
        Exit::NotWell
    };
    show(&report, args.json, exit)
}

fn show(report: &Report, json: bool, exit: Exit) -> Exit {
    let text = if json {
        format!("{}\n", report.to_json())
    } else {
        report.to_string()
    };
    print(&text, exit)
}
