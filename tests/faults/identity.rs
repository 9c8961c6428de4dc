//! What is repeated only where the body says by what Ingo would recognise it, and what is not sent when nobody waits.

use crate::{
    cells::attempts,
    counting::Counting,
    support::{Post, Proxy},
    table::Fault,
};

/// How often a call to `path` with `body` is sent when every answer is lost.
fn sent(path: &str, body: &str) -> usize {
    let upstream = Counting::scripted(|_, _| Some(Fault::ResetAfterBody));
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .argument("--routes=verify,process,debit,banking")
        .yaml(
            "repeats:\n  backoff_base: 1ms\nroutes:\n  process:\n    danger_repeat_after_write: true\n  debit:\n    danger_repeat_after_write: true\n",
        )
        .start();
    let answer = proxy.post(&Post::new(body).to(path));
    answer.is_problem(502, "upstream_reset", "maybe");
    assert_eq!(attempts(&answer) as usize, upstream.arrivals().len());
    upstream.arrivals().len()
}

#[test]
fn a_call_that_its_body_does_not_identify_is_sent_once() {
    let banking = "/api/v4/transfers";
    assert_eq!(sent(banking, r#"{"idempotent_key":"k","amount":5}"#), 3);
    for (path, body) in [
        (banking, r#"{"amount":5}"#),
        (banking, r#"{"idempotent_key":"a","idempotent_key":"b"}"#),
        (banking, r#"{"idempotent_key":""}"#),
        ("/gateway/verify", r#"{"card":1}"#),
        (
            "/gateway/verify",
            r#"{"participant_unique_id1":"a","participant_unique_id1":"b"}"#,
        ),
        ("/gateway/process", r#"{"amount":5}"#),
        (
            "/gateway/v12/debit/process",
            r#"{"participant_unique_ids":[]}"#,
        ),
    ] {
        assert_eq!(sent(path, body), 1, "{path} {body}");
    }
}

#[test]
fn a_payment_whose_deadline_has_passed_is_not_sent_over_a_connection_that_is_there() {
    let upstream = Counting::scripted(|_, _| None);
    let proxy = Proxy::to_url(&upstream.url())
        .argument("--routes=process")
        .start();
    let payment = || Post::new(r#"{"participant_unique_id1":"p"}"#).to("/gateway/process");
    assert_eq!(proxy.post(&payment()).status, 200);
    for timeout in ["0.000000001", "0.00001"] {
        let late = proxy.post(&payment().header("Ingo-Proxy-Timeout", timeout));
        late.is_problem(503, "deadline_exceeded", "no");
    }
    assert_eq!(upstream.arrivals().len(), 1);
}
