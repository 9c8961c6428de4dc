//! The front door.

pub mod clock;
pub mod config;
pub mod ingo;
pub mod secret;
pub mod signing;
