//! The five headers for the report: what each says, and what it should say.
//!
//! `Authorization` is taken apart for it: what may be a signature or a token is counted and never shown.

use super::{
    report::{LONGEST_SHOWN, Report, abbreviated},
    text::Hidden,
};
use crate::{
    capture::BodyFound,
    signing::{
        BodyDigest, CONTENT_TYPE, HeaderOrder, imf_fixdate,
        verify::{FindingCode, TOLERANCE},
    },
};

/// One of the five headers: what is there, what should be.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) mark: Mark,
    pub(super) is: String,
    pub(super) should: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Right,
    Wrong,
    /// It depends on a body that was not captured.
    Open,
}

impl Report<'_> {
    /// The five, in the order in which Ingo's documents list them.
    pub(super) fn rows(&self, hidden: &Hidden<'_>) -> [Row; 5] {
        let request = &self.capture.request;
        let digest = BodyDigest::of(&request.body);
        let known = self.capture.body != BodyFound::Nowhere;
        let plain = |name| {
            self.row(name, |value| {
                abbreviated(hidden.shown(value), LONGEST_SHOWN)
            })
        };

        let mut date = plain("X-Date");
        date.should = format!(
            "within {} s of {}",
            TOLERANCE.as_secs(),
            imf_fixdate(self.at)
        );
        if self.found(&[FindingCode::DateFormat, FindingCode::DateStale]) {
            date.mark = Mark::Wrong;
        }
        let mut media_type = plain("Content-Type");
        media_type.should = CONTENT_TYPE.to_owned();
        if request.header("content-type") != Some(CONTENT_TYPE.as_bytes()) {
            media_type.mark = Mark::Wrong;
        }
        let body_rows = [
            (
                "Content-sha512",
                digest.content_sha512(),
                [FindingCode::DigestIsSha256, FindingCode::DigestMismatch].as_slice(),
                "the base64 of the SHA-512 of the body, which was not captured",
            ),
            (
                "Content-Length",
                digest.content_length(),
                &[FindingCode::LengthMismatch],
                "the length in bytes of the body, which was not captured",
            ),
        ]
        .map(|(name, right, codes, unknown)| {
            let mut row = plain(name);
            if self.found(codes) {
                row.mark = Mark::Wrong;
            }
            if known {
                right.clone_into(&mut row.should);
            } else {
                unknown.clone_into(&mut row.should);
                if row.mark == Mark::Right {
                    row.mark = Mark::Open;
                }
            }
            row
        });
        let mut authorization =
            self.row("Authorization", |value| shown_authorization(value, hidden));
        authorization.should = self.right_authorization(hidden);
        if self.found(OF_FORM) {
            authorization.mark = Mark::Wrong;
        } else if self.found(OF_SIGNATURE) && authorization.mark == Mark::Right {
            authorization.mark = Mark::Wrong;
            authorization.should =
                "the same, with the signature of the signing string below".to_owned();
        }
        let [sha512, length] = body_rows;
        let mut rows = [date, media_type, sha512, length, authorization];
        for row in &mut rows {
            if request.count(row.name) > 1 {
                row.should.insert_str(0, "once: ");
            }
        }
        rows
    }

    /// The row of `name` before anything is known of its value.
    fn row(&self, name: &'static str, show: impl Fn(&[u8]) -> String) -> Row {
        let request = &self.capture.request;
        let count = request.count(name);
        let is = match request.header(name) {
            None => "(missing)".to_owned(),
            Some(b"") => "(empty)".to_owned(),
            Some(value) if count == 1 => show(value),
            Some(value) => format!("{} (and {} more)", show(value), count - 1),
        };
        Row {
            name,
            mark: if count == 1 { Mark::Right } else { Mark::Wrong },
            is,
            should: String::new(),
        }
    }

    fn right_authorization(&self, hidden: &Hidden<'_>) -> String {
        // The username is the person's own; it may still hold what cannot be printed.
        let username = self
            .username
            .map_or("…".to_owned(), |name| hidden.shown(name.as_bytes()));
        format!(
            "hmac username=\"{username}\", algorithm=\"hmac-sha512\", headers=\"{}\", signature=\"(88 characters)\"",
            HeaderOrder::default()
        )
    }
}

/// The findings about what `Authorization` says.
const OF_FORM: &[FindingCode] = &[
    FindingCode::WrongParameterName,
    FindingCode::AuthorizationSyntax,
    FindingCode::Algorithm,
    FindingCode::HeaderList,
    FindingCode::SignatureIsBase64OfHex,
    FindingCode::Username,
];

/// The findings about what was signed, and with which key.
const OF_SIGNATURE: &[FindingCode] = &[
    FindingCode::HeaderNameCase,
    FindingCode::SigningStringTrailingNewline,
    FindingCode::SecretTrailingNewline,
    FindingCode::Http2RequestLine,
    FindingCode::QueryMissing,
    FindingCode::TargetReencoded,
    FindingCode::SignatureMismatch,
];

/// The header without its signature: only the values of parameters that never hold one are shown.
fn shown_authorization(value: &[u8], hidden: &Hidden<'_>) -> String {
    let opaque = || format!("({} bytes, not shown)", value.len());
    let Some(rest) = value.strip_prefix(b"hmac ") else {
        let scheme: &[u8] = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        let known = [&b"Hmac"[..], b"HMAC", b"Bearer", b"Basic", b"Signature"];
        return if known.contains(&scheme) {
            format!("{} {}", hidden.shown(scheme), opaque())
        } else {
            opaque()
        };
    };
    let mut quoted = false;
    let parameters: Vec<String> = rest
        .split(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        })
        .map(|parameter| {
            let parameter = parameter.trim_ascii();
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next());
            let inner = value
                .unwrap_or_default()
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            match (name, inner) {
                (b"username" | b"algorithm" | b"headers", Some(_)) => {
                    abbreviated(hidden.shown(parameter), LONGEST_SHOWN)
                }
                (b"signature", Some(inner)) => {
                    format!("signature=\"({} characters)\"", inner.len())
                }
                // A name is shown if it can be one; a piece of a signature is too long for that.
                (name, _)
                    if name.len() <= 20
                        && name
                            .iter()
                            .all(|byte| byte.is_ascii_lowercase() || *byte == b'_') =>
                {
                    format!(
                        "{}=({} bytes, not shown)",
                        hidden.shown(name),
                        value.map_or(0, <[u8]>::len)
                    )
                }
                _ => format!("({} bytes, not shown)", parameter.len()),
            }
        })
        .collect();
    format!("hmac {}", parameters.join(", "))
}
