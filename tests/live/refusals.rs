//! Each cause of a 401, produced for real by the emulated Ingo, and what the proxy says that it is.

use std::time::Duration;

use ingo_signing_proxy::{emulator::Emulator, secret::Secret};

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
    let (_proxy, of_clock) = finding(&ingo, USERNAME, SECRET, "clock: {correct: false}\n");
    assert_eq!(of_clock, "clock_skew");
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

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let upstream = Upstream::scripted(|request| {
        let text = match request.participant().as_str() {
            "stripped" => r#"{"message":"Unauthorized"}"#,
            "service" => r#"{"status":401,"client_message":"Unauthorized"}"#,
            _ => "<html>forbidden</html>",
        };
        Reply::status(401).body(text)
    });
    let proxy = Proxy::to(&upstream).start();
    let ask = |id: &str, host: bool| {
        let host = if host {
            r#""host_uri":"https://x.example","#
        } else {
            ""
        };
        let body = format!(r#"{{{host}"participant_unique_id1":"{id}"}}"#);
        diagnosed(&proxy.post(&Post::new(body))).to_owned()
    };
    assert_eq!(ask("stripped", false), "authorization_missing");
    assert_eq!(ask("stripped", true), "unknown");
    assert_eq!(ask("service", false), "unknown");
    assert_eq!(ask("service", true), "host_uri");
    assert_eq!(ask("else", false), "unknown");
}
