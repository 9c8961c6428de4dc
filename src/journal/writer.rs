//! The one thread that owns the file: takes what waits, writes it at once, then tells each who waited.
//!
//! Invariant: whoever is told `Ok` stands in the file, and on the disk where that is configured. A write that fails refuses
//! its begins and keeps its ends for the next one, so that a disk that was full for a while leaves no false alarms.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    JournalError, Ledger,
    appender::{Appender, Others},
    queue::{Entry, Queue},
};
use crate::config::JournalConfig;

/// How soon ends that could not be written are tried again where nothing else is to be written.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How soon a line that a person added is read where nothing is to be written: the metric, and with it the alert, follows.
/// One look at the file's length.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Ends that are kept until they can be written; about 4 MiB.
const MAX_OWED: usize = 8_192;
/// A disk that stays full is told of this often, not once per call.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What the writer shares with the journal's front.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) ends_lost: AtomicU64,
    last_complaint: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            queue: Queue::default(),
            ledger: Mutex::new(ledger),
            ends_lost: AtomicU64::new(0),
            last_complaint: Mutex::new(None),
        }
    }

    /// Counts ends that will never be written.
    pub(super) fn lose(&self, ends: usize, why: &JournalError) {
        let ends = u64::try_from(ends).unwrap_or(u64::MAX);
        let lost = self.ends_lost.fetch_add(ends, Ordering::Relaxed) + ends;
        if self.may_complain() {
            tracing::warn!(
                ends_lost = lost,
                "{why}; how some attempts ended is not recorded: they stay listed as unresolved"
            );
        }
    }

    fn may_complain(&self) -> bool {
        let mut last = self.last_complaint.lock();
        let now = Instant::now();
        let may = last.is_none_or(|at| now.duration_since(at) >= COMPLAIN_EVERY);
        if may {
            *last = Some(now);
        }
        may
    }
}

/// The thread's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    config: JournalConfig,
    appender: Appender,
    /// Ends of batches that failed.
    owed: Vec<Entry>,
    /// Whether what is open must be written again, because the file is a new one or was cut.
    carry_due: bool,
    failing: bool,
}

/// Lets nobody wait for a writer that is gone, however it went.
struct Leaving(Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, config: JournalConfig, appender: Appender) -> Self {
        Self {
            shared,
            config,
            appender,
            owed: Vec::new(),
            carry_due: false,
            failing: false,
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let leaving = Leaving(Arc::clone(&self.shared));
        loop {
            let in_arrears = !self.owed.is_empty() || self.carry_due;
            let at_most = if in_arrears { TRY_AGAIN } else { LOOK_EVERY };
            let Some(batch) = leaving.0.queue.take(at_most) else {
                break;
            };
            if batch.reopen {
                self.reopen();
            }
            self.write(batch.entries);
        }
        // The signal of a rotation may come too late for this process, and the next one reads the file at the path.
        self.reopen();
        self.write(Vec::new());
        if !self.owed.is_empty() {
            self.shared.lose(self.owed.len(), &JournalError::Stopped);
        }
    }

    fn write(&mut self, entries: Vec<Entry>) {
        if let Err(error) = self.look_at_others() {
            self.failed(entries, &error);
            return;
        }
        if entries.is_empty() && self.owed.is_empty() && !self.carry_due {
            return;
        }
        let mut lines = Vec::new();
        if self.carry_due {
            lines = self.shared.ledger.lock().carried_lines();
        }
        for entry in self.owed.iter().chain(&entries) {
            lines.extend_from_slice(&entry.line);
        }
        match self.appender.append(&lines) {
            Ok(()) => self.succeeded(entries),
            Err(error) => {
                let error = JournalError::Write {
                    path: self.config.file.clone(),
                    source: Arc::new(error),
                };
                self.failed(entries, &error);
            }
        }
    }

    fn succeeded(&mut self, entries: Vec<Entry>) {
        if self.failing {
            tracing::info!(journal = %self.config.file.display(), "the journal can be written again");
        }
        self.failing = false;
        self.carry_due = false;
        let written = self.owed.drain(..).chain(entries);
        let mut waiting = Vec::new();
        let mut ledger = self.shared.ledger.lock();
        for entry in written {
            ledger.apply(entry.record);
            waiting.extend(entry.waiting);
        }
        drop(ledger);
        for waiting in waiting {
            // Whoever no longer waits has queued an end that says so.
            let _told = waiting.send(Ok(()));
        }
    }

    fn failed(&mut self, entries: Vec<Entry>, error: &JournalError) {
        self.failing = true;
        let (begins, ends): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|e| e.waiting.is_some());
        let room = MAX_OWED.saturating_sub(self.owed.len());
        let lost = ends.len().saturating_sub(room);
        self.owed.extend(ends.into_iter().take(room));
        if lost > 0 {
            self.shared.lose(lost, error);
        } else if self.shared.may_complain() {
            tracing::warn!(
                refused = begins.len(),
                ends_waiting = self.owed.len(),
                "{error}"
            );
        }
        for waiting in begins.into_iter().filter_map(|begin| begin.waiting) {
            let _told = waiting.send(Err(error.clone()));
        }
    }

    /// Fails where the file is of no use any more and there is no other yet.
    fn look_at_others(&mut self) -> Result<(), JournalError> {
        let others = self.appender.read_others(&mut self.shared.ledger.lock());
        match others {
            Ok(Others::Added) => {}
            Ok(Others::Cut) => self.carry_due = true,
            Ok(Others::Deleted) => self.replace_deleted()?,
            // What people wrote is read at the next start; what the proxy writes does not depend on it.
            Err(error) => tracing::warn!("cannot read back the journal: {error}"),
        }
        Ok(())
    }

    /// Goes on in a new file: what is open is known to this process alone now.
    fn replace_deleted(&mut self) -> Result<(), JournalError> {
        let mut begun = self.begun_anew();
        if matches!(begun, Err(JournalError::Write { .. })) {
            // It may be what fills the disk.
            self.appender.give_up();
            begun = self.begun_anew();
        }
        self.go_on_in(begun?);
        tracing::warn!(
            journal = %self.config.file.display(),
            "the journal was deleted, so it goes on in a new file with what is unresolved, and the rest is lost; to rotate it, move it and send SIGHUP"
        );
        Ok(())
    }

    fn go_on_in(&mut self, opened: Appender) {
        self.appender = opened;
        self.carry_due = false;
    }

    /// Goes on in a new file where the path leads to another one or to none, as after a rotation.
    fn reopen(&mut self) {
        // The write that follows tells of a file that is of no use.
        if self.look_at_others().is_err() || !self.appender.was_moved() {
            return;
        }
        match self.begun_anew() {
            Ok(opened) => {
                self.go_on_in(opened);
                tracing::info!(journal = %self.config.file.display(), "the journal goes on in a new file");
            }
            // A rotation gone wrong is no reason to refuse payments: the file that was moved still takes records.
            Err(error) => {
                tracing::error!(
                    "{error}; the journal goes on in the file that was moved; mend that and send SIGHUP again"
                )
            }
        }
    }

    /// A file at the path that holds already what is open: until it does, the old one is the journal.
    fn begun_anew(&self) -> Result<Appender, JournalError> {
        let mut ledger = self.shared.ledger.lock();
        if let Some(begun) = Appender::begin_with(&self.config, &ledger.carried_lines())? {
            return Ok(begun);
        }
        // One that was there is read first, and a crash before the next line leaves it as it was.
        let mut opened = Appender::open(&self.config, &mut ledger)?;
        opened.append(&ledger.carried_lines()).map_err(|source| {
            // What could not be written was cut off again; an empty file would say that nothing is open.
            if fs::metadata(&self.config.file).is_ok_and(|found| found.len() == 0) {
                let _removed = fs::remove_file(&self.config.file);
            }
            JournalError::Write {
                path: self.config.file.clone(),
                source: Arc::new(source),
            }
        })?;
        Ok(opened)
    }
}
