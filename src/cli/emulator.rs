//! `emulator`: the embedded Ingo alone, for trying the proxy without credentials and for failing on demand.
//!
//! It is started by this command and by nothing else: the proxy never falls back to it.

use std::{net::SocketAddr, path::PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Threads, complain, log_lines, run_on, socket_address};
use crate::{
    config::{Address, LogFormat, SecretSource, listener_address},
    credentials::read_secret,
    emulator::{Builder, Emulator, Fault, StartError},
    ingo::contract::{Profile, origin},
    signing::is_username,
};

/// Runs the embedded stand-in for Ingo
#[derive(Debug, clap::Args)]
pub(crate) struct EmulatorArgs {
    /// Where Ingo's gateway is emulated: IP:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8647", value_parser = socket_address)]
    listen: SocketAddr,
    /// Username whose signatures are accepted
    #[arg(long, value_name = "U", value_parser = username)]
    username: String,
    /// File with the shared secret; one trailing newline is dropped
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Control endpoint for faults and the ledger: loopback IP:PORT, unix:/path, or off
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9647", value_parser = control)]
    control_listen: ControlListen,
    /// Fault to begin with, such as reset_after_body,next=3; can be given several times
    #[arg(long, value_name = "SPEC", value_parser = fault)]
    fault: Vec<Fault>,
    /// Origin (scheme and host) that host_uri may name; can be given several times [default: any]
    #[arg(long, value_name = "ORIGIN", value_parser = host_uri)]
    allow_host_uri: Vec<String>,
    /// HTTP status of a refused signature: 401, or 403 as older versions of Kong
    #[arg(long, value_name = "STATUS", default_value_t = 401, value_parser = refusal_status)]
    refusal_status: u16,
    /// HTTP status of bodies that report an error; Ingo's is undocumented
    #[arg(long, value_name = "STATUS", default_value_t = 400, value_parser = error_status)]
    error_status: u16,
    /// Which of Ingo's documents the fields of Create Session are checked by: newer or older
    #[arg(long, value_name = "PROFILE", default_value = "newer", value_parser = profile)]
    validation_profile: Profile,
    /// json or pretty [default: pretty on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    log_format: Option<LogFormat>,
}

/// Where the control endpoint listens, if anywhere.
#[derive(Clone, Debug)]
enum ControlListen {
    Off,
    At(Address),
}

pub(super) fn run(args: EmulatorArgs) -> Exit {
    let secret = match read_secret(&SecretSource::File(args.secret_file)) {
        Ok(secret) => secret,
        Err(error) => {
            complain(&error);
            return Exit::Config;
        }
    };
    let _logging = match log_lines(args.log_format, "info") {
        Ok(logging) => logging,
        Err(exit) => return exit,
    };
    let mut builder = Emulator::builder(&args.username, secret)
        .listen(args.listen)
        .refusal_status(args.refusal_status)
        .error_status(args.error_status)
        .profile(args.validation_profile);
    if let ControlListen::At(address) = args.control_listen {
        builder = builder.control(address);
    }
    if !args.allow_host_uri.is_empty() {
        builder = builder.allowed_hosts(args.allow_host_uri);
    }
    builder = args.fault.into_iter().fold(builder, Builder::fault);

    run_on(Threads::OnePerCore, serve(builder))
}

async fn serve(builder: Builder) -> Exit {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        complain(&"the system refused to deliver signals");
        return Exit::System;
    };
    let emulator = match builder.start().await {
        Ok(emulator) => emulator,
        Err(error) => {
            complain(&error);
            return match error {
                StartError::Gateway(..) | StartError::Control(_) => Exit::System,
                StartError::ControlExposed(_) | StartError::Fault(_) => Exit::Usage,
            };
        }
    };
    // From these lines scripts and tests learn the port where 0 was asked for.
    let addresses = emulator.addresses();
    tracing::info!(listener = "emulator", address = %addresses.gateway, "listening");
    if let Some(control) = &addresses.control {
        tracing::info!(listener = "control", address = %control, "listening");
    }
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, received = emulator.received(), "stopped");
    Exit::Well
}

fn username(text: &str) -> Result<String, &'static str> {
    is_username(text)
        .then(|| text.to_owned())
        .ok_or("a username is visible ASCII without \" and \\")
}

fn fault(text: &str) -> Result<Fault, String> {
    text.parse()
        .map_err(|error: crate::emulator::FaultError| error.to_string())
}

fn control(text: &str) -> Result<ControlListen, String> {
    match listener_address(text)? {
        None => Ok(ControlListen::Off),
        Some(address @ Address::Tcp(_)) if !address.is_loopback_ip() => Err(
            "whoever reaches the control endpoint can arm faults: it must be on loopback or a Unix socket"
                .to_owned(),
        ),
        Some(address) => Ok(ControlListen::At(address)),
    }
}

fn host_uri(text: &str) -> Result<String, &'static str> {
    let well = origin(text).is_some();
    well.then(|| text.to_owned())
        .ok_or("write a scheme and a host, such as https://www.example.com")
}

/// Of those that an answer may have, the ones with which no body may come (RFC 9110 §6.4.1, §15.3.6) report nothing.
fn error_status(text: &str) -> Result<u16, &'static str> {
    let status = text.parse().ok();
    status
        .filter(|status| matches!(status, 200..=599) && !matches!(status, 204 | 205 | 304))
        .ok_or("write a status with which a body comes, from 200 to 599")
}

fn refusal_status(text: &str) -> Result<u16, &'static str> {
    match text {
        "401" => Ok(401),
        "403" => Ok(403),
        _ => Err("Kong refuses with 401, older versions with 403"),
    }
}

fn profile(text: &str) -> Result<Profile, &'static str> {
    Profile::from_name(text).ok_or("write newer or older: which of Ingo's documents is gone by")
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("write json or pretty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_endpoint_is_local_or_off() {
        for good in ["127.0.0.1:0", "[::1]:9", "unix:/run/control.sock", "off"] {
            assert!(control(good).is_ok(), "{good}");
        }
        for bad in [
            "0.0.0.0:1",
            "10.0.0.1:1",
            "localhost:1",
            "unix:relative",
            "",
        ] {
            assert!(control(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_that_cannot_be_read_is_told_of() {
        assert!(fault("reset_after_body,next=3").is_ok());
        assert!(fault("reset_everything").is_err_and(|why| why.contains("reset_after_body")));
    }
}
