//! The bounds that keep memory finite whatever callers send: a budget of buffered bytes, and turns for exchanges.
//!
//! Both refuse at once, or after one short wait; nothing here queues without a limit.

mod memory;
mod turns;

pub use self::{
    memory::{Exhausted, Memory, Reservation},
    turns::{Turn, Turns},
};

#[cfg(test)]
mod tests;
