//! Secrets that change, and an Ingo that drops credentials.

use std::{
    collections::HashSet,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    stage::{
        CALLERS, Ingo, Load, Mounted, USERNAME, become_true, body, lines_with, proxy, readyz,
        readyz_says, succeeds,
    },
    support::{PATIENCE, Post, Proxy},
};

/// Within which a new secret must be the only one in use (issue 5).
const IN_USE_WITHIN: Duration = Duration::from_secs(2);

fn failures(proxy: &Proxy) -> f64 {
    let labels = [("tenant", "default")];
    proxy
        .metrics()
        .sum("ingo_proxy_credential_reload_failures_total", &labels)
}

fn loaded_at(proxy: &Proxy) -> f64 {
    let labels = [("tenant", "default")];
    proxy
        .metrics()
        .sum("ingo_proxy_credential_loaded_timestamp_seconds", &labels)
}

fn retried_for_the_credential(proxy: &Proxy) -> f64 {
    let labels = [("route", "create_session"), ("reason", "credential")];
    proxy.metrics().sum("ingo_proxy_retries_total", &labels)
}

/// A file with a secret, in a folder of its own.
fn secret_file(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, content).unwrap();
    (directory, file)
}

#[test]
fn ten_swaps_under_load_lose_no_exchange_and_after_each_only_the_new_secret_is_used() {
    let ingo = Ingo::accepting(&[(USERNAME, "secret-number-0")]);
    let mut mounted = Mounted::new(&[("secret", "secret-number-0")]);
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .env(
            "RUST_LOG",
            "warn,ingo_signing_proxy=info,ingo_signing_proxy::access=off",
        )
        .start();
    let load = Load::on(&proxy);
    load.passes(1);
    let mut slowest = Duration::ZERO;
    for swap in 1..=10 {
        let (former, new) = (
            format!("secret-number-{}", swap - 1),
            format!("secret-number-{swap}"),
        );
        ingo.accept(&[(USERNAME, &new), (USERNAME, &former)]);
        load.passes(2);
        assert_eq!(
            ingo.emulator.signed()[0],
            0,
            "nothing is signed with a secret that is not there"
        );
        mounted.swap(&[("secret", &new)]);
        let took = become_true("the new secret is used", IN_USE_WITHIN, || {
            ingo.emulator.signed()[0] > 0
        });
        slowest = slowest.max(took);
        // What began before the new one was taken ends with the former one; what begins now does not.
        load.passes(2);
        let with_the_former = ingo.emulator.signed()[1];
        load.passes(2);
        assert_eq!(
            ingo.emulator.signed()[1],
            with_the_former,
            "only the new one is used"
        );
        ingo.accept(&[(USERNAME, &new)]);
        load.passes(1);
    }
    load.end("ten swaps");
    println!("a new secret was in use after at most {slowest:?}");
    assert_eq!(retried_for_the_credential(&proxy), 0.0);
    assert_eq!(failures(&proxy), 0.0);
    assert_eq!(lines_with(&proxy, "a secret was loaded"), 10);
}

#[test]
fn a_file_that_is_replaced_or_written_in_place_is_taken() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let (directory, file) = secret_file("first-secret\n");
    let proxy = proxy(&ingo, &file).start();
    assert!(succeeds(&proxy));
    let at_start = loaded_at(&proxy);
    assert!(at_start > 1.7e9, "a time");

    ingo.accept(&[(USERNAME, "renamed-secret")]);
    fs::write(directory.path().join(".new"), "renamed-secret\n").unwrap();
    fs::rename(directory.path().join(".new"), &file).unwrap();
    become_true("the renamed one is taken", PATIENCE, || succeeds(&proxy));

    ingo.accept(&[(USERNAME, "in-place-secret")]);
    fs::write(&file, "in-place-secret\n").unwrap();
    become_true("the one written in place is taken", PATIENCE, || {
        succeeds(&proxy)
    });
    assert!(loaded_at(&proxy) >= at_start);
    assert_eq!(readyz(&proxy), "ok\n");
    assert_eq!(failures(&proxy), 0.0);
}

#[test]
fn what_the_system_says_nothing_of_is_found_by_looking() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let (linked, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("secret");
    fs::write(&file, "first-secret").unwrap();
    symlink(&file, linked.path().join("secret")).unwrap();
    let proxy = proxy(&ingo, &linked.path().join("secret")).start();
    assert!(succeeds(&proxy));
    // The directory that the file is in is not the one that is watched.
    ingo.accept(&[(USERNAME, "second-secret")]);
    let new = elsewhere.path().join("new");
    fs::write(&new, "second-secret").unwrap();
    fs::rename(&new, &file).unwrap();
    become_true("the new one is taken", PATIENCE, || succeeds(&proxy));
}

/// How often the threads of a process have let go of a processor to wait.
fn waits_of(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let waits = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    });
    waits.sum()
}

#[test]
fn what_others_write_beside_a_secret_wakes_nobody() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret"), (USERNAME, "second-secret")]);
    let (directory, file) = secret_file("first-secret");
    // Such as what another process logs.
    let mut beside = fs::File::create(directory.path().join("access.log")).unwrap();
    let proxy = proxy(&ingo, &file).start();
    assert!(succeeds(&proxy));
    become_true("the directory is watched", PATIENCE, || {
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", proxy.id())).unwrap();
        let mut known = descriptors.filter_map(|one| fs::read_to_string(one.ok()?.path()).ok());
        known.any(|about| about.contains("inotify wd:"))
    });
    let before = waits_of(proxy.id());
    for _ in 0..2_000 {
        beside.write_all(b"a line\n").unwrap();
        // To let a thread that was woken run.
        std::thread::yield_now();
    }
    let woken = waits_of(proxy.id()) - before;
    assert!(woken < 100, "woken {woken} times");
    // Nor does it keep from being told of the secret itself.
    fs::write(&file, "second-secret").unwrap();
    become_true("the new one is used", PATIENCE, || {
        succeeds(&proxy) && ingo.emulator.signed()[1] > 0
    });
}

#[test]
fn what_is_still_being_written_is_never_signed_with() {
    written_in_halves(|_| {});
}

#[test]
fn a_new_file_in_place_of_one_that_was_removed_is_not_used_before_it_is_whole() {
    written_in_halves(|file| fs::remove_file(file).unwrap());
}

fn written_in_halves(first: impl FnOnce(&Path)) {
    let whole = "a-secret-that-is-written-in-halves";
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret"), (USERNAME, whole)]);
    let (_directory, file) = secret_file("first-secret");
    let proxy = proxy(&ingo, &file)
        .env("RUST_LOG", "info,ingo_signing_proxy::access=off")
        .start();
    let load = Load::of(1, &proxy);
    load.passes(1);
    first(&file);
    // Half of it, and a pause in which it is looked at many times, as when a copy over a network stalls.
    let mut writing = fs::File::create(&file).unwrap();
    let (half, rest) = whole.split_at(whole.len() / 2);
    writing.write_all(half.as_bytes()).unwrap();
    let paused = Instant::now();
    become_true("callers go on", PATIENCE, || {
        load.passes(1);
        paused.elapsed() > Duration::from_secs(3)
    });
    writing.write_all(rest.as_bytes()).unwrap();
    assert_eq!(ingo.emulator.signed()[1], 0, "it may be longer still");
    drop(writing);
    become_true("the whole one is used", PATIENCE, || {
        ingo.emulator.signed()[1] > 0
    });
    load.end("written in two halves");
}

#[test]
fn a_broken_file_keeps_the_secret_before_and_is_said_everywhere() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("secrets");
    let file = directory.join("secret");
    fs::create_dir(&directory).unwrap();
    fs::write(&file, "first-secret").unwrap();
    let proxy = proxy(&ingo, &file).start();
    assert_eq!(readyz(&proxy), "ok\n");

    fs::write(&file, "").unwrap();
    let said = readyz_says(&proxy, "is empty");
    assert!(said.starts_with("ok\nwarning: the secret file "), "{said}");
    assert!(said.contains("; the one before stays in use\n"), "{said}");
    assert!(succeeds(&proxy));
    assert_eq!(failures(&proxy), 1.0);
    assert_eq!(
        lines_with(&proxy, "is empty"),
        1,
        "said once, not at each look"
    );

    fs::remove_dir_all(&directory).unwrap();
    readyz_says(&proxy, "does not exist");
    assert!(succeeds(&proxy));
    assert_eq!(failures(&proxy), 2.0);

    fs::create_dir(&directory).unwrap();
    fs::create_dir(&file).unwrap();
    readyz_says(&proxy, "is no regular file");
    assert!(succeeds(&proxy));

    fs::remove_dir(&file).unwrap();
    fs::write(&file, vec![b'x'; 70_000]).unwrap();
    readyz_says(&proxy, "is larger than 64 KiB");
    assert!(succeeds(&proxy));

    ingo.accept(&[(USERNAME, "second-secret")]);
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(&file, "second-secret").unwrap();
    // Without a word of the system on the new directory, for its watch went with the former.
    become_true("the one in the new directory is taken", PATIENCE, || {
        succeeds(&proxy)
    });
    become_true("all is well again", PATIENCE, || readyz(&proxy) == "ok\n");

    // The watch is on the new directory, too.
    ingo.accept(&[(USERNAME, "third-secret")]);
    fs::write(&file, "third-secret").unwrap();
    become_true("so is the next", PATIENCE, || succeeds(&proxy));
}

#[test]
fn a_fifo_in_place_of_a_secret_is_said_and_holds_up_nothing_that_comes_after() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let (_directory, file) = secret_file("first-secret");
    let proxy = proxy(&ingo, &file).start();
    fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo failed");
    readyz_says(&proxy, "is no regular file");
    assert!(succeeds(&proxy));
    assert_eq!(failures(&proxy), 1.0);

    ingo.accept(&[(USERNAME, "second-secret")]);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "second-secret").unwrap();
    become_true("the new secret is used", PATIENCE, || succeeds(&proxy));
    become_true("all is well again", PATIENCE, || readyz(&proxy) == "ok\n");
}

#[test]
fn a_secret_that_ends_in_a_carriage_return_is_warned_of_at_the_start_and_when_it_is_loaded() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let (_directory, file) = secret_file("first-secret\r\n");
    let proxy = proxy(&ingo, &file).start();
    let warned = || lines_with(&proxy, "the secret ends in a carriage return");
    become_true("it is warned of", PATIENCE, || warned() == 1);
    fs::write(&file, "first-secret\n").unwrap();
    become_true("the right one is used", PATIENCE, || succeeds(&proxy));
    assert_eq!(warned(), 1);
    fs::write(&file, "second-secret\r\n").unwrap();
    become_true("it is warned of again", PATIENCE, || warned() == 2);
}

#[test]
fn a_file_that_is_as_before_again_ends_the_warning_without_being_loaded() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let (_directory, file) = secret_file("first-secret");
    let proxy = proxy(&ingo, &file).start();
    fs::remove_file(&file).unwrap();
    readyz_says(&proxy, "does not exist");
    fs::write(&file, "first-secret").unwrap();
    become_true("all is well again", PATIENCE, || readyz(&proxy) == "ok\n");
    assert_eq!(lines_with(&proxy, "a secret was loaded"), 0);
    assert!(succeeds(&proxy));
}

/// The configuration of a next credential whose secret is in `file`.
fn next(username: &str, file: &Path) -> String {
    format!(
        "credentials:\n  next_username: {username}\n  next_secret_file: {}\n",
        file.display()
    )
}

#[test]
fn when_ingo_drops_the_current_credential_under_load_no_caller_notices_and_the_next_becomes_current()
 {
    for next_username in ["acme-next", USERNAME] {
        let (current, following) = ((USERNAME, "current-secret"), (next_username, "next-secret"));
        let ingo = Ingo::accepting(&[current, following]);
        let mounted = Mounted::new(&[("secret", current.1), ("next", following.1)]);
        let proxy = proxy(&ingo, &mounted.path("secret"))
            .yaml(&next(next_username, &mounted.path("next")))
            .env("RUST_LOG", "info,ingo_signing_proxy::access=off")
            .start();
        let load = Load::on(&proxy);
        load.passes(2);
        assert_eq!(
            ingo.emulator.signed()[1],
            0,
            "the next one waits for its turn"
        );
        assert_eq!(readyz(&proxy), "ok\n");

        ingo.accept(&[following]);
        load.passes(2);
        let repeats = retried_for_the_credential(&proxy);
        assert!(
            (1.0..=CALLERS as f64).contains(&repeats),
            "{repeats}: once for each caller at most"
        );
        load.passes(2);
        assert_eq!(
            retried_for_the_credential(&proxy),
            repeats,
            "the next one is current now"
        );
        // Should the former be accepted again, nothing flaps.
        ingo.accept(&[following, current]);
        load.passes(2);
        assert_eq!(ingo.emulator.signed()[1], 0);
        load.end("the current credential was dropped");
        assert_eq!(lines_with(&proxy, "accepted the next one"), 1, "said once");
        assert!(
            readyz(&proxy).contains("the next one is in use"),
            "{}",
            readyz(&proxy)
        );
    }
}

#[test]
fn after_a_switch_the_former_file_brings_what_comes_next() {
    let ingo = Ingo::accepting(&[(USERNAME, "next-secret")]);
    let mut mounted = Mounted::new(&[("secret", "current-secret"), ("next", "next-secret")]);
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .yaml(&next(USERNAME, &mounted.path("next")))
        .start();
    assert!(succeeds(&proxy));
    assert_eq!(retried_for_the_credential(&proxy), 1.0);
    // One that is refused has nothing to be repeated with.
    ingo.accept(&[(USERNAME, "third-secret")]);
    assert!(!succeeds(&proxy));
    assert_eq!(retried_for_the_credential(&proxy), 1.0);
    mounted.swap(&[("secret", "third-secret"), ("next", "next-secret")]);
    become_true("the third is used", PATIENCE, || succeeds(&proxy));
    assert_eq!(retried_for_the_credential(&proxy), 2.0);
    become_true("nothing is out of the ordinary", PATIENCE, || {
        readyz(&proxy) == "ok\n"
    });
}

#[test]
fn a_next_credential_that_is_refused_too_does_not_become_current() {
    let ingo = Ingo::accepting(&[(USERNAME, "neither")]);
    let mounted = Mounted::new(&[("secret", "current-secret"), ("next", "next-secret")]);
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .yaml(&next("acme-next", &mounted.path("next")))
        .start();
    for refused in 1..=3_u32 {
        let answer = proxy.post(&Post::new(body("one")));
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(
            retried_for_the_credential(&proxy),
            f64::from(refused),
            "each is repeated once"
        );
    }
    ingo.accept(&[(USERNAME, "current-secret")]);
    assert!(succeeds(&proxy), "the current one is current still");
    assert_eq!(retried_for_the_credential(&proxy), 3.0);
    assert_eq!(lines_with(&proxy, "accepted the next one"), 0);
}

#[test]
fn a_wrong_secret_alone_is_not_repeated() {
    let ingo = Ingo::accepting(&[(USERNAME, "another")]);
    let mounted = Mounted::new(&[("secret", "wrong-secret")]);
    let proxy = proxy(&ingo, &mounted.path("secret")).repeating().start();
    let answer = proxy.post(&Post::new(body("one")));
    assert_eq!(answer.status, 401);
    assert_eq!(ingo.emulator.received(), 1);
    assert_eq!(retried_for_the_credential(&proxy), 0.0);
}

#[test]
fn where_money_moves_a_refused_credential_is_repeated_all_the_same() {
    let ingo = Ingo::accepting(&[("acme-next", "next-secret")]);
    let mounted = Mounted::new(&[("secret", "current-secret"), ("next", "next-secret")]);
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .yaml(&format!(
            "{}routes:\n  process:\n    enabled: true\n    attempts: 1\n",
            next("acme-next", &mounted.path("next"))
        ))
        .start();
    let payment = json!({"participant_unique_id1": "pay-1", "amount": 100}).to_string();
    let answer = proxy.post(&Post::new(payment).to("/gateway/process"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ledger = ingo.emulator.ledger();
    let processed: Vec<_> = ledger.iter().map(|entry| entry.processed).collect();
    assert_eq!(processed, [false, true]);
}

#[test]
fn a_clock_and_a_credential_are_each_remedied_once_in_one_exchange() {
    let ingo = Ingo::accepting(&[("acme-next", "next-secret")]);
    ingo.emulator.advance(Duration::from_secs(600));
    let mounted = Mounted::new(&[("secret", "current-secret"), ("next", "next-secret")]);
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .yaml(&next("acme-next", &mounted.path("next")))
        .start();
    assert!(succeeds(&proxy));
    assert_eq!(ingo.emulator.received(), 3);
}

#[test]
fn the_secret_that_keys_are_derived_with_stays_what_it_was_and_a_change_is_said_once() {
    let ingo = Ingo::accepting(&[(USERNAME, "first-secret")]);
    let mut mounted = Mounted::new(&[("secret", "first-secret"), ("keys", "derive-one")]);
    let keys = mounted.path("keys");
    let proxy = proxy(&ingo, &mounted.path("secret"))
        .yaml(&format!(
            "idempotency:\n  policy: derive\n  secret_file: {}\n",
            keys.display()
        ))
        .env("INGO_PROXY__ENVIRONMENT", "sandbox")
        .start();
    assert!(succeeds(&proxy));
    ingo.accept(&[(USERNAME, "second-secret")]);
    mounted.swap(&[("secret", "second-secret"), ("keys", "derive-two")]);
    // The same key as before, so that Ingo says 101.
    become_true("the credential's secret is taken", PATIENCE, || {
        proxy
            .post(&Post::new(body("one")))
            .text()
            .contains(r#""status":101,"#)
    });
    become_true("the change is said", PATIENCE, || {
        lines_with(&proxy, "every derived key is another") == 1
    });
    fs::write(mounted.directory.path().join("touch"), "").unwrap();
    assert_eq!(lines_with(&proxy, "every derived key is another"), 1);
    assert_eq!(failures(&proxy), 0.0);
    let ledger = ingo.emulator.ledger();
    let keys: HashSet<_> = ledger.iter().map(|entry| &entry.idempotency_key).collect();
    assert_eq!(keys.len(), 1);
}
