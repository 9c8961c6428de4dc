//! Turns: how many exchanges run at once, how many may wait for a turn, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::Exhausted;

/// The turns of one proxy.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_length: usize,
    queue_wait: Duration,
}

/// The right to run one exchange; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// `at_once` turns, with a queue of `queue_length` in which one waits for at most `queue_wait`.
    pub fn new(at_once: usize, queue_length: usize, queue_wait: Duration) -> Self {
        Self {
            free: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            queue_length,
            queue_wait,
        }
    }

    /// Turns that are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Exchanges that wait for their turn now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a turn that is free.
    pub fn take_now(&self) -> Option<Turn> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Turn { _permit: permit })
    }

    /// Takes a turn, after a short wait in the queue if need be.
    ///
    /// # Errors
    /// [`Exhausted`] at once where the queue is full, and after the wait where no turn came.
    pub async fn take(&self) -> Result<Turn, Exhausted> {
        if let Some(turn) = self.take_now() {
            return Ok(turn);
        }
        let _place = self.queue_up()?;
        match timeout(self.queue_wait, self.free.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    fn queue_up(&self) -> Result<Place<'_>, Exhausted> {
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < self.queue_length).then_some(waiting + 1)
            })
            .map_err(|_| Exhausted)?;
        Ok(Place(&self.waiting))
    }
}

/// A place in the queue; given up when dropped, also where the waiting future is.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
