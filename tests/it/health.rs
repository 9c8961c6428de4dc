//! The health and the admin listener: what they serve, to whom, and what the metrics say.

use std::collections::BTreeSet;

use crate::support::{
    Client, Gate, Metrics, Post, Proxy, Reply, SECRET, Upstream, contains, session,
};

/// The metrics that exist, with their types.
const METRICS: [(&str, &str); 8] = [
    ("ingo_proxy_exchanges_total", "counter"),
    ("ingo_proxy_exchange_duration_seconds", "histogram"),
    ("ingo_proxy_phase_duration_seconds", "histogram"),
    ("ingo_proxy_attempts_total", "counter"),
    ("ingo_proxy_rejections_total", "counter"),
    ("ingo_proxy_exchanges_in_flight", "gauge"),
    ("ingo_proxy_buffered_bytes", "gauge"),
    ("ingo_proxy_panics_total", "counter"),
];

/// A proxy whose upstream echoes, after one exchange of each kind.
fn used() -> (Upstream, Proxy) {
    let upstream = Upstream::scripted(|request| match request.participant().as_str() {
        "reset" => Reply::reset(),
        "refused" => Reply::status(401),
        id => Reply::session(id),
    });
    let proxy = Proxy::to(&upstream).admin().start();
    for id in ["p", "refused", "reset"] {
        proxy.post(&Post::new(session(id)));
    }
    proxy.post(&Post::new("not json"));
    proxy.post(&Post::new("{}").to("/canary-path"));
    (upstream, proxy)
}

#[test]
fn livez_and_readyz_say_that_it_runs_and_is_ready() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    assert_eq!(proxy.health("/livez").status, 200);
    assert_eq!(proxy.health("/readyz").status, 200);
    upstream.received_nothing();
    assert_eq!(upstream.connections(), 0, "readiness never depends on Ingo");
}

#[test]
fn readiness_never_depends_on_ingo() {
    let proxy = Proxy::to_url("http://127.0.0.1:1").start();
    proxy
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_unreachable", "no");
    assert_eq!(proxy.health("/readyz").status, 200);
}

#[test]
fn the_health_listener_serves_nothing_else() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    for path in [
        "/",
        "/config",
        "/livez/",
        "/metrics/x",
        crate::support::SESSIONS,
    ] {
        assert_eq!(proxy.health(path).status, 404, "{path}");
    }
    let answer = Client::connect(proxy.address("health")).post(&Post::new("{}"));
    assert_eq!(answer.status, 404);
    let answer = Client::connect(proxy.address("health")).post(&Post::new("{}").to("/livez"));
    assert_eq!(answer.status, 405);
    upstream.received_nothing();
}

#[test]
fn the_health_listener_refuses_browsers() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for header in ["Origin: http://localhost", "Sec-Fetch-Site: cross-site"] {
        let mut client = Client::connect(proxy.address("health"));
        client.send(
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.answer("GET").status, 403, "{header}");
    }
}

#[test]
fn metrics_have_the_names_and_types_that_are_promised() {
    let (_upstream, proxy) = used();
    let answer = proxy.health("/metrics");
    let kind = answer.header("content-type").expect("a Content-Type");
    assert!(kind.starts_with("text/plain"), "{kind}");
    let metrics = proxy.metrics();
    for (name, kind) in METRICS {
        assert_eq!(metrics.kind(name), Some(kind), "{name}");
    }
    let build: Vec<_> = metrics.samples_of("ingo_proxy_build_info").collect();
    assert_eq!(build.len(), 1);
    assert_eq!(build[0].value, 1.0);
    assert_eq!(build[0].labels["version"], env!("CARGO_PKG_VERSION"));
    assert!(build[0].labels.contains_key("revision"));
    assert_eq!(metrics.sum("ingo_proxy_panics_total", &[]), 0.0);
    let process = ["resident_memory_bytes", "open_fds", "cpu_seconds_total"];
    for name in process {
        assert!(metrics.text().contains(name), "{name}");
    }
}

#[test]
fn each_exchange_is_counted_once_under_its_outcome() {
    let (_upstream, proxy) = used();
    let metrics = proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_total", &[]) == 5.0);
    let exchanges = |labels: &[(&str, &str)]| metrics.sum("ingo_proxy_exchanges_total", labels);
    let session = ("route", "create_session");
    assert_eq!(
        exchanges(&[session, ("outcome", "answered"), ("code", "2xx")]),
        1.0
    );
    assert_eq!(
        exchanges(&[session, ("outcome", "answered"), ("code", "4xx")]),
        1.0
    );
    assert_eq!(
        exchanges(&[session, ("outcome", "failed"), ("code", "5xx")]),
        1.0
    );
    assert_eq!(exchanges(&[("outcome", "rejected"), ("code", "4xx")]), 2.0);
    assert_eq!(exchanges(&[session, ("tenant", "default")]), 4.0);
    let rejections = |code| metrics.sum("ingo_proxy_rejections_total", &[("code", code)]);
    assert_eq!(rejections("body_not_json"), 1.0);
    assert_eq!(rejections("route_not_found"), 1.0);
    assert_eq!(metrics.sum("ingo_proxy_attempts_total", &[session]), 3.0);
    let durations = "ingo_proxy_exchange_duration_seconds_count";
    assert_eq!(metrics.sum(durations, &[]), 5.0);
    for phase in [
        "read_body",
        "sign",
        "connect",
        "send",
        "first_byte",
        "read_response",
        "write_answer",
    ] {
        let count = metrics.sum(
            "ingo_proxy_phase_duration_seconds_count",
            &[("phase", phase)],
        );
        assert!(count >= 1.0, "{phase}: {count}");
    }
}

#[test]
fn exchanges_in_flight_are_counted_while_they_are() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::json("{}").held_by(&holding));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    let in_flight = [("route", "create_session")];
    let metrics = proxy.metrics();
    assert_eq!(
        metrics.sum("ingo_proxy_exchanges_in_flight", &in_flight),
        1.0
    );
    assert!(metrics.sum("ingo_proxy_buffered_bytes", &[]) >= 2.0);
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_in_flight", &[]) == 0.0);
}

#[test]
fn no_label_is_taken_from_a_requests_text() {
    let (_upstream, proxy) = used();
    let all = |count| move |m: &Metrics| m.sum("ingo_proxy_exchanges_total", &[]) == count;
    // What is counted is counted after the answer was written.
    let before = series(&proxy.metrics_become(all(5.0)));
    for number in 0..20 {
        proxy.post(&Post::new("{}").to(format!("/canary-{number}")));
        proxy.post(&Post::new("{}").method(&format!("CANARY{number}")).to("/x"));
    }
    let metrics = proxy.metrics_become(all(45.0));
    assert_eq!(before, series(&metrics));
    assert!(!metrics.text().to_ascii_lowercase().contains("canary"));
}

/// Every series there is, without its value. Those of the process come and go.
fn series(metrics: &Metrics) -> BTreeSet<String> {
    let lines = metrics.text().lines().filter(|l| !l.starts_with('#'));
    lines
        .filter(|l| l.starts_with("ingo_proxy_"))
        .filter_map(|l| Some(l.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

#[test]
fn the_admin_listener_is_off_unless_asked_for() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    assert!(!output.contains("\"admin\""), "{output}");
}

#[test]
fn config_shows_what_is_in_force_and_no_secret() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  queue_wait: 123ms\n";
    let proxy = Proxy::to(&upstream).admin().yaml(yaml).start();
    let answer = proxy.admin("/config");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("123ms"), "{text}");
    assert!(text.contains(&upstream.url()), "{text}");
    assert!(!contains(text.as_bytes(), SECRET), "{text}");
}

#[test]
fn the_admin_listener_refuses_browsers_but_its_own_page() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    for (header, status) in [
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: none", 200),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Origin: http://evil.example", 403),
    ] {
        let mut client = Client::connect(proxy.address("admin"));
        client.send(
            format!("GET /config HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.answer("GET").status, status, "{header}");
    }
    let mut client = Client::connect(proxy.address("admin"));
    client.send(b"GET /config HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.answer("GET").status, 421);
}

#[test]
fn the_admin_listener_serves_no_route() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    let answer = Client::connect(proxy.address("admin")).post(&Post::new("{}"));
    assert_eq!(answer.status, 404);
    assert_eq!(proxy.admin("/nowhere").status, 404);
    upstream.received_nothing();
}
