//! A real Prometheus scrapes the proxy under load with faults.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;

use crate::{
    server::{Prometheus, is_there},
    support::{
        Post, Proxy, Reply, SESSIONS, Upstream, process, session,
        tls::{Authority, Identity},
    },
};

/// Every metric of product.md, and some more.
const CONTRACT: [&str; 28] = [
    "validation_findings_total",
    "exchanges_total",
    "exchange_duration_seconds_count",
    "phase_duration_seconds_count",
    "overhead_seconds_count",
    "ingo_responses_total",
    "ingo_processing_seconds_count",
    "attempts_total",
    "retries_total",
    "rejections_total",
    "exchanges_in_flight",
    "queue_length",
    "buffered_bytes",
    "upstream_connections",
    "circuit_open",
    "clock_skew_seconds",
    "authorized_url_ttl_seconds_count",
    "credential_loaded_timestamp_seconds",
    "credential_reload_failures_total",
    "journal_unresolved",
    "config_last_reload_successful",
    "certificate_not_after_timestamp_seconds",
    "diagnoses_total",
    "panics_total",
    "build_info",
    "log_lines_dropped_total",
    "inbound_connections",
    "limit_exchanges_in_flight",
];

/// An Ingo that has a fault for one exchange in five.
fn faulty(identity: Identity) -> Upstream {
    Upstream::scripted_over_tls(identity, |request| {
        let participant = request.participant();
        let number: usize = participant.parse().unwrap_or(0);
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        match number % 20 {
            1 => Reply::status(503).header("Retry-After", "0"),
            2 => Reply::reset(),
            3 => Reply::json(r#"{"status":500,"time":1.5}"#),
            4 => Reply::status(401).body(r#"{"message":"HMAC signature does not match"}"#),
            _ => Reply::session(&participant),
        }
        .header("Date", &date)
    })
}

#[test]
#[ignore = "needs prometheus"]
fn under_load_with_faults_every_metric_is_there_and_every_expression_has_data() {
    if !is_there("prometheus") || !is_there("promtool") {
        return;
    }
    let authority = Authority::fresh();
    let upstream = faulty(Identity::by(&authority, &["127.0.0.1"], None));
    let builder = Proxy::to(&upstream);
    let directory = builder.directory();
    fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
    let yaml = format!(
        "upstream: {{ca_file: {0}/ca.pem}}\n\
         routes: {{process: {{enabled: true}}}}\n\
         repeats: {{backoff_base: 1ms, backoff_cap: 5ms}}\n\
         journal: {{file: {0}/journal}}\n",
        directory.display()
    );
    let proxy = builder
        .yaml(&yaml)
        .repeating()
        .env("RUST_LOG", "warn,ingo_signing_proxy::cli=info")
        .start();
    let prometheus = Prometheus::scraping(proxy.address("health"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for caller in 0..4_usize {
            let (proxy, stop) = (&proxy, &stop);
            scope.spawn(move || {
                let mut number = caller;
                while !stop.load(Ordering::Relaxed) {
                    number += 4;
                    let target = match number % 7 {
                        0 => "/gateway/process",
                        _ => SESSIONS,
                    };
                    let body = match number % 11 {
                        0 => b"no json".to_vec(),
                        _ => session(&number.to_string()),
                    };
                    proxy.post(&Post::new(body).to(target));
                }
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            prometheus.until("it has scraped for a while", |p| {
                p.value("count_over_time(up{job=\"ingo-signing-proxy\"}[1m])") >= Some(15.0)
            });
            every_metric_is_there_with_a_sane_value(&prometheus);
            every_expression_of_the_dashboard_has_data(&prometheus);
            every_rule_is_evaluated(&prometheus);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
    let ended = process::run(
        "promtool",
        &["check", "metrics"],
        proxy.metrics().text().as_bytes(),
    );
    assert_eq!(
        ended.output().trim(),
        "",
        "promtool check metrics is silent"
    );
    assert_eq!(ended.status, Some(0));
}

fn every_metric_is_there_with_a_sane_value(prometheus: &Prometheus) {
    for metric in CONTRACT {
        let name = format!("ingo_proxy_{metric}");
        let samples = prometheus.query(&name).unwrap();
        assert!(!samples.is_empty(), "{name} is not there");
        for sample in samples {
            let value: f64 = sample["value"][1].as_str().unwrap().parse().unwrap();
            let sane = value.is_finite() && (value >= 0.0 || metric == "clock_skew_seconds");
            assert!(sane, "{sample}");
        }
    }
    let value = |expression: &str| prometheus.value(expression).unwrap_or(f64::NAN);
    assert!(value("sum(rate(ingo_proxy_exchanges_total[10s]))") > 1.0);
    assert!(value("sum(ingo_proxy_attempts_total) / sum(ingo_proxy_exchanges_total)") > 0.5);
    let phases = value("sum(ingo_proxy_phase_duration_seconds_sum)");
    let whole = value("sum(ingo_proxy_exchange_duration_seconds_sum)");
    assert!(
        (phases - whole).abs() <= whole / 100.0,
        "{phases} of {whole}"
    );
    assert!(value("sum(ingo_proxy_overhead_seconds_sum)") < whole);
    assert!(value("max(abs(ingo_proxy_clock_skew_seconds))") <= 2.0);
    assert!(value("sum(ingo_proxy_diagnoses_total{finding=\"signature_mismatch\"})") > 0.0);
    assert_eq!(value("sum(ingo_proxy_panics_total)"), 0.0);
}

/// What Grafana puts in place of its variables.
fn filled(expression: &str) -> String {
    let mut filled = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "10s"),
        ("$__range", "15s"),
        ("$instance", ".*"),
        ("$job", "ingo-signing-proxy"),
        ("$route", ".*"),
        ("$tenant", ".*"),
    ] {
        filled = filled.replace(variable, value);
    }
    assert!(!filled.contains('$'), "an unknown variable in {expression}");
    filled
}

fn expressions<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "expr" => {
                        found.insert(text);
                    }
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn every_expression_of_the_dashboard_has_data(prometheus: &Prometheus) {
    let text = include_str!("../../deploy/observability/dashboard.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let mut all = BTreeSet::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() > 30, "{}", all.len());
    let mut empty = Vec::new();
    for expression in all {
        let samples = prometheus
            .query(&filled(expression))
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        // Whether an alert fires is another matter.
        if samples.is_empty() && !expression.starts_with("ALERTS") {
            empty.push(expression);
        }
    }
    assert!(empty.is_empty(), "without data: {empty:#?}");
}

fn every_rule_is_evaluated(prometheus: &Prometheus) {
    let rules = prometheus.rules();
    assert!(rules.len() > 30, "{}", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}
