//! The image's binary in a bare chroot: no libraries, no /proc, nothing that can be written, nobody's rights.

use std::{fs, time::Instant};

use crate::{
    built::{Image, image_to_run},
    contained::{Container, Serving},
    stage::{Front, Identity, Stage},
    support::session,
};

/// What it may hold of memory while it does nothing.
const IDLE_KIB: u64 = 12 * 1024;

/// The name of the emulator behind TLS; only /etc/hosts of the container has it.
const NAME: &str = "ingo.test";
const HOSTS: &str = "127.0.0.1 ingo.test\n";

fn front(stage: &Stage) -> Front {
    stage.front(Identity {
        names: vec![NAME],
        ..Identity::default()
    })
}

fn authority(front: &Front) -> String {
    fs::read_to_string(&front.authority).unwrap()
}

/// A container that finds the emulator, and does not trust it yet.
fn finding<'a>(image: &'a Image, front: &Front) -> Container<'a> {
    Container::to(image, &front.url(NAME)).file("etc/hosts", HOSTS)
}

/// Posts a session and expects Ingo's answer to it: strict about the signature, so that it was right.
fn is_served(serving: &Serving) {
    let answer = serving.post(session("of-the-image"));
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}\n{}", serving.output());
    assert_eq!(answer.json()["status"], 100, "{text}");
}

#[test]
#[ignore = "needs buildah and root"]
fn a_request_is_signed_with_a_name_of_etc_hosts_and_the_roots_of_the_system() {
    let Some(image) = image_to_run() else { return };
    let stage = Stage::new();
    let front = front(&stage);
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let serving = finding(image, &front)
        .file(bundle, authority(&front))
        .serve();
    is_served(&serving);
    assert_eq!(serving.health("/livez").status, 200);
    let ended = serving.terminate();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
}

#[test]
#[ignore = "needs buildah and root"]
fn ssl_cert_file_names_other_roots() {
    let Some(image) = image_to_run() else { return };
    let stage = Stage::new();
    let front = front(&stage);
    let serving = finding(image, &front)
        .file("run/secrets/authority.pem", authority(&front))
        .env("SSL_CERT_FILE", "/run/secrets/authority.pem")
        .serve();
    is_served(&serving);
}

#[test]
#[ignore = "needs buildah and root"]
fn an_upstream_that_none_of_the_images_roots_vouches_for_is_not_trusted() {
    let Some(image) = image_to_run() else { return };
    let stage = Stage::new();
    let front = front(&stage);
    let serving = finding(image, &front).serve();
    let answer = serving.post(session("of-the-image"));
    answer.is_problem(502, "upstream_tls", "no");
    // There were roots to ask: without any it would be another cause.
    let cause = serving.access_line()["cause"].to_string();
    assert!(cause.contains("UnknownIssuer"), "{cause}");
}

#[test]
#[ignore = "needs buildah and root"]
fn idle_it_holds_at_most_12_mib() {
    let Some(image) = image_to_run() else { return };
    let stage = Stage::new();
    let front = front(&stage);
    // All of the image's roots, as in production, and the emulator's.
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let roots = fs::read_to_string(image.root.join(bundle)).unwrap() + &authority(&front);
    let container = finding(image, &front).file(bundle, roots);
    let before = Instant::now();
    let serving = container.serve();
    assert_eq!(serving.health("/readyz").status, 200);
    // Reported and not asserted: a busy machine would decide.
    println!(
        "ready after {:.0} ms, with {:.0} ms of CPU time",
        before.elapsed().as_secs_f64() * 1e3,
        cpu_ms(serving.id())
    );
    let idle = resident_kib(serving.id());
    is_served(&serving);
    let used = resident_kib(serving.id());
    println!("resident: {idle} KiB idle, {used} KiB after the first exchange");
    assert!(idle <= IDLE_KIB, "{idle} KiB");
}

#[test]
#[ignore = "needs buildah and root"]
fn it_runs_as_nobody_and_can_write_nowhere() {
    let Some(image) = image_to_run() else { return };
    let stage = Stage::new();
    let front = front(&stage);
    let serving = finding(image, &front).serve();
    let status = fs::read_to_string(format!("/proc/{}/status", serving.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let values = line.unwrap().split_whitespace().skip(1);
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["65532"; 4]);
    assert_eq!(field("Gid:"), ["65532"; 4]);
    assert_eq!(field("CapEff:"), ["0000000000000000"], "{status}");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", serving.id())).unwrap();
    let root = mounts.lines().find(|line| {
        let mounted = line.split(' ').nth(4);
        mounted == Some("/")
    });
    let options = root.unwrap().split(' ').nth(5).unwrap();
    assert!(options.split(',').any(|o| o == "ro"), "{mounts}");
}

fn resident_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// The time that all its threads had a CPU.
fn cpu_ms(id: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let nanoseconds: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e6
}
