//! What is counted and measured of Ingo, of our own work, and of nothing that a caller could make up.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    Gate, Metrics, Post, Proxy, Refusing, Reply, SESSIONS, Upstream, session, tls::Authority,
};

const ROUTE: (&str, &str) = ("route", "create_session");

/// The series of ours, without their values.
fn series(metrics: &Metrics) -> BTreeSet<String> {
    let lines = metrics.text().lines();
    let ours = lines.filter(|line| line.starts_with("ingo_proxy_"));
    ours.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

fn seconds(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or(0.0)
}

#[test]
fn the_phases_of_an_exchange_sum_to_it_and_our_own_work_is_none_of_the_waits() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::scripted(move |request| Reply::session(&request.participant()).held_by(&held));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new(session("p")).bytes());
    upstream.wait_for(1);
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    for size in [10, 1_000, 100_000, 1_000_000] {
        let mut body = session("p");
        body.resize(size.max(body.len()), b' ');
        assert_eq!(client.post(&Post::new(body)).status, 200);
    }
    assert_eq!(client.post(&Post::new("no json")).status, 400);
    for line in proxy.access_lines(6) {
        let phases = line.as_object().unwrap().keys();
        let phases = phases.filter(|name| name.ends_with("_seconds"));
        let sum: f64 = phases
            .filter(|name| !["duration_seconds", "overhead_seconds"].contains(&name.as_str()))
            .map(|name| seconds(&line, name))
            .sum();
        let whole = seconds(&line, "duration_seconds");
        assert!(
            (sum - whole).abs() <= (whole / 100.0).max(0.000_05),
            "{sum} of {whole}: {line:#}"
        );
        let waits = ["read_body", "first_byte", "read_response", "write_answer"];
        let waited: f64 = waits
            .iter()
            .map(|phase| seconds(&line, &format!("{phase}_seconds")))
            .sum();
        let overhead = seconds(&line, "overhead_seconds");
        assert!(overhead > 0.0, "{line:#}");
        assert!(overhead + waited <= whole + 0.000_001, "{line:#}");
    }
    let counted = proxy
        .metrics()
        .sum("ingo_proxy_overhead_seconds_count", &[ROUTE]);
    assert_eq!(counted, 6.0);
}

#[test]
fn making_a_connection_is_no_work_of_ours_and_finding_one_is() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml("threads: 1\n").start();
    for exchanges in 1..=2 {
        assert_eq!(proxy.post(&Post::new(session("p"))).status, 200);
        upstream.wait_for_idle(1);
        proxy.access_lines(exchanges);
    }
    let lines = proxy.access_lines(2);
    let own = |line: &Value, found: bool| -> f64 {
        let phases = ["authenticate", "validate", "sign", "send"];
        let phases = phases.iter().chain(found.then_some(&"connect"));
        phases
            .map(|phase| seconds(line, &format!("{phase}_seconds")))
            .sum()
    };
    // Of the sending, waits for room are left out; there are none here. To the nanosecond, and the addition of decimals.
    for (line, found) in lines.iter().zip([false, true]) {
        let overhead = seconds(line, "overhead_seconds");
        assert!(
            (overhead - own(line, found)).abs() < 0.000_000_000_5,
            "{overhead} and {}: {line:#}",
            own(line, found)
        );
    }
}

#[test]
fn a_connection_that_is_never_made_is_no_work_of_ours() {
    // It takes connections and says nothing: no TLS handshake ever ends.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, Authority::fresh().pem).unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let proxy = Proxy::to_url(&url)
        .yaml(&format!("upstream: {{ca_file: {}}}\n", ca.display()))
        .start();
    let post = Post::new(session("p")).header("Ingo-Proxy-Timeout", "0.5");
    assert_eq!(proxy.post(&post).status, 503);
    let line = proxy.access_lines(1).remove(0);
    let (whole, own) = (
        seconds(&line, "duration_seconds"),
        seconds(&line, "overhead_seconds"),
    );
    assert!(whole >= 0.5 && own < whole / 10.0, "{line:#}");
}

#[test]
fn what_is_refused_by_its_head_counts_for_the_route_that_it_asked_for() {
    let refusing = Refusing::start();
    let post = Post::new("{}");
    let too_long = format!("{SESSIONS}?{}", "q".repeat(9_000));
    for (asks, code) in [
        (post.clone().header("Origin", "null"), "browser_refused"),
        (post.clone().host("evil.example"), "host_refused"),
        (post.clone().to(too_long), "target_too_long"),
    ] {
        let answer = refusing.proxy.post(&asks);
        assert_eq!(answer.problem()["code"], code);
    }
    let elsewhere = post.to("/nowhere").header("Origin", "null");
    assert_eq!(refusing.proxy.post(&elsewhere).status, 403);
    let counted = |route| [("route", route), ("outcome", "rejected")];
    refusing.proxy.metrics_become(|m| {
        m.sum("ingo_proxy_exchanges_total", &counted("create_session")) == 3.0
            && m.sum("ingo_proxy_exchanges_total", &counted("none")) == 1.0
    });
}

#[test]
fn what_ingo_says_of_itself_is_counted_whatever_it_says_and_passes_untouched() {
    let bodies: [(&str, &str); 10] = [
        (r#"{"status":100,"time":0.5}"#, "100"),
        (r#"{"status":"101","time":"0.25"}"#, "101"),
        (r#"{"status":13400,"time":-1}"#, "13400"),
        (r#"{"status":424242,"time":"soon"}"#, "other"),
        (r#"{"status":"sold out\"}\n","time":null}"#, "other"),
        (r#"{"time":1e400}"#, "none"),
        ("<response><status>100</status></response>", "none"),
        ("", "none"),
        ("{\"status\":100,\"da", "100"),
        // 110 is a success, and the beginning of 1100, which is none.
        ("{\"status\":110", "none"),
    ];
    let upstream = Upstream::scripted(move |request| {
        let index: usize = request.participant().parse().unwrap();
        Reply::json(bodies[index].0)
    });
    let proxy = Proxy::to(&upstream).start();
    for (index, (body, _)) in bodies.iter().enumerate() {
        let answer = proxy.post(&Post::new(session(&index.to_string())));
        assert_eq!((answer.status, answer.text().as_str()), (200, *body));
    }
    let metrics = proxy.metrics();
    for (status, count) in [
        ("100", 2.0),
        ("101", 1.0),
        ("13400", 1.0),
        ("other", 2.0),
        ("none", 4.0),
    ] {
        let counted = metrics.sum(
            "ingo_proxy_ingo_responses_total",
            &[ROUTE, ("ingo_status", status)],
        );
        assert_eq!(counted, count, "{status}");
    }
    let of = |part: &str| {
        let name = format!("ingo_proxy_ingo_processing_seconds_{part}");
        metrics.sum(&name, &[ROUTE])
    };
    assert_eq!((of("count"), of("sum")), (2.0, 0.75));
}

#[test]
fn what_is_left_of_an_authorized_url_is_measured_when_it_is_passed_on() {
    let upstream = Upstream::scripted(|request| match request.participant().as_str() {
        "expired" => Reply::json(
            r#"{"status":100,"data":{"authorized_url":"x","authorized_url_expiration_utc":"2001-01-01T00:00:00Z"}}"#,
        ),
        "none" => Reply::json(r#"{"status":100,"data":{}}"#),
        id => Reply::session(id),
    });
    let proxy = Proxy::to(&upstream).start();
    for id in ["fresh", "expired", "none"] {
        assert_eq!(proxy.post(&Post::new(session(id))).status, 200);
    }
    let metrics = proxy.metrics();
    let below = |bound| {
        metrics.sum(
            "ingo_proxy_authorized_url_ttl_seconds_bucket",
            &[ROUTE, ("le", bound)],
        )
    };
    assert_eq!(below("0"), 1.0);
    assert_eq!(below("10"), 1.0);
    assert_eq!(below("30"), 2.0);
    assert_eq!(below("+Inf"), 2.0);
}

#[test]
fn a_refresh_of_the_authorized_url_is_advised_only_where_it_is_to_be_had() {
    let upstream = Upstream::answering(Reply::json(
        r#"{"status":100,"data":{"authorized_url":"x","authorized_url_expiration_utc":"2001-01-01T00:00:00Z"}}"#,
    ));
    let warned = |path: &str, route: &str| {
        let yaml = format!("routes: {{{route}}}\n");
        let proxy = Proxy::to(&upstream).yaml(&yaml).start();
        assert_eq!(proxy.post(&Post::new(session("p")).to(path)).status, 200);
        let output = proxy.terminate().output();
        assert!(
            output.contains("an authorized_url is passed on"),
            "{output}"
        );
        output.contains("refresh_url_below")
    };
    let path = "/api/v1/sessions/point-in-time/plugin";
    assert!(warned(path, ""));
    assert!(!warned(path, "create_session: {refresh_url_below: 1s}"));
    assert!(!warned("/api/v4/accounts", "banking: {enabled: true}"));
}

#[test]
fn an_authorized_url_that_has_little_time_left_is_refreshed_where_that_is_wanted() {
    let answer = |status: u32, url: &str, expiration: &str| {
        Reply::json(format!(
            r#"{{"status":{status},"data":{{"authorized_url":"{url}","authorized_url_expiration_utc":"{expiration}"}}}}"#
        ))
    };
    let upstream = Upstream::scripted(move |request| match (request.connection, request.number) {
        (_, 0) => answer(100, "first", "2001-01-01T00:00:00Z"),
        (_, 1) => answer(101, "second", "2999-01-01T00:00:00Z"),
        (_, 2) => answer(100, "third", "2001-01-01T00:00:00Z"),
        _ => Reply::status(503),
    });
    let yaml = "routes: {create_session: {refresh_url_below: 10s, attempts: 1}}\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut client = proxy.client();
    let refreshed = client.post(&Post::new(session("p")));
    assert!(refreshed.text().contains("second"), "{}", refreshed.text());
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        requests[0].header("idempotency-key"),
        requests[1].header("idempotency-key"),
        "it is the same session"
    );
    assert_eq!(requests[0].body, requests[1].body);
    // Where the repeat brings none, the caller gets what there is, and it is said.
    let kept = client.post(&Post::new(session("q")));
    assert!(kept.text().contains("third"), "{}", kept.text());
    let reason = [("reason", "url_life")];
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("ingo_proxy_retries_total", &reason), 2.0);
    proxy.access_lines(2);
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let warned = output
        .lines()
        .filter(|l| l.contains("an authorized_url is passed on"));
    assert_eq!(warned.count(), 1);
    assert!(!output.contains("third"), "never the URL itself");
}

#[test]
fn a_repeat_that_was_held_back_is_not_counted() {
    let upstream = Upstream::scripted(|_| Reply::status(503));
    let yaml = "rate_limit: {per_second: 1, burst: 1}\nroutes: {create_session: {deadline: 900ms, attempt_timeout: 900ms}}\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).repeating().start();
    let answer = proxy.post(&Post::new(session("p")));
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.header("proxy-status"),
        Some("ingo-signing-proxy; attempts=1")
    );
    assert_eq!(proxy.metrics().sum("ingo_proxy_retries_total", &[]), 0.0);
}

#[test]
fn connections_to_ingo_are_counted_while_they_are_used_and_while_they_wait() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream =
        Upstream::scripted(move |request| Reply::session(&request.participant()).held_by(&held));
    let proxy = Proxy::to(&upstream).start();
    let name = upstream.address().to_string();
    let count = |metrics: &Metrics, state| {
        metrics.sum(
            "ingo_proxy_upstream_connections",
            &[("upstream", &name), ("state", state)],
        )
    };
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send(&Post::new(session("p")).bytes());
    }
    upstream.wait_for(2);
    let metrics = proxy.metrics();
    assert_eq!(
        (count(&metrics, "busy"), count(&metrics, "idle")),
        (2.0, 0.0)
    );
    assert_eq!(metrics.sum("ingo_proxy_inbound_connections", &[]), 2.0);
    assert_eq!(
        metrics.sum("ingo_proxy_limit_inbound_connections", &[]),
        10_000.0
    );
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer("POST").status, 200);
    }
    proxy.metrics_become(|m| count(m, "busy") == 0.0 && count(m, "idle") == 2.0);
    upstream.wait_for_idle(2);
    upstream.close_idle_connections();
    proxy.metrics_become(|m| count(m, "idle") == 0.0);
}

#[test]
fn a_refusal_of_the_gateway_is_examined_and_the_finding_told_beside_the_untouched_answer() {
    let upstream = Upstream::scripted(|request| {
        let message = match request.participant().as_str() {
            "signature_mismatch" => "HMAC signature does not match",
            "credential_unknown" => "HMAC signature cannot be verified",
            "authorization_missing" => "Unauthorized",
            _ => "something else",
        };
        Reply::status(401)
            .header("Content-Type", "application/json")
            .body(format!(r#"{{"message":"{message}"}}"#))
    });
    let proxy = Proxy::to(&upstream).start();
    let findings = [
        "signature_mismatch",
        "credential_unknown",
        "authorization_missing",
        "unknown",
    ];
    for (before, finding) in findings.iter().enumerate() {
        // Of two connections, either's line may be written first.
        proxy.access_lines(before);
        let answer = proxy.post(&Post::new(session(finding)));
        assert_eq!(answer.status, 401);
        assert!(answer.text().starts_with(r#"{"message":""#));
        assert_eq!(
            answer.header("proxy-status"),
            Some(&*format!(
                "ingo-signing-proxy; attempts=1; diagnosis={finding}"
            ))
        );
    }
    let lines = proxy.access_lines(4);
    let metrics = proxy.metrics();
    for finding in findings {
        let counted = metrics.sum("ingo_proxy_diagnoses_total", &[("finding", finding)]);
        assert_eq!(counted, 1.0, "{finding}");
    }
    let told: Vec<_> = lines.iter().map(|l| l["diagnosis"].as_str()).collect();
    assert_eq!(told, findings.map(Some));
}

#[test]
fn a_refusal_is_told_and_counted_whatever_became_of_the_repeat_after_it() {
    let upstream = Upstream::scripted(|request| {
        let signed = request.header("authorization").unwrap_or_default();
        if signed.contains("\"acme\"") {
            Reply::status(401).body(r#"{"message":"HMAC signature does not match"}"#)
        } else if request.participant() == "lost" {
            Reply::reset()
        } else {
            Reply::session("healed")
        }
    });
    let builder = Proxy::to(&upstream).username(Some("acme"));
    let next = builder.directory().join("next");
    std::fs::write(&next, "another-secret").unwrap();
    let yaml = format!(
        "credentials: {{next_username: acme-next, next_secret_file: {}}}\nroutes: {{create_session: {{attempts: 2}}}}\n",
        next.display()
    );
    let proxy = builder.yaml(&yaml).repeating().start();
    let lost = proxy.post(&Post::new(session("lost")));
    assert_eq!(lost.problem()["code"], "upstream_reset");
    let status = lost.header("proxy-status").unwrap();
    assert!(status.ends_with("diagnosis=signature_mismatch"), "{status}");
    let counted = || {
        let labels = [("finding", "signature_mismatch")];
        proxy.metrics().sum("ingo_proxy_diagnoses_total", &labels)
    };
    assert_eq!(counted(), 1.0);
    let healed = proxy.post(&Post::new(session("healed")));
    assert_eq!(healed.status, 200);
    let status = healed.header("proxy-status");
    assert_eq!(status, Some("ingo-signing-proxy; attempts=2"));
    assert_eq!(counted(), 2.0);
    let lines = proxy.access_lines(2);
    assert_eq!(lines[0]["diagnosis"], "signature_mismatch");
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let warned = output.matches("Ingo refused a request with 401 or 403");
    assert_eq!(warned.count(), 2);
}

#[test]
fn a_hundred_thousand_requests_with_random_paths_keys_and_headers_add_no_series() {
    const CALLERS: usize = 4;
    const REQUESTS: usize = 25_000;
    /// Of so many requests one is a whole exchange.
    const WHOLE: usize = 100;
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream)
        .env("RUST_LOG", "off,ingo_signing_proxy::cli=info")
        .start();
    let round = |number: usize, client: &mut crate::support::Client| {
        let key = format!("key-{number}");
        if number.is_multiple_of(WHOLE) {
            let post = Post::new(session(&format!("p-{number}")))
                .header("Idempotency-Key", key)
                .header(&format!("X-Random-{number}"), number.to_string());
            assert_eq!(client.post(&post).status, 200);
        } else {
            let path = format!("/{number}/{}", number * 7_919 % 104_729);
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\nX-Random-{number}: {number}\r\nContent-Length: 0\r\n\r\n"
            );
            client.send(head.as_bytes());
            assert_eq!(client.answer("POST").status, 404);
        }
    };
    let mut client = proxy.client();
    round(0, &mut client);
    round(1, &mut client);
    let exchanges = |m: &Metrics| m.sum("ingo_proxy_exchanges_total", &[]);
    // An exchange is counted once its answer is written.
    let before = series(&proxy.metrics_become(|m| exchanges(m) >= 2.0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let mut client = proxy.client();
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    round(2 + caller * REQUESTS + request, &mut client);
                }
            });
        }
    });
    let metrics = proxy.metrics_become(|m| exchanges(m) >= (CALLERS * REQUESTS) as f64);
    assert_eq!(series(&metrics), before);
}

#[test]
fn buckets_are_those_of_the_configuration() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream)
        .yaml("histograms: {own_buckets: [0.5, 0.25001], ingo_buckets: [1]}\n")
        .fails();
    assert_eq!(proxy.status, Some(78), "they do not ascend");
    let proxy = Proxy::to(&upstream)
        .yaml("histograms: {own_buckets: [0.25, 0.5], ingo_buckets: [0.5, 7]}\n")
        .start();
    assert_eq!(proxy.post(&Post::new(session("p"))).status, 200);
    proxy.access_lines(1);
    let metrics = proxy.metrics();
    for (name, expected) in [
        ("overhead_seconds", vec!["0.25", "0.5", "+Inf"]),
        ("exchange_duration_seconds", vec!["0.5", "7", "+Inf"]),
        ("phase_duration_seconds", vec!["0.25", "0.5", "7", "+Inf"]),
    ] {
        let name = format!("ingo_proxy_{name}_bucket");
        let mut bounds: Vec<_> = metrics
            .samples_of(&name)
            .map(|sample| sample.labels["le"].as_str())
            .collect();
        bounds.truncate(expected.len());
        assert_eq!(bounds, expected, "{name}");
    }
}
