//! A program in the image: root is what was unpacked, read-only; the user is nobody; what it is given is mounted.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    built::Image,
    support::{Answer, Client, Ended, PATIENCE, Post, Process, SECRET, USERNAME},
};

/// What is mounted where, and what stands in the environment.
pub struct Container<'a> {
    image: &'a Image,
    files: TempDir,
    mounts: Vec<(PathBuf, &'static str)>,
    environment: Vec<(&'static str, String)>,
}

/// A proxy that serves in a container.
pub struct Serving {
    process: Process,
    addresses: HashMap<String, SocketAddr>,
    _files: TempDir,
}

/// As a container runtime does it: mounts first, then nothing can be written, then root and user are others.
/// The process stays the same one throughout, so that its id is the proxy's.
const ENTER: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mount --bind "$1" "$root/$2"; shift 2; done
shift
mount -o remount,bind,ro "$root"
exec env -i "$@"
"#;

impl<'a> Container<'a> {
    /// One whose proxy sends everything to `upstream`, an `https://` URL.
    pub fn to(image: &'a Image, upstream: &str) -> Self {
        let mut container = Self {
            image,
            files: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            mounts: Vec::new(),
            environment: Vec::new(),
        };
        let configuration = format!(
            "upstream:\n  url: {upstream}\nlog_format: json\nthreads: 2\n\
             listeners:\n  proxy:\n    address: 127.0.0.1:0\n  health:\n    address: 127.0.0.1:0\n\
             credentials:\n  username: {USERNAME}\n  secret_file: /run/secrets/ingo/secret\n"
        );
        let directory = container.files.path().join("secret.d");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.join("secret"), SECRET).unwrap();
        container.mounts.push((directory, "run/secrets/ingo"));
        let directory = container.files.path().join("config.d");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.join("proxy.yaml"), configuration).unwrap();
        container.mounts.push((directory, "etc/ingo-signing-proxy"));
        container
    }

    /// With a file of this content at `path`, which is there to be mounted over.
    pub fn file(mut self, path: &'static str, content: impl AsRef<[u8]>) -> Self {
        let file = self.files.path().join(self.mounts.len().to_string());
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        self.mounts.push((file, path));
        self
    }

    /// With a variable in its environment, which is empty otherwise.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Starts what the image starts, with these arguments in place of the image's own.
    pub fn start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", ENTER]);
        command.arg("enter").arg(&self.image.root);
        for (from, to) in &self.mounts {
            command.arg(from).arg(to);
        }
        command.arg("--");
        for (name, value) in &self.environment {
            command.arg(format!("{name}={value}"));
        }
        command.args(["/usr/sbin/chroot", "--userspec=65532:65532"]);
        let entry = self.image.config["config"]["Entrypoint"][0].as_str();
        command
            .arg(&self.image.root)
            .arg(entry.expect("an entry point"))
            .args(arguments);
        Process::start(command, b"")
    }

    /// Starts the proxy and waits until it says where it listens.
    pub fn serve(self) -> Serving {
        let process = self.start(&["serve", "--config", "/etc/ingo-signing-proxy/proxy.yaml"]);
        let addresses = process
            .wait_until(PATIENCE, |lines| {
                let listening: HashMap<_, _> = lines.iter().filter_map(|l| listening(l)).collect();
                (listening.len() == 2).then_some(listening)
            })
            .unwrap_or_else(|output| panic!("it should say where it listens:\n{output}"));
        Serving {
            process,
            addresses,
            _files: self.files,
        }
    }
}

fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let listener = (line["message"] == "listening").then(|| line["listener"].as_str())??;
    let address = line["address"].as_str()?.parse().ok()?;
    Some((listener.to_owned(), address))
}

impl Serving {
    /// Posts `body` as a caller does.
    pub fn post(&self, body: Vec<u8>) -> Answer {
        Client::connect(self.addresses["proxy"]).post(&Post::new(body))
    }

    /// Asks the health listener.
    pub fn health(&self, path: &str) -> Answer {
        Client::connect(self.addresses["health"]).get(path)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// All it has said.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.process.output()).into_owned()
    }

    /// Waits for the first access line: log lines are written by a thread of their own.
    pub fn access_line(&self) -> Value {
        let found = self.process.wait_until(PATIENCE, |lines| {
            let mut lines = lines.iter().filter_map(|l| serde_json::from_str(l).ok());
            lines.find(|line: &Value| line["message"] == "exchange")
        });
        found.unwrap_or_else(|output| panic!("an access line should have been written:\n{output}"))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> Ended {
        self.process.signal("TERM");
        self.process.end(PATIENCE)
    }
}
