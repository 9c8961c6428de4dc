//! How connections are opened, shared, kept and closed, on the caller's side and on Ingo's.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{
    Client, Gate, Post, Proxy, Reply, SECRET, USERNAME, Upstream, json_of, session,
};

/// What Java's HttpClient adds to the first request of a connection.
const JAVAS_UPGRADE: [(&str, &str); 3] = [
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
];

#[test]
fn connections_are_reused_on_both_sides() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for number in 0..20 {
        let id = format!("p{number}");
        let answer = client.post(&Post::new(session(&id)));
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
    assert_eq!(upstream.connections(), 1);
}

/// Pingora's timers come with one, from the first connection to an upstream on: it would wake a hundred times a second for ever.
#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_left_that_wakes_while_nothing_happens() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    let threads = std::fs::read_dir(format!("/proc/{}/task", proxy.id())).expect("it runs");
    let names: Vec<String> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect();
    assert!(names.contains(&"log".to_owned()), "{names:?}");
    assert!(!names.contains(&"Timer thread".to_owned()), "{names:?}");
}

#[test]
fn callers_of_a_thread_share_its_upstream_connections() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml("threads: 1\n").start();
    for number in 0..10 {
        let answer = proxy.post(&Post::new(session(&number.to_string())));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_idle_connection_that_ingo_closed_is_not_used_again() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for round in 1..=5 {
        let answer = client.post(&Post::new(session("p")));
        assert_eq!(answer.status, 200, "{round}: {}", answer.text());
        upstream.wait_for_idle(1);
        assert_eq!(upstream.close_idle_connections(), 1);
        upstream.wait_for_idle(0);
    }
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn a_connection_on_which_ingo_said_close_is_not_used_again() {
    let reply = Reply::json("{}").header("Connection", "close").then_close();
    let upstream = Upstream::answering(reply);
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.post(&Post::new("{}")).status, 200);
    }
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let mut bytes = Vec::new();
    for number in 0..8 {
        let post = Post::new(session(&number.to_string()));
        bytes.extend(if number % 2 == 0 {
            post.bytes()
        } else {
            post.in_chunks_of(7).bytes()
        });
    }
    client.send(&bytes);
    for number in 0..8 {
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["data"]["participant_unique_id1"],
            number.to_string()
        );
    }
    for recorded in upstream.requests() {
        recorded.verify(SECRET, USERNAME);
    }
}

#[test]
fn pipelined_requests_of_sizes_around_those_of_reads_come_whole() {
    // 4 KiB are read for a head, 8 KiB at once, 64 KiB for a body.
    let around = |size: usize| (size - 500..=size + 100).step_by(50);
    let sizes = [4_096, 8_192, 12_288, 65_536, 73_728].map(around);
    let bodies = sizes.into_iter().flatten().map(|size| {
        let begin = format!("{{\r\n\r\n\"participant_unique_id1\":\"{size}\",\"note\":\"");
        format!("{begin}{}\"}}", "x".repeat(size - begin.len() - 2))
    });
    let bodies: Vec<_> = bodies.collect();
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let requests = bodies.iter().map(|body| Post::new(body.clone()).bytes());
    client.send(&requests.collect::<Vec<_>>().concat());
    for body in &bodies {
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["data"]["participant_unique_id1"],
            body.len().to_string()
        );
    }
    for (recorded, body) in upstream.requests().iter().zip(&bodies) {
        recorded.verify(SECRET, USERNAME);
        assert_eq!(recorded.body, body.as_bytes());
    }
}

#[test]
fn a_request_pipelined_behind_a_slow_one_waits_for_its_turn() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |request| {
        let reply = Reply::session(&request.participant());
        if request.participant() == "first" {
            reply.held_by(&holding)
        } else {
            reply
        }
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let requests = [session("first"), session("second")].map(|body| Post::new(body).bytes());
    client.send(&requests.concat());
    upstream.wait_for(1);
    gate.open();
    for id in ["first", "second"] {
        let answer = client.answer("POST");
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
}

#[test]
fn a_caller_that_expects_100_continue_gets_it_before_it_sends_its_body() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for expectation in ["100-continue", "100-Continue"] {
        let mut client = proxy.client();
        let post = Post::new(json_of(65_537)).header("Expect", expectation);
        client.send(&post.head());
        assert_eq!(client.interim(), 100);
        client.send(&json_of(65_537));
        assert_eq!(client.answer("POST").status, 200);
    }
    for recorded in upstream.requests() {
        assert_eq!(recorded.header("expect"), None);
        recorded.verify(SECRET, USERNAME);
    }
}

#[test]
fn a_caller_that_expects_100_continue_hears_a_refusal_instead_of_it() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let expecting = Post::new("").unframed().header("Expect", "100-continue");
    for (post, status) in [
        (
            expecting
                .clone()
                .to("/nowhere")
                .header("Content-Length", "2"),
            404,
        ),
        (expecting.header("Content-Length", "99999999"), 413),
    ] {
        let mut client = proxy.client();
        client.send(&post.head());
        let answer = client.answer("POST");
        assert_eq!(answer.status, status);
        assert!(answer.interim.is_empty(), "it was told to go on");
    }
    upstream.received_nothing();
}

#[test]
fn a_caller_that_expects_100_continue_keeps_its_connection_whether_it_waits_or_not() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let post = Post::new("{}").header("Expect", "100-continue");
    for _ in 0..2 {
        assert_eq!(client.post(&post).status, 200);
        assert_eq!(client.post(&post.clone().in_chunks_of(1)).status, 200);
        client.send(&post.head());
        assert_eq!(client.interim(), 100);
        client.send(b"{}");
        assert_eq!(client.answer("POST").status, 200);
    }
    // A request behind one is answered, too.
    client.send(&[post.bytes(), Post::new("{}").bytes()].concat());
    for _ in 0..2 {
        assert_eq!(client.answer("POST").status, 200);
    }
    // Whoever asks for the end gets it, in a second line of the field, too.
    let last = post
        .header("Connection", "x")
        .header("Connection", "y, Close");
    let last = client.post(&last);
    assert_eq!(last.header("connection"), Some("close"));
    client.is_closed();
}

#[test]
fn an_offer_to_upgrade_to_h2c_is_answered_over_http_1_1() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let mut post = Post::new(session("java"));
    for (name, value) in JAVAS_UPGRADE {
        post = post.header(name, value);
    }
    let answer = client.post(&post);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("upgrade"), None);
    let recorded = upstream.only_request();
    recorded.verify(SECRET, USERNAME);
    for (name, _) in JAVAS_UPGRADE {
        assert_eq!(recorded.header(name), None);
    }
    assert_eq!(client.post(&Post::new("{}")).status, 200);
}

#[test]
fn a_short_request_is_answered_at_once() {
    // Shorter than the 24 bytes with which HTTP/2 begins: whoever waits for those waits for ever.
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let asked = Instant::now();
    let mut client = proxy.client();
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.answer("GET").is_problem(400, "bad_request", "no");
    client.is_closed();
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_served() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for byte in Post::new("{}").bytes() {
        client.send(&[byte]);
    }
    assert_eq!(client.answer("POST").status, 200);
    upstream.only_request().verify(SECRET, USERNAME);
}

#[test]
fn http_1_0_is_served_and_its_connection_closed() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").http_1_0().bytes());
    let bytes = client.everything();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1."), "{text}");
    assert!(text.split(' ').nth(1) == Some("200"), "{text}");
    assert!(text.ends_with("{}"), "{text}");
    upstream.only_request().verify(SECRET, USERNAME);
}

#[test]
fn a_caller_that_says_close_gets_its_answer_and_a_closed_connection() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    let answer = client.post(&Post::new("{}").header("Connection", "close"));
    assert_eq!(answer.status, 200);
    client.is_closed();
}

#[test]
fn a_caller_that_closes_its_sending_half_gets_its_answer() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").bytes());
    client.finish_sending();
    assert_eq!(client.answer("POST").status, 200);
}

#[test]
fn half_a_body_never_goes_upstream() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for post in [Post::new("{} "), Post::new("{} ").in_chunks_of(2)] {
        let bytes = post.bytes();
        let mut client = proxy.client();
        client.send(&bytes[..bytes.len() - 1]);
        client.finish_sending();
        client.everything();
    }
    upstream.received_nothing();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    assert_eq!(upstream.only_request().body, b"{}");
}

#[test]
fn a_caller_that_goes_away_does_not_spoil_the_connection_it_used_upstream() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |request| {
        let reply = Reply::session(&request.participant());
        if request.participant() == "gone" {
            reply.held_by(&holding)
        } else {
            reply
        }
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new(session("gone")).bytes());
    upstream.wait_for(1);
    drop(client);
    let answer = proxy.post(&Post::new(session("here")));
    assert_eq!(answer.json()["data"]["participant_unique_id1"], "here");
    gate.open();
    for number in 0..5 {
        let id = number.to_string();
        let answer = proxy.post(&Post::new(session(&id)));
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
}

#[test]
fn a_unix_socket_of_mode_0600_serves_as_tcp_does() {
    let upstream = Upstream::echoing();
    let builder = Proxy::to(&upstream);
    let path = builder.directory().join("proxy.sock");
    let address = format!("unix:{}", path.display());
    let proxy = builder.listen(Some(&address)).start();
    assert_eq!(proxy.announced("proxy"), address);
    assert_eq!(mode(&path), 0o600);
    let mut client = Client::connect_unix(&path);
    for id in ["a", "b"] {
        let answer = client.post(&Post::new(session(id)));
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
    for recorded in upstream.requests() {
        recorded.verify(SECRET, USERNAME);
    }
    let ended = proxy.terminate();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    assert!(!path.exists(), "the socket was left behind");
}

#[test]
fn a_unix_socket_gets_the_mode_that_the_configuration_sets() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let builder = Proxy::to(&upstream).yaml("listeners:\n  proxy:\n    socket_mode: 0660\n");
    let path = builder.directory().join("proxy.sock");
    let address = format!("unix:{}", path.display());
    let _proxy = builder.listen(Some(&address)).start();
    assert_eq!(mode(&path), 0o660);
}

#[test]
fn the_health_listener_may_be_a_unix_socket() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let builder = Proxy::to(&upstream);
    let path = builder.directory().join("health.sock");
    let address = format!("unix:{}", path.display());
    let _proxy = builder.health(Some(&address)).start();
    assert_eq!(Client::connect_unix(&path).get("/livez").status, 200);
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("a socket");
    metadata.permissions().mode() & 0o777
}
