//! The command line: one file per command, and what they have in common.
//!
//! Every message for people goes to standard error, begins with the program's name and holds no secret. Exit statuses are
//! public API (product.md).

mod check;
mod completions;
mod demo;
mod doctor;
mod emulator;
mod man;
mod serve;
mod sign;
mod sources;
mod unresolved;
mod verify;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    panic,
    process::ExitCode,
    time::SystemTime,
};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    config::LogFormat,
    secret::keep_out_of_core_dumps,
    telemetry::logging::{self, Logging, LoggingError},
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Well.
    Well,
    /// The thing checked is not well.
    NotWell,
    /// The command was used wrongly (`EX_USAGE`).
    Usage,
    /// A fault of ours (`EX_SOFTWARE`).
    Internal,
    /// The system refused something, such as a port that is taken (`EX_OSERR`).
    System,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::NotWell => 1,
            Exit::Usage => 64,
            Exit::Internal => 70,
            Exit::System => 71,
            Exit::Config => 78,
        })
    }
}

/// Signs plain JSON requests for Ingo Payments and forwards them
#[derive(Debug, Parser)]
#[command(name = "ingo-signing-proxy", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the proxy
    Serve(serve::ServeArgs),
    /// Runs the proxy and an emulated Ingo on loopback, with made-up credentials
    Demo(demo::DemoArgs),
    /// Validates a configuration and prints the effective one, each value with where it came from
    Check(check::CheckArgs),
    /// Prints completions for a shell
    Completions(completions::CompletionsArgs),
    /// Looks at the way to Ingo step by step and says what to do about what is wrong
    Doctor(doctor::DoctorArgs),
    /// Runs the embedded stand-in for Ingo
    Emulator(emulator::EmulatorArgs),
    /// Prints the manual page, or writes the pages of all commands
    Man(man::ManArgs),
    /// Signs a body from standard input offline and prints the five headers
    Sign(sign::SignArgs),
    /// Lists the money exchanges that a journal began and never ended
    Unresolved(unresolved::UnresolvedArgs),
    /// Says whether Ingo would accept a captured request, and if not exactly which part is wrong
    Verify(verify::VerifyArgs),
}

impl Command {
    /// Whether secrets are in memory while it runs.
    fn reads_secrets(&self) -> bool {
        match self {
            Self::Serve(_)
            | Self::Demo(_)
            | Self::Doctor(_)
            | Self::Emulator(_)
            | Self::Sign(_)
            | Self::Verify(_) => true,
            Self::Check(_) | Self::Completions(_) | Self::Man(_) | Self::Unresolved(_) => false,
        }
    }
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are what was asked for; where they cannot be printed, nothing can.
            let _printed = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Well,
                _ => Exit::Usage,
            }
            .into();
        }
    };
    // A panic has been told of by the panic hook; what is left is the status that says whose fault it was.
    panic::catch_unwind(|| dispatch(cli))
        .unwrap_or(Exit::Internal)
        .into()
}

fn dispatch(cli: Cli) -> Exit {
    if cli.command.reads_secrets() {
        keep_out_of_core_dumps();
    }
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Emulator(args) => emulator::run(args),
        Command::Man(args) => man::run(&args),
        Command::Sign(args) => sign(args),
        Command::Unresolved(args) => unresolved::run(&args),
        Command::Verify(args) => verify::run(&args, SystemTime::now()),
    }
}

fn sign(args: sign::SignArgs) -> Exit {
    let streams = (io::stdin().lock(), io::stdout().lock());
    match sign::run(args, SystemTime::now(), streams.0, streams.1) {
        Ok(()) => Exit::Well,
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

/// Which threads a command runs on.
enum Threads {
    /// This one; the server starts what else it needs.
    This,
    /// One per core.
    OnePerCore,
}

/// Runs what a command does until it ends: on this thread, or on one per core that share the work.
///
/// What still runs then is not waited for: an exchange had its time to end, and what the emulator delays has nobody who
/// waits for it.
fn run_on(threads: Threads, doing: impl Future<Output = Exit>) -> Exit {
    let mut builder = match threads {
        Threads::This => tokio::runtime::Builder::new_current_thread(),
        Threads::OnePerCore => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("the system refused worker threads: {error}"));
            return Exit::System;
        }
    };
    let exit = runtime.block_on(doing);
    runtime.shutdown_background();
    exit
}

/// Prints what was asked for, and answers `exit`. Whoever reads only the first lines, as `head` does, is not told that something
/// failed; where it cannot be written, that is said, and a status that would be a good one is none.
fn print(text: &str, exit: Exit) -> Exit {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes());
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format_args!("cannot write the result: {error}"));
            if exit == Exit::Well {
                Exit::System
            } else {
                exit
            }
        }
        _ => exit,
    }
}

/// Starts logging, at `level` where `RUST_LOG` says nothing.
///
/// # Errors
/// How the command ends, having said why.
fn log_lines(format: Option<LogFormat>, level: &'static str) -> Result<Logging, Exit> {
    let logging = logging::start(format, level).map_err(|error| {
        complain(&error);
        match error {
            LoggingError::Levels => Exit::Config,
            LoggingError::Thread(_) => Exit::System,
        }
    })?;
    if logging.is_for_others {
        complain(
            &"RUST_LOG names nothing of this program, so it logs nothing; add a level such as info, or off",
        );
    }
    Ok(logging)
}

/// Reads an address that can be nothing but IP:PORT.
fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write IP:PORT such as 127.0.0.1:0, where the IP is no name and port 0 lets the system choose")
}

/// Tells a person what is wrong.
fn complain(what: &dyn fmt::Display) {
    // Where standard error is closed there is nobody to tell; the exit status still says it.
    let _told = writeln!(io::stderr(), "ingo-signing-proxy: {what}");
}
