//! The embedded Ingo: a stand-in for its gateway and Session Management, strict about signatures and able to fail on demand.
//!
//! What it does is what Ingo's documents say (protocol.md, cited at each place) and, where they are silent, something
//! invented and marked so; docs/emulator.md lists both. No money moves, and nothing that a body says is kept but ids.
//!
//! It has its own HTTP/1.1, in `wire`, and that is no oversight. An emulator on the stack under test would share its
//! mistakes; Pingora mends framing that must be judged as it came, and reads ahead, so that neither "reset after the head"
//! nor the count of received bytes would be exact; and SO_LINGER cannot be reached through its streams without `unsafe`,
//! so that a reset would be a FIN. Only the control endpoint, where none of this matters, runs on the house's listener.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ingo_signing_proxy::{emulator::Emulator, secret::Secret};
//!
//! let emulator = Emulator::builder("acme", Secret::new(b"made up".to_vec())).start().await?;
//! emulator.inject("reset_after_body,next=2,path=/gateway/verify")?;
//! println!("the upstream is http://{}", emulator.addresses().gateway);
//! assert_eq!(emulator.ledger().len(), 0);
//! # Ok(())
//! # }
//! ```

mod answer;
mod calls;
mod clock;
mod control;
mod fault;
mod faults;
mod fields;
mod fingerprint;
mod gateway;
mod kind;
mod kong;
mod ledger;
mod receive;
mod serve;
mod sessions;
mod spoil;
mod start;
mod store;
mod wire;

pub use self::{
    fault::{Fault, FaultError},
    kind::FaultKind,
    ledger::{Ending, Entry},
    sessions::{SessionEnd, SessionState},
    start::{Addresses, Builder, Emulator, StartError},
};

/// What all connections of one emulator share.
#[derive(Debug)]
struct State {
    clock: clock::SettableClock,
    gateway: gateway::Gateway,
    faults: faults::Faults,
    ledger: ledger::Ledger,
    /// The bound of one request body.
    body_bytes: usize,
}
