//! `unresolved`: lists the exchanges that a journal began and never ended, or settles them.
//!
//! Reads files, also those that a running proxy writes to, and changes one only by `--settle`. What stands in them came from
//! request bodies, so that nothing of it reaches a terminal as a control character.

use std::{
    fmt::Write as _,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Serialize;
use uuid::Uuid;

use super::{Exit, complain, print};
use crate::{
    ingo::{Class, Route},
    journal::{Ledger, NotSettled, OpenAttempt, Unresolved, settle},
};

/// Lists the money exchanges that a journal began and never ended
#[derive(Debug, clap::Args)]
pub(crate) struct UnresolvedArgs {
    /// A journal, or one file of a rotated one: name each of them, in any order
    #[arg(long, value_name = "F", required = true)]
    journal: Vec<PathBuf>,
    /// One JSON object a line instead of a table
    #[arg(long, conflicts_with = "settle")]
    json: bool,
    /// Write down that this exchange is settled, once a person has found out what became of it; may be repeated. With one
    /// --journal, the file that the proxy writes to now
    #[arg(long, value_name = "EXCHANGE_ID")]
    settle: Vec<Uuid>,
}

pub(super) fn run(args: &UnresolvedArgs) -> Exit {
    if args.settle.is_empty() {
        return list(args);
    }
    let [file] = args.journal.as_slice() else {
        complain(
            &"--settle writes to one file; name one --journal, the file that the proxy writes to now",
        );
        return Exit::Usage;
    };
    settle_in(file, &args.settle)
}

fn settle_in(file: &Path, exchanges: &[Uuid]) -> Exit {
    let settled = match settle(file, exchanges, SystemTime::now()) {
        Ok(settled) => settled,
        Err(error) => {
            complain(&visible(&error.to_string()));
            return match error {
                NotSettled::Unknown { .. }
                | NotSettled::Ended(_)
                | NotSettled::MayBeInFlight { .. } => Exit::NotWell,
                NotSettled::NotAFile(_) | NotSettled::System { .. } | NotSettled::Gone(_) => {
                    Exit::System
                }
            };
        }
    };
    let lines = settled.iter().map(|record| {
        let identifier = or_dash(visible(&record.identifier.join(", ")));
        let (exchange, route) = (record.exchange_id, visible(&record.route));
        format!("settled: {exchange} {route} {identifier}\n")
    });
    print(&lines.collect::<String>(), Exit::Well)
}

fn list(args: &UnresolvedArgs) -> Exit {
    let mut ledger = Ledger::of_files();
    for file in &args.journal {
        let read = File::open(file).and_then(|opened| ledger.read(BufReader::new(opened)));
        let name = file.display();
        match read {
            Ok(0) => {}
            Ok(skipped) => complain(&format_args!(
                "skipped in {name}, torn or no record of a journal: {skipped} of its lines"
            )),
            // What is listed without this file could be wrong in both directions.
            Err(error) => {
                complain(&format_args!("cannot read the journal {name}: {error}"));
                return Exit::System;
            }
        }
    }
    let unresolved = ledger.unresolved();
    let text = if args.json {
        json(&unresolved)
    } else {
        table(&unresolved)
    };
    let exit = if unresolved.is_empty() {
        Exit::Well
    } else {
        Exit::NotWell
    };
    print(&text, exit)
}

/// What Ingo's documents say about a call without an answer (protocol.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Assume {
    Success,
    Failure,
    /// It does not move money, or this release does not know the route.
    Nothing,
}

impl Assume {
    fn on(route: &str) -> Self {
        match Route::from_name(route).map(Route::class) {
            Some(Class::PushMoney) => Self::Success,
            Some(Class::PullMoney) => Self::Failure,
            _ => Self::Nothing,
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Success => "assume SUCCESS until Ingo says otherwise (protocol.md §4)",
            Self::Failure => "assume FAILURE until Ingo says otherwise (protocol.md §4)",
            Self::Nothing => "ask Ingo (protocol.md §4)",
        }
    }
}

fn state(attempt: OpenAttempt) -> &'static str {
    if attempt.unanswered {
        "unanswered"
    } else {
        "begun"
    }
}

#[derive(Serialize)]
struct Line<'u> {
    time: &'u str,
    exchange_id: String,
    tenant: &'u str,
    route: &'u str,
    identifier: &'u [String],
    idempotency_key: Option<&'u str>,
    attempts: Vec<AttemptLine>,
    assume: Assume,
    advice: &'static str,
}

#[derive(Serialize)]
struct AttemptLine {
    attempt: u32,
    state: &'static str,
}

fn json(unresolved: &[Unresolved<'_>]) -> String {
    let mut text = String::new();
    for exchange in unresolved {
        let record = exchange.record;
        let attempts = exchange.attempts.iter().map(|a| AttemptLine {
            attempt: a.number,
            state: state(*a),
        });
        let assume = Assume::on(&record.route);
        let line = Line {
            time: exchange.time,
            exchange_id: record.exchange_id.as_hyphenated().to_string(),
            tenant: &record.tenant,
            route: &record.route,
            identifier: &record.identifier,
            idempotency_key: record.idempotency_key.as_deref(),
            attempts: attempts.collect(),
            assume,
            advice: assume.advice(),
        };
        let line = serde_json::to_string(&line).expect("names are strings and values are text");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn table(unresolved: &[Unresolved<'_>]) -> String {
    let rows: Vec<_> = unresolved.iter().map(row).collect();
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let header = [
        "TIME",
        "EXCHANGE",
        "ROUTE",
        "IDENTIFIER",
        "IDEMPOTENCY KEY",
        "ATTEMPTS",
        "WHAT TO DO",
    ]
    .map(str::to_owned);
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let lengths = rows
            .iter()
            .chain([&header])
            .map(|r| r[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    for row in [&header].into_iter().chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _written = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(exchange: &Unresolved<'_>) -> [String; 7] {
    let record = exchange.record;
    let attempts = exchange
        .attempts
        .iter()
        .map(|a| format!("{} {}", a.number, state(*a)));
    [
        visible(exchange.time),
        record.exchange_id.as_hyphenated().to_string(),
        visible(&record.route),
        or_dash(visible(&record.identifier.join(", "))),
        or_dash(visible(record.idempotency_key.as_deref().unwrap_or(""))),
        attempts.collect::<Vec<_>>().join(", "),
        Assume::on(&record.route).advice().to_owned(),
    ]
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Text that a terminal shows and does not obey: control characters, and those that turn the direction of writing, become
/// escapes.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(lines: &[&str]) -> Ledger {
        let mut ledger = Ledger::of_files();
        let skipped = ledger.read(lines.join("\n").as_bytes());
        assert_eq!(skipped.expect("memory is readable"), 0);
        ledger
    }

    const PUSH: &str = r#"{"v":1,"event":"begin","time":"2026-01-02T03:04:05.006Z","exchange_id":"00000000-0000-0000-0000-000000000001","tenant":"default","route":"process","attempt":1,"idempotency_key":"k-1","identifier":["p-1"]}"#;
    const PULL: &str = r#"{"v":1,"event":"begin","time":"2026-01-02T03:04:06.006Z","exchange_id":"00000000-0000-0000-0000-000000000002","tenant":"default","route":"debit","attempt":1,"identifier":["a","b\u001b[2J\u202e"]}"#;
    const PULL_END: &str = r#"{"v":1,"event":"end","time":"2026-01-02T03:04:07.006Z","exchange_id":"00000000-0000-0000-0000-000000000002","tenant":"default","route":"debit","attempt":1,"outcome":"unanswered"}"#;

    #[test]
    fn the_table_says_what_to_do_and_lets_no_control_character_through() {
        let ledger = ledger(&[PULL, PUSH, PULL_END]);
        assert_eq!(
            table(&ledger.unresolved()),
            "TIME                      EXCHANGE                              ROUTE    IDENTIFIER             IDEMPOTENCY KEY  ATTEMPTS      WHAT TO DO\n\
             2026-01-02T03:04:05.006Z  00000000-0000-0000-0000-000000000001  process  p-1                    k-1              1 begun       assume SUCCESS until Ingo says otherwise (protocol.md §4)\n\
             2026-01-02T03:04:06.006Z  00000000-0000-0000-0000-000000000002  debit    a, b\\u{1b}[2J\\u{202e}  -                1 unanswered  assume FAILURE until Ingo says otherwise (protocol.md §4)\n"
        );
    }

    #[test]
    fn as_json_each_exchange_is_one_line() {
        let ledger = ledger(&[PUSH]);
        assert_eq!(
            json(&ledger.unresolved()),
            "{\"time\":\"2026-01-02T03:04:05.006Z\",\"exchange_id\":\"00000000-0000-0000-0000-000000000001\",\
             \"tenant\":\"default\",\"route\":\"process\",\"identifier\":[\"p-1\"],\"idempotency_key\":\"k-1\",\
             \"attempts\":[{\"attempt\":1,\"state\":\"begun\"}],\"assume\":\"success\",\
             \"advice\":\"assume SUCCESS until Ingo says otherwise (protocol.md §4)\"}\n"
        );
    }

    #[test]
    fn where_there_is_nothing_nothing_is_printed() {
        assert_eq!(table(&[]), "");
        assert_eq!(json(&[]), "");
    }

    #[test]
    fn on_a_route_that_moves_no_money_nothing_is_assumed() {
        assert_eq!(Assume::on("verify"), Assume::Nothing);
        assert_eq!(Assume::on("of a later release"), Assume::Nothing);
    }
}
