//! What is repeated by default, seen from the upstream. The whole table is in `tests/faults`.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Post, Proxy, Reply, Upstream, session};

/// Answers the first `failures` requests with `failed`, and those after them well.
fn failing_first(failures: usize, failed: impl Fn() -> Reply + Send + Sync + 'static) -> Upstream {
    let seen = AtomicUsize::new(0);
    Upstream::scripted(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) < failures {
            failed()
        } else {
            Reply::json(r#"{"status":100}"#)
        }
    })
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key_and_bytes_and_a_signature_of_its_own() {
    let upstream = failing_first(2, Reply::reset);
    let proxy = Proxy::to(&upstream).repeating().start();
    let answer = proxy.post(&Post::new(session("p-1")));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("proxy-status"),
        Some("ingo-signing-proxy; attempts=3")
    );
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.body, requests[0].body);
        assert_eq!(
            request.header("idempotency-key").as_deref(),
            answer.header("idempotency-key")
        );
    }
}

#[test]
fn money_that_was_sent_is_not_sent_again() {
    let upstream = failing_first(1, Reply::reset);
    let proxy = Proxy::to(&upstream)
        .repeating()
        .argument("--routes=process")
        .start();
    let answer = proxy.post(&Post::new(session("p-1")).to("/gateway/process"));
    let problem = answer.is_problem(502, "upstream_reset", "maybe");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("assume success"), "{detail}");
    assert_eq!(upstream.requests().len(), 1);
}
