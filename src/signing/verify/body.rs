//! Whether `Content-sha512` and `Content-Length` speak of the body that was captured.
//!
//! A wrong digest is compared with those of the usual mistakes, so that the finding can say which it is. Only digests
//! are shown, and no part of the body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Captured, Finding, FindingCode, reading::hex};
use crate::signing::BodyDigest;

/// Checks both headers against the body. Absent ones are somebody else's finding.
pub(super) fn check(request: &Captured, digest: &BodyDigest, findings: &mut Vec<Finding>) {
    if let Some(value) = request.header("content-sha512")
        && value != digest.content_sha512().as_bytes()
    {
        findings.push(wrong_digest(value, &request.body, digest));
    }
    if let Some(value) = request.header("content-length")
        && value != digest.content_length().as_bytes()
    {
        findings.push(Finding::new(
            FindingCode::LengthMismatch,
            wrong_length(value, &request.body),
        ));
    }
}

/// Checks what can be said of both headers where the body is not known: whether they have the form.
pub(super) fn check_form(request: &Captured, findings: &mut Vec<Finding>) {
    if let Some(value) = request.header("content-sha512") {
        let length = STANDARD.decode(value).ok().map(|bytes| bytes.len());
        if length == Some(Sha256::output_size()) {
            findings.push(Finding::new(
                FindingCode::DigestIsSha256,
                "Content-sha512 is as long as a SHA-256: it must hold the SHA-512 of the body",
            ));
        } else if length != Some(Sha512::output_size()) {
            findings.push(Finding::new(
                FindingCode::DigestMismatch,
                "Content-sha512 is not the base64 of 64 bytes, and so of no SHA-512",
            ));
        }
    }
    if let Some(value) = request.header("content-length")
        && plain_number(value).is_none()
    {
        findings.push(Finding::new(
            FindingCode::LengthMismatch,
            "Content-Length is not a plain number",
        ));
    }
}

fn wrong_digest(value: &[u8], body: &[u8], digest: &BodyDigest) -> Finding {
    let sha256 = Sha256::digest(body);
    if [
        STANDARD.encode(sha256),
        hex(&sha256),
        STANDARD.encode(hex(&sha256)),
    ]
    .iter()
    .any(|it| it.as_bytes() == value)
    {
        return Finding::new(
            FindingCode::DigestIsSha256,
            format!(
                "Content-sha512 holds the SHA-256 of the body: its SHA-512 is {}",
                digest.content_sha512()
            ),
        );
    }

    let sha512 = Sha512::digest(body);
    let is = |candidate: &str| candidate.as_bytes() == value;
    let of = |body: &[u8]| BodyDigest::of(body).content_sha512().as_bytes() == value;
    let trimmed = body.strip_suffix(b"\n");
    let why = if is(&hex(&sha512)) {
        "it is the hex digest: encode the raw bytes in base64"
    } else if is(&STANDARD.encode(hex(&sha512)))
        || is(&STANDARD.encode(hex(&sha512).to_ascii_uppercase()))
    {
        "it is the base64 of the hex digest: encode the raw bytes"
    } else if value.eq_ignore_ascii_case(format!("SHA-512={}", digest.content_sha512()).as_bytes())
    {
        "the digest stands in it alone, without the SHA-512= of a Digest header"
    } else if is(digest.content_sha512().trim_end_matches('=')) {
        "the padding of the base64 was left out"
    } else if of(&[body, b"\n"].concat()) {
        "it is that of the body with a newline after it: the newline was digested, not sent"
    } else if of(&[body, b"\r\n"].concat()) {
        "it is that of the body with CRLF after it: the line end was digested, not sent"
    } else if trimmed.is_some_and(of) {
        "it is that of the body without its last newline: the newline was sent, not digested"
    } else if trimmed
        .and_then(|body| body.strip_suffix(b"\r"))
        .is_some_and(of)
    {
        "it is that of the body without its last CRLF: the line end was sent, not digested"
    } else if of(b"") {
        "it is that of an empty body: the digest was made before the body was there"
    } else if of(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)) {
        "it is that of the body without its byte order mark: the mark was sent, not digested"
    } else {
        "it is that of something else: the body was changed after it was digested, or written out a second time"
    };
    Finding::new(
        FindingCode::DigestMismatch,
        format!(
            "Content-sha512 is not the body's, which is {}: {why}",
            digest.content_sha512()
        ),
    )
}

fn wrong_length(value: &[u8], body: &[u8]) -> String {
    let length = body.len();
    let Some(given) = plain_number(value) else {
        return format!("Content-Length is not a plain number: the body has {length} bytes");
    };
    let characters = std::str::from_utf8(body).map(|text| text.chars().count() as u64);
    let why = if given == length as u64 {
        ", and it must not have leading zeros"
    } else if characters == Ok(given) {
        ": it counts characters, not bytes"
    } else {
        ""
    };
    format!("Content-Length is {given} and the body has {length} bytes{why}")
}

/// RFC 9110 §8.6: digits alone. More than these would be another number for every parser that overflows.
fn plain_number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}
