//! Where a page's commands run: a folder and a loopback address of its own, the real binary first in PATH, and an emulator
//! where the page means Ingo.
//!
//! Nothing of it can leave this host: where no upstream is named, the emulator is, and what would go to another host by https
//! meets a proxy that is not there.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{page::root, shims};
use crate::support::{Client, PATIENCE, Post, Process};

/// A port that no page names: who holds it has the address.
const CLAIM: u16 = 8699;
/// Where the emulator listens that stands in for Ingo.
const INGO: u16 = 8747;
/// Where that emulator is told to fail.
const INGO_CONTROL: u16 = 9747;

/// Paths of a host in the pages, which stand for paths below the page's folder.
const PATHS: [&str; 5] = [
    "/run/secrets/",
    "/run/ingo-signing-proxy/",
    "/var/lib/ingo-signing-proxy",
    "/etc/ingo-signing-proxy",
    "/etc/ssl/private/",
];

/// What the pages call the credentials that Ingo issued.
const USERNAME: &str = "your-username";
const SECRET: &str = "the-secret-that-ingo-issued";

/// Where a page's commands run.
pub struct Place {
    folder: TempDir,
    address: Ipv4Addr,
    _claim: TcpListener,
    ingo: Process,
    /// Commands that go on in terminals of their own, with what they serve.
    terminals: Mutex<Vec<(String, Process)>>,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, claim) = claimed();
        let page = folder.path();
        for name in [
            "bin",
            "home",
            "strict",
            "run/secrets/ingo",
            "run/ingo-signing-proxy",
        ] {
            fs::create_dir_all(page.join(name)).unwrap();
        }
        for name in [
            "var/lib/ingo-signing-proxy",
            "etc/ingo-signing-proxy",
            "pids",
        ] {
            fs::create_dir_all(page.join(name)).unwrap();
        }
        // Copies: a page may change them.
        for name in [
            "config",
            "deploy",
            "docs",
            "examples",
            "tests/broken_signers",
        ] {
            copy(&root().join(name), &page.join("work").join(name));
        }
        fs::write(page.join("strict/.curlrc"), "fail-with-body\n").unwrap();
        fs::write(page.join("ingo-secret"), SECRET).unwrap();
        fs::write(page.join("run/secrets/ingo/secret"), SECRET).unwrap();
        shims::install(page, address, INGO);
        let configurations = fs::read_dir(page.join("work/config")).unwrap();
        for file in configurations
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_file())
        {
            let here = localised(&fs::read_to_string(&file).unwrap(), page, address);
            fs::write(file, here).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
        command
            .args(["emulator", "--username", USERNAME, "--secret-file"])
            .arg(page.join("ingo-secret"))
            .args(["--listen", &format!("{address}:{INGO}")])
            .args(["--control-listen", &format!("{address}:{INGO_CONTROL}")]);
        let ingo = Process::start(command, b"");
        listening(&ingo).unwrap_or_else(|output| panic!("the stand-in for Ingo: {output}"));
        Self {
            folder,
            address,
            _claim: claim,
            ingo,
            terminals: Mutex::default(),
        }
    }

    /// One in which a proxy runs already, as the operator of one has it: `proxy.yaml`, a secret, a journal with a payment
    /// that was lost, and its `log` with exchanges that went well and badly.
    pub fn in_operation() -> Self {
        let place = Self::new();
        let configuration = format!(
            "upstream:\n  url: http://{address}:{INGO}\n\
             listeners:\n  proxy: {{address: {address}:8646}}\n  health: {{address: {address}:9646}}\n  admin: {{address: {address}:9648}}\n\
             credentials:\n  username: {USERNAME}\n  secret_file: {folder}/run/secrets/ingo/secret\n\
             routes:\n  process: {{enabled: true}}\n\
             journal:\n  file: {folder}/var/lib/ingo-signing-proxy/journal\n",
            address = place.address,
            folder = place.folder().display(),
        );
        fs::write(place.work().join("proxy.yaml"), configuration).unwrap();
        let serving = place.serving("serve", "ingo-signing-proxy serve --config proxy.yaml");
        serving.unwrap_or_else(|output| panic!("the proxy of the page: {output}"));
        let ask = |port: u16, path: &str, body: &str| {
            let at = SocketAddrV4::new(place.address, port).into();
            let post = Post::new(body).to(path);
            Client::connect(at).post(&post).status
        };
        let session =
            r#"{"participant_unique_id1":"p-1","recipient_information":{"first_name":"Ada"}}"#;
        assert_eq!(ask(8646, crate::support::SESSIONS, session), 200);
        let fault = r#"{"fault":"reset_after_body","path":"/gateway/process"}"#;
        assert_eq!(ask(INGO_CONTROL, "/faults", fault), 201);
        let payment = r#"{"participant_unique_id1":"payment-1"}"#;
        assert_eq!(ask(8646, "/gateway/process", payment), 502);
        let terminals = place.terminals.lock().unwrap();
        let written = terminals[0].1.wait_until(PATIENCE, |lines| {
            let exchanges = lines
                .iter()
                .filter(|l| l.contains(r#""message":"exchange""#));
            (exchanges.count() == 2).then(|| lines.join("\n"))
        });
        let log = written.unwrap_or_else(|output| panic!("two exchanges in the log:\n{output}"));
        fs::write(place.work().join("log"), log + "\n").unwrap();
        drop(terminals);
        place
    }

    /// From now on the stand-in for Ingo acts, and no answer of its arrives.
    pub fn loses_answers(&self) {
        let at = SocketAddrV4::new(self.address, INGO_CONTROL).into();
        let fault = r#"{"fault":"reset_after_body","until":"cleared"}"#;
        let answer = Client::connect(at).post(&Post::new(fault).to("/faults"));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// The folder of the page.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its commands begin.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// What stands in the place of 127.0.0.1.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A text of a page as it is here.
    pub fn localised(&self, text: &str) -> String {
        localised(text, self.folder(), self.address)
    }

    /// What was printed here as it would be at the reader's.
    pub fn generalised(&self, text: &str) -> String {
        let work = format!("{}/", self.work().display());
        text.replace(&work, "")
            .replace(&self.folder().display().to_string(), "")
            .replace(&self.address.to_string(), "127.0.0.1")
    }

    /// A command that finds the real binary, and nothing beyond this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let upper = name.to_ascii_uppercase();
            if upper.ends_with("_PROXY") || upper.starts_with("INGO_") || upper == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.folder().join("bin");
        command
            .current_dir(self.work())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", self.folder().join("home"))
            .env("TMPDIR", self.folder())
            // What a reader is told to have.
            .env("NEW_SECRET", "another-secret-of-ingo")
            .env("LC_ALL", "C.UTF-8")
            // kubectl knows no cluster.
            .env("KUBECONFIG", "/dev/null")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("HTTPS_PROXY", format!("http://{}:9", self.address))
            .env("NO_PROXY", format!("{},127.0.0.1,localhost", self.address));
        command
    }

    /// Runs `script`, which ends with a command that goes on, in a terminal of its own, and waits until what it starts listens.
    /// What served the same before is ended as Ctrl-C ends it.
    pub fn serving(&self, what: &str, script: &str) -> Result<(), String> {
        let mut terminals = self.terminals.lock().unwrap();
        let (ending, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut *terminals)
            .into_iter()
            .partition(|(other, _)| what == "demo" || other == "demo" || other == what);
        *terminals = staying;
        for (other, process) in ending {
            for pid in self.pids(&other) {
                kill("INT", pid);
            }
            process.end(PATIENCE);
        }
        let mut command = self.command("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        let process = Process::start(command, b"");
        listening(&process)?;
        terminals.push((what.to_owned(), process));
        Ok(())
    }

    /// What the commands in terminals of their own have printed.
    pub fn printed(&self) -> String {
        let terminals = self.terminals.lock().unwrap();
        let all = terminals.iter().map(|(what, process)| {
            let output = String::from_utf8_lossy(&process.output()).into_owned();
            format!("--- {what}\n{output}")
        });
        all.collect()
    }

    /// The processes of the binary that were started here as `what`.
    fn pids(&self, what: &str) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.folder().join("pids")) else {
            return Vec::new();
        };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let ours = names.filter_map(|name| {
            let (pid, command) = name.split_once('-')?;
            (what.is_empty() || command == what).then(|| pid.parse().ok())?
        });
        // An id may belong to another process by now. Only the name is asked for: of a process that leaves no core dump,
        // only root may know the directory.
        ours.filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|n| n.starts_with("ingo-signing"))
        })
        .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.pids("") {
            kill("KILL", pid);
        }
        // Whatever else runs in this folder was started here, too: what a page put into the background.
        let Ok(processes) = fs::read_dir("/proc") else {
            return;
        };
        for process in processes.filter_map(Result::ok) {
            let pid = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let inside = fs::read_link(process.path().join("cwd"));
            if let (Some(pid), true) = (pid, inside.is_ok_and(|d| d.starts_with(self.folder()))) {
                kill("KILL", pid);
            }
        }
    }
}

fn localised(text: &str, page: &Path, address: Ipv4Addr) -> String {
    let mut text = text
        .replace("127.0.0.1", &address.to_string())
        .replace("0.0.0.0:", &format!("{address}:"))
        .replace("localhost:", &format!("{address}:"))
        .replace("target/release/ingo-signing-proxy", "ingo-signing-proxy");
    for path in PATHS {
        text = text.replace(path, &format!("{}{path}", page.display()));
    }
    text
}

/// Waits until a command of ours says that it listens. All listeners are bound before the first is told of.
fn listening(process: &Process) -> Result<(), String> {
    process.wait_until(Duration::from_secs(30), |lines| {
        let told =
            |l: &String| l.contains(r#""message":"listening""#) || l.contains("Ctrl-C ends it");
        lines.iter().any(told).then_some(())
    })
}

/// Sends a signal to a process of ours.
pub fn kill(signal: &str, pid: u32) {
    let _gone = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
}

/// A loopback address that no other page has, in this process or another.
fn claimed() -> (Ipv4Addr, TcpListener) {
    let mut random = crate::support::Random::seeded(u64::from(std::process::id()));
    for _ in 0..1000 {
        let mut octet = || 1 + u8::try_from(random.below(254)).unwrap();
        let address = Ipv4Addr::new(127, octet(), octet(), octet());
        match TcpListener::bind((address, CLAIM)) {
            Ok(claim) => return (address, claim),
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            Err(e) => panic!("a loopback address such as {address} is needed: {e}"),
        }
    }
    panic!("no loopback address is free");
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.is_file() {
        fs::copy(from, to).unwrap();
    }
}
