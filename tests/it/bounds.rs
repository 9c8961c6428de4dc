//! Whatever callers send, the proxy's memory, connections and work stay within their limits, and it says so at once.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Gate, Metrics, PATIENCE, Post, Proxy, Reply, Upstream, json_of, session,
};

fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::scripted(move |_| Reply::json("{}").held_by(&gate))
}

#[test]
fn exchanges_beyond_those_in_flight_and_in_the_queue_are_refused_at_once() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "limits:\n  exchanges_in_flight: 1\n  queue_length: 1\n  queue_wait: 50ms\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut first = proxy.client();
    first.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    for _ in 0..3 {
        let answer = proxy.post(&Post::new("{}"));
        answer.is_problem(503, "overloaded", "no");
        let retry_after = answer.header("retry-after").expect("a Retry-After");
        assert!(
            retry_after.parse::<u32>().is_ok_and(|s| s >= 1),
            "{retry_after}"
        );
    }
    gate.open();
    assert_eq!(first.answer("POST").status, 200);
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    let overloaded = [("code", "overloaded")];
    proxy.metrics_become(|m| m.sum("ingo_proxy_rejections_total", &overloaded) == 3.0);
}

#[test]
fn an_exchange_in_the_queue_gets_its_turn() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "limits:\n  exchanges_in_flight: 1\n  queue_length: 1\n  queue_wait: 10s\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut clients = [proxy.client(), proxy.client()];
    clients[0].send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    clients[1].send(&Post::new("{}").bytes());
    // The third finds the queue full as soon as the second is in it; until then it is the one that waits.
    let mut third = proxy.client();
    third.send(&Post::new("{}").bytes());
    let refused = loop {
        if clients[1].hears_something_within(Duration::from_millis(20)) {
            break &mut clients[1];
        }
        if third.hears_something_within(Duration::from_millis(20)) {
            break &mut third;
        }
    };
    refused.answer("POST").is_problem(503, "overloaded", "no");
    gate.open();
    assert_eq!(clients[0].answer("POST").status, 200);
    assert_eq!(upstream.wait_for(2).len(), 2);
}

#[test]
fn a_caller_that_only_sends_a_head_does_not_take_the_place_of_one_that_sends_all() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  exchanges_in_flight: 4\n  queue_length: 0\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let heads: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = proxy.client();
            client.send(b"POST /api/v1/sessions/point-in-time/plugin HTTP/1.1\r\n");
            client
        })
        .collect();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    drop(heads);
}

#[test]
fn connections_beyond_the_limit_are_closed_or_told_so() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  inbound_connections: 2\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut held = [proxy.client(), proxy.client()];
    for client in &mut held {
        assert_eq!(client.post(&Post::new("{}")).status, 200);
    }
    let mut beyond = proxy.client();
    let sent = beyond.try_send(&Post::new("{}").bytes());
    if let (Ok(()), Ok(answer)) = (sent, beyond.try_answer("POST")) {
        answer.is_problem(503, "overloaded", "no");
    }
    assert_eq!(upstream.requests().len(), 2);
    // Those within the limit are not disturbed.
    for client in &mut held {
        assert_eq!(client.post(&Post::new("{}")).status, 200);
    }
    drop(held);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = proxy.client();
        let sent = client.try_send(&Post::new("{}").bytes());
        let answer = sent.and_then(|()| client.try_answer("POST"));
        if answer.is_ok_and(|a| a.status == 200) {
            break;
        }
        assert!(Instant::now() < until, "a place was never given back");
    }
}

#[test]
fn the_health_listener_answers_while_the_proxy_listener_is_full() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "limits:\n  inbound_connections: 1\n  exchanges_in_flight: 1\n  queue_length: 0\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(proxy.health(path).status, 200, "{path}");
    }
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
}

#[test]
fn an_http_2_connection_beyond_the_limit_is_told_so_and_counted() {
    const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let upstream = Upstream::answering(Reply::json("{}"));
    // One of HTTP/2 counts as 100.
    let yaml = "limits:\n  inbound_connections: 150\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut first = proxy.client();
    first.send(BEGINNING);
    assert!(first.hears_something_within(PATIENCE), "its settings");
    let mut second = proxy.client();
    second.send(BEGINNING);
    second.finish_sending();
    let heard = second.everything();
    // SETTINGS (RFC 9113 §6.5), then GOAWAY (§6.8): no stream was looked at, ENHANCE_YOUR_CALM.
    assert_eq!(heard[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0], "{heard:?}");
    assert_eq!(heard[12..26], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
    let why = &heard[26..];
    assert_eq!(usize::from(heard[11]), 8 + why.len());
    assert_eq!(
        String::from_utf8_lossy(why),
        "as many connections are open as limits.inbound_connections allows"
    );
    let overloaded = [("code", "overloaded")];
    proxy.metrics_become(|m| m.sum("ingo_proxy_rejections_total", &overloaded) == 1.0);
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
}

#[test]
fn what_is_sent_to_the_health_listener_takes_nothing_from_callers() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  body_bytes: 16KiB\n  buffered_bytes: 64KiB\nupstream:\n  max_response_bytes: 32KiB\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let head = [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ".as_slice(),
        &[b'x'; 15_000],
    ];
    let mut unfinished: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::connect(proxy.address("health"));
            client.send(&head.concat());
            client
        })
        .collect();
    // The first is ended after five seconds. One would leave 4 KB of the three quarters that requests may have.
    let mut served = 0;
    while !unfinished[0].hears_something_within(Duration::from_millis(20)) {
        let answer = proxy.post(&Post::new(json_of(10_000)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        served += 1;
    }
    assert_ne!(served, 0, "the first was ended at once, for want of memory");
}

#[test]
fn whoever_holds_connections_to_the_health_listener_keeps_nobody_else_out() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let health = proxy.address("health");
    let from_another = || Client::connect_from([127, 0, 0, 2].into(), health);
    let mut held: Vec<Client> = (0..64).map(|_| from_another()).collect();
    // They are accepted in order.
    assert_eq!(held[63].get("/livez").status, 200);
    from_another()
        .get("/livez")
        .is_problem(503, "overloaded", "no");
    assert_eq!(proxy.health("/livez").status, 200);
    drop(held);
    // What one address had is given back.
    let until = Instant::now() + PATIENCE;
    while from_another().get("/livez").status != 200 {
        assert!(Instant::now() < until, "a place was never given back");
    }
}

#[test]
fn bodies_beyond_the_buffered_bytes_are_refused_and_what_was_held_is_given_back() {
    const MIB: usize = 1_048_576;
    const CALLERS: usize = 8;
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "limits:\n  buffered_bytes: 3MiB\n  queue_wait: 50ms\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let body = Post::new(json_of(MIB)).bytes();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    let _ = client.try_send(&body);
                    // Refused at once, or held until the gate opens.
                    let Ok(answer) = client.try_answer("POST") else {
                        return 0;
                    };
                    if answer.status != 200 {
                        answer.is_problem(503, "overloaded", "no");
                    }
                    answer.status
                })
            })
            .collect();
        // Some are held upstream; the rest hear that there is no room, long before the first are answered.
        upstream.wait_for(1);
        let metrics = proxy.metrics_become(|m| {
            let refused = m.sum("ingo_proxy_rejections_total", &[("code", "overloaded")]);
            refused as usize + upstream.requests().len() == CALLERS
        });
        let buffered = metrics.sum("ingo_proxy_buffered_bytes", &[]);
        assert!(buffered >= MIB as f64, "{buffered}");
        assert!(buffered <= 3.0 * MIB as f64, "{buffered}");
        gate.open();
        callers
            .into_iter()
            .map(|c| c.join().expect("a caller ends"))
            .collect()
    });
    let answered = statuses.iter().filter(|s| **s == 200).count();
    assert!((1..=3).contains(&answered), "{statuses:?}");
    assert!(statuses.contains(&503), "{statuses:?}");
    assert_eq!(upstream.requests().len(), answered);
    proxy.metrics_become(|m| m.sum("ingo_proxy_buffered_bytes", &[]) == 0.0);
    assert_eq!(proxy.post(&Post::new(json_of(MIB))).status, 200);
}

#[test]
fn memory_is_bounded_whatever_callers_send() {
    const MIB: usize = 1_048_576;
    const CALLERS: usize = 100;
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "limits:\n  buffered_bytes: 8MiB\n  queue_wait: 50ms\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let resident = |m: &Metrics| {
        let names = [
            "process_resident_memory_bytes",
            "ingo_proxy_process_resident_memory_bytes",
        ];
        names.iter().map(|n| m.sum(n, &[])).sum::<f64>()
    };
    let before = resident(&proxy.metrics());
    assert!(before > 0.0);
    let body = Post::new(json_of(MIB)).in_chunks_of(65_536).bytes();
    let mut callers: Vec<Client> = (0..CALLERS).map(|_| proxy.client()).collect();
    std::thread::scope(|scope| {
        for client in &mut callers {
            scope.spawn(|| client.try_send(&body));
        }
        proxy.metrics_become(|m| {
            let refused = m.sum("ingo_proxy_rejections_total", &[("code", "overloaded")]);
            refused as usize + upstream.requests().len() == CALLERS
        });
        let grown = resident(&proxy.metrics()) - before;
        // Three times the limit for what the allocator keeps for each thread, and 64 KiB of buffers for each connection.
        let bound = (3 * 8 * MIB + CALLERS * 65_536 + 16 * MIB) as f64;
        assert!(grown < bound, "it grew by {grown} bytes, more than {bound}");
        gate.open();
    });
}

/// What the allocator keeps for whoever asks next goes back to the system although nobody asks. The metrics are not looked at
/// meanwhile: that would be asking.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_a_rush_took_is_given_back_in_the_silence_after_it() {
    const MIB: usize = 1_048_576;
    const CALLERS: usize = 12;
    /// Connections to Ingo are closed after 30 s, which would be asking as well.
    const SOON: Duration = Duration::from_secs(20);
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let yaml = "threads: 1\nlimits:\n  buffered_bytes: 256MiB\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id()));
        let status = status.expect("it runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.expect("a number of KiB") / 1024
    };
    let before = resident();
    let body = Post::new(json_of(MIB)).bytes();
    let mut callers: Vec<Client> = (0..CALLERS).map(|_| proxy.client()).collect();
    for client in &mut callers {
        client.send(&body);
    }
    upstream.wait_for(CALLERS);
    let most = resident();
    assert!(most >= before + CALLERS, "{before} MiB, then {most}");
    gate.open();
    for client in &mut callers {
        assert_eq!(client.answer("POST").status, 200);
    }
    drop(callers);
    let began = Instant::now();
    while resident() > before + CALLERS / 3 {
        assert!(
            began.elapsed() < SOON,
            "{before} MiB, {most}, still {}",
            resident()
        );
        // Not to wait for something: to leave the processor to it.
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_length_that_is_announced_and_never_sent_does_not_hold_memory_against_others() {
    // Sixty callers announce a MiB each and send nothing: what counts is what is there.
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  buffered_bytes: 4MiB\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let silent: Vec<Client> = (0..60)
        .map(|_| {
            let mut client = proxy.client();
            let post = Post::new("").unframed().header("Content-Length", "1000000");
            client.send(&post.head());
            client
        })
        .collect();
    let answer = proxy.post(&Post::new(session("p")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(silent);
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_in_flight", &[]) == 0.0);
}

#[test]
fn an_idle_connection_of_a_caller_is_closed_after_its_time() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let yaml = "limits:\n  inbound_idle_timeout: 1s\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    let mut fresh = proxy.client();
    let mut used = proxy.client();
    assert_eq!(used.post(&Post::new("{}")).status, 200);
    used.is_closed();
    fresh.is_closed();
}

#[test]
fn every_place_is_given_back_whatever_becomes_of_an_exchange() {
    let upstream = Upstream::scripted(|request| match request.participant().as_str() {
        "reset" => Reply::reset(),
        "large" => Reply::json(json_of(1_048_577)),
        _ => Reply::json("{}"),
    });
    let yaml = "limits:\n  exchanges_in_flight: 2\n  queue_length: 2\n";
    let proxy = Proxy::to(&upstream).yaml(yaml).start();
    for round in 0..5 {
        for (post, status) in [
            (Post::new(session("fine")), 200),
            (Post::new(session("reset")), 502),
            (Post::new(session("large")), 502),
            (Post::new("not json"), 400),
            (Post::new("{}").to("/nowhere"), 404),
            (Post::new(json_of(1_048_577)), 413),
        ] {
            let mut client = proxy.client();
            // Of a body that is too large the rest may be refused by the time that it is sent.
            let _sent_or_refused = client.try_send(&post.bytes());
            let answer = client.answer("POST");
            assert_eq!(answer.status, status, "{round}: {}", answer.text());
        }
        // A caller that goes away in the middle of its body.
        let bytes = Post::new(session("gone")).bytes();
        proxy.client().send(&bytes[..bytes.len() - 1]);
    }
    proxy.metrics_become(|m| {
        m.sum("ingo_proxy_exchanges_in_flight", &[]) == 0.0
            && m.sum("ingo_proxy_buffered_bytes", &[]) == 0.0
    });
}
