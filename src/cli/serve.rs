//! `serve`: load, bind, run, leave.

use std::{io, panic::PanicHookInfo};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, check::render_check, complain, sources::ConfigArgs};
use crate::{
    clock::Clock,
    config::load,
    lifecycle::{Lifecycle, Stage},
    server::{Server, StartError},
    telemetry::logging,
};

/// Runs the proxy
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ServeArgs) -> Exit {
    let loaded = match load(&args.config.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Config;
        }
    };
    if let Err(error) = logging::start(loaded.config.log_format) {
        complain(&error);
        return Exit::Config;
    }
    std::panic::set_hook(Box::new(log_panic));
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let threads = loaded.config.threads;
    let configuration = render_check(&loaded);
    let server = match Server::bind(loaded.config, configuration, Clock::system()) {
        Ok(server) => server,
        Err(error) => {
            complain(&error);
            return match error {
                StartError::Bind(_) => Exit::System,
                StartError::Secret(_) | StartError::Roots(_) => Exit::Config,
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("the system refused worker threads: {error}"));
            return Exit::System;
        }
    };
    let exit = runtime.block_on(serve(server));
    // What still runs was given its time; waiting for it again would be no limit.
    runtime.shutdown_background();
    exit
}

async fn serve(server: Server) -> Exit {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(terminate), Ok(interrupt)) = signals else {
        complain(&"the system refused to deliver signals");
        return Exit::System;
    };
    tokio::spawn(leave_on_signal(terminate, interrupt, server.lifecycle()));
    let addresses = server.addresses();
    announce("proxy", &addresses.proxy);
    announce("health", &addresses.health);
    if let Some(admin) = &addresses.admin {
        announce("admin", admin);
    }
    let cut_off = server.run().await;
    tracing::info!(exchanges_cut_off = cut_off, "stopped");
    Exit::Well
}

/// The line from which scripts and tests learn the port where 0 was asked for.
fn announce(listener: &str, address: &dyn std::fmt::Display) {
    tracing::info!(listener, %address, "listening");
}

async fn leave_on_signal(mut terminate: Signal, mut interrupt: Signal, lifecycle: Lifecycle) {
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "told to leave");
    lifecycle.advance(Stage::Leaving);
}

/// Says where a panic was. Its message may quote what it choked on, so it is told to nobody.
fn log_panic(panic: &PanicHookInfo<'_>) {
    match panic.location() {
        Some(at) => tracing::error!(
            file = at.file(),
            line = at.line(),
            "panic: a fault of the proxy; report it with this line"
        ),
        None => tracing::error!("panic: a fault of the proxy; report it"),
    }
    let _flushed = io::Write::flush(&mut io::stdout());
}
