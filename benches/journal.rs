//! What a begin in the journal costs, for `docs/journal.md`: `JOURNAL_BENCH_DIR=… cargo bench --profile measured --bench journal`.
//!
//! The figures depend on the disk, so nothing is asserted.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on is none"
)]

use std::{
    env,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Instant,
};

use ingo_signing_proxy::{
    clock::Clock,
    config::JournalConfig,
    ingo::Route,
    journal::{Attempt, Ended, Journal},
};
use uuid::Uuid;

fn main() {
    let folder = match env::var_os("JOURNAL_BENCH_DIR") {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let folder = folder.unwrap();
    for (fsync, callers, each) in [
        (true, 1, 500),
        (true, 64, 100),
        (false, 1, 20_000),
        (false, 64, 2_000),
    ] {
        let file = folder.path().join(format!("journal-{fsync}-{callers}"));
        let mut waits = begins(open(file, fsync), callers, each);
        let total = waits.pop().unwrap();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| waits[(share * (waits.len() - 1) as f64) as usize];
        println!(
            "fsync {fsync}, {callers} at once: {:.0} µs at the median, {:.0} µs at 99 %, {:.0} begins/s",
            at(0.5),
            at(0.99),
            waits.len() as f64 / total * 1e6
        );
    }
}

/// How long each begin took, in µs; the last is how long all of them took.
fn begins(journal: Journal, callers: usize, each: usize) -> Vec<f64> {
    let journal = Arc::new(journal);
    let (took, taken) = mpsc::channel();
    let start = Instant::now();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let callers = (0..callers).map(|_| {
            let (journal, took) = (Arc::clone(&journal), took.clone());
            tokio::spawn(async move {
                for _ in 0..each {
                    let attempt = attempt();
                    let start = Instant::now();
                    journal.begin(&attempt).await.unwrap();
                    took.send(start.elapsed().as_secs_f64() * 1e6).unwrap();
                    journal.end(&attempt, answered());
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
    let total = start.elapsed().as_secs_f64() * 1e6;
    drop(took);
    taken.into_iter().chain([total]).collect()
}

fn open(file: PathBuf, fsync: bool) -> Journal {
    Journal::open(&JournalConfig { file, fsync }, Clock::system()).unwrap()
}

fn attempt() -> Attempt {
    Attempt {
        exchange_id: Uuid::new_v4(),
        tenant: "default".to_owned(),
        route: Route::Debit,
        number: 1,
        idempotency_key: Some(Uuid::new_v4().to_string()),
        identifier: vec!["debit-1".to_owned()],
    }
}

fn answered() -> Ended {
    Ended::Answered {
        http_status: 200,
        ingo_status: Some("100".to_owned()),
        transaction_id: Some("4711".to_owned()),
    }
}
