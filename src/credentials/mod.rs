//! Credentials: secrets read from where configuration says they are, and what is made of them while it changes.
//!
//! `read` reads a secret, [`Rotation`] holds what is signed with, `watch` notices what becomes of the files. Nothing is
//! ever signed with a secret that is broken, empty or half written: what was in use stays in use, and that is said.

mod read;
mod rotation;
mod watch;

pub use self::{
    read::{SecretError, read_secret},
    rotation::{Credential, Rotation},
    watch::Watching,
};
