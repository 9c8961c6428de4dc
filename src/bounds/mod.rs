//! The bounds that keep memory finite whatever callers send: a budget of buffered bytes, and turns for exchanges; and bodies in
//! the making, which the budget is for.
//!
//! Both refuse at once, or after one short wait; nothing here queues without a limit.

mod memory;
mod parts;
mod turns;

pub use self::{
    memory::{Exhausted, Memory, Reservation},
    parts::Parts,
    turns::{Turn, Turns},
};

#[cfg(test)]
mod tests;
