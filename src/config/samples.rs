//! The sample configurations in `config/`, each read as a user would have it read.
//!
//! A file in `config/invalid` begins with `# expect: ` lines: exactly the messages it gets.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Config, Flag, LoadError, Loaded, Sources, load, schema};

/// Stands where a secret might have slipped to.
pub(super) const CANARY: &str = "canary";

fn try_file(file: &Path) -> Result<Loaded, LoadError> {
    load(&Sources {
        file: Some(file.to_owned()),
        ..Sources::default()
    })
}

fn read_file(file: &str) -> Loaded {
    try_file(Path::new(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads `text` as the content of a file.
pub(super) fn try_text(text: &str) -> Result<Loaded, LoadError> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("written");
    try_file(file.path())
}

fn read_text(text: &str) -> Loaded {
    try_text(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn with_flags(flags: &[(&'static str, &str)]) -> Config {
    let flag = |(key, value): &(&'static str, &str)| Flag {
        key,
        value: (*value).to_owned(),
        name: "--flag",
    };
    let sources = Sources {
        flags: flags.iter().map(flag).collect(),
        ..Sources::default()
    };
    load(&sources).expect("valid").config
}

#[test]
fn the_minimal_configuration_is_enough_for_the_sandbox() {
    let loaded = read_file("config/minimal.yaml");
    let routes = &loaded.config.routes;
    assert_eq!(routes.len(), 1);
    assert_eq!(
        routes[0].upstream.to_string(),
        "https://iip-session-management-uat.ingo.money"
    );
    assert!(loaded.warnings.is_empty());
}

#[test]
fn the_reference_says_the_same_as_saying_nothing() {
    let reference = read_file("config/reference.yaml");
    let defaults = with_flags(&[
        ("environment", "sandbox"),
        ("credentials.username", "your-username"),
        ("credentials.secret_file", "/run/secrets/ingo/secret"),
    ]);
    assert_eq!(format!("{:?}", reference.config), format!("{defaults:?}"));
    assert!(reference.warnings.is_empty());
}

#[test]
fn the_reference_holds_every_key_and_every_default_as_itself() {
    let text = fs::read_to_string("config/reference.yaml").expect("readable");
    let (mut commented, mut path) = (BTreeSet::new(), Vec::new());
    let mut written = BTreeSet::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim_start();
        let (optional, content) = match content.strip_prefix('#') {
            // Prose has a space after the `#`.
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => (true, rest),
            Some(_) => continue,
            None => (false, content),
        };
        let Some((name, value)) = content.split_once(':') else {
            continue;
        };
        path.truncate(indent / 2);
        path.push(name);
        let key = path.join(".");
        if value.trim().is_empty() {
            continue;
        }
        if optional {
            commented.insert(key);
        } else {
            written.insert((key, value.trim().to_owned()));
        }
    }
    for key in schema::KEYS.iter() {
        let own_default = key.default.is_some() && key.path != "threads";
        let required = [
            "environment",
            "credentials.username",
            "credentials.secret_file",
        ];
        if own_default {
            let default = key.default.as_deref().unwrap_or_default();
            let default = if key.list {
                format!("[{default}]")
            } else {
                default.to_owned()
            };
            let line = (key.path.clone(), default);
            assert!(written.contains(&line), "{line:?} is missing");
        } else if required.contains(&key.path.as_str()) {
            assert!(written.iter().any(|(written, _)| *written == key.path));
        } else {
            assert!(commented.contains(&key.path), "#{} is missing", key.path);
        }
    }
    assert_eq!(written.len() + commented.len(), schema::KEYS.len());
}

#[test]
fn the_optional_keys_of_the_reference_are_valid_where_they_do_not_exclude_each_other() {
    let text = fs::read_to_string("config/reference.yaml").expect("readable");
    // A build that cannot send spans refuses to be told where.
    let refused = |line: &&str| cfg!(not(feature = "otlp")) && line.contains("otlp_endpoint: ");
    let lines = (text.lines()).filter(|line| !line.contains("_env: ") && !refused(line));
    let uncommented: Vec<String> = lines
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => {
                line.replacen('#', "", 1)
            }
            _ => line.to_owned(),
        })
        .collect();
    let loaded = read_text(&uncommented.join("\n"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(loaded.config.credentials.api_key.is_some());
    assert!(loaded.config.upstream.ca_file.is_some());
}

#[test]
fn every_invalid_sample_gets_exactly_the_messages_it_expects() {
    let mut files: Vec<_> = fs::read_dir("config/invalid")
        .expect("a directory")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{} samples", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let expected: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("# expect: "))
            .collect();
        let Err(error) = try_file(&file) else {
            panic!("{} is accepted", file.display());
        };
        let told = error.to_string();
        let found: Vec<&str> = told.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(found, expected, "{}", file.display());
        assert!(
            !told.to_ascii_lowercase().contains(CANARY),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_username_survives_as_it_is_written() {
    for (written, username) in [
        ("0123", "0123"),
        ("'0123'", "0123"),
        ("\"0123\"", "0123"),
        ("1e5", "1e5"),
        ("yes", "yes"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("'~'", "~"),
    ] {
        let text = format!(
            "environment: sandbox\ncredentials: {{username: {written}, secret_file: /s}}\n"
        );
        assert_eq!(read_text(&text).config.credentials.username, username);
    }
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let extended = "\
        environment: production\n\
        shutdown_limit: 2m\n\
        log_format: json\n\
        listeners:\n\
        \x20 proxy: {address: 'unix:/run/a b, \"c\"', socket_mode: 0660, hosts: []}\n\
        \x20 health: {address: '[::]:9646'}\n\
        \x20 admin: {address: '127.0.0.1:0', hosts: [Proxy.example.com, '[::1]']}\n\
        credentials: {username: '~', secret_env: INGO_SECRET, api_key_file: \"/k # y\", algorithm: hmac-sha256}\n\
        upstream: {ca_file: 'null'}\n\
        routes:\n\
        \x20 process: {enabled: true, deadline: 2m}\n\
        \x20 verify_open_banking: {enabled: true, url: 'https://[2001:db8::1]:8443/'}\n\
        headers: {to_ingo: [traceparent], to_caller: [x-request-id]}\n";
    let samples = [
        read_file("config/minimal.yaml"),
        read_file("config/reference.yaml"),
        read_text(extended),
    ];
    for loaded in samples {
        let again = read_text(&loaded.effective.to_string());
        assert_eq!(
            format!("{:?}", again.config),
            format!("{:?}", loaded.config)
        );
    }
}

#[test]
fn a_source_of_the_secret_in_a_higher_layer_replaces_the_one_below() {
    let sources = Sources {
        file: Some("config/minimal.yaml".into()),
        environment: vec![(
            "INGO_PROXY__CREDENTIALS__SECRET_ENV".to_owned(),
            "INGO_SECRET".to_owned(),
        )],
        ..Sources::default()
    };
    assert_eq!(
        load(&sources).expect("valid").config.credentials.secret,
        super::SecretSource::Environment("INGO_SECRET".to_owned())
    );
}

#[test]
fn an_upstream_flag_means_all_routes_whatever_the_file_says_of_one() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "credentials: {username: u, secret_file: /s}\n\
                routes: {verify: {enabled: true, url: 'https://a.example.com'}}\n";
    fs::write(file.path(), text).expect("written");
    let sources = Sources {
        file: Some(file.path().to_owned()),
        flags: vec![Flag {
            key: "upstream.url",
            value: "http://127.0.0.1:9".to_owned(),
            name: "--upstream",
        }],
        environment: Vec::new(),
    };
    for route in load(&sources).expect("valid").config.routes {
        assert_eq!(route.upstream.to_string(), "http://127.0.0.1:9");
    }
}

#[test]
fn the_routes_flag_names_the_whole_set() {
    let config = with_flags(&[
        ("environment", "sandbox"),
        ("credentials.username", "u"),
        ("credentials.secret_file", "/s"),
        ("routes", "process, verify"),
    ]);
    let names: Vec<_> = config.routes.iter().map(|r| r.route.name()).collect();
    assert_eq!(names, ["verify", "process"]);
}

#[test]
fn variables_that_are_no_keys_are_mistakes_and_foreign_ones_are_not() {
    let variable = |name: &str| (name.to_owned(), CANARY.to_owned());
    let sources = Sources {
        file: Some("config/minimal.yaml".into()),
        environment: vec![
            variable("INGO_PROXY__LIMITS__BODY_BYTE"),
            variable("INGO_PROXY__CREDENTIALS__SECRET"),
            variable("INGO_PROXY__LIMITS"),
            variable("INGO_PROXY__threads"),
            variable("INGO_PROXY__RETRIES__BUDGET"),
            variable("INGO_PROXY__ROUTES__PROCES__ENABLED"),
            variable("INGO_PROXY__THREADS__MAX"),
            // What Kubernetes sets for a Service called ingo-proxy.
            variable("INGO_PROXY_SERVICE_HOST"),
            variable("PATH"),
        ],
        ..Sources::default()
    };
    let told = load(&sources).expect_err("mistakes").to_string();
    let expected = "the configuration has 7 mistakes:\n  \
        credentials.secret (INGO_PROXY__CREDENTIALS__SECRET): secrets do not stand in configuration: name a file with \
        credentials.secret_file or an environment variable with credentials.secret_env\n  \
        limits (INGO_PROXY__LIMITS): is a section; set its keys one by one, such as INGO_PROXY__LIMITS__BODY_BYTES\n  \
        limits.body_byte (INGO_PROXY__LIMITS__BODY_BYTE): unknown key; did you mean body_bytes?\n  \
        retries.budget (INGO_PROXY__RETRIES__BUDGET): unknown key; the keys here are environment, threads, log_format, reload_on_change, \
        shutdown_delay, shutdown_limit, listeners, credentials, upstream, routes, limits, repeats, \
        idempotency, journal, circuit_breaker, rate_limit, clock, histograms, tracing, headers\n  \
        routes.proces.enabled (INGO_PROXY__ROUTES__PROCES__ENABLED): unknown route; the routes are create_session, \
        verify, process, debit, notify_v3, notify_v4, notify_cancel, open_banking_account, verify_open_banking, \
        banking\n  \
        threads.max (INGO_PROXY__THREADS__MAX): is no key: threads holds a single value\n  \
        INGO_PROXY__threads: is no key; variables are the keys in capitals, with `__` for each dot";
    assert_eq!(told, expected);
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_warned_of() {
    let loaded = read_text(
        "environment: sandbox\n\
         credentials: {username: u, secret_file: /s}\n\
         shutdown_limit: 60s\n\
         listeners: {proxy: {address: '0.0.0.0:8646'}}\n\
         upstream: {danger_allow_cleartext: true}\n\
         routes: {process: {enabled: true, url: 'http://gateway.example.com'}}\n",
    );
    assert_eq!(
        loaded.warnings,
        [
            "routes.process.url begins with http://: requests and answers can be read and changed on the way",
            "the route process moves money and there is no journal: after a crash nobody can tell which calls had begun and \
             not ended; set journal.file",
            "shutdown_limit is shorter than 95s, the longest deadline of an enabled route and 5s more: a shutdown can \
             cut off an exchange whose outcome is then unknown",
            "listeners.proxy.address is not a loopback address and nothing authenticates callers: any host that can \
             reach it can have payments signed",
        ]
    );
}
