//! The `Authorization` header, read forgivingly so that each departure from the documented form can be named.
//!
//! Whatever is understood is written out again in the documented form and compared with what was sent, so a departure
//! that nobody thought of is still refused. Nothing of the header is repeated in a finding, for it holds a signature.

use super::{Finding, FindingCode};
use crate::signing::Algorithm;

/// The parameters of the header, each if it is there.
#[derive(Clone, Copy, Default)]
pub(super) struct Authorization<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) algorithm: Option<&'a str>,
    pub(super) headers: Option<&'a str>,
    pub(super) signature: Option<&'a str>,
}

/// The parameters' names in the documented order, each with what other schemes and libraries call it.
const NAMES: [(&str, &[&str]); 4] = [
    (
        "username",
        &[
            "keyid",
            "key-id",
            "key_id",
            "user",
            "user-name",
            "user_name",
            "id",
            "key",
            "apikey",
            "api_key",
        ],
    ),
    ("algorithm", &["alg", "algo"]),
    (
        "headers",
        &[
            "header",
            "signedheaders",
            "signed-headers",
            "signed_headers",
            "request_headers",
            "request-headers",
        ],
    ),
    ("signature", &["sig", "sign", "mac", "hmac", "digest"]),
];

impl<'a> Authorization<'a> {
    /// Reads the header's value; what is wrong with it goes to `findings`.
    pub(super) fn read(value: &'a [u8], findings: &mut Vec<Finding>) -> Self {
        let mut syntax =
            |detail: &str| findings.push(Finding::new(FindingCode::AuthorizationSyntax, detail));
        let Ok(value) = std::str::from_utf8(value) else {
            syntax("the value is not text");
            return Self::default();
        };
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        if scheme != "hmac" {
            syntax(match scheme.to_ascii_lowercase().as_str() {
                "hmac" => "the scheme must be written in lower case: hmac",
                "bearer" => {
                    "the scheme is Bearer: Ingo's generated examples show it, but its gateways want hmac"
                }
                "signature" => {
                    "the scheme is Signature, as in draft-cavage-http-signatures: it must be hmac"
                }
                _ => "the scheme must be hmac, followed by one space",
            });
        }

        let mut read = Self::default();
        let mut strangers = Vec::new();
        let (mut unquoted, mut repeated) = (false, false);
        let before = findings.len();
        for parameter in split_outside_quotes(rest) {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let inner = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            unquoted |= inner.is_none_or(|inner| inner.contains('"'));
            let value = inner.unwrap_or_else(|| value.trim_matches('"'));
            match recognise(name) {
                Some((index, departure)) => {
                    if let Some(detail) = departure {
                        findings.push(Finding::new(FindingCode::WrongParameterName, detail));
                    }
                    let slot = read.slot(index);
                    repeated |= slot.is_some();
                    slot.get_or_insert(value);
                }
                None => strangers.push(value),
            }
        }
        read.place(&strangers, findings);

        let mut syntax =
            |detail: String| findings.push(Finding::new(FindingCode::AuthorizationSyntax, detail));
        if unquoted {
            syntax("a parameter's value does not stand between double quotes".to_owned());
        }
        if repeated {
            syntax("a parameter stands more than once".to_owned());
        }
        let missing: Vec<&str> = (0..NAMES.len())
            .filter(|index| read.slot(*index).is_none())
            .map(|index| NAMES[index].0)
            .collect();
        if !missing.is_empty() && scheme.eq_ignore_ascii_case("hmac") {
            syntax(format!(
                "these parameters are missing: {}",
                missing.join(", ")
            ));
        }
        if scheme == "hmac"
            && findings.len() == before
            && read.documented_form().as_deref() != Some(value)
        {
            findings.push(Finding::new(
                FindingCode::AuthorizationSyntax,
                "the parameters must be username, algorithm, headers, signature, in this order, \
                 with a comma and one space between",
            ));
        }
        read
    }

    /// Which allowed algorithm the request names; anything else is a finding.
    pub(super) fn check_algorithm(&self, findings: &mut Vec<Finding>) -> Option<Algorithm> {
        let name = self.algorithm?;
        let algorithm = name.parse().ok();
        if algorithm.is_none() {
            let lower = name.to_ascii_lowercase();
            findings.push(Finding::new(
                FindingCode::Algorithm,
                match lower.as_str() {
                    "hmac-sha512" | "hmac-sha256" => "the algorithm's name must be written in lower case",
                    "sha512" | "sha-512" | "hmac-sha-512" | "hmacsha512" => "the algorithm must be called hmac-sha512",
                    "md5" | "hmac-md5" | "sha1" | "sha-1" | "hmac-sha1" | "hmac-sha-1" => {
                        "MD5 and SHA-1 are refused: use hmac-sha512"
                    }
                    _ => "the algorithm is neither hmac-sha512 nor, for legacy integrations, hmac-sha256",
                },
            ));
        }
        algorithm
    }

    /// Deals with parameters of unknown names: if one place is empty, the only stranger stands in it.
    fn place(&mut self, strangers: &[&'a str], findings: &mut Vec<Finding>) {
        if strangers.is_empty() {
            return;
        }
        let empty: Vec<usize> = (0..NAMES.len())
            .filter(|index| self.slot(*index).is_none())
            .collect();
        if let ([value], [index]) = (strangers, empty.as_slice()) {
            *self.slot(*index) = Some(value);
            findings.push(Finding::new(
                FindingCode::WrongParameterName,
                format!(
                    "a parameter of another name stands where `{}` is expected",
                    NAMES[*index].0
                ),
            ));
        } else {
            findings.push(Finding::new(
                FindingCode::WrongParameterName,
                "a parameter is none of username, algorithm, headers, signature",
            ));
        }
    }

    fn slot(&mut self, index: usize) -> &mut Option<&'a str> {
        match index {
            0 => &mut self.username,
            1 => &mut self.algorithm,
            2 => &mut self.headers,
            _ => &mut self.signature,
        }
    }

    /// The header as protocol.md §1 shows it, made of what was read.
    fn documented_form(&self) -> Option<String> {
        Some(format!(
            r#"hmac username="{}", algorithm="{}", headers="{}", signature="{}""#,
            self.username?, self.algorithm?, self.headers?, self.signature?
        ))
    }
}

/// Which parameter `name` is; and what to say of the name if it is not the documented one. Only names from the fixed
/// list are repeated: what stands before an equals sign in a broken header may be a piece of the signature.
fn recognise(name: &str) -> Option<(usize, Option<String>)> {
    NAMES
        .iter()
        .enumerate()
        .find_map(|(index, (own, aliases))| {
            if name == *own {
                return Some((index, None));
            }
            if name.eq_ignore_ascii_case(own) {
                return Some((
                    index,
                    Some(format!("`{own}` must be written in lower case")),
                ));
            }
            let alias = aliases
                .iter()
                .find(|alias| name.eq_ignore_ascii_case(alias))?;
            Some((
                index,
                Some(format!("`{alias}` stands where `{own}` is expected")),
            ))
        })
}

/// Splits at commas that are not between double quotes. There are no escapes in this scheme.
fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}
