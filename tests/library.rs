//! The library face: the example, run against the emulated Ingo, and how little it pulls in.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

#[path = "../examples/sign_and_post.rs"]
#[allow(dead_code, reason = "its main is the example's")]
mod sign_and_post;

use std::{collections::BTreeSet, process::Command};

use ingo_signing_proxy::{emulator::Emulator, secret::Secret};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

#[test]
fn the_example_signs_what_ingo_accepts_and_says_why_where_it_does_not() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let emulator = runtime
        .block_on(Emulator::builder("acme", secret("the-right-one")).start())
        .unwrap();
    let url = format!("http://{}", emulator.addresses().gateway);
    let ask = |text: &str| sign_and_post::create_session(&url, "acme", &secret(text));
    let made = ask("the-right-one").unwrap();
    assert_eq!(made.status, 100);
    assert!(made.session.is_some());
    let again = ask("the-right-one").unwrap();
    assert_eq!(again.status, 101, "the same key makes no second session");
    let refused = ask("another-one").unwrap_err().to_string();
    assert!(refused.contains("put the secret there"), "{refused}");
}

#[test]
fn without_the_proxy_it_pulls_in_fewer_than_25_crates_and_neither_pingora_nor_tokio() {
    let told = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--no-default-features"])
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(crates.len() < 25, "{} crates: {crates:?}", crates.len());
    for heavy in ["pingora", "pingora-core", "tokio", "config", "rustls"] {
        assert!(!crates.contains(heavy), "{heavy}");
    }
    assert!(crates.contains("sha2") && crates.contains("hmac"));
}
