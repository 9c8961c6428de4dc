//! The emulator from outside: over real sockets, with a client and a signer that share no code with it.
//!
//! Each test starts its own on a free port of 127.0.0.1, and waits for what it needs instead of sleeping.

mod agreement;
mod behaviour;
mod client;
mod command;
mod control;
mod faults;
mod framing;
mod judge;
