//! A gate that holds threads until a test opens it: how tests put events in order without sleeping.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// Longer than any test waits for anything else, so that a forgotten gate ends a test with a clear failure elsewhere.
const LONGEST: Duration = Duration::from_secs(30);

/// Closed when made; once opened, open for ever. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().expect("no holder of the lock panics") = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open, at most [`LONGEST`].
    pub fn pass(&self) {
        let open = self.0.0.lock().expect("no holder of the lock panics");
        let _ = self
            .0
            .1
            .wait_timeout_while(open, LONGEST, |open| !*open)
            .expect("no holder of the lock panics");
    }
}
