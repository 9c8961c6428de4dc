//! The journal with the real binary: what stands in it before and after each call, and what is left after the worst.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use ingo_signing_proxy::emulator::{Ending, Entry};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    ingo::Ingo,
    support::{
        Ended, Gate, PATIENCE, Post, Proxy, Reply, Upstream, process, proxy::Builder, session,
    },
};

const DEBIT: &str = "/gateway/v12/debit/process";

fn with_journal(builder: Builder, file: &Path) -> Builder {
    let yaml = format!("journal:\n  file: {}\n", file.display());
    builder
        .argument("--routes=create_session,process,debit")
        .yaml(&yaml)
}

fn debit(id: &str) -> Post {
    Post::new(format!(
        r#"{{"participant_unique_ids":{{"participant_unique_id1":"{id}"}},"card":"4111111111111111"}}"#
    ))
    .to(DEBIT)
}

fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the journal is there");
    let record = |line: &str| serde_json::from_str(line).expect("a whole record");
    text.lines().map(record).collect()
}

/// The records, once there are `count`: ends are written in the background.
fn recorded(file: &Path, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let records = records(file);
        if records.len() >= count || Instant::now() > until {
            assert_eq!(records.len(), count, "{records:#?}");
            return records;
        }
    }
}

fn unresolved(files: &[&Path]) -> Ended {
    let mut arguments = vec!["unresolved".to_owned(), "--json".to_owned()];
    for file in files {
        arguments.extend(["--journal".to_owned(), file.display().to_string()]);
    }
    process::run(env!("CARGO_BIN_EXE_ingo-signing-proxy"), &arguments, b"")
}

/// The identifying values of what is unresolved.
fn listed(ended: &Ended) -> HashSet<String> {
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["identifier"][0]
            .as_str()
            .expect("an identifier")
            .to_owned()
    });
    lines.collect()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("journal");
    (folder, file)
}

#[test]
fn a_call_that_moves_money_stands_in_the_journal_before_it_is_received_and_its_answer_after() {
    let (_folder, file) = folder();
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let (noted, path) = (seen.clone(), file.clone());
    let upstream = Upstream::scripted(move |_| {
        noted.lock().expect("no holder panics").push(records(&path));
        Reply::json(r#"{"status":"100","data":{"transaction_id":77}}"#)
    });
    let proxy = with_journal(Proxy::to(&upstream), &file).start();
    let post = Post::new(session("p-1"))
        .to("/gateway/process")
        .header("Idempotency-Key", "k-1");
    assert_eq!(proxy.post(&post).status, 200);
    let before = seen.lock().expect("no holder panics")[0].clone();
    assert_eq!(before.len(), 1, "{before:#?}");
    assert_eq!(before[0]["event"], "begin");
    assert_eq!(before[0]["route"], "process");
    assert_eq!(before[0]["tenant"], "default");
    assert_eq!(before[0]["attempt"], 1);
    assert_eq!(before[0]["identifier"], serde_json::json!(["p-1"]));
    assert_eq!(before[0]["idempotency_key"], "k-1");
    let records = recorded(&file, 2);
    let end = &records[1];
    assert_eq!(
        (&end["event"], &end["outcome"]),
        (&"end".into(), &"answered".into())
    );
    assert_eq!(end["exchange_id"], before[0]["exchange_id"]);
    assert_eq!(end["http_status"], 200);
    assert_eq!(end["transaction_id"].to_string().trim_matches('"'), "77");
    let exchange = proxy.access_lines(1)[0]["exchange_id"].clone();
    assert_eq!(end["exchange_id"], exchange);
    // A session is no payment.
    proxy.post(&Post::new(session("p-2")));
    recorded(&file, 2);
}

#[test]
fn no_body_and_no_secret_stands_in_the_journal() {
    let (_folder, file) = folder();
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    assert_eq!(proxy.post(&debit("d-1")).status, 200);
    recorded(&file, 2);
    let text = fs::read_to_string(&file).expect("there");
    for never in ["4111", "canary-secret", "signature", "hmac"] {
        assert!(!text.contains(never), "{never} stands in {text}");
    }
}

#[test]
fn what_was_not_answered_is_listed_and_what_was_not_sent_is_not() {
    let (_folder, file) = folder();
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    assert_eq!(proxy.post(&debit("d-well")).status, 200);
    ingo.inject("reset_after_body").expect("a fault");
    let lost = proxy.post(&debit("d-lost"));
    lost.is_problem(502, "upstream_reset", "maybe");
    ingo.inject("delay,milliseconds=60000").expect("a fault");
    let late = debit("d-late").header("Ingo-Proxy-Timeout", "0.5");
    proxy
        .post(&late)
        .is_problem(504, "upstream_timeout", "maybe");
    let waiting = proxy.metrics_become(|m| m.sum("ingo_proxy_journal_unresolved", &[]) == 2.0);
    assert_eq!(
        waiting.sum("ingo_proxy_journal_unresolved", &[("route", "debit")]),
        2.0
    );
    recorded(&file, 6);
    let ended = unresolved(&[&file]);
    assert_eq!(ended.status, Some(1), "{}", ended.output());
    assert_eq!(
        listed(&ended),
        HashSet::from(["d-lost".to_owned(), "d-late".to_owned()])
    );
    drop(ingo);
    // Nothing listens any more: nothing is sent.
    proxy
        .post(&debit("d-unsent"))
        .is_problem(502, "upstream_unreachable", "no");
    assert_eq!(listed(&unresolved(&[&file])).len(), 2);
}

#[test]
fn a_payment_whose_caller_hung_up_is_resolved_in_the_journal() {
    let (_folder, file) = folder();
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::session("p").held_by(&gate));
    let proxy = with_journal(Proxy::to(&upstream), &file).start();
    let mut client = proxy.client();
    client.send(&debit("d").bytes());
    upstream.wait_for(1);
    assert!(!client.hears_something_within(std::time::Duration::from_millis(300)));
    drop(client);
    assert_eq!(unresolved(&[&file]).status, Some(1), "it is in flight");
    gate.open();
    recorded(&file, 2);
    assert_eq!(unresolved(&[&file]).status, Some(0));
}

/// A file system of 64 KiB; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory");
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

#[test]
fn a_full_disk_refuses_payments_with_nothing_sent_and_leaves_the_other_routes_alone() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a full disk is not tested, because mounting a small one needs root");
        return;
    };
    let file = disk.0.path().join("journal");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 48 * 1024]).expect("room");
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    let mut client = proxy.client();
    let mut made = 0;
    let refused = loop {
        let answer = client.post(&debit(&format!("d-{made}")));
        if answer.status != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 1_000, "the disk is never full");
    };
    let problem = refused.is_problem(503, "journal_unavailable", "no");
    assert!(problem["detail"].to_string().contains("full"), "{problem}");
    assert!(refused.header("retry-after").is_some());
    assert!(made > 10, "{made} fitted");
    assert_eq!(ingo.received(), made, "what was refused never came up");
    let session = client.post(&Post::new(session("p")));
    assert_eq!(session.json()["status"], 100, "{}", session.text());
    client
        .post(&debit("still-full"))
        .is_problem(503, "journal_unavailable", "no");

    fs::remove_file(&ballast).expect("there");
    assert_eq!(client.post(&debit("room-again")).status, 200);
    let settled = |m: &crate::support::Metrics| m.sum("ingo_proxy_journal_unresolved", &[]) == 0.0;
    proxy.metrics_become(settled);
    assert_eq!(unresolved(&[&file]).status, Some(0));
    drop(proxy);
}

#[test]
fn after_a_rotation_by_rename_and_sighup_records_go_on_in_a_new_file_and_nothing_is_forgotten() {
    let (folder, file) = folder();
    let old = folder.path().join("journal.1");
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::scripted(move |request| {
        let slow = crate::support::contains(&request.body, b"d-slow");
        let reply = Reply::session("p");
        if slow { reply.held_by(&held) } else { reply }
    });
    let proxy = with_journal(Proxy::to(&upstream), &file).start();
    assert_eq!(proxy.post(&debit("d-1")).status, 200);
    let mut slow = proxy.client();
    slow.send(&debit("d-slow").bytes());
    recorded(&file, 3);
    fs::rename(&file, &old).expect("moved");
    proxy.signal("HUP");
    exists(&file);
    // What is open stands in the new file: the old one may be deleted.
    let carried = recorded(&file, 1);
    assert_eq!(carried[0]["identifier"], serde_json::json!(["d-slow"]));
    assert_eq!(
        listed(&unresolved(&[&file])),
        HashSet::from(["d-slow".to_owned()])
    );
    assert_eq!(proxy.post(&debit("d-2")).status, 200);
    gate.open();
    assert_eq!(slow.answer("POST").status, 200);
    recorded(&file, 4);
    assert_eq!(unresolved(&[&file]).status, Some(0));
    assert_eq!(unresolved(&[&old, &file]).status, Some(0));
    assert_eq!(
        recorded(&old, 3).len(),
        3,
        "nothing more is written to the old one"
    );
}

#[test]
fn after_a_crash_in_a_rotation_the_next_start_says_where_to_look() {
    let (folder, file) = folder();
    // Killed before the new file got its name.
    fs::write(folder.path().join("journal.unfinished"), "").expect("written");
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = with_journal(Proxy::to(&upstream), &file).start();
    let told = proxy.told("a crash cut a rotation of the journal short", 1);
    assert_eq!(told["journal"], file.display().to_string(), "{told}");
    assert!(!folder.path().join("journal.unfinished").exists());
}

#[test]
fn a_journal_that_was_deleted_is_begun_anew_with_what_it_left_open() {
    let (_folder, file) = folder();
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    let lost = |id: &str| {
        ingo.inject("reset_after_body").expect("a fault");
        proxy
            .post(&debit(id))
            .is_problem(502, "upstream_reset", "maybe");
    };
    lost("d-before");
    fs::remove_file(&file).expect("there");
    lost("d-after");
    let both = HashSet::from(["d-before".to_owned(), "d-after".to_owned()]);
    assert_eq!(listed(&unresolved(&[&file])), both);
    recorded(&file, 4);
    // Also where no call comes that would be recorded.
    fs::remove_file(&file).expect("there");
    exists(&file);
    recorded(&file, 4);
    proxy.signal("KILL");
    assert_eq!(listed(&unresolved(&[&file])), both);
    let output = String::from_utf8(proxy.output()).expect("text");
    assert!(output.contains("was deleted"), "{output}");
}

#[test]
fn what_is_unresolved_is_counted_and_shown_also_where_its_route_is_not_enabled_any_more() {
    let (folder, file) = folder();
    let ingo = Ingo::start();
    let config = folder.path().join("config.yaml");
    let enabled = |routes: &str| {
        let yaml = format!("journal: {{file: {}}}\nroutes: {routes}\n", file.display());
        fs::write(&config, yaml).expect("written");
    };
    let proxy = || {
        let proxy = ingo.proxy().admin();
        proxy.argument("--config").argument(&config).start()
    };
    let counted = |proxy: &Proxy| {
        let metrics = proxy.metrics();
        let of = |route| metrics.sum("ingo_proxy_journal_unresolved", &[("route", route)]);
        assert_eq!((of("debit"), of("process")), (1.0, 0.0));
        let page = proxy.admin("/").text();
        let row = "debit</th><td class=\"number\">1</td>";
        assert!(page.contains(row), "{page}");
    };
    enabled("{debit: {enabled: true}}");
    let first = proxy();
    ingo.inject("reset_after_body").expect("a fault");
    first
        .post(&debit("d-lost"))
        .is_problem(502, "upstream_reset", "maybe");
    recorded(&file, 2);
    enabled("{debit: {enabled: false}}");
    first.signal("HUP");
    let until = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&first.output()).contains("configuration reloaded") {
        assert!(Instant::now() < until, "it was not reloaded");
    }
    counted(&first);
    assert_eq!(first.terminate().status, Some(0));
    counted(&proxy());
}

#[test]
fn a_proxy_without_money_routes_serves_beside_the_one_that_has_the_journal() {
    let (_folder, file) = folder();
    let upstream = Upstream::scripted(|_| Reply::session("p"));
    let first = with_journal(Proxy::to(&upstream), &file).start();
    assert_eq!(first.post(&debit("d")).status, 200);
    let yaml = format!("journal:\n  file: {}\n", file.display());
    let second = Proxy::to(&upstream).yaml(&yaml).start();
    assert_eq!(second.post(&Post::new(session("p"))).status, 200);
    let told = String::from_utf8_lossy(&second.output()).into_owned();
    assert!(told.contains("is not counted here"), "{told}");
}

#[test]
fn identifying_values_too_long_for_the_journal_are_the_callers_fault_and_no_alarm() {
    let (_folder, file) = folder();
    let ingo = Ingo::start();
    let yaml = format!(
        "rate_limit:\n  per_second: 1\njournal:\n  file: {}\n",
        file.display()
    );
    let proxy = ingo.proxy().argument("--routes=debit").yaml(&yaml).start();
    let ids: Vec<_> = (0..600).map(|n| format!("{n:0>128}")).collect();
    let body = serde_json::json!({"participant_unique_ids": ids});
    let refused = proxy.post(&Post::new(body.to_string()).to(DEBIT));
    let problem = refused.is_problem(413, "body_too_large", "no");
    assert!(problem["detail"].to_string().contains("identifying values"));
    assert!(refused.header("retry-after").is_none());
    assert_eq!(ingo.received(), 0);
    // It took nothing that others wait for.
    let line = &proxy.access_lines(1)[0];
    for phase in ["rate_limit_seconds", "connect_seconds"] {
        assert!(line.get(phase).is_none(), "{line:#}");
    }
    // Counted by the time of its line.
    let of = |code| (proxy.metrics()).sum("ingo_proxy_rejections_total", &[("code", code)]);
    assert_eq!(of("journal_unavailable"), 0.0);
    assert_eq!(of("body_too_large"), 1.0);
    let output = String::from_utf8(proxy.output()).expect("text");
    assert!(!output.contains("\"ERROR\""), "{output}");
}

#[test]
fn payments_go_on_once_a_full_journal_that_was_moved_is_deleted() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a full disk is not tested, because mounting a small one needs root");
        return;
    };
    let file = disk.0.path().join("journal");
    let old = disk.0.path().join("journal.1");
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    ingo.inject("reset_after_body").expect("a fault");
    proxy
        .post(&debit("d-lost"))
        .is_problem(502, "upstream_reset", "maybe");
    let mut client = proxy.client();
    let mut full = || {
        let mut answers = (0..1_000).map(|n| client.post(&debit(&format!("d-{n}"))));
        let refused = answers.find(|a| a.status != 200).expect("a full disk");
        refused.is_problem(503, "journal_unavailable", "no");
    };
    full();
    fs::rename(&file, &old).expect("moved");
    proxy.signal("HUP");
    let until = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&proxy.output()).contains("goes on in the file that was moved") {
        assert!(Instant::now() < until, "the rotation succeeded");
    }
    full();
    fs::remove_file(&old).expect("there");
    assert_eq!(proxy.post(&debit("d-room-again")).status, 200);
    proxy.metrics_become(|m| m.sum("ingo_proxy_journal_unresolved", &[]) == 1.0);
    let lost = HashSet::from(["d-lost".to_owned()]);
    assert_eq!(listed(&unresolved(&[&file])), lost);
    // Before its file system is unmounted.
    drop(proxy);
}

#[test]
fn a_rotation_while_the_proxy_leaves_is_carried_over_for_the_next_process() {
    let lost = HashSet::from(["d-lost".to_owned()]);
    for signal in [true, false] {
        let (folder, file) = folder();
        let old = folder.path().join("journal.1");
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::scripted(move |request| {
            match crate::support::contains(&request.body, b"d-lost") {
                true => Reply::reset(),
                false => Reply::session("p").held_by(&held),
            }
        });
        let proxy = with_journal(Proxy::to(&upstream), &file).start();
        proxy
            .post(&debit("d-lost"))
            .is_problem(502, "upstream_reset", "maybe");
        let mut slow = proxy.client();
        slow.send(&debit("d-slow").bytes());
        recorded(&file, 3);
        proxy.signal("TERM");
        proxy.readyz_becomes(503);
        fs::rename(&file, &old).expect("moved");
        if signal {
            proxy.signal("HUP");
            exists(&file);
        }
        gate.open();
        assert_eq!(slow.answer("POST").status, 200);
        assert_eq!(proxy.end().status, Some(0));
        assert_eq!(listed(&unresolved(&[&file])), lost, "signal: {signal}");
    }
}

fn exists(file: &Path) {
    let until = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < until, "no new file was made");
    }
}

#[test]
fn after_kill_9_during_200_debits_none_without_an_answer_is_missing_from_the_list() {
    for killed_after in [20, 90, 160] {
        kill_after(killed_after);
    }
}

/// Kills the proxy once so many debits were received, and holds what is listed against what Ingo and the callers know.
fn kill_after(killed_after: u64) {
    const DEBITS: u64 = 200;
    const CALLERS: usize = 16;
    let (_folder, file) = folder();
    let ingo = Ingo::start();
    let proxy = with_journal(ingo.proxy(), &file).start();
    // What each caller asked for, in order, and whether it was answered.
    let mut asked: Vec<Vec<(String, bool)>> = Vec::new();
    // Nobody goes further than that before the rest is held.
    let (count, rest) = (AtomicU64::new(0), Gate::closed());
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let mut client = proxy.client();
                let (count, rest) = (&count, &rest);
                scope.spawn(move || {
                    let mut asked = Vec::new();
                    loop {
                        let n = count.fetch_add(1, Ordering::SeqCst);
                        if n >= DEBITS {
                            break;
                        }
                        if n >= killed_after {
                            rest.pass();
                        }
                        let id = format!("d-{n}");
                        let answer = client
                            .try_send(&debit(&id).bytes())
                            .and_then(|()| client.try_answer("POST"));
                        let well = answer.as_ref().is_ok_and(|a| a.status == 200);
                        asked.push((id, well));
                        if answer.is_err() {
                            break;
                        }
                    }
                    asked
                })
            })
            .collect();
        ingo.wait(|_| ingo.received() >= killed_after);
        // From here on every other debit is held, so that some are under way when the kill comes, and others end.
        ingo.inject("delay,share=0.5,seed=3,milliseconds=60000")
            .expect("a fault");
        rest.open();
        let held = |ledger: &[Entry]| {
            let held = ledger
                .iter()
                .filter(|e| e.fault.is_some() && e.verified.is_some());
            held.count() >= CALLERS / 2
        };
        ingo.wait(held);
        proxy.signal("KILL");
        asked = callers
            .into_iter()
            .map(|c| c.join().expect("no panic"))
            .collect();
    });
    let ended = unresolved(&[&file]);
    let listed = listed(&ended);
    let answered: HashMap<&str, bool> = asked
        .iter()
        .flatten()
        .map(|(id, well)| (&**id, *well))
        .collect();

    // What Ingo received and nobody was answered, is listed.
    let ledger = ingo.ledger();
    let mut open = 0;
    for entry in &ledger {
        let Some(id) = entry.identifying_value.as_deref() else {
            continue;
        };
        let at_work = entry.ending != Ending::Answered;
        if at_work {
            open += 1;
            assert!(listed.contains(id), "{id} is missing: {entry:#?}");
        }
    }
    assert!(open >= CALLERS / 2, "{open} were under way");
    // An answer that Ingo gave and its caller did not get may have been recorded or not. One that its caller got was at
    // least queued: only the last of a caller may still have been on its way to the disk.
    let just_recorded: HashSet<&str> = asked
        .iter()
        .filter_map(|asked| asked.iter().rev().find(|(_, well)| *well))
        .map(|(id, _)| &**id)
        .collect();
    let mut besides = 0;
    for id in &listed {
        let well = answered.get(&**id).copied().expect("it was asked for");
        if well {
            besides += 1;
            assert!(
                just_recorded.contains(&**id),
                "{id} was answered long before"
            );
        }
    }
    println!(
        "kill -9 after {killed_after} debits were received: {} listed, {open} without an answer of Ingo's, {besides} whose caller had its answer",
        listed.len()
    );
}
