//! What was received and what became of it, so that a test or a person can count.
//!
//! Bounded: the oldest entries go first, the count stays. It holds digests and lengths, never a body, a signature, a secret
//! or an authorized URL.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// The longest text that is taken over from a request.
const MAX_CHARS: usize = 256;

/// One request, from its first byte on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number, counted from 1 over all connections; clearing the ledger does not begin again.
    pub sequence: u64,
    /// The number of its connection, counted from 1.
    pub connection: u64,
    /// The method; `None` if the head was not read.
    pub method: Option<String>,
    /// The target as sent; of an authorized URL only its beginning.
    pub target: Option<String>,
    /// The name of the route that the path belongs to.
    pub route: Option<&'static str>,
    /// The value of `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The value in the body by which a repeat is recognised.
    pub identifying_value: Option<String>,
    /// Hexadecimal SHA-256 of the body; `None` if it was not read to its end.
    pub body_sha256: Option<String>,
    /// The body's length.
    pub body_bytes: Option<usize>,
    /// Bytes of the request that were read from the socket, head and body.
    pub bytes_received: u64,
    /// Whether the signature was accepted; `None` if it was not judged.
    pub verified: Option<bool>,
    /// What was wrong with the signature: codes, the most specific first.
    pub findings: Vec<&'static str>,
    /// The fault that was applied.
    pub fault: Option<&'static str>,
    /// Whether what was asked for was done.
    pub processed: bool,
    /// The HTTP status of the answer; `None` if none was begun.
    pub http_status: Option<u16>,
    /// The `status` in the answer's body.
    pub ingo_status: Option<u64>,
    /// Bytes of the answer that the kernel took, head and body.
    pub bytes_answered: u64,
    /// How it ended.
    pub ending: Ending,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It has not.
    #[default]
    InProgress,
    /// Its answer was written whole.
    Answered,
    /// Its connection was reset by a fault.
    Reset,
    /// The client went away, or was too slow.
    Abandoned,
}

impl Ending {
    /// The name in the ledger and in log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Answered => "answered",
            Self::Reset => "reset",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The entries that are held.
#[derive(Debug)]
pub(super) struct Ledger {
    capacity: usize,
    book: Mutex<Book>,
    /// Changes with every change of an entry.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Book {
    entries: VecDeque<Entry>,
    sequence: u64,
    /// The last sequence before the ledger was cleared.
    cleared_at: u64,
}

impl Ledger {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            book: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Opens an entry.
    pub(super) fn open(&self, connection: u64) -> Entry {
        let mut book = self.book.lock();
        book.sequence += 1;
        let entry = Entry {
            sequence: book.sequence,
            connection,
            ..Entry::default()
        };
        if book.entries.len() >= self.capacity {
            book.entries.pop_front();
        }
        book.entries.push_back(entry.clone());
        drop(book);
        self.changed();
        entry
    }

    /// Puts what is known now in place of the entry of the same number, if that is still held.
    pub(super) fn put(&self, entry: &Entry) {
        let mut book = self.book.lock();
        // Numbers are consecutive, so the place follows from the first.
        let first = book
            .entries
            .front()
            .map_or(u64::MAX, |first| first.sequence);
        let at = entry.sequence.checked_sub(first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(held) = at.and_then(|at| book.entries.get_mut(at)) {
            held.clone_from(entry);
        }
        drop(book);
        self.changed();
    }

    /// Every entry that is held.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.book.lock().entries.iter().cloned().collect()
    }

    /// Requests since the ledger was last cleared, held or not.
    pub(super) fn count(&self) -> u64 {
        let book = self.book.lock();
        book.sequence - book.cleared_at
    }

    /// Forgets every entry.
    pub(super) fn clear(&self) {
        let mut book = self.book.lock();
        book.entries.clear();
        book.cleared_at = book.sequence;
        drop(book);
        self.changed();
    }

    /// Waits until the entries are as `wanted`, and answers them.
    pub(super) async fn reached(&self, wanted: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let entries = self.entries();
            if wanted(&entries) || changes.changed().await.is_err() {
                return entries;
            }
        }
    }

    /// For `GET /ledger`.
    pub(super) fn view(&self) -> View {
        View {
            count: self.count(),
            entries: self.entries(),
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// The ledger as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct View {
    count: u64,
    entries: Vec<Entry>,
}

/// Text of a request, bounded and readable.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_and_the_count_stays() {
        let ledger = Ledger::new(3);
        for _ in 0..5 {
            ledger.open(1);
        }
        let sequences: Vec<_> = ledger
            .entries()
            .iter()
            .map(|entry| entry.sequence)
            .collect();
        assert_eq!(sequences, [3, 4, 5]);
        assert_eq!(ledger.count(), 5);
        let mut entry = ledger.entries()[1].clone();
        entry.bytes_received = 7;
        ledger.put(&entry);
        assert_eq!(ledger.entries()[1], entry);
        entry.sequence = 2;
        ledger.put(&entry);
        assert!(ledger.entries().iter().all(|entry| entry.sequence != 2));
    }

    #[test]
    fn clearing_forgets_entries_and_goes_on_counting_numbers() {
        let ledger = Ledger::new(3);
        let before = ledger.open(1);
        ledger.clear();
        assert_eq!((ledger.count(), ledger.entries().len()), (0, 0));
        ledger.put(&before);
        assert_eq!(ledger.entries(), []);
        let after = ledger.open(1);
        assert_eq!(after.sequence, before.sequence + 1);
        assert_eq!(ledger.count(), 1);
    }

    #[test]
    fn text_is_bounded() {
        assert_eq!(shown(&[b'x'; 9999]).len(), MAX_CHARS);
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
    }
}
