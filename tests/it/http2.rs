//! Cleartext HTTP/2 of callers: one connection, many streams, and each goes up as HTTP/1.1 of its own.

use std::{process::Command, time::Duration};

use crate::support::{
    Gate, Post, Process, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, json_of, process,
    session,
};

/// Posts by curl over HTTP/2 with prior knowledge; gives the status and the body. `None` where curl is missing.
fn curl_over_h2c(arguments: &[&str], body: &[u8]) -> Option<(u16, String)> {
    asked_over_h2c(&[&["--data-binary", "@-"], arguments].concat(), body)
}

/// The same with any method.
fn asked_over_h2c(arguments: &[&str], body: &[u8]) -> Option<(u16, String)> {
    if !process::is_installed("curl", &["--http2-prior-knowledge", "--version"]) {
        println!("skipped: no curl that speaks HTTP/2 is installed");
        return None;
    }
    let mut all = vec![
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "10",
    ];
    all.push("--http2-prior-knowledge");
    all.extend(["--write-out", "\n%{http_code} %{http_version}"]);
    all.extend(arguments);
    let ended = process::run("curl", &all, body);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    let (body, line) = output.rsplit_once('\n').expect("what --write-out writes");
    let (status, version) = line.split_once(' ').expect("two words");
    assert_eq!(version, "2");
    Some((status.parse().expect("a status"), body.to_owned()))
}

#[test]
fn cleartext_http_2_is_served_and_goes_up_as_http_1_1() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let url = format!("http://{}{SESSIONS}?a=%2F", proxy.address("proxy"));
    for size in [10, 65_537, 1_048_576] {
        let mut body = session("h2c");
        body.resize(body.len() + size, b' ');
        body.truncate(1_048_576);
        let Some((status, answer)) = curl_over_h2c(&[&url], &body) else {
            return;
        };
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains("\"h2c\""), "{answer}");
        let recorded = upstream.requests().pop().expect("a request");
        assert!(recorded.body == body, "the body came up changed");
        assert_eq!(recorded.target(), format!("{SESSIONS}?a=%2F").as_bytes());
        recorded.verify(SECRET, USERNAME);
    }
}

#[test]
fn head_over_http_2_is_refused_without_a_body_in_the_answer() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let url = format!("http://{}{SESSIONS}", proxy.address("proxy"));
    // A body would be an error of the protocol's to curl.
    if let Some((status, head)) = asked_over_h2c(&["--head", &url], b"") {
        assert_eq!(status, 405);
        assert!(head.contains("content-length: "), "{head}");
    }
}

#[test]
fn over_http_2_the_same_is_refused_as_over_http_1_1() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let base = format!("http://{}", proxy.address("proxy"));
    let url = format!("{base}{SESSIONS}");
    let nowhere = format!("{base}/nowhere");
    let cases: [(&[&str], &[u8], u16, &str); 8] = [
        (&[&url], b"not json", 400, "body_not_json"),
        (&[&url], b"", 400, "body_not_json"),
        (&[&nowhere], b"{}", 404, "route_not_found"),
        (
            &[&url, "--request", "PUT"],
            b"{}",
            405,
            "method_not_allowed",
        ),
        (
            &[&url, "--header", "Origin: http://localhost"],
            b"{}",
            403,
            "browser_refused",
        ),
        (
            &[&url, "--header", "Host: evil.example"],
            b"{}",
            421,
            "host_refused",
        ),
        (
            &[&url, "--header", "Content-Encoding: gzip"],
            b"{}",
            415,
            "unsupported_encoding",
        ),
        (
            &[&url, "--header", "Idempotency-Key;"],
            b"{}",
            400,
            "bad_idempotency_key",
        ),
    ];
    for (arguments, body, status, code) in cases {
        let Some((was, answer)) = curl_over_h2c(arguments, body) else {
            return;
        };
        assert_eq!(was, status, "{arguments:?}: {answer}");
        let problem: serde_json::Value = serde_json::from_str(&answer).expect("a problem");
        assert_eq!(problem["code"], code);
        assert_eq!(problem["sent"], "no");
    }
    let large = json_of(1_048_577);
    let (status, answer) = curl_over_h2c(&[&url], &large).expect("curl is installed");
    assert_eq!(status, 413, "{answer}");
    upstream.received_nothing();
}

/// Runs the script that opens one HTTP/2 connection and sends `streams` requests on it, `at_once` or one by one.
/// `None` where Node is missing.
fn node_over_h2c(proxy: &Proxy, streams: usize, order: &str) -> Option<Process> {
    if !process::is_installed("node", &["--version"]) {
        println!("skipped: node is not installed");
        return None;
    }
    let mut command = Command::new("node");
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clients/http2_streams.mjs"
        ))
        .arg(format!("http://{}", proxy.address("proxy")))
        .args([SESSIONS, &streams.to_string(), order]);
    Some(Process::start(command, b""))
}

#[test]
fn many_streams_of_one_http_2_connection_get_each_its_own_answer() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let Some(node) = node_over_h2c(&proxy, 100, "at-once") else {
        return;
    };
    let ended = node.end(Duration::from_secs(30));
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let requests = upstream.requests();
    assert_eq!(requests.len(), 100);
    for recorded in requests {
        recorded.verify(SECRET, USERNAME);
    }
}

#[test]
fn an_http_2_connection_outlives_the_deadline_and_the_size_of_a_single_head() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream =
        Upstream::scripted(move |request| Reply::session(&request.participant()).held_by(&holding));
    let yaml = "limits:\n  header_deadline: 200ms\n  header_bytes: 2KiB\n  target_bytes: 1KiB\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    // A connection on which nothing happens is the clock: it hears nothing for longer than a head may take.
    let mut clock = proxy.client();
    let Some(node) = node_over_h2c(&proxy, 20, "one-by-one") else {
        return;
    };
    upstream.wait_for(1);
    assert!(!clock.hears_something_within(Duration::from_millis(600)));
    gate.open();
    let ended = node.end(Duration::from_secs(30));
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    assert_eq!(upstream.requests().len(), 20);
}

#[test]
fn a_refusal_over_http_2_is_always_heard_even_when_the_body_was_not_read() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let url = format!("http://{}/nowhere", proxy.address("proxy"));
    for round in 0..30 {
        let Some((status, answer)) = curl_over_h2c(&[&url], &json_of(1_000)) else {
            return;
        };
        assert_eq!(status, 404, "{round}: {answer}");
    }
    upstream.received_nothing();
}

#[test]
fn a_caller_over_http_2_that_gives_up_in_the_queue_leaves_it_and_nothing_of_it_is_sent() {
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::json("{}").held_by(&gate));
    let yaml = "limits:\n  exchanges_in_flight: 1\n  queue_length: 1\n  queue_wait: 60s\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut running = proxy.client();
    running.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    let url = format!("http://{}{SESSIONS}", proxy.address("proxy"));
    let mut gives_up = vec!["--http2-prior-knowledge", "--noproxy", "*", &url];
    gives_up.extend(["--max-time", "3", "--data", "{}"]);
    if !process::is_installed("curl", &["--http2-prior-knowledge", "--version"]) {
        println!("skipped: no curl that speaks HTTP/2 is installed");
        return;
    }
    let ended = process::run("curl", &gives_up, b"");
    assert_eq!(ended.status, Some(28), "{}", ended.output());
    let line = &proxy.access_lines(1)[0];
    assert_eq!(line["outcome"], "aborted", "{line:#}");
    assert_eq!(line["sent"], "no", "{line:#}");
    gate.open();
    assert_eq!(running.answer("POST").status, 200);
    upstream.only_request();
}
