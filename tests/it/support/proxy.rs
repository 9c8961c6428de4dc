//! The real binary, started as a user starts it, on ports that the system chooses.
//!
//! It is ready when it has said so in its log. Whatever it printed until it ended must not hold its secret: this is
//! checked for every proxy that a test starts, without the test asking for it.

use std::{
    collections::HashMap, ffi::OsString, net::SocketAddr, path::PathBuf, process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Answer, Client, Ended, Metrics, PATIENCE, Post, Process, SECRET, USERNAME, Upstream, contains,
};

/// A running proxy. It is killed when dropped.
pub struct Proxy {
    process: Option<Process>,
    addresses: HashMap<String, String>,
    secret: Vec<u8>,
    /// Holds the files that the proxy was given.
    _directory: TempDir,
}

/// A proxy to be started.
pub struct Builder {
    directory: TempDir,
    listen: Option<String>,
    health: Option<String>,
    upstream: Option<String>,
    username: Option<String>,
    secret: Option<Vec<u8>>,
    log_format: Option<&'static str>,
    yaml: Option<String>,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    empty_environment: bool,
    one_attempt: bool,
}

impl Proxy {
    /// One that sends all routes to `upstream`, with everything else as it is by default.
    pub fn to(upstream: &Upstream) -> Builder {
        Self::to_url(&upstream.url())
    }

    /// The same by URL.
    pub fn to_url(url: &str) -> Builder {
        Builder {
            directory: tempfile::tempdir().expect("a temporary directory"),
            listen: Some("127.0.0.1:0".to_owned()),
            health: Some("127.0.0.1:0".to_owned()),
            upstream: Some(url.to_owned()),
            username: Some(USERNAME.to_owned()),
            secret: Some(SECRET.to_vec()),
            log_format: Some("json"),
            yaml: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            empty_environment: false,
            one_attempt: true,
        }
    }

    /// A new connection of a caller.
    pub fn client(&self) -> Client {
        Client::connect(self.address("proxy"))
    }

    /// Sends one request on a connection of its own.
    pub fn post(&self, post: &Post) -> Answer {
        self.client().post(post)
    }

    /// Asks the health listener.
    pub fn health(&self, path: &str) -> Answer {
        Client::connect(self.address("health")).get(path)
    }

    /// Asks the admin listener.
    pub fn admin(&self, path: &str) -> Answer {
        Client::connect(self.address("admin")).get(path)
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Metrics {
        let answer = self.health("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::read(&answer.text())
    }

    /// Asks for the metrics again and again until they are as `expected`; fails when that takes too long.
    pub fn metrics_become(&self, expected: impl Fn(&Metrics) -> bool) -> Metrics {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if expected(&metrics) {
                return metrics;
            }
            assert!(
                std::time::Instant::now() < until,
                "the metrics never became what they should:\n{}",
                metrics.text()
            );
        }
    }

    /// Asks `/readyz` again and again until it answers with `status`.
    pub fn readyz_becomes(&self, status: u16) -> Answer {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.health("/readyz");
            if answer.status == status {
                return answer;
            }
            assert!(
                std::time::Instant::now() < until,
                "readyz never became {status}: {}",
                answer.text()
            );
        }
    }

    /// The TCP address of a listener: `proxy`, `health` or `admin`.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].parse().expect("an address")
    }

    /// The address of a listener as it was logged.
    pub fn announced(&self, listener: &str) -> &str {
        &self.addresses[listener]
    }

    /// All output so far.
    pub fn output(&self) -> Vec<u8> {
        self.process().output()
    }

    /// Waits until `count` access lines have been written, and gives all that have.
    pub fn access_lines(&self, count: usize) -> Vec<Value> {
        let found = self.process().wait_until(PATIENCE, |lines| {
            let lines = access_lines(lines);
            (lines.len() >= count).then_some(lines)
        });
        found.unwrap_or_else(|output| {
            panic!("{count} access lines should have been written:\n{output}")
        })
    }

    /// Waits until `count` lines whose message begins with `message` have been written, and gives the last of them.
    pub fn told(&self, message: &str, count: usize) -> Value {
        let found = self.process().wait_until(PATIENCE, |lines| {
            json_lines(lines)
                .filter(|line| {
                    line["message"]
                        .as_str()
                        .is_some_and(|m| m.starts_with(message))
                })
                .nth(count - 1)
        });
        found.unwrap_or_else(|output| {
            panic!("{count} lines should have begun with {message:?}:\n{output}")
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        self.process().signal(name);
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let process = self.process.take().expect("there until the end");
        let ended = process.end(Duration::from_secs(20));
        self.holds_no_secret(ended.output().as_bytes());
        ended
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> Ended {
        self.signal("TERM");
        self.end()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("there until the end")
    }

    fn holds_no_secret(&self, output: &[u8]) {
        // A secret of a few bytes may stand in a line by chance.
        assert!(
            self.secret.len() < 8 || !contains(output, &self.secret),
            "the secret was printed:\n{}",
            String::from_utf8_lossy(output)
        );
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let output = process.output();
            if std::thread::panicking() {
                // Shown by the test harness beside what failed; of ten thousand lines only the last.
                let last = &output[output.len().saturating_sub(32 * 1024)..];
                println!("the proxy printed:\n{}", String::from_utf8_lossy(last));
            } else {
                self.holds_no_secret(&output);
            }
        }
    }
}

impl Builder {
    /// A directory for sockets and files, there as long as the proxy is.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// Another proxy listener; `None` leaves the flag out.
    pub fn listen(mut self, address: Option<&str>) -> Self {
        self.listen = address.map(str::to_owned);
        self
    }

    /// Another health listener; `None` leaves the flag out.
    pub fn health(mut self, address: Option<&str>) -> Self {
        self.health = address.map(str::to_owned);
        self
    }

    /// With an admin listener.
    pub fn admin(self) -> Self {
        self.argument("--admin-listen").argument("127.0.0.1:0")
    }

    /// Another upstream; `None` leaves the flag out.
    pub fn upstream(mut self, url: Option<&str>) -> Self {
        self.upstream = url.map(str::to_owned);
        self
    }

    /// Another username; `None` leaves the flag out.
    pub fn username(mut self, name: Option<&str>) -> Self {
        self.username = name.map(str::to_owned);
        self
    }

    /// Another content of the secret file; `None` leaves the flag out.
    pub fn secret_file(mut self, content: Option<&[u8]>) -> Self {
        self.secret = content.map(<[u8]>::to_vec);
        self
    }

    /// With a configuration file of this content.
    pub fn yaml(mut self, content: &str) -> Self {
        self.yaml = Some(content.to_owned());
        self
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the repeats it makes by default. Without this a test sees one attempt, so that it can count what came up.
    pub fn repeating(mut self) -> Self {
        self.one_attempt = false;
        self
    }

    /// With nothing in its environment.
    pub fn empty_environment(mut self) -> Self {
        self.empty_environment = true;
        self
    }

    /// Starts it with log lines for people, in which its listeners are not announced in a form that can be read.
    /// The directory goes when the second value does.
    pub fn pretty(mut self) -> (Process, TempDir) {
        self.log_format = Some("pretty");
        (Process::start(self.command(), b""), self.directory)
    }

    /// Starts it and waits until all its listeners are announced.
    pub fn start(self) -> Proxy {
        let expected = 2 + usize::from(self.arguments.iter().any(|a| a == "--admin-listen"));
        let secret = self.secret.clone().unwrap_or_default();
        let process = Process::start(self.command(), b"");
        let addresses = process
            .wait_until(PATIENCE, |lines| {
                let listening = listening(lines);
                (listening.len() == expected).then_some(listening)
            })
            .unwrap_or_else(|output| {
                panic!("the proxy should have said where it listens:\n{output}")
            });
        Proxy {
            process: Some(process),
            addresses,
            secret,
            _directory: self.directory,
        }
    }

    /// Starts it and waits for its end, which comes by itself because it cannot run.
    pub fn fails(self) -> Ended {
        let ended = Process::start(self.command(), b"").end(PATIENCE);
        let output = ended.output();
        assert!(!output.contains("panicked"), "it panicked:\n{output}");
        if let Some(secret) = self.secret.filter(|s| s.len() >= 8) {
            assert!(
                !contains(output.as_bytes(), &secret),
                "the secret was printed"
            );
        }
        ended
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
        command.arg("serve").current_dir(self.directory.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if self.empty_environment
                || name == "RUST_LOG"
                || name.starts_with("INGO_PROXY")
                || name.to_ascii_uppercase().ends_with("_PROXY")
            {
                command.env_remove(&*name);
            }
        }
        let flags = [
            ("--listen", &self.listen),
            ("--health-listen", &self.health),
            ("--upstream", &self.upstream),
            ("--username", &self.username),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                command.arg(flag).arg(value);
            }
        }
        if let Some(secret) = &self.secret {
            let file = self.write("secret", secret);
            command.arg("--secret-file").arg(file);
        }
        if let Some(format) = self.log_format {
            command.arg("--log-format").arg(format);
        }
        if let Some(yaml) = &self.yaml {
            let file = self.write("config.yaml", yaml.as_bytes());
            command.arg("--config").arg(file);
        }
        command.args(&self.arguments);
        if self.one_attempt && !self.empty_environment {
            command.env("INGO_PROXY__ROUTES__CREATE_SESSION__ATTEMPTS", "1");
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.directory.path().join(name);
        std::fs::write(&file, content).expect("a temporary directory can be written to");
        file
    }
}

/// Which listener was announced at which address.
fn listening(lines: &[String]) -> HashMap<String, String> {
    json_lines(lines)
        .filter(|line| line["message"] == "listening")
        .filter_map(|line| {
            let listener = line["listener"].as_str()?.to_owned();
            Some((listener, line["address"].as_str()?.to_owned()))
        })
        .collect()
}

/// The access lines among `lines`.
pub fn access_lines(lines: &[String]) -> Vec<Value> {
    json_lines(lines)
        .filter(|line| line["message"] == "exchange")
        .collect()
}

fn json_lines(lines: &[String]) -> impl Iterator<Item = Value> {
    lines.iter().filter_map(|l| serde_json::from_str(l).ok())
}
