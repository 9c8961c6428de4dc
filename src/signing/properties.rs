//! What holds for any request: signing and verifying agree, and one flipped bit is one too many.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    Algorithm, BodyDigest, HeaderOrder, Signer, Unsigned, is_username,
    order::Part,
    verify::{Captured, verify},
};
use crate::secret::Secret;

fn captured(signer: &Signer, method: &str, target: &[u8], body: &[u8], at: SystemTime) -> Captured {
    let digest = BodyDigest::of(body);
    let headers = signer.sign(
        Unsigned {
            method,
            target,
            digest: &digest,
        },
        at,
    );
    Captured {
        method: method.to_owned(),
        target: target.to_vec(),
        version: "HTTP/1.1".to_owned(),
        headers: headers
            .fields()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: body.to_vec(),
    }
}

fn flip(bytes: &mut [u8], at: Index, bit: u8) {
    bytes[at.index(bytes.len())] ^= 1 << bit;
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::HmacSha512), Just(Algorithm::HmacSha256)]
}

fn order() -> impl Strategy<Value = HeaderOrder> {
    Just(Part::ALL.map(Part::name).to_vec())
        .prop_shuffle()
        .prop_map(|names| names.join(" ").parse().expect("a permutation"))
}

/// Arbitrary requests that look enough like signed ones to reach every check.
fn arbitrary_capture() -> impl Strategy<Value = Captured> {
    let name = prop_oneof![
        "(?i)(x-date|content-type|content-sha512|content-length|authorization|transfer-encoding|date|digest)",
        ".{0,12}",
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..60),
        "hmac( (username|algorithm|headers|signature|keyId|é)=\"?[-a-z0-9 =+/\"]{0,90}\"?,?){0,5}"
            .prop_map(String::into_bytes),
        "(Fri|Sat), [0-9]{2} Jan [0-9]{4} 19:59:29 GMT".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..70).prop_map(|bytes| {
            format!(
                "hmac username=\"u\", algorithm=\"hmac-sha512\", headers=\"request-line x-date\", signature=\"{}\"",
                STANDARD.encode(bytes)
            )
            .into_bytes()
        }),
    ];
    let target = prop_oneof![
        vec(any::<u8>(), 0..40),
        "(http://)?[a-z/.%?&2fF+]{0,40}".prop_map(String::into_bytes)
    ];
    let version = prop_oneof![
        Just("HTTP/1.1".to_owned()),
        Just("HTTP/2".to_owned()),
        ".{0,10}"
    ];
    (
        "[A-Z]{0,6}",
        target,
        version,
        vec((name, value), 0..9),
        vec(any::<u8>(), 0..50),
    )
        .prop_map(|(method, target, version, headers, body)| Captured {
            method,
            target,
            version,
            headers,
            body,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_is_accepted(
        username in "[!-~]{1,30}".prop_filter("a username", |text| is_username(text)),
        secret in vec(any::<u8>(), 0..200),
        method in "[A-Z]{1,7}",
        target in vec(any::<u8>().prop_filter("no line feed", |byte| *byte != b'\n'), 1..200),
        body in vec(any::<u8>(), 0..1000),
        seconds in 0_u64..253_402_300_800,
        algorithm in algorithm(),
        order in order(),
    ) {
        let secret = Secret::new(secret);
        let at = UNIX_EPOCH + Duration::from_secs(seconds);
        let signer = Signer::new(&username, &secret, algorithm, order);
        let request = captured(&signer, &method, &target, &body, at);
        let verdict = verify(&request, &secret, Some(&username), at);
        prop_assert!(verdict.accepted, "{:?}", verdict.findings);
        prop_assert_eq!(verdict.explanation.first_difference(), None);
    }

    #[test]
    fn one_flipped_bit_is_refused(
        target in vec(any::<u8>(), 1..60),
        body in vec(any::<u8>(), 1..200),
        algorithm in algorithm(),
        order in order(),
        place in any::<Index>(),
        bit in 0_u8..8,
    ) {
        let secret = Secret::new(b"correct horse battery staple".to_vec());
        let at = UNIX_EPOCH + Duration::from_secs(1_579_291_169);
        let signer = Signer::new("acme", &secret, algorithm, order);
        let request = captured(&signer, "POST", &target, &body, at);
        let judge = |request: &Captured| verify(request, &secret, Some("acme"), at);

        let mut changed = request.clone();
        flip(&mut changed.body, place, bit);
        prop_assert!(!judge(&changed).accepted, "body");

        let mut changed = request.clone();
        flip(&mut changed.target, place, bit);
        prop_assert!(!judge(&changed).accepted, "target");

        // Every header, the date among them; the last is Authorization with the signature.
        for index in 0..request.headers.len() {
            let mut changed = request.clone();
            flip(&mut changed.headers[index].1, place, bit);
            prop_assert!(!judge(&changed).accepted, "header {}", index);
        }

        // The signature's own bits, so that no padding bit of base64 hides one.
        let mut changed = request.clone();
        let value = String::from_utf8(changed.headers[4].1.clone()).expect("ASCII");
        let (before, signature) = value.trim_end_matches('"').split_once("signature=\"").expect("a signature");
        let mut mac = STANDARD.decode(signature).expect("base64");
        flip(&mut mac, place, bit);
        changed.headers[4].1 = format!("{before}signature=\"{}\"", STANDARD.encode(mac)).into_bytes();
        prop_assert!(!judge(&changed).accepted, "signature");
    }

    #[test]
    fn any_capture_gets_a_verdict(
        request in arbitrary_capture(),
        secret in vec(any::<u8>(), 0..20),
        seconds in any::<u32>(),
    ) {
        let at = UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
        let verdict = verify(&request, &Secret::new(secret), Some("u"), at);
        prop_assert_eq!(verdict.accepted, verdict.findings.is_empty());
        prop_assert!(verdict.findings.is_sorted_by_key(|finding| finding.code));
        let _ = verdict.explanation.first_difference();
    }

    #[test]
    fn orders_and_algorithms_are_read_from_any_text(text in ".{0,80}") {
        let _ = text.parse::<HeaderOrder>();
        let _ = text.parse::<Algorithm>();
        let _ = super::parse_imf_fixdate(&text);
    }
}
