//! The front door.

pub mod admin;
pub mod bounds;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod exchange;
pub mod ingo;
pub mod lifecycle;
pub mod listener;
pub mod problem;
pub mod retry;
pub mod secret;
pub mod server;
pub mod signing;
pub mod telemetry;
pub mod upstream;
