//! `demo`, tried as a newcomer would: start it, paste every line it prints, read the answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// A running demonstration on ports of the system's choice, and what it printed.
struct Demo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    printed: String,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
        command.arg("demo").env_clear();
        for listener in [
            "--listen",
            "--health-listen",
            "--emulator-listen",
            "--control-listen",
        ] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.ends_with("Ctrl-C ends it.\n") {
            assert!(
                stdout.read_line(&mut printed).unwrap() > 0,
                "it ended after: {printed}"
            );
        }
        Self {
            child,
            stdout,
            printed,
        }
    }

    /// The lines to paste.
    fn commands(&self) -> Vec<String> {
        self.printed
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|l| l.starts_with("curl") || l.starts_with("for "))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(
        output.status.success(),
        "{line}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED: curl is not installed, so the printed lines were not pasted");
    }
    found
}

#[test]
fn every_printed_line_works_as_pasted_and_ctrl_c_ends_it_cleanly() {
    let mut demo = Demo::start();
    let commands = demo.commands();
    assert_eq!(commands.len(), 3, "{}", demo.printed);
    if has_curl() {
        let created = paste(&commands[0]);
        assert!(created.contains(r#""status":100"#), "{created}");
        let twice = paste(&commands[1]);
        let sessions: Vec<_> = twice
            .split(r#""session_identifier":""#)
            .skip(1)
            .map(|s| &s[..36])
            .collect();
        assert!(
            twice.contains(r#""status":100"#) && twice.contains(r#""status":101"#),
            "{twice}"
        );
        assert!(sessions.len() == 2 && sessions[0] == sessions[1], "{twice}");
        let lost = paste(&commands[2]);
        assert!(
            lost.contains(r#""code":"upstream_reset""#) && lost.contains(r#""sent":"maybe""#),
            "{lost}"
        );
        let ledger = demo
            .printed
            .lines()
            .find_map(|l| l.strip_prefix("What the emulated Ingo received: "))
            .unwrap();
        assert!(
            paste(ledger).contains(r#""count":4"#),
            "one request each, and nothing twice"
        );
    }

    let pid = demo.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    demo.stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("\nstopped after "), "{rest}");
    let patience = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = demo.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < patience, "it did not end");
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_second_ctrl_c_ends_it_without_waiting_for_what_runs() {
    let mut demo = Demo::start();
    let address = demo
        .printed
        .lines()
        .find_map(|l| l.strip_prefix("the proxy           http://"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap();
    let mut caller = TcpStream::connect(address).unwrap();
    // It has begun, and its body never comes: it would be waited for until its deadline.
    let head = format!(
        "POST /api/v1/sessions/point-in-time/plugin HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    caller.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 12];
    caller.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");

    let pid = demo.child.id().to_string();
    let interrupt = || {
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
    };
    let began = Instant::now();
    interrupt();
    let mut told = String::new();
    demo.stdout.read_line(&mut told).unwrap();
    demo.stdout.read_line(&mut told).unwrap();
    assert_eq!(told, "\nwaiting for 1 exchange; Ctrl-C again ends it now\n");
    interrupt();
    let mut rest = String::new();
    demo.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "\nstopped after 0 requests to the emulated Ingo\n");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "it was waited for"
    );
}

#[test]
fn it_stays_on_this_host() {
    let refused = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
        .args(["demo", "--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("0.0.0.0:0 is no loopback address"), "{told}");
}

#[test]
fn two_listeners_at_one_address_are_wrong_usage() {
    let refused = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
        .args([
            "demo",
            "--emulator-listen",
            "127.0.0.1:0",
            "--control-listen",
            "127.0.0.1:0",
        ])
        .args(["--listen", "127.0.0.1:1", "--health-listen", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("--health-listen"), "{told}");
}
