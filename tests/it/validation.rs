//! What Ingo would refuse: counted and told, or refused, before Ingo is asked.

use crate::support::{Post, Proxy, Reply, Upstream};

/// Breaks four rules, with values that must not be seen.
const BODY: &str = r#"{"participant_unique_id1":"p","language_locale_code":"canary-locale","recipient_information":{"state":"canary-state","zip_code":30313,"phone_number":"canary","city":"Atlanta"}}"#;
const FOUND: [&str; 4] = [
    "language_locale_code locale",
    "recipient_information.state length",
    "recipient_information.zip_code text",
    "recipient_information.phone_number digits",
];

fn configured(upstream: &Upstream, settings: &str) -> Proxy {
    let yaml = format!("routes: {{create_session: {{{settings}}}}}\n");
    Proxy::to(upstream).yaml(&yaml).start()
}

fn counted(proxy: &Proxy, rule: &str) -> f64 {
    let name = "ingo_proxy_validation_findings_total";
    proxy.metrics().sum(name, &[("rule", rule)])
}

fn warnings(proxy: &Proxy) -> Vec<String> {
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let lines = output
        .lines()
        .filter(|l| l.contains("breaks rules of Ingo's documents"));
    lines.map(str::to_owned).collect()
}

#[test]
fn by_default_it_is_forwarded_byte_for_byte_and_counted_and_logged_by_rule() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    assert_eq!(proxy.post(&Post::new(BODY)).status, 200);
    assert_eq!(upstream.only_request().body, BODY.as_bytes());
    for rule in ["locale", "length", "text", "digits"] {
        assert_eq!(counted(&proxy, rule), 1.0, "{rule}");
    }
    assert_eq!(counted(&proxy, "required"), 0.0);
    proxy.access_lines(1);
    let warnings = warnings(&proxy);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for found in FOUND {
        assert!(warnings[0].contains(found), "{found}: {}", warnings[0]);
    }
    assert!(!warnings[0].contains("canary"), "{}", warnings[0]);
}

#[test]
fn enforced_it_is_refused_with_each_field_and_nothing_is_sent() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = configured(&upstream, "validation: enforce");
    let answer = proxy.post(&Post::new(BODY));
    let problem = answer.is_problem(422, "validation_failed", "no");
    assert!(!answer.text().contains("canary"), "{}", answer.text());
    assert_eq!(
        problem["errors"],
        serde_json::json!({
            "language_locale_code": ["must be one of the locales that Ingo documents, such as en-US"],
            "recipient_information.phone_number": ["must be digits only"],
            "recipient_information.state": ["must have at most 2 characters"],
            "recipient_information.zip_code": ["must be a string"],
        })
    );
    upstream.received_nothing();
    assert_eq!(counted(&proxy, "digits"), 1.0);
    let good = r#"{"participant_unique_id1":"p","recipient_information":{}}"#;
    assert_eq!(proxy.post(&Post::new(good)).status, 200);
}

#[test]
fn a_refusal_may_have_the_form_of_ingos_own() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = configured(&upstream, "validation: enforce, validation_answer: ingo");
    let answer = proxy.post(&Post::new(
        r#"{"recipient_information":{"state":"Georgia"}}"#,
    ));
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.header("proxy-status"),
        Some("ingo-signing-proxy; attempts=0; error=http_request_error")
    );
    let told = answer.json();
    assert_eq!(told["status"], 13_400);
    assert_eq!(told["client_message"], "invalid_request_fields");
    assert_eq!(
        told["data"]["participant_unique_id1"],
        serde_json::json!(["The ParticipantUniqueId1 field is required."])
    );
    upstream.received_nothing();
    let line = proxy.access_lines(1).remove(0);
    let developer = told["developer_message"].as_str().unwrap();
    let id = line["exchange_id"].as_str().unwrap();
    assert!(developer.ends_with(id), "{developer}: {line:#}");
}

#[test]
fn the_older_document_requires_what_the_newer_does_not() {
    let body = r#"{"participant_unique_id1":"p","recipient_information":{"first_name":"Ada"}}"#;
    let upstream = Upstream::answering(Reply::json("{}"));
    let newer = configured(&upstream, "validation: enforce");
    assert_eq!(newer.post(&Post::new(body)).status, 200);
    let older = configured(&upstream, "validation: enforce, validation_profile: older");
    let problem = older
        .post(&Post::new(body))
        .is_problem(422, "validation_failed", "no");
    let errors = problem["errors"].as_object().unwrap();
    let fields: Vec<_> = errors.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "recipient_information.address_line1",
            "recipient_information.city",
            "recipient_information.last_name",
            "recipient_information.state",
            "recipient_information.zip_code"
        ]
    );
}

#[test]
fn switched_off_nothing_is_looked_at_and_other_routes_never_are() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = configured(&upstream, "validation: off}, verify: {enabled: true");
    for target in [crate::support::SESSIONS, "/gateway/verify"] {
        assert_eq!(proxy.post(&Post::new(BODY).to(target)).status, 200);
    }
    proxy.access_lines(2);
    assert_eq!(counted(&proxy, "digits"), 0.0);
    assert!(warnings(&proxy).is_empty());
}
