//! Each cause of a 401, produced for real by the emulated Ingo, and what the proxy says that it is.

use std::time::{Duration, SystemTime};

use ingo_signing_proxy::{emulator::Emulator, secret::Secret};
use serde_json::{Value, json};

use crate::{
    stage::{Ingo, Mounted, USERNAME, become_true, body, lines_with, proxy, readyz},
    support::{Answer, PATIENCE, Post, Proxy, Reply, Upstream},
};

const SECRET: &str = "a-secret-for-the-refusals";

fn diagnosed(answer: &Answer) -> &str {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let status = answer.header("proxy-status").unwrap();
    status.split("diagnosis=").nth(1).unwrap_or("none")
}

/// A proxy that signs as `username` with `secret`, and what it says of a refusal.
fn finding(ingo: &Ingo, username: &str, secret: &str, yaml: &str) -> (Proxy, String) {
    let proxy = Proxy::to_url(&ingo.url())
        .username(Some(username))
        .secret_file(Some(secret.as_bytes()))
        .yaml(yaml)
        .start();
    let finding = diagnosed(&proxy.post(&Post::new(body("one")))).to_owned();
    (proxy, finding)
}

#[test]
fn a_wrong_secret_an_unknown_user_and_a_wrong_clock_are_told_apart() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let (proxy, of_secret) = finding(&ingo, USERNAME, "another-secret-entirely", "");
    assert_eq!(of_secret, "signature_mismatch");
    become_true("it is said what to do", PATIENCE, || {
        lines_with(&proxy, "put the secret there that Ingo issued") == 1
    });
    let (_proxy, of_user) = finding(&ingo, "somebody", SECRET, "");
    assert_eq!(of_user, "credential_unknown");
    ingo.emulator.advance(Duration::from_secs(3_600));
    let (proxy, of_clock) = finding(&ingo, USERNAME, SECRET, "clock: {correct: false}\n");
    assert_eq!(of_clock, "clock_skew");
    become_true("what else may help is named", PATIENCE, || {
        lines_with(&proxy, "until then clock.correct helps") == 1
    });
}

#[test]
fn a_secret_that_was_replaced_before_ingo_knew_it_is_told_as_that() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let mut mounted = Mounted::new(&[("secret", SECRET)]);
    let proxy = proxy(&ingo, &mounted.path("secret")).start();
    assert_eq!(proxy.post(&Post::new(body("one"))).status, 200);
    mounted.swap(&[("secret", "tomorrows-secret")]);
    become_true("the new one is used", PATIENCE, || {
        proxy.post(&Post::new(body("one"))).status == 401
    });
    let answer = proxy.post(&Post::new(body("one")));
    assert_eq!(diagnosed(&answer), "credential_rotated");
    assert_eq!(readyz(&proxy), "ok\n");
}

#[test]
fn a_host_uri_that_is_not_allow_listed_is_told_as_that_and_only_where_there_is_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let emulator = runtime
        .block_on(
            Emulator::builder(USERNAME, Secret::new(SECRET.as_bytes().to_vec()))
                .allowed_hosts(vec!["https://www.example.com".to_owned()])
                .start(),
        )
        .unwrap();
    let proxy = Proxy::to_url(&format!("http://{}", emulator.addresses().gateway))
        .secret_file(Some(SECRET.as_bytes()))
        .start();
    let with = |host: &str| body("one").replacen('{', &format!("{{\"host_uri\":\"{host}\","), 1);
    let listed = proxy.post(&Post::new(with("https://www.example.com")));
    assert_eq!(listed.status, 200, "{}", listed.text());
    let unlisted = proxy.post(&Post::new(with("https://evil.example")));
    assert_eq!(diagnosed(&unlisted), "host_uri");
}

/// A proxy whose every request gets 401, or what `status` says, with the body and `Date` that its `refused` asks for.
struct Refusing {
    proxy: Proxy,
    _upstream: Upstream,
}

impl Refusing {
    fn with(yaml: &str) -> Self {
        let upstream = Upstream::scripted(|request| {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let status = asked["status"].as_u64().unwrap_or(401);
            let reply = Reply::status(u16::try_from(status).unwrap());
            let behind = asked["seconds_behind"].as_u64().unwrap_or(0);
            let then = SystemTime::now() - Duration::from_secs(behind);
            reply
                .header("Date", &httpdate::fmt_http_date(then))
                .body(asked["refused"].as_str().unwrap())
        });
        Self {
            proxy: Proxy::to(&upstream).yaml(yaml).start(),
            _upstream: upstream,
        }
    }

    fn finding(&self, path: &str, asked: &Value) -> String {
        let answer = self.proxy.post(&Post::new(asked.to_string()).to(path));
        let status = answer.header("proxy-status").unwrap();
        let finding = status.split("diagnosis=").nth(1);
        finding.unwrap_or("none").to_owned()
    }
}

const UNAUTHORIZED: &str = r#"{"message":"Unauthorized"}"#;
const SERVICE: &str = r#"{"status":401,"client_message":"Unauthorized","data":null}"#;
const CREATE_SESSION: &str = "/api/v1/sessions/point-in-time/plugin";

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let ingo = Refusing::with("routes: {banking: {enabled: true}}\n");
    let ask = |refused: &str, status: u16, host: Value| {
        let asked = json!({"refused": refused, "status": status, "host_uri": host});
        ingo.finding(CREATE_SESSION, &asked)
    };
    let host = || json!("https://x.example");
    assert_eq!(ask(UNAUTHORIZED, 401, host()), "unknown");
    assert_eq!(ask(SERVICE, 401, host()), "host_uri");
    assert_eq!(ask(SERVICE, 403, host()), "host_uri");
    for nothing in [json!(null), json!("")] {
        assert_eq!(ask(SERVICE, 401, nothing.clone()), "unknown");
        assert_eq!(ask(UNAUTHORIZED, 401, nothing), "authorization_missing");
    }
    for (of_others, status) in [
        ("<html>forbidden</html>", 403),
        (
            r#"{"type":"about:blank","title":"Forbidden","status":403}"#,
            403,
        ),
        (r#"{"status":"blocked","reason":"ip not allowed"}"#, 403),
        (
            r#"{"timestamp":"x","status":401,"error":"Unauthorized","message":"HMAC token expired"}"#,
            401,
        ),
        (r#"{"status":500,"client_message":"Failure"}"#, 401),
    ] {
        assert_eq!(ask(of_others, status, host()), "unknown", "{of_others}");
    }
    // The rule is Create Session's.
    let asked = json!({"refused": SERVICE, "host_uri": "https://x.example"});
    assert_eq!(ingo.finding("/api/v4/accounts", &asked), "unknown");
}

#[test]
fn a_date_that_ingo_calls_too_far_off_or_that_is_so_by_its_own_is_a_clock_skew() {
    let ingo = Refusing::with("");
    let ask = |refused: &str, status: u16, seconds_behind: u64| {
        let asked = json!({
            "refused": refused, "status": status, "seconds_behind": seconds_behind,
            "host_uri": "https://x.example"
        });
        ingo.finding(CREATE_SESSION, &asked)
    };
    let too_far_off = r#"{"status":402,"client_message":"Unauthorized"}"#;
    assert_eq!(ask(too_far_off, 401, 0), "clock_skew");
    assert_eq!(ask(SERVICE, 401, 3_600), "clock_skew");
    assert_eq!(ask("<html>unauthorized</html>", 401, 3_600), "clock_skew");
    assert_eq!(ask(SERVICE, 401, 200), "host_uri");
    // Who forbids, and is not Ingo, does not do so for the date.
    assert_eq!(ask("<html>forbidden</html>", 403, 3_600), "unknown");
}

#[test]
fn a_date_that_is_corrected_is_no_clock_skew_and_what_helps_no_further_is_not_advised() {
    let skew = r#"{"message":"HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"}"#;
    let ingo = Refusing::with("");
    let ask = |refused: &str, seconds_behind: u64| {
        let asked = json!({"refused": refused, "seconds_behind": seconds_behind});
        ingo.finding(CREATE_SESSION, &asked)
    };
    assert_eq!(ask(SERVICE, 600), "clock_skew");
    assert_eq!(ask(skew, 600), "clock_skew");
    let by_ingos_clock = ask(SERVICE, 600);
    assert_eq!(by_ingos_clock, "unknown");
    assert_eq!(ask(skew, 0), "clock_skew");
    become_true("the correction ends", PATIENCE, || {
        lines_with(&ingo.proxy, "by this host's clock again") == 1
    });
    assert_eq!(lines_with(&ingo.proxy, "with a corrected clock; set"), 1);
    assert_eq!(lines_with(&ingo.proxy, "clock.correct"), 0);
}
