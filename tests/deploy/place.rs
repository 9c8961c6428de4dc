//! A pod's files on this machine, and the program in it as the manifests start it.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    manifests::{config, mount, proxy_yaml, sidecar, texts},
    stage::Mounted,
    support::{Answer, Client, Ended, PATIENCE, Post, Process, SECRET, Upstream, contains},
};

/// The files of a pod: its configuration with the paths and ports of this place, and its Secret, mounted as the kubelet does it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) secret: Mounted,
    overlay: &'static str,
}

/// A started program, and where it listens.
pub(crate) struct Started {
    pub(crate) process: Process,
    listeners: HashMap<String, SocketAddr>,
}

impl Place {
    /// The place of a pod of this overlay.
    pub(crate) fn of(overlay: &'static str) -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            secret: Mounted::new(&[("secret", std::str::from_utf8(SECRET).unwrap())]),
            overlay,
        };
        for folder in ["config", "state", "empty"] {
            fs::create_dir(place.folder(folder)).unwrap();
        }
        fs::write(
            place.folder("config/proxy.yaml"),
            place.here(&proxy_yaml(overlay)),
        )
        .unwrap();
        place
    }

    /// A folder of this place.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `text` with what is different here: the mounts, and ports that the system chooses.
    pub(crate) fn here(&self, text: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        let mut text = text
            .replace(&mount("ingo-signing-proxy"), &shown(&self.folder("config")))
            .replace(
                &mount("ingo-credentials"),
                &shown(self.secret.directory.path()),
            )
            .replace("/var/lib/ingo-signing-proxy", &shown(&self.folder("state")));
        for (_, listener) in config(self.overlay)["listeners"].as_object().unwrap() {
            let address = listener["address"].as_str().unwrap();
            let (host, _) = address.rsplit_once(':').unwrap();
            text = text.replace(address, &format!("{host}:0"));
        }
        text
    }

    /// The sidecar's command, whose cwd is a folder that stays empty.
    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        for argument in texts(&sidecar()["args"]) {
            command.arg(self.here(&argument));
        }
        command.current_dir(self.folder("empty"));
        command
    }

    /// Starts the sidecar and waits until it listens.
    pub(crate) fn start(&self, upstream: &str) -> Started {
        let mut command = self.command();
        command.args(["--upstream", upstream]);
        let listeners = config(self.overlay)["listeners"].as_object().unwrap().len();
        Started::run(command, listeners)
    }

    /// The sidecar in front of `upstream`, with nothing but its own.
    pub(crate) fn before(&self, upstream: &Upstream) -> Started {
        self.start(&upstream.url())
    }

    /// How `check` ends with the configuration.
    pub(crate) fn check(&self) -> Ended {
        let mut command = program();
        command.arg("check").arg("--config");
        command.arg(self.folder("config/proxy.yaml"));
        Process::start(command, b"").end(PATIENCE)
    }
}

impl Started {
    /// Starts `command` and waits until `expected` listeners are announced.
    pub(crate) fn run(command: Command, expected: usize) -> Self {
        let process = Process::start(command, b"");
        let listeners = process.wait_until(PATIENCE, |lines| {
            let found: HashMap<_, _> = lines.iter().filter_map(|line| listening(line)).collect();
            (found.len() == expected).then_some(found)
        });
        let listeners = listeners.unwrap_or_else(|output| panic!("it should listen:\n{output}"));
        Self { process, listeners }
    }

    /// Where a listener is.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.listeners[listener]
    }

    /// The same as it is called from here, where it may be on all addresses.
    pub(crate) fn reachable(&self, listener: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.address(listener).port()))
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn post(&self, post: &Post) -> Answer {
        Client::connect(self.reachable("proxy")).post(post)
    }

    /// Asks the health listener.
    pub(crate) fn health(&self, path: &str) -> Answer {
        Client::connect(self.reachable("health")).get(path)
    }

    /// Asks `/readyz` until it answers with `status`.
    pub(crate) fn readyz_becomes(&self, status: u16) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.health("/readyz");
            if answer.status == status {
                return;
            }
            assert!(Instant::now() < until, "{}", answer.text());
        }
    }

    /// Waits for the end, and sees that the secret was printed nowhere.
    pub(crate) fn end(self) -> Ended {
        let ended = self.process.end(PATIENCE * 2);
        assert!(
            !contains(ended.output().as_bytes(), SECRET),
            "the secret was printed"
        );
        ended
    }
}

/// The program, in an environment that says nothing to it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let proxied = name.to_ascii_uppercase().ends_with("_PROXY");
        if name == "RUST_LOG" || name.starts_with("INGO_PROXY") || proxied {
            command.env_remove(name);
        }
    }
    command
}

fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let of = |name: &str| line[name].as_str().map(str::to_owned);
    (line["message"] == "listening")
        .then(|| Some((of("listener")?, of("address")?.parse().ok()?)))?
}

/// A key of what `check` prints, without where it comes from.
pub(crate) fn effective(printed: &str, key: &str) -> String {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let line = line.unwrap_or_else(|| panic!("{key} in:\n{printed}"));
    line.split('#').next().unwrap().trim().to_owned()
}

/// A duration as `check` prints it, in seconds.
pub(crate) fn seconds(text: &str) -> f64 {
    let end = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().unwrap();
    match unit {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        unit => panic!("no unit: {unit}"),
    }
}
