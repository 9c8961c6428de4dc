//! A request as it was captured, before anything is believed of it.
//!
//! Headers keep their order and their spelling: both are evidence. It holds a signature and a body, so `Debug` shows
//! neither.

use std::fmt;

/// A request as it was captured.
#[derive(Clone, PartialEq, Eq)]
pub struct Captured {
    /// The method, such as `POST`.
    pub method: String,
    /// The request target exactly as in the request line (`:path` in HTTP/2).
    pub target: Vec<u8>,
    /// The version as the capturing tool wrote it: `HTTP/1.1`, `HTTP/2`.
    pub version: String,
    /// Names and values in order and spelling as captured. White space around a value is ignored (RFC 9110 §5.5).
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body with any transfer coding removed, byte for byte otherwise.
    pub body: Vec<u8>,
}

impl Captured {
    /// The value of the first header called `name` in any case, without surrounding white space.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| trimmed(value))
    }

    /// How many headers are called `name` in any case.
    pub fn count(&self, name: &str) -> usize {
        self.headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .count()
    }

    /// How the request spells `name`, if it has it.
    pub(super) fn spelling(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .map(|(other, _)| other.as_str())
            .find(|other| other.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("method", &self.method)
            .field("version", &self.version)
            .field("header_count", &self.headers.len())
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The version as Kong puts it into the request line it rebuilds: with one decimal, so `HTTP/2.0`.
pub(super) fn rebuilt_version(version: &str) -> &str {
    match version {
        "HTTP/2" | "h2" | "h2c" => "HTTP/2.0",
        "HTTP/3" | "h3" => "HTTP/3.0",
        other => other,
    }
}

/// A version fit for a message: known ones as they are, others not repeated.
pub(super) fn shown_version(version: &str) -> &str {
    let rebuilt = rebuilt_version(version);
    if ["HTTP/0.9", "HTTP/1.0", "HTTP/2.0", "HTTP/3.0"].contains(&rebuilt) {
        rebuilt
    } else {
        "an unknown version"
    }
}

/// RFC 9110 §5.5: white space around a field value is no part of it.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
