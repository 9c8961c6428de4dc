//! What is still open: the attempts that began and of which no record says how they ended.
//!
//! Invariant: an attempt leaves a ledger only by a record that resolves it, never by age, and in a ledger of files the order
//! of the files makes no difference. Memory grows with what is open, not with what was read.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read as _},
};

use uuid::Uuid;

use super::record::{Event, MAX_LINE_BYTES, Outcome, Record};

/// Exchanges that a running proxy remembers. One takes about half a kilobyte, so that this is some 32 MiB, reached after
/// hours in which Ingo answered nothing. What is beyond it stands in the file and is neither counted nor carried over.
const MAX_REMEMBERED: usize = 65_536;

/// A line is taken for ours up to this length: an end may be a little longer than the longest begin.
const MAX_READ_BYTES: u64 = 2 * MAX_LINE_BYTES as u64;

/// The exchanges that began and did not end, by what was read so far.
#[derive(Debug)]
pub struct Ledger {
    /// Of each exchange the records that nothing has resolved.
    open: HashMap<Uuid, Vec<Record>>,
    /// Ends whose begin may still come, from a file that is read later. Only in a ledger of files.
    ends: HashMap<Uuid, Vec<Record>>,
    of_process: bool,
}

/// An exchange that began and did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved<'l> {
    /// When its first open attempt began, RFC 3339.
    pub time: &'l str,
    /// What identifies it; any of its records says the same.
    pub record: &'l Record,
    /// Its open attempts in their order.
    pub attempts: Vec<OpenAttempt>,
}

/// An attempt that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    /// Counted from 1 within the exchange.
    pub number: u32,
    /// Whether the proxy saw it fail. Otherwise it runs still, or the proxy went down with it.
    pub unanswered: bool,
}

impl Ledger {
    /// A ledger for reading the files of one journal, in any order.
    pub fn of_files() -> Self {
        Self {
            open: HashMap::new(),
            ends: HashMap::new(),
            of_process: false,
        }
    }

    /// The ledger of a running proxy, where an end never comes before its begin, and memory is bounded.
    pub(super) fn of_process() -> Self {
        Self {
            of_process: true,
            ..Self::of_files()
        }
    }

    /// Reads a journal to its end and returns how many lines were skipped, because they are torn or no record of this
    /// version. The lines themselves are streamed.
    ///
    /// # Errors
    /// The reader's own.
    pub fn read(&mut self, journal: impl BufRead) -> io::Result<u64> {
        read_records(journal, |record| self.apply(record))
    }

    /// Takes note of one record.
    pub(super) fn apply(&mut self, record: Record) {
        let is_resolution =
            record.event == Event::End && record.outcome != Some(Outcome::Unanswered);
        if is_resolution {
            self.resolve(record);
        } else {
            // An end without an answer stays beside its begin: either of them alone says that the exchange is open.
            self.open(record);
        }
    }

    fn open(&mut self, record: Record) {
        let id = record.exchange_id;
        let resolved = self
            .ends
            .get(&id)
            .is_some_and(|ends| ends.iter().any(|end| end.resolves(record.attempt)));
        let full = self.of_process && self.open.len() >= MAX_REMEMBERED;
        if resolved || full && !self.open.contains_key(&id) {
            return;
        }
        let records = self.open.entry(id).or_default();
        let is_known = records
            .iter()
            .any(|r| r.attempt == record.attempt && r.event == record.event);
        if !is_known {
            records.push(record);
        }
    }

    fn resolve(&mut self, end: Record) {
        // An end whose begins were read here, and stand nowhere else, has done its work. Otherwise a begin stands in a file
        // that may be read later.
        let (mut met_its_begin, mut met_a_carried_one) = (false, false);
        if let Some(records) = self.open.get_mut(&end.exchange_id) {
            records.retain(|record| {
                let resolved = end.resolves(record.attempt);
                met_its_begin |= resolved && record.attempt == end.attempt;
                met_a_carried_one |= resolved && record.carried;
                !resolved
            });
            if records.is_empty() {
                self.open.remove(&end.exchange_id);
            }
        }
        let by_hand = end.outcome == Some(Outcome::Settled);
        let may_be_needed = !met_its_begin || met_a_carried_one || by_hand;
        if !self.of_process && may_be_needed {
            self.ends.entry(end.exchange_id).or_default().push(end);
        }
    }

    /// How many exchanges of the route with this name are open.
    pub(super) fn count(&self, route: &str) -> usize {
        let of_route = |records: &&Vec<Record>| records.iter().any(|r| r.route == route);
        self.open.values().filter(of_route).count()
    }

    /// Everything that is open as lines for the next file, oldest first.
    pub(super) fn carried_lines(&self) -> Vec<u8> {
        let mut records: Vec<_> = self.open.values().flatten().collect();
        records.sort_by(|a, b| a.time.cmp(&b.time));
        records
            .into_iter()
            .flat_map(|record| record.carried().line())
            .collect()
    }

    /// The exchanges that are open, oldest first.
    pub fn unresolved(&self) -> Vec<Unresolved<'_>> {
        let mut exchanges: Vec<_> = self
            .open
            .values()
            .filter_map(|records| Unresolved::of(records))
            .collect();
        exchanges.sort_by_key(|exchange| (exchange.time, exchange.record.exchange_id));
        exchanges
    }
}

impl<'l> Unresolved<'l> {
    fn of(records: &'l [Record]) -> Option<Self> {
        let first = records
            .iter()
            .min_by_key(|r| (r.time.as_str(), r.attempt))?;
        let mut numbers: Vec<_> = records.iter().map(|r| r.attempt).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let attempts = numbers.into_iter().map(|number| OpenAttempt {
            number,
            unanswered: records
                .iter()
                .any(|r| r.attempt == number && r.event == Event::End),
        });
        Some(Self {
            time: &first.time,
            record: first,
            attempts: attempts.collect(),
        })
    }
}

/// Hands on each record of a journal, and returns how many lines were skipped.
pub(super) fn read_records(
    mut journal: impl BufRead,
    mut take: impl FnMut(Record),
) -> io::Result<u64> {
    let mut line = Vec::new();
    let mut skipped = 0;
    loop {
        line.clear();
        if journal
            .by_ref()
            .take(MAX_READ_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(skipped);
        }
        let whole = line.ends_with(b"\n") || (line.len() as u64) < MAX_READ_BYTES;
        if !whole {
            skip_line(&mut journal)?;
            skipped += 1;
        } else if let Some(record) = Record::parse(&line) {
            take(record);
        } else if !line.trim_ascii().is_empty() {
            skipped += 1;
        }
    }
}

/// Passes over what is left of a line.
fn skip_line(journal: &mut impl BufRead) -> io::Result<()> {
    let mut rest = Vec::new();
    loop {
        rest.clear();
        let read = journal
            .by_ref()
            .take(MAX_READ_BYTES)
            .read_until(b'\n', &mut rest)?;
        if read == 0 || rest.ends_with(b"\n") {
            return Ok(());
        }
    }
}
