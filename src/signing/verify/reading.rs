//! The signing string that a captured request implies, and each way in which a client could have made another.
//!
//! A [`Reading`] begins as what the gateway reads: header values as sent, names as listed, the version as seen. Changes
//! to it are the classic mistakes. Nothing here knows the secret or decides anything.

use std::borrow::Cow;

use super::captured::{Captured, rebuilt_version};
use crate::signing::{canonical::Lines, order::Part};

/// One way to read a captured request into a signing string.
#[derive(Clone)]
pub(super) struct Reading<'a> {
    pub(super) request: &'a Captured,
    pub(super) names: Vec<&'a str>,
    pub(super) spelling: Spelling,
    pub(super) target: Cow<'a, [u8]>,
    pub(super) version: &'a str,
    /// Values that stand in place of those sent, by lower-case name.
    pub(super) values: Vec<(&'static str, Vec<u8>)>,
    pub(super) colon: &'static str,
    pub(super) separator: &'static str,
    pub(super) end: &'static str,
}

/// How header names are spelt in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As in the `headers` parameter: the only right one.
    AsListed,
    /// As in the header that was sent.
    AsSent,
    /// `Content-Sha512`.
    Title,
    /// `content-sha512`, whatever the parameter says.
    Lower,
}

impl<'a> Reading<'a> {
    /// What the gateway reads, with `names` as the `headers` parameter.
    pub(super) fn of(request: &'a Captured, names: &[&'a str]) -> Self {
        Self {
            request,
            names: names.to_vec(),
            spelling: Spelling::AsListed,
            target: Cow::Borrowed(&request.target),
            version: rebuilt_version(&request.version),
            values: Vec::new(),
            colon: ": ",
            separator: "\n",
            end: "",
        }
    }

    /// The text under the MAC, if this is how the client read it too.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut lines = Lines::joined_by(self.separator, 256 + self.target.len());
        for name in &self.names {
            if self.is_request_line(name) {
                lines.push_request_line(&self.request.method, &self.target, self.version);
                continue;
            }
            let replaced = self
                .values
                .iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(name));
            match replaced
                .map(|(_, value)| value.as_slice())
                .or_else(|| self.request.header(name))
            {
                Some(value) => lines.push_header(&self.spelt(name), self.colon, value),
                None => lines.push_absent(&self.spelt(name)),
            }
        }
        lines.text.extend_from_slice(self.end.as_bytes());
        lines.text
    }

    /// A verifier knows the word in lower case only; a client that spells freely knows it in any.
    fn is_request_line(&self, name: &str) -> bool {
        let word = Part::RequestLine.name();
        if self.spelling == Spelling::AsListed {
            name == word
        } else {
            name.eq_ignore_ascii_case(word)
        }
    }

    fn spelt(&self, name: &'a str) -> Cow<'a, str> {
        match self.spelling {
            Spelling::AsListed => Cow::Borrowed(name),
            Spelling::AsSent => Cow::Borrowed(self.request.spelling(name).unwrap_or(name)),
            Spelling::Lower => Cow::Owned(name.to_ascii_lowercase()),
            Spelling::Title => Cow::Owned(title_case(name)),
        }
    }
}

fn title_case(name: &str) -> String {
    let mut begin = true;
    name.chars()
        .map(|c| {
            let spelt = if begin {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            begin = c == '-';
            spelt
        })
        .collect()
}

/// The target without its query, if it has one.
pub(super) fn without_query(target: &[u8]) -> Option<&[u8]> {
    target
        .iter()
        .position(|byte| *byte == b'?')
        .map(|mark| &target[..mark])
}

/// Other spellings of `target` that clients, libraries and proxies sign in its place. May repeat one, or `target` itself.
pub(super) fn respellings(target: &[u8]) -> Vec<Vec<u8>> {
    let decoded = percent_decoded(target);
    let mut spellings = vec![
        // A library handed the decoded path on, or the client signed what it had before encoding it.
        percent_encoded(target, b"%/?&=:@!$'()*+,;"),
        percent_encoded(&decoded, b"/?&=:@!$'()*+,;"),
        percent_encoded(&decoded, b"/?&=:@+,"),
        percent_encoded(&decoded, b"/?&="),
        // Encoded twice.
        percent_encoded(target, b"/?&="),
        with_hex_case(target, u8::to_ascii_uppercase),
        with_hex_case(target, u8::to_ascii_lowercase),
        replaced(target, b"+", b"%20"),
        replaced(target, b"%20", b"+"),
        normalised(target),
        decoded,
    ];
    // Absolute form signed as origin form (RFC 9112 §3.2).
    let authority = target
        .windows(3)
        .position(|window| window == b"://")
        .map(|at| &target[at + 3..]);
    if let Some(authority) = authority.filter(|_| !target.starts_with(b"/")) {
        let path = authority
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(&b"/"[..], |slash| &authority[slash..]);
        spellings.push(path.to_vec());
    }
    let path = without_query(target).unwrap_or(target);
    let query = &target[path.len()..];
    match path.strip_suffix(b"/") {
        Some(shorter) => spellings.push([shorter, query].concat()),
        None => spellings.push([path, b"/", query].concat()),
    }
    spellings
}

fn percent_decoded(target: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(target.len());
    let mut rest = target;
    while let [byte, tail @ ..] = rest {
        match rest {
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(nibble(*high).unwrap_or(0) << 4 | nibble(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// Percent-encodes all but RFC 3986's unreserved characters and `kept`.
fn percent_encoded(target: &[u8], kept: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(target.len());
    for byte in target {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            encoded.push(*byte);
        } else {
            encoded.push(b'%');
            encoded.extend_from_slice(hex(&[*byte]).to_ascii_uppercase().as_bytes());
        }
    }
    encoded
}

fn with_hex_case(target: &[u8], case: impl Fn(&u8) -> u8) -> Vec<u8> {
    let mut spelt = target.to_vec();
    for at in 0..spelt.len().saturating_sub(2) {
        if target[at] == b'%' {
            spelt[at + 1] = case(&target[at + 1]);
            spelt[at + 2] = case(&target[at + 2]);
        }
    }
    spelt
}

fn replaced(target: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut spelt = Vec::with_capacity(target.len());
    let mut rest = target;
    while let [byte, tail @ ..] = rest {
        if let Some(after) = rest.strip_prefix(from) {
            spelt.extend_from_slice(to);
            rest = after;
        } else {
            spelt.push(*byte);
            rest = tail;
        }
    }
    spelt
}

/// The path with empty and dot segments removed, as URL libraries do (RFC 3986 §5.2.4 and beyond).
fn normalised(target: &[u8]) -> Vec<u8> {
    let path = without_query(target).unwrap_or(target);
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut spelt = Vec::with_capacity(target.len());
    for segment in kept {
        spelt.push(b'/');
        spelt.extend_from_slice(segment);
    }
    spelt.extend_from_slice(&target[path.len()..]);
    spelt
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// The bytes that `text` is the hex form of, in either case.
pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
