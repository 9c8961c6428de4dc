//! A panic in one exchange, provoked through the library: a clock that panics stands for whatever fault we have not found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use ingo_signing_proxy::{
    clock::Clock,
    config::{Flag, Sources, load},
    lifecycle::Stage,
    listener::BoundAddress,
    server::Server,
};

#[test]
fn a_panic_in_one_exchange_is_its_500_and_the_next_exchange_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "canary-secret").unwrap();
    let upstream = one_answer_upstream();
    let flag = |key, value: String| Flag {
        key,
        value,
        name: "a flag",
    };
    let loaded = load(&Sources {
        flags: vec![
            flag("listeners.proxy.address", "127.0.0.1:0".into()),
            flag("listeners.health.address", "127.0.0.1:0".into()),
            flag("upstream.url", format!("http://{upstream}")),
            flag("credentials.username", "acme".into()),
            flag("credentials.secret_file", secret.display().to_string()),
        ],
        ..Sources::default()
    })
    .unwrap();

    let broken = Arc::new(AtomicBool::new(true));
    let clock = {
        let broken = broken.clone();
        Clock::from_fn(move || {
            assert!(
                !broken.load(Ordering::SeqCst),
                "canary: this clock is broken"
            );
            SystemTime::now()
        })
    };
    let server = Server::bind(loaded, clock).unwrap();
    let (proxy, health) = (server.addresses().proxy, server.addresses().health);
    let lifecycle = server.lifecycle();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.spawn(server.run());

    let answer = post(&proxy);
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains(r#""code":"internal""#), "{answer}");
    assert!(
        answer.contains(r#""sent":"no""#),
        "nothing was written yet: {answer}"
    );
    assert!(!answer.contains("canary"), "{answer}");

    broken.store(false, Ordering::SeqCst);
    let answer = post(&proxy);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let metrics = ask(
        &health,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(
        metrics.contains("\ningo_proxy_panics_total 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("ingo_proxy_rejections_total{code=\"internal\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("ingo_proxy_exchanges_in_flight{route=\"create_session\"} 0\n"),
        "{metrics}"
    );

    lifecycle.advance(Stage::Leaving);
    assert_eq!(
        runtime.block_on(running).unwrap(),
        Ok(0),
        "nothing was left running"
    );
}

/// Answers every connection's first request, whose body is `{}`.
fn one_answer_upstream() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut part = [0; 4096];
            while !seen.ends_with(b"\r\n\r\n{}") {
                match stream.read(&mut part) {
                    Ok(n) if n > 0 => seen.extend_from_slice(&part[..n]),
                    _ => break,
                }
            }
            let _gone = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    address
}

fn post(address: &BoundAddress) -> String {
    ask(
        address,
        "POST /api/v1/sessions/point-in-time/plugin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    )
}

fn ask(address: &BoundAddress, request: &str) -> String {
    let BoundAddress::Tcp(address) = address else {
        panic!("the test binds TCP")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
