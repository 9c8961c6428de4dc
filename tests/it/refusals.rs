//! What is refused, with its row of the table in product.md, and that nothing of it goes upstream.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Answer, Client, Post, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, json_of, wire,
};

/// A proxy, and the upstream that must hear nothing from it.
struct Refusing {
    upstream: Upstream,
    proxy: Proxy,
}

impl Refusing {
    fn start() -> Self {
        Self::configured("")
    }

    fn configured(yaml: &str) -> Self {
        let upstream = Upstream::answering(Reply::json("{}"));
        let proxy = Proxy::to(&upstream).yaml(yaml).start();
        Self { upstream, proxy }
    }

    /// Sends exact bytes on a connection of their own; the answer must be this problem.
    fn refuses(&self, bytes: &[u8], status: u16, code: &str) -> (Client, Answer, Value) {
        let mut client = self.proxy.client();
        // A proxy may answer and close before it has read all.
        let _ = client.try_send(bytes);
        let method = bytes.split(|b| *b == b' ').next().unwrap_or_default();
        let answer = client.answer(&String::from_utf8_lossy(method));
        let problem = answer.is_problem(status, code, "no");
        (client, answer, problem)
    }

    /// Framing that cannot be trusted: 400, and whatever follows on the connection is never taken for a request.
    fn distrusts(&self, bytes: &[u8]) {
        let smuggled = Post::new("{}").bytes();
        // Behind the whole request, and behind its head alone, where its body would stand.
        let mut all = vec![[bytes, &smuggled].concat()];
        if let Some(end) = wire::find(bytes, b"\r\n\r\n") {
            all.push([&bytes[..end + 4], &smuggled].concat());
        }
        for bytes in all {
            let (mut client, _, _) = self.refuses(&bytes, 400, "bad_request");
            client.is_closed();
        }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.upstream.received_nothing();
        // The proxy lives on, and what it sends up next is the first that arrives.
        let answer = self.proxy.post(&Post::new(json_of(100)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.upstream.only_request().body, json_of(100));
    }
}

#[test]
fn an_empty_body_is_no_json() {
    let refusing = Refusing::start();
    refusing.refuses(&Post::new("").bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new("").in_chunks_of(1).bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new("").unframed().bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new(" \r\n\t").bytes(), 400, "body_not_json");
}

#[test]
fn a_byte_order_mark_is_no_json() {
    let refusing = Refusing::start();
    refusing.refuses(&Post::new("\u{feff}{}").bytes(), 400, "body_not_json");
}

#[test]
fn a_body_that_is_no_json_is_refused_with_its_offset_and_without_its_content() {
    let refusing = Refusing::start();
    // Each body, and the offset of the first byte that cannot stand there.
    let bodies = [
        (r#"{"canary-content": 'x'}"#, 19),
        (r#"{"canary-content": 1,}"#, 21),
        (r#"{"canary-content": 1} {"#, 22),
        (r#"["canary-content" "b"]"#, 18),
        ("canary-content=1", 0),
        ("{\"a\":\n\n \"canary-content\",\nb:1}", 26),
    ];
    for (body, offset) in bodies {
        let (_, answer, problem) = refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
        let text = answer.text();
        assert!(!text.contains("canary-content"), "{text}");
        let detail = problem["detail"].as_str().expect("text");
        let numbers: Vec<usize> = detail
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        assert!(
            numbers.contains(&offset),
            "the offset of {body:?} is {offset}: {detail}"
        );
    }
}

#[test]
fn a_body_that_ends_too_early_or_holds_what_json_has_not_is_refused() {
    let refusing = Refusing::start();
    for body in [
        "{",
        "[1,",
        "\"a",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "NaN",
        "{'a':1}",
        "{a:1}",
        "[1,]",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "{} // c",
        "/* c */{}",
        "{}\u{0}",
        "\u{a0}{}",
    ] {
        refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
    }
}

#[test]
fn a_body_that_is_no_utf_8_is_no_json() {
    let refusing = Refusing::start();
    for body in [
        &b"\"\xff\""[..],
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\xaf\"",
        b"\xfe\xff\0{\0}",
    ] {
        refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
    }
}

#[test]
fn json_nested_beyond_all_reason_is_answered_and_does_not_end_the_process() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 100_000;
        let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let answer = proxy.post(&Post::new(body.clone()));
        // It is JSON: passed on as it is, or refused with a reason; never a crash.
        match answer.status {
            200 => assert_eq!(
                upstream.requests().pop().expect("one").body,
                body.as_bytes()
            ),
            _ => drop(answer.is_problem(400, "body_not_json", "no")),
        }
    }
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
}

#[test]
fn an_idempotency_key_that_ingo_would_not_take_is_refused() {
    let refusing = Refusing::start();
    let post = Post::new("{}");
    let longer = "k".repeat(251);
    for key in ["", " ", &longer, "a b", "caf\u{e9}", "a\tb"] {
        let bytes = post.clone().header("Idempotency-Key", key).bytes();
        refusing.refuses(&bytes, 400, "bad_idempotency_key");
    }
    let several = post
        .header("Idempotency-Key", "a")
        .header("idempotency-key", "a");
    refusing.refuses(&several.bytes(), 400, "bad_idempotency_key");
}

#[test]
fn a_path_that_is_no_route_is_not_found() {
    let refusing = Refusing::start();
    for path in [
        "/",
        "/api/v1/sessions/point-in-time",
        "/api/v1/sessions/point-in-time/plugin/",
        "/api/v1/sessions/point-in-time/plugins",
        "/api/v1/sessions/point-in-time/Plugin",
        "/api/v1/sessions/point-in-time/%70lugin",
        "/api/v1/sessions/point-in-time/./plugin",
        "/api/v1/sessions/x/../point-in-time/plugin",
        "/api/v1/sessions//point-in-time/plugin",
        "//api/v1/sessions/point-in-time/plugin",
        "/api/v1/sessions/point-in-time/plugin;v=1",
        "/gateway/process",
        "/api/v4/customers",
        "/metrics",
        "/livez",
    ] {
        refusing.refuses(&Post::new("{}").to(path).bytes(), 404, "route_not_found");
    }
}

#[test]
fn a_prefix_route_refuses_what_another_server_could_resolve_differently() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).argument("--routes=banking").start();
    for path in [
        "/api/v4/../v1/x",
        "/api/v4/a/./b",
        "/api/v4/a/..",
        "/api/v4/.",
        "/api/v4//a",
        "/api/v4/a//b",
        "/api/v4/%2e%2e/x",
        "/api/v4/a%2Eb",
        "/api/v4/a%2fb",
        "/api/v4/a%2Fb",
        "/api/v4/a%5cb",
        "/api/v4/a\\b",
        "/api/v4",
        "/api/v40/a",
    ] {
        let answer = proxy.post(&Post::new("{}").to(path));
        assert!(
            (400..=404).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        answer.problem();
    }
    upstream.received_nothing();
    assert_eq!(
        proxy
            .post(&Post::new("{}").to("/api/v4/a..b/.c?d=../%2e"))
            .status,
        200
    );
}

#[test]
fn a_method_other_than_post_is_not_allowed_on_a_route() {
    let refusing = Refusing::start();
    for method in [
        "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "BREW",
    ] {
        let bytes = Post::new("").unframed().method(method).bytes();
        let (_, answer, _) = refusing.refuses(&bytes, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

#[test]
fn head_is_refused_without_a_body_in_the_answer() {
    let refusing = Refusing::start();
    let mut client = refusing.proxy.client();
    client.send(&Post::new("").unframed().method("HEAD").bytes());
    let answer = client.answer("HEAD");
    assert_eq!(answer.status, 405);
    // The connection says nothing more, and can be used on.
    assert!(
        !client.hears_something_within(Duration::from_millis(50))
            || answer.header("connection") == Some("close")
    );
}

#[test]
fn connect_and_the_asterisk_are_no_routes() {
    let refusing = Refusing::start();
    for line in [
        "CONNECT ingo.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        "POST api/v1/sessions/point-in-time/plugin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let mut client = refusing.proxy.client();
        client.send(line.as_bytes());
        let answer = client.answer("POST");
        assert!(
            [400, 404, 405, 421].contains(&answer.status),
            "{line}: {}",
            answer.status
        );
        answer.problem();
    }
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_length_before_it_is_read() {
    let refusing = Refusing::start();
    for length in ["1048577", "16777216", "18446744073709551615"] {
        let head = Post::new("")
            .unframed()
            .header("Content-Length", length)
            .head();
        refusing.refuses(&head, 413, "body_too_large");
    }
}

#[test]
fn a_caller_that_sends_on_gets_to_read_that_its_body_is_too_large() {
    let refusing = Refusing::configured("limits:\n  body_bytes: 64KiB\n");
    for post in [
        Post::new(json_of(65_537)),
        Post::new(json_of(65_537)).in_chunks_of(1_000),
        Post::new(json_of(250_000)),
        Post::new(json_of(250_000)).in_chunks_of(65_536),
    ] {
        // All of it is written before anything is read, as simple callers do.
        let mut client = refusing.proxy.client();
        client.send(&post.bytes());
        client
            .answer("POST")
            .is_problem(413, "body_too_large", "no");
    }
}

#[test]
fn the_limit_of_a_body_can_be_set_up_to_16_mib() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  body_bytes: 16MiB\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let body = json_of(16 * 1024 * 1024);
    let answer = proxy.post(&Post::new(body.clone()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let recorded = upstream.only_request();
    assert!(recorded.body == body, "the body came up changed");
    recorded.verify(SECRET, USERNAME);
}

#[test]
fn a_caller_that_stops_sending_its_body_is_told_so_after_the_deadline() {
    let refusing = Refusing::configured("limits:\n  body_deadline: 300ms\n");
    for post in [Post::new("{}"), Post::new("{}").in_chunks_of(1)] {
        let bytes = post.bytes();
        let (mut client, _, _) = refusing.refuses(&bytes[..bytes.len() - 1], 408, "body_timeout");
        client.is_closed();
    }
}

#[test]
fn the_deadline_of_a_body_is_for_all_of_it_and_not_for_each_read() {
    let refusing = Refusing::configured("limits:\n  body_deadline: 300ms\n");
    let mut client = refusing.proxy.client();
    client.send(&Post::new(json_of(60_000)).head());
    // A byte every 20 ms would take 20 minutes.
    while !client.hears_something_within(Duration::from_millis(20)) {
        if client.try_send(b" ").is_err() {
            break;
        }
    }
    let answer = client.answer("POST");
    answer.is_problem(408, "body_timeout", "no");
}

#[test]
fn a_head_that_never_ends_is_cut_off_after_its_deadline() {
    let refusing = Refusing::configured("limits:\n  header_deadline: 300ms\n");
    let mut client = refusing.proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-A: ");
    while !client.hears_something_within(Duration::from_millis(20)) {
        if client.try_send(b"x").is_err() {
            break;
        }
    }
    // Answered or not: what matters is that it ended.
    client.everything();
}

#[test]
fn a_target_over_the_limit_is_too_long() {
    let refusing = Refusing::start();
    let target = format!("{SESSIONS}?{}", "q".repeat(9_000));
    refusing.refuses(&Post::new("{}").to(target).bytes(), 414, "target_too_long");
}

#[test]
fn headers_over_the_limit_are_too_large() {
    let refusing = Refusing::start();
    let one = Post::new("{}").header("X-Large", "x".repeat(33_000));
    refusing.refuses(&one.bytes(), 431, "headers_too_large");
    let mut many = Post::new("{}");
    for at in 0..2_000 {
        many = many.header(&format!("X-{at}"), "0123456789");
    }
    refusing.refuses(&many.bytes(), 431, "headers_too_large");
}

#[test]
fn an_encoded_body_is_refused_with_the_coding_that_would_do() {
    let refusing = Refusing::start();
    for coding in [
        "gzip",
        "br",
        "deflate",
        "zstd",
        "gzip, identity",
        "aws-chunked",
    ] {
        let bytes = Post::new("{}").header("Content-Encoding", coding).bytes();
        let (_, answer, _) = refusing.refuses(&bytes, 415, "unsupported_encoding");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn the_identity_coding_is_none_and_passes() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let post = Post::new("{}").header("Content-Encoding", "Identity");
    assert_eq!(proxy.post(&post).status, 200);
    assert_eq!(upstream.only_request().header("content-encoding"), None);
}

#[test]
fn an_expectation_other_than_100_continue_fails() {
    let refusing = Refusing::start();
    for expectation in ["something", "200-ok", "100-continue, something"] {
        let bytes = Post::new("{}").header("Expect", expectation).bytes();
        refusing.refuses(&bytes, 417, "expectation_failed");
    }
}

#[test]
fn a_host_that_is_no_name_of_the_loopback_is_refused() {
    let refusing = Refusing::start();
    for host in [
        "evil.example",
        "evil.example:8646",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "ingo.money",
        "192.0.2.1",
        "",
    ] {
        let bytes = Post::new("{}").host(host).bytes();
        let (_, answer, _) = match host {
            "" => {
                let mut client = refusing.proxy.client();
                client.send(&bytes);
                let answer = client.answer("POST");
                let problem = answer.problem();
                assert!([400, 421].contains(&answer.status), "{problem}");
                (client, answer, problem)
            }
            _ => refusing.refuses(&bytes, 421, "host_refused"),
        };
        assert!(!answer.text().contains("evil"), "{}", answer.text());
    }
    let target = format!("http://evil.example{SESSIONS}");
    let absolute = Post::new("{}").to(target);
    let bytes = absolute.clone().host("evil.example").bytes();
    refusing.refuses(&bytes, 421, "host_refused");
    // Two names that contradict each other may also be framing that cannot be trusted.
    let answer = refusing.proxy.post(&absolute);
    assert!([400, 421].contains(&answer.status), "{}", answer.text());
    answer.problem();
}

#[test]
fn every_name_of_the_loopback_and_every_configured_one_is_a_good_host() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "listeners:\n  proxy:\n    hosts: [ingo-proxy.test]\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let port = proxy.address("proxy").port();
    for host in [
        "localhost".to_owned(),
        "LocalHost".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "127.0.0.1".to_owned(),
        format!("[::1]:{port}"),
        format!("ingo-proxy.test:{port}"),
        "Ingo-Proxy.Test".to_owned(),
    ] {
        let answer = proxy.post(&Post::new("{}").host(&host));
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
    }
}

#[test]
fn a_browser_is_refused_by_what_it_says_of_itself() {
    let refusing = Refusing::start();
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "http://localhost"),
        ("Origin", "null"),
        ("Origin", ""),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "same-origin"),
        ("sec-fetch-site", "anything"),
    ] {
        let bytes = Post::new("{}").header(name, value).bytes();
        let (_, answer, _) = refusing.refuses(&bytes, 403, "browser_refused");
        for (name, _) in &answer.headers {
            let name = name.to_ascii_lowercase();
            assert!(!name.starts_with("access-control-"), "{name}");
        }
    }
    let two = Post::new("{}")
        .header("Sec-Fetch-Site", "none")
        .header("Sec-Fetch-Site", "cross-site");
    refusing.refuses(&two.bytes(), 403, "browser_refused");
}

#[test]
fn a_request_that_no_web_page_made_passes() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let post = Post::new("{}").header("Sec-Fetch-Site", "none");
    assert_eq!(proxy.post(&post).status, 200);
}

#[test]
fn content_length_beside_transfer_encoding_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let post = Post::new("{}");
    let length_first = post.clone().header("Content-Length", "2").in_chunks_of(1);
    refusing.distrusts(&length_first.bytes());
    let length_last = post.unframed().header("Transfer-Encoding", "chunked");
    let length_last = length_last.header("Content-Length", "12");
    refusing.distrusts(&[&length_last.head()[..], b"2\r\n{}\r\n0\r\n\r\n"].concat());
}

#[test]
fn repeated_and_listed_lengths_are_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for lengths in [
        &["2", "2"][..],
        &["2", "3"],
        &["3", "2"],
        &["2, 2"],
        &["2,3"],
    ] {
        let mut post = Post::new("{}").unframed();
        for length in lengths {
            post = post.header("Content-Length", length);
        }
        refusing.distrusts(&post.bytes());
    }
}

#[test]
fn a_length_that_is_no_number_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for length in [
        "",
        "-2",
        "+2",
        "0x2",
        "2 2",
        "2;",
        "two",
        "2.0",
        "99999999999999999999999",
    ] {
        let post = Post::new("{}").unframed().header("Content-Length", length);
        let bytes = [&post.bytes()[..], &Post::new("{}").bytes()].concat();
        let mut client = refusing.proxy.client();
        let _ = client.try_send(&bytes);
        let answer = client.answer("POST");
        let code = answer.problem()["code"].clone();
        let larger_than_all = length.len() > 20 && code == "body_too_large";
        assert!(
            code == "bad_request" || larger_than_all,
            "{length:?}: {}",
            answer.text()
        );
        client.is_closed();
    }
}

#[test]
fn a_transfer_encoding_other_than_chunked_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for coding in [
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "gzip",
        "identity",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "",
    ] {
        let post = Post::new("{}")
            .unframed()
            .header("Transfer-Encoding", coding);
        refusing.distrusts(&[&post.head()[..], b"2\r\n{}\r\n0\r\n\r\n"].concat());
    }
    let twice = Post::new("{}")
        .in_chunks_of(1)
        .header("Transfer-Encoding", "chunked");
    refusing.distrusts(&twice.bytes());
}

#[test]
fn chunks_that_are_none_are_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let head = Post::new("").in_chunks_of(1).head();
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "3\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut client = refusing.proxy.client();
        let _ = client.try_send(&[&head[..], body.as_bytes()].concat());
        client.finish_sending();
        // Either a 400, or 413 for a chunk that could never fit; in any case the connection ends.
        if let Ok(answer) = client.try_answer("POST") {
            let status = answer.status;
            assert!(
                [400, 413].contains(&status),
                "{body:?}: {status} {}",
                answer.text()
            );
            answer.problem();
        }
        client.is_closed();
    }
}

#[test]
fn a_bare_line_feed_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let head = format!("POST {SESSIONS} HTTP/1.1\r\nHost: localhost\r\n");
    for rest in [
        "X-A: b\nContent-Length: 2\r\n\r\n{}",
        "Content-Length: 2\n\r\n{}",
        "Content-Length: 2\r\n\n{}",
        "X-A: b\nX-C: d\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        refusing.distrusts(format!("{head}{rest}").as_bytes());
    }
    refusing.distrusts(
        format!("POST {SESSIONS} HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{{}}").as_bytes(),
    );
}

#[test]
fn a_bare_carriage_return_or_a_nul_in_a_header_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for value in ["a\rContent-Length: 5", "a\0b"] {
        refusing.distrusts(&Post::new("{}").header("X-A", value).bytes());
    }
}

#[test]
fn a_folded_header_line_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(&Post::new("{}").header("X-A", "b\r\n c").bytes());
    refusing.distrusts(&Post::new("{}").header("X-A", "b\r\n\tc").bytes());
    let first = format!(
        "POST {SESSIONS} HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    refusing.distrusts(first.as_bytes());
}

#[test]
fn a_space_before_a_colon_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(
        &Post::new("{}")
            .unframed()
            .header("Content-Length ", "2")
            .bytes(),
    );
    refusing.distrusts(
        &Post::new("{}")
            .header("Transfer-Encoding ", "chunked")
            .bytes(),
    );
    refusing.distrusts(&Post::new("{}").header("X A", "b").bytes());
}

#[test]
fn a_missing_or_second_host_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(&Post::new("{}").without("Host").bytes());
    refusing.distrusts(&Post::new("{}").header("Host", "localhost").bytes());
    refusing.distrusts(&Post::new("{}").header("host", "evil.example").bytes());
}

#[test]
fn bytes_that_are_no_http_are_answered_with_400_or_closed() {
    let refusing = Refusing::start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"[..],
        b"hello, is this the proxy of Ingo? please answer\r\n\r\n",
        b"POST  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1 extra\r\nHost: localhost\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut client = refusing.proxy.client();
        let _ = client.try_send(bytes);
        client.finish_sending();
        if let Ok(answer) = client.try_answer("POST") {
            assert!([400, 404, 405, 505].contains(&answer.status), "{}", answer.status);
        }
        client.is_closed();
    }
}

#[test]
fn a_refusal_with_a_whole_request_leaves_the_connection_usable() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for (post, status) in [
        (Post::new("not json"), 400),
        (Post::new("{}").to("/nowhere"), 404),
        (Post::new("{}").header("Idempotency-Key", ""), 400),
    ] {
        let answer = client.post(&post);
        assert_eq!(answer.status, status);
        answer.problem();
        if answer
            .header("connection")
            .is_some_and(|c| c.eq_ignore_ascii_case("close"))
        {
            client.is_closed();
            client = proxy.client();
        }
    }
    assert_eq!(client.post(&Post::new("{}")).status, 200);
    upstream.only_request();
}

#[test]
fn what_is_wrong_with_the_path_is_said_before_what_is_wrong_with_the_body() {
    // A body for a path that is none is never waited for.
    let refusing = Refusing::start();
    let head = Post::new("")
        .unframed()
        .to("/nowhere")
        .header("Content-Length", "1000")
        .head();
    refusing.refuses(&head, 404, "route_not_found");
}

#[test]
fn no_refusal_repeats_what_the_caller_sent() {
    let refusing = Refusing::start();
    let canary = "canary-of-the-caller";
    for post in [
        Post::new("{}").to(format!("/{canary}")),
        Post::new("{}").method(&canary.to_ascii_uppercase()),
        Post::new("{}").header("Content-Encoding", canary),
        Post::new("{}").header("Expect", canary),
        Post::new("{}").header("Idempotency-Key", format!("{canary} {canary}")),
        Post::new("{}").host(&format!("{canary}.example")),
        Post::new(canary),
    ] {
        let answer = refusing.proxy.post(&post);
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        let text = answer.text().to_ascii_lowercase();
        assert!(!text.contains(canary), "{text}");
    }
}
