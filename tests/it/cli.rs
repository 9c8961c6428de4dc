//! The commands that need no network: `sign` against the vectors, `check` over the sample configurations.

use std::{ffi::OsString, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{Ended, Process, Recorded, SECRET, SESSIONS, USERNAME, contains, session};

fn run(arguments: &[OsString], input: &[u8]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    Process::start(command, input).end(Duration::from_secs(20))
}

fn cases() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/signing.json")).expect("JSON");
    file["cases"].as_array().expect("cases").clone()
}

/// Runs `sign` for one case of the vectors.
fn sign(case: &Value, output: &str) -> Ended {
    let text = |name: &str| case[name].as_str().expect("text").to_owned();
    let decode = |name: &str| STANDARD.decode(text(name)).expect("base64");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    // One newline is dropped, so that a secret may itself end with one.
    let content = [&decode("secret_base64")[..], b"\n"].concat();
    std::fs::write(&secret, content).expect("a temporary directory can be written to");
    let list: Vec<&str> = case["signed_headers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_str().expect("text"))
        .collect();
    let arguments = [
        "sign".to_owned(),
        format!("--username={}", text("username")),
        format!("--secret-file={}", secret.display()),
        format!("--method={}", text("method")),
        format!("--target={}", text("target")),
        format!(
            "--date={}",
            case["expected"]["x_date"].as_str().expect("text")
        ),
        format!("--signed-headers={}", list.join(" ")),
        format!("--algorithm={}", text("algorithm")),
        format!("--output={output}"),
    ];
    run(&arguments.map(OsString::from), &decode("body_base64"))
}

#[test]
fn what_cannot_be_printed_is_said_and_is_no_success() {
    let config = "--config=config/minimal.yaml";
    for arguments in [
        &["check", config][..],
        &["check", "--schema"],
        &["check", "--reference=yaml"],
        &["completions", "bash"],
        &["man"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(full.expect("a Linux host"))
            .output()
            .expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(71), "{arguments:?}: {told}");
        assert!(told.contains("cannot write the result: "), "{told}");

        // Whoever closed the pipe has read what they wanted.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(writer)
            .output()
            .expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn sign_prints_the_five_headers_of_every_vector() {
    for case in cases() {
        let ended = sign(&case, "headers");
        assert_eq!(
            ended.status,
            Some(0),
            "{}: {}",
            case["name"],
            ended.output()
        );
        let expected = &case["expected"];
        let mut lines: Vec<String> = [
            ("X-Date", &expected["x_date"]),
            ("Content-Type", &Value::from("application/json")),
            ("Content-sha512", &expected["content_sha512"]),
            ("Content-Length", &expected["content_length"]),
            ("Authorization", &expected["authorization"]),
        ]
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", value.as_str().expect("text")))
        .collect();
        lines.sort();
        let stdout = String::from_utf8(ended.stdout).expect("text");
        assert!(stdout.ends_with('\n'), "{stdout:?}");
        let mut printed: Vec<_> = stdout.lines().collect();
        printed.sort();
        assert_eq!(printed, lines, "{}", case["name"]);
    }
}

#[test]
fn sign_prints_the_signing_string_of_every_vector_byte_for_byte() {
    for case in cases() {
        let ended = sign(&case, "signing-string");
        assert_eq!(
            ended.status,
            Some(0),
            "{}: {}",
            case["name"],
            ended.output()
        );
        let expected = case["expected"]["signing_string"].as_str().expect("text");
        let printed = String::from_utf8(ended.stdout).expect("text");
        assert_eq!(printed, expected, "{}", case["name"]);
    }
}

#[test]
fn sign_without_a_date_signs_as_of_now() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).expect("a temporary directory can be written to");
    let body = session("p");
    let arguments = [
        "sign".to_owned(),
        format!("--username={USERNAME}"),
        format!("--secret-file={}", secret.display()),
        format!("--target={SESSIONS}"),
    ];
    let ended = run(&arguments.map(OsString::from), &body);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let headers = String::from_utf8(ended.stdout).expect("text");
    let headers = headers.trim_end().replace('\n', "\r\n");
    let sent = Recorded {
        connection: 0,
        number: 0,
        head: format!("POST {SESSIONS} HTTP/1.1\r\n{headers}\r\n\r\n").into_bytes(),
        body,
    };
    sent.verify(SECRET, USERNAME);
}

#[test]
fn sign_never_prints_the_secret() {
    for output in ["headers", "signing-string", "curl"] {
        let mut case = cases()[0].clone();
        case["secret_base64"] = Value::from(STANDARD.encode(SECRET));
        let ended = sign(&case, output);
        assert_eq!(ended.status, Some(0), "{}", ended.output());
        assert!(!contains(ended.output().as_bytes(), SECRET));
    }
}

#[test]
fn sign_refuses_what_could_end_a_line_of_the_request() {
    for (field, value) in [
        ("target", "/a b"),
        ("target", "/a\nX-Evil: 1"),
        ("target", ""),
        ("method", "PO ST"),
        ("method", ""),
        ("username", "a\"b"),
        ("username", "a\nb"),
        ("algorithm", "hmac-sha1"),
        ("algorithm", "md5"),
    ] {
        let mut case = cases()[0].clone();
        case[field] = Value::from(value);
        let ended = sign(&case, "headers");
        assert_eq!(
            ended.status,
            Some(64),
            "{field} {value:?}: {}",
            ended.output()
        );
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn check_accepts_the_minimal_configuration_and_shows_the_defaults() {
    let ended = run(
        &["check", "--config", "config/minimal.yaml"].map(OsString::from),
        b"",
    );
    let output = ended.output();
    assert_eq!(ended.status, Some(0), "{output}");
    for shown in [
        "127.0.0.1:8646",
        "127.0.0.1:9646",
        "sandbox",
        "create_session",
    ] {
        assert!(output.contains(shown), "{shown} is not shown:\n{output}");
    }
}

#[test]
fn check_warns_where_the_way_out_is_shorter_than_an_exchange_may_take() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.yaml");
    let minimal = include_str!("../../config/minimal.yaml");
    let checked = |limit: &str| {
        let content = format!("{minimal}\nshutdown_limit: {limit}\n");
        std::fs::write(&file, content).expect("a temporary directory can be written to");
        run(
            &[
                "check".into(),
                "--config".into(),
                file.clone().into_os_string(),
            ],
            b"",
        )
    };
    let [short, long] = ["1s", "35s"].map(checked);
    assert_eq!(short.status, Some(0), "{}", short.output());
    assert_eq!(long.status, Some(0), "{}", long.output());
    let warnings = |ended: &Ended| ended.output().to_lowercase().matches("warning").count();
    assert_eq!(warnings(&short), warnings(&long) + 1, "{}", short.output());
}

#[test]
fn check_refuses_every_invalid_configuration_with_status_78() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config/invalid");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory of invalid configurations")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 5);
    for file in files {
        let arguments = [
            "check".into(),
            "--config".into(),
            file.clone().into_os_string(),
        ];
        let ended = run(&arguments, b"");
        assert_eq!(
            ended.status,
            Some(78),
            "{}: {}",
            file.display(),
            ended.output()
        );
    }
}

/// The commands that the help names.
fn commands() -> Vec<String> {
    let help = run(&["--help".into()], b"").output();
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    let names = list.lines().map_while(|line| line.strip_prefix("  "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn completions_know_every_command_in_every_shell() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell].map(OsString::from), b"");
        assert_eq!(ended.status, Some(0), "{}", ended.output());
        let script = String::from_utf8_lossy(&ended.stdout).into_owned();
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        assert!(
            script.contains("secret-file"),
            "{shell} does not know flags"
        );
    }
    let unknown = run(&["completions", "csh"].map(OsString::from), b"");
    assert_eq!(unknown.status, Some(64), "{}", unknown.output());
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let into = |dir: OsString| run(&["man".into(), "--dir".into(), dir], b"");
    let ended = into(directory.path().into());
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    for command in commands() {
        let page = directory
            .path()
            .join(format!("ingo-signing-proxy-{command}.1"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{command}: {e}"));
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
    }
    let own = run(&["man".into()], b"");
    let page = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(page.contains(".SH SUBCOMMANDS"), "{page}");
    let nowhere = into(directory.path().join("none").into());
    assert_eq!(nowhere.status, Some(71), "{}", nowhere.output());
    assert!(nowhere.output().contains("--dir"), "{}", nowhere.output());
}

/// The schema of the key at `path`.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .fold(schema, |section, name| &section["properties"][name])
}

#[test]
fn the_json_schema_knows_the_keys_of_the_reference_and_what_they_may_be() {
    let ended = run(&["check", "--schema"].map(OsString::from), b"");
    let schema: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(at(&schema, "limits.body_bytes")["maximum"], 16 << 20);
    assert_eq!(at(&schema, "limits.body_bytes")["default"], "1MiB");
    assert_eq!(
        at(&schema, "routes.create_session.enabled")["default"],
        true
    );
    assert_eq!(at(&schema, "routes.process.validation"), &Value::Null);
    assert_eq!(schema["additionalProperties"], false);
    let effective = run(
        &["check", "--config", "config/minimal.yaml"].map(OsString::from),
        b"",
    );
    let effective = String::from_utf8(effective.stdout).expect("UTF-8");
    let mut sections: Vec<&str> = Vec::new();
    for line in effective.lines() {
        let content = line.trim_start().trim_start_matches("# ");
        let Some((name, _)) = content.split_once(':') else {
            continue;
        };
        sections.truncate((line.len() - line.trim_start().len()) / 2);
        let path = [&sections[..], &[name]].concat().join(".");
        let found = at(&schema, &path);
        assert!(
            found["description"].is_string() || found["properties"].is_object(),
            "{path}"
        );
        sections.push(name);
    }
}

#[test]
fn the_reference_that_check_prints_is_a_configuration_that_check_takes() {
    let ended = run(&["check", "--reference", "yaml"].map(OsString::from), b"");
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("proxy.yaml");
    std::fs::write(&file, &ended.stdout).expect("a temporary directory can be written to");
    let checked = run(
        &["check".into(), "--config".into(), file.into_os_string()],
        b"",
    );
    assert_eq!(checked.status, Some(0), "{}", checked.output());
    let with_others = ["check", "--reference", "yaml", "--config", "x"].map(OsString::from);
    assert_eq!(run(&with_others, b"").status, Some(64));
}
