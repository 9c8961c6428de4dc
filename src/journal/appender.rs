//! The file: opened, appended to, and put right after a write that failed halfway.
//!
//! Invariant: whatever [`Appender::append`] accepted is followed by a newline and stays; of whatever it refused nothing is
//! left, or at most lines that no attempt followed. Nothing here knows what a line means, beyond reading it into a ledger.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{JournalError, Ledger};
use crate::config::JournalConfig;

/// The identifying values are no secrets, and nobody else's business.
const MODE: u32 = 0o600;

/// A journal's file, open for appending.
#[derive(Debug)]
pub(super) struct Appender {
    config: JournalConfig,
    file: File,
    /// The length up to which the lines are ours or were read.
    known: u64,
    /// Whether the last line has no newline, so that the next line must bring one.
    torn: bool,
}

/// What others did to the file since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing, or they added lines, which were read.
    Added,
    /// They cut it, as logrotate's `copytruncate` does: what was open is no longer in it.
    Cut,
    /// They deleted it: nobody will find what is written to it. One that was moved is not meant, it has a name still.
    Deleted,
}

impl Appender {
    /// Opens the file, or creates it, and reads what it holds into `ledger`.
    pub(super) fn open(config: &JournalConfig, ledger: &mut Ledger) -> Result<Self, JournalError> {
        let path = config.file.as_path();
        let failed = |error| JournalError::open(path, error);
        // Before it is opened: opening a FIFO may wait for ever, opening a device may do anything.
        if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
            return Err(JournalError::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .open(path)
            .map_err(failed)?;
        // A write that failed is undone by cutting the file; that must not cut another process's lines.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse {
                path: path.to_owned(),
            },
            TryLockError::Error(error) => failed(error),
        })?;
        // Of a crash in [`Self::begin_with`]. Where it is this file's second name, a deletion would go unnoticed.
        let was_left = fs::remove_file(unfinished(path)).is_ok();
        if was_left && file.metadata().is_ok_and(|found| found.len() == 0) {
            tracing::warn!(
                journal = %path.display(),
                "a crash cut a rotation of the journal short, and this file is empty: what was unresolved stands in the one that was moved; stop the proxy and move that back, or list it beside this one with the command unresolved"
            );
        }
        if config.fsync {
            // What makes a new file survive a power cut is its name in the directory.
            sync_directory(path).map_err(failed)?;
        }
        let mut opened = Self {
            config: config.clone(),
            file,
            known: 0,
            torn: false,
        };
        opened.read_others(ledger).map_err(failed)?;
        if opened.torn {
            // A crash tore the last line. On a full disk this fails, and the next line will bring the newline.
            let _completed = opened.append(b"");
        }
        Ok(opened)
    }

    /// A new file that has its name only once `lines` are in it, and on the disk where that is configured: a crash leaves none at the
    /// path, or a whole one. `None` where it cannot be had so: something is at the path, whose lock is to be asked for, or
    /// the file system gives a file no second name.
    pub(super) fn begin_with(
        config: &JournalConfig,
        lines: &[u8],
    ) -> Result<Option<Self>, JournalError> {
        let path = config.file.as_path();
        let unfinished = unfinished(path);
        let failed = |error| JournalError::open(&unfinished, error);
        // Never opened: it may be a second name of the file that was moved.
        let _removed_or_none = fs::remove_file(&unfinished);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(MODE)
            .open(&unfinished)
            .map_err(failed)?;
        let mut begun = Self {
            config: config.clone(),
            file,
            known: 0,
            torn: false,
        };
        // Nobody else knows of it yet.
        let written = (begun.file.try_lock().map_err(io::Error::from))
            .and_then(|()| begun.append(lines))
            .map_err(|source| JournalError::Write {
                path: path.to_owned(),
                source: Arc::new(source),
            });
        // Unlike a rename, this replaces nothing that another process has put there meanwhile.
        let named = written.map(|()| fs::hard_link(&unfinished, path).is_ok());
        let _removed = fs::remove_file(&unfinished);
        if !named? {
            return Ok(None);
        }
        if config.fsync {
            sync_directory(path).map_err(|error| {
                let _removed = fs::remove_file(path);
                JournalError::open(path, error)
            })?;
        }
        Ok(Some(begun))
    }

    /// Whether the path leads to another file by now, or to none.
    pub(super) fn was_moved(&self) -> bool {
        let identity = |m: fs::Metadata| (m.dev(), m.ino());
        let here = self.file.metadata().map(identity).ok();
        here != fs::metadata(&self.config.file).map(identity).ok()
    }

    /// Reads the lines that people have added, which settle exchanges, and sees whether the file was cut or deleted.
    pub(super) fn read_others(&mut self, ledger: &mut Ledger) -> io::Result<Others> {
        let found = self.file.metadata()?;
        let cut = found.len() < self.known;
        if found.len() > self.known {
            self.read_added(found.len(), ledger)?;
        }
        self.known = found.len();
        // Some file systems count no links at all: there the path still leads to the file.
        Ok(if found.nlink() == 0 && self.was_moved() {
            Others::Deleted
        } else if cut {
            Others::Cut
        } else {
            Others::Added
        })
    }

    fn read_added(&mut self, length: u64, ledger: &mut Ledger) -> io::Result<()> {
        // Writes are not affected by where reading left off: the file is open for appending.
        (&self.file).seek(SeekFrom::Start(self.known))?;
        ledger.read(BufReader::new((&self.file).take(length - self.known)))?;
        (&self.file).seek(SeekFrom::Start(length - 1))?;
        let mut last = [0];
        (&self.file).read_exact(&mut last)?;
        self.torn = last != *b"\n";
        Ok(())
    }

    /// Gives the file's space back, and what is in it up. For one that was deleted: its space is taken for as long as it is
    /// open here, and after this process nobody could read it any more.
    pub(super) fn give_up(&self) {
        // Where that fails, its space stays taken, and the next write says that there is none.
        let _given_up = self.file.set_len(0);
    }

    /// Appends whole lines: all of them, on the disk where that is configured, or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let result = self.write(lines);
        let written = match result {
            Ok(written) => {
                self.torn = false;
                written
            }
            Err(_) => {
                self.undo(before);
                0
            }
        };
        let now = self.file.metadata().map_or(before, |m| m.len());
        // What a person added since the last look stands before or after these lines, and is still to be read. Ours are then
        // read with it, which tells the ledger nothing new.
        let ours_alone = before == self.known && (result.is_err() || now == before + written);
        self.known = if ours_alone { now } else { self.known.min(now) };
        result.map(|_written| ())
    }

    /// Answers how many bytes it took.
    fn write(&self, lines: &[u8]) -> io::Result<u64> {
        let completed;
        let lines = if self.torn {
            completed = [b"\n", lines].concat();
            &completed
        } else {
            lines
        };
        (&self.file).write_all(lines)?;
        if self.config.fsync {
            // After a failure the kernel may call the pages clean that it could not write, so that asking again would
            // succeed and mean nothing. Therefore these lines are given up, and later ones are written anew.
            self.file.sync_data()?;
        }
        Ok(lines.len() as u64)
    }

    fn undo(&mut self, before: u64) {
        // Where the file cannot be cut either, whole lines of attempts that were refused stay. They are listed as
        // unresolved: one too many rather than one too few.
        let undone = match self.file.metadata() {
            Ok(now) if now.len() > before => self.file.set_len(before),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.torn |= undone.is_err();
    }
}

/// What a journal at `path` is called until what is carried over is in it.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &Path) -> Result<Appender, JournalError> {
        let config = JournalConfig {
            file: file.to_owned(),
            fsync: true,
        };
        Appender::open(&config, &mut Ledger::of_process())
    }

    #[test]
    fn a_new_file_is_readable_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        open(&file).expect("created");
        let mode = fs::metadata(&file).expect("there").mode();
        assert_eq!(mode & 0o7777, MODE);
    }

    #[test]
    fn a_torn_last_line_gets_its_newline_and_a_whole_one_gets_none() {
        let folder = tempfile::tempdir().expect("a directory");
        for (before, after) in [
            ("", "x\n"),
            ("whole\n", "whole\nx\n"),
            ("torn", "torn\nx\n"),
            ("whole\nto", "whole\nto\nx\n"),
        ] {
            let file = folder.path().join("journal");
            fs::write(&file, before).expect("written");
            open(&file).expect("opened").append(b"x\n").expect("room");
            assert_eq!(fs::read_to_string(&file).expect("there"), after);
        }
    }

    #[test]
    fn a_device_and_a_directory_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a directory");
        for path in [Path::new("/dev/null"), folder.path()] {
            let error = open(path).expect_err("no regular file");
            assert!(matches!(error, JournalError::NotAFile { .. }), "{error}");
            assert!(error.to_string().contains(&*path.to_string_lossy()));
        }
    }

    #[test]
    fn a_second_process_cannot_write_to_the_same_file() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        let first = open(&file).expect("opened");
        let error = open(&file).expect_err("in use");
        assert!(matches!(error, JournalError::InUse { .. }), "{error}");
        drop(first);
        open(&file).expect("free again");
    }

    #[test]
    fn a_directory_that_is_missing_is_said_to_be() {
        let error = open(Path::new("/nonexistent/journal")).expect_err("missing");
        assert!(
            error.to_string().ends_with("; create its directory"),
            "{error}"
        );
    }

    #[test]
    fn after_a_tear_that_could_not_be_undone_the_next_line_begins_with_a_newline() {
        // /dev/full takes no byte. As nothing was written, nothing need be undone: the tear is made by hand below.
        let full = OpenOptions::new()
            .read(true)
            .append(true)
            .open("/dev/full")
            .expect("a Linux host");
        let mut appender = Appender {
            config: JournalConfig {
                file: "/dev/full".into(),
                fsync: false,
            },
            file: full,
            known: 0,
            torn: false,
        };
        let error = appender.append(b"x\n").expect_err("no space");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        appender.torn = true;
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        fs::write(&file, "half a li").expect("written");
        appender.file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&file)
            .expect("there");
        appender.append(b"x\n").expect("room");
        appender.append(b"y\n").expect("room");
        assert_eq!(
            fs::read_to_string(&file).expect("there"),
            "half a li\nx\ny\n"
        );
    }

    #[test]
    fn a_file_that_others_have_cut_is_noticed() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        let mut appender = open(&file).expect("opened");
        let mut ledger = Ledger::of_process();
        appender.append(b"{}\n").expect("room");
        assert_eq!(
            appender.read_others(&mut ledger).expect("readable"),
            Others::Added
        );
        fs::write(&file, "").expect("cut");
        assert_eq!(
            appender.read_others(&mut ledger).expect("readable"),
            Others::Cut
        );
        appender.append(b"{}\n").expect("room");
        assert_eq!(fs::read_to_string(&file).expect("there"), "{}\n");
    }

    #[test]
    fn a_line_that_somebody_adds_between_a_look_and_a_write_is_read_at_the_next_look() {
        let line = |event: &str, exchange: u8, rest: &str| {
            format!(
                "{{\"v\":1,\"event\":\"{event}\",\"time\":\"\",\"exchange_id\":\"00000000-0000-0000-0000-00000000000{exchange}\",\"route\":\"debit\"{rest}}}\n"
            )
        };
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        fs::write(&file, line("begin", 1, ",\"attempt\":1")).expect("written");
        let config = JournalConfig {
            file: file.clone(),
            fsync: false,
        };
        let mut ledger = Ledger::of_process();
        let mut appender = Appender::open(&config, &mut ledger).expect("opened");
        assert_eq!(ledger.count("debit"), 1);
        let mut other = OpenOptions::new().append(true).open(&file).expect("there");
        let settled = line("end", 1, ",\"outcome\":\"settled\"");
        other.write_all(settled.as_bytes()).expect("room");
        let begin = line("begin", 2, ",\"attempt\":1");
        appender.append(begin.as_bytes()).expect("room");
        ledger.read(begin.as_bytes()).expect("readable");
        assert_eq!(ledger.count("debit"), 2);
        assert_eq!(
            appender.read_others(&mut ledger).expect("readable"),
            Others::Added
        );
        assert_eq!(ledger.count("debit"), 1);
    }

    #[test]
    fn a_file_that_was_moved_away_is_noticed() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("journal");
        let appender = open(&file).expect("opened");
        assert!(!appender.was_moved());
        fs::rename(&file, folder.path().join("journal.1")).expect("moved");
        assert!(appender.was_moved());
        fs::write(&file, "").expect("another");
        assert!(appender.was_moved());
    }
}
