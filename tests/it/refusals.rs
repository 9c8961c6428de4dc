//! What is refused, with its row of the table in product.md, and that nothing of it goes upstream.

use std::time::Duration;

use crate::support::{Post, Proxy, Refusing, Reply, SECRET, SESSIONS, USERNAME, Upstream, json_of};

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
    for length in [
        "1048577",
        "16777216",
        "18446744073709551615",
        "99999999999999999999",
    ] {
        let head = Post::new("")
            .unframed()
            .header("Content-Length", length)
            .head();
        let (mut client, ..) = refusing.refuses(&head, 413, "body_too_large");
        client.finish_sending();
        client.is_closed();
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
fn a_head_that_begins_as_http_2_does_is_cut_off_after_its_deadline_too() {
    let refusing = Refusing::configured("limits:\n  header_deadline: 300ms\n");
    for begun in ["P", "PRI", "PRI * HTTP/2.0\r\n", "POST /"] {
        let (mut client, ..) = refusing.refuses(begun.as_bytes(), 408, "body_timeout");
        client.is_closed();
    }
    let mut client = refusing.proxy.client();
    client.send(b"P");
    let rest = Post::new("{}").to("/nowhere").bytes();
    client.send(&rest[1..]);
    client
        .answer("POST")
        .is_problem(404, "route_not_found", "no");
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
