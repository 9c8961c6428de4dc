//! The journal as the exchange uses it, with real files.
//!
//! No test here starts a process: until it executes another program it would share the locks of the files. Those that do
//! are in `tests/journal.rs`.

use std::{
    fs,
    future::Future as _,
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Poll, Waker},
};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn attempt(exchange: u128, route: Route) -> Attempt {
    Attempt {
        exchange_id: Uuid::from_u128(exchange),
        tenant: "default".to_owned(),
        route,
        number: 1,
        idempotency_key: Some(format!("key-{exchange}")),
        identifier: vec![format!("p-{exchange}")],
    }
}

fn answered() -> Ended {
    Ended::Answered {
        http_status: 200,
        ingo_status: Some("100".to_owned()),
        transaction_id: Some("T-1".to_owned()),
    }
}

fn open(file: &Path) -> Journal {
    let config = JournalConfig {
        file: file.to_owned(),
        fsync: true,
    };
    Journal::open(&config, Clock::system()).expect("opened")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("journal");
    (folder, file)
}

/// The exchanges that `unresolved` lists for these files.
fn listed(files: &[&Path]) -> Vec<u128> {
    let mut ledger = Ledger::of_files();
    for file in files {
        let text = fs::read(file).expect("readable");
        let skipped = ledger.read(text.as_slice()).expect("readable");
        assert_eq!(skipped, 0, "{}", String::from_utf8_lossy(&text));
    }
    let mut listed: Vec<_> = ledger
        .unresolved()
        .iter()
        .map(|u| u.record.exchange_id.as_u128())
        .collect();
    listed.sort_unstable();
    listed
}

async fn begin_debit(journal: &Journal, exchange: u128) {
    let begun = journal.begin(&attempt(exchange, Route::Debit)).await;
    begun.expect("room");
}

#[tokio::test]
async fn a_begin_stands_in_the_file_before_the_exchange_goes_on() {
    let (_folder, file) = folder();
    let journal = open(&file);
    for exchange in 1..=3 {
        begin_debit(&journal, exchange).await;
        assert!(listed(&[&file]).contains(&exchange));
    }
}

#[tokio::test]
async fn many_at_once_are_each_acknowledged_and_each_in_the_file() {
    let (_folder, file) = folder();
    let journal = Arc::new(open(&file));
    let begins = (0..500).map(|exchange| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let attempt = attempt(exchange, Route::Process);
            journal.begin(&attempt).await.expect("room");
            if exchange % 2 == 0 {
                journal.end(&attempt, answered());
            }
        })
    });
    for begin in begins.collect::<Vec<_>>() {
        begin.await.expect("no panic");
    }
    drop(journal);
    let odd: Vec<_> = (0..500).filter(|e| e % 2 == 1).collect();
    assert_eq!(listed(&[&file]), odd);
}

#[tokio::test]
async fn the_gauge_counts_what_is_open_by_route_also_from_before_a_restart() {
    let (_folder, file) = folder();
    let journal = open(&file);
    let (push, pull, unsent) = (
        attempt(1, Route::Process),
        attempt(2, Route::Debit),
        attempt(3, Route::Debit),
    );
    for attempt in [&push, &pull, &unsent] {
        journal.begin(attempt).await.expect("room");
    }
    let counts = |journal: &Journal| [Route::Process, Route::Debit].map(|r| journal.unresolved(r));
    assert_eq!(counts(&journal), [1, 2]);
    journal.end(&push, answered());
    journal.end(&pull, Ended::Unanswered);
    journal.end(&unsent, Ended::Unsent);
    drop(journal);
    assert_eq!(counts(&open(&file)), [0, 1]);
}

#[test]
fn a_begin_that_nobody_waits_for_any_more_is_ended_as_unsent() {
    let (_folder, file) = folder();
    let journal = open(&file);
    let attempt = attempt(1, Route::Debit);
    {
        // The writer cannot get past this lock, so that the begin is still waiting when it is dropped.
        let _held = journal.shared.ledger.lock();
        let mut begin = pin!(journal.begin(&attempt));
        let poll = begin.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Pending));
    }
    drop(journal);
    let text = fs::read_to_string(&file).expect("readable");
    assert!(text.contains("\"outcome\":\"unsent\""), "{text}");
    assert!(listed(&[&file]).is_empty());
}

#[tokio::test]
async fn a_record_too_long_to_be_read_back_is_refused() {
    let (_folder, file) = folder();
    let journal = open(&file);
    let mut attempt = attempt(1, Route::Debit);
    attempt.identifier = vec!["x".repeat(MAX_LINE_BYTES)];
    let refused = journal.begin(&attempt).await;
    assert!(matches!(refused, Err(JournalError::TooLong { .. })));
    assert_eq!(fs::metadata(&file).expect("there").len(), 0);
}

#[tokio::test]
async fn without_its_writer_a_journal_refuses_instead_of_waiting() {
    let (_folder, file) = folder();
    let journal = open(&file);
    journal.shared.queue.abandon();
    let refused = journal.begin(&attempt(1, Route::Debit)).await;
    assert!(matches!(refused, Err(JournalError::Stopped)));
    journal.end(&attempt(1, Route::Debit), answered());
    assert_eq!(journal.ends_lost(), 1);
}

#[tokio::test]
async fn after_a_rotation_the_new_file_alone_says_what_is_open() {
    let (folder, file) = folder();
    let old = folder.path().join("journal.1");
    let journal = open(&file);
    // An end is written in the background, but before every begin that comes after it.
    for exchange in [3, 1, 2] {
        begin_debit(&journal, exchange).await;
        if exchange == 3 {
            journal.end(&attempt(3, Route::Debit), answered());
        }
    }
    fs::rename(&file, &old).expect("moved");
    journal.reopen();
    journal.end(&attempt(1, Route::Debit), answered());
    begin_debit(&journal, 4).await;
    assert_eq!(journal.unresolved(Route::Debit), 2);
    assert_eq!(listed(&[&file]), [2, 4]);
    assert_eq!(listed(&[&old]), [1, 2]);
    assert_eq!(listed(&[&old, &file]), [2, 4]);
    assert_eq!(listed(&[&file, &old]), [2, 4]);
}

/// A crash at any point of a rotation leaves no file at the path, or one that is whole.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_new_file_appears_with_what_is_open_in_it_and_is_not_written_to_after() {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    let (folder, file) = folder();
    let journal = open(&file);
    begin_debit(&journal, 1).await;
    fs::rename(&file, folder.path().join("journal.1")).expect("moved");
    let told = Inotify::init(InitFlags::IN_NONBLOCK).expect("inotify");
    let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY;
    told.add_watch(folder.path(), what).expect("watched");
    // Goes on in a new file, and writes nothing more.
    drop(journal);
    let events = told.read_events().expect("there are some");
    let of_journal: Vec<_> = (events.into_iter())
        .filter(|event| event.name.as_deref() == file.file_name())
        .map(|event| event.mask)
        .collect();
    assert_eq!(of_journal, [AddWatchFlags::IN_CREATE]);
    assert_eq!(listed(&[&file]), [1]);
    let names = fs::read_dir(folder.path()).expect("readable");
    assert_eq!(names.count(), 2, "nothing else is left");
}

#[tokio::test]
async fn what_a_crash_left_of_a_new_file_is_removed_and_never_written_to() {
    let (folder, file) = folder();
    let old = folder.path().join("journal.1");
    let journal = open(&file);
    begin_debit(&journal, 1).await;
    // Killed between the two names, then started and rotated again: both are of the file that was moved.
    fs::hard_link(&file, folder.path().join("journal.unfinished")).expect("linked");
    let before = fs::read(&file).expect("readable");
    fs::rename(&file, &old).expect("moved");
    drop(journal);
    assert_eq!(fs::read(&old).expect("readable"), before);
    assert_eq!(listed(&[&file]), [1]);
    let unfinished = folder.path().join("journal.unfinished");
    fs::write(&unfinished, "half a li").expect("written");
    drop(open(&file));
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_file_that_another_process_has_made_meanwhile_is_not_replaced() {
    let (folder, file) = folder();
    let old = folder.path().join("journal.1");
    let journal = open(&file);
    fs::rename(&file, &old).expect("moved");
    let other = open(&file);
    begin_debit(&other, 1).await;
    journal.reopen();
    begin_debit(&journal, 2).await;
    assert_eq!(listed(&[&file]), [1]);
    assert_eq!(listed(&[&old]), [2]);
}

#[tokio::test]
async fn a_reopen_without_a_rotation_writes_nothing() {
    let (_folder, file) = folder();
    let journal = open(&file);
    begin_debit(&journal, 1).await;
    let before = fs::read(&file).expect("readable");
    journal.reopen();
    drop(journal);
    assert_eq!(fs::read(&file).expect("readable"), before);
}

#[tokio::test]
async fn a_rotation_gone_wrong_keeps_the_old_file() {
    let (folder, file) = folder();
    let old = folder.path().join("journal.1");
    let journal = open(&file);
    fs::rename(&file, &old).expect("moved");
    fs::create_dir(&file).expect("in the way");
    journal.reopen();
    begin_debit(&journal, 1).await;
    assert_eq!(listed(&[&old]), [1]);
}

#[tokio::test]
async fn a_line_that_a_person_adds_settles_an_exchange() {
    let (folder, file) = folder();
    let journal = open(&file);
    begin_debit(&journal, 1).await;
    let settled = format!(
        "{{\"v\":1,\"event\":\"end\",\"time\":\"\",\"exchange_id\":\"{}\",\"outcome\":\"settled\"}}",
        Uuid::from_u128(1)
    );
    // Without a newline: the next record must not be glued to it.
    let text = fs::read_to_string(&file).expect("readable") + &settled;
    fs::write(&file, text).expect("written");
    begin_debit(&journal, 2).await;
    assert_eq!(journal.unresolved(Route::Debit), 1);
    let old = folder.path().join("journal.1");
    fs::rename(&file, &old).expect("moved");
    journal.reopen();
    drop(journal);
    assert_eq!(listed(&[&file]), [2]);
    assert_eq!(listed(&[&file, &old]), [2]);
}

#[tokio::test]
async fn what_is_open_is_written_again_into_a_file_that_was_cut() {
    let (_folder, file) = folder();
    let journal = open(&file);
    begin_debit(&journal, 1).await;
    fs::write(&file, "").expect("cut");
    begin_debit(&journal, 2).await;
    assert_eq!(listed(&[&file]), [1, 2]);
}
