//! Runs the `sh` and `console` blocks of every page, in order, as a reader pastes them.

use std::{
    fs::{self, File},
    io::Write as _,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    console::{commands, console},
    page::{self, Block, Page, Use},
    place::Place,
};
use crate::support::process::is_installed;

/// How long a block may take.
const BLOCK: Duration = Duration::from_secs(60);

/// Programs that pages use, beside those that every system with bash has.
const PROGRAMS: [&str; 6] = ["curl", "jq", "openssl", "python3", "ss", "zcat"];

/// Programs that a block or two use, on which no later block depends.
const PEERS: [&str; 4] = ["haproxy", "nginx", "kubectl", "helm"];

/// Pages for someone who has a proxy running.
const IN_OPERATION: [&str; 4] = [
    "docs/runbook.md",
    "docs/observability.md",
    "docs/reload.md",
    "docs/doctor.md",
];

#[test]
fn every_command_of_every_page_does_what_the_page_says() {
    let pages = page::all();
    let blocks = || pages.iter().flat_map(|p| &p.blocks).map(Block::purpose);
    let to_run = blocks().filter(|p| matches!(p, Ok(Use::Run | Use::RunAndCompare)));
    let to_run = to_run.count();
    assert!(to_run > 50, "only {to_run} blocks are there to be run");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let ran = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run(page) {
                        Ok(blocks) => ran.fetch_add(blocks, Ordering::Relaxed),
                        Err(why) => {
                            wrong.lock().unwrap().push(why);
                            0
                        }
                    };
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    let excused = blocks().filter(|p| *p == Ok(Use::Excused)).count();
    let ran = ran.into_inner();
    println!("{ran} of {to_run} blocks were run; {excused} say what they need");
}

#[test]
fn what_is_not_run_is_good_shell_all_the_same() {
    let mut wrong = Vec::new();
    for page in page::all() {
        for block in &page.blocks {
            if block.purpose() != Ok(Use::Excused) {
                continue;
            }
            let script = match block.language.as_str() {
                "console" => {
                    commands(&block.content).map(|c| c.into_iter().map(|c| c.typed).collect())
                }
                _ => Ok(block.content.clone()),
            };
            let script = script.unwrap_or_else(|why| panic!("{}:{}: {why}", page.name, block.line));
            let ended = crate::support::process::run("bash", &["-n", "-c", &script], b"");
            if ended.status != Some(0) {
                wrong.push(format!("{}:{}: {}", page.name, block.line, ended.output()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Runs a page's blocks; how many were run, or what went wrong where.
fn run(page: &Page) -> Result<usize, String> {
    let purposes = page.blocks.iter().map(Block::purpose);
    if !purposes
        .into_iter()
        .any(|p| matches!(p, Ok(Use::Run | Use::RunAndCompare)))
    {
        return Ok(0);
    }
    let needed = |b: &Block| matches!(b.purpose(), Ok(Use::Run | Use::RunAndCompare));
    let place = if IN_OPERATION.contains(&page.name.as_str()) {
        Place::in_operation()
    } else {
        Place::new()
    };
    let mut ran = 0;
    for block in &page.blocks {
        // Configurations of others, in the files that the page says they are in.
        match block.language.as_str() {
            "haproxy" => fs::write(
                place.work().join("haproxy.cfg"),
                place.localised(&block.content),
            ),
            "nginx" => fs::write(
                place.work().join("nginx.conf"),
                place.localised(&block.content),
            ),
            _ => Ok(()),
        }
        .unwrap();
        if !needed(block) {
            continue;
        }
        let said = format!("{} from line {} on", page.name, block.line);
        if let Some(missing) = missing(&block.content, &PEERS) {
            skipped(
                missing,
                &format!("the block of {}:{}", page.name, block.line),
            );
            continue;
        }
        if let Some(missing) = missing(&block.content, &PROGRAMS) {
            // Later blocks may need what this one makes.
            skipped(missing, &said);
            return Ok(ran);
        }
        let result = match block.purpose() {
            Ok(Use::Run) => sh(&place, &block.content),
            _ => console(&place, &block.content),
        };
        if let Err(why) = result {
            return Err(format!(
                "{}:{}: {why}\n{}",
                page.name,
                block.line,
                place.generalised(&place.printed())
            ));
        }
        ran += 1;
    }
    Ok(ran)
}

/// Says what was not tried, around the harness, which keeps what a passing test prints.
pub fn skipped(missing: &str, what: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {missing} is not installed, so this was not tried: {what}"
    );
}

/// A program among `programs` that a script names and that is not on this machine.
fn missing(script: &str, programs: &[&'static str]) -> Option<&'static str> {
    let named = |program: &&&str| {
        let words = script.split(|c: char| {
            !c.is_ascii_alphanumeric() && c != '-' && c != '_' && c != '.' && c != '/'
        });
        words.into_iter().any(|word| word == **program)
    };
    let is_missing = |program: &&&str| {
        let installed = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        });
        !installed
    };
    programs.iter().filter(named).find(is_missing).copied()
}

/// Where variables and the directory are kept from one block to the next.
pub fn keep(place: &Place) -> String {
    let state = place.folder().join("state");
    format!(
        "{{ declare -p; printf 'cd %q\\n' \"$PWD\"; }} > '{}'\n",
        state.display()
    )
}

/// Takes up what was kept. In a strict block curl fails on a refusal; in others what it prints is compared.
pub fn recall(place: &Place, strict: bool) -> String {
    let state = place.folder().join("state");
    let curl = place.folder().join(if strict { "strict" } else { "home" });
    // Some variables of bash cannot be set, which it says.
    format!(
        "source '{}' 2>/dev/null || true\nexport CURL_HOME='{}'\n",
        state.display(),
        curl.display()
    )
}

/// Runs a block of which each command must succeed.
fn sh(place: &Place, content: &str) -> Result<(), String> {
    let content = place.localised(content);
    let (before, last) = split_last(&content);
    if let Some(what) = serves(last) {
        let script = format!("{}{before}{}{last}", recall(place, true), keep(place));
        return place.serving(what, &script).map_err(|output| {
            format!(
                "`{}` did not begin to listen:\n{}",
                last.trim(),
                place.generalised(&output)
            )
        });
    }
    let script = format!(
        "set -euo pipefail\n{}{content}\n{}",
        recall(place, true),
        keep(place)
    );
    let (status, output) = bash(place, &script)?;
    if status == Some(0) {
        Ok(())
    } else {
        Err(format!(
            "exit status {status:?}:\n{}",
            place.generalised(&output)
        ))
    }
}

/// What a block's last command serves, where it goes on until it is interrupted.
fn serves(last: &str) -> Option<&'static str> {
    let last = last.trim();
    if last == "make demo" {
        return Some("demo");
    }
    let command = last.split("ingo-signing-proxy ").nth(1)?;
    let beginning = last.split("ingo-signing-proxy ").next()?;
    let plain = beginning
        .split_whitespace()
        .all(|word| word.contains('=') || word == "\\");
    if !plain || last.ends_with('&') || last.contains('|') || last.contains("--help") {
        return None;
    }
    let command = command.split_whitespace().next()?;
    ["serve", "emulator", "demo"]
        .into_iter()
        .find(|c| *c == command)
}

/// The last command of a script, and what stands before it.
fn split_last(script: &str) -> (&str, &str) {
    let trimmed = script.trim_end();
    let mut start = 0;
    let mut offset = 0;
    let mut goes_on = false;
    for line in trimmed.split_inclusive('\n') {
        if !goes_on && !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            start = offset;
        }
        goes_on = line.trim_end().ends_with('\\');
        offset += line.len();
    }
    trimmed.split_at(start)
}

/// Runs a script to its end. What it prints goes where a terminal shows it: into one stream. Processes that it leaves behind
/// hold that open, so it is a file.
pub fn bash(place: &Place, script: &str) -> Result<(Option<i32>, String), String> {
    let printed = tempfile::NamedTempFile::new_in(place.folder()).unwrap();
    let output = |file: &File| Stdio::from(file.try_clone().unwrap());
    let mut command = place.command("bash");
    command
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(output(printed.as_file()))
        .stderr(output(printed.as_file()));
    let mut child = command.spawn().unwrap();
    let id = child.id();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait().unwrap().code()));
    let status = told.recv_timeout(BLOCK);
    let said = String::from_utf8_lossy(&fs::read(printed.path()).unwrap()).into_owned();
    if let Ok(status) = status {
        return Ok((status, said));
    }
    super::place::kill("KILL", id);
    let said = place.generalised(&said);
    Err(format!("it did not end within {BLOCK:?}:\n{said}"))
}

#[test]
fn a_wrong_command_and_a_wrong_answer_are_found() {
    let place = Place::new();
    assert!(sh(&place, "true\nfalse\ntrue\n").is_err());
    assert!(sh(&place, "ingo-signing-proxy check --no-such-flag\n").is_err());
    assert!(
        sh(&place, "x=1\n").is_ok() && sh(&place, "[ $x = 1 ]\n").is_ok(),
        "one terminal"
    );
    assert!(console(&place, "$ echo a\na\n").is_ok());
    assert!(console(&place, "$ echo a\nb\n").is_err());
    assert!(console(&place, "$ false\n").is_err());
    assert!(console(&place, "$ false\n$ echo $?\n1\n").is_ok());
    assert!(sh(&place, "ingo-signing-proxy serve --username x\n").is_err());
}
