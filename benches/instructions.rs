//! Does one thing a given number of times, for counting its instructions: `benches/instructions.py` runs it under callgrind.
//!
//! `instructions WHAT BYTES TIMES`. `exchange` runs the very command `serve`, with logs, metrics and all, on a loopback port. The
//! upstream's threads and the caller's are the first to be started: by that, what they do is told from what the proxy does.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a measurement that cannot go on is none"
)]

mod support;

use std::{
    env, fs,
    hint::black_box,
    net::TcpListener,
    process::{ExitCode, exit},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use ingo_signing_proxy::{
    cli,
    ingo::Class,
    retry::{Attempted, Backoff, Ended, Policy, Remedied, decide},
    secret::Secret,
    signing::{
        Sha512,
        verify::{Captured, verify},
    },
};
use sha2::Digest as _;

fn main() -> ExitCode {
    // Cargo adds --bench.
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let [what, bytes, times] = arguments.as_slice() else {
        eprintln!("this counts instructions: run benches/instructions.py");
        return ExitCode::from(64);
    };
    let (bytes, times) = (bytes.parse().unwrap(), times.parse().unwrap());
    match what.as_str() {
        "sign" => sign(bytes, times),
        "cryptography" => cryptography(bytes, times),
        "verify" => verified(bytes, times),
        "decide" => decided(times),
        "exchange" => return exchange(bytes, times),
        other => panic!("nothing here is called {other}"),
    }
    ExitCode::SUCCESS
}

fn sign(bytes: usize, times: u32) {
    let (signer, body) = (support::signer(), support::body(bytes));
    for _ in 0..times {
        support::sign(&signer, black_box(&body), Duration::ZERO, |headers| {
            black_box(headers);
        });
    }
}

fn cryptography(bytes: usize, times: u32) {
    let mac = Hmac::<Sha512>::new_from_slice(support::SECRET).unwrap();
    let body = support::body(bytes);
    let text = support::signing_string(&body);
    for _ in 0..times {
        black_box(Sha512::digest(black_box(&body)));
        black_box(mac.clone().chain_update(black_box(&text)).finalize());
    }
}

fn verified(bytes: usize, times: u32) {
    let body = support::body(bytes);
    let secret = Secret::new(support::SECRET.to_vec());
    let captured = Captured {
        method: "POST".to_owned(),
        target: support::TARGET.as_bytes().to_vec(),
        version: "HTTP/1.1".to_owned(),
        headers: support::sign(&support::signer(), &body, Duration::ZERO, support::captured),
        body,
    };
    for _ in 0..times {
        let at = UNIX_EPOCH + support::AT;
        assert!(verify(black_box(&captured), &secret, Some("bench"), at).accepted);
    }
}

fn decided(times: u32) {
    let policy = Policy {
        attempts: 3,
        money_after_write: false,
        backoff: Backoff {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        },
    };
    let attempted = Attempted {
        class: Class::KeyedByHeader,
        ended: Ended::Unanswered,
        attempts: 1,
        remedied: Remedied::default(),
        time_left: Duration::from_secs(29),
        affordable: true,
        fraction: 0.5,
    };
    for _ in 0..times {
        black_box(decide(black_box(&policy), black_box(&attempted)));
    }
}

/// Ends the process when all exchanges are made.
fn exchange(bytes: usize, times: u32) -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, support::SECRET).unwrap();
    let upstream = support::upstream();
    // Free a moment ago: `serve` says on standard output only which port it took, and that is for log lines.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let listen = listen.unwrap();
    thread::spawn(move || {
        let mut caller = support::Caller::connect(listen, &support::body(bytes));
        for _ in 0..times {
            caller.exchange();
        }
        exit(0);
    });
    let arguments = [
        "ingo-signing-proxy".to_owned(),
        "serve".to_owned(),
        format!("--listen={listen}"),
        "--health-listen=127.0.0.1:0".to_owned(),
        format!("--upstream=http://{upstream}"),
        "--username=bench".to_owned(),
        format!("--secret-file={}", secret.display()),
        "--threads=1".to_owned(),
        "--log-format=json".to_owned(),
    ];
    let ended = cli::run(arguments.map(Into::into));
    eprintln!("the proxy ended before its exchanges were made");
    match ended {
        ExitCode::SUCCESS => ExitCode::FAILURE,
        other => other,
    }
}
