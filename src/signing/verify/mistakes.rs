//! Each classic mistake, made on purpose: the finding that names it must come first, and nothing may be leaked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::{reading::hex, *};
use crate::signing::{Algorithm, Signer, mac::Key};

const SECRET: &[u8] = b"correct horse battery staple";
const BODY: &[u8] = b"{\"participant_unique_id1\":\"7064\"}";
const TARGET: &[u8] = b"/gateway/verify?a=1&b=%2F%2f";
const LIST: &str = "request-line x-date content-type content-sha512 content-length";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_579_291_169)
}

fn secret() -> Secret {
    Secret::new(SECRET.to_vec())
}

/// A request that is right in every respect.
fn right() -> Captured {
    signed_with(SECRET, Algorithm::HmacSha512)
}

fn signed_with(secret: &[u8], algorithm: Algorithm) -> Captured {
    let digest = BodyDigest::of(BODY);
    let signer = Signer::new(
        "acme",
        &Secret::new(secret.to_vec()),
        algorithm,
        HeaderOrder::ORDER_A,
    );
    let headers = signer.sign(
        Unsigned {
            method: "POST",
            target: TARGET,
            digest: &digest,
        },
        now(),
    );
    Captured {
        method: "POST".to_owned(),
        target: TARGET.to_vec(),
        version: "HTTP/1.1".to_owned(),
        headers: headers
            .fields()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: BODY.to_vec(),
    }
}

/// The signing string of [`right`].
fn right_text() -> String {
    String::from_utf8(verdict(&right()).explanation.expected).expect("ASCII")
}

/// [`right`], with the signature of `text` in place of its own.
fn signing(text: &str) -> Captured {
    let mut signature = String::new();
    Key::new(&secret(), Algorithm::HmacSha512).append_base64(text.as_bytes(), &mut signature);
    authorized(&format!(
        r#"hmac username="acme", algorithm="hmac-sha512", headers="{LIST}", signature="{signature}""#
    ))
}

fn authorized(value: &str) -> Captured {
    with(right(), "Authorization", value)
}

/// `request` with the header `name` saying `value`.
fn with(mut request: Captured, name: &str, value: &str) -> Captured {
    request.headers.retain(|(other, _)| other != name);
    request
        .headers
        .push((name.to_owned(), value.as_bytes().to_vec()));
    request
}

/// `request` signed again, over whatever it says now.
fn signed_as_it_is(request: Captured) -> Captured {
    let names: Vec<&str> = LIST.split(' ').collect();
    let text = Reading::of(&request, &names).text();
    let authorization = signing(std::str::from_utf8(&text).expect("ASCII"));
    let value = authorization
        .header("authorization")
        .expect("present")
        .to_vec();
    with(
        request,
        "Authorization",
        std::str::from_utf8(&value).expect("ASCII"),
    )
}

fn authorization_of(request: &Captured) -> String {
    String::from_utf8(request.header("authorization").expect("present").to_vec()).expect("ASCII")
}

fn signature_of(request: &Captured) -> String {
    let value = authorization_of(request);
    value
        .split_once("signature=\"")
        .expect("a signature")
        .1
        .trim_end_matches('"')
        .to_owned()
}

fn verdict(request: &Captured) -> Verdict {
    verify(request, &secret(), Some("acme"), now())
}

/// The codes found, after checking what holds for every verdict.
fn codes(request: &Captured) -> Vec<FindingCode> {
    let verdict = verdict(request);
    assert_eq!(verdict.accepted, verdict.findings.is_empty());
    let shown = format!("{:?}", verdict.findings);
    assert!(!shown.contains("correct horse"), "a secret in {shown}");
    assert!(
        !shown.contains("participant_unique_id1"),
        "a body in {shown}"
    );
    assert!(
        !shown.contains(&signature_of(&right())),
        "the expected signature in {shown}"
    );
    for finding in &verdict.findings {
        assert!(
            !finding.detail.is_empty() && !finding.detail.ends_with('.'),
            "{}",
            finding.detail
        );
    }
    verdict
        .findings
        .iter()
        .map(|finding| finding.code)
        .collect()
}

#[track_caller]
fn only(request: &Captured, code: FindingCode) {
    assert_eq!(codes(request), [code], "{:?}", verdict(request).findings);
}

#[test]
fn a_right_request_is_accepted() {
    let verdict = verdict(&right());
    assert!(verdict.accepted);
    assert_eq!(verdict.findings, []);
    assert_eq!(
        verdict.explanation.implied.as_deref(),
        Some(verdict.explanation.expected.as_slice())
    );
    assert_eq!(verdict.explanation.first_difference(), None);
    assert!(verify(&right(), &secret(), None, now()).accepted);
}

#[test]
fn a_legacy_sha256_signature_is_accepted() {
    assert_eq!(codes(&signed_with(SECRET, Algorithm::HmacSha256)), []);
}

#[test]
fn a_further_header_may_be_signed_and_signs_without_a_space_if_it_is_absent() {
    for (line, present) in [("\nhost: ingo.money", true), ("\nhost:", false)] {
        let signed = signing(&format!("{}{line}", right_text()));
        let mut request =
            authorized(&authorization_of(&signed).replace(LIST, &format!("{LIST} host")));
        if present {
            request
                .headers
                .push(("Host".to_owned(), b"ingo.money".to_vec()));
        }
        assert_eq!(codes(&request), []);
    }
}

#[test]
fn header_names_may_be_sent_in_any_case() {
    let mut request = right();
    for (name, _) in &mut request.headers {
        name.make_ascii_lowercase();
    }
    assert_eq!(codes(&request), []);
}

#[test]
fn missing_header() {
    for name in [
        "X-Date",
        "Content-Type",
        "Content-sha512",
        "Content-Length",
        "Authorization",
    ] {
        let mut request = right();
        request.headers.retain(|(other, _)| other != name);
        assert_eq!(
            codes(&request).first(),
            Some(&FindingCode::MissingHeader),
            "{name}"
        );
        assert!(verdict(&request).findings[0].detail.starts_with(name));
    }
}

#[test]
fn missing_header_whose_date_went_out_as_date() {
    let mut request = right();
    request.headers[0].0 = "Date".to_owned();
    only(&request, FindingCode::MissingHeader);
}

#[test]
fn another_content_type_counts_as_the_right_one_missing() {
    let request = with(right(), "Content-Type", "application/json; charset=utf-8");
    only(&request, FindingCode::MissingHeader);
    only(&signed_as_it_is(request), FindingCode::MissingHeader);
}

#[test]
fn repeated_header() {
    let mut request = right();
    let date = request.headers[0].clone();
    request.headers.push(date);
    only(&request, FindingCode::RepeatedHeader);
}

#[test]
fn header_list() {
    let text = right_text();
    let without_length = text.rsplit_once('\n').expect("five lines").0;
    let request = signing(without_length);
    let value = authorization_of(&request).replace(" content-length", "");
    only(&authorized(&value), FindingCode::HeaderList);

    let request = signing(&format!("{text}\ncontent-length: {}", BODY.len()));
    let value = authorization_of(&request).replace(LIST, &format!("{LIST} content-length"));
    only(&authorized(&value), FindingCode::HeaderList);
}

#[test]
fn header_list_of_very_many_names() {
    let many = format!("{LIST}{}", " x".repeat(100_000));
    let mut request = authorized(&authorization_of(&right()).replace(LIST, &many));
    request.headers.push(("x".to_owned(), vec![b'x'; 100_000]));
    assert_eq!(codes(&request).first(), Some(&FindingCode::HeaderList));
    assert_eq!(verdict(&request).explanation.implied, None);
}

#[test]
fn header_list_that_is_not_the_order_signed() {
    let value = authorization_of(&right()).replace(LIST, &HeaderOrder::ORDER_B.to_string());
    only(&authorized(&value), FindingCode::HeaderList);
}

#[test]
fn header_name_case() {
    // Signed in the case of the headers sent, and in title case, with the list in lower case.
    let text = right_text();
    let sent = text
        .replace("x-date", "X-Date")
        .replace("content-t", "Content-T")
        .replace("content-l", "Content-L")
        .replace("content-s", "Content-s");
    only(&signing(&sent), FindingCode::HeaderNameCase);
    only(
        &signing(&sent.replace("Content-sha512", "Content-Sha512")),
        FindingCode::HeaderNameCase,
    );

    // Listed in the wrong case, whether signed so or not.
    let list = "request-line X-Date Content-Type Content-sha512 Content-Length";
    for request in [signing(&sent), right()] {
        only(
            &authorized(&authorization_of(&request).replace(LIST, list)),
            FindingCode::HeaderNameCase,
        );
    }
}

#[test]
fn digest_mismatch() {
    let mut body = BODY.to_vec();
    body.push(b'\n');
    let mut request = right();
    request.body = body;
    assert_eq!(
        codes(&request),
        [FindingCode::DigestMismatch, FindingCode::LengthMismatch]
    );
    assert!(
        verdict(&request).findings[0]
            .detail
            .contains("newline was sent")
    );

    let mut request = right();
    request.body[5] ^= 1;
    only(&request, FindingCode::DigestMismatch);

    let hexed = STANDARD.encode(hex(&Sha512::digest(BODY)));
    let request = signed_as_it_is(with(right(), "Content-sha512", &hexed));
    only(&request, FindingCode::DigestMismatch);
    assert!(verdict(&request).findings[0].detail.contains("hex"));
}

#[test]
fn digest_is_sha256() {
    let sha256 = STANDARD.encode(Sha256::digest(BODY));
    only(
        &signed_as_it_is(with(right(), "Content-sha512", &sha256)),
        FindingCode::DigestIsSha256,
    );
}

#[test]
fn length_mismatch() {
    for length in ["34", "033", "+33", "", "33, 33", "99999999999999999999999"] {
        only(
            &signed_as_it_is(with(right(), "Content-Length", length)),
            FindingCode::LengthMismatch,
        );
    }
    // Changed on the way: the signature is that of the right length.
    only(
        &with(right(), "Content-Length", "34"),
        FindingCode::LengthMismatch,
    );
}

#[test]
fn chunked_body() {
    only(
        &with(right(), "Transfer-Encoding", "chunked"),
        FindingCode::ChunkedBody,
    );
    let mut request = with(right(), "Transfer-Encoding", "chunked");
    request.headers.retain(|(name, _)| name != "Content-Length");
    only(&request, FindingCode::ChunkedBody);
}

#[test]
fn date_format() {
    for date in [
        "2020-01-17T19:59:29Z",
        "Fri, 17 Jan 2020 19:59:29 +0000",
        "Friday, 17-Jan-20 19:59:29 GMT",
        "",
    ] {
        only(
            &signed_as_it_is(with(right(), "X-Date", date)),
            FindingCode::DateFormat,
        );
    }
}

#[test]
fn date_stale() {
    for (seconds, stale) in [(300, false), (301, true)] {
        let apart = Duration::from_secs(seconds);
        for at in [now() + apart, now() - apart] {
            let verdict = verify(&right(), &secret(), None, at);
            assert_eq!(verdict.accepted, !stale);
            assert_eq!(
                verdict.findings.first().map(|it| it.code),
                stale.then_some(FindingCode::DateStale)
            );
        }
    }
}

#[test]
fn algorithm() {
    for name in [
        "hmac-md5",
        "hmac-sha1",
        "HMAC-SHA512",
        "sha512",
        "hmac-sha384",
        "",
    ] {
        only(
            &authorized(&authorization_of(&right()).replace("hmac-sha512", name)),
            FindingCode::Algorithm,
        );
    }
    // The names of one and the signature of the other.
    only(
        &authorized(&authorization_of(&right()).replace("hmac-sha512", "hmac-sha256")),
        FindingCode::Algorithm,
    );
}

#[test]
fn username() {
    let value = authorization_of(&right()).replace("acme", "emca");
    only(&authorized(&value), FindingCode::Username);
    assert!(verify(&authorized(&value), &secret(), None, now()).accepted);
}

#[test]
fn authorization_syntax() {
    let value = authorization_of(&right());
    for broken in [
        value.replace("hmac username", "Hmac username"),
        value.replace("hmac username", "Bearer username"),
        value.replace("hmac username", "hmac  username"),
        value.replace(", ", ","),
        value.replace(", ", " , "),
        value.replace("\"acme\"", "acme"),
        value.replace("username=\"acme\", ", ""),
        value.replace("==\"", "=="),
        value.replace("==\"", "\""),
        format!("{value},"),
        format!("{value}, username=\"acme\""),
        "hmac".to_owned(),
        "Bearer abc".to_owned(),
        String::new(),
    ] {
        only(&authorized(&broken), FindingCode::AuthorizationSyntax);
    }
}

#[test]
fn authorization_syntax_in_another_order() {
    let value = authorization_of(&right()).replace(
        "username=\"acme\", algorithm=\"hmac-sha512\"",
        "algorithm=\"hmac-sha512\", username=\"acme\"",
    );
    only(&authorized(&value), FindingCode::AuthorizationSyntax);
}

#[test]
fn wrong_parameter_name() {
    let value = authorization_of(&right());
    for broken in [
        value.replace("username=", "keyId="),
        value.replace("username=", "Username="),
        value.replace("username=", "consumer="),
        value.replace("headers=", "signedHeaders="),
        value.replace("headers=", "request_headers="),
        value.replace("signature=", "sig="),
        format!("{value}, realm=\"ingo\""),
    ] {
        only(&authorized(&broken), FindingCode::WrongParameterName);
    }
}

#[test]
fn signature_mismatch() {
    only(
        &signed_with(b"another secret", Algorithm::HmacSha512),
        FindingCode::SignatureMismatch,
    );
    only(
        &signing(&right_text().replace('\n', "\r\n")),
        FindingCode::SignatureMismatch,
    );
    let short = STANDARD.encode([0; 20]);
    let value = authorization_of(&right()).replace(&signature_of(&right()), &short);
    only(&authorized(&value), FindingCode::SignatureMismatch);
}

#[test]
fn signature_is_base64_of_hex() {
    let signature = signature_of(&right());
    let hexed = hex(&STANDARD.decode(&signature).expect("base64"));
    for form in [
        hexed.clone(),
        STANDARD.encode(&hexed),
        STANDARD.encode(hexed.to_ascii_uppercase()),
    ] {
        let value = authorization_of(&right()).replace(&signature, &form);
        only(&authorized(&value), FindingCode::SignatureIsBase64OfHex);
    }
}

#[test]
fn signing_string_trailing_newline() {
    only(
        &signing(&format!("{}\n", right_text())),
        FindingCode::SigningStringTrailingNewline,
    );
}

#[test]
fn secret_trailing_newline() {
    for end in [&b"\n"[..], b"\r\n", b"\r"] {
        let too_many = [SECRET, end].concat();
        only(
            &signed_with(&too_many, Algorithm::HmacSha512),
            FindingCode::SecretTrailingNewline,
        );

        let verdict = verify(&right(), &Secret::new(too_many), None, now());
        assert_eq!(
            verdict.findings.first().map(|it| it.code),
            Some(FindingCode::SecretTrailingNewline)
        );
    }
}

#[test]
fn http2_request_line() {
    for version in ["HTTP/2", "HTTP/2.0"] {
        only(
            &signing(&right_text().replace("HTTP/1.1", version)),
            FindingCode::Http2RequestLine,
        );
        let mut request = right();
        request.version = version.to_owned();
        only(&request, FindingCode::Http2RequestLine);
    }
}

#[test]
fn target_reencoded() {
    for spelling in [
        "/gateway/verify?a=1&b=//",
        "/gateway/verify?a=1&b=%2F%2F",
        "/gateway/verify/?a=1&b=%2F%2f",
    ] {
        let text = right_text().replace("/gateway/verify?a=1&b=%2F%2f", spelling);
        only(&signing(&text), FindingCode::TargetReencoded);
    }
}

#[test]
fn query_missing() {
    only(
        &signing(&right_text().replace("?a=1&b=%2F%2f", "")),
        FindingCode::QueryMissing,
    );
}

#[test]
fn two_mistakes_at_once_are_both_named() {
    let text = right_text().replace("?a=1&b=%2F%2f", "");
    assert_eq!(
        codes(&signing(&format!("{text}\n"))),
        [
            FindingCode::SigningStringTrailingNewline,
            FindingCode::QueryMissing
        ]
    );
}

#[test]
fn every_code_has_a_name_of_its_own() {
    let mut names: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 21);
}

#[test]
fn the_first_difference_is_found_in_its_line() {
    let request = with(right(), "Content-Length", "34");
    let line = "content-length: 3";
    let difference = verdict(&request)
        .explanation
        .first_difference()
        .expect("they differ");
    assert_eq!((difference.line, difference.column), (5, line.len() + 1));
    assert_eq!(difference.offset, right_text().len() - 1);
}

#[test]
fn the_text_that_was_signed_is_shown_where_it_is_found_out() {
    let newline = format!("{}\n", right_text());
    let signed = verdict(&signing(&newline)).explanation.signed;
    assert_eq!(signed.as_deref(), Some(newline.as_bytes()));
    let signed = verdict(&right()).explanation.signed;
    assert_eq!(signed.as_deref(), Some(right_text().as_bytes()));
    let other = signed_with(b"another secret", Algorithm::HmacSha512);
    assert_eq!(verdict(&other).explanation.signed, None);
}

#[test]
fn without_its_body_a_request_is_not_accepted_and_only_the_body_is_not_judged() {
    let judged = |request: &Captured| {
        let mut request = request.clone();
        request.body = b"not looked at".to_vec();
        let verdict = verify_without_body(&request, &secret(), Some("acme"), now());
        assert!(!verdict.accepted);
        let codes: Vec<_> = verdict.findings.iter().map(|found| found.code).collect();
        (codes, verdict.explanation)
    };
    let (codes, explanation) = judged(&right());
    assert_eq!(codes, []);
    assert_eq!(explanation.expected, right_text().into_bytes());

    let sha256 = STANDARD.encode(Sha256::digest(BODY));
    let hexed = hex(&Sha512::digest(BODY));
    for (name, value, code) in [
        (
            "Content-sha512",
            sha256.as_str(),
            FindingCode::DigestIsSha256,
        ),
        (
            "Content-sha512",
            hexed.as_str(),
            FindingCode::DigestMismatch,
        ),
        ("Content-Length", "3x", FindingCode::LengthMismatch),
        ("Content-Type", "text/plain", FindingCode::MissingHeader),
    ] {
        let request = signed_as_it_is(with(right(), name, value));
        assert_eq!(judged(&request).0, [code], "{name}: {value}");
    }
    let text = right_text().replace("?a=1&b=%2F%2f", "");
    assert_eq!(judged(&signing(&text)).0, [FindingCode::QueryMissing]);
}

#[test]
fn debug_of_a_captured_request_shows_neither_body_nor_signature() {
    let shown = format!("{:?}", right());
    assert!(!shown.contains("hmac") && !shown.contains("participant"));
}
