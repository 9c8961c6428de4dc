//! The clients that people really use. Each posts plain JSON as it would to any service, and what comes up verifies.

use crate::support::{Ended, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, process, session};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Lets a client post a session request twice to the URL it is given, and checks what it got and what came up.
fn posts_and_verifies(client: impl Fn(&str) -> Ended) {
    let upstream = Upstream::scripted(|_| Reply::session("from-ingo"));
    let proxy = Proxy::to(&upstream).start();
    let url = format!("http://{}{SESSIONS}", proxy.address("proxy"));
    let ended = client(&url);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    let answers = output.matches("from-ingo").count();
    assert!(answers > 0, "{output}");
    let requests = upstream.requests();
    assert_eq!(requests.len(), answers, "{output}");
    for recorded in requests {
        assert!(String::from_utf8_lossy(&recorded.body).contains("from-the-client"));
        recorded.verify(SECRET, USERNAME);
    }
}

/// Runs `program` where `probe` shows that it is installed; says so where it is not.
fn with_installed(program: &str, probe: &[&str], arguments: &[&str]) {
    if !process::is_installed(program, probe) {
        eprintln!("SKIPPED: {program} {} does not run here", probe.join(" "));
        return;
    }
    posts_and_verifies(|url| {
        let mut all = arguments.to_vec();
        all.push(url);
        process::run(program, &all, b"")
    });
}

fn script(name: &str) -> String {
    format!("{SCRIPTS}/{name}")
}

#[test]
fn curl_with_nothing_but_a_body() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("session.json");
    std::fs::write(&file, session("from-the-client"))
        .expect("a temporary directory can be written to");
    let body = format!("@{}", file.display());
    let arguments = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "10",
        "-d",
        &body,
    ];
    with_installed("curl", &["--version"], &arguments);
}

#[test]
fn curl_that_expects_100_continue() {
    // What curl itself does for bodies over 1 MiB, and did for those over 1 KiB.
    let body = String::from_utf8(session("from-the-client")).expect("text");
    let arguments = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "10",
    ];
    let expecting = [
        "-H",
        "Expect: 100-continue",
        "-H",
        "Transfer-Encoding: chunked",
        "-d",
        &body,
    ];
    with_installed(
        "curl",
        &["--version"],
        &[&arguments[..], &expecting].concat(),
    );
}

#[test]
fn python_with_urllib() {
    with_installed("python3", &["--version"], &[&script("urllib_post.py")]);
}

#[test]
fn python_with_requests() {
    with_installed(
        "python3",
        &["-c", "import requests"],
        &[&script("requests_post.py")],
    );
}

#[test]
fn node_with_fetch() {
    let probe = "if (typeof fetch !== 'function') process.exit(1)";
    with_installed("node", &["-e", probe], &[&script("fetch_post.mjs")]);
}

#[test]
fn java_with_its_http_client_which_offers_h2c() {
    with_installed("java", &["--version"], &[&script("HttpClientPost.java")]);
}
