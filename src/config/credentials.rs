//! Whose signature stands under each request, and where the secret is read from: a file or a variable, never a value.
//!
//! Nothing is opened here. A secret that was written in place of a path's or a variable's name is not repeated.

use super::{
    Credentials, NextCredential, SecretSource, listeners::file_path, quantity::Expected,
    reader::Reader, schema,
};
use crate::signing::{Algorithm, HeaderOrder};

/// Reads the section `credentials`.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Credentials> {
    let username = reader.required("credentials.username", username);
    let secret = secret_source(reader, "credentials.secret");
    if secret == Some(None) {
        reader.reject(
            "credentials.secret_file",
            format!(
                "is not set; set {}, or name an environment variable with credentials.secret_env",
                schema::ways("credentials.secret_file")
            ),
        );
    }
    let algorithm = reader.required("credentials.algorithm", algorithm);
    let signed_headers = reader.required("credentials.signed_headers", signed_headers);
    let api_key = secret_source(reader, "credentials.api_key");
    let next = next(reader);
    Some(Credentials {
        username: username?,
        secret: secret??,
        algorithm: algorithm?,
        signed_headers: signed_headers?,
        api_key: api_key?,
        next: next?,
    })
}

/// The next credential: both of its keys, or neither.
fn next(reader: &mut Reader<'_>) -> Option<Option<NextCredential>> {
    let pair = reader.pair(
        ("credentials.next_username", username),
        ("credentials.next_secret_file", file_path),
    );
    Some(pair?.map(|(username, path)| NextCredential {
        username,
        secret: SecretSource::File(path),
    }))
}

/// The source that `<path>_file` or `<path>_env` names. Both at once are a mistake; neither is the caller's affair.
pub(super) fn secret_source(reader: &mut Reader<'_>, path: &str) -> Option<Option<SecretSource>> {
    let (file_key, variable_key) = (format!("{path}_file"), format!("{path}_env"));
    let file = reader.optional(&file_key, file_path);
    let variable = reader.optional(&variable_key, variable_name);
    match (file?, variable?) {
        (Some(_), Some(_)) => {
            reader.reject(
                &variable_key,
                format!("is a second source beside {file_key}; keep one of them"),
            );
            None
        }
        (Some(path), None) => Some(Some(SecretSource::File(path))),
        (None, Some(variable)) => Some(Some(SecretSource::Environment(variable))),
        (None, None) => Some(None),
    }
}

/// Visible ASCII without `"` and `\`: it stands between quotes in `Authorization`.
fn username(text: &str) -> Result<String, Expected> {
    const LONGEST: usize = 256;
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {LONGEST} visible ASCII characters, without spaces, quotes and backslashes"
        ))
    }
}

/// Capitals only, though the system would allow more: so that a secret written here by mistake is noticed, not shown.
fn variable_name(text: &str) -> Result<String, Expected> {
    const LONGEST: usize = 64;
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if text.len() <= LONGEST
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_uppercase())
    {
        Ok(text.to_owned())
    } else {
        Err("must be the name of an environment variable, in capitals, digits and underscores; the secret itself \
             does not stand in configuration"
            .to_owned())
    }
}

fn algorithm(text: &str) -> Result<Algorithm, Expected> {
    match text {
        "hmac-sha512" => Ok(Algorithm::HmacSha512),
        "hmac-sha256" => Ok(Algorithm::HmacSha256),
        _ => Err(
            "must be hmac-sha512, or hmac-sha256 for an integration that Ingo set up so".to_owned(),
        ),
    }
}

fn signed_headers(text: &str) -> Result<HeaderOrder, Expected> {
    text.parse().map_err(|_| {
        "must hold request-line, x-date, content-type, content-sha512 and content-length, each once, in the order to \
         sign them, separated by spaces"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_what_can_stand_between_quotes() {
        for good in ["0123", "1e5", "acme-sandbox", "a", "~", "user@example.com"] {
            assert_eq!(username(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "a\"b", "a\\b", "a\n", "\u{e9}", &"a".repeat(257)] {
            assert!(username(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_in_place_of_a_variables_name_is_noticed() {
        assert!(variable_name("INGO_SECRET").is_ok());
        for bad in [
            "",
            "_X",
            "1X",
            "hunter2",
            "aGVsbG8=",
            "A-B",
            &"A".repeat(65),
        ] {
            assert!(variable_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weak_algorithms_are_refused() {
        assert!(algorithm("hmac-sha1").is_err());
        assert!(algorithm("HMAC-SHA512").is_err());
        assert_eq!(algorithm("hmac-sha256"), Ok(Algorithm::HmacSha256));
    }
}
