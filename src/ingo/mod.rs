//! What Ingo's public documents say, as code: products and hosts, routes and their classes, statuses.
//!
//! Pure: no pingora, tokio, files, environment, clock or randomness. Each fact names where it comes from.
//! `protocol.md §n` is a section of the project's collection of Ingo's documents, kept in `docs/protocol.md`.

#[cfg(test)]
pub(crate) mod bodies;
pub mod contract;
pub mod diagnosis;
pub mod facts;
pub mod json;
pub mod kong;
mod moment;
pub mod product;
pub mod route;
pub mod session;
pub mod status;

pub use diagnosis::Diagnosis;
pub use facts::{Facts, Identity, is_success};
pub use json::{Members, NotJson, check_json};
pub use kong::KongRefusal;
pub use product::{Environment, Product};
pub use route::{Class, Pattern, Route};

/// Whether a member at the top of a body is one that something here reads.
pub fn is_asked_for(name: &[u8]) -> bool {
    facts::is_asked_for(name) || contract::is_asked_for(name)
}
