//! Which mistake makes the signature come out as it did: found by making each one on purpose.
//!
//! First the request is read as the gateway reads it, then with one mistake, then with two; the first that yields the
//! very MAC is the explanation. A few hundred MACs at worst, and none of them for a request that is right.
//! No expected signature leaves this file: candidates are compared in constant time and dropped.

use std::mem::discriminant;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Finding, FindingCode,
    reading::{Reading, Spelling, respellings, unhex, without_query},
    signature::Mac,
};
use crate::{
    secret::Secret,
    signing::{BodyDigest, CONTENT_TYPE, HeaderOrder, canonical::VERSION, mac::Key},
};

/// What became of looking for the text under a signature.
pub(super) enum Diagnosis {
    /// The signature is the gateway's.
    Right,
    /// It is that of this other text, or of the gateway's under another key.
    Mistaken(Vec<u8>),
    /// No usual mistake makes such a signature.
    Unknown,
}

/// Checks `mac` against `reading`; if it is not the gateway's, why goes to `findings`.
///
/// `digest` is `None` where the body is not known.
pub(super) fn diagnose(
    reading: &Reading<'_>,
    digest: Option<&BodyDigest>,
    secret: &Secret,
    mac: &Mac,
    findings: &mut Vec<Finding>,
) -> Diagnosis {
    let key = Key::new(secret, mac.algorithm);
    if key.verifies(&reading.text(), &mac.bytes) {
        return Diagnosis::Right;
    }
    let mistakes = mistakes(reading, digest, secret, mac);
    let Some(made) = search(reading, &mistakes, &key, mac) else {
        findings.push(Finding::new(
            FindingCode::SignatureMismatch,
            "the signature is not that of this request under this secret, nor of any usual mistake: \
             another secret, or the request was changed after signing",
        ));
        return Diagnosis::Unknown;
    };
    let mut signed = reading.clone();
    for mistake in made {
        mistake.change.apply(&mut signed);
        // A mistake in a header's value was found where that value was checked.
        if let Some(finding) = &mistake.finding
            && findings.iter().all(|known| known.code != finding.code)
        {
            findings.push(finding.clone());
        }
    }
    Diagnosis::Mistaken(signed.text())
}

/// One way in which a client goes wrong.
struct Mistake<'a> {
    change: Change<'a>,
    /// `None` if the check of some header's value has reported it already.
    finding: Option<Finding>,
}

/// What a mistake does to the reading or the key. Two of a kind exclude each other.
enum Change<'a> {
    End(&'static str),
    Key(Box<Key>),
    Names(Spelling),
    Version(&'static str),
    Target(Vec<u8>),
    Order(Vec<&'a str>),
    Values(Vec<(&'static str, Vec<u8>)>),
    Separator(&'static str),
    Colon(&'static str),
}

impl<'a> Change<'a> {
    fn apply(&self, reading: &mut Reading<'a>) {
        match self {
            Self::End(end) => reading.end = end,
            Self::Key(_) => {}
            Self::Names(spelling) => reading.spelling = *spelling,
            Self::Version(version) => reading.version = version,
            Self::Target(target) => reading.target = target.clone().into(),
            Self::Order(names) => reading.names.clone_from(names),
            Self::Values(values) => reading.values.clone_from(values),
            Self::Separator(separator) => reading.separator = separator,
            Self::Colon(colon) => reading.colon = colon,
        }
    }
}

/// The first mistake, or pair of mistakes, under which the MAC is right.
fn search<'m, 'a>(
    reading: &Reading<'a>,
    mistakes: &'m [Mistake<'a>],
    key: &Key,
    mac: &Mac,
) -> Option<Vec<&'m Mistake<'a>>> {
    let right = |made: &[&Mistake<'a>]| {
        let mut read = reading.clone();
        let mut keyed = key;
        for mistake in made {
            mistake.change.apply(&mut read);
            if let Change::Key(key) = &mistake.change {
                keyed = key;
            }
        }
        keyed.verifies(&read.text(), &mac.bytes)
    };
    if let Some(one) = mistakes.iter().find(|one| right(&[one])) {
        return Some(vec![one]);
    }
    for (index, first) in mistakes.iter().enumerate() {
        for second in &mistakes[index + 1..] {
            if discriminant(&first.change) != discriminant(&second.change)
                && right(&[first, second])
            {
                return Some(vec![first, second]);
            }
        }
    }
    None
}

/// Every mistake that can have been made with this request, the likeliest first.
fn mistakes<'a>(
    reading: &Reading<'a>,
    digest: Option<&BodyDigest>,
    secret: &Secret,
    mac: &Mac,
) -> Vec<Mistake<'a>> {
    let mut mistakes = Vec::new();
    let mut add = |change, code, detail: &str| {
        mistakes.push(Mistake {
            change,
            finding: Some(Finding::new(code, detail)),
        });
    };

    for end in ["\n", "\r\n"] {
        add(
            Change::End(end),
            FindingCode::SigningStringTrailingNewline,
            "the signature is right for the signing string with a line end after its last line: none belongs there",
        );
    }
    add_keys(&mut add, secret, mac);
    for (spelling, what) in [
        (Spelling::AsSent, "as in the headers that were sent"),
        (Spelling::Title, "in title case"),
        (Spelling::Lower, "in lower case, but listed otherwise"),
    ] {
        add(
            Change::Names(spelling),
            FindingCode::HeaderNameCase,
            &format!("the header names were signed {what}: sign and list them in lower case"),
        );
    }
    for version in [VERSION, "HTTP/2", "HTTP/2.0"] {
        add(
            Change::Version(version),
            FindingCode::Http2RequestLine,
            &format!(
                "the request line was signed with {version}: sign HTTP/1.1, and send over HTTP/1.1"
            ),
        );
    }
    add_targets(&mut add, &reading.request.target);
    for order in [HeaderOrder::ORDER_A, HeaderOrder::ORDER_B] {
        add(
            Change::Order(order.parts().iter().map(|part| part.name()).collect()),
            FindingCode::HeaderList,
            &format!(
                "what was signed is `{order}`: the `headers` parameter must list the same, in the same order"
            ),
        );
    }
    for (change, detail) in [
        (
            Change::Separator("\r\n"),
            "the signature is right for lines joined by CRLF: join them by LF",
        ),
        (
            Change::Separator("\\n"),
            "the signature is right for lines joined by a backslash and an n: join them by LF",
        ),
        (
            Change::Colon(":"),
            "the signature is right for headers without the space after the colon",
        ),
    ] {
        add(change, FindingCode::SignatureMismatch, detail);
    }

    let mut right: Vec<(&'static str, Vec<u8>)> = vec![("content-type", CONTENT_TYPE.into())];
    if let Some(digest) = digest {
        right.push(("content-sha512", digest.content_sha512().into()));
        right.push(("content-length", digest.content_length().into()));
    }
    // `Date` sent in place of `X-Date`: what was signed is the same time.
    if let (None, Some(date)) = (
        reading.request.header("x-date"),
        reading.request.header("date"),
    ) {
        right.push(("x-date", date.to_vec()));
    }
    // What the client signed is right and what it sent is not: the value's own finding says all there is to say.
    let sent_wrong: Vec<_> = right
        .into_iter()
        .filter(|(name, value)| reading.request.header(name) != Some(value.as_slice()))
        .collect();
    let each = sent_wrong.iter().map(|value| vec![value.clone()]);
    let all = (sent_wrong.len() > 1).then(|| sent_wrong.clone());
    mistakes.extend(each.chain(all).map(|values| Mistake {
        change: Change::Values(values),
        finding: None,
    }));
    mistakes
}

fn add_keys<'a>(add: &mut impl FnMut(Change<'a>, FindingCode, &str), secret: &Secret, mac: &Mac) {
    let bytes = secret.expose();
    let key = |bytes: Vec<u8>| Change::Key(Box::new(Key::new(&Secret::new(bytes), mac.algorithm)));
    // A carriage return alone is what is left of CRLF where the newline is dropped.
    for end in [&b"\n"[..], b"\r\n", b"\r"] {
        add(
            key([bytes, end].concat()),
            FindingCode::SecretTrailingNewline,
            "the signature is right for this secret with a line end after it: the client keys with one too many",
        );
        if let Some(shorter) = bytes.strip_suffix(end) {
            add(
                key(shorter.to_vec()),
                FindingCode::SecretTrailingNewline,
                "the signature is right for this secret without the line end it has: the client is right, or strips one",
            );
        }
    }
    if let Some(decoded) = STANDARD
        .decode(bytes)
        .ok()
        .filter(|decoded| !decoded.is_empty())
    {
        add(
            key(decoded),
            FindingCode::SignatureMismatch,
            "the signature is right for the secret decoded from base64: key with the text as it is",
        );
    }
    if let Some(decoded) = unhex(bytes).filter(|decoded| !decoded.is_empty()) {
        add(
            key(decoded),
            FindingCode::SignatureMismatch,
            "the signature is right for the secret decoded from hex: key with the text as it is",
        );
    }
}

fn add_targets<'a>(add: &mut impl FnMut(Change<'a>, FindingCode, &str), target: &[u8]) {
    if let Some(path) = without_query(target) {
        add(
            Change::Target(path.to_vec()),
            FindingCode::QueryMissing,
            "the request line was signed without the query: sign the target exactly as it is sent",
        );
    }
    let mut known = vec![target.to_vec()];
    for spelling in respellings(target) {
        if !known.contains(&spelling) {
            add(
                Change::Target(spelling.clone()),
                FindingCode::TargetReencoded,
                "the target was signed in another spelling than it was sent: decoded, encoded again or normalised",
            );
            known.push(spelling);
        }
    }
}
