//! What Ingo answers comes back as it is; what went wrong on the way is said truthfully.

use std::{net::TcpListener, time::Duration};

use crate::support::{Answer, Cut, Gate, Post, Proxy, Reply, Upstream, json_of};

/// Lets one request be answered with `reply`.
fn answered_with(reply: Reply) -> Answer {
    let upstream = Upstream::answering(reply);
    let answer = Proxy::to(&upstream).start().post(&Post::new("{}"));
    upstream.only_request();
    answer
}

/// Lets one request be answered with these bytes, after which the connection ends.
fn answered_with_raw(bytes: &[u8]) -> Answer {
    answered_with(Reply::raw(bytes))
}

/// Panics unless the answer is one of the two that tell of a broken answer.
fn is_broken_answer(answer: &Answer) {
    let code = answer.problem()["code"].clone();
    let codes = ["upstream_reset", "upstream_bad_response"];
    let code = code.as_str().expect("a code");
    assert!(codes.contains(&code), "{}", answer.text());
    answer.is_problem(502, code, "maybe");
}

#[test]
fn status_and_body_of_ingo_pass_byte_for_byte() {
    for status in [200, 201, 202, 400, 404, 409, 422, 429, 500, 502, 503, 504] {
        let body = format!("{{ \"status\" : 13400,\r\n\t\"http\":{status} }}\n");
        let reply = Reply::status(status)
            .header("Content-Type", "application/json")
            .body(body.clone());
        let answer = answered_with(reply);
        assert_eq!(answer.status, status);
        assert_eq!(answer.text(), body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn bytes_that_are_no_text_and_no_json_pass_as_they_are() {
    let body: Vec<u8> = (0..=255).collect();
    let reply = Reply::status(200)
        .header("Content-Type", "application/xml")
        .header("Content-Encoding", "br")
        .body(body.clone());
    let answer = answered_with(reply);
    assert_eq!(answer.body, body);
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    assert_eq!(answer.header("content-encoding"), Some("br"));
}

#[test]
fn a_401_of_ingo_passes_with_its_challenge() {
    let body = r#"{"message":"HMAC signature does not match"}"#;
    let reply = Reply::status(401)
        .header("WWW-Authenticate", "hmac realm=\"x\"")
        .body(body);
    let answer = answered_with(reply);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.text(), body);
    assert_eq!(answer.header("www-authenticate"), Some("hmac realm=\"x\""));
}

#[test]
fn the_allowed_headers_of_ingo_pass_and_no_others() {
    let passing = [
        ("Content-Type", "application/json;v=1"),
        ("Content-Encoding", "identity"),
        ("WWW-Authenticate", "hmac"),
        ("Retry-After", "7"),
        ("Deprecation", "@1688169599"),
        ("Sunset", "Sun, 30 Jun 2030 23:59:59 GMT"),
    ];
    let staying = [
        ("Set-Cookie", "a=stays-there"),
        ("Server", "stays-there"),
        ("Via", "1.1 stays-there"),
        ("X-Powered-By", "stays-there"),
        ("Location", "https://stays-there.example"),
        ("ETag", "\"stays-there\""),
        ("X-Request-Id", "stays-there"),
        ("Access-Control-Allow-Origin", "stays-there"),
        ("Cache-Control", "public, max-age=60, stays-there"),
        ("Idempotency-Key", "stays-there"),
        ("Proxy-Status", "stays-there"),
        ("Keep-Alive", "timeout=5, stays-there"),
        ("Connection", "X-Named"),
        ("X-Named", "stays-there"),
        ("Alt-Svc", "h3=\":443\""),
    ];
    let mut reply = Reply::status(200).body("{}");
    for (name, value) in passing.iter().chain(&staying) {
        reply = reply.header(name, value);
    }
    let answer = answered_with(reply);
    for (name, value) in passing {
        assert_eq!(answer.header(name), Some(value));
    }
    let ours = ["idempotency-key", "cache-control", "proxy-status"];
    let of_the_connection = ["content-length", "transfer-encoding", "connection", "date"];
    for (name, value) in &answer.headers {
        let known = passing
            .iter()
            .map(|(n, _)| *n)
            .chain(ours)
            .chain(of_the_connection);
        assert!(
            known.into_iter().any(|n| n.eq_ignore_ascii_case(name)),
            "{name}: {value} should not pass"
        );
        assert!(!value.contains("stays-there"), "{name}: {value}");
    }
}

#[test]
fn a_request_id_header_that_the_configuration_names_passes() {
    let upstream = Upstream::answering(Reply::json("{}").header("X-Request-Id", "r-1"));
    let yaml = "headers:\n  to_caller: [x-request-id]\n";
    let answer = Proxy::to(&upstream)
        .yaml(yaml)
        .start()
        .post(&Post::new("{}"));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
}

#[test]
fn each_answer_says_its_key_is_not_stored_and_tells_the_attempts() {
    let answer = answered_with(Reply::json("{}"));
    assert!(answer.header("idempotency-key").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("proxy-status"),
        Some("ingo-signing-proxy; attempts=1")
    );
}

#[test]
fn answers_arrive_whole_however_they_are_framed() {
    for size in [2, 65_536, 65_537, 1_048_576] {
        let body = json_of(size);
        for reply in [
            Reply::json(body.clone()),
            Reply::json(body.clone()).in_chunks_of(4_099),
            Reply::json(body.clone()).until_close(),
        ] {
            let answer = answered_with(reply);
            assert_eq!(answer.status, 200, "{size}: {}", answer.text());
            assert!(answer.body == body, "the {size} bytes came back changed");
        }
    }
}

#[test]
fn an_answer_without_a_body_passes() {
    let answer = answered_with(Reply::status(204));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let answer = answered_with(Reply::status(200));
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[test]
fn an_answer_says_what_becomes_of_its_connection_and_when_it_was_made() {
    let upstream = Upstream::scripted(|request| match request.body.len() {
        2 => Reply::status(204),
        _ => Reply::json("{}"),
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let empty = client.post(&Post::new("{}"));
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    let kept = client.post(&Post::new("[1]"));
    let last = client.post(&Post::new("[1]").header("Connection", "close"));
    for (answer, connection) in [
        (&empty, "keep-alive"),
        (&kept, "keep-alive"),
        (&last, "close"),
    ] {
        assert_eq!(answer.header("connection"), Some(connection));
        let date = answer.header("date").expect("a date (RFC 9110 §6.6.1)");
        httpdate::parse_http_date(date).expect("an HTTP date");
    }
    assert_eq!(last.header("content-length"), Some("2"));
    client.is_closed();
}

#[test]
fn fields_are_spelled_alike_in_answers_of_ingo_and_in_our_own() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for (post, status) in [(Post::new("{}"), "200 "), (Post::new("{"), "400 ")] {
        let mut client = proxy.client();
        client.send(&post.header("Connection", "close").bytes());
        let answer = String::from_utf8(client.everything()).expect("text");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        for name in [
            "Content-Type",
            "Content-Length",
            "Proxy-Status",
            "Cache-Control",
            "Connection",
            "Date",
        ] {
            assert!(
                answer.contains(&format!("\r\n{name}: ")),
                "{name} in {answer}"
            );
        }
    }
}

#[test]
fn interim_answers_of_ingo_are_skipped() {
    let reply = Reply::json(json_of(100))
        .after_interim("HTTP/1.1 100 Continue")
        .after_interim("HTTP/1.1 103 Early Hints\r\nLink: </x>");
    let answer = answered_with(reply);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json_of(100));
    assert!(answer.interim.is_empty());
}

#[test]
fn an_answer_that_announces_more_than_the_limit_is_not_waited_for() {
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\r\n{}";
    let upstream = Upstream::answering(Reply::raw(head).then_stay_open());
    let proxy = Proxy::to(&upstream).start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_bad_response", "maybe");
}

#[test]
fn an_answer_larger_than_the_limit_is_a_bad_response_however_it_is_framed() {
    let body = json_of(1_048_577);
    for reply in [
        Reply::json(body.clone()),
        Reply::json(body.clone()).in_chunks_of(65_536),
        Reply::json(body.clone()).until_close(),
    ] {
        let answer = answered_with(reply);
        answer.is_problem(502, "upstream_bad_response", "maybe");
    }
}

#[test]
fn an_answer_that_ends_early_is_never_passed_on_as_whole() {
    let broken: [&[u8]; 9] = [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Type: app",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
    ];
    for bytes in broken {
        is_broken_answer(&answered_with_raw(bytes));
    }
}

#[test]
fn an_answer_that_is_no_http_is_a_bad_response() {
    let broken: [&[u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ];
    for bytes in broken {
        is_broken_answer(&answered_with_raw(bytes));
    }
}

#[test]
fn an_answer_whose_framing_can_be_read_in_two_ways_is_a_bad_response() {
    let broken: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}   ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 5\r\n\r\n{}   ",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    ];
    for bytes in broken {
        let answer = answered_with_raw(bytes);
        assert_eq!(answer.status, 502, "{}", String::from_utf8_lossy(bytes));
        is_broken_answer(&answer);
    }
}

#[test]
fn an_answer_with_transfer_encoding_and_something_beside_it_is_a_bad_response_and_its_connection_ends()
 {
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\ncontent-length : 2",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let upstream = Upstream::scripted(move |request| match request.connection {
            0 => Reply::raw(format!("{head}2\r\n{{}}\r\n0\r\n\r\n")).then_stay_open(),
            _ => Reply::json("\"another\""),
        });
        let proxy = Proxy::to(&upstream).argument("--routes=process").start();
        let post = Post::new("{}").to("/gateway/process");
        let answer = proxy.post(&post);
        assert_eq!(answer.status, 502, "{framing}: {}", answer.text());
        answer.is_problem(502, "upstream_bad_response", "maybe");
        let detail = answer.problem()["detail"].clone();
        let detail = detail.as_str().expect("a detail");
        assert!(detail.contains("where its body ends"), "{detail}");
        upstream.only_request();
        assert_eq!(proxy.post(&post).text(), "\"another\"");
        assert_eq!(upstream.connections(), 2);
    }
}

#[test]
fn an_answer_of_http_1_0_passes_and_its_connection_is_not_used_again() {
    let upstream = Upstream::scripted(|request| match request.connection {
        0 => Reply::raw("HTTP/1.0 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}")
            .then_stay_open(),
        _ => Reply::raw("HTTP/1.0 200 OK\r\n\r\n[1]"),
    });
    let proxy = Proxy::to(&upstream).start();
    for body in ["{}", "[1]"] {
        let answer = proxy.post(&Post::new("{}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), body);
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_reset_before_in_and_after_the_request_is_told_as_one_that_may_have_been_received() {
    for cut in [Cut::AtOnce, Cut::AtFirstByte, Cut::AfterHead] {
        let upstream = Upstream::cutting(move |_, _| cut, |_| Reply::json("{}"));
        let post = Post::new(json_of(1_000));
        let answer = Proxy::to(&upstream).start().post(&post);
        answer.is_problem(502, "upstream_reset", "maybe");
    }
    let answer = answered_with(Reply::reset());
    answer.is_problem(502, "upstream_reset", "maybe");
}

#[test]
fn a_reset_within_the_answer_is_told_as_one_that_may_have_been_received() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\"";
    let answer = answered_with(Reply::raw(head).then_reset());
    is_broken_answer(&answer);
}

#[test]
fn a_port_that_refuses_is_unreachable_and_nothing_was_sent() {
    // Bound and not listening: nobody else gets the port, and every connection is refused.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let loopback: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&loopback.into()).expect("a free port");
    let address = socket.local_addr().expect("bound").as_socket();
    let address = address.expect("an address of the internet");
    let proxy = Proxy::to_url(&format!("http://{address}")).start();
    let problem = proxy
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_unreachable", "no");
    assert!(
        !problem["detail"].to_string().contains("os error"),
        "{problem}"
    );
}

#[test]
fn a_name_that_does_not_resolve_is_unreachable_and_nothing_was_sent() {
    // RFC 6761 §6.4: no such name will ever exist.
    let proxy = Proxy::to_url("https://nowhere.invalid").start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_unreachable", "no");
}

#[test]
fn an_upstream_that_stalls_is_a_time_out_that_may_have_been_received() {
    let yaml = "routes:\n  create_session:\n    attempt_timeout: 300ms\n";
    let gate = Gate::closed();
    for reply in [
        Reply::silence(),
        Reply::json(json_of(100)).body_held_by(&gate),
        Reply::json("{}")
            .after_interim("HTTP/1.1 100 Continue")
            .held_by(&gate),
    ] {
        let upstream = Upstream::answering(reply);
        let proxy = Proxy::to(&upstream).yaml(yaml).start();
        let answer = proxy.post(&Post::new("{}"));
        answer.is_problem(504, "upstream_timeout", "maybe");
        upstream.only_request();
    }
    gate.open();
}

#[test]
fn an_answer_that_trickles_does_not_outlive_the_attempts_time() {
    let yaml = "routes:\n  create_session:\n    attempt_timeout: 300ms\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let trickling = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = listener.accept().expect("a connection");
        // The time-out of a read is the beat: each byte comes within any time-out of a single read.
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time-out");
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        let mut block = [0; 4096];
        loop {
            match socket.read(&mut block) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) if socket.write_all(b"x").is_err() => return,
                Err(_) => {}
            }
        }
    });
    let proxy = Proxy::to_url(&format!("http://{address}"))
        .yaml(yaml)
        .start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(504, "upstream_timeout", "maybe");
    trickling.join().expect("it ends with its connection");
}

#[test]
fn a_failed_exchange_leaves_the_callers_connection_usable() {
    let upstream = Upstream::scripted(|request| match request.connection {
        0 => Reply::reset(),
        _ => Reply::json("{}"),
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_reset", "maybe");
    assert_eq!(client.post(&Post::new("{}")).status, 200);
}

#[test]
fn what_follows_a_broken_answer_on_its_connection_is_never_taken_for_the_next_answer() {
    // The first answer is longer than its Content-Length says: what is left over must not meet the next request.
    let upstream = Upstream::scripted(|request| {
        match request.connection {
        0 => Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n\"ghost\"",
        )
        .then_stay_open(),
        _ => Reply::json("\"real\""),
    }
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    assert_eq!(client.post(&Post::new("{}")).text(), "{}");
    let second = client.post(&Post::new("{}"));
    assert_ne!(second.text(), "\"ghost\"");
    if second.status != 200 {
        second.problem();
    }
}

#[test]
fn a_problem_tells_what_its_answers_headers_tell() {
    let upstream = Upstream::answering(Reply::reset());
    let proxy = Proxy::to(&upstream).start();
    let answer = proxy.post(&Post::new("{}").header("Idempotency-Key", "k-1"));
    answer.is_problem(502, "upstream_reset", "maybe");
    assert_eq!(answer.header("idempotency-key"), Some("k-1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let status = answer.header("proxy-status").expect("a Proxy-Status");
    assert!(status.starts_with("ingo-signing-proxy;"), "{status}");
    assert!(status.contains("attempts=1"), "{status}");
    assert!(status.contains("error="), "{status}");
}
