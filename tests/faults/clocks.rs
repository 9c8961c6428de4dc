//! A host whose clock is wrong: Kong's own message corrects the signing clock, within a bound, and nothing else does.

use std::time::{Duration, SystemTime};

use crate::{
    cells::attempts,
    ingo::{Ingo, clock_off_by},
    support::{Answer, Post, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, session},
};

/// How far Ingo's clock is ahead, in seconds.
const AHEAD: i64 = 600;

const SKEW: &str = "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";

/// Every route that is posted to here, and a body of which Ingo has a session or a payment made.
const ROUTES: [&str; 4] = [
    SESSIONS,
    "/gateway/verify",
    "/gateway/process",
    "/gateway/v12/debit/process",
];

fn post(path: &str, id: &str) -> Post {
    match path.contains("debit") {
        true => Post::new(format!(r#"{{"participant_unique_ids":["{id}"]}}"#)).to(path),
        false => Post::new(session(id)).to(path),
    }
}

fn ingo_status(answer: &Answer) -> String {
    answer.json()["status"]
        .to_string()
        .trim_matches('"')
        .to_owned()
}

fn skew(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("ingo_proxy_clock_skew_seconds", &[])
}

/// How many lines tell of a correction, once those of so many exchanges are written.
fn corrections(proxy: &Proxy, exchanges: usize) -> usize {
    proxy.access_lines(exchanges);
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    output
        .lines()
        .filter(|l| l.contains("Ingo refused a request for its date"))
        .count()
}

#[test]
fn kongs_own_message_corrects_the_signing_clock_and_the_request_is_repeated_once_on_every_route() {
    for seconds in [AHEAD, -AHEAD] {
        for path in ROUTES {
            let ingo = Ingo::off_by(seconds);
            let proxy = ingo
                .proxy()
                .argument("--routes=create_session,verify,process,debit")
                .start();
            let first = proxy.post(&post(path, "p-1"));
            assert_eq!(ingo_status(&first), "100", "{path}: {}", first.text());
            assert_eq!(attempts(&first), 2);
            let next = proxy.post(&post(path, "p-2"));
            assert_eq!((ingo_status(&next), attempts(&next)), ("100".to_owned(), 1));
            let ledger = ingo.ledger();
            let verified: Vec<_> = ledger.iter().map(|e| e.verified).collect();
            assert_eq!(verified, [Some(false), Some(true), Some(true)]);
            assert_eq!(ledger[0].findings, ["date_stale"]);
            assert_eq!(ledger[0].idempotency_key, ledger[1].idempotency_key);
            assert_eq!(ledger[0].body_sha256, ledger[1].body_sha256);
            let difference = (skew(&proxy) - seconds as f64).abs();
            assert!(difference <= 2.0, "the gauge is {difference} s off");
            assert_eq!(corrections(&proxy, 2), 1, "it is logged once");
        }
    }
}

#[test]
fn once_the_clocks_agree_again_the_correction_is_taken_back() {
    let ingo = Ingo::off_by(AHEAD);
    let proxy = ingo.proxy().start();
    let posted = || {
        let answer = proxy.post(&post(SESSIONS, "p"));
        assert_eq!(ingo_status(&answer), "100", "{}", answer.text());
        attempts(&answer)
    };
    assert_eq!([posted(), posted()], [2, 1]);
    ingo.set_clock(clock_off_by(0));
    assert_eq!([posted(), posted()], [2, 1]);
    assert_eq!(corrections(&proxy, 4), 2);
}

#[test]
fn older_versions_of_kong_say_it_with_403() {
    let ingo = Ingo::built(|b| b.clock(clock_off_by(AHEAD)).refusal_status(403));
    let proxy = ingo.proxy().start();
    let answer = proxy.post(&post(SESSIONS, "p"));
    assert_eq!(
        (ingo_status(&answer), attempts(&answer)),
        ("100".to_owned(), 2)
    );
}

#[test]
fn many_that_are_refused_at_once_are_each_repeated_once() {
    let ingo = Ingo::off_by(AHEAD);
    let proxy = ingo.proxy().argument("--routes=process").start();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let proxy = &proxy;
            scope.spawn(move || {
                let answer = proxy.post(&post("/gateway/process", &format!("p{n}")));
                assert_eq!(ingo_status(&answer), "100", "{}", answer.text());
                assert!(attempts(&answer) <= 2);
            });
        }
    });
    assert_eq!(ingo.counts()["transactions"], 16);
}

#[test]
fn beyond_the_bound_or_switched_off_nothing_is_corrected_and_ingos_refusal_is_passed_on() {
    for (seconds, yaml) in [
        (16 * 60, ""),
        (AHEAD, "clock:\n  max_correction: 500s\n"),
        (AHEAD, "clock:\n  correct: false\n"),
    ] {
        let ingo = Ingo::off_by(seconds);
        let proxy = ingo.proxy().yaml(yaml).start();
        for _ in 0..2 {
            let answer = proxy.post(&post(SESSIONS, "p"));
            assert_eq!((answer.status, attempts(&answer)), (401, 1));
            assert_eq!(answer.json()["message"], SKEW);
        }
        assert_eq!(ingo.received(), 2);
        assert_eq!(corrections(&proxy, 2), 0);
        let difference = (skew(&proxy) - seconds as f64).abs();
        assert!(difference <= 2.0, "the gauge tells of it all the same");
    }
}

#[test]
fn where_the_correction_does_not_help_the_request_is_repeated_once_and_no_more() {
    // It says always that the date is wrong, and its own Date is always another.
    let upstream = Upstream::scripted(|request| {
        let ahead = Duration::from_secs(400 + 100 * request.number as u64);
        Reply::status(401)
            .header("Content-Type", "application/json")
            .header("Date", &httpdate::fmt_http_date(SystemTime::now() + ahead))
            .body(format!(r#"{{"message":"{SKEW}"}}"#))
    });
    let proxy = Proxy::to(&upstream)
        .repeating()
        .argument("--routes=process")
        .start();
    let answer = proxy.post(&post("/gateway/process", "p"));
    assert_eq!((answer.status, attempts(&answer)), (401, 2));
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn no_other_401_or_403_changes_the_clock_or_is_repeated() {
    let messages = [
        r#"{"message":"Unauthorized"}"#,
        r#"{"message":"HMAC signature cannot be verified"}"#,
        r#"{"message":"HMAC signature does not match"}"#,
        r#"{"status":401,"client_message":"Unauthorized"}"#,
        "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication",
        "",
    ];
    for status in [401, 403] {
        for message in messages {
            let upstream = Upstream::scripted(move |request| {
                let ahead = Duration::from_secs(AHEAD.unsigned_abs());
                let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
                let reply = match request.number {
                    0 => Reply::status(status).body(message),
                    _ => Reply::session("p"),
                };
                reply.header("Date", &date)
            });
            let proxy = Proxy::to(&upstream).repeating().start();
            let mut client = proxy.client();
            let refused = client.post(&post(SESSIONS, "p"));
            assert_eq!((refused.status, attempts(&refused)), (status, 1));
            assert_eq!(refused.text(), message);
            assert_eq!(client.post(&post(SESSIONS, "p")).status, 200);
            let requests = upstream.requests();
            assert_eq!(requests.len(), 2, "{message}");
            requests[1].verify(SECRET, USERNAME);
            let date = requests[1].header("x-date").expect("a date");
            let date = httpdate::parse_http_date(&date).expect("a date");
            assert!(
                date <= SystemTime::now(),
                "the clock was changed by {message}"
            );
            assert_eq!(corrections(&proxy, 2), 0);
        }
    }
}

#[test]
fn the_skew_message_with_another_status_is_an_answer_like_any_other() {
    let upstream = Upstream::scripted(|_| {
        let ahead = Duration::from_secs(AHEAD.unsigned_abs());
        Reply::json(format!(r#"{{"message":"{SKEW}"}}"#))
            .header("Date", &httpdate::fmt_http_date(SystemTime::now() + ahead))
    });
    let proxy = Proxy::to(&upstream).repeating().start();
    assert_eq!(attempts(&proxy.post(&post(SESSIONS, "p"))), 1);
    assert_eq!(corrections(&proxy, 1), 0);
}

#[test]
fn a_wrong_secret_or_an_unlisted_host_uri_is_refused_once_and_changes_nothing() {
    // Within the five minutes that Ingo tolerates, so that there is a difference to be taken over wrongly.
    let ingo = Ingo::built(|b| {
        b.clock(clock_off_by(200))
            .allowed_hosts(["https://pay.example".to_owned()])
    });
    let wrong = ingo
        .proxy()
        .secret_file(Some(b"not-the-secret-4be1"))
        .start();
    let answer = wrong.post(&post(SESSIONS, "p"));
    assert_eq!((answer.status, attempts(&answer)), (401, 1));
    assert_eq!(answer.json()["message"], "HMAC signature does not match");
    assert_eq!(corrections(&wrong, 1), 0);

    let proxy = ingo.proxy().start();
    let body = r#"{"participant_unique_id1":"p","recipient_information":{},"host_uri":"https://evil.example"}"#;
    let answer = proxy.post(&Post::new(body));
    assert_eq!((answer.status, attempts(&answer)), (401, 1));
    assert_eq!(corrections(&proxy, 1), 0);
    // An Ingo that is exact again would refuse what a corrected clock signs.
    ingo.set_clock(clock_off_by(-150));
    let next = proxy.post(&post(SESSIONS, "p"));
    assert_eq!((ingo_status(&next), attempts(&next)), ("100".to_owned(), 1));
}
