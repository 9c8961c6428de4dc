//! `serve`: load, bind, run, leave.

use std::{panic::PanicHookInfo, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{Exit, Threads, complain, log_lines, run_on, sources::ConfigArgs};
use crate::{
    clock::Clock,
    config::{Config, load},
    lifecycle::{Lifecycle, Stage},
    listener::raise_open_files,
    server::{Server, StartError},
    telemetry::{CONFIGURATION_TARGET, PANIC_TARGET},
};

/// Runs the proxy
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ServeArgs) -> Exit {
    let sources = args.config.sources();
    let loaded = match load(&sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Config;
        }
    };
    let _logging = match log_lines(loaded.config.log_format, "info") {
        Ok(logging) => logging,
        Err(exit) => return exit,
    };
    std::panic::set_hook(Box::new(log_panic));
    for warning in &loaded.warnings {
        tracing::warn!(target: CONFIGURATION_TARGET, "{warning}");
    }
    warn_of_few_files(&loaded.config);
    let server = match Server::bind(loaded, Clock::system()) {
        Ok(server) => server.reloading(sources),
        Err(error) => {
            complain(&error);
            return match error {
                StartError::Bind(_) | StartError::Journal(_) => Exit::System,
                StartError::Secret(_)
                | StartError::Tls(_)
                | StartError::File(_)
                | StartError::Tracing(_) => Exit::Config,
            };
        }
    };
    run_on(Threads::This, serve(server))
}

/// Each connection takes a file descriptor; where they run out, nobody is served, not even the kubelet.
fn warn_of_few_files(config: &Config) {
    /// Listeners, standard streams, files, and a few to spare.
    const OTHERS: usize = 64;
    let needed = config.limits.inbound_connections
        + config.limits.exchanges_in_flight
        + config.upstream.idle_connections
        + OTHERS;
    let allowed = raise_open_files();
    if allowed.is_some_and(|allowed| allowed < needed as u64) {
        tracing::warn!(
            allowed,
            needed,
            "this process may not open as many files as limits.inbound_connections asks for; raise the limit (ulimit -n, LimitNOFILE) or lower inbound_connections"
        );
    }
}

async fn serve(server: Server) -> Exit {
    if let Err(exit) = leave_on_signals(server.lifecycle(), server.asked()) {
        return exit;
    }
    if let Err(exit) = notify_of_hangups(server.hangup()) {
        return exit;
    }
    let addresses = server.addresses();
    announce("proxy", &addresses.proxy);
    announce("health", &addresses.health);
    if let Some(admin) = &addresses.admin {
        announce("admin", admin);
    }
    match server.run().await {
        Ok(cut_off) => {
            tracing::info!(exchanges_cut_off = cut_off, "stopped");
            Exit::Well
        }
        Err(_told) => Exit::Internal,
    }
}

/// The line from which scripts and tests learn the port where 0 was asked for.
fn announce(listener: &str, address: &dyn std::fmt::Display) {
    tracing::info!(listener, %address, "listening");
}

/// Makes SIGTERM and SIGINT the way out. `again` is notified of each that comes where it leaves already.
pub(super) fn leave_on_signals(lifecycle: Lifecycle, again: Arc<Notify>) -> Result<(), Exit> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        complain(&"the system refused to deliver signals");
        return Err(Exit::System);
    };
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "told to leave");
            if lifecycle.stage() == Stage::Serving {
                lifecycle.advance(Stage::Leaving);
            } else {
                again.notify_one();
            }
        }
    });
    Ok(())
}

/// Passes SIGHUP on, whose default would end the process.
fn notify_of_hangups(server: Arc<Notify>) -> Result<(), Exit> {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        complain(&"the system refused to deliver signals");
        return Err(Exit::System);
    };
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(signal = "SIGHUP", "told to reload");
            server.notify_one();
        }
    });
    Ok(())
}

/// Says where a panic was. Its message may quote what it choked on, so it is told to nobody.
fn log_panic(panic: &PanicHookInfo<'_>) {
    match panic.location() {
        Some(at) => tracing::error!(
            target: PANIC_TARGET,
            file = at.file(),
            line = at.line(),
            "panic: a fault of the proxy; report it with this line"
        ),
        None => tracing::error!(target: PANIC_TARGET, "panic: a fault of the proxy; report it"),
    }
}
