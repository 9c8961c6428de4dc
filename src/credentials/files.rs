//! What is done with secret files that change.

use std::sync::Arc;

use super::{
    read::read_secret,
    rotation::{Part, Rotation},
};
use crate::{
    config::SecretSource,
    secret::Secret,
    watch::{User, Watched, Watching},
};

/// A file whose secret is taken when it changes.
pub(super) struct File {
    pub(super) rotation: Arc<Rotation>,
    pub(super) part: Part,
    pub(super) source: SecretSource,
}

/// The file of a secret that must not change.
struct Pinned {
    source: SecretSource,
}

/// Has it said, once, when the file that `secret` was read from changes: the one that keys are derived with. Until the answer
/// is dropped.
pub fn pin(source: &SecretSource, secret: &Secret) -> Watching {
    let pinned = Pinned {
        source: source.clone(),
    };
    let watched = match source {
        SecretSource::File(path) => Watched::new(&[path], vec![secret.clone()], pinned),
        SecretSource::Environment(_) => None,
    };
    Watching::over("secret-files", watched.into_iter().collect())
}

impl User for File {
    fn read(&self) -> Result<Vec<Secret>, String> {
        one(&self.source)
    }

    fn take(&mut self, found: &[Secret]) -> Result<(), String> {
        for secret in found {
            let taken = self.rotation.take(self.part, secret.clone());
            taken.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn complain(&mut self, what: &str) {
        self.rotation.trouble(self.part, what);
    }

    fn recovered(&mut self) {
        self.rotation.recovered(self.part);
    }
}

impl User for Pinned {
    fn read(&self) -> Result<Vec<Secret>, String> {
        one(&self.source)
    }

    fn take(&mut self, _found: &[Secret]) -> Result<(), String> {
        tracing::warn!(
            secret = "idempotency.secret_file",
            "the file changed, and the secret that was read at the start stays in use: with another one every derived key is another, so that a repeat is no longer recognised; put the former one back before this process is started again"
        );
        Ok(())
    }

    /// It is not read again before a start.
    fn complain(&mut self, _what: &str) {}

    fn recovered(&mut self) {}
}

fn one(source: &SecretSource) -> Result<Vec<Secret>, String> {
    match read_secret(source) {
        Ok(secret) => Ok(vec![secret]),
        Err(error) => Err(error.to_string()),
    }
}
