//! The command: what it asks for, what it prints, and how it ends.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    stage::{Identity, Stage, trusting},
    support::{Ended, PATIENCE, Process, SECRET, USERNAME, contains},
};

/// A `doctor` to be run.
pub struct Doctor {
    command: Command,
    secret: Vec<u8>,
}

/// What one said.
pub struct Said {
    pub ended: Ended,
    pub json: Value,
}

impl Doctor {
    /// One that looks at `url`, with the right credentials, and may send a signed request.
    pub fn of(stage: &Stage, url: &str) -> Self {
        Self::with(stage, url, USERNAME, SECRET)
    }

    pub fn with(stage: &Stage, url: &str, username: &str, secret: &[u8]) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
        Self::run_as(program, stage, url, username, secret)
    }

    /// As `command`, which runs the program.
    pub fn run_as(
        mut command: Command,
        stage: &Stage,
        url: &str,
        username: &str,
        secret: &[u8],
    ) -> Self {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("INGO_PROXY") || name.to_ascii_uppercase().ends_with("_PROXY") {
                command.env_remove(&*name);
            }
        }
        command
            .arg("doctor")
            .arg("--upstream")
            .arg(url)
            .arg("--username")
            .arg(username);
        command
            .arg("--secret-file")
            .arg(stage.file("secret", secret));
        Self {
            command,
            secret: secret.to_vec(),
        }
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// With a configuration file.
    pub fn yaml(mut self, stage: &Stage, content: &str) -> Self {
        self.command
            .arg("--config")
            .arg(stage.file("config.yaml", content));
        self
    }

    /// Runs it for people.
    pub fn run(self) -> Ended {
        let ended = Process::start(self.command, b"").end(PATIENCE);
        let output = ended.output();
        assert!(!output.contains("panicked"), "{output}");
        assert!(
            self.secret.len() < 8 || !contains(output.as_bytes(), &self.secret),
            "the secret was printed"
        );
        ended
    }

    /// Runs it for machines.
    pub fn json(self) -> Said {
        let ended = self.arguments(&["--json"]).run();
        let json =
            serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.output()));
        Said { ended, json }
    }
}

impl Said {
    fn steps(&self) -> &[Value] {
        self.json["steps"].as_array().expect("a list")
    }

    /// Panics unless nothing is wrong.
    #[track_caller]
    pub fn is_healthy(&self) {
        assert_eq!(self.json["healthy"], true, "{:#}", self.json);
        assert_eq!(self.ended.status, Some(0));
    }

    /// Panics unless exactly this step is wrong; gives its detail and remedy.
    #[track_caller]
    pub fn only_wrong(&self, step: &str) -> String {
        assert_eq!(self.json["healthy"], false, "{:#}", self.json);
        assert_eq!(self.ended.status, Some(1));
        let wrong: Vec<&Value> = self.steps().iter().filter(|s| s["ok"] == false).collect();
        assert_eq!(wrong.len(), 1, "{:#}", self.json);
        assert_eq!(wrong[0]["step"], step, "{:#}", self.json);
        let text = |key: &str| wrong[0][key].as_str().expect("a text").to_owned();
        format!("{}; {}", text("detail"), text("remedy"))
    }

    /// Panics unless there is a step of this name that is well; gives its detail.
    #[track_caller]
    pub fn well(&self, step: &str) -> String {
        let found = self
            .steps()
            .iter()
            .find(|s| s["step"] == step && s["ok"] == true);
        let found = found.unwrap_or_else(|| panic!("{step} is not well: {:#}", self.json));
        found["detail"].as_str().expect("a text").to_owned()
    }
}

#[test]
fn a_healthy_upstream_is_well_in_every_step_and_nothing_is_created_there() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let yaml = trusting(&front.authority);
    let said = Doctor::of(&stage, &front.url("localhost"))
        .yaml(&stage, &yaml)
        .arguments(&["--probe"])
        .json();
    said.is_healthy();
    for step in [
        "configuration",
        "secret",
        "resolve",
        "connect",
        "tls",
        "protocol",
        "clock",
        "credentials",
    ] {
        said.well(step);
    }
    let tls = said.well("tls");
    assert!(
        tls.starts_with("TLS 1.3; certificate for 127.0.0.1, localhost, ::1, ingo.test, issued by"),
        "{tls}"
    );
    assert!(tls.contains("expires in"), "{tls}");
    assert!(
        said.well("credentials")
            .contains("13400): nothing was created")
    );
    assert_eq!(
        stage.emulator.counts()["created"],
        0,
        "{}",
        stage.emulator.counts()
    );
    for step in said.json["steps"].as_array().unwrap() {
        let keys: Vec<_> = step.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["detail", "ok", "remedy", "step", "upstream"]);
    }
}

#[test]
fn people_are_told_the_same_in_lines() {
    let stage = Stage::new();
    let ended = Doctor::of(&stage, &stage.cleartext())
        .arguments(&["--probe"])
        .run();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let output = ended.output();
    let marks: Vec<char> = output
        .lines()
        .filter_map(|l| l.chars().next())
        .filter(|c| "✓✗–".contains(*c))
        .collect();
    assert_eq!(marks.iter().collect::<String>(), "✓✓✓✓–✓✓✓", "{output}");
    assert!(output.ends_with("\nnothing is wrong\n"), "{output}");
}

#[test]
fn without_the_flag_nothing_signed_is_sent_outside_the_sandbox() {
    let stage = Stage::new();
    let url = stage.cleartext();
    for environment in [&["--environment", "production"][..], &[]] {
        let said = Doctor::of(&stage, &url).arguments(environment).json();
        said.is_healthy();
    }
    let posts = || stage.emulator.ledger().len();
    let before = posts();
    Doctor::of(&stage, &url)
        .arguments(&["--environment", "sandbox"])
        .json()
        .well("credentials");
    assert_eq!(posts(), before + 2, "one unsigned GET and one signed POST");
    assert_eq!(before, 2, "one unsigned GET each");
}

#[test]
fn wrong_configuration_and_wrong_usage_end_as_in_every_command() {
    let stage = Stage::new();
    let said = Doctor::of(&stage, "https://h/canary-path").json();
    assert_eq!(said.ended.status, Some(78));
    assert_eq!(said.json["healthy"], false);
    assert_eq!(said.json["steps"][0]["step"], "configuration");
    assert_eq!(said.json["steps"][0]["detail"], "upstream.url (--upstream)");
    assert!(!said.ended.output().contains("canary-path"));
    let ended = Doctor::of(&stage, "https://h")
        .arguments(&["--nonsense"])
        .run();
    assert_eq!(ended.status, Some(64));
}

#[test]
fn every_upstream_of_the_enabled_routes_is_looked_at_once() {
    let stage = Stage::new();
    let yaml = format!(
        "environment: sandbox\ncredentials: {{username: {USERNAME}, secret_file: {}}}\nroutes:\n  create_session: {{url: '{}'}}\n  verify: {{enabled: true, url: '{}'}}\n  notify_v4: {{enabled: true, url: '{}'}}\n",
        stage.file("s", SECRET).display(),
        stage.cleartext(),
        stage.cleartext(),
        stage.cleartext().replace("127.0.0.1", "localhost"),
    );
    let file = stage.file("config.yaml", yaml);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    command
        .arg("doctor")
        .arg("--json")
        .arg("--config")
        .arg(Path::new(&file));
    let ended = Process::start(command, b"").end(PATIENCE);
    let json: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let steps = json["steps"].as_array().unwrap();
    let resolved: Vec<_> = steps.iter().filter(|s| s["step"] == "resolve").collect();
    assert_eq!(resolved.len(), 2, "{json:#}");
    let asked: Vec<_> = steps
        .iter()
        .filter(|s| s["step"] == "credentials")
        .map(|s| &s["ok"])
        .collect();
    assert_eq!(asked, [&Value::Bool(true), &Value::Null], "{json:#}");
}
