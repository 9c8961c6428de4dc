//! Who waits how long: the caller's own deadline, the route's, a caller that hangs up, the rate limit, the kill switch.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    cells::attempts,
    counting::Counting,
    support::{
        Client, Gate, Metrics, PATIENCE, Post, Proxy, Reply, SECRET, USERNAME, Upstream, session,
    },
    table::Fault,
};

/// How long a caller listens before it hangs up: longer than it takes to tell it from one that only stopped sending.
const LISTENS: Duration = Duration::from_millis(500);

fn in_flight(metrics: &Metrics) -> f64 {
    metrics.sum("ingo_proxy_exchanges_in_flight", &[])
}

/// The caller hears nothing for a while and closes its connection.
fn hang_up(mut client: Client) {
    assert!(!client.hears_something_within(LISTENS));
    drop(client);
}

/// The line of the exchange with this key.
fn line(proxy: &Proxy, count: usize, key: &str) -> Value {
    let lines = proxy.access_lines(count);
    let mine = lines.into_iter().find(|l| l["idempotency_key"] == key);
    mine.unwrap_or_else(|| panic!("no line has the key {key}"))
}

#[test]
fn a_caller_shortens_the_deadline_of_its_exchange() {
    let upstream = Counting::scripted(|_, _| Some(Fault::Stall));
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .argument("--routes=create_session,process")
        .start();
    for path in [crate::support::SESSIONS, "/gateway/process"] {
        let post = Post::new(session("p")).to(path);
        let answer = proxy.post(&post.header("Ingo-Proxy-Timeout", "0.5"));
        answer.is_problem(504, "upstream_timeout", "maybe");
        assert_eq!(attempts(&answer), 1);
    }
    assert_eq!(upstream.arrivals().len(), 2);
}

#[test]
fn a_timeout_that_is_no_number_of_seconds_is_refused_and_the_header_stays_here() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    for bad in ["0", "-1", "soon", "1s", "1e3", "", "inf", "0x10"] {
        let post = Post::new("{}").header("Ingo-Proxy-Timeout", bad);
        proxy.post(&post).is_problem(400, "bad_request", "no");
    }
    let twice = Post::new("{}")
        .header("Ingo-Proxy-Timeout", "1")
        .header("Ingo-Proxy-Timeout", "2");
    proxy.post(&twice).is_problem(400, "bad_request", "no");
    upstream.received_nothing();
    // Far more than the route allows: the route's holds.
    let post = Post::new(session("p")).header("Ingo-Proxy-Timeout", "99999999999");
    assert_eq!(proxy.post(&post).status, 200);
    let names = upstream.only_request().names();
    assert!(
        !names.contains(&"ingo-proxy-timeout".to_owned()),
        "{names:?}"
    );
}

#[test]
fn the_deadline_of_a_route_is_that_of_all_its_attempts_together() {
    let upstream = Counting::scripted(|_, _| Some(Fault::Stall));
    let yaml = "repeats:\n  backoff_base: 1ms\nroutes:\n  create_session:\n    attempts: 10\n    attempt_timeout: 400ms\n    deadline: 1s\n";
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(yaml)
        .start();
    let answer = proxy.post(&Post::new(session("p")));
    answer.is_problem(504, "upstream_timeout", "maybe");
    // Two whole attempts and one that the deadline cut; a slow machine fits in fewer.
    assert!(
        (1..=3).contains(&attempts(&answer)),
        "{}",
        attempts(&answer)
    );
    assert_eq!(upstream.arrivals().len(), attempts(&answer) as usize);
}

#[test]
fn a_retry_after_beyond_the_deadline_is_not_waited_for_and_ingos_answer_is_passed_on() {
    let upstream = Counting::scripted(|_, _| Some(Fault::Status(429, Some(60))));
    let proxy = Proxy::to_url(&upstream.url()).repeating().start();
    let began = Instant::now();
    let answer = proxy.post(&Post::new(session("p")));
    assert_eq!((answer.status, attempts(&answer)), (429, 1));
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_caller_that_hangs_up_before_a_byte_was_written_is_dropped() {
    let gate = Gate::closed();
    let upstream = Upstream::answering(Reply::session("p").held_by(&gate));
    let proxy = Proxy::to(&upstream).start();
    let post = Post::new(session("p")).header("Idempotency-Key", "k");
    let mut leader = proxy.client();
    leader.send(&post.bytes());
    proxy.metrics_become(|m| in_flight(m) == 1.0);
    // It waits for the key, so nothing of it is written.
    let mut follower = proxy.client();
    follower.send(&post.bytes());
    proxy.metrics_become(|m| in_flight(m) == 2.0);
    hang_up(follower);
    let line = line(&proxy, 1, "k");
    assert_eq!(line["outcome"], "aborted", "{line:#}");
    assert_eq!(line["sent"], "no", "{line:#}");
    gate.open();
    assert_eq!(leader.answer("POST").status, 200);
    upstream.only_request();
}

/// An upstream that holds its answers, and a proxy with one turn, which is taken, and one place in its queue; the caller whose turn it is.
fn queueing(gate: &Gate) -> (Upstream, Proxy, Client) {
    let upstream = Upstream::answering(Reply::json("{}").held_by(gate));
    let yaml = "limits:\n  exchanges_in_flight: 1\n  queue_length: 1\n  queue_wait: 60s\nroutes:\n  process:\n    enabled: true\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut running = proxy.client();
    running.send(&Post::new(session("running")).bytes());
    upstream.wait_for(1);
    (upstream, proxy, running)
}

fn queue_becomes(proxy: &Proxy, length: f64) {
    proxy.metrics_become(|m| m.sum("ingo_proxy_queue_length", &[]) == length);
}

#[test]
fn a_caller_that_hangs_up_in_the_queue_leaves_its_place_and_nothing_of_it_is_sent() {
    let gate = Gate::closed();
    let (upstream, proxy, mut running) = queueing(&gate);
    let payment = Post::new(session("p")).to("/gateway/process").bytes();
    let sent = [&payment[..], &payment[..payment.len() - 1]];
    for (number, bytes) in sent.into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(bytes);
        queue_becomes(&proxy, 1.0);
        hang_up(client);
        let lines = proxy.access_lines(number + 1);
        let line = &lines[number];
        assert_eq!(line["outcome"], "aborted", "{line:#}");
        assert_eq!(line["sent"], "no", "{line:#}");
        queue_becomes(&proxy, 0.0);
    }
    let mut next = proxy.client();
    next.send(&Post::new(session("next")).bytes());
    queue_becomes(&proxy, 1.0);
    gate.open();
    for client in [&mut running, &mut next] {
        assert_eq!(client.answer("POST").status, 200);
    }
    let participants: Vec<_> = (upstream.requests().iter())
        .map(|r| r.participant())
        .collect();
    assert_eq!(participants, ["running", "next"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_caller_that_stops_sending_with_its_request_keeps_its_place_in_the_queue() {
    let gate = Gate::closed();
    let (_upstream, proxy, mut running) = queueing(&gate);
    let bytes = Post::new(session("p")).bytes();
    // The rest of the body comes long after the head.
    let (first, last) = bytes.split_at(bytes.len() - 1);
    let mut client = proxy.client();
    client.send(first);
    queue_becomes(&proxy, 1.0);
    assert!(!client.hears_something_within(LISTENS));
    client.send_the_last(last);
    assert!(!client.hears_something_within(LISTENS));
    queue_becomes(&proxy, 1.0);
    gate.open();
    for client in [&mut running, &mut client] {
        assert_eq!(client.answer("POST").status, 200);
    }
}

#[test]
fn a_caller_that_hangs_up_after_bytes_were_written_is_not_waited_for_and_the_outcome_is_logged() {
    for path in [crate::support::SESSIONS, "/gateway/process"] {
        let gate = Gate::closed();
        let reply = Reply::json(r#"{"status":100,"data":{"transaction_id":"t-9"}}"#);
        let upstream = Upstream::answering(reply.held_by(&gate));
        let proxy = Proxy::to(&upstream)
            .argument("--routes=create_session,process")
            .start();
        let mut client = proxy.client();
        let post = Post::new(session("p"))
            .to(path)
            .header("Idempotency-Key", "k");
        client.send(&post.bytes());
        upstream.wait_for(1);
        hang_up(client);
        assert_eq!(in_flight(&proxy.metrics()), 1.0, "it is still under way");
        gate.open();
        let line = line(&proxy, 1, "k");
        assert_eq!(line["sent"], "maybe", "{line:#}");
        assert_eq!(
            line["ingo_status"].to_string().trim_matches('"'),
            "100",
            "{line:#}"
        );
        assert_eq!(line["transaction_id"], "t-9", "{line:#}");
        proxy.metrics_become(|m| in_flight(m) == 0.0);
        upstream.only_request().verify(SECRET, USERNAME);
    }
}

#[test]
fn an_exchange_whose_caller_hung_up_between_attempts_is_still_brought_to_its_end() {
    let upstream = Counting::scripted(|n, _| (n == 0).then_some(Fault::Status(503, Some(2))));
    let proxy = Proxy::to_url(&upstream.url()).repeating().start();
    let mut client = proxy.client();
    client.send(
        &Post::new(session("p"))
            .header("Idempotency-Key", "k")
            .bytes(),
    );
    upstream.wait_for(1);
    hang_up(client);
    let arrivals = upstream.wait_for(2);
    assert_eq!(arrivals[0].body, arrivals[1].body);
    let line = line(&proxy, 1, "k");
    assert_eq!(line["attempts"], 2, "{line:#}");
    assert_eq!(line["ingo_status"].to_string().trim_matches('"'), "100");
}

#[test]
fn a_caller_that_only_stops_sending_gets_its_answer() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new(session("p")).bytes());
    client.finish_sending();
    assert_eq!(client.answer("POST").status, 200);
}

/// Processor time that the proxy has used, in ticks of 10 ms.
fn processor_time(proxy: &Proxy) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.id())).expect("our child");
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split(' ')
        .collect();
    // proc_pid_stat(5): utime and stime are the 14th and 15th field, and the state after the name is the 3rd.
    let ticks = |n: usize| fields[n - 2].parse::<u64>().expect("a number");
    ticks(14) + ticks(15)
}

#[test]
fn a_caller_that_sends_its_next_request_early_costs_nothing_while_the_first_is_under_way() {
    let gate = Gate::closed();
    let upstream = Upstream::scripted({
        let gate = gate.clone();
        move |request| Reply::session(&request.participant()).held_by(&gate)
    });
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new(session("first")).bytes());
    upstream.wait_for(1);
    client.send(&Post::new(session("second")).bytes());
    let before = processor_time(&proxy);
    assert!(!client.hears_something_within(Duration::from_secs(1)));
    let used = processor_time(&proxy) - before;
    assert!(used <= 20, "{used} ticks of one second: it spins");
    gate.open();
    for id in ["first", "second"] {
        let answer = client.answer("POST");
        assert_eq!(answer.json()["data"]["participant_unique_id1"], id);
    }
}

#[test]
fn at_the_rate_limit_callers_wait_and_no_more_go_up_than_it_allows() {
    const CALLERS: u32 = 12;
    const PER_SECOND: u32 = 10;
    const BURST: u32 = 2;
    let upstream = Counting::scripted(|_, _| None);
    let yaml = format!("rate_limit:\n  per_second: {PER_SECOND}\n  burst: {BURST}\n");
    let proxy = Proxy::to_url(&upstream.url()).yaml(&yaml).start();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..CALLERS {
            let proxy = &proxy;
            scope.spawn(move || {
                let answer = proxy.post(&Post::new(session(&format!("p{n}"))));
                assert_eq!(answer.status, 200, "{}", answer.text());
            });
        }
    });
    // Time enough must have passed to earn those beyond the burst. How much more passed is the machine's business.
    let least = Duration::from_secs(1) * (CALLERS - BURST) / PER_SECOND;
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    let waited = proxy.metrics().sum(
        "ingo_proxy_phase_duration_seconds_sum",
        &[("phase", "rate_limit")],
    );
    assert!(waited > 1.0, "{waited}");
}

#[test]
fn a_repeat_counts_against_the_rate_limit_too() {
    let upstream = Counting::scripted(|n, _| (n < 2).then_some(Fault::ResetAfterBody));
    let yaml = "repeats:\n  backoff_base: 1ms\nrate_limit:\n  per_second: 4\n  burst: 1\n";
    let proxy = Proxy::to_url(&upstream.url())
        .repeating()
        .yaml(yaml)
        .start();
    let began = Instant::now();
    let answer = proxy.post(&Post::new(session("p")));
    assert_eq!((answer.status, attempts(&answer)), (200, 3));
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[test]
fn whoever_would_wait_past_its_deadline_for_the_rate_limit_is_told_when_to_come_back() {
    let upstream = Upstream::echoing();
    let yaml = "rate_limit:\n  per_second: 1\n  burst: 1\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    assert_eq!(proxy.post(&Post::new(session("p"))).status, 200);
    let impatient = Post::new(session("q")).header("Ingo-Proxy-Timeout", "0.05");
    // On a very slow machine a second may have passed, and one more is let through.
    let refused = (0..10).map(|_| proxy.post(&impatient));
    let mut answered = 1;
    let answer = refused
        .inspect(|answer| answered += usize::from(answer.status == 200))
        .find(|answer| answer.status != 200)
        .expect("nobody is let through for ever");
    answer.is_problem(429, "rate_limited", "no");
    let after = answer.header("retry-after").expect("when to come back");
    assert!(
        (1..=2).contains(&after.parse::<u64>().expect("seconds")),
        "{after}"
    );
    assert_eq!(upstream.requests().len(), answered);
}

#[test]
fn a_payment_is_not_sent_once_less_is_left_than_ingo_may_hold_it_for() {
    let upstream = Upstream::echoing();
    // Ingo may hold it for 60 s, so that it has ten to begin: of 20 at one a second some cannot.
    let yaml = "routes:\n  process:\n    enabled: true\n    deadline: 70s\n    attempt_timeout: 65s\n\
                rate_limit:\n  per_second: 1\n  burst: 1\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut clients: Vec<Client> = (0..20)
        .map(|number| {
            let mut client = proxy.client();
            let money = Post::new(session(&number.to_string())).to("/gateway/process");
            client.send(&money.bytes());
            client
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    let refused = loop {
        let heard = |client: &mut Client| client.hears_something_within(Duration::from_millis(5));
        if let Some(at) = clients.iter_mut().position(heard) {
            let answer = clients.swap_remove(at).answer("POST");
            if answer.status != 200 {
                break answer;
            }
        }
        assert!(Instant::now() < until, "all of them wait");
    };
    refused.is_problem(429, "rate_limited", "no");
}

#[test]
fn the_deadline_bounds_the_wait_for_a_turn_and_for_the_body() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::json("{}").held_by(&held));
    let yaml = "limits:\n  exchanges_in_flight: 2\n  queue_length: 2\n  queue_wait: 60s\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let hurried = Post::new(session("p")).header("Ingo-Proxy-Timeout", "0.2");
    let mut slow = proxy.client();
    let bytes = hurried.bytes();
    slow.send(&bytes[..bytes.len() - 1]);
    slow.answer("POST")
        .is_problem(503, "deadline_exceeded", "no");
    let mut running = [proxy.client(), proxy.client()];
    for client in &mut running {
        client.send(&Post::new("{}").bytes());
    }
    upstream.wait_for(2);
    proxy
        .post(&hurried)
        .is_problem(503, "deadline_exceeded", "no");
    gate.open();
    for mut client in running {
        assert_eq!(client.answer("POST").status, 200);
    }
}

#[test]
fn a_route_that_is_switched_off_says_so_and_the_others_go_on() {
    let upstream = Upstream::echoing();
    let yaml = "routes:\n  process:\n    enabled: true\n    disabled: true\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let money = Post::new(session("p")).to("/gateway/process");
    proxy.post(&money).is_problem(503, "route_disabled", "no");
    upstream.received_nothing();
    assert_eq!(proxy.post(&Post::new(session("p"))).status, 200);
}

#[test]
fn a_connection_for_money_is_not_used_again_once_it_idled_for_five_seconds() {
    let upstream = Counting::scripted(|_, _| None);
    let proxy = Proxy::to_url(&upstream.url())
        .argument("--routes=create_session,process")
        .argument("--threads=1")
        .start();
    let money = Post::new(session("p")).to("/gateway/process");
    assert_eq!(proxy.post(&money).status, 200);
    assert_eq!(proxy.post(&money).status, 200);
    assert_eq!(upstream.connections(), 1, "used again at once");
    // By itself, where nobody asks for it.
    upstream.wait_for_no_connection();
    assert_eq!(proxy.post(&money).status, 200);
    assert_eq!(upstream.connections(), 2);
}
