//! docs/failures.md is the table, written for people. A test holds the two together.

use std::{fmt::Write as _, fs, path::Path};

use crate::table::{Arrives, Attempts, Cell, Fault, Gets, Kind, ROWS};

/// Set to write the file anew.
const WRITE: &str = "WRITE_FAILURES_MD";

const BEFORE: &str = "\
# What happens when something fails

This page is generated from `tests/faults/table.rs`, from which the tests are made, too: each cell is run with the real
binary, and what the upstream received is checked to the byte. Change the table, not this page.

A row is a fault that meets **every** attempt of an exchange. A cell says how many attempts are made, what the upstream
has read of each, and what the caller gets in the end. *All* attempts are as many as `routes.<route>.attempts` allows (3 by
default), as long as the exchange's deadline and the budget of repeats (`repeats`) last.

Where a cell says *all attempts* and the fault meets the first one only, the second brings Ingo's answer, and the caller
notices nothing but `attempts=2` in `Proxy-Status`.

Each attempt is signed afresh with the date of its first byte, and has the same `Idempotency-Key` and the same bytes.
`sent: no` is said only where no byte of any attempt was written. On money routes, `unresolved` lists exactly the exchanges
that end in `sent: maybe`.

";

const AFTER: &str = "
Every answer of Ingo's is passed on as it came, whatever its status: a 429, 502, 503 or 504 in the table is Ingo's own, with
its body and its `Retry-After`. Whoever needs to know whether a call acted must not go by the HTTP status, and for a
`sent: maybe` on a money route the `detail` says what Ingo's documents say to assume: of a `process` success, of a `debit`
failure.

Waits before a repeat: `repeats.backoff_base` doubling up to `repeats.backoff_cap`, each a random share of it; at least what
`Retry-After` asks for; at least 0.5 s after a status 104; at least 4 s on a money route once a byte was written. A repeat
that could not begin before the deadline is not made, and the caller gets what there is.

On money routes a pooled connection is used again within 5 s or not at all. Should Ingo close one in the moment in which a
request goes out on it, the two cross: Ingo has got nothing, but nobody here can know, so that call ends as a reset does,
502 `upstream_reset`, `sent: maybe`.

On money routes an attempt is not given less than the 60 s for which Ingo may hold a call: what has waited here until less is
left (in a queue, for the rate limit, for a disk) is refused and not sent; with a deadline below 70 s it has 10 s to be sent. So their cells of \"no answer comes in time\" are those
of a deadline that the caller shortened with `Ingo-Proxy-Timeout`: it ends attempt and exchange together. With the defaults 15 s
are left after an attempt's 75 s, so that no second is made with `danger_repeat_after_write` either; a longer `deadline` allows one.
";

fn document() -> String {
    let mut text = BEFORE.to_owned();
    text.push_str("| the fault | `create_session`, `verify` | `process`, `debit` | `process` with `danger_repeat_after_write` |\n");
    text.push_str("|---|---|---|---|\n");
    for (_, row) in ROWS {
        write!(text, "| {} |", row.what).unwrap();
        for kind in [Kind::Recognised, Kind::Money, Kind::Danger] {
            write!(text, " {} |", cell(row.fault, row.cell(kind))).unwrap();
        }
        text.push('\n');
    }
    text.push_str(AFTER);
    text
}

fn cell(fault: Fault, cell: Cell) -> String {
    let attempts = match cell.attempts {
        Attempts::One => "one attempt",
        Attempts::All if fault.recurs() => "all attempts",
        Attempts::All => "a second attempt on a new connection",
    };
    let each = match cell.attempts {
        Attempts::All if fault.recurs() => "each ",
        _ => "",
    };
    let arrives = match (
        cell.arrives,
        fault.recurs() || cell.attempts == Attempts::One,
    ) {
        (_, false) => "the first unread".to_owned(),
        (Arrives::Nothing, _) => "nothing written".to_owned(),
        (Arrives::Unread, _) => format!("{each}unread"),
        (Arrives::Head, _) => format!("{each}read to the end of its head"),
        (Arrives::Whole, _) => format!("{each}read whole"),
    };
    let gets = match cell.answer {
        _ if !fault.recurs() && cell.attempts == Attempts::All => "Ingo's answer".to_owned(),
        Gets::Problem(status, code, sent) => format!("{status} `{code}`, `sent: {sent}`"),
        Gets::IngosLast => "Ingo's last answer".to_owned(),
        Gets::Success => "Ingo's answer".to_owned(),
    };
    format!("{attempts}, {arrives}; {gets}")
}

#[test]
fn docs_failures_md_is_the_table_that_the_tests_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    let document = document();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &document).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == document,
        "docs/failures.md is not what tests/faults/table.rs says; write it anew: {WRITE}=1 cargo test --test faults docs_failures"
    );
}
