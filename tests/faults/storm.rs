//! Ten thousand exchanges while one attempt in five fails: nothing twice, nobody unanswered, nothing untrue.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Instant,
};

use ingo_signing_proxy::emulator::Entry;

use crate::{
    cells::attempts,
    ingo::Ingo,
    support::{Answer, Post, Random, SESSIONS, session},
};

/// Kept-alive connections of callers.
const CALLERS: usize = 32;
const EXCHANGES: usize = 10_000;

/// What meets a fifth of all attempts, in shares: 1 - 0.9775¹⁰ = 0.204. All that is quick, on every route.
const FAULTS: [&str; 10] = [
    "reset_before_reading",
    "reset_after_headers",
    "reset_after_body",
    "reset_in_answer",
    "close_idle",
    "status_429,retry_after=0",
    "status_502",
    "status_503",
    "status_504",
    "body_status_500",
];
const SHARE: f64 = 0.0225;

/// The four kinds of calls, and how many in ten are of each.
const MIX: [(&str, u64); 4] = [
    (SESSIONS, 5),
    ("/gateway/verify", 2),
    ("/gateway/process", 2),
    ("/gateway/v12/debit/process", 1),
];

/// One exchange as its caller saw it.
struct Seen {
    path: &'static str,
    key: String,
    answer: Answer,
}

fn body(path: &str, id: &str) -> Vec<u8> {
    match path {
        SESSIONS => session(id),
        "/gateway/v12/debit/process" => format!(
            r#"{{"participant_unique_ids":{{"participant_unique_id1":"{id}"}},"amount":1.00}}"#
        )
        .into_bytes(),
        _ => format!(r#"{{"participant_unique_id1":"{id}","amount":1.00}}"#).into_bytes(),
    }
}

/// The body's status, if it is Ingo's.
fn ingo_status(answer: &Answer) -> Option<u64> {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let status = json.pointer("/response/status").unwrap_or(&json["status"]);
    match answer.header("content-type") {
        Some("application/problem+json") => None,
        _ => status.as_u64().or_else(|| status.as_str()?.parse().ok()),
    }
}

fn succeeded(answer: &Answer) -> bool {
    matches!(ingo_status(answer), Some(100 | 101))
}

/// One caller's share of the exchanges, over one kept-alive connection where the proxy keeps it.
fn call(proxy: &crate::support::Proxy, caller: usize, seen: &Mutex<Vec<Seen>>) {
    let mut random = Random::seeded(caller as u64 + 1);
    let mut client = proxy.client();
    let mut left = EXCHANGES / CALLERS + usize::from(caller < EXCHANGES % CALLERS);
    let mut number = 0;
    // The session to ask for again: its caller got none, or wants a fresh URL.
    let mut again: Option<String> = None;
    while left > 0 {
        left -= 1;
        number += 1;
        let (path, key) = match again.take() {
            Some(key) => (SESSIONS, key),
            None => {
                let mut draw = random.below(10);
                let drawn = MIX.iter().find(|(_, share)| {
                    let hit = draw < *share;
                    draw = draw.saturating_sub(*share);
                    hit
                });
                let path = drawn.expect("the shares are ten").0;
                (path, format!("{caller}-{number}"))
            }
        };
        let post = Post::new(body(path, &key)).to(path);
        let answer = client.post(&post.header("Idempotency-Key", &key));
        let fresh_url = random.below(20) == 0;
        if path == SESSIONS && (!succeeded(&answer) || fresh_url) {
            again = Some(key.clone());
        }
        let mut seen = seen.lock().expect("no holder of the lock panics");
        seen.push(Seen { path, key, answer });
    }
}

#[test]
fn of_ten_thousand_exchanges_at_a_fifth_of_faults_nothing_happens_twice_and_nothing_untrue_is_said()
{
    let ingo = Ingo::built(|builder| builder.ledger_entries(4 * EXCHANGES));
    for (seed, fault) in FAULTS.iter().enumerate() {
        let armed = format!("{fault},share={SHARE},seed={}", seed + 1);
        ingo.inject(&armed).expect("a fault");
    }
    let yaml = "repeats:\n  backoff_base: 1ms\n";
    let proxy = ingo
        .proxy()
        .argument("--routes=create_session,verify,process,debit")
        .yaml(yaml)
        .start();
    let seen = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (proxy, seen) = (&proxy, &seen);
            scope.spawn(move || call(proxy, caller, seen));
        }
    });
    let seen = seen.into_inner().expect("no holder of the lock panics");
    assert_eq!(seen.len(), EXCHANGES, "every caller is answered");
    let ledger = ingo.ledger();
    assert_eq!(ledger.len() as u64, ingo.received(), "all entries are held");

    signatures_are_valid(&ledger);
    let faults = ledger.iter().filter(|e| e.fault.is_some()).count();
    let share = faults as f64 / ledger.len() as f64;
    assert!((0.17..0.24).contains(&share), "{share} of attempts failed");
    let repeated = money_is_sent_once(&ledger, &seen);
    let sessions = sessions_are_one_per_key(&ingo, &seen);
    let unsent = nothing_untrue_is_said(&ledger, &seen);
    let made: u64 = seen.iter().map(|s| u64::from(attempts(&s.answer))).sum();
    // An attempt on a connection that Ingo had just closed is made, and never read.
    assert!(made >= ledger.len() as u64, "{made} attempts were told of");
    let well = seen.iter().filter(|s| succeeded(&s.answer)).count();
    println!(
        "{EXCHANGES} exchanges in {:.1} s: {made} attempts, {} received, {faults} met a fault; {well} answered 100 or 101, \
         {sessions} sessions, {repeated} repeats of money, {unsent} problems with sent no",
        began.elapsed().as_secs_f64(),
        ledger.len()
    );
}

fn signatures_are_valid(ledger: &[Entry]) {
    for entry in ledger {
        assert_ne!(entry.verified, Some(false), "{entry:#?}");
        if entry.body_sha256.is_some() {
            assert_eq!(entry.verified, Some(true), "{entry:#?}");
        }
    }
}

/// How many requests of money calls were repeats; there is none.
fn money_is_sent_once(ledger: &[Entry], seen: &[Seen]) -> usize {
    let mut keys = HashSet::new();
    let mut values = HashSet::new();
    let mut repeats = 0;
    for entry in ledger {
        if matches!(entry.route, Some("process" | "debit")) {
            let new = keys.insert(entry.idempotency_key.as_deref())
                && entry
                    .identifying_value
                    .as_deref()
                    .is_none_or(|value| values.insert((entry.route, value)));
            assert!(new, "received twice: {entry:#?}");
            repeats += usize::from(!new);
        }
    }
    // Where nothing was read, the ledger does not know whose request it was; the proxy does.
    for seen in seen {
        if seen.path.starts_with("/gateway/process") || seen.path.contains("debit") {
            assert_eq!(attempts(&seen.answer), 1, "{}", seen.key);
        }
    }
    repeats
}

/// How many sessions there are.
fn sessions_are_one_per_key(ingo: &Ingo, seen: &[Seen]) -> u64 {
    let mut keys = HashSet::new();
    let mut sessions = HashMap::new();
    let mut urls = HashSet::new();
    for Seen { path, key, answer } in seen {
        if *path != SESSIONS {
            continue;
        }
        keys.insert(key);
        if succeeded(answer) {
            let data = &answer.json()["data"];
            let session = data["session_identifier"].as_str().expect("a session");
            let first = sessions.entry(key).or_insert_with(|| session.to_owned());
            assert_eq!(first, session, "two sessions of the key {key}");
            assert!(
                ingo.session_state(session).is_some(),
                "{session} is unknown"
            );
            assert_eq!(data["participant_unique_id1"], **key, "somebody else's");
            let url = data["authorized_url"].as_str().expect("a URL").to_owned();
            assert!(urls.insert(url), "two callers got the same authorized_url");
        }
    }
    let distinct: HashSet<_> = sessions.values().collect();
    assert_eq!(distinct.len(), sessions.len(), "two keys share a session");
    let created = ingo.counts()["created"].as_u64().expect("a count");
    assert!(created <= keys.len() as u64, "{created} of {}", keys.len());
    assert!(created >= sessions.len() as u64);
    created
}

/// How many problems said that nothing was sent.
fn nothing_untrue_is_said(ledger: &[Entry], seen: &[Seen]) -> usize {
    let received: HashSet<_> = ledger
        .iter()
        .filter_map(|e| Some((e.route?, e.idempotency_key.as_deref()?)))
        .collect();
    let mut unsent = 0;
    let mut answered_before = HashSet::new();
    for Seen { path, key, answer } in seen {
        let route = match *path {
            SESSIONS => "create_session",
            path => path
                .trim_start_matches("/gateway/")
                .trim_start_matches("v12/"),
        };
        let route = route.split('/').next().expect("a part");
        let mine = received.contains(&(route, key.as_str()));
        if answer.header("content-type") == Some("application/problem+json") {
            let problem = answer.problem();
            if problem["sent"] == "no" {
                unsent += 1;
                // A session may have been asked for under this key before.
                assert!(!mine || answered_before.contains(key), "{problem}");
            }
        } else {
            assert!(mine, "answered and never received: {key}");
        }
        answered_before.insert(key);
    }
    unsent
}
