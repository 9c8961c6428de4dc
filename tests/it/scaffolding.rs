//! The tests' own instruments, tried on each other: an instrument that cannot tell right from wrong proves nothing.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{
    Client, Cut, Gate, Metrics, Post, Recorded, Reply, Upstream, json_of, recorded::ORDER_B,
    session,
};

/// The request that a vector's case describes, as it would arrive.
fn arrived(case: &Value) -> (Recorded, Vec<u8>, SystemTime) {
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let bytes = |v: &Value| STANDARD.decode(text(v)).expect("base64");
    let expected = &case["expected"];
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: h\r\nX-Date: {}\r\nContent-Type: application/json\r\nContent-sha512: {}\r\n\
         Content-Length: {}\r\nAuthorization: {}\r\n\r\n",
        text(&case["method"]),
        text(&case["target"]),
        text(&expected["x_date"]),
        text(&expected["content_sha512"]),
        text(&expected["content_length"]),
        text(&expected["authorization"]),
    );
    let recorded = Recorded {
        connection: 0,
        number: 0,
        head: head.into_bytes(),
        body: bytes(&case["body_base64"]),
    };
    let at = case["unix_time"].as_u64().expect("a time");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    (recorded, bytes(&case["secret_base64"]), at)
}

fn cases() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/signing.json")).expect("JSON");
    file["cases"].as_array().expect("cases").clone()
}

#[test]
fn the_verifier_accepts_every_vector() {
    for case in cases() {
        let (recorded, secret, at) = arrived(&case);
        let username = case["username"].as_str().expect("text");
        let signature = recorded.verify_at(&secret, username, at);
        assert_eq!(signature.value, case["expected"]["signature"]);
    }
}

#[test]
fn the_verifier_refuses_a_vector_of_which_anything_was_changed() {
    let case = &cases()[0];
    let (right, secret, at) = arrived(case);
    let refuse = |what: &str, from: &str, to: &str| {
        let head = String::from_utf8(right.head.clone()).expect("text");
        assert!(head.contains(from), "{from} stands in the head");
        let changed = Recorded {
            head: head.replacen(from, to, 1).into_bytes(),
            body: right.body.clone(),
            connection: 0,
            number: 0,
        };
        let verdict = changed.signature(&secret, "acme", at);
        let why = verdict.expect_err(what);
        assert!(why.contains(what), "{why} should speak of {what}");
    };
    refuse("signature is not", "/plugin ", "/plugin? ");
    refuse("signature is not", "POST ", "PUT ");
    refuse("HTTP/1.1", "HTTP/1.1", "HTTP/1.0");
    refuse("signature is not", "19:59:29", "19:59:30");
    refuse("away from now", "19:59:29", "20:59:29");
    refuse(
        "Content-Type",
        "application/json",
        "application/json; charset=utf-8",
    );
    refuse("Content-sha512", "5Cach", "6Cach");
    refuse(
        "Content-Length",
        "Content-Length: 301",
        "Content-Length: 302",
    );
    refuse("Transfer-Encoding", "Host: h", "Transfer-Encoding: chunked");
    refuse("username", "\"acme\"", "\"acne\"");
    refuse("not of the form", "\", algorithm", "\",algorithm");
    refuse("two lists", "request-line x-date", "x-date request-line");
    refuse(
        "algorithm",
        "algorithm=\"hmac-sha512",
        "algorithm=\"hmac-sha1",
    );
    let why = right.signature(b"another secret", "acme", at);
    assert!(why.expect_err("another key").contains("signature is not"));
}

#[test]
#[should_panic(expected = "is repeated")]
fn the_verifier_refuses_a_repeated_header() {
    let (mut recorded, secret, at) = arrived(&cases()[0]);
    let place = recorded.head.len() - 2;
    recorded
        .head
        .splice(place..place, *b"content-length: 301\r\n");
    recorded.verify_at(&secret, "acme", at);
}

#[test]
fn order_b_is_among_the_vectors() {
    let b = ORDER_B.split(' ').collect::<Vec<_>>();
    assert!(
        cases()
            .iter()
            .any(|c| c["signed_headers"] == serde_json::json!(b))
    );
}

#[test]
fn a_request_is_recorded_byte_for_byte_however_it_is_framed() {
    let upstream = Upstream::echoing();
    let mut client = Client::connect(upstream.address());
    let plain = Post::new(session("a")).header("X-Odd", " \u{e9} ");
    let chunked = Post::new(session("b")).in_chunks_of(3);
    for (id, post) in [("a", &plain), ("b", &chunked)] {
        let answer = client.post(post);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
    let requests = upstream.wait_for(2);
    assert_eq!(requests[0].head, plain.head());
    assert_eq!(requests[1].head, chunked.head());
    assert_eq!(requests[1].body, session("b"));
    assert_eq!((requests[1].connection, requests[1].number), (0, 1));
}

#[test]
fn answers_are_read_by_their_length_their_chunks_or_the_end_of_the_connection() {
    let upstream = Upstream::scripted(|request| {
        let reply = Reply::json(json_of(70_000)).header("X-A", "1");
        match request.number {
            0 => reply.after_interim("HTTP/1.1 103 Early Hints\r\nLink: </x>"),
            1 => reply.in_chunks_of(999),
            _ => reply.until_close(),
        }
    });
    let mut client = Client::connect(upstream.address());
    for number in 0..3 {
        let answer = client.post(&Post::new("{}"));
        assert_eq!(answer.body, json_of(70_000), "{number}");
        assert_eq!(answer.header("x-a"), Some("1"));
        let interim: &[u16] = if number == 0 { &[103] } else { &[] };
        assert_eq!(answer.interim, interim);
    }
    client.is_closed();
}

#[test]
fn a_cut_connection_is_seen_as_one_and_what_was_not_read_is_not_recorded() {
    for cut in [Cut::AtOnce, Cut::AtFirstByte, Cut::AfterHead] {
        let upstream = Upstream::cutting(move |_, _| cut, |_| Reply::json("{}"));
        let mut client = Client::connect(upstream.address());
        let _ = client.try_send(&Post::new("{}").bytes());
        client.try_answer("POST").expect_err("no answer");
        assert!(upstream.requests().is_empty());
    }
}

#[test]
fn a_reset_in_place_of_an_answer_is_a_reset() {
    let upstream = Upstream::answering(Reply::reset());
    let mut client = Client::connect(upstream.address());
    client.send(&Post::new("{}").bytes());
    let end = client.try_answer("POST").expect_err("no answer");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    upstream.only_request();
}

#[test]
fn a_gate_holds_an_answer_back_until_it_is_opened() {
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::json("{}").held_by(&gate));
    let mut client = Client::connect(upstream.address());
    client.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    assert!(!client.hears_something_within(Duration::from_millis(50)));
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
}

#[test]
fn idle_connections_can_be_closed_from_outside() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let mut client = Client::connect(upstream.address());
    client.post(&Post::new("{}"));
    upstream.wait_for_idle(1);
    assert_eq!(upstream.close_idle_connections(), 1);
    client.is_closed();
}

#[test]
fn metrics_are_read_with_their_labels() {
    let text =
        "# TYPE a_total counter\na_total{x=\"1\",y=\"q, r\"} 3\na_total{x=\"2\",y=\"\"} 4\nb 0.5\n";
    let metrics = Metrics::read(text);
    assert_eq!(metrics.kind("a_total"), Some("counter"));
    assert_eq!(metrics.sum("a_total", &[]), 7.0);
    assert_eq!(metrics.sum("a_total", &[("x", "1"), ("y", "q, r")]), 3.0);
    assert_eq!(metrics.sum("a_total", &[("y", "")]), 4.0);
    assert_eq!(metrics.sum("b", &[]), 0.5);
}

#[test]
fn bodies_of_a_size_have_that_size_and_are_json() {
    for size in [2, 8, 9, 111, 65_537] {
        let body = json_of(size);
        assert_eq!(body.len(), size);
        serde_json::from_slice::<Value>(&body).expect("JSON");
    }
}
