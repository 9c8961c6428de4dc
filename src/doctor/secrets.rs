//! Whether the secrets can be read, and whether they look like secrets.
//!
//! A secret is used as its bytes stand, so what an editor, a template or Windows added is part of it, and that is what is
//! looked for. Nothing of a secret is told: not a byte, and of its length only whether it is short.

use super::report::Step;
use crate::{
    config::{Config, SecretSource},
    credentials::{read_secret, read_secret_anew},
};

/// Ingo does not say how long its secrets are. One this short could be guessed.
const SHORT: usize = 16;

pub(super) fn examine(config: &Config) -> Vec<Step> {
    let secrets = config.secrets();
    secrets
        .into_iter()
        .map(|(name, source)| step(name, source))
        .collect()
}

fn step(name: &'static str, source: &SecretSource) -> Step {
    let place = match source {
        SecretSource::File(path) => path.display().to_string(),
        SecretSource::Environment(variable) => format!("the environment variable {variable}"),
    };
    let is_of_proxy = name == "proxy_password";
    let read = if is_of_proxy {
        read_secret_anew(source)
    } else {
        read_secret(source)
    };
    let secret = match read {
        Ok(secret) => secret,
        Err(error) => {
            let told = error.to_string();
            let (detail, remedy) = told
                .split_once("; ")
                .unwrap_or((&told, "let the user that runs this process read it"));
            return Step::wrong(name, detail, remedy);
        }
    };
    match judge(secret.expose(), !is_of_proxy) {
        Ok(found) => Step::well(name, format!("{place} {found}")),
        Err((found, remedy)) => Step::wrong(name, format!("{place} {found}"), remedy),
    }
}

/// What is found in the bytes of a secret, or what is wrong with them and what to do.
fn judge(secret: &[u8], must_be_long: bool) -> Result<&'static str, (&'static str, &'static str)> {
    const EXACTLY: &str = "write exactly what was issued, for instance with printf '%s'; one newline at the end is dropped, \
                           and nothing else";
    let quoted =
        |mark: u8| secret.len() > 1 && secret.starts_with(&[mark]) && secret.ends_with(&[mark]);
    if secret.contains(&b'\r') {
        Err((
            "holds a carriage return, as Windows ends lines",
            "convert it (dos2unix), or write it anew",
        ))
    } else if secret.ends_with(b"\n") {
        Err(("ends in more than one newline", EXACTLY))
    } else if secret.last().is_some_and(u8::is_ascii_whitespace) {
        Err(("ends in white space, which is signed with", EXACTLY))
    } else if secret.first().is_some_and(u8::is_ascii_whitespace) {
        Err(("begins with white space, which is signed with", EXACTLY))
    } else if secret.starts_with(b"\xef\xbb\xbf") {
        Err(("begins with a byte order mark", EXACTLY))
    } else if secret.contains(&b'\n') {
        Err(("holds several lines", EXACTLY))
    } else if quoted(b'"') || quoted(b'\'') {
        Err(("stands in quotes, which are signed with", EXACTLY))
    } else if must_be_long && secret.len() < SHORT {
        Err((
            "is shorter than 16 bytes",
            "check that it is the whole of what was issued",
        ))
    } else if secret.iter().all(u8::is_ascii_hexdigit) {
        Ok("is there; hexadecimal digits, used as they stand and not decoded")
    } else if is_base64(secret) {
        Ok("is there; it looks like base64, is used as it stands and not decoded")
    } else {
        Ok("is there")
    }
}

fn is_base64(secret: &[u8]) -> bool {
    let unpadded = secret
        .iter()
        .rposition(|b| *b != b'=')
        .map_or(0, |at| at + 1);
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    secret.len().is_multiple_of(4)
        && secret.len() - unpadded <= 2
        && secret[..unpadded].iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_or_a_template_adds_is_found() {
        for (secret, found) in [
            (b"0123456789abcdefx\r".as_slice(), "carriage return"),
            (b"0123456789abcdefx\n", "more than one newline"),
            (b"0123456789abcdefx ", "ends in white space"),
            (b" 0123456789abcdefx", "begins with white space"),
            (b"0123456789\nabcdefx", "several lines"),
            (b"\"0123456789abcdefx\"", "quotes"),
            (b"\xef\xbb\xbf0123456789abcdefx", "byte order mark"),
            (b"hunter2", "shorter"),
        ] {
            let (told, _) = judge(secret, true).expect_err(found);
            assert!(told.contains(found), "{told}");
        }
        assert!(judge(b"hunter2", false).is_ok());
    }

    #[test]
    fn what_is_plausible_is_said_to_be_used_as_it_stands() {
        assert!(
            judge(b"0123456789abcdef", true)
                .expect("plausible")
                .contains("hexadecimal")
        );
        assert!(
            judge(b"c2VjcmV0IHNlY3JldCE=", true)
                .expect("plausible")
                .contains("base64")
        );
        assert_eq!(judge(b"correct-horse-battery", true), Ok("is there"));
    }
}
