//! The vectors of tests/vectors, stage by stage. Never made by the code under test: see the README there.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    BodyDigest, HeaderOrder, Signer, Unsigned,
    canonical::Lines,
    imf_fixdate,
    mac::Key,
    signing_string,
    verify::{Captured, verify},
};
use crate::{secret::Secret, signing::Algorithm};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is a string"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    STANDARD.decode(text(value, key)).expect("base64")
}

#[test]
fn every_case_passes_at_every_stage() {
    let file: Value =
        serde_json::from_str(include_str!("../../tests/vectors/signing.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    assert!(
        cases.len() >= 31,
        "the file has shrunk to {} cases",
        cases.len()
    );

    for case in cases {
        let name = text(case, "name");
        let expected = &case["expected"];
        let body = bytes(case, "body_base64");
        let secret = Secret::new(bytes(case, "secret_base64"));
        let at = UNIX_EPOCH + Duration::from_secs(case["unix_time"].as_u64().expect("seconds"));
        let algorithm: Algorithm = text(case, "algorithm").parse().expect("an algorithm");
        let names: Vec<&str> = case["signed_headers"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let order: HeaderOrder = names.join(" ").parse().expect("an order");

        let digest = BodyDigest::of(&body);
        assert_eq!(
            digest.content_sha512(),
            text(expected, "content_sha512"),
            "{name}"
        );
        assert_eq!(
            digest.content_length(),
            text(expected, "content_length"),
            "{name}"
        );

        let x_date = imf_fixdate(at);
        assert_eq!(x_date, text(expected, "x_date"), "{name}");

        let request = Unsigned {
            method: text(case, "method"),
            target: text(case, "target").as_bytes(),
            digest: &digest,
        };
        let signed_text = signing_string(&order, request, &x_date);
        assert_eq!(
            signed_text,
            text(expected, "signing_string").as_bytes(),
            "{name}"
        );

        let mut signature = String::new();
        Key::new(&secret, algorithm).append_base64(&signed_text, &mut signature);
        assert_eq!(signature, text(expected, "signature"), "{name}");

        let username = text(case, "username");
        let headers = Signer::new(username, &secret, algorithm, order).sign(request, at);
        assert_eq!(
            headers.authorization,
            text(expected, "authorization"),
            "{name}"
        );
        assert_eq!(headers.x_date, text(expected, "x_date"), "{name}");
        assert_eq!(headers.content_type, "application/json", "{name}");
        assert_eq!(
            headers.content_sha512,
            text(expected, "content_sha512"),
            "{name}"
        );
        assert_eq!(
            headers.content_length,
            text(expected, "content_length"),
            "{name}"
        );

        // Backwards, from the vector's values and not from ours.
        let captured = Captured {
            method: text(case, "method").to_owned(),
            target: text(case, "target").as_bytes().to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers: [
                ("X-Date", text(expected, "x_date")),
                ("Content-Type", "application/json"),
                ("Content-sha512", text(expected, "content_sha512")),
                ("Content-Length", text(expected, "content_length")),
                ("Authorization", text(expected, "authorization")),
            ]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
            body,
        };
        let verdict = verify(&captured, &secret, Some(username), at);
        assert!(verdict.accepted, "{name}: {:?}", verdict.findings);
    }
}

#[test]
fn a_third_partys_signature_pins_the_joining_of_lines_and_the_mac() {
    let file: Value =
        serde_json::from_str(include_str!("../../tests/vectors/third-party.json")).expect("JSON");
    let mut lines = Lines::joined_by("\n", 0);
    for line in file["signing_string_lines"].as_array().expect("lines") {
        lines.push(&[line.as_str().expect("a line").as_bytes()]);
    }
    let secret = Secret::new(text(&file, "secret").as_bytes().to_vec());
    let mut signature = String::new();
    Key::new(&secret, Algorithm::HmacSha512).append_base64(&lines.text, &mut signature);
    assert_eq!(signature, text(&file, "signature"));
}
