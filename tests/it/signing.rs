//! A plain POST goes in, a signed one reaches Ingo: for every length, framing, target and setting.

use crate::support::{
    Answer, Gate, Post, Proxy, Recorded, Reply, SECRET, SESSIONS, USERNAME, Upstream, json_of,
    recorded::{ORDER_A, ORDER_B, Signature},
    session,
};

/// All that may go upstream when nothing further is configured and the caller sent no `Accept`.
const ALLOWED: [&str; 8] = [
    "authorization",
    "content-length",
    "content-sha512",
    "content-type",
    "host",
    "idempotency-key",
    "user-agent",
    "x-date",
];

/// Sends one request through a proxy of its own, checks the signature, and gives what came up.
fn forwarded(post: &Post) -> std::sync::Arc<Recorded> {
    let upstream = Upstream::answering(Reply::json("{}"));
    let answer = Proxy::to(&upstream).start().post(post);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let recorded = upstream.only_request();
    verified(&recorded);
    recorded
}

fn verified(recorded: &Recorded) -> Signature {
    recorded.verify(SECRET, USERNAME)
}

#[test]
fn a_plain_post_is_signed_in_order_a_with_hmac_sha512() {
    let upstream = Upstream::echoing();
    let answer = Proxy::to(&upstream).start().post(&Post::new(session("p1")));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"]["participant_unique_id1"], "p1");
    let recorded = upstream.only_request();
    assert_eq!(
        recorded.request_line(),
        b"POST /api/v1/sessions/point-in-time/plugin HTTP/1.1"
    );
    assert_eq!(recorded.body, session("p1"));
    let signature = verified(&recorded);
    assert_eq!(signature.algorithm, "hmac-sha512");
    assert_eq!(signature.headers, ORDER_A);
}

#[test]
fn bodies_of_every_awkward_size_are_signed_right_with_a_length_and_in_chunks() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let sizes = [2, 111, 112, 128, 65_536, 65_537, 1_048_576];
    let mut client = proxy.client();
    for size in sizes {
        let post = Post::new(json_of(size));
        for post in [post.clone(), post.in_chunks_of(16_000)] {
            let answer = client.post(&post);
            assert_eq!(answer.status, 200, "{size}: {}", answer.text());
        }
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2 * sizes.len());
    for (recorded, size) in requests.iter().zip(sizes.iter().flat_map(|s| [s, s])) {
        assert!(
            recorded.body == json_of(*size),
            "the {size} bytes came up changed"
        );
        verified(recorded);
    }
}

#[test]
fn a_body_in_chunks_of_one_byte_goes_up_with_one_content_length() {
    let recorded = forwarded(&Post::new(session("p")).in_chunks_of(1));
    assert_eq!(recorded.body, session("p"));
    assert_eq!(recorded.names(), ALLOWED);
}

#[test]
fn a_body_goes_up_byte_for_byte_with_its_odd_spaces_numbers_and_repeated_keys() {
    let body = "\r\n { \"b\" : 1.00e+02 ,\t\"a\":\"\\u00e9 é \\/ \u{1F600}\", \"b\":12345678901234567890.10 }\n\n";
    assert_eq!(forwarded(&Post::new(body)).body, body.as_bytes());
}

#[test]
fn any_json_is_a_body_and_not_only_an_object() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let bodies = ["[]", "[1,[2,[3]]]", "true", "0", "-1.5e-3", "\"text\""];
    let mut client = proxy.client();
    for body in bodies {
        assert_eq!(client.post(&Post::new(body)).status, 200, "{body}");
    }
    for (recorded, body) in upstream.requests().iter().zip(bodies) {
        assert_eq!(recorded.body, body.as_bytes());
        verified(recorded);
    }
}

#[test]
fn a_query_goes_up_and_is_signed_exactly_as_it_came() {
    for query in [
        "?a=1&b=%2F%2f&c=",
        "?",
        "?%7e~&&==",
        "?q=a+b%20c",
        "?x=[1]|{2}^'",
    ] {
        let target = format!("{SESSIONS}{query}");
        let recorded = forwarded(&Post::new("{}").to(&target));
        assert_eq!(recorded.target(), target.as_bytes());
    }
}

#[test]
fn a_query_of_raw_utf_8_goes_up_and_is_signed_exactly_as_it_came() {
    let target = format!("{SESSIONS}?name=Zoë&city=\u{6771}\u{4eac}");
    let recorded = forwarded(&Post::new("{}").to(&target));
    assert_eq!(recorded.target(), target.as_bytes());
}

#[test]
fn an_absolute_form_target_goes_up_in_origin_form() {
    // RFC 9112 §3.2.1: a client sends the origin form to an origin server.
    let target = format!("http://localhost{SESSIONS}?a=%2F");
    let recorded = forwarded(&Post::new("{}").to(target));
    assert_eq!(recorded.target(), format!("{SESSIONS}?a=%2F").as_bytes());
}

#[test]
fn whatever_the_caller_calls_its_json_it_goes_up_as_application_json() {
    for name in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-8",
    ] {
        let recorded = forwarded(&Post::new("{}").header("Content-Type", name));
        assert_eq!(
            recorded.header("content-type").as_deref(),
            Some("application/json")
        );
    }
}

#[test]
fn order_b_signs_when_it_is_configured() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = format!("credentials:\n  signed_headers: {ORDER_B}\n");
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    assert_eq!(verified(&upstream.only_request()).headers, ORDER_B);
}

#[test]
fn hmac_sha256_signs_when_it_is_configured() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "credentials:\n  algorithm: hmac-sha256\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    assert_eq!(verified(&upstream.only_request()).algorithm, "hmac-sha256");
}

#[test]
fn only_the_allowed_headers_go_up_and_each_of_them_once() {
    let recorded = forwarded(&Post::new("{}"));
    assert_eq!(recorded.names(), ALLOWED);
}

#[test]
fn nothing_else_that_a_caller_sends_goes_up() {
    let post = Post::new("{}")
        .header("Authorization", "Bearer not-for-ingo")
        .header("Cookie", "session=not-for-ingo")
        .header("X-Date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .header("Content-sha512", "not-for-ingo")
        .header("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .header("User-Agent", "not-for-ingo/1.0")
        .header("Forwarded", "for=192.0.2.1")
        .header("X-Forwarded-For", "192.0.2.1")
        .header("X-Forwarded-Proto", "https")
        .header("X-Real-IP", "192.0.2.1")
        .header("Via", "1.1 not-for-ingo")
        .header("api_key", "not-for-ingo")
        .header("Accept-Encoding", "gzip")
        .header("Accept-Language", "de")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "not-for-ingo")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authorization", "Basic not-for-ingo")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Referer", "http://not-for-ingo/")
        .header("X-Anything", "not-for-ingo");
    let recorded = forwarded(&post);
    assert_eq!(recorded.names(), ALLOWED);
    assert!(!recorded.to_string().contains("not-for-ingo"), "{recorded}");
}

#[test]
fn trailers_of_a_chunked_body_stay_here() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(
        &Post::new("")
            .unframed()
            .header("Transfer-Encoding", "chunked")
            .head(),
    );
    client.send(b"2\r\n{}\r\n0\r\nX-Trailer: here\r\n\r\n");
    assert_eq!(client.answer("POST").status, 200);
    let recorded = upstream.only_request();
    verified(&recorded);
    assert_eq!(recorded.names(), ALLOWED);
}

#[test]
fn the_callers_accept_goes_up() {
    let recorded = forwarded(&Post::new("{}").header("Accept", "application/xml;q=0.9, */*"));
    assert_eq!(
        recorded.header("accept").as_deref(),
        Some("application/xml;q=0.9, */*")
    );
    assert_eq!(recorded.names().len(), ALLOWED.len() + 1);
}

#[test]
fn a_header_that_the_configuration_names_goes_up() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "headers:\n  to_ingo: [X-Correlation-Id]\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let post = Post::new("{}")
        .header("x-correlation-id", "c-1")
        .header("X-Other", "o");
    assert_eq!(proxy.post(&post).status, 200);
    let recorded = upstream.only_request();
    verified(&recorded);
    assert_eq!(recorded.header("x-correlation-id").as_deref(), Some("c-1"));
    assert_eq!(recorded.header("x-other"), None);
}

#[test]
fn host_names_the_upstream_and_user_agent_names_us() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    assert_eq!(
        proxy.post(&Post::new("{}").host("localhost:8646")).status,
        200
    );
    let recorded = upstream.only_request();
    assert_eq!(
        recorded.header("host"),
        Some(upstream.address().to_string())
    );
    let agent = concat!("ingo-signing-proxy/", env!("CARGO_PKG_VERSION"));
    assert_eq!(recorded.header("user-agent").as_deref(), Some(agent));
}

#[test]
fn a_callers_idempotency_key_goes_up_and_comes_back() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let longest = "k".repeat(250);
    let mut client = proxy.client();
    for key in ["a", "order-17/42~!", &longest] {
        let answer = client.post(&Post::new("{}").header("idempotency-key", key));
        assert_eq!(answer.header("idempotency-key"), Some(key));
        let recorded = upstream.requests().pop().expect("a request");
        assert_eq!(recorded.header("idempotency-key").as_deref(), Some(key));
        verified(&recorded);
    }
}

#[test]
fn without_a_key_of_the_caller_a_fresh_v4_uuid_goes_up_and_comes_back() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let key = |answer: Answer| answer.header("idempotency-key").expect("a key").to_owned();
    let mut client = proxy.client();
    let keys = [(); 2].map(|()| key(client.post(&Post::new("{}"))));
    assert_ne!(keys[0], keys[1]);
    for (recorded, key) in upstream.requests().iter().zip(&keys) {
        assert_eq!(recorded.header("idempotency-key").as_ref(), Some(key));
        let bytes = key.as_bytes();
        assert_eq!(bytes.len(), 36, "{key}");
        for (at, byte) in bytes.iter().enumerate() {
            // RFC 9562 §5.4: the version and the variant have their fixed places.
            let right = match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                14 => *byte == b'4',
                19 => b"89ab".contains(byte),
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
            };
            assert!(right, "{key} is no V4 UUID");
        }
    }
}

#[test]
fn one_trailing_newline_of_the_secret_file_is_dropped_and_nothing_else() {
    let secrets: [(&[u8], &[u8]); 5] = [
        (b"canary-secret\n", b"canary-secret"),
        (b"canary-secret\n\n", b"canary-secret\n"),
        (b" canary-secret ", b" canary-secret "),
        (b"\ncanary-secret", b"\ncanary-secret"),
        (b"canary\xff\x00\x80secret", b"canary\xff\x00\x80secret"),
    ];
    for (content, secret) in secrets {
        let upstream = Upstream::answering(Reply::json("{}"));
        let proxy = Proxy::to(&upstream).secret_file(Some(content)).start();
        assert_eq!(proxy.post(&Post::new("{}")).status, 200);
        upstream.only_request().verify(secret, USERNAME);
    }
}

#[test]
fn a_secret_may_come_from_an_environment_variable() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream)
        .secret_file(None)
        .yaml("credentials:\n  secret_env: SECRET_OF_THE_TEST\n")
        .env("SECRET_OF_THE_TEST", "canary-from-the-environment")
        .start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    let recorded = upstream.only_request();
    recorded.verify(b"canary-from-the-environment", USERNAME);
}

#[test]
fn a_username_that_looks_like_a_number_survives_the_configuration_file() {
    for name in [
        "0123",
        "1e3",
        "12_34",
        "0x1F",
        "1.50",
        "true",
        "12345678901234567890123",
    ] {
        let upstream = Upstream::answering(Reply::json("{}"));
        let proxy = Proxy::to(&upstream)
            .username(None)
            .yaml(&format!("credentials:\n  username: {name}\n"))
            .start();
        assert_eq!(proxy.post(&Post::new("{}")).status, 200);
        upstream.only_request().verify(SECRET, name);
    }
}

#[test]
fn routes_switched_on_by_name_are_forwarded_and_signed() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let routes = [
        ("verify", "/gateway/verify"),
        ("process", "/gateway/process"),
        ("debit", "/gateway/v12/debit/process"),
        ("notify_v3", "/gateway/v3/notify"),
        ("notify_v4", "/gateway/v4/notify"),
        ("notify_cancel", "/gateway/v3/notifycancel"),
        ("open_banking_account", "/gateway/v1/open-banking-account"),
        ("verify_open_banking", "/gateway/verify--open-banking"),
        ("banking", "/api/v4/customers/17/cards?x=%2F"),
    ];
    let names = routes.map(|(name, _)| name).join(",");
    let proxy = Proxy::to(&upstream)
        .argument("--routes")
        .argument(names)
        .start();
    let mut client = proxy.client();
    for (name, path) in routes {
        let answer = client.post(&Post::new("{}").to(path));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let recorded = upstream.requests().pop().expect("a request");
        assert_eq!(recorded.target(), path.as_bytes());
        verified(&recorded);
    }
    // `--routes` names the whole set.
    let answer = client.post(&Post::new("{}"));
    answer.is_problem(404, "route_not_found", "no");
}

#[test]
fn the_date_is_that_of_the_attempt_and_not_of_the_start() {
    // The answer of the first is held until the second has been signed: both dates are read from the wire.
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::json("{}").held_by(&holding));
    let proxy = Proxy::to(&upstream).start();
    let mut first = proxy.client();
    first.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    let mut second = proxy.client();
    second.send(&Post::new("{}").bytes());
    let requests = upstream.wait_for(2);
    gate.open();
    assert_eq!(first.answer("POST").status, 200);
    assert_eq!(second.answer("POST").status, 200);
    let now = std::time::SystemTime::now();
    for recorded in &requests {
        let date = recorded.header("x-date").expect("a date");
        let date = httpdate::parse_http_date(&date).expect("a date");
        let age = now.duration_since(date).expect("no date of the future");
        assert!(age.as_secs() < 30, "signed {age:?} ago");
    }
}
