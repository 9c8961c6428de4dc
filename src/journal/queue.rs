//! What waits to be written: in order, bounded, and taken all at once.
//!
//! Taking everything that waits is what makes one write and one sync serve many callers. The lock is held for pushing one
//! entry or swapping the list, never across a write: a tokio worker that pushes does not wait for the disk.

use std::{mem, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{JournalError, record::Record};

/// Begins that wait: as many as there are exchanges in flight by default. Beyond that the disk does not keep up, and a
/// caller is better off with a refusal.
const MAX_BEGINS: usize = 1_024;
/// Everything that waits. An end cannot be refused to anyone, so there is more room for these.
const MAX_ENTRIES: usize = 8_192;

/// A record on its way to the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// The record as it will stand in the file.
    pub(super) line: Vec<u8>,
    /// Whoever waits until it does; nobody waits for an end.
    pub(super) waiting: Option<Waiting>,
}

/// Tells whoever waits for a begin.
pub(super) type Waiting = oneshot::Sender<Result<(), JournalError>>;

/// What the writer does next.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Whether the file is to be opened again first.
    pub(super) reopen: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    begins: usize,
    reopen: bool,
    closed: bool,
}

impl Queue {
    /// Adds an entry at the end, or says why not.
    pub(super) fn push(&self, entry: Entry) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        let is_begin = entry.waiting.is_some();
        if state.closed {
            return Err(JournalError::Stopped);
        }
        if state.entries.len() >= MAX_ENTRIES || is_begin && state.begins >= MAX_BEGINS {
            return Err(JournalError::Busy);
        }
        state.begins += usize::from(is_begin);
        state.entries.push(entry);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Has the file opened again before the next record is written.
    pub(super) fn reopen(&self) {
        self.state.lock().reopen = true;
        self.arrived.notify_one();
    }

    /// Takes no more. What waits is still handed out.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Takes no more and lets go of what waits, so that nobody waits for a writer that is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.entries.clear();
    }

    /// Waits until there is something to do and takes all of it; after `at_most` also nothing. `None`: it was closed and is
    /// empty.
    pub(super) fn take(&self, at_most: Duration) -> Option<Batch> {
        let mut state = self.state.lock();
        while state.entries.is_empty() && !state.reopen {
            if state.closed {
                return None;
            }
            if self.arrived.wait_for(&mut state, at_most).timed_out() {
                break;
            }
        }
        state.begins = 0;
        Some(Batch {
            entries: mem::take(&mut state.entries),
            reopen: mem::take(&mut state.reopen),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use uuid::Uuid;

    use super::*;
    use crate::{ingo::Route, journal::Attempt};

    /// Longer than any of these tests waits.
    const LIMIT: Duration = Duration::from_secs(60);

    fn entry(waiting: Option<Waiting>) -> Entry {
        let attempt = Attempt {
            exchange_id: Uuid::nil(),
            tenant: String::new(),
            route: Route::Debit,
            number: 1,
            idempotency_key: None,
            identifier: Vec::new(),
        };
        Entry {
            record: Record::begin(&attempt, UNIX_EPOCH),
            line: Vec::new(),
            waiting,
        }
    }

    #[test]
    fn begins_are_refused_long_before_ends_are() {
        let queue = Queue::default();
        for _ in 0..MAX_BEGINS {
            queue.push(entry(Some(oneshot::channel().0))).expect("room");
        }
        let refused = queue.push(entry(Some(oneshot::channel().0)));
        assert!(matches!(refused, Err(JournalError::Busy)));
        for _ in MAX_BEGINS..MAX_ENTRIES {
            queue.push(entry(None)).expect("room for ends");
        }
        assert!(matches!(queue.push(entry(None)), Err(JournalError::Busy)));
        let batch = queue.take(LIMIT).expect("a batch");
        assert_eq!(batch.entries.len(), MAX_ENTRIES);
        queue.push(entry(Some(oneshot::channel().0))).expect("room");
    }

    #[test]
    fn what_waited_when_it_was_closed_is_still_handed_out() {
        let queue = Queue::default();
        queue.push(entry(None)).expect("room");
        queue.close();
        assert!(matches!(
            queue.push(entry(None)),
            Err(JournalError::Stopped)
        ));
        assert_eq!(queue.take(LIMIT).expect("a batch").entries.len(), 1);
        assert!(queue.take(LIMIT).is_none());
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_gone() {
        let queue = Queue::default();
        let (waiting, mut answer) = oneshot::channel();
        queue.push(entry(Some(waiting))).expect("room");
        queue.abandon();
        assert!(matches!(
            answer.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }
}
