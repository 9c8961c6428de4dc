//! Traces: continued or begun, sampled, sent to a collector, told to Ingo only where that is allowed.
#![cfg(feature = "otlp")]

use std::{
    collections::{HashMap, HashSet},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    Gate, Post, Proxy, Reply, SECRET, USERNAME, Upstream,
    collector::{Collector, Span, answer},
    contains, session,
    tls::Identity,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// A request that is part of a caller's trace, with these flags.
fn traced(flags: &str) -> Post {
    Post::new(session("p-1")).header("traceparent", format!("00-{TRACE}-{CALLERS_SPAN}-{flags}"))
}

/// The one span of that kind.
fn only(spans: &[Span], kind: u64) -> &Span {
    let mut found = spans.iter().filter(|span| span.kind() == kind);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("none of kind {kind}: {spans:#?}"));
    assert!(found.next().is_none(), "several of kind {kind}: {spans:#?}");
    span
}

fn children<'a>(spans: &'a [Span], of: &Span) -> Vec<&'a Span> {
    let children = spans.iter().filter(|span| span.parent() == of.id());
    children.collect()
}

fn names(spans: &[&Span]) -> Vec<String> {
    spans.iter().map(|span| span.name().to_owned()).collect()
}

/// Panics unless every span but the exchanges' own lies within its parent, which is here, and all names are unique.
fn is_a_tree(spans: &[Span]) {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.id(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "an identifier twice: {spans:#?}");
    for span in spans {
        let (began, ended) = span.times();
        assert!(began <= ended, "{span:#?}");
        if span.kind() == 2 {
            continue;
        }
        let parent = by_id.get(span.parent());
        let parent = parent.unwrap_or_else(|| panic!("an orphan: {span:#?}"));
        assert_eq!(parent.trace(), span.trace());
        let within = parent.times();
        assert!(
            within.0 <= began && ended <= within.1,
            "{span:#?} is not within {parent:#?}"
        );
    }
}

#[test]
fn a_callers_trace_is_continued_and_its_span_is_the_exchanges_parent() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    assert_eq!(proxy.post(&traced("01")).status, 200);
    let spans = collector.wait_for_exchanges(1);
    is_a_tree(&spans);
    assert!(spans.iter().all(|span| span.trace() == TRACE));
    let exchange = only(&spans, 2);
    assert_eq!(exchange.parent(), CALLERS_SPAN);
    assert_eq!(exchange.name(), "create_session");
    let line = &proxy.access_lines(1)[0];
    assert_eq!(line["trace_id"], TRACE);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/api/v1/sessions/point-in-time/plugin"),
        ("url.path", "/api/v1/sessions/point-in-time/plugin"),
        ("ingo.status", "100"),
        ("ingo_proxy.outcome", "answered"),
        ("ingo_proxy.sent", "maybe"),
        ("ingo_proxy.attempts", "1"),
        (
            "ingo_proxy.exchange_id",
            line["exchange_id"].as_str().unwrap(),
        ),
    ] {
        assert_eq!(exchange.attribute(key), Some(value), "{key}: {exchange:#?}");
    }
    assert!(!exchange.failed());
    let attempt = only(&spans, 3);
    assert_eq!(attempt.parent(), exchange.id());
    let port = upstream.address().port().to_string();
    assert_eq!(attempt.attribute("server.address"), Some("127.0.0.1"));
    assert_eq!(attempt.attribute("server.port"), Some(port.as_str()));
    assert_eq!(attempt.attribute("http.response.status_code"), Some("200"));
    assert_eq!(
        names(&children(&spans, attempt)),
        [
            "connect",
            "sign",
            "send",
            "first_byte",
            "read_response",
            "validate"
        ]
    );
    let own = names(&children(&spans, exchange));
    assert_eq!(
        own,
        [
            "attempt",
            "authenticate",
            "validate",
            "queue",
            "read_body",
            "validate",
            "sign",
            "validate",
            "write_answer"
        ]
    );
}

#[test]
fn without_a_callers_trace_one_is_begun_for_each_exchange() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    for _ in 0..2 {
        assert_eq!(proxy.post(&Post::new(session("p-1"))).status, 200);
    }
    let spans = collector.wait_for_exchanges(2);
    is_a_tree(&spans);
    let exchanges = spans.iter().filter(|span| span.kind() == 2);
    assert!(exchanges.clone().all(|span| span.parent().is_empty()));
    let traces: HashSet<_> = exchanges.map(|span| span.trace().to_owned()).collect();
    assert_eq!(traces.len(), 2);
    let lines = proxy.access_lines(2);
    let told = lines
        .iter()
        .map(|line| line["trace_id"].as_str().unwrap().to_owned());
    assert_eq!(told.collect::<HashSet<_>>(), traces);
}

#[test]
fn what_is_not_sampled_is_not_sent_and_its_trace_is_told_all_the_same() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream)
        .yaml(&collector.yaml("  sample_ratio: 0\n"))
        .start();
    proxy.post(&Post::new(session("p-1")));
    proxy.access_lines(1);
    proxy.post(&traced("00"));
    let lines = proxy.access_lines(2);
    assert!(lines[0]["trace_id"].is_string());
    assert_eq!(lines[1]["trace_id"], TRACE);
    proxy.post(&traced("01"));
    assert_eq!(proxy.terminate().status, Some(0));
    let spans = collector.spans();
    assert_eq!(
        only(&spans, 2).parent(),
        CALLERS_SPAN,
        "the caller's decision holds"
    );
}

#[test]
fn a_caller_that_does_not_sample_is_not_sampled_here() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    proxy.post(&traced("00"));
    assert_eq!(proxy.terminate().status, Some(0));
    assert!(collector.exports().is_empty());
}

#[test]
fn each_attempt_has_a_span_with_its_own_phases_and_the_wait_between_is_the_exchanges() {
    let collector = Collector::start();
    let seen = AtomicUsize::new(0);
    let upstream = Upstream::scripted(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::reset(),
        1 => Reply::status(503),
        _ => Reply::session("p-1"),
    });
    let proxy = Proxy::to(&upstream)
        .repeating()
        .yaml(&collector.yaml(""))
        .start();
    assert_eq!(proxy.post(&traced("01")).status, 200);
    let spans = collector.wait_for_exchanges(1);
    is_a_tree(&spans);
    let exchange = only(&spans, 2);
    let mut attempts: Vec<_> = spans.iter().filter(|span| span.kind() == 3).collect();
    attempts.sort_by_key(|span| span.times());
    assert_eq!(attempts.len(), 3);
    for (number, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.parent(), exchange.id());
        let phases = names(&children(&spans, attempt));
        for phase in ["connect", "sign", "send", "first_byte"] {
            let count = phases.iter().filter(|name| *name == phase).count();
            assert_eq!(count, 1, "{phase} of {number}: {phases:?}");
        }
        let resent = (number > 0).then(|| number.to_string());
        assert_eq!(
            attempt.attribute("http.request.resend_count"),
            resent.as_deref()
        );
    }
    let errors: Vec<_> = attempts.iter().map(|a| a.attribute("error.type")).collect();
    assert_eq!(errors, [Some("unanswered"), Some("503"), None]);
    let failed: Vec<_> = attempts.iter().map(|a| a.failed()).collect();
    assert_eq!(failed, [true, true, false]);
    let waits = children(&spans, exchange);
    assert_eq!(
        waits.iter().filter(|span| span.name() == "backoff").count(),
        2
    );
    assert_eq!(exchange.attribute("ingo_proxy.attempts"), Some("3"));
}

#[test]
fn a_problem_names_its_trace_in_the_document_the_line_and_the_span() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::reset());
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    let problem = proxy
        .post(&traced("01"))
        .is_problem(502, "upstream_reset", "maybe");
    assert_eq!(problem["trace_id"], TRACE);
    assert_eq!(proxy.access_lines(1)[0]["trace_id"], TRACE);
    let spans = collector.wait_for_exchanges(1);
    let exchange = only(&spans, 2);
    assert!(exchange.failed());
    assert_eq!(exchange.attribute("error.type"), Some("upstream_reset"));
    assert_eq!(exchange.attribute("ingo_proxy.outcome"), Some("failed"));
    assert_eq!(only(&spans, 3).attribute("error.type"), Some("unanswered"));
}

#[test]
fn a_refusal_has_a_span_that_names_no_text_of_the_request() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    let post = traced("01")
        .to("/canary-path?canary-query")
        .method("CANARY");
    let problem = proxy.post(&post).is_problem(404, "route_not_found", "no");
    assert_eq!(problem["trace_id"], TRACE);
    let spans = collector.wait_for_exchanges(1);
    let exchange = only(&spans, 2);
    assert_eq!(exchange.name(), "none");
    assert_eq!(exchange.attribute("http.request.method"), Some("_OTHER"));
    assert_eq!(exchange.attribute("url.path"), None);
    assert_eq!(exchange.attribute("error.type"), Some("route_not_found"));
    assert!(
        !exchange.failed(),
        "the caller's mistake is no fault of ours"
    );
    let sent = String::from_utf8_lossy(&collector.bytes()).to_ascii_lowercase();
    assert!(!sent.contains("canary"), "{sent}");
    upstream.received_nothing();
}

#[test]
fn an_attempt_that_could_not_connect_has_a_span_that_says_so() {
    let collector = Collector::start();
    // Bound and closed: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::to_url(&format!("http://{address}"))
        .yaml(&collector.yaml(""))
        .start();
    proxy
        .post(&traced("01"))
        .is_problem(502, "upstream_unreachable", "no");
    let spans = collector.wait_for_exchanges(1);
    is_a_tree(&spans);
    let attempt = only(&spans, 3);
    assert_eq!(attempt.attribute("error.type"), Some("unconnected"));
    assert_eq!(names(&children(&spans, attempt)), ["connect"]);
}

#[test]
fn nothing_secret_and_nobody_is_in_a_span() {
    const BODY: &str = "canary-of-the-body";
    const ANSWER: &str = "canary-of-the-authorized-url";
    const CALLER: &str = "canary-of-the-caller";
    let collector = Collector::start();
    let answer = format!(
        r#"{{"status":"{ANSWER}","data":{{"authorized_url":"https://x.example/?{ANSWER}","session_identifier":"{ANSWER}","transaction_id":"{ANSWER}"}}}}"#
    );
    let upstream = Upstream::answering(Reply::json(answer).header("X-Answer", ANSWER));
    let api_key = "canary-of-the-api-key";
    let builder = Proxy::to(&upstream)
        .env("RUST_LOG", "trace")
        .argument("--routes=create_session,banking");
    let file = builder.directory().join("api-key");
    std::fs::write(&file, api_key).unwrap();
    let yaml = format!(
        "{}credentials: {{api_key_file: {}}}\nheaders: {{to_ingo: [traceparent, tracestate]}}\n",
        collector.yaml(""),
        file.display()
    );
    let proxy = builder.yaml(&yaml).start();
    let body = format!(r#"{{"participant_unique_id1":"{BODY}","card":"{BODY}"}}"#);
    let post = Post::new(body)
        .header("traceparent", format!("00-{TRACE}-{CALLERS_SPAN}-01"))
        .header("tracestate", format!("vendor={CALLER}"))
        .header("Idempotency-Key", CALLER)
        .header("Authorization", CALLER)
        .header("User-Agent", CALLER);
    let session = format!("/api/v1/sessions/point-in-time/plugin?q={CALLER}");
    for target in [session, format!("/api/v4/{CALLER}?q={CALLER}")] {
        let answer = proxy.post(&post.clone().to(&target));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    proxy.post(&post.clone().method("PUT"));
    collector.wait_for_exchanges(3);
    let output = proxy.terminate().output();
    let sent = collector.bytes();
    let mut canaries: Vec<Vec<u8>> = [BODY, ANSWER, CALLER, api_key, USERNAME]
        .map(|canary| canary.as_bytes().to_vec())
        .to_vec();
    canaries.extend([SECRET.to_vec(), SECRET[SECRET.len() - 8..].to_vec()]);
    canaries.push(STANDARD.encode(SECRET).into_bytes());
    for request in upstream.requests() {
        let signature = request.verify(SECRET, USERNAME).value.into_bytes();
        assert!(
            !contains(output.as_bytes(), &signature),
            "a signature was logged"
        );
        canaries.push(signature);
        canaries.push(request.header("Content-sha512").unwrap().into_bytes());
    }
    for canary in canaries {
        let found = contains(&sent, &canary);
        assert!(!found, "{} was sent", String::from_utf8_lossy(&canary));
    }
    let spans = collector.spans();
    // The one that was refused has none. Which of them comes first is not said: each is told of once its answer is written.
    let sessions = spans.iter().filter(|span| span.name() == "create_session");
    let statuses: Vec<_> = sessions
        .filter_map(|span| span.attribute("ingo.status"))
        .collect();
    assert_eq!(statuses, ["other"]);
}

#[test]
fn a_traceparent_that_is_not_valid_is_as_none() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let yaml = collector.yaml("headers: {to_ingo: [traceparent, tracestate]}\n");
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    let valid = format!("00-{TRACE}-{CALLERS_SPAN}-01");
    let posts = [
        Post::new(session("p")).header("traceparent", valid.to_ascii_uppercase()),
        Post::new(session("p")).header("traceparent", "00-0-0-01"),
        Post::new(session("p")).header("traceparent", ""),
        traced("01").header("traceparent", &valid),
    ];
    let count = posts.len();
    for post in posts {
        let answer = proxy.post(&post.header("tracestate", "a=1"));
        assert_eq!(answer.status, 200);
    }
    let spans = collector.wait_for_exchanges(count);
    let exchanges: Vec<_> = spans.iter().filter(|span| span.kind() == 2).collect();
    assert!(exchanges.iter().all(|span| span.parent().is_empty()));
    assert!(exchanges.iter().all(|span| span.trace() != TRACE));
    for request in upstream.requests() {
        assert_eq!(request.header("tracestate"), None, "it belongs to no trace");
    }
}

#[test]
fn by_default_ingo_is_told_nothing_of_a_trace() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    proxy.post(&traced("01").header("tracestate", "vendor=value"));
    proxy.post(&Post::new(session("p-1")));
    for request in upstream.wait_for(2) {
        let names = request.names();
        assert!(
            !names.iter().any(|name| name.starts_with("trace")),
            "{request}"
        );
        assert!(!contains(&request.head, TRACE.as_bytes()), "{request}");
    }
}

#[test]
fn where_ingo_may_be_told_it_is_told_the_span_of_each_attempt() {
    let collector = Collector::start();
    let seen = AtomicUsize::new(0);
    let upstream = Upstream::scripted(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::reset(),
        _ => Reply::session("p-1"),
    });
    let yaml = collector.yaml("headers: {to_ingo: [traceparent, tracestate, x-other]}\n");
    let proxy = Proxy::to(&upstream).repeating().yaml(&yaml).start();
    let post = traced("01")
        .header("tracestate", "a=1")
        .header("tracestate", "b=2")
        .header("x-other", "passes");
    assert_eq!(proxy.post(&post).status, 200);
    let spans = collector.wait_for_exchanges(1);
    let mut attempts: Vec<_> = spans.iter().filter(|span| span.kind() == 3).collect();
    attempts.sort_by_key(|span| span.times());
    let requests = upstream.requests();
    assert_eq!((attempts.len(), requests.len()), (2, 2));
    for (attempt, request) in attempts.iter().zip(&requests) {
        let told = format!("00-{TRACE}-{}-01", attempt.id());
        assert_eq!(request.header("traceparent"), Some(told));
        assert_eq!(request.header("tracestate").as_deref(), Some("a=1,b=2"));
        assert_eq!(request.header("x-other").as_deref(), Some("passes"));
        request.verify(SECRET, USERNAME);
    }
}

#[test]
fn an_exchange_that_is_not_sampled_is_told_to_ingo_as_such_with_a_span_of_ours() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let yaml = collector.yaml("headers: {to_ingo: [traceparent]}\n");
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    proxy.post(&traced("00").header("tracestate", "a=1"));
    let request = upstream.only_request();
    let told = request.header("traceparent").expect("it may be told");
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"),
        "{told}"
    );
    assert!(!told.contains(CALLERS_SPAN), "{told}");
    assert_eq!(request.header("tracestate"), None, "it was not named");
}

#[test]
fn a_tracestate_that_is_too_long_is_not_passed_on() {
    let upstream = Upstream::answering(Reply::session("p-1"));
    let yaml = "headers: {to_ingo: [traceparent, tracestate]}\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    for length in [512, 513] {
        let state = format!("a={}", "x".repeat(length - 2));
        proxy.post(&traced("01").header("tracestate", &state));
    }
    let passed: Vec<_> = (upstream.wait_for(2).iter())
        .map(|request| request.header("tracestate").map(|state| state.len()))
        .collect();
    assert_eq!(passed, [Some(512), None]);
}

#[test]
fn where_tracing_is_off_a_callers_trace_is_told_and_passed_on_and_none_is_begun() {
    let upstream = Upstream::answering(Reply::session("p-1"));
    let yaml = "headers: {to_ingo: [traceparent]}\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let later = format!("01-{TRACE}-{CALLERS_SPAN}-ff-more");
    proxy.post(&Post::new(session("p")).header("traceparent", later));
    proxy.access_lines(1);
    proxy.post(&Post::new(session("p")));
    proxy.access_lines(2);
    let problem = proxy
        .post(&Post::new("not json"))
        .is_problem(400, "body_not_json", "no");
    assert!(problem.get("trace_id").is_none());
    let lines = proxy.access_lines(3);
    assert_eq!(lines[0]["trace_id"], TRACE);
    assert!(lines[1].get("trace_id").is_none());
    let requests = upstream.requests();
    let told = format!("00-{TRACE}-{CALLERS_SPAN}-01");
    assert_eq!(
        requests[0].header("traceparent"),
        Some(told),
        "there is no span of ours"
    );
    assert_eq!(requests[1].header("traceparent"), None);
}

#[test]
fn a_collector_that_is_down_holds_up_nothing_and_what_is_lost_is_counted() {
    let upstream = Upstream::answering(Reply::session("p-1"));
    let refused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let yaml = format!("tracing: {{otlp_endpoint: 'http://{refused}/v1/traces'}}\n");
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    let mut client = proxy.client();
    // More spans than the queue holds.
    for _ in 0..200 {
        assert_eq!(client.post(&Post::new(session("p-1"))).status, 200);
    }
    proxy.metrics_become(|metrics| metrics.sum("ingo_proxy_spans_dropped_total", &[]) > 0.0);
    let ended = proxy.terminate();
    assert_eq!(ended.status, Some(0));
    let output = ended.output();
    let warnings = output.matches("spans could not be sent").count();
    assert_eq!(warnings, 1, "{output}");
}

#[test]
fn a_collector_that_never_answers_does_not_keep_the_process_from_ending() {
    let upstream = Upstream::answering(Reply::session("p-1"));
    // The system takes connections that nobody accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let yaml = format!("tracing: {{otlp_endpoint: 'http://{address}'}}\n");
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    assert_eq!(proxy.post(&Post::new(session("p-1"))).status, 200);
    proxy.access_lines(1);
    let ended = proxy.terminate();
    assert_eq!(ended.status, Some(0));
    assert!(ended.output().contains("stopped"), "{}", ended.output());
}

#[test]
fn what_waits_to_be_sent_is_sent_before_the_process_ends() {
    let collector = Collector::start();
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::session("p-1").held_by(&holding));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    let mut client = proxy.client();
    client.send(&traced("01").bytes());
    upstream.wait_for(1);
    proxy.signal("TERM");
    proxy.readyz_becomes(503);
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    assert_eq!(proxy.end().status, Some(0));
    assert_eq!(only(&collector.spans(), 2).parent(), CALLERS_SPAN);
}

#[test]
fn a_batch_that_the_collector_may_take_later_is_sent_again_and_others_are_not() {
    let collector = Collector::scripted(|number| match number {
        0 => answer("503 Busy", "Retry-After: 0\r\n", ""),
        1 => answer("200 OK", "", r#"{"partialSuccess":{"rejectedSpans":"2"}}"#),
        2 => answer("400 Bad", "", "no"),
        _ => answer("200 OK", "", ""),
    });
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    proxy.post(&traced("01"));
    let exports = collector.wait_for_exports(2);
    assert!(exports[0].body == exports[1].body);
    let dropped =
        |metrics: &crate::support::Metrics| metrics.sum("ingo_proxy_spans_dropped_total", &[]);
    proxy.metrics_become(|metrics| dropped(metrics) == 2.0);
    proxy.post(&traced("01"));
    proxy.metrics_become(|metrics| dropped(metrics) > 2.0);
    proxy.post(&traced("01"));
    let exports = collector.wait_for_exports(4);
    assert!(exports[2].body != exports[3].body);
}

#[test]
fn a_collector_that_refuses_more_spans_than_it_was_sent_refused_all_of_them() {
    let most = r#"{"partialSuccess":{"rejectedSpans":"18446744073709551615"}}"#;
    let collector = Collector::scripted(move |number| match number {
        0 => answer("400 Bad", "", "no"),
        _ => answer("200 OK", "", most),
    });
    let upstream = Upstream::answering(Reply::session("p-1"));
    let proxy = Proxy::to(&upstream).yaml(&collector.yaml("")).start();
    let dropped =
        |metrics: &crate::support::Metrics| metrics.sum("ingo_proxy_spans_dropped_total", &[]);
    proxy.post(&traced("01"));
    let once = dropped(&proxy.metrics_become(|metrics| dropped(metrics) > 0.0));
    proxy.post(&traced("01"));
    let twice = dropped(&proxy.metrics_become(|metrics| dropped(metrics) != once));
    assert!(once < twice && twice < 100.0, "{once}, then {twice}");
}

#[test]
fn a_collector_over_tls_is_verified_by_the_roots_that_ssl_cert_file_names() {
    let identity = Identity::of(&["127.0.0.1"]);
    let trusted = Collector::over_tls(identity.clone());
    let distrusted = Collector::over_tls(Identity::of(&["127.0.0.1"]));
    let upstream = Upstream::answering(Reply::session("p-1"));
    for (collector, arrives) in [(&trusted, true), (&distrusted, false)] {
        let builder = Proxy::to(&upstream);
        let file = builder.directory().join("authority.pem");
        std::fs::write(&file, &identity.authority).unwrap();
        let proxy = builder
            .env("SSL_CERT_FILE", file.to_str().unwrap())
            .yaml(&collector.yaml(""))
            .start();
        assert_eq!(proxy.post(&traced("01")).status, 200);
        let ended = proxy.terminate();
        assert_eq!(ended.status, Some(0));
        assert_eq!(
            collector.exports().len(),
            usize::from(arrives),
            "{}",
            ended.output()
        );
        let warned = ended.output().contains("spans could not be sent");
        assert_eq!(warned, !arrives, "{}", ended.output());
    }
}

#[test]
fn credentials_for_the_collector_are_read_from_their_file_for_each_batch_and_never_said() {
    let collector = Collector::start();
    let upstream = Upstream::answering(Reply::session("p-1"));
    let builder = Proxy::to(&upstream).admin().env("RUST_LOG", "trace");
    let file = builder.directory().join("headers");
    let write = |token: &str| {
        let text = format!("Authorization: Bearer {token}\nX-Scope: one\n");
        std::fs::write(&file, text).unwrap();
    };
    write("canary-token-1");
    let yaml = collector.yaml(&format!("  headers_file: {}\n", file.display()));
    let proxy = builder.yaml(&yaml).start();
    for (number, token) in ["canary-token-1", "canary-token-2"].iter().enumerate() {
        write(token);
        proxy.post(&traced("01"));
        let exports = collector.wait_for_exports(number + 1);
        let head = String::from_utf8_lossy(&exports[number].head).to_ascii_lowercase();
        assert!(
            head.contains(&format!("authorization: bearer {token}")),
            "{head}"
        );
        assert!(head.contains("x-scope: one"), "{head}");
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
    }
    let mut said = proxy.admin("/config").text();
    said.push_str(&proxy.terminate().output());
    assert!(!said.contains("canary-token"), "{said}");
}

#[test]
fn credentials_for_the_collector_that_cannot_be_used_end_the_start() {
    for content in [
        None,
        Some("canary without a colon\n"),
        Some("Content-Type: canary\n"),
    ] {
        let builder = Proxy::to_url("http://127.0.0.1:1");
        let file = builder.directory().join("headers");
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let yaml = format!(
            "tracing: {{otlp_endpoint: 'http://127.0.0.1:1', headers_file: {}}}\n",
            file.display()
        );
        let ended = builder.yaml(&yaml).fails();
        assert_eq!(ended.status, Some(78), "{}", ended.output());
        let output = ended.output();
        assert!(output.contains("tracing.headers_file"), "{output}");
        assert!(!output.contains("canary"), "{output}");
    }
}
