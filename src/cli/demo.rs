//! `demo`: the proxy and an embedded Ingo on loopback, with credentials made up for the occasion.
//!
//! Everything a newcomer types comes from here, one physical line each, and is run by a test exactly as printed. Nothing is
//! written to disk, and nothing leaves this host.

use std::{
    fmt::{self, Display},
    io::Write as _,
    mem,
    net::SocketAddr,
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Exit, Threads, complain, log_lines, run_on, serve::leave_on_signals, socket_address};
use crate::{
    clock::Clock,
    config::{Address, Flag, Sources, load},
    credentials::Rotation,
    emulator::Emulator,
    lifecycle::Stage,
    secret::Secret,
    server::Server,
};

/// Who signs in the demonstration.
const USERNAME: &str = "demo";
/// The routes that the demonstration shows.
const ROUTES: &str = "create_session,verify,process,debit";

/// Runs the proxy and an emulated Ingo on loopback, with made-up credentials
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Proxy listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8646", value_parser = socket_address)]
    listen: SocketAddr,
    /// Health listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9646", value_parser = socket_address)]
    health_listen: SocketAddr,
    /// Admin listener, with the status page; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = socket_address)]
    admin_listen: SocketAddr,
    /// Emulated Ingo
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8647", value_parser = socket_address)]
    emulator_listen: SocketAddr,
    /// Control endpoint of the emulated Ingo: faults and the ledger
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9647", value_parser = socket_address)]
    control_listen: SocketAddr,
}

pub(super) fn run(args: &DemoArgs) -> Exit {
    let exposed = [
        args.listen,
        args.health_listen,
        args.admin_listen,
        args.emulator_listen,
        args.control_listen,
    ];
    if let Some(address) = exposed
        .iter()
        .find(|a| !a.ip().to_canonical().is_loopback())
    {
        complain(&format_args!(
            "the demonstration stays on this host, and {address} is no loopback address"
        ));
        return Exit::Usage;
    }
    // Quiet, so that what is printed below stays in sight; RUST_LOG=info shows a line for each exchange.
    let _logging = match log_lines(None, "warn") {
        Ok(logging) => logging,
        Err(exit) => return exit,
    };
    run_on(Threads::OnePerCore, async {
        match demonstrate(args).await {
            Ok(()) => Exit::Well,
            Err(exit) => exit,
        }
    })
}

async fn demonstrate(args: &DemoArgs) -> Result<(), Exit> {
    let secret = Secret::new(uuid::Uuid::new_v4().as_bytes().to_vec());
    let emulator = Emulator::builder(USERNAME, secret.clone())
        .listen(args.emulator_listen)
        .control(Address::Tcp(args.control_listen))
        .start()
        .await
        .map_err(refused)?;
    let loaded = load(&sources(args, emulator.addresses().gateway)).map_err(|error| {
        // All of it comes from flags and from here.
        complain(&error);
        Exit::Usage
    })?;
    let rotation = Rotation::fixed(&loaded.config.credentials, &secret);
    let server = Server::bind_as(loaded, Some(rotation), Clock::system()).map_err(refused)?;
    let lifecycle = server.lifecycle();
    let again = Arc::new(Notify::new());
    leave_on_signals(lifecycle.clone(), again.clone())?;

    let addresses = server.addresses();
    let shown = Shown {
        proxy: addresses.proxy.to_string(),
        health: addresses.health.to_string(),
        admin: (addresses.admin.as_ref()).map_or_else(String::new, ToString::to_string),
        emulator: emulator.addresses().gateway.to_string(),
        control: emulator
            .addresses()
            .control
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    // Where standard output is closed, whoever closed it does not read this.
    let mut stdout = std::io::stdout();
    let _printed = write!(stdout, "{shown}").and_then(|()| stdout.flush());
    // All money here is made up, so nothing is worth a wait that a person does not want.
    let told_again = async {
        lifecycle.reached(Stage::Leaving).await;
        let running = lifecycle.running();
        if running > 0 {
            let exchanges = if running == 1 {
                "exchange"
            } else {
                "exchanges"
            };
            let _printed = writeln!(
                std::io::stdout(),
                "\nwaiting for {running} {exchanges}; Ctrl-C again ends it now"
            );
        }
        again.notified().await;
    };
    let mut running = Box::pin(server.run());
    tokio::select! {
        ended = &mut running => { ended.map_err(|_told| Exit::Internal)?; }
        // Not dropped: Pingora takes a dropped watch for an error and says so. The process ends.
        () = told_again => mem::forget(running),
    }
    let _printed = writeln!(
        stdout,
        "\nstopped after {} requests to the emulated Ingo",
        emulator.received()
    );
    Ok(())
}

/// A port that is taken, in nearly all cases.
fn refused(error: impl Display) -> Exit {
    complain(&format_args!(
        "{error} (the demonstration's addresses are set by --listen, --health-listen, --admin-listen, --emulator-listen and --control-listen; port 0 lets the system choose)"
    ));
    Exit::System
}

fn sources(args: &DemoArgs, gateway: SocketAddr) -> Sources {
    let flag = |key, name, value: String| Flag { key, name, value };
    Sources {
        file: None,
        environment: Vec::new(),
        flags: vec![
            flag(
                "listeners.proxy.address",
                "--listen",
                args.listen.to_string(),
            ),
            flag(
                "listeners.health.address",
                "--health-listen",
                args.health_listen.to_string(),
            ),
            flag(
                "listeners.admin.address",
                "--admin-listen",
                args.admin_listen.to_string(),
            ),
            flag(
                "upstream.url",
                "the demonstration",
                format!("http://{gateway}"),
            ),
            flag("routes", "the demonstration", ROUTES.to_owned()),
            flag(
                "credentials.username",
                "the demonstration",
                USERNAME.to_owned(),
            ),
            // Never read: the secret is made up in memory.
            flag(
                "credentials.secret_env",
                "the demonstration",
                "MADE_UP".to_owned(),
            ),
        ],
    }
}

/// What is printed: what runs, and lines that work as pasted.
struct Shown {
    proxy: String,
    health: String,
    admin: String,
    emulator: String,
    control: String,
}

/// A body that Create Session accepts.
const SESSION: &str = r#"{"participant_unique_id1":"demo-1","recipient_information":{"first_name":"Ada","last_name":"Lovelace","address_line1":"1 Main St","city":"Atlanta","state":"GA","zip_code":"30313"}}"#;
const SESSION_PATH: &str = "/api/v1/sessions/point-in-time/plugin";

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            proxy,
            health,
            admin,
            emulator,
            control,
        } = self;
        let url = format!("http://{proxy}{SESSION_PATH}");
        write!(
            f,
            "\
the proxy           http://{proxy}    plain JSON in, signed requests to Ingo out
  health, metrics   http://{health}    /livez /readyz /metrics
  status page       http://{admin}/    for a browser on this host
an emulated Ingo    http://{emulator}    verifies every signature; made-up credentials, nothing leaves this host
  its controls      http://{control}    /faults /ledger /sessions

Create a session. Plain JSON, no headers; the answer is the emulated Ingo's:

  curl -sS -d '{SESSION}' {url}

The same twice under one key is one session: status 100, then 101 with the same session_identifier and a fresh URL:

  for i in 1 2; do curl -sS -H 'Idempotency-Key: demo-key' -d '{SESSION}' {url}; echo; done

Push money, and lose the connection after Ingo got the request: \"sent\":\"maybe\", and nothing is sent a second time:

  curl -sS -d '{{\"fault\":\"reset_after_body\",\"next\":1}}' http://{control}/faults; curl -sS -d '{{\"participant_unique_id1\":\"pay-1\",\"amount\":100}}' http://{proxy}/gateway/process

What the emulated Ingo received: curl -sS http://{control}/ledger
Ctrl-C ends it.
"
        )
    }
}
