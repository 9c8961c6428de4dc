//! The command: what it prints, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::SystemTime,
};

use serde_json::Value;

use crate::client::{Client, Request, SECRET, SESSION, SESSIONS, USERNAME};

struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    _directory: tempfile::TempDir,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    command
        .arg("emulator")
        .args(arguments)
        .env_remove("RUST_LOG");
    command
}

fn secret_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(SECRET).expect("written");
    file.write_all(b"\n").expect("written");
    (directory, path)
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let (directory, secret) = secret_file();
        let secret = secret.to_str().expect("UTF-8");
        let mut child = command(&[
            "--listen",
            "127.0.0.1:0",
            "--username",
            USERNAME,
            "--secret-file",
            secret,
        ])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            lines,
            _directory: directory,
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// The address of the next listener that is announced.
    fn address(&mut self, listener: &str) -> SocketAddr {
        let line = self.line();
        assert_eq!(
            (&line["message"], &line["listener"]),
            (&"listening".into(), &listener.into())
        );
        let address = line["address"].as_str().expect("text");
        address.parse().expect("an address")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its end is what some tests wait for; where they fail before, nothing is left behind.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

#[tokio::test]
async fn it_prints_where_it_listens_logs_each_request_and_ends_on_signals() {
    for signal in ["TERM", "INT"] {
        let mut running = Running::start(&[
            "--control-listen",
            "127.0.0.1:0",
            "--fault",
            "status_503",
            "--log-format",
            "json",
        ]);
        let gateway = running.address("emulator");
        let control = running.address("control");
        assert_ne!(gateway, control);

        let body = br#"{"participant_unique_id1":"a"}"#;
        let request = Request::signed_at("/gateway/process", body, SystemTime::now());
        let mut client = Client::connect(gateway).await;
        let first = client.call(&request).await.expect("an answer");
        assert_eq!(first.status, 503);
        let second = client.call(&request).await.expect("an answer");
        assert_eq!(second.json()["status"], 100);

        let line = running.line();
        assert_eq!(line["message"], "received");
        assert_eq!(
            (&line["fault"], &line["http_status"]),
            (&"status_503".into(), &503.into())
        );
        let line = running.line();
        assert_eq!(
            (&line["verified"], &line["processed"]),
            (&true.into(), &true.into())
        );
        assert_eq!(
            (&line["route"], &line["identifying_value"]),
            (&"process".into(), &"a".into())
        );
        assert!(line.get("fault").is_none());

        let pid = running.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill").success());
        let status = running.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}");
        let line = running.line();
        assert_eq!(
            (&line["message"], &line["received"]),
            (&"stopped".into(), &2.into())
        );
    }
}

#[tokio::test]
async fn it_goes_by_the_older_document_where_it_is_told_to() {
    let older = ["--control-listen", "off", "--validation-profile", "older"];
    let mut running = Running::start(&older);
    let gateway = running.address("emulator");
    let request = Request::signed_at(SESSIONS, SESSION.as_bytes(), SystemTime::now());
    let mut client = Client::connect(gateway).await;
    let answer = client.call(&request).await.expect("an answer");
    assert_eq!(answer.json()["status"], 13400);
}

#[test]
fn wrong_usage_is_64_a_missing_secret_78_and_a_taken_port_71() {
    let (_directory, secret) = secret_file();
    let secret = secret.to_str().expect("UTF-8");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let well = [
        "--listen",
        "127.0.0.1:0",
        "--username",
        "u",
        "--secret-file",
        secret,
    ];
    let with = |more: &[&'static str]| [&well[..], more].concat();
    for (arguments, status) in [
        (vec![], 64),
        (vec!["--username", "u"], 64),
        (with(&["--fault", "nonsense"]), 64),
        (with(&["--control-listen", "0.0.0.0:0"]), 64),
        (with(&["--refusal-status", "500"]), 64),
        (with(&["--log-format", "xml"]), 64),
        (with(&["--validation-profile", "newest"]), 64),
        (vec!["--username", "two words", "--secret-file", secret], 64),
        (
            vec!["--username", "u", "--secret-file", "/nonexistent/secret"],
            78,
        ),
        (
            vec![
                "--listen",
                &taken,
                "--username",
                "u",
                "--secret-file",
                secret,
            ],
            71,
        ),
    ] {
        let output = command(&arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(!said.contains("made up"), "{said}");
    }
}

#[test]
fn a_wrong_value_is_told_what_to_write() {
    let (_directory, secret) = secret_file();
    let secret = secret.to_str().expect("UTF-8");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let long = format!("unix:/{}", "x".repeat(200));
    for (flag, wrong, told) in [
        ("--listen", "localhost:8647", "write IP:PORT such as"),
        ("--listen", "unix:/run/ingo.sock", "write IP:PORT such as"),
        ("--control-listen", "localhost:1", "must be IP:PORT such as"),
        ("--control-listen", "unix:relative", "an absolute path"),
        ("--control-listen", &long, "of at most 96 bytes"),
        // Its answers could not be told from the next: RFC 9110 §6.4.1 lets no body follow these.
        ("--error-status", "204", "a status with which a body comes"),
        ("--error-status", "304", "a status with which a body comes"),
        ("--error-status", "199", "a status with which a body comes"),
        // No `host_uri` could ever be it.
        ("--allow-host-uri", "pay.example", "https://www.example.com"),
        (
            "--allow-host-uri",
            "https://pay.example/path",
            "https://www.example.com",
        ),
    ] {
        let mut arguments = vec!["--username", "u", "--secret-file", secret, flag, wrong];
        if flag != "--listen" {
            // Should it start, it ends.
            arguments.extend(["--listen", &taken]);
        }
        let output = command(&arguments).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flag} {wrong}: {said}");
        assert!(said.contains(told), "{flag} {wrong}: {said}");
    }
}
