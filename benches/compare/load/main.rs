//! The loads that wrk does not make: one that comes when it comes, and one alone at several ports in turns.
//!
//! `load open PORT UPSTREAM_PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED`, for `compare openloop`: requests begin when they
//! are due, whether or not earlier ones were answered, and each is counted from when it was due (a closed loop asks less while it waits, and
//! so hides the worst: coordinated omission). oha and h2load send what is due in handfuls, 32 at once or all of a millisecond, so that what
//! they measure is how long a handful takes. Here one thread does everything but the proxy's part: it posts what is due, answers as the
//! upstream, reads what comes back, and never sleeps. Were there a thread to be woken on its core for each of those, what is measured would
//! mostly be how they wait for each other.
//!
//! `load alone TARGET BODY_FILE SECONDS DIRECT_PORT PORT…`, for `compare speed`: what a caller waits who is alone, on one connection to each
//! port, a few requests at each in turn. A machine that is slower for some seconds is so for all of them; a second at each would have the
//! proxies compared by what else the machine did.
//!
//! `load witness`, for `compare openloop`, on each core that is measured on and before everything else that runs there: a line for each time
//! at which the core stood still, because a hypervisor had given it to somebody else. `load open … SEED WITNESSED_FILE…` leaves out what was
//! due then, whichever way it went. Started with a timer slack of a nanosecond, as `load.py` does: otherwise Linux has each sleep last up to
//! 50 µs longer.
//!
//! One line of JSON is the answer of the others.

#![allow(clippy::print_stderr, reason = "it is a program for a terminal")]

mod alone;
mod messages;
mod open;
mod witness;

use std::{env, fs, net::TcpStream, process::ExitCode};

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    match arguments.split_first() {
        Some((what, rest)) if what == "open" => open::open_loop(rest),
        Some((what, rest)) if what == "alone" => alone::alone(rest),
        Some((what, [])) if what == "witness" => witness::witness(),
        _ => Err("load open …, load alone …, or load witness".into()),
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| *n > 0.0);
    number.ok_or_else(|| format!("{text} is no number above zero"))
}

/// A request that posts the body that is in a file.
fn request(target: &str, body: &str) -> Result<Vec<u8>, String> {
    let body = fs::read(body).map_err(|error| format!("{body}: {error}"))?;
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

fn connected(port: &str) -> Result<TcpStream, String> {
    let open = || {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    open().map_err(|error: std::io::Error| format!("port {port}: {error}"))
}
