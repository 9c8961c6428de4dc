//! Credentials: secrets read from where configuration says they are, and what is made of them.

use std::{fmt, fs, io, path::Path};

use http::HeaderValue;

use crate::{
    config::{Credentials, SecretSource},
    secret::Secret,
    signing::Signer,
};

/// What is needed to speak to Ingo in a tenant's name.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Signs requests; its key state is computed once.
    pub signer: Signer,
    /// The Banking Platform's `api_key`, hidden from debug output.
    pub api_key: Option<HeaderValue>,
}

impl Credential {
    /// Reads the secrets that `settings` names.
    ///
    /// # Errors
    /// The first [`SecretError`].
    pub fn load(settings: &Credentials) -> Result<Self, SecretError> {
        let secret = read_secret(&settings.secret)?;
        let signer = Signer::new(
            &settings.username,
            &secret,
            settings.algorithm,
            settings.signed_headers.clone(),
        );
        let api_key = settings.api_key.as_ref().map(|source| {
            let key = read_secret(source)?;
            let mut value = HeaderValue::from_bytes(key.expose()).map_err(|_| SecretError {
                place: place(source),
                problem: Problem::NotAHeader,
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            signer,
            api_key: api_key.transpose()?,
        })
    }
}

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
    NotAHeader,
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
            Problem::NotAHeader => {
                write!(f, "{place} holds bytes that cannot stand in a header field")
            }
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
    let failed = |problem| SecretError {
        place: place(source),
        problem,
    };
    let bytes = match source {
        SecretSource::File(path) => read_file(path).map_err(|e| failed(Problem::Unreadable(e)))?,
        SecretSource::Environment(name) => {
            use std::os::unix::ffi::OsStringExt as _;
            std::env::var_os(name)
                .ok_or_else(|| failed(Problem::Unset))?
                .into_vec()
        }
    };
    if bytes.is_empty() {
        return Err(failed(Problem::Empty));
    }
    Ok(Secret::new(bytes))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
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
