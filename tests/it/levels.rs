//! Log levels while it runs, and warnings that repeat.

use std::{io::Write as _, net::TcpStream, os::unix::net::UnixStream, time::Instant};

use serde_json::Value;

use crate::support::{
    Answer, Client, PATIENCE, Post, Proxy, Reply, Upstream, session,
    tls::{Authority, Identity},
};

fn ask(proxy: &Proxy, method: &str, body: &str) -> Answer {
    let mut client = Client::connect(proxy.address("admin"));
    let length = body.len();
    let request = format!(
        "{method} /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    client.send(request.as_bytes());
    client.answer(method)
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(output).into_owned();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn levels_are_set_while_it_runs_and_back_to_those_of_the_start() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream)
        .admin()
        .env("RUST_LOG", "info,ingo_signing_proxy::access=off")
        .start();
    let at_start = "ingo_signing_proxy::access=off,info\n";
    assert_eq!(ask(&proxy, "GET", "").text(), at_start);
    assert_eq!(proxy.post(&Post::new(session("one"))).status, 200);
    // Its line would be written after its answer, and counts as running until then.
    proxy.metrics_become(|m| {
        m.sum("ingo_proxy_exchanges_total", &[]) == 1.0
            && m.sum("ingo_proxy_exchanges_in_flight", &[]) == 0.0
    });

    let answer = ask(&proxy, "PUT", "info\n");
    assert_eq!((answer.status, answer.text().as_str()), (200, "info\n"));
    assert_eq!(proxy.post(&Post::new(session("two"))).status, 200);
    let line = proxy.access_lines(1).remove(0);
    assert_eq!(line["participant_unique_id1"], "two");

    let answer = ask(&proxy, "DELETE", "");
    assert_eq!((answer.status, answer.text().as_str()), (200, at_start));
    assert_eq!(proxy.post(&Post::new(session("three"))).status, 200);
    let ended = proxy.terminate();
    let lines = lines(&ended.stdout);
    let told = |message: &str| lines.iter().filter(|l| l["message"] == message).count();
    assert_eq!(told("exchange"), 1);
    assert_eq!(told("log levels were set by the admin listener"), 2);
}

#[test]
fn that_levels_were_set_is_told_also_where_the_new_ones_are_quiet() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream)
        .admin()
        .env("RUST_LOG", "off,ingo_signing_proxy::cli=info")
        .start();
    for quiet in ["off", "error", "warn"] {
        assert_eq!(ask(&proxy, "PUT", quiet).status, 200);
        assert_eq!(ask(&proxy, "PUT", "info").status, 200);
    }
    assert_eq!(ask(&proxy, "DELETE", "").status, 200);
    let lines = lines(&proxy.terminate().stdout);
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "log levels were set by the admin listener")
        .map(|line| line["levels"].as_str().unwrap())
        .collect();
    let at_start = "ingo_signing_proxy::cli=info,off";
    assert_eq!(
        told,
        ["off", "info", "error", "info", "warn", "info", at_start]
    );
}

#[test]
fn what_is_no_level_is_refused_and_changes_nothing() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).admin().start();
    let before = ask(&proxy, "GET", "").text();
    for wrong in [
        "",
        " \n",
        ",",
        "loud=",
        "debgu",
        "a=b=c",
        "info,proxy=ninety",
    ] {
        let answer = ask(&proxy, "PUT", wrong);
        assert_eq!(answer.status, 400, "{wrong:?}: {}", answer.text());
        assert!(answer.text().contains("such as info"), "{}", answer.text());
    }
    // More than sockets hold, so that it is read on while the answer is on its way.
    let answer = ask(&proxy, "PUT", &"a=info,".repeat(10_000));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (413, "the body is larger than 4096 bytes\n")
    );
    let answer = ask(&proxy, "POST", "info");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, PUT, DELETE"));
    assert_eq!(ask(&proxy, "GET", "").text(), before);
    let mut browser = Client::connect(proxy.address("admin"));
    browser.send(
        b"PUT /log-level HTTP/1.1\r\nHost: localhost\r\nOrigin: https://x.example\r\nContent-Length: 5\r\n\r\ntrace",
    );
    assert_eq!(browser.answer("PUT").status, 403);
}

#[test]
fn levels_of_other_programs_and_slips_let_it_serve_and_it_says_that_it_logs_nothing() {
    for levels in [
        "tower=debug,hyper::client=info",
        "warning",
        "debgu",
        "info=",
        ",",
    ] {
        serves_and_says_that_it_logs_nothing(levels);
    }
}

fn serves_and_says_that_it_logs_nothing(levels: &str) {
    let upstream = Upstream::echoing();
    let builder = Proxy::to(&upstream).env("RUST_LOG", levels);
    let socket = builder.directory().join("health.sock");
    let health = format!("unix:{}", socket.display());
    let (proxy, _directory) = builder.health(Some(&health)).pretty();
    let until = Instant::now() + PATIENCE;
    let serves = || {
        let mut socket = UnixStream::connect(&socket)?;
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        std::io::read_to_string(socket)
    };
    while !serves().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(Instant::now() < until, "it should serve");
        std::thread::yield_now();
    }
    let output = proxy.output();
    let told = String::from_utf8_lossy(&output);
    assert!(
        told.contains("RUST_LOG names nothing of this program"),
        "{levels}: {told}"
    );
}

#[test]
fn levels_that_name_this_program_or_no_target_are_taken_as_they_are() {
    let upstream = Upstream::echoing();
    for levels in ["ingo_signing_proxy", "hyper,INFO", "3", "info,"] {
        let ended = Proxy::to(&upstream)
            .env("RUST_LOG", levels)
            .start()
            .terminate();
        assert_eq!(ended.status, Some(0), "{levels}");
        assert!(ended.stderr.is_empty(), "{}", ended.output());
    }
}

#[test]
fn lines_of_libraries_name_their_origin_in_the_pretty_format_and_no_file_of_the_build() {
    let upstream = Upstream::echoing();
    let builder = Proxy::to(&upstream);
    let socket = builder.directory().join("proxy.sock");
    let address = format!("unix:{}", socket.display());
    let (pretty, _directory) = builder.listen(Some(&address)).pretty();
    let listens = |lines: &[String]| {
        let is_there = |line: &String| line.contains("listening") && line.contains("health");
        lines.iter().any(is_there).then_some(())
    };
    pretty.wait_until(PATIENCE, listens).expect("it listens");
    let answer = Client::connect_unix(&socket).post(&Post::new(session("one")));
    assert_eq!(answer.status, 200);
    pretty.signal("TERM");
    let output = pretty.end(PATIENCE).output();
    assert!(output.contains(" INFO pingora_core::"), "{output}");
    assert!(!output.contains("log."), "{output}");
}

#[test]
fn a_library_stays_capped_whatever_level_is_set() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    assert_eq!(ask(&proxy, "PUT", "trace").status, 200);
    assert_eq!(proxy.post(&Post::new(session("one"))).status, 200);
    proxy.access_lines(1);
    let ended = proxy.terminate();
    for line in lines(&ended.stdout) {
        let own = line["target"]
            .as_str()
            .unwrap()
            .starts_with("ingo_signing_proxy");
        let level = line["level"].as_str().unwrap();
        assert!(own || !["DEBUG", "TRACE"].contains(&level), "{line:#}");
    }
}

#[test]
fn a_warning_that_repeats_is_written_a_few_times_and_then_counted() {
    const KNOCKS: usize = 50;
    const WRITTEN: usize = 10;
    let leaf = Authority::fresh().issue(&["127.0.0.1"]);
    let upstream = Upstream::over_tls(Identity::of(&["127.0.0.1"]), Reply::json("{}"));
    let builder = Proxy::to(&upstream);
    let directory = builder.directory();
    std::fs::write(directory.join("crt"), &leaf.certificate).unwrap();
    std::fs::write(directory.join("key"), &leaf.key).unwrap();
    let yaml = format!(
        "listeners: {{proxy: {{tls: {{certificate_file: {0}/crt, key_file: {0}/key}}}}}}\n",
        directory.display()
    );
    let proxy = builder.yaml(&yaml).start();
    for _ in 0..KNOCKS {
        // It begins as TLS does, and goes on as nothing that is known.
        let mut socket = TcpStream::connect(proxy.address("proxy")).unwrap();
        socket.write_all(&[22, 9, 9, 0, 4, 9, 9, 9, 9]).unwrap();
    }
    let failed = "ingo_proxy_inbound_tls_handshakes_failed_total";
    proxy.metrics_become(|m| m.sum(failed, &[]) == KNOCKS as f64);
    let ended = proxy.terminate();
    let lines = lines(&ended.stdout);
    let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
    let written = lines
        .iter()
        .filter(|line| message(line).contains("TLS handshake failed"));
    assert_eq!(written.count(), WRITTEN);
    let left_out: Vec<_> = lines
        .iter()
        .filter(|line| message(line).contains("were left out"))
        .collect();
    assert_eq!(left_out.len(), 1, "{left_out:#?}");
    assert_eq!(left_out[0]["count"], KNOCKS - WRITTEN);
    assert!(
        left_out[0]["like"]
            .as_str()
            .unwrap()
            .contains("TLS handshake failed"),
        "{left_out:#?}"
    );
}
