//! What the retry decision costs, and a whole exchange in one process: caller, proxy and upstream over loopback: `make bench`.
//!
//! The proxy is as configured by default, with one worker; only its log lines are left out, which would stand between
//! criterion's. The figures hold three threads' work and the system's: compare them with their own, on one machine.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on is none; criterion's macros make undocumented functions"
)]

mod support;

use std::{fs, hint::black_box, net::SocketAddr, sync::mpsc, thread, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ingo_signing_proxy::{
    clock::Clock,
    config::{Sources, load},
    ingo::Class,
    listener::BoundAddress,
    retry::{Attempted, Backoff, Ended, Policy, Remedied, decide},
    server::Server,
};

criterion_group!(benches, deciding, exchanging);
criterion_main!(benches);

fn deciding(criterion: &mut Criterion) {
    let policy = Policy {
        attempts: 3,
        money_after_write: false,
        backoff: Backoff {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        },
    };
    let answered = |http| Ended::Answered {
        http,
        ingo: Some(100),
        retry_after: None,
    };
    for (name, ended) in [
        ("answered", answered(200)),
        ("repeated", answered(503)),
        ("unanswered", Ended::Unanswered),
    ] {
        let attempted = Attempted {
            class: Class::KeyedByHeader,
            ended,
            attempts: 1,
            remedied: Remedied::default(),
            time_left: Duration::from_secs(29),
            affordable: true,
            fraction: 0.5,
        };
        criterion.bench_function(&format!("decide/{name}"), |b| {
            b.iter(|| decide(black_box(&policy), black_box(&attempted)));
        });
    }
}

fn exchanging(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(folder.path(), support::upstream());
    let mut group = criterion.benchmark_group("exchange");
    for size in [300, 4096, 65_536] {
        let mut caller = support::Caller::connect(proxy, &support::body(size));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| caller.exchange());
        });
    }
}

/// A proxy in this process; where it listens. It runs until the process ends.
fn proxy(folder: &std::path::Path, upstream: SocketAddr) -> SocketAddr {
    let (secret, file) = (folder.join("secret"), folder.join("proxy.yaml"));
    fs::write(&secret, support::SECRET).unwrap();
    let configuration = format!(
        "threads: 1\nlisteners:\n  proxy: {{address: '127.0.0.1:0'}}\n  health: {{address: '127.0.0.1:0'}}\n\
         credentials:\n  username: bench\n  secret_file: {}\nupstream:\n  url: http://{upstream}\n",
        secret.display()
    );
    fs::write(&file, configuration).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let Ok(loaded) = load(&sources) else {
        panic!("the configuration of this bench is wrong")
    };
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind(loaded, Clock::system()).unwrap();
            tell.send(server.addresses().proxy).unwrap();
            server.run().await
        })
    });
    match told.recv().unwrap() {
        BoundAddress::Tcp(address) => address,
        other => panic!("{other:?} is no TCP address"),
    }
}
