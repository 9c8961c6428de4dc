//! Credentials: secrets read from where configuration says they are, and what is made of them while it changes.
//!
//! `read` reads a secret, [`Rotation`] holds what is signed with, `files` tells it of files that change. Nothing is
//! ever signed with a secret that is broken, empty or half written: what was in use stays in use, and that is said.

mod files;
mod read;
mod rotation;

pub use self::{
    files::pin,
    read::{SecretError, read_secret, read_secret_anew},
    rotation::{Credential, Rotation},
};
