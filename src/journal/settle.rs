//! The line by which a person settles an exchange, written for them.
//!
//! Invariant: nothing is written unless every exchange that is named is unresolved in this file, and [`settle`] succeeds only
//! once its lines are on the disk and were read again by the file's path. It must never create, lock or cut the file: a
//! proxy may be writing to it meanwhile.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{Event, Ledger, Outcome, Record, ledger::read_records};
use crate::moment::rfc3339;

/// The longest deadline that a route can be given: what began longer ago is not in flight any more.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(600);

/// Why nothing was settled, or nothing that is known to have lasted.
#[derive(Debug)]
pub enum NotSettled {
    /// The file has no record of it.
    Unknown {
        /// Which file.
        path: PathBuf,
        /// Which exchange.
        exchange: Uuid,
    },
    /// Nothing is open about it: this record says so.
    Ended(Box<Record>),
    /// It began so lately that it may still get its answer.
    MayBeInFlight {
        /// Which exchange.
        exchange: Uuid,
        /// When, RFC 3339.
        began: String,
    },
    /// There is something at the path that is no regular file.
    NotAFile(PathBuf),
    /// The file could not be opened, read or written.
    System {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was written and is not at the path: the file was moved or cut meanwhile.
    Gone(PathBuf),
}

/// Writes into the journal at `path` that these exchanges are settled, all of them or none, and answers what they were.
///
/// # Errors
/// [`NotSettled`].
pub fn settle(path: &Path, exchanges: &[Uuid], now: SystemTime) -> Result<Vec<Record>, NotSettled> {
    let failed = |source| NotSettled::System {
        path: path.to_owned(),
        source,
    };
    // Before it is opened: opening a FIFO may wait for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(NotSettled::NotAFile(path.to_owned()));
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(path)
        .map_err(failed)?;
    let found = Found::in_file(&file).map_err(failed)?;
    let mut settled = Vec::<Record>::new();
    for exchange in exchanges {
        if !settled.iter().any(|s| s.exchange_id == *exchange) {
            settled.push(found.settled(path, *exchange, now)?);
        }
    }
    let mut lines = Vec::new();
    if is_torn(&file).map_err(failed)? {
        // A crash tore the last line, or it is being written: ours must not be glued to it.
        lines.push(b'\n');
    }
    lines.extend(settled.iter().flat_map(Record::line));
    // At once, so that no line of the proxy comes between.
    (&file).write_all(&lines).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    let opened = File::open(path).map_err(|_| NotSettled::Gone(path.to_owned()))?;
    let found = Found::in_file(&opened).map_err(failed)?;
    let has_lasted = |s: &Record| {
        let end = found.ends.get(&s.exchange_id);
        end.is_some_and(|end| end.outcome == Some(Outcome::Settled))
    };
    if settled.iter().all(has_lasted) {
        Ok(settled)
    } else {
        Err(NotSettled::Gone(path.to_owned()))
    }
}

/// What a journal says.
struct Found {
    ledger: Ledger,
    /// Of each exchange the last record that resolves something.
    ends: HashMap<Uuid, Record>,
}

impl Found {
    fn in_file(mut file: &File) -> io::Result<Self> {
        let mut found = Self {
            ledger: Ledger::of_files(),
            ends: HashMap::new(),
        };
        file.seek(SeekFrom::Start(0))?;
        read_records(BufReader::new(file), |record| {
            if record.event == Event::End && record.outcome != Some(Outcome::Unanswered) {
                found.ends.insert(record.exchange_id, record.clone());
            }
            found.ledger.apply(record);
        })?;
        Ok(found)
    }

    /// The record that settles `exchange`.
    fn settled(&self, path: &Path, exchange: Uuid, now: SystemTime) -> Result<Record, NotSettled> {
        let unresolved = self.ledger.unresolved();
        let open = unresolved
            .iter()
            .find(|open| open.record.exchange_id == exchange);
        let Some(open) = open else {
            return Err(match self.ends.get(&exchange) {
                Some(end) => NotSettled::Ended(Box::new(end.clone())),
                None => NotSettled::Unknown {
                    path: path.to_owned(),
                    exchange,
                },
            });
        };
        // A time still to come is of a clock that was put back since, and says nothing.
        let lately = rfc3339(now - LONGEST_EXCHANGE)..=rfc3339(now);
        let runs = open.attempts.iter().any(|attempt| !attempt.unanswered);
        if runs && lately.contains(&open.time.to_owned()) {
            return Err(NotSettled::MayBeInFlight {
                exchange,
                began: open.time.to_owned(),
            });
        }
        Ok(open.record.settled(now))
    }
}

fn is_torn(mut file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl fmt::Display for NotSettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { path, exchange } => write!(
                f,
                "nothing was settled: the journal {} has no exchange {exchange}; name one that it lists, and the file that its proxy writes to now",
                path.display()
            ),
            Self::Ended(end) => {
                let how = match end.outcome {
                    Some(Outcome::Settled) => "was settled",
                    Some(Outcome::Unsent) => "was not sent",
                    _ => "was answered",
                };
                let (exchange, at) = (end.exchange_id, &end.time);
                write!(
                    f,
                    "nothing was settled: exchange {exchange} is not unresolved, it {how} at {at}"
                )
            }
            Self::MayBeInFlight { exchange, began } => write!(
                f,
                "nothing was settled: exchange {exchange} began at {began} and may still be in flight; ask Ingo, and settle it 10 minutes after it began"
            ),
            Self::NotAFile(path) => write!(
                f,
                "nothing was settled: the journal {} is no regular file; name the file that the proxy writes to",
                path.display()
            ),
            Self::System { path, source } => write!(
                f,
                "cannot settle in the journal {}: {source}; list what is unresolved before you try again",
                path.display()
            ),
            Self::Gone(path) => write!(
                f,
                "the journal {} was moved or cut meanwhile; list what is unresolved, and settle again what still is",
                path.display()
            ),
        }
    }
}

impl Error for NotSettled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
