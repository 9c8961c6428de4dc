//! Exchanges that meet two faults: what was written once may have acted, whatever stops a further attempt.

use crate::{
    cells::attempts,
    counting::{self, Counting},
    ingo::Ingo,
    support::{Answer, Gate, Post, Proxy, Reply, Upstream, session},
    table::Fault,
};

/// Repeats at once.
const AT_ONCE: &str = "repeats:\n  backoff_base: 1ms\n";

fn post() -> Post {
    Post::new(session("p"))
}

/// The first attempt meets `fault`, and then the upstream is gone.
fn then_gone(fault: Fault) -> Answer {
    let upstream = Counting::refusing(move |_, _| Some(fault));
    upstream.listen_for(1);
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(AT_ONCE)
        .start();
    let answer = proxy.post(&post());
    assert_eq!(attempts(&answer), 3);
    assert_eq!(upstream.arrivals().len(), 1);
    answer
}

#[test]
fn what_was_written_keeps_its_code_when_no_further_connection_is_made() {
    then_gone(Fault::ResetAfterBody).is_problem(502, "upstream_reset", "maybe");
    then_gone(Fault::Garbage).is_problem(502, "upstream_bad_response", "maybe");
}

#[test]
fn an_answer_that_came_is_passed_on_when_no_further_connection_is_made() {
    // It ends the connection as well: the next attempt needs another.
    let answer = then_gone(Fault::LastStatus(503));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text(), counting::body(None));
}

#[test]
fn what_was_written_keeps_its_code_when_the_rate_limit_stops_the_repeat() {
    let upstream = Counting::scripted(|_, _| Some(Fault::ResetAfterBody));
    let yaml = format!("{AT_ONCE}rate_limit:\n  per_second: 1\n  burst: 1\n");
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(&yaml)
        .start();
    let answer = proxy.post(&post().header("Ingo-Proxy-Timeout", "0.4"));
    answer.is_problem(502, "upstream_reset", "maybe");
    assert_eq!((upstream.arrivals().len(), attempts(&answer)), (1, 1));
    let line = &proxy.access_lines(1)[0];
    assert_eq!(line["sent"], "maybe", "{line:#}");
}

#[test]
fn an_answer_to_an_earlier_attempt_does_not_hide_a_later_one_that_was_lost() {
    let upstream = Counting::scripted(|n, _| match n {
        0 => Some(Fault::Status(429, None)),
        _ => Some(Fault::ResetAfterBody),
    });
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(AT_ONCE)
        .start();
    let answer = proxy.post(&post());
    answer.is_problem(502, "upstream_reset", "maybe");
    assert_eq!(attempts(&answer), 3);
}

#[test]
fn a_refusal_for_the_date_does_not_speak_for_the_payment_that_was_sent_after_it() {
    let ingo = Ingo::off_by(600);
    ingo.inject("status_401_date").expect("a fault");
    ingo.inject("reset_after_body").expect("a fault");
    let proxy = ingo.proxy().argument("--routes=process").start();
    let answer = proxy.post(&post().to("/gateway/process"));
    answer.is_problem(502, "upstream_reset", "maybe");
    assert_eq!(attempts(&answer), 2);
    assert_eq!(ingo.counts()["transactions"], 1, "it was made");
}

#[test]
fn a_deadline_that_passes_while_a_key_is_waited_for_is_told_and_nothing_was_sent() {
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::session("p").held_by(&gate));
    let proxy = Proxy::to(&upstream).start();
    let keyed = post().header("Idempotency-Key", "k");
    let mut first = proxy.client();
    first.send(&keyed.bytes());
    upstream.wait_for(1);
    let late = proxy.post(&keyed.header("Ingo-Proxy-Timeout", "0.3"));
    late.is_problem(503, "deadline_exceeded", "no");
    gate.open();
    assert_eq!(first.answer("POST").status, 200);
    upstream.only_request();
}

#[test]
fn more_attempts_at_once_than_an_upstream_is_allowed_are_refused_with_nothing_sent() {
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::session("p").held_by(&gate));
    let yaml = "upstream:\n  attempts_in_flight: 1\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut first = proxy.client();
    first.send(&post().bytes());
    upstream.wait_for(1);
    let other = proxy.post(&post());
    other.is_problem(503, "overloaded", "no");
    assert!(other.header("retry-after").is_some());
    gate.open();
    assert_eq!(first.answer("POST").status, 200);
    assert_eq!(proxy.post(&post()).status, 200);
}

#[test]
fn an_exchange_that_is_being_repeated_ends_before_the_proxy_does() {
    let upstream = Counting::scripted(|n, _| (n == 0).then_some(Fault::Status(503, Some(1))));
    let proxy = Proxy::to_url(&upstream.url()).repeating().start();
    let mut client = proxy.client();
    client.send(&post().bytes());
    upstream.wait_for(1);
    proxy.signal("TERM");
    let answer = client.answer("POST");
    assert_eq!((answer.status, attempts(&answer)), (200, 2));
    assert_eq!(proxy.end().status, Some(0));
}

#[test]
fn the_reasons_of_repeats_are_counted() {
    let faults = [
        (Fault::ResetAfterBody, "unanswered"),
        (Fault::Status(503, None), "http_status"),
        (Fault::BodyStatus(500), "ingo_status"),
        (Fault::BodyStatus(104), "pending"),
    ];
    let upstream = Counting::scripted(move |n, _| {
        let (fault, _) = faults.get(n / 2)?;
        (n % 2 == 0).then_some(*fault)
    });
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(AT_ONCE)
        .start();
    for (_, reason) in faults {
        assert_eq!(proxy.post(&post()).status, 200);
        let labels = [("route", "create_session"), ("reason", reason)];
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum("ingo_proxy_retries_total", &labels), 1.0);
    }
    let attempts = proxy.metrics().sum("ingo_proxy_attempts_total", &[]);
    assert_eq!(attempts, 2.0 * faults.len() as f64);
}

#[test]
fn an_attempt_that_was_held_back_is_not_counted_as_one() {
    let upstream = Upstream::echoing();
    let yaml = "rate_limit:\n  per_second: 1\n  burst: 1\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let impatient = post().header("Ingo-Proxy-Timeout", "0.05");
    // On a very slow machine a second may have passed, and one more is let through.
    let held = (0..10)
        .map(|_| proxy.post(&impatient))
        .find(|answer| answer.status != 200)
        .expect("nobody is let through for ever");
    held.is_problem(429, "rate_limited", "no");
    assert_eq!(attempts(&held), 0);
    let made = proxy.metrics().sum("ingo_proxy_attempts_total", &[]);
    assert_eq!(made, upstream.requests().len() as f64);
}

#[test]
fn an_open_circuit_is_not_asked_again_and_costs_no_repeat() {
    let upstream = Counting::refusing(|_, _| None);
    let yaml = "circuit_breaker:\n  failures: 1\n  open_for: 60s\n";
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(yaml)
        .start();
    // Its first attempt opens the circuit.
    proxy.post(&post());
    let repeats = proxy.metrics().sum("ingo_proxy_retries_total", &[]);
    for _ in 0..3 {
        let answer = proxy.post(&post());
        answer.is_problem(503, "circuit_open", "no");
        assert_eq!(attempts(&answer), 0, "none was made");
    }
    let after = proxy.metrics().sum("ingo_proxy_retries_total", &[]);
    assert_eq!(after, repeats, "the budget is kept for when it is back");
}
