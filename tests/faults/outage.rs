//! Ingo is down, or stands still: an outage is not multiplied, the proxy stays small, and is back as soon as Ingo is.

use std::time::Instant;

use crate::{
    blackhole::Blackhole,
    cells::attempts,
    counting::Counting,
    ingo::Ingo,
    support::{Answer, Client, PATIENCE, Post, Proxy, Reply, Upstream, json_of, session},
    table::Fault,
};

const EXCHANGES: usize = 2_000;
/// The defaults of `repeats.budget` and `repeats.budget_percent`.
const BUDGET: f64 = 100.0;
const SHARE: f64 = 0.2;

/// Runs the exchanges over a few connections; gives all answers.
fn all(proxy: &Proxy) -> Vec<Answer> {
    const CALLERS: usize = 8;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || {
                    let mut client = proxy.client();
                    let numbers = (caller..EXCHANGES).step_by(CALLERS);
                    numbers
                        .map(|n| client.post(&Post::new(session(&format!("p{n}")))))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let answers = callers.into_iter().map(|c| c.join().expect("no panic"));
        answers.flatten().collect()
    })
}

/// Asserts that attempts stayed within the budget; gives their number.
fn within_the_budget(what: &str, answers: &[Answer]) -> u32 {
    assert_eq!(answers.len(), EXCHANGES);
    let made: u32 = answers.iter().map(attempts).sum();
    let exchanges = EXCHANGES as f64;
    let (each, most) = (
        f64::from(made) / exchanges,
        1.0 + SHARE + BUDGET / exchanges,
    );
    println!("{what}: {each:.3} attempts per exchange, at most {most:.3}");
    assert!(each <= most, "{each} attempts per exchange, not {most}");
    // The budget is there to be used.
    assert!(each > 1.0 + SHARE, "{each} attempts per exchange");
    made
}

#[test]
fn while_nothing_listens_attempts_stay_within_the_budget_of_repeats() {
    let upstream = Counting::refusing(|_, _| None);
    let yaml = "repeats:\n  backoff_base: 1ms\ncircuit_breaker:\n  failures: 0\n";
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(yaml)
        .start();
    let answers = all(&proxy);
    for answer in &answers {
        answer.is_problem(502, "upstream_unreachable", "no");
    }
    within_the_budget("nothing listens, no circuit breaker", &answers);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn while_connections_are_accepted_and_reset_attempts_stay_within_the_budget_of_repeats() {
    let upstream = Counting::scripted(|_, _| Some(Fault::ResetUnread));
    let yaml = "repeats:\n  backoff_base: 1ms\n";
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(yaml)
        .start();
    let answers = all(&proxy);
    for answer in &answers {
        answer.is_problem(502, "upstream_reset", "maybe");
    }
    let made = within_the_budget("accepted, then reset", &answers);
    assert_eq!(upstream.arrivals().len(), made as usize, "what came up");
}

#[test]
fn with_the_circuit_breaker_an_upstream_that_is_down_is_hardly_tried() {
    let upstream = Counting::refusing(|_, _| None);
    // Longer than the test, so that no probe is due.
    let yaml = "circuit_breaker:\n  open_for: 60s\n";
    // One attempt per exchange, so that they can be told apart.
    let proxy = Proxy::to_url(&upstream.url()).yaml(yaml).start();
    let answers = all(&proxy);
    let (tried, left_alone): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 502);
    for answer in &tried {
        answer.is_problem(502, "upstream_unreachable", "no");
    }
    for answer in &left_alone {
        is_open(answer);
    }
    let tried = tried.len();
    println!("nothing listens, circuit breaker: {tried} of {EXCHANGES} exchanges tried to connect");
    // Five failures in a row open it; the eight callers may all have been under way.
    assert!((5..=12).contains(&tried), "{tried} exchanges tried");
}

/// Asks until the answer is no `circuit_open` any more.
fn until_probed(client: &mut Client) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.post(&Post::new("{}"));
        if answer.status != 503 {
            return answer;
        }
        is_open(&answer);
        assert!(Instant::now() < until, "no probe was ever let through");
    }
}

fn is_open(answer: &Answer) {
    answer.is_problem(503, "circuit_open", "no");
    let after = answer.header("retry-after").expect("when to come back");
    let after: u64 = after.parse().expect("a number of seconds");
    assert!((1..=60).contains(&after), "{after}");
}

#[test]
fn the_circuit_opens_after_failures_to_connect_lets_one_probe_through_and_closes_when_ingo_is_back()
{
    let upstream = Counting::refusing(|_, _| None);
    let yaml = "circuit_breaker:\n  failures: 3\n  open_for: 300ms\n";
    // One attempt per exchange, so that they can be counted.
    let proxy = Proxy::to_url(&upstream.url()).yaml(yaml).start();
    let open = |m: &crate::support::Metrics| m.sum("ingo_proxy_circuit_open", &[]);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(open(&proxy.metrics()), 0.0);
        let answer = client.post(&Post::new("{}"));
        answer.is_problem(502, "upstream_unreachable", "no");
    }
    is_open(&client.post(&Post::new("{}")));
    assert_eq!(open(&proxy.metrics()), 1.0);

    // The probe fails: open again at once.
    until_probed(&mut client).is_problem(502, "upstream_unreachable", "no");
    is_open(&client.post(&Post::new("{}")));

    upstream.listen();
    let answer = until_probed(&mut client);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(open(&proxy.metrics()), 0.0);
    assert_eq!(client.post(&Post::new("{}")).status, 200);
    assert_eq!(upstream.arrivals().len(), 2, "refusals never came up");
}

#[test]
fn an_upstream_that_answers_no_connection_opens_the_circuit_also_where_callers_have_no_time_to_wait_for_it()
 {
    let nowhere = Blackhole::open();
    let yaml = "circuit_breaker:\n  failures: 2\n  open_for: 60s\n";
    let proxy = Proxy::to_url(&nowhere.url()).yaml(yaml).start();
    // Less than upstream.connect_timeout.
    let hurried = Post::new("{}").header("Ingo-Proxy-Timeout", "2");
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send(&hurried.bytes());
    }
    for mut client in clients {
        let answer = client.answer("POST");
        answer.is_problem(503, "deadline_exceeded", "no");
    }
    is_open(&proxy.post(&hurried));
}

#[test]
fn an_open_circuit_keeps_nobody_from_a_connection_that_is_there_and_closes_when_that_is_good() {
    let upstream = Counting::refusing(|_, _| None);
    upstream.listen_for(1);
    let yaml = "threads: 1\ncircuit_breaker:\n  failures: 1\n  open_for: 300ms\nroutes:\n  process:\n    enabled: true\n";
    let proxy = Proxy::to_url(&upstream.url()).yaml(yaml).start();
    let open = || proxy.metrics().sum("ingo_proxy_circuit_open", &[]);
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    // Connections for money are pooled apart.
    is_open(&proxy.post(&Post::new("{}").to("/gateway/process")));
    assert_eq!(open(), 1.0);
    is_open(&proxy.post(&Post::new("{}").to("/gateway/process")));
    let until = Instant::now() + PATIENCE;
    loop {
        assert_eq!(proxy.post(&Post::new("{}")).status, 200);
        if open() == 0.0 {
            break;
        }
        assert!(
            Instant::now() < until,
            "it stays open while all is answered"
        );
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn answers_that_tell_of_trouble_do_not_open_the_circuit() {
    let upstream = Counting::scripted(|count, _| match count % 2 {
        0 => Some(Fault::Status(503, None)),
        _ => Some(Fault::ResetAfterBody),
    });
    let yaml = "circuit_breaker:\n  failures: 1\n";
    let proxy = Proxy::to_url(&upstream.url()).yaml(yaml).start();
    for _ in 0..10 {
        let answer = proxy.post(&Post::new("{}"));
        if answer.status != 503 {
            answer.is_problem(502, "upstream_reset", "maybe");
        }
    }
    assert_eq!(upstream.arrivals().len(), 10);
}

#[test]
fn an_answer_that_was_followed_by_another_is_not_counted_as_held_any_more() {
    let body = json_of(900_000);
    let upstream = Upstream::answering(Reply::status(503).body(body.clone()));
    let yaml = "limits:\n  buffered_bytes: 2MiB\nrepeats:\n  backoff_base: 1ms\n";
    let proxy = Proxy::to(&upstream).repeating().yaml(yaml).start();
    let answer = proxy.post(&Post::new("{}"));
    assert_eq!(
        (answer.status, attempts(&answer)),
        (503, 3),
        "{}",
        answer.text()
    );
    assert!(answer.body == body, "Ingo's own answer");
}

/// What the process holds in memory, in bytes.
fn resident(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id()));
    let status = status.expect("Linux tells it of our own child");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    1024 * kib
        .and_then(|k| k.parse::<u64>().ok())
        .expect("a number of KiB")
}

#[test]
fn a_thousand_callers_on_a_stalled_upstream_cost_bounded_memory_and_are_answered_when_it_ends() {
    const CALLERS: usize = 1_000;
    const BODY: usize = 16 * 1024;
    let ingo = Ingo::start();
    ingo.inject("delay,milliseconds=60000,until=cleared")
        .expect("a fault");
    // Nothing here may take the stall for a failure, however slow the machine is.
    let yaml = "routes:\n  verify:\n    enabled: true\n    attempt_timeout: 30s\n";
    let proxy = ingo.proxy().yaml(yaml).start();
    let before = resident(&proxy);
    let body = |n: usize| {
        let filling = String::from_utf8(json_of(BODY)).expect("ASCII");
        format!(r#"{{"participant_unique_id1":"p{n}","more":{filling}}}"#)
    };
    let mut clients: Vec<_> = (0..CALLERS)
        .map(|n| {
            let mut client = proxy.client();
            client.send(&Post::new(body(n)).to("/gateway/verify").bytes());
            client
        })
        .collect();
    ingo.wait(|ledger| ledger.iter().filter(|e| e.verified.is_some()).count() == CALLERS);
    let during = resident(&proxy);
    let each = (during - before) / CALLERS as u64;

    let ended = Instant::now();
    ingo.clear_faults();
    let next = proxy.post(&Post::new(session("next")));
    let recovered = ended.elapsed();
    assert_eq!(next.status, 200, "{}", next.text());
    for client in &mut clients {
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(attempts(&answer), 1);
    }
    println!(
        "{CALLERS} callers with {BODY} bytes each on a stalled upstream: {} KiB before, {} KiB during, {} KiB a caller; \
         the next exchange was answered {} ms after the stall's end, all of them after {} ms",
        before / 1024,
        during / 1024,
        each / 1024,
        recovered.as_millis(),
        ended.elapsed().as_millis()
    );
    // A body, Pingora's buffers on both sides and the tasks; generous, because it is a debug build.
    assert!(each < 256 * 1024, "{each} bytes a caller");
    assert_eq!(ingo.counts()["transactions"], CALLERS);
}
