//! How many connections to an upstream are open, and how many of them are used: our own accounting, because a pool keeps none.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pingora::upstreams::peer::{Tracer, Tracing};

/// The connections to one upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    busy: AtomicUsize,
}

/// A connection in use; counted off when dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Counts>);

impl Connections {
    /// By which Pingora tells of each connection that is made and closed.
    pub(super) fn tracer(&self) -> Tracer {
        Tracer(Box::new(self.clone()))
    }

    /// Counts a connection as used until the answer is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.0.clone())
    }

    /// How many are open and wait to be used again, and how many are used.
    pub(super) fn idle_and_busy(&self) -> (usize, usize) {
        let busy = self.0.busy.load(Ordering::Relaxed);
        (
            self.0.open.load(Ordering::Relaxed).saturating_sub(busy),
            busy,
        )
    }
}

impl Tracing for Connections {
    fn on_connected(&self) {
        self.0.open.fetch_add(1, Ordering::Relaxed);
    }

    fn on_disconnected(&self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
