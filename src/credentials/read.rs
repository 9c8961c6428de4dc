//! Reads secrets from where configuration says they are.
//!
//! What is read stands in memory once and is wiped where it is not kept. Errors say where, never what.

use std::{fmt, fs, io, path::Path};

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    config::SecretSource,
    secret::Secret,
    watch::{self, Unread},
};

/// No secret is this long, in bytes; a device or a log file named by mistake may be.
const LARGEST: usize = 64 * 1024;

/// A secret could not be read. Says where, never what.
#[derive(Debug)]
pub struct SecretError {
    place: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    Unset,
    Empty,
    TooLarge,
    Growing,
    NotAHeader,
    NotAFile,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, problem } = self;
        match problem {
            Problem::Unreadable(error) => match error.kind() {
                io::ErrorKind::NotFound => {
                    write!(f, "{place} does not exist; create it, or name another")
                }
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "{place} cannot be read: permission denied; let the user that runs this process read it"
                ),
                _ => write!(f, "{place} cannot be read: {error}"),
            },
            Problem::Unset => write!(f, "{place} is not set; set it, or name another"),
            Problem::Empty => write!(f, "{place} is empty; put the secret there that Ingo issued"),
            Problem::TooLarge => write!(
                f,
                "{place} is larger than 64 KiB, which no secret is; name the file that holds the secret"
            ),
            Problem::Growing => write!(
                f,
                "{place} was written to while it was read; write it to another name, then rename it"
            ),
            Problem::NotAHeader => {
                write!(f, "{place} holds bytes that cannot stand in a header field")
            }
            Problem::NotAFile => write!(
                f,
                "{place} is no regular file, and it is read again and again; name one"
            ),
        }
    }
}

impl std::error::Error for SecretError {}

/// Reads a secret. Of a file one trailing newline is dropped, because editors and `echo` add it, and nothing else; of an
/// environment variable nothing is.
///
/// # Errors
/// [`SecretError`] where there is none, or an empty one.
pub fn read_secret(source: &SecretSource) -> Result<Secret, SecretError> {
    let read = match source {
        SecretSource::File(path) => read_file(path),
        SecretSource::Environment(name) => {
            use std::os::unix::ffi::OsStringExt as _;
            std::env::var_os(name)
                .map(|value| Secret::new(value.into_vec()))
                .ok_or(Problem::Unset)
        }
    };
    match read {
        Ok(secret) if secret.expose().is_empty() => Err(Problem::Empty),
        read => read,
    }
    .map_err(|problem| SecretError {
        place: place(source),
        problem,
    })
}

/// As [`read_secret`], of a secret that is read again and again: a pipe gives it once, and whoever opens one to which nobody writes
/// waits for ever.
///
/// # Errors
/// [`SecretError`], also where it is no regular file.
pub fn read_secret_anew(source: &SecretSource) -> Result<Secret, SecretError> {
    match source {
        SecretSource::File(path) if fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
            Err(SecretError {
                place: place(source),
                problem: Problem::NotAFile,
            })
        }
        _ => read_secret(source),
    }
}

/// The header value that `key`, read from `source`, is sent as. It is wiped when the last request that bears it is gone.
///
/// # Errors
/// [`SecretError`] where it holds what a header field cannot.
pub(super) fn header(source: &SecretSource, key: Secret) -> Result<HeaderValue, SecretError> {
    let mut value =
        HeaderValue::from_maybe_shared(Bytes::from_owner(Sent(key))).map_err(|_| SecretError {
            place: place(source),
            problem: Problem::NotAHeader,
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A secret that is sent as it is. Only here, so that no other code takes one for plain bytes.
struct Sent(Secret);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn read_file(path: &Path) -> Result<Secret, Problem> {
    let secret = watch::read(path, LARGEST).map_err(|unread| match unread {
        Unread::Unreadable(error) => Problem::Unreadable(error),
        Unread::TooLarge => Problem::TooLarge,
        Unread::Growing => Problem::Growing,
    })?;
    Ok(secret.without_newline())
}

fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => format!("the secret file {}", path.display()),
        SecretSource::Environment(name) => {
            format!("the environment variable {name} that holds the secret")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<Secret, SecretError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("secret");
        fs::write(&path, content).expect("a file can be written there");
        read_secret(&SecretSource::File(path))
    }

    #[test]
    fn one_trailing_newline_of_a_file_is_dropped_and_nothing_else() {
        for (content, secret) in [
            (b"s".as_slice(), b"s".as_slice()),
            (b"s\n", b"s"),
            (b"s\n\n", b"s\n"),
            (b" s \n", b" s "),
            (b"s\r\n", b"s\r"),
            (b"\x00\xff", b"\x00\xff"),
        ] {
            assert_eq!(
                from_file(content).expect("it is not empty").expose(),
                secret
            );
        }
    }

    #[test]
    fn a_file_that_is_no_secret_is_not_read_to_its_end() {
        assert!(from_file(&vec![b'x'; LARGEST]).is_ok());
        let error = from_file(&vec![b'x'; LARGEST + 1]).expect_err("too large");
        assert!(error.to_string().contains("64 KiB"), "{error}");
        let device = read_secret(&SecretSource::File("/dev/zero".into()));
        assert!(device.is_err());
    }

    #[test]
    fn a_key_becomes_a_header_that_debug_does_not_show() {
        let source = SecretSource::Environment("KEY".into());
        let value = header(&source, Secret::new(b"hunter2".to_vec())).expect("a header value");
        assert_eq!(value, "hunter2");
        assert_eq!(format!("{value:?}"), "Sensitive");
        let error = header(&source, Secret::new(b"a\nb".to_vec())).expect_err("two lines");
        assert!(error.to_string().contains("header field"), "{error}");
    }

    #[test]
    fn an_empty_or_missing_secret_is_an_error_that_names_the_place() {
        assert!(from_file(b"").is_err());
        let error = from_file(b"\n").expect_err("only a newline").to_string();
        assert!(error.contains("/secret is empty"), "{error}");
        let missing = read_secret(&SecretSource::Environment(
            "INGO_TEST_UNSET_VARIABLE".into(),
        ));
        let error = missing.expect_err("it is not set").to_string();
        assert!(error.contains("INGO_TEST_UNSET_VARIABLE"), "{error}");
    }
}
