//! What systemd is told (`Type=notify`): when it is ready, reloads and stops, over a socket as systemd makes one.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    place::Started,
    support::{Client, Gate, PATIENCE, Post, Process, Reply, SECRET, Upstream, session},
    systemd::{command, host, value, values, yaml},
};

/// What systemd listens on.
struct Socket {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Socket {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    /// The unit's command, which knows of it.
    fn command(&self, host: &Path) -> Command {
        let mut command = command(host);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// What is told next, in lines.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        let text = str::from_utf8(&message[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Panics unless nothing was told that was not asked for.
    fn is_silent(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 4096]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }

    /// The time of a reload that is told of.
    fn reloading(&self) -> u64 {
        let lines = self.next();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "RELOADING=1");
        let time = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        time.parse().unwrap()
    }
}

const ADMIN: &str = "listeners: {proxy: {address: '127.0.0.1:0'}, health: {address: '127.0.0.1:0'}, admin: {address: '127.0.0.1:0'}}";

/// As `yaml`, with an admin listener.
fn with_admin(upstream: &str, further: &str) -> String {
    let yaml = yaml(upstream, further);
    let (before, after) = yaml.split_once("listeners: ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    format!("{before}{ADMIN}\n{after}")
}

fn make_fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn the_unit_waits_for_the_word_of_the_program_and_for_no_other() {
    assert_eq!(value("Type"), "notify");
    // By default of the main process, which is the program itself: nothing stands before it in ExecStart.
    assert!(values("NotifyAccess").is_empty());
    assert!(value("ExecStart").starts_with("/usr/bin/ingo-signing-proxy "));
    // Nothing in src/ says WATCHDOG=1.
    assert!(values("WatchdogSec").is_empty());
    let families = value("RestrictAddressFamilies");
    assert!(families.split(' ').any(|family| family == "AF_UNIX"));
}

#[test]
fn it_says_ready_once_its_listeners_answer_and_not_before() {
    let systemd = Socket::new();
    let host = host("");
    // At a path that is known before it is there.
    let health = host.path().join("health.sock");
    let listeners = format!(
        "{{proxy: {{address: '127.0.0.1:0'}}, health: {{address: 'unix:{}'}}}}",
        health.display()
    );
    let yaml = yaml("http://127.0.0.1:1", "");
    let (before, _) = yaml.split_once("listeners: ").unwrap();
    let yaml = format!("{before}listeners: {listeners}\n");
    fs::write(host.path().join("proxy.yaml"), yaml).unwrap();
    // A start that takes as long as this test likes: its secret comes through a pipe.
    let secret = host.path().join("secret");
    make_fifo(&secret);
    let process = Process::start(systemd.command(host.path()), b"");
    let mut pipe = OpenOptions::new().write(true).open(&secret).unwrap();
    systemd.is_silent();
    pipe.write_all(SECRET).unwrap();
    drop(pipe);
    assert_eq!(systemd.next(), ["READY=1"]);
    let answer = Client::connect_unix(&health).get("/readyz");
    assert_eq!(answer.status, 200, "{}", answer.text());
    process.signal("TERM");
    assert_eq!(process.end(PATIENCE).status, Some(0));
    assert_eq!(systemd.next(), ["STOPPING=1"]);
    systemd.is_silent();
}

#[test]
fn what_does_not_start_never_says_that_it_is_ready() {
    let systemd = Socket::new();
    let wrong = host(&yaml("http://127.0.0.1:1", "no_such_key: 1\n"));
    let ended = Process::start(systemd.command(wrong.path()), b"").end(PATIENCE);
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let fine = host(&yaml("http://127.0.0.1:1", ""));
    let mut command = systemd.command(fine.path());
    let address = taken.local_addr().unwrap().to_string();
    command.args(["--listen", &address]);
    let ended = Process::start(command, b"").end(PATIENCE);
    assert_eq!(ended.status, Some(71), "{}", ended.output());
    systemd.is_silent();
}

#[test]
fn it_says_that_it_stops_while_exchanges_in_flight_still_finish() {
    for quit in [false, true] {
        let systemd = Socket::new();
        let gate = Gate::closed();
        let holding = gate.clone();
        let upstream =
            Upstream::scripted(move |r| Reply::session(&r.participant()).held_by(&holding));
        let host = host(&with_admin(&upstream.url(), ""));
        let started = Started::run(systemd.command(host.path()), 3);
        assert_eq!(systemd.next(), ["READY=1"]);
        let mut client = Client::connect(started.reachable("proxy"));
        client.send(&Post::new(session("p")).bytes());
        upstream.wait_for(1);
        systemd.is_silent();
        if quit {
            let mut admin = Client::connect(started.reachable("admin"));
            let answer = admin.post(&Post::new("").to("/quitquitquit"));
            assert_eq!(answer.status, 200);
        } else {
            started.process.signal("TERM");
        }
        // The exchange cannot have ended: nobody has opened the gate.
        assert_eq!(systemd.next(), ["STOPPING=1"]);
        gate.open();
        assert_eq!(client.answer("POST").status, 200);
        assert_eq!(started.end().status, Some(0));
        systemd.is_silent();
    }
}

#[test]
fn a_reload_is_told_of_when_it_begins_and_when_it_is_over_also_where_it_is_refused() {
    let systemd = Socket::new();
    let host = host(&with_admin("http://127.0.0.1:1", ""));
    let started = Started::run(systemd.command(host.path()), 3);
    assert_eq!(systemd.next(), ["READY=1"]);
    let in_use = || {
        let mut admin = Client::connect(started.reachable("admin"));
        admin.get("/config").text()
    };
    let reload = |yaml: String| {
        fs::write(host.path().join("proxy.yaml"), yaml).unwrap();
        started.process.signal("HUP");
        let began = systemd.reloading();
        assert_eq!(systemd.next(), ["READY=1"]);
        began
    };
    let taken = |wait: &str| {
        with_admin(
            "http://127.0.0.1:1",
            &format!("limits: {{queue_wait: {wait}}}\n"),
        )
    };
    let first = reload(taken("123ms"));
    // Over means in use.
    assert!(in_use().contains("123ms"), "{}", in_use());
    let second = reload(with_admin("http://127.0.0.1:1", "no_such_key: 1\n"));
    assert!(second > first, "{second}, after {first}");
    assert!(in_use().contains("123ms"), "{}", in_use());
    let third = reload(taken("124ms"));
    assert!(third > second, "{third}, after {second}");
    assert!(in_use().contains("124ms"), "{}", in_use());
    systemd.is_silent();
}

#[test]
fn a_socket_that_leads_nowhere_is_warned_of_and_keeps_nobody_from_being_served() {
    let upstream = Upstream::echoing();
    let host = host(&yaml(&upstream.url(), ""));
    let mut command = command(host.path());
    command.env("NOTIFY_SOCKET", host.path().join("no-such-socket"));
    let started = Started::run(command, 2);
    assert_eq!(started.post(&Post::new(session("p"))).status, 200);
    started.process.signal("TERM");
    let ended = started.end();
    assert_eq!(ended.status, Some(0));
    for word in ["NOTIFY_SOCKET", "READY=1", "STOPPING=1"] {
        assert!(ended.output().contains(word), "{}", ended.output());
    }
}

#[test]
fn a_socket_that_nobody_reads_holds_up_neither_the_start_nor_the_end() {
    let systemd = Socket::new();
    let upstream = Upstream::echoing();
    let host = host(&yaml(&upstream.url(), ""));
    // Filled to the brim, so that whoever writes to it waits.
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    let path = systemd.directory.path().join("notify");
    while full.send_to(b"X=1", &path).is_ok() {}
    let started = Started::run(systemd.command(host.path()), 2);
    assert_eq!(started.post(&Post::new(session("p"))).status, 200);
    started.process.signal("TERM");
    let ended = started.end();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    assert!(
        ended.output().contains("nobody reads it"),
        "{}",
        ended.output()
    );
}
