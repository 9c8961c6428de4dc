//! A budget of bytes that request and answer bodies share.
//!
//! Requests may use three quarters of it. The last quarter is kept for answers: refusing a request costs its caller a
//! repeat, but an answer that finds no memory leaves the caller not knowing whether Ingo acted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of bodies held at once, against a limit.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    used: AtomicUsize,
    for_requests: usize,
    for_all: usize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Memory {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Counted {
            used: AtomicUsize::new(0),
            for_requests: limit - limit / 4,
            for_all: limit,
        }))
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A reservation of nothing yet.
    pub fn reserve(&self) -> Reservation {
        Reservation {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// Bytes that one exchange holds of the budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    bytes: usize,
}

impl Reservation {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more for a request body.
    ///
    /// # Errors
    /// [`Exhausted`], and nothing is taken, where that would leave too little for answers.
    pub fn grow_for_request(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.grow(bytes, self.memory.0.for_requests)
    }

    /// Takes `bytes` more for an answer body.
    ///
    /// # Errors
    /// [`Exhausted`], and nothing is taken, where the whole budget is used.
    pub fn grow_for_answer(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.grow(bytes, self.memory.0.for_all)
    }

    fn grow(&mut self, bytes: usize, limit: usize) -> Result<(), Exhausted> {
        self.memory
            .0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .map_err(|_| Exhausted)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
