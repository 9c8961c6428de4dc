//! A Prometheus on a port that the system chooses.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Process, process::is_installed};

/// Prometheus scrapes every second here, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus. It is killed when dropped.
pub(crate) struct Prometheus {
    process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

/// Whether a program is there; says aloud where it is not.
pub(crate) fn is_there(program: &str) -> bool {
    let there = is_installed(program, &["--version"]);
    if !there {
        eprintln!("SKIPPED: {program} is not installed (make test-all as root installs it)");
    }
    there
}

impl Prometheus {
    /// Scrapes `target` each second as the job that the rules and the dashboard expect, and evaluates the rules.
    pub(crate) fn scraping(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/observability/alerts.yaml"
        );
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n- job_name: ingo-signing-proxy\n  static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        let file = directory.path().join("prometheus.yaml");
        std::fs::write(&file, config).unwrap();
        // It does not say which port it was given, so one is chosen for it and given back.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let prometheus = Self {
            process: Process::start(command, b""),
            address,
            _directory: directory,
        };
        prometheus.until("it is ready", |p| {
            p.ask("/-/ready").is_some_and(|(status, _)| status == 200)
        });
        prometheus
    }

    /// Asks until it is so; fails when that takes too long.
    pub(crate) fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(
                Instant::now() < until,
                "{what} should have become true:\n{}",
                String::from_utf8_lossy(&self.process.output())
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What an expression comes to now: its samples.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        let (_, body) = self
            .ask(&format!("/api/v1/query?query={encoded}"))
            .ok_or("no answer")?;
        if body["status"] != "success" {
            return Err(body["error"].to_string());
        }
        Ok(body["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// The value of an expression of one sample.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let samples = self.query(expression).unwrap();
        samples.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Every rule that it evaluates.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let (_, body) = self.ask("/api/v1/rules").unwrap();
        let groups = body["data"]["groups"].as_array().unwrap();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules.cloned().collect()
    }

    fn ask(&self, path: &str) -> Option<(u16, Value)> {
        let mut client = Client::try_connect(self.address).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.try_send(request.as_bytes()).ok()?;
        let answer = client.try_answer("GET").ok()?;
        Some((
            answer.status,
            serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        ))
    }
}
