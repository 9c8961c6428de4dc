//! How the program starts, drains and ends, and with which status.

use std::{
    net::TcpListener,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use crate::support::{Client, Ended, Gate, Post, Proxy, Reply, Upstream, process, session};

/// "At once", on a machine that does other things as well.
const AT_ONCE: Duration = Duration::from_secs(2);

const BINARY: &str = env!("CARGO_BIN_EXE_ingo-signing-proxy");

/// An upstream that holds its answers until the gate opens.
fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::scripted(move |request| Reply::session(&request.participant()).held_by(&gate))
}

/// Panics unless the program ended with `status` and said why, in words that name each of `words`.
fn ended_with(ended: &Ended, status: i32, words: &[&str]) {
    let output = ended.output();
    assert_eq!(ended.status, Some(status), "{output}");
    for word in words {
        assert!(output.contains(word), "{word} is not spoken of:\n{output}");
    }
}

#[test]
fn it_is_ready_within_100_ms_of_its_start() {
    // The best of some starts: a busy machine delays one or another, a sleep in the program delays all.
    let upstream = Upstream::answering(Reply::json("{}"));
    let fastest = (0..8)
        .map(|_| {
            let builder = Proxy::to(&upstream);
            let started = Instant::now();
            let proxy = builder.start();
            assert_eq!(proxy.health("/readyz").status, 200);
            started.elapsed()
        })
        .min()
        .expect("there were some");
    assert!(fastest < Duration::from_millis(100), "it took {fastest:?}");
}

#[test]
fn sigterm_and_sigint_end_an_idle_proxy_at_once_with_status_0() {
    for signal in ["TERM", "INT"] {
        let upstream = Upstream::answering(Reply::json("{}"));
        let proxy = Proxy::to(&upstream).start();
        // Connections that are open and silent are no reason to wait.
        let _fresh = proxy.client();
        let mut used = proxy.client();
        assert_eq!(used.post(&Post::new("{}")).status, 200);
        let signalled = Instant::now();
        proxy.signal(signal);
        let ended = proxy.end();
        ended_with(&ended, 0, &[]);
        assert!(signalled.elapsed() < AT_ONCE, "{:?}", signalled.elapsed());
        used.is_closed();
    }
}

#[test]
fn an_exchange_in_flight_is_finished_before_the_end() {
    for signal in ["TERM", "INT"] {
        let gate = Gate::closed();
        let upstream = holding(&gate);
        let proxy = Proxy::to(&upstream).start();
        let mut client = proxy.client();
        client.send(&Post::new(session("p")).bytes());
        upstream.wait_for(1);
        proxy.signal(signal);
        proxy.readyz_becomes(503);
        gate.open();
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["data"]["participant_unique_id1"], "p");
        client.is_closed();
        ended_with(&proxy.end(), 0, &[]);
    }
}

#[test]
fn a_body_that_is_still_being_sent_is_finished_before_the_end() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream).start();
    let mut held = proxy.client();
    held.send(&Post::new(session("held")).bytes());
    let bytes = Post::new(session("slow")).header("Expect", "100-continue");
    let mut slow = proxy.client();
    slow.send(&bytes.head());
    // It has begun: it was told to go on.
    assert_eq!(slow.interim(), 100);
    upstream.wait_for(1);
    proxy.signal("TERM");
    proxy.readyz_becomes(503);
    slow.send(&session("slow"));
    upstream.wait_for(2);
    gate.open();
    assert_eq!(slow.answer("POST").status, 200);
    assert_eq!(held.answer("POST").status, 200);
    ended_with(&proxy.end(), 0, &[]);
}

#[test]
fn while_it_drains_it_says_why_it_is_not_ready_and_still_lives() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new(session("p")).bytes());
    upstream.wait_for(1);
    proxy.signal("TERM");
    let answer = proxy.readyz_becomes(503);
    assert!(answer.text().contains("drain"), "{}", answer.text());
    assert_eq!(proxy.health("/livez").status, 200);
    assert_eq!(proxy.health("/metrics").status, 200);
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    ended_with(&proxy.end(), 0, &[]);
}

#[test]
fn a_request_that_comes_while_it_drains_is_served_or_refused_and_never_lost() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream).start();
    let mut held = proxy.client();
    held.send(&Post::new(session("held")).bytes());
    let mut kept = proxy.client();
    kept.post(&Post::new("not json"));
    upstream.wait_for(1);
    proxy.signal("TERM");
    proxy.readyz_becomes(503);
    let sent = kept.try_send(&Post::new(session("late")).bytes());
    gate.open();
    let answer = sent.and_then(|()| kept.try_answer("POST"));
    let served = match answer {
        Ok(answer) if answer.status == 200 => true,
        Ok(answer) => {
            answer.is_problem(503, "draining", "no");
            false
        }
        // Its connection was idle, and is closed like every idle one.
        Err(_) => false,
    };
    assert_eq!(held.answer("POST").status, 200);
    ended_with(&proxy.end(), 0, &[]);
    assert_eq!(upstream.requests().len(), 1 + usize::from(served));
}

#[test]
fn during_the_shutdown_delay_new_connections_are_still_served() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml("shutdown_delay: 2s\n").start();
    let signalled = Instant::now();
    proxy.signal("TERM");
    proxy.readyz_becomes(503);
    let answer = proxy.post(&Post::new(session("late")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    ended_with(&proxy.end(), 0, &[]);
    let took = signalled.elapsed();
    assert!(
        took >= Duration::from_millis(1_900),
        "it ended after {took:?}"
    );
}

#[test]
fn an_exchange_that_outlives_the_shutdown_limit_does_not_keep_the_process() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream).yaml("shutdown_limit: 300ms\n").start();
    let mut client = proxy.client();
    client.send(&Post::new(session("p")).bytes());
    upstream.wait_for(1);
    let signalled = Instant::now();
    proxy.signal("TERM");
    proxy.end();
    assert!(signalled.elapsed() < AT_ONCE, "{:?}", signalled.elapsed());
    gate.open();
}

#[test]
fn quitquitquit_on_the_admin_listener_drains_and_ends_with_status_0() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream).admin().start();
    let mut client = proxy.client();
    client.send(&Post::new(session("p")).bytes());
    upstream.wait_for(1);
    let quit = Post::new("").to("/quitquitquit");
    let answer = Client::connect(proxy.address("admin")).post(&quit);
    assert!((200..300).contains(&answer.status), "{}", answer.status);
    proxy.readyz_becomes(503);
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    ended_with(&proxy.end(), 0, &[]);
}

#[test]
fn quitquitquit_does_not_wait_for_load_balancers_and_ends_a_wait_that_a_signal_began() {
    for signalled_before in [false, true] {
        let gate = Gate::closed();
        let upstream = holding(&gate);
        let builder = Proxy::to(&upstream).admin();
        // Longer than this test has.
        let proxy = builder.yaml("shutdown_delay: 10m\n").start();
        let mut client = proxy.client();
        client.send(&Post::new(session("p")).bytes());
        upstream.wait_for(1);
        if signalled_before {
            proxy.signal("TERM");
            proxy.readyz_becomes(503);
        }
        let quit = Post::new("").to("/quitquitquit");
        let answer = Client::connect(proxy.address("admin")).post(&quit);
        assert_eq!(answer.status, 200, "{}", answer.text());
        proxy.readyz_becomes(503);
        // What is in flight still finishes.
        gate.open();
        assert_eq!(client.answer("POST").status, 200);
        ended_with(&proxy.end(), 0, &[]);
    }
}

#[test]
fn whoever_posts_quitquitquit_to_an_idle_proxy_gets_the_whole_answer() {
    let upstream = Upstream::answering(Reply::json("{}"));
    for _ in 0..16 {
        let proxy = Proxy::to(&upstream).admin().start();
        let quit = Post::new("").to("/quitquitquit");
        let answer = Client::connect(proxy.address("admin")).post(&quit);
        assert_eq!(answer.text(), "draining\n");
        ended_with(&proxy.end(), 0, &[]);
    }
}

#[test]
fn quitquitquit_wants_a_post_and_no_browser() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    assert_eq!(proxy.admin("/quitquitquit").status, 405);
    for (name, value) in [
        ("Origin", "http://localhost"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let quit = Post::new("").to("/quitquitquit").header(name, value);
        let answer = Client::connect(proxy.address("admin")).post(&quit);
        assert_eq!(answer.status, 403);
    }
    let rebound = Post::new("").to("/quitquitquit").host("evil.example");
    let answer = Client::connect(proxy.address("admin")).post(&rebound);
    assert_eq!(answer.status, 421);
    assert_eq!(proxy.health("/readyz").status, 200);
    // Only the admin listener has it.
    let quit = Post::new("").to("/quitquitquit");
    assert_eq!(proxy.post(&quit).status, 404);
    let answer = Client::connect(proxy.address("health")).post(&quit);
    assert_eq!(answer.status, 404);
}

#[test]
fn a_port_that_is_taken_is_one_clear_line_and_status_71() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let proxy = || Proxy::to_url("http://127.0.0.1:1");
    for builder in [
        proxy().listen(Some(&address)),
        proxy().health(Some(&address)),
        proxy().argument("--admin-listen").argument(&address),
    ] {
        let ended = builder.fails();
        ended_with(&ended, 71, &[&address]);
        let output = ended.output();
        let lines: Vec<_> = output.lines().filter(|l| !l.is_empty()).collect();
        assert_eq!(lines.len(), 1, "{output}");
    }
}

#[test]
fn without_credentials_it_is_wrong_configuration_and_says_what_to_set() {
    let proxy = || Proxy::to_url("http://127.0.0.1:1");
    let ended = proxy().username(None).secret_file(None).fails();
    ended_with(&ended, 78, &["--username", "--secret-file"]);
    ended_with(&proxy().username(None).fails(), 78, &["--username"]);
    ended_with(&proxy().secret_file(None).fails(), 78, &["--secret-file"]);
}

#[test]
fn a_secret_that_cannot_be_had_is_wrong_configuration() {
    let proxy = || Proxy::to_url("http://127.0.0.1:1").secret_file(None);
    let missing = proxy().directory().join("no-such-secret");
    let ended = proxy().argument("--secret-file").argument(&missing).fails();
    ended_with(&ended, 78, &["no-such-secret"]);
    let unset = "credentials:\n  secret_env: A_VARIABLE_THAT_IS_NOT_SET\n";
    ended_with(
        &proxy().yaml(unset).fails(),
        78,
        &["A_VARIABLE_THAT_IS_NOT_SET"],
    );
    for nothing in [&b""[..], b"\n"] {
        ended_with(&proxy().secret_file(Some(nothing)).fails(), 78, &["secret"]);
    }
}

#[test]
fn with_neither_environment_nor_upstream_it_is_wrong_configuration_and_picks_none_by_itself() {
    let ended = Proxy::to_url("").upstream(None).fails();
    ended_with(&ended, 78, &["--environment", "--upstream"]);
}

#[test]
fn cleartext_to_another_machine_needs_a_setting_named_danger() {
    let ended = Proxy::to_url("http://192.0.2.1").fails();
    ended_with(&ended, 78, &["danger_"]);
}

#[test]
fn the_admin_listener_is_never_bound_to_all_addresses() {
    let proxy = Proxy::to_url("http://127.0.0.1:1");
    let ended = proxy
        .argument("--admin-listen")
        .argument("0.0.0.0:0")
        .fails();
    ended_with(&ended, 78, &["admin"]);
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let yaml = "limits:\n  body_bites: 1\n  queue_wait: soon\nroutes:\n  create_session:\n    attempt_timeout: never\n";
    let ended = Proxy::to_url("http://127.0.0.1:1").yaml(yaml).fails();
    let keys = [
        "limits.body_bites",
        "limits.queue_wait",
        "routes.create_session.attempt_timeout",
    ];
    ended_with(&ended, 78, &keys);
    let output = ended.output();
    assert!(
        !output.contains("soon") && !output.contains("never"),
        "a value was echoed:\n{output}"
    );
}

#[test]
fn a_mistake_in_the_configuration_is_told_before_any_port_is_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let builder = Proxy::to_url("http://127.0.0.1:1").listen(Some(&address));
    ended_with(&builder.yaml("unknown: 1\n").fails(), 78, &["unknown"]);
}

#[test]
fn a_flag_beats_an_environment_variable_which_beats_the_file() {
    let upstream = Upstream::echoing();
    let yaml = "credentials:\n  username: of-the-file\n";
    for (flag, variable, expected) in [
        (Some("of-the-flag"), Some("of-the-variable"), "of-the-flag"),
        (None, Some("of-the-variable"), "of-the-variable"),
        (None, None, "of-the-file"),
    ] {
        let mut builder = Proxy::to(&upstream).username(flag).yaml(yaml);
        if let Some(variable) = variable {
            builder = builder.env("INGO_PROXY__CREDENTIALS__USERNAME", variable);
        }
        let answer = builder.start().post(&Post::new(session("p")));
        assert_eq!(answer.status, 200);
        let recorded = upstream.requests().pop().expect("a request");
        recorded.verify(crate::support::SECRET, expected);
    }
}

#[test]
fn wrong_usage_has_status_64() {
    for arguments in [
        &["serve", "--no-such-flag"][..],
        &["no-such-command"],
        &[],
        &["serve", "--listen"],
        &["sign"],
    ] {
        let ended = process::run(BINARY, arguments, b"");
        assert_eq!(ended.status, Some(64), "{arguments:?}: {}", ended.output());
    }
}

#[test]
fn help_and_version_have_status_0() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        let ended = process::run(BINARY, arguments, b"");
        assert_eq!(ended.status, Some(0), "{}", ended.output());
        assert!(!ended.stdout.is_empty());
    }
    let version = process::run(BINARY, &["--version"], b"");
    assert!(version.output().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_unix_socket_that_a_dead_process_left_is_replaced() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let builder = Proxy::to(&upstream);
    let path = builder.directory().join("proxy.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let _proxy = builder
        .listen(Some(&format!("unix:{}", path.display())))
        .start();
    assert_eq!(
        Client::connect_unix(&path).post(&Post::new("{}")).status,
        200
    );
}

#[test]
fn a_unix_socket_that_is_in_use_is_not_stolen() {
    let builder = Proxy::to_url("http://127.0.0.1:1");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("proxy.sock");
    let owner = UnixListener::bind(&path).expect("a socket");
    let ended = builder
        .listen(Some(&format!("unix:{}", path.display())))
        .fails();
    ended_with(&ended, 71, &["proxy.sock"]);
    // Its owner still gets who connects. Whoever tried the socket before is in the queue, too.
    let _client = Client::connect_unix(&path);
    owner.accept().expect("a connection");
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").expect("a temporary directory can be written to");
    let builder = Proxy::to_url("http://127.0.0.1:1");
    let ended = builder
        .listen(Some(&format!("unix:{}", path.display())))
        .fails();
    ended_with(&ended, 71, &["precious"]);
    assert_eq!(std::fs::read(&path).expect("still there"), b"data");
}

#[test]
fn it_runs_without_a_home_and_with_nothing_in_its_environment() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).empty_environment().start();
    assert_eq!(proxy.post(&Post::new(session("p"))).status, 200);
    ended_with(&proxy.terminate(), 0, &[]);
}

#[test]
fn further_signals_while_it_drains_cut_nothing_off_and_are_told_what_is_waited_for() {
    let gate = Gate::closed();
    let upstream = holding(&gate);
    let proxy = Proxy::to(&upstream)
        .argument("--routes")
        .argument("create_session,debit")
        .start();
    let mut caller = proxy.client();
    caller.send(&Post::new(session("p")).bytes());
    let mut payer = proxy.client();
    let debit = Post::new(session("p")).to("/gateway/v12/debit/process");
    payer.send(&debit.bytes());
    upstream.wait_for(2);
    proxy.signal("TERM");
    let told = proxy.told("draining", 1);
    assert_eq!(told["exchanges_in_flight"], 2, "{told}");
    assert_eq!(told["money_exchanges"], 1, "{told}");
    assert_eq!(told["limit_seconds"], 95.0, "{told}");
    for (count, signal) in [(1, "TERM"), (2, "INT"), (3, "INT")] {
        proxy.signal(signal);
        let told = proxy.told("still draining", count);
        assert_eq!(told["exchanges_in_flight"], 2, "{told}");
        assert_eq!(told["money_exchanges"], 1, "{told}");
        let left = told["seconds_left"].as_f64().expect("a number");
        assert!((0.0..=95.0).contains(&left), "{told}");
    }
    assert_eq!(proxy.told("told to leave", 4)["signal"], "SIGINT");
    gate.open();
    assert_eq!(caller.answer("POST").status, 200);
    assert_eq!(payer.answer("POST").status, 200);
    ended_with(&proxy.end(), 0, &[]);
}

#[test]
fn a_signal_during_the_shutdown_delay_is_told_when_it_ends_at_most() {
    let upstream = Upstream::echoing();
    let builder = Proxy::to(&upstream).admin();
    let proxy = builder
        .yaml("shutdown_delay: 10m\nshutdown_limit: 1m\n")
        .start();
    proxy.signal("TERM");
    proxy.signal("INT");
    let told = proxy.told("still draining", 1);
    let left = told["seconds_left"].as_f64().expect("a number");
    assert!(600.0 < left && left <= 660.0, "{told}");
    assert_eq!(proxy.post(&Post::new(session("late"))).status, 200);
    let quit = Post::new("").to("/quitquitquit");
    Client::connect(proxy.address("admin")).post(&quit);
    ended_with(&proxy.end(), 0, &[]);
}
