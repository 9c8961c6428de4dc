//! The journal across processes: killed while it writes, and read by the command.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its files has failed"
)]

use std::{
    collections::HashSet,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ingo_signing_proxy::{
    clock::Clock,
    config::JournalConfig,
    ingo::Route,
    journal::{Attempt, Ended, Journal, JournalError, Ledger},
};
use tempfile::TempDir;
use uuid::Uuid;

/// Names the journal to the process that is killed.
const VICTIM: &str = "JOURNAL_TEST_VICTIM";
const DEBITS: usize = 200;

fn attempt() -> Attempt {
    Attempt {
        exchange_id: Uuid::new_v4(),
        tenant: "default".to_owned(),
        route: Route::Debit,
        number: 1,
        idempotency_key: Some(Uuid::new_v4().to_string()),
        identifier: vec![Uuid::new_v4().to_string()],
    }
}

fn answered() -> Ended {
    Ended::Answered {
        http_status: 200,
        ingo_status: Some("100".to_owned()),
        transaction_id: Some("T-1".to_owned()),
    }
}

fn open(file: &Path, fsync: bool) -> Journal {
    let config = JournalConfig {
        file: file.to_owned(),
        fsync,
    };
    Journal::open(&config, Clock::system()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

/// Not a test of its own: what the test below starts this binary for. It tells each step before the next one is taken.
#[test]
fn the_process_that_is_killed() {
    let Some(file) = env::var_os(VICTIM) else {
        return;
    };
    let journal = Arc::new(open(Path::new(&file), true));
    let tell = |step: &str, attempt: &Attempt| {
        // One line at a time, in the order in which things happened.
        let line = format!("\n{step} {}\n", attempt.exchange_id);
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    runtime().block_on(async {
        let debits = (0..DEBITS).map(|_| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let attempt = attempt();
                tell("starts", &attempt);
                journal.begin(&attempt).await.unwrap();
                tell("begun", &attempt);
                tokio::task::yield_now().await;
                tell("answered", &attempt);
                journal.end(&attempt, answered());
                tell("queued", &attempt);
            })
        });
        for debit in debits.collect::<Vec<_>>() {
            debit.await.unwrap();
        }
    });
    // Whatever is left to write is not written before the test has killed this process.
    thread::park();
}

#[test]
fn after_a_kill_every_debit_without_an_answer_is_listed_and_no_other_than_those_just_being_recorded()
 {
    let folder = tempfile::tempdir().unwrap();
    let steps_at_most = 4 * DEBITS;
    for round in 0..12 {
        let file = folder.path().join(format!("journal-{round}"));
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env(VICTIM, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(victim.stdout.take().unwrap());
        let kill_after = 1 + round * steps_at_most / 11;
        let mut steps = Vec::new();
        for line in out.lines() {
            let line = line.unwrap();
            if let Some((step, id)) = line.split_once(' ')
                && let Ok(id) = Uuid::try_parse(id)
            {
                steps.push((step.to_owned(), id));
                // What it told between this and its death is read too: it happened.
                if steps.len() == kill_after.min(steps_at_most) {
                    victim.kill().unwrap();
                }
            }
        }
        victim.wait().unwrap();

        let mut ledger = Ledger::of_files();
        ledger.read(fs::read(&file).unwrap().as_slice()).unwrap();
        let unresolved = ledger.unresolved();
        let listed: HashSet<_> = unresolved.iter().map(|u| u.record.exchange_id).collect();

        let told = |step: &str| -> HashSet<Uuid> {
            steps
                .iter()
                .filter(|(s, _)| s == step)
                .map(|(_, id)| *id)
                .collect()
        };
        let open: HashSet<_> = told("begun")
            .difference(&told("answered"))
            .copied()
            .collect();
        assert!(
            open.is_subset(&listed),
            "round {round}: {:?} are missing",
            open.difference(&listed)
        );

        // Records are written in order: an end that was queued before a begin started that was then acknowledged is written.
        let begun = told("begun");
        let last_start = steps
            .iter()
            .rposition(|(step, id)| step == "starts" && begun.contains(id));
        let recorded = steps[..last_start.unwrap_or(0)]
            .iter()
            .filter(|(step, _)| step == "queued");
        for (_, id) in recorded {
            assert!(
                !listed.contains(id),
                "round {round}: the end of {id} was written"
            );
        }
    }
}

#[test]
fn a_fifo_is_refused_by_name_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let config = JournalConfig {
        file: fifo.clone(),
        fsync: false,
    };
    let error = Journal::open(&config, Clock::system()).unwrap_err();
    assert!(matches!(error, JournalError::NotAFile { .. }), "{error}");
    assert!(error.to_string().contains(fifo.to_str().unwrap()));
}

/// A file system of 64 KiB; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "small"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|m| m.status.success())
            .then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The exchanges that the file leaves open. Each of its lines must be whole.
fn listed(file: &Path) -> HashSet<Uuid> {
    let mut ledger = Ledger::of_files();
    let text = fs::read(file).unwrap();
    assert_eq!(ledger.read(text.as_slice()).unwrap(), 0);
    let unresolved = ledger.unresolved();
    unresolved.iter().map(|u| u.record.exchange_id).collect()
}

#[test]
fn a_full_disk_refuses_begins_keeps_ends_and_is_forgotten_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let file = disk.0.path().join("journal");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 48 * 1024]).unwrap();
    let journal = open(&file, true);
    let runtime = runtime();
    let begin = |attempt: &Attempt| runtime.block_on(journal.begin(attempt));

    let mut begun = Vec::new();
    let error = loop {
        let attempt = attempt();
        match begin(&attempt) {
            Ok(()) => begun.push(attempt),
            Err(error) => break error,
        }
    };
    assert_eq!(error.detail(), "the disk that holds the journal is full");
    assert!(error.to_string().contains(file.to_str().unwrap()));
    // What did not fit has left nothing, not even a part of a line.
    let ids: HashSet<_> = begun.iter().map(|a| a.exchange_id).collect();
    assert!(ids.len() > 10, "some fitted");
    assert_eq!(listed(&file), ids);

    for attempt in &begun {
        journal.end(attempt, answered());
    }
    let refused = begin(&attempt());
    assert!(matches!(refused, Err(JournalError::Write { .. })));

    fs::remove_file(&ballast).unwrap();
    let after = attempt();
    begin(&after).unwrap();
    assert_eq!(listed(&file), HashSet::from([after.exchange_id]));
    assert_eq!(journal.unresolved(Route::Debit), 1);
    assert_eq!(journal.ends_lost(), 0);
    drop(journal);
}

fn unresolved(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
        .arg("unresolved")
        .args(arguments)
        .output()
        .unwrap()
}

/// A journal with one exchange answered, one not, and one that was running when its process ended.
fn journal_of_three(file: &Path) -> [Attempt; 3] {
    let journal = open(file, false);
    let attempts = [attempt(), attempt(), attempt()];
    runtime().block_on(async {
        for attempt in &attempts {
            journal.begin(attempt).await.unwrap();
        }
    });
    journal.end(&attempts[0], answered());
    journal.end(&attempts[1], Ended::Unanswered);
    attempts
}

#[test]
fn the_command_lists_what_is_open_and_leaves_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let [_, unanswered, running] = journal_of_three(&file);
    let path = file.to_str().unwrap();

    let output = unresolved(&["--journal", path]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for attempt in [&unanswered, &running] {
        let line = lines
            .iter()
            .find(|l| l.contains(&attempt.exchange_id.to_string()));
        let line = line.unwrap();
        assert!(line.contains(&attempt.identifier[0]), "{line}");
        assert!(line.contains("assume FAILURE"), "{line}");
    }

    let output = unresolved(&["--json", "--journal", path]);
    assert_eq!(output.status.code(), Some(1));
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["route"], "debit");
        assert_eq!(value["assume"], "failure");
        assert!(["begun", "unanswered"].contains(&value["attempts"][0]["state"].as_str().unwrap()));
    }
}

#[test]
fn the_command_leaves_with_0_where_everything_ended_and_says_how_many_lines_it_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    fs::write(&file, "{\"v\":1,\"event\":\"be").unwrap();
    let journal = open(&file, false);
    let attempt = attempt();
    runtime().block_on(journal.begin(&attempt)).unwrap();
    journal.end(&attempt, answered());
    drop(journal);

    let output = unresolved(&["--journal", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.ends_with("torn or no record of a journal: 1 of its lines\n"),
        "{told}"
    );
}

#[test]
fn the_command_resolves_across_the_files_of_a_rotated_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (
        folder.path().join("journal"),
        folder.path().join("journal.1"),
    );
    let journal = open(&file, false);
    let attempts = [attempt(), attempt()];
    runtime().block_on(async {
        journal.begin(&attempts[0]).await.unwrap();
        fs::rename(&file, &old).unwrap();
        journal.reopen();
        journal.end(&attempts[0], answered());
        journal.begin(&attempts[1]).await.unwrap();
    });
    journal.end(&attempts[1], answered());
    drop(journal);

    let (new, old) = (file.to_str().unwrap(), old.to_str().unwrap());
    let status = |arguments: &[&str]| unresolved(arguments).status.code();
    assert_eq!(status(&["--journal", old]), Some(1));
    assert_eq!(status(&["--journal", new]), Some(0));
    assert_eq!(status(&["--journal", old, "--journal", new]), Some(0));
    assert_eq!(status(&["--journal", new, "--journal", old]), Some(0));
}

/// As a journal has it that nobody is going to answer any more: begun in another year.
fn begun_long_ago(attempt: &Attempt) -> String {
    format!(
        "{{\"v\":1,\"event\":\"begin\",\"time\":\"2026-01-02T03:04:05.006Z\",\"exchange_id\":\"{}\",\"tenant\":\"default\",\"route\":\"debit\",\"attempt\":1,\"idempotency_key\":\"k-1\",\"identifier\":[\"{}\"]}}\n",
        attempt.exchange_id, attempt.identifier[0]
    )
}

fn told(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

#[test]
fn what_a_person_settles_stands_in_the_journal_and_is_not_listed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let attempts = [attempt(), attempt(), attempt()];
    let before: String = attempts.iter().map(begun_long_ago).collect();
    // With and without a last line that a crash tore.
    for torn in ["", "{\"v\":1,\"event\":\"be"] {
        fs::write(&file, before.clone() + torn).unwrap();
        let path = file.to_str().unwrap();
        let ids = attempts.each_ref().map(|a| a.exchange_id.to_string());
        let output = unresolved(&[
            "--journal",
            path,
            "--settle",
            &ids[0],
            "--settle",
            &ids[2],
            "--settle",
            &ids[0],
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let expected = [0, 2].map(|n| {
            let identifier = &attempts[n].identifier[0];
            format!("settled: {} debit {identifier}\n", ids[n])
        });
        assert_eq!(lines, expected.concat());

        let text = fs::read_to_string(&file).unwrap();
        let added = text.strip_prefix(&(before.clone() + torn)).unwrap();
        assert_eq!(added.starts_with('\n'), !torn.is_empty());
        let added: Vec<serde_json::Value> = (added.trim().lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(added.len(), 2);
        for (record, n) in added.iter().zip([0, 2]) {
            assert_eq!(record["v"], 1);
            assert_eq!(record["event"], "end");
            assert_eq!(record["outcome"], "settled");
            assert_eq!(record["exchange_id"], ids[n]);
            assert_eq!(record["identifier"][0], attempts[n].identifier[0]);
            assert!(record["time"].as_str().unwrap().ends_with('Z'));
            assert!(record["attempt"].is_null(), "it is of the exchange");
        }
        let output = unresolved(&["--journal", path, "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let left: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(left["exchange_id"], ids[1]);
    }
}

#[test]
fn what_cannot_be_settled_is_refused_with_1_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let path = file.to_str().unwrap();
    let [ended, unanswered, running] = journal_of_three(&file);
    let settled = attempt();
    let mut journal = fs::OpenOptions::new().append(true).open(&file).unwrap();
    journal
        .write_all(begun_long_ago(&settled).as_bytes())
        .unwrap();
    let id = settled.exchange_id.to_string();
    let output = unresolved(&["--journal", path, "--settle", &id]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));

    let before = fs::read(&file).unwrap();
    let open = unanswered.exchange_id.to_string();
    for (exchange, why) in [
        (ended.exchange_id, "is not unresolved, it was answered at "),
        (settled.exchange_id, "is not unresolved, it was settled at "),
        (Uuid::new_v4(), "has no exchange"),
        (running.exchange_id, "may still be in flight"),
    ] {
        let exchange = exchange.to_string();
        // Not by halves either.
        for settle in [&["--settle", &open][..], &[]] {
            let refused = ["--journal", path, "--settle", &exchange];
            let output = unresolved(&[settle, &refused].concat());
            let told = told(&output);
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains(why) && told.contains(&exchange), "{told}");
            assert_eq!(fs::read(&file).unwrap(), before, "{told}");
        }
    }
    let output = unresolved(&["--journal", path, "--settle", &open]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

#[test]
fn an_exchange_may_be_settled_once_no_deadline_could_let_it_run_any_more() {
    // The 10 minutes that the command goes by are the longest deadline that a configuration may set.
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let reference = fs::read_to_string(reference).unwrap();
    let deadlines: Vec<_> = (reference.lines())
        .filter(|line| line.starts_with("| `routes.") && line.contains(".deadline` |"))
        .collect();
    assert!(!deadlines.is_empty());
    for line in deadlines {
        assert!(line.contains("| 10ms to 10m |"), "{line}");
    }
}

#[test]
fn a_proxy_that_runs_reads_what_was_settled_by_itself_and_does_not_carry_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let journal = open(&file, true);
    let attempts = [attempt(), attempt()];
    let runtime = runtime();
    for attempt in &attempts {
        runtime.block_on(journal.begin(attempt)).unwrap();
        journal.end(attempt, Ended::Unanswered);
    }
    // An end is written before the begin that comes after it.
    let last = attempt();
    runtime.block_on(journal.begin(&last)).unwrap();
    journal.end(&last, answered());
    let id = attempts[0].exchange_id.to_string();
    let output = unresolved(&["--journal", file.to_str().unwrap(), "--settle", &id]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let until = Instant::now() + Duration::from_secs(60);
    while journal.unresolved(Route::Debit) != 1 {
        assert!(Instant::now() < until, "it was never read");
        thread::yield_now();
    }
    fs::rename(&file, folder.path().join("journal.1")).unwrap();
    journal.reopen();
    drop(journal);
    assert_eq!(listed(&file), HashSet::from([attempts[1].exchange_id]));
}

#[test]
fn settling_leaves_with_64_when_used_wrongly_and_with_71_when_the_file_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let id = Uuid::new_v4().to_string();
    let (file, missing, fifo) = (path("journal"), path("missing"), path("fifo"));
    fs::write(&file, begun_long_ago(&attempt())).unwrap();
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for (arguments, status) in [
        (&["--journal", &file, "--settle", "payment-1"][..], 64),
        (&["--journal", &file, "--settle"], 64),
        (&["--settle", &id], 64),
        (
            &["--journal", &file, "--journal", &file, "--settle", &id],
            64,
        ),
        (&["--journal", &file, "--json", "--settle", &id], 64),
        (&["--journal", &missing, "--settle", &id], 71),
        (&["--journal", &fifo, "--settle", &id], 71),
        (&["--journal", "/", "--settle", &id], 71),
    ] {
        let output = unresolved(arguments);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(output.stdout.is_empty(), "{told}");
    }
    assert!(!Path::new(&missing).exists(), "it must not be created");
}

#[test]
fn on_a_full_disk_nothing_is_said_to_be_settled() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let file = disk.0.path().join("journal");
    let open = attempt();
    // One page is as small as a file gets; the line must need another.
    let padding = format!("{}\n", " ".repeat(4095 - begun_long_ago(&open).len()));
    fs::write(&file, begun_long_ago(&open) + &padding).unwrap();
    let mut ballast = fs::File::create(disk.0.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 512]).is_ok() {}
    let id = open.exchange_id.to_string();
    let path = file.to_str().unwrap();
    let output = unresolved(&["--journal", path, "--settle", &id]);
    assert_eq!(output.status.code(), Some(71), "{}", told(&output));
    assert!(output.stdout.is_empty());
    assert!(told(&output).contains(path), "{}", told(&output));
    assert_eq!(listed(&file), HashSet::from([open.exchange_id]));
}

#[test]
fn what_is_unresolved_and_cannot_be_printed_leaves_with_1_all_the_same_and_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    journal_of_three(&file);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
        .args(["unresolved", "--journal", file.to_str().unwrap()])
        .stdout(full)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write the result: "), "{told}");
}

#[test]
fn the_command_leaves_with_64_when_used_wrongly_and_with_71_when_a_file_cannot_be_read() {
    let status = |arguments: &[&str]| unresolved(arguments).status.code();
    assert_eq!(status(&[]), Some(64));
    assert_eq!(status(&["--journal"]), Some(64));
    assert_eq!(status(&["--journal", "/nonexistent/journal"]), Some(71));
    assert_eq!(status(&["--journal", "/"]), Some(71));
}
