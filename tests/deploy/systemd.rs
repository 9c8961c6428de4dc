//! The systemd unit, run by hand: its command, its signals, and what becomes of each exit status.

use std::{fs, net::TcpListener, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    place::{Started, effective, program, seconds},
    stage::become_true,
    support::{Ended, PATIENCE, Post, Process, SECRET, USERNAME, Upstream, session},
    text,
};

const CONFIG: &str = "/etc/ingo-signing-proxy/proxy.yaml";

/// The values of a key of the unit, in order.
pub(crate) fn values(key: &str) -> Vec<String> {
    let unit = text("deploy/systemd/ingo-signing-proxy.service");
    let of = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
    unit.lines().filter_map(of).collect()
}

/// The one value of a key.
pub(crate) fn value(key: &str) -> String {
    let mut values = values(key);
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values.remove(0)
}

/// A folder with the credential that systemd would have loaded, and a configuration.
pub(crate) fn host(yaml: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (name, file) = value("LoadCredential")
        .split_once(':')
        .map(|(name, file)| (name.to_owned(), file.to_owned()))
        .unwrap();
    assert_eq!(file, "/etc/ingo-signing-proxy/secret");
    fs::write(directory.path().join(name), SECRET).unwrap();
    fs::write(directory.path().join("proxy.yaml"), yaml).unwrap();
    directory
}

/// `ExecStart` with the paths of this place.
pub(crate) fn command(directory: &Path) -> Command {
    let line = value("ExecStart");
    let here = directory.display().to_string();
    let line = line
        .replace("%d", &here)
        .replace(CONFIG, &format!("{here}/proxy.yaml"));
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/ingo-signing-proxy"));
    let mut command = program();
    command.args(words);
    command
}

pub(crate) fn yaml(upstream: &str, further: &str) -> String {
    format!(
        "upstream: {{url: '{upstream}'}}\ncredentials: {{username: {USERNAME}}}\nlisteners: {{proxy: {{address: '127.0.0.1:0'}}, health: {{address: '127.0.0.1:0'}}}}\n{further}"
    )
}

fn run(directory: &TempDir, further: &[&str]) -> Ended {
    let mut command = command(directory.path());
    command.args(further);
    Process::start(command, b"").end(PATIENCE)
}

#[test]
fn the_units_command_signs_with_the_credential_that_systemd_loads() {
    let upstream = Upstream::echoing();
    let host = host(&yaml(&upstream.url(), ""));
    let started = Started::run(command(host.path()), 2);
    assert_eq!(started.post(&Post::new(session("p"))).status, 200);
    upstream.only_request().verify(SECRET, USERNAME);
    started
        .process
        .signal(value("KillSignal").trim_start_matches("SIG"));
    assert_eq!(started.end().status, Some(0));
}

#[test]
fn a_reload_takes_the_configuration_anew() {
    let reload = value("ExecReload");
    let signal = reload.strip_prefix("kill -").unwrap();
    let signal = signal.strip_suffix(" $MAINPID").unwrap();
    let upstream = Upstream::echoing();
    let host = host(&yaml(&upstream.url(), ""));
    let started = Started::run(command(host.path()), 2);
    let new = yaml(&upstream.url(), "limits: {queue_wait: 123ms}\n");
    fs::write(host.path().join("proxy.yaml"), new).unwrap();
    started.process.signal(signal);
    become_true("the configuration is taken", PATIENCE, || {
        let output = started.process.output();
        String::from_utf8_lossy(&output).contains("configuration reloaded")
    });
}

#[test]
fn a_wrong_configuration_stays_down_and_a_port_that_is_taken_is_tried_again_for_ever() {
    let down: Vec<i32> = value("RestartPreventExitStatus")
        .split(' ')
        .map(|status| status.parse().unwrap())
        .collect();
    assert_eq!(value("Restart"), "on-failure");
    assert_eq!(value("StartLimitIntervalSec"), "0");

    let wrong = host(&yaml("http://127.0.0.1:1", "no_such_key: 1\n"));
    let status = run(&wrong, &[]).status.unwrap();
    assert!(status != 0 && down.contains(&status), "{status}");

    let fine = host(&yaml("http://127.0.0.1:1", ""));
    let status = run(&fine, &["--no-such-flag"]).status.unwrap();
    assert!(status != 0 && down.contains(&status), "{status}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let status = run(&fine, &["--listen", &address]).status.unwrap();
    assert!(status != 0 && !down.contains(&status), "{status}");
}

#[test]
fn it_has_the_time_to_finish_what_is_in_flight_also_where_money_moves() {
    let money = "routes: {process: {enabled: true}, debit: {enabled: true}}\n";
    let host = host("");
    let secret = host.path().join("secret");
    let journal = format!("journal: {{file: {}/journal}}\n", host.path().display());
    let file = host.path().join("proxy.yaml");
    let credentials = format!(
        "environment: sandbox\ncredentials: {{username: {USERNAME}, secret_file: {}}}\n{money}{journal}",
        secret.display()
    );
    fs::write(&file, credentials).unwrap();
    let mut check = program();
    check.arg("check").arg("--config").arg(&file);
    let checked = Process::start(check, b"").end(PATIENCE);
    assert_eq!(checked.status, Some(0), "{}", checked.output());
    let drain = seconds(&effective(&checked.output(), "shutdown_limit"));
    let stop = seconds(&value("TimeoutStopSec"));
    assert!(stop > drain, "{stop} s, of {drain}");
}

#[test]
fn the_journal_of_the_pages_is_in_the_state_directory_of_the_unit() {
    let folder = format!("/var/lib/{}/journal", value("StateDirectory"));
    for page in ["docs/journal.md", "docs/systemd.md", "README.md"] {
        assert!(text(page).contains(&folder), "{page}");
    }
}
