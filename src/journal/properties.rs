//! What is listed, whatever the order of records, the place of a crash and the rotations.

use std::{collections::BTreeSet, time::UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::{Attempt, Ended, Event, Ledger, Outcome, Record};
use crate::ingo::Route;

const EXCHANGES: u128 = 4;

/// What happens next: to which exchange, and how its running attempt ends if one runs.
#[derive(Clone, Debug)]
enum Step {
    Record(u128, Ended),
    Rotate,
}

fn ended() -> impl Strategy<Value = Ended> {
    let answered = |http_status, ingo_status: &str| Ended::Answered {
        http_status,
        ingo_status: Some(ingo_status.to_owned()),
        transaction_id: None,
    };
    prop::sample::select(vec![
        Ended::Unanswered,
        Ended::Unsent,
        answered(200, "100"),
        answered(200, "104"),
        answered(429, "none"),
    ])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record =
        (0..EXCHANGES, ended()).prop_map(|(exchange, ended)| Step::Record(exchange, ended));
    prop::collection::vec(prop_oneof![9 => record, 1 => Just(Step::Rotate)], 0..60)
}

/// Records as exchanges make them: attempts one after the other, a begin before its end.
#[derive(Default)]
struct Exchanges {
    attempts: [u32; EXCHANGES as usize],
    running: [bool; EXCHANGES as usize],
}

impl Exchanges {
    fn next(&mut self, exchange: u128, ended: &Ended) -> Record {
        let at = exchange as usize;
        self.running[at] = !self.running[at];
        self.attempts[at] += u32::from(self.running[at]);
        let attempt = Attempt {
            exchange_id: Uuid::from_u128(exchange),
            tenant: "default".to_owned(),
            route: Route::Debit,
            number: self.attempts[at],
            idempotency_key: None,
            identifier: vec!["p".to_owned()],
        };
        if self.running[at] {
            Record::begin(&attempt, UNIX_EPOCH)
        } else {
            Record::end(&attempt, ended.clone(), UNIX_EPOCH)
        }
    }
}

/// The definition: an exchange is unresolved if one of its attempts may have acted and no record says what became of it.
fn unresolved(records: &[Record]) -> BTreeSet<Uuid> {
    let opens = |r: &&Record| r.event == Event::Begin || r.outcome == Some(Outcome::Unanswered);
    let open = records.iter().filter(opens).filter(|r| {
        !records
            .iter()
            .any(|end| end.exchange_id == r.exchange_id && end.resolves(r.attempt))
    });
    open.map(|r| r.exchange_id).collect()
}

fn listed<'f>(files: impl IntoIterator<Item = &'f [u8]>) -> BTreeSet<Uuid> {
    let mut ledger = Ledger::of_files();
    for file in files {
        ledger.read(file).expect("memory is readable");
    }
    let unresolved = ledger.unresolved();
    unresolved.iter().map(|u| u.record.exchange_id).collect()
}

proptest! {
    #[test]
    fn after_a_crash_at_any_byte_exactly_what_the_whole_lines_leave_open_is_listed(
        steps in steps(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut exchanges, mut file, mut ends) = (Exchanges::default(), Vec::new(), Vec::new());
        let mut records = Vec::new();
        for step in &steps {
            if let Step::Record(exchange, ended) = step {
                let record = exchanges.next(*exchange, ended);
                file.extend(record.line());
                ends.push(file.len());
                records.push(record);
            }
        }
        let cut = cut.index(file.len() + 1);
        // A line that lacks nothing but its newline is whole.
        let whole = ends.iter().filter(|end| **end <= cut + 1).count();
        prop_assert_eq!(listed([&file[..cut]]), unresolved(&records[..whole]));
    }

    #[test]
    fn rotation_loses_nothing_adds_nothing_and_leaves_the_newest_file_complete(steps in steps()) {
        let (mut exchanges, mut process) = (Exchanges::default(), Ledger::of_process());
        let (mut files, mut records) = (vec![Vec::new()], Vec::new());
        for step in &steps {
            match step {
                Step::Rotate => files.push(process.carried_lines()),
                Step::Record(exchange, ended) => {
                    let record = exchanges.next(*exchange, ended);
                    files.last_mut().expect("never empty").extend(record.line());
                    process.apply(record.clone());
                    records.push(record);
                }
            }
        }
        let expected = unresolved(&records);
        let oldest_first = files.iter().map(Vec::as_slice);
        prop_assert_eq!(&listed(oldest_first.clone()), &expected, "oldest first");
        prop_assert_eq!(&listed(oldest_first.rev()), &expected, "newest first");
        prop_assert_eq!(&listed(files.last().map(Vec::as_slice)), &expected, "the newest alone");
        prop_assert_eq!(process.count("debit"), expected.len(), "the process");
    }

    #[test]
    fn foreign_lines_are_skipped_and_hide_no_other(
        steps in steps(),
        foreign in prop::collection::vec(any::<u8>().prop_filter("one line", |b| *b != b'\n'), 1..40),
    ) {
        prop_assume!(!foreign.trim_ascii().is_empty());
        let (mut exchanges, mut file, mut records) = (Exchanges::default(), Vec::new(), Vec::new());
        for step in &steps {
            if let Step::Record(exchange, ended) = step {
                let record = exchanges.next(*exchange, ended);
                file.extend([&foreign, b"\n".as_slice(), &record.line()].concat());
                records.push(record);
            }
        }
        let mut ledger = Ledger::of_files();
        let skipped = ledger.read(file.as_slice()).expect("memory is readable");
        prop_assert_eq!(skipped, records.len() as u64);
        prop_assert_eq!(listed([file.as_slice()]), unresolved(&records));
    }
}

#[test]
fn a_line_of_any_length_is_skipped_and_not_held_in_memory() {
    let record = Exchanges::default().next(0, &Ended::Unsent);
    for newline in ["", "\n"] {
        let mut file = vec![b'x'; 1 << 20];
        file.extend(newline.bytes());
        let mut ledger = Ledger::of_files();
        assert_eq!(ledger.read(file.as_slice()).expect("readable"), 1);
        file.extend(b"\n");
        file.extend(record.line());
        let mut ledger = Ledger::of_files();
        ledger.read(file.as_slice()).expect("readable");
        assert_eq!(ledger.unresolved().len(), 1);
    }
}
