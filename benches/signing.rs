//! What signing and verifying cost, and how much of it is the cryptography: `make bench`.
//!
//! Last comes a table of ours beside SHA-512 and HMAC-SHA512 by the same crates, in turns within this run. Where ours costs
//! more than [`MOST`] times as much, this fails. The first request of a second is beside them in a column of its own: the date is made
//! for it, and what the signing string begins with is taken in, which the others have from it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "a measurement that cannot go on is none; criterion's macros make undocumented functions"
)]

mod support;

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant, UNIX_EPOCH},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ingo_signing_proxy::{
    secret::Secret,
    signing::{
        Sha512,
        verify::{Captured, verify},
    },
};
use sha2::Digest as _;
use support::{AT, SECRET, SIZES, TARGET};

/// What ours may cost, in what the cryptography alone costs.
const MOST: f64 = 1.15;
/// Rounds of the comparison, each of both in turn.
const ROUNDS: usize = 41;

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    signing(&mut criterion);
    verifying(&mut criterion);
    criterion.final_summary();
    // With any flag or filter something else was asked for than all of it.
    if std::env::args().skip(1).any(|flag| flag != "--bench") {
        return ExitCode::SUCCESS;
    }
    if beside_the_cryptography() {
        ExitCode::SUCCESS
    } else {
        eprintln!("signing costs more than {MOST} times the cryptography in it, see the table");
        ExitCode::FAILURE
    }
}

fn signing(criterion: &mut Criterion) {
    let signer = support::signer();
    let mac = Hmac::<Sha512>::new_from_slice(SECRET).unwrap();
    for size in SIZES {
        let body = support::body(size);
        let text = support::signing_string(&body);
        let mut group = criterion.benchmark_group("sign");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("ours", size), |b| {
            b.iter(|| {
                support::sign(&signer, black_box(&body), Duration::ZERO, |headers| {
                    black_box(headers).authorization.len()
                })
            });
        });
        group.bench_function(BenchmarkId::new("cryptography", size), |b| {
            b.iter(|| cryptography(&mac, black_box(&body), black_box(&text)));
        });
    }
}

/// SHA-512 of the body and the MAC of the signing string, keyed before as ours is.
fn cryptography(mac: &Hmac<Sha512>, body: &[u8], text: &[u8]) -> (impl Sized, impl Sized) {
    let digest = Sha512::digest(body);
    let mac = mac.clone().chain_update(text).finalize().into_bytes();
    (digest, mac)
}

fn verifying(criterion: &mut Criterion) {
    let secret = Secret::new(SECRET.to_vec());
    let signer = support::signer();
    let mut group = criterion.benchmark_group("verify");
    for size in SIZES {
        let body = support::body(size);
        let headers = support::sign(&signer, &body, Duration::ZERO, support::captured);
        let captured = Captured {
            method: "POST".to_owned(),
            target: TARGET.as_bytes().to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers,
            body,
        };
        let judged = || {
            verify(
                black_box(&captured),
                &secret,
                Some("bench"),
                UNIX_EPOCH + AT,
            )
        };
        assert!(judged().accepted, "{:?}", judged().findings);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(judged));
    }
}

/// Prints the table. Whether ours stays below what it may cost.
fn beside_the_cryptography() -> bool {
    let signer = support::signer();
    let mac = Hmac::<Sha512>::new_from_slice(SECRET).unwrap();
    println!(
        "\nbytes      sign, ns   first of a second   SHA-512 + HMAC, ns   ratio   of the first"
    );
    let mut well = true;
    for size in SIZES {
        let body = support::body(size);
        let text = support::signing_string(&body);
        let sign = |after| {
            support::sign(&signer, black_box(&body), after, |headers| {
                black_box(headers);
            });
        };
        // About a millisecond each.
        let times = (1_000_000 / (1_200 + 2 * size)).max(1);
        let rounds: Vec<[f64; 3]> = (0..ROUNDS)
            .map(|_| {
                let ours = each(times, || sign(Duration::ZERO));
                let mut after = Duration::ZERO;
                let first = each(times, || {
                    after += Duration::from_secs(1);
                    sign(after);
                });
                let raw = each(times, || {
                    black_box(cryptography(&mac, black_box(&body), black_box(&text)));
                });
                [ours, first, raw]
            })
            .collect();
        // Of each round by itself, because the machine's speed changes between rounds.
        let ratio = median(&rounds, |[ours, _, raw]| ours / raw);
        println!(
            "{size:<8} {:>10.0}   {:>17.0}   {:>18.0}   {ratio:>5.2}   {:>12.2}",
            median(&rounds, |round| round[0]),
            median(&rounds, |round| round[1]),
            median(&rounds, |round| round[2]),
            median(&rounds, |[_, first, raw]| first / raw),
        );
        well &= ratio <= MOST;
    }
    well
}

fn median(rounds: &[[f64; 3]], of: impl Fn([f64; 3]) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|&round| of(round)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds that `doing` takes, of `times` times.
fn each(times: usize, mut doing: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        doing();
    }
    start.elapsed().as_secs_f64() * 1e9 / times as f64
}
