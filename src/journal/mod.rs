//! The journal of calls that move money: which attempts began, and how they ended.
//!
//! Before the first byte of an attempt is written, its begin is in the file; after its answer comes its end. What began
//! and did not end is what must be asked about after a crash (protocol.md §4), and `unresolved` lists it. The journal
//! must never hold a body or a secret, and never block a tokio worker: one thread owns the file. See `docs/journal.md`.

mod appender;
mod error;
mod ledger;
mod queue;
mod record;
mod settle;
mod writer;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{
    appender::Appender,
    queue::Entry,
    record::MAX_LINE_BYTES,
    writer::{Shared, Writer},
};
pub use self::{
    error::JournalError,
    ledger::{Ledger, OpenAttempt, Unresolved},
    record::{Attempt, Ended, Event, Outcome, Record},
    settle::{NotSettled, settle},
};
use crate::{clock::Clock, config::JournalConfig, ingo::Route};

/// An open journal. Dropping it writes what still waits, and blocks until that is done.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    clock: Clock,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the file, creates it where there is none, and reads what an earlier process left open in it. Blocks; a file of
    /// a gigabyte takes some seconds.
    ///
    /// # Errors
    /// [`JournalError`] where the file cannot be opened, read or locked, or is no regular file.
    pub fn open(config: &JournalConfig, clock: Clock) -> Result<Self, JournalError> {
        let mut ledger = Ledger::of_process();
        let appender = Appender::open(config, &mut ledger)?;
        let shared = Arc::new(Shared::new(ledger));
        let writer = Writer::new(Arc::clone(&shared), config.clone(), appender);
        let writer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(|| writer.run())
            .map_err(|error: io::Error| JournalError::open(&config.file, error))?;
        Ok(Self {
            shared,
            clock,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Whether `attempt` can be recorded: to be asked before anything is spent on it.
    ///
    /// # Errors
    /// [`JournalError::TooLong`], which [`begin`](Self::begin) would say, too.
    pub fn check(&self, attempt: &Attempt) -> Result<(), JournalError> {
        self.line_of_begin(attempt).map(|_| ())
    }

    /// Records that the first byte of `attempt` is about to be written. After `Ok` the record is in the file, and on the
    /// disk where `journal.fsync` is on; only then may the attempt be sent.
    ///
    /// A future that is dropped before it is ready says by that that the attempt is not made: its end is recorded as unsent.
    ///
    /// # Errors
    /// [`JournalError`]: the attempt must not be made. The next begin tries anew.
    pub async fn begin(&self, attempt: &Attempt) -> Result<(), JournalError> {
        let (record, line) = self.line_of_begin(attempt)?;
        let (waiting, answer) = oneshot::channel();
        self.shared.queue.push(Entry {
            record,
            line,
            waiting: Some(waiting),
        })?;
        let mut given_up = GivenUp(Some((self, attempt)));
        let result = answer.await;
        given_up.0 = None;
        // Without an answer the writer is gone.
        result.unwrap_or(Err(JournalError::Stopped))
    }

    fn line_of_begin(&self, attempt: &Attempt) -> Result<(Record, Vec<u8>), JournalError> {
        let record = Record::begin(attempt, self.clock.now());
        let line = record.line();
        if line.len() > MAX_LINE_BYTES {
            return Err(JournalError::TooLong { bytes: line.len() });
        }
        Ok((record, line))
    }

    /// Records how an attempt ended, after its begin and in the background. What cannot be written is tried again, counted
    /// and logged where it is lost, and stays unresolved until it is written.
    pub fn end(&self, attempt: &Attempt, ended: Ended) {
        let record = Record::end(attempt, ended, self.clock.now());
        let line = record.line();
        let pushed = self.shared.queue.push(Entry {
            record,
            line,
            waiting: None,
        });
        if let Err(error) = pushed {
            self.shared.lose(1, &error);
        }
    }

    /// Has the writer go on in a new file if the old one was moved away: for SIGHUP, after a rotation. Returns at once.
    ///
    /// Everything that is open is written again into the new file, so that no exchange is forgotten when the old one is
    /// deleted. Where the path cannot be opened, the old file is kept and the log says so.
    pub fn reopen(&self) {
        self.shared.queue.reopen();
    }

    /// The routes whose calls it records. A journal outlives a configuration: those that are not enabled are among them.
    pub fn routes() -> impl Iterator<Item = Route> {
        let routes = Route::ALL.iter().copied();
        routes.filter(|route| route.class().moves_money())
    }

    /// How many exchanges of `route` began and did not end: those in flight, those that Ingo did not answer, and those that
    /// an earlier process left in the file.
    pub fn unresolved(&self, route: Route) -> usize {
        self.shared.ledger.lock().count(route.name())
    }

    /// How many ends could not be recorded and never will be.
    pub fn ends_lost(&self) -> u64 {
        self.shared.ends_lost.load(Ordering::Relaxed)
    }
}

impl Journal {
    /// Writes what still waits and takes no more; blocks until that is done.
    pub fn close(&self) {
        self.shared.queue.close();
        // Not held while joining: who closes a second time must not wait for a disk that hangs.
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // A writer that panicked has been told of by the panic hook.
            let _ended = writer.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// A begin that somebody waits for; dropped while it is armed, nobody does any more.
struct GivenUp<'j>(Option<(&'j Journal, &'j Attempt)>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some((journal, attempt)) = self.0.take() {
            journal.end(attempt, Ended::Unsent);
        }
    }
}
