//! Whether the proxy serves, is about to leave, or drains; and how many exchanges still run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, watch};

/// Where the process stands between its start and its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Exchanges are served.
    Serving,
    /// A signal came: not ready any more, but new connections are still served, for those who have not heard of it.
    Leaving,
    /// Nothing new is taken; what runs may finish.
    Draining,
}

/// The life of one proxy, shared by all who must know of it.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stage: watch::Sender<Stage>,
    running: AtomicUsize,
    /// Told whenever `running` falls to zero.
    idle: Notify,
    open: AtomicUsize,
    /// Told whenever `open` falls to zero.
    flushed: Notify,
}

/// An exchange that runs; counted off when dropped.
#[derive(Debug)]
pub struct Running(Lifecycle);

/// A connection that may hold answers which are written and not yet flushed; counted off when dropped.
#[derive(Debug)]
pub struct Open(Lifecycle);

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A proxy that serves.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            stage: watch::Sender::new(Stage::Serving),
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            open: AtomicUsize::new(0),
            flushed: Notify::new(),
        }))
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        *self.0.stage.borrow()
    }

    /// Goes on to `stage`; never back.
    pub fn advance(&self, stage: Stage) {
        self.0.stage.send_if_modified(|now| {
            let later = stage > *now;
            *now = stage.max(*now);
            later
        });
    }

    /// Waits until `stage` is reached.
    pub async fn reached(&self, stage: Stage) {
        let mut stages = self.0.stage.subscribe();
        // The sender lives in `self`, so it cannot be gone.
        let _reached = stages.wait_for(|now| *now >= stage).await;
    }

    /// Counts an exchange in until the answer is dropped.
    pub fn begin(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }

    /// Exchanges that run now.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// Waits until no exchange runs.
    pub async fn idle(&self) {
        until_zero(&self.0.running, &self.0.idle).await;
    }

    /// Counts a connection in that must be given a moment to flush, until the answer is dropped.
    pub fn open(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }

    /// Waits until no such connection is open.
    pub async fn flushed(&self) {
        until_zero(&self.0.open, &self.0.flushed).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.idle.notify_waiters();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.flushed.notify_waiters();
        }
    }
}

async fn until_zero(count: &AtomicUsize, told: &Notify) {
    loop {
        // Registered before the count is looked at, so that no telling is missed.
        let next = told.notified();
        if count.load(Ordering::Acquire) == 0 {
            return;
        }
        next.await;
    }
}
