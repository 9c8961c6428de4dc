//! Commands and flags that pages name are there, also where a command is not run.

use std::{
    collections::{BTreeSet, HashMap},
    process::Command,
};

use super::page::{self, Page};

/// How pages call the binary.
const BINARY: [&str; 3] = [
    "ingo-signing-proxy",
    "target/release/ingo-signing-proxy",
    "/usr/bin/ingo-signing-proxy",
];

/// Text in backticks that only looks like a command.
const NO_COMMANDS: [(&str, &str); 1] = [("docs/idempotency.md", "idempotency")];

#[test]
fn every_command_and_flag_that_a_page_names_is_there() {
    let mut wrong = Vec::new();
    let mut help = HashMap::new();
    for page in page::all() {
        for (command, flags) in named(&page) {
            let known = help
                .entry(command.clone())
                .or_insert_with(|| help_of(&command));
            let Some(known) = known else {
                wrong.push(format!("{}: there is no command {command}", page.name));
                continue;
            };
            for flag in flags {
                if !known.contains(&flag) {
                    wrong.push(format!("{}: {command} has no {flag}", page.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_command_or_flag_that_is_gone_would_be_found() {
    let known = help_of("serve").expect("a command");
    assert!(known.contains("--config") && !known.contains("--confi"));
    assert!(help_of("sing").is_none());
}

/// The flags of a command; `None` where there is none of that name.
fn help_of(command: &str) -> Option<BTreeSet<String>> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    let output = program.args([command, "--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags = words.filter(|w| w.starts_with("--")).map(str::to_owned);
    output.status.success().then(|| flags.collect())
}

/// The commands of the binary that a page names in blocks or backticks, each with its flags.
fn named(page: &Page) -> Vec<(String, Vec<String>)> {
    let mut text = String::new();
    for block in &page.blocks {
        if matches!(block.language.as_str(), "sh" | "console" | "text" | "ini") {
            text.push_str(&block.content.replace("\\\n", " "));
        }
    }
    for span in page.text.split('`').skip(1).step_by(2) {
        text.push_str(&span.replace('\n', " "));
        text.push('\n');
    }
    let mut found = Vec::new();
    for line in text.lines() {
        // A command ends where the shell's next begins.
        for part in line.split(['|', ';', '&', '#', '(', ')']) {
            let before = |w: &&str| w.contains('=') || ["$", "then", "do", "exec"].contains(w);
            // What follows `--` runs in a pod.
            let part = part.rsplit(" -- ").next().unwrap_or_default();
            let mut words = part.split_whitespace().skip_while(before);
            let program = words.next().unwrap_or_default();
            if !BINARY.contains(&program) {
                continue;
            }
            let Some(command) = words.next() else {
                continue;
            };
            let is_word = command.chars().all(|c| c.is_ascii_lowercase());
            if !is_word || NO_COMMANDS.contains(&(page.name.as_str(), command)) {
                continue;
            }
            let flags = words.filter_map(|word| {
                let flag = word.trim_start_matches('[').split(['=', ']', '"']).next()?;
                flag.starts_with("--").then(|| flag.to_owned())
            });
            found.push((command.to_owned(), flags.filter(|f| f.len() > 2).collect()));
        }
    }
    found
}
