//! The listeners for operators: health for the kubelet and Prometheus, admin for people on this host.
//!
//! Neither forwards anything, and neither depends on Ingo: a sidecar that Ingo cannot be reached from is alive and ready,
//! and says so in its answers to callers.

mod control;
mod health;
mod page;
mod status;

pub use self::{control::Control, health::Health, page::PageApp, status::History};
