//! The programs in the pages, in the languages of the services beside which the proxy runs: each is taken out of its page,
//! compiled, and run against a proxy that brings Ingo's answer, and against one that cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    page::{self, Block},
    place::Place,
    shell::skipped,
};
use crate::support::{Ended, Process, process::is_installed};

/// Where Guzzle is in Debian's package php-guzzlehttp-guzzle; in a service it is in vendor/.
const GUZZLE: &str = "/usr/share/php/GuzzleHttp/autoload.php";

#[test]
#[ignore = "needs java: make test-all"]
fn the_java_programs_of_the_pages_work() {
    let installed = is_installed("java", &["--version"]);
    each(
        "java",
        installed.then_some(()).ok_or("java"),
        |place, file| {
            let source = file.with_file_name(format!("{}.java", class_of(file)));
            fs::rename(file, &source).unwrap();
            let mut command = place.command("java");
            command.arg(source);
            command
        },
    );
}

#[test]
#[ignore = "needs php with its extension curl: make test-all"]
fn the_php_programs_of_the_pages_work() {
    let installed = is_installed("php", &["-r", "exit(extension_loaded('curl') ? 0 : 1);"]);
    let needed = installed.then_some(()).ok_or("php with its extension curl");
    each("php", needed, |place, file| {
        let vendor = place.work().join("vendor");
        fs::create_dir_all(&vendor).unwrap();
        fs::write(
            vendor.join("autoload.php"),
            format!("<?php require '{GUZZLE}';\n"),
        )
        .unwrap();
        let mut command = place.command("php");
        command
            .args(["-d", "display_errors=stderr", "-d", "error_reporting=-1"])
            .arg(file);
        command
    });
}

#[test]
#[ignore = "needs mono-mcs: make test-all"]
fn the_c_sharp_programs_of_the_pages_work() {
    let installed = is_installed("mcs", &["--version"]) && is_installed("mono", &["--version"]);
    each(
        "csharp",
        installed.then_some(()).ok_or("mcs with mono"),
        |place, file| {
            let program = file.with_extension("exe");
            let mut compiler = place.command("mcs");
            compiler
                .arg("-warnaserror")
                .arg("-r:System.Net.Http")
                .arg(format!("-out:{}", program.display()))
                .arg(file);
            let ended = Process::start(compiler, b"").end(Duration::from_secs(60));
            assert_eq!(ended.status, Some(0), "{}", ended.output());
            let mut command = place.command("mono");
            command.arg(program);
            command
        },
    );
}

/// Runs each program in `language`: it shows Ingo's answer where there is one, and `sent` where there is none.
fn each(language: &str, installed: Result<(), &str>, made: impl Fn(&Place, &Path) -> Command) {
    let pages = page::all();
    let mut blocks = Vec::new();
    for page in &pages {
        blocks.extend(
            page.blocks
                .iter()
                .filter(|b| b.language == language)
                .map(|b| (page, b)),
        );
    }
    assert!(!blocks.is_empty(), "no page has a program in {language}");
    let what = &format!("the programs in {language} of the pages");
    if let Err(missing) = installed {
        skipped(missing, what);
        return;
    }
    for (page, block) in blocks {
        if block.content.contains("GuzzleHttp") && !Path::new(GUZZLE).is_file() {
            skipped("Guzzle", what);
            continue;
        }
        let place = Place::in_operation();
        let file = place.work().join(format!("program-{language}"));
        fs::write(&file, place.localised(&block.content)).unwrap();
        let mut command = made(&place, &file);
        let run = |command: Command| Process::start(command, b"").end(Duration::from_secs(60));
        let again = copied(&command, &place);
        command.current_dir(place.work());
        let at = format!("{}:{}", page.name, block.line);
        let ended = run(command);
        assert_eq!(ended.status, Some(0), "{at}: {}", ended.output());
        let answered = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(
            answered.starts_with(r#"Ingo: {"status":100,"#),
            "{at}: {answered}"
        );
        assert!(ended.stderr.is_empty(), "{at}: {}", ended.output());
        place.loses_answers();
        let lost = String::from_utf8_lossy(&run(again).stdout).into_owned();
        let problem = lost
            .strip_prefix("no answer of Ingo's: ")
            .unwrap_or_else(|| panic!("{at}: {lost}"));
        let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
        assert_eq!(problem["sent"], "maybe", "{at}: {lost}");
        assert_eq!(problem["code"], "upstream_reset", "{at}: {lost}");
    }
}

/// The same command once more.
fn copied(command: &Command, place: &Place) -> Command {
    let mut copy = place.command(command.get_program().to_str().unwrap());
    copy.args(command.get_args());
    copy
}

/// The name of the class that a Java file is for.
fn class_of(file: &Path) -> String {
    let source = fs::read_to_string(file).unwrap();
    let after = source
        .split("public class ")
        .nth(1)
        .expect("a public class");
    after.split_whitespace().next().unwrap().to_owned()
}
