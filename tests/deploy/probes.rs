//! The probes, judged as the kubelet judges them: HTTP to the pod's address, a status from 200 to 399, within `timeoutSeconds`.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    manifests::sidecar,
    place::{Place, Started},
    support::{Client, Gate, PATIENCE, Post, Process, Reply, Upstream, session},
};

/// Another address of this machine than the one that loopback listeners are bound to: as the pod's own is for the kubelet.
const POD: [u8; 4] = [127, 0, 0, 2];

/// What the kubelet makes of a probe now.
fn succeeds(started: &Started, probe: &str) -> bool {
    let probe = &sidecar()[probe];
    let path = probe["httpGet"]["path"].as_str().unwrap();
    let timeout = Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap());
    let address = SocketAddr::from((POD, started.address("health").port()));
    let asked = Instant::now();
    let mut client = Client::connect(address);
    // As the kubelet asks it, by the pod's address and not by a name.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 10.1.2.3:9646\r\nUser-Agent: kube-probe/1.29\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    client.send(request.as_bytes());
    let status = client.answer("GET").status;
    (200..400).contains(&status) && asked.elapsed() < timeout
}

fn number(probe: &Value, key: &str) -> u64 {
    probe[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {probe}"))
}

#[test]
fn a_pod_is_started_well_within_the_budget_of_its_startup_probe() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let place = Place::of("example");
    let startup = &sidecar()["startupProbe"];
    let budget =
        Duration::from_secs(number(startup, "periodSeconds") * number(startup, "failureThreshold"));
    let began = Instant::now();
    let started = place.before(&upstream);
    while !succeeds(&started, "startupProbe") {
        assert!(began.elapsed() < budget);
    }
    // Ten times over: a node may be that much slower than this machine.
    let took = began.elapsed();
    assert!(took * 10 < budget, "{took:?} of {budget:?}");
    assert!(succeeds(&started, "readinessProbe"));
    assert!(succeeds(&started, "livenessProbe"));
}

#[test]
fn the_kubelet_reaches_the_probes_at_the_pods_address_and_nobody_reaches_the_proxy_there() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let place = Place::of("before-1.29");
    let started = place.before(&upstream);
    assert!(succeeds(&started, "readinessProbe"));
    for listener in ["proxy", "admin"] {
        let at_the_pod = SocketAddr::from((POD, started.address(listener).port()));
        let reached = TcpStream::connect_timeout(&at_the_pod, PATIENCE);
        assert!(reached.is_err(), "{listener}");
    }
}

#[test]
fn while_it_drains_it_is_alive_and_not_ready() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |r| Reply::session(&r.participant()).held_by(&holding));
    let place = Place::of("example");
    let started = place.before(&upstream);
    let mut client = Client::connect(started.reachable("proxy"));
    client.send(&Post::new(session("p")).bytes());
    upstream.wait_for(1);
    started.process.signal("TERM");
    started.readyz_becomes(503);
    assert!(!succeeds(&started, "readinessProbe"));
    // The kubelet does not restart what is on its way out.
    assert!(succeeds(&started, "livenessProbe"));
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    assert_eq!(started.end().status, Some(0));
}

#[test]
fn an_ingo_that_is_down_takes_no_pod_out_of_service() {
    let place = Place::of("example");
    let started = place.start("http://127.0.0.1:1");
    assert_eq!(started.post(&Post::new(session("p"))).status, 502);
    assert!(succeeds(&started, "readinessProbe"));
    assert!(succeeds(&started, "livenessProbe"));
}

#[test]
fn without_its_secret_a_pod_never_gets_ready_and_says_what_is_missing() {
    let mut place = Place::of("example");
    // The Secret is there, with another key in it.
    place.secret.swap(&[("password", "x")]);
    let ended = Process::start(place.command(), b"").end(PATIENCE);
    let output = ended.output();
    assert_eq!(ended.status, Some(78), "{output}");
    let file = place.secret.path("secret").display().to_string();
    assert!(output.contains(&file), "{output}");
}

#[test]
fn a_wrong_configuration_never_gets_ready_so_that_the_pods_before_stay() {
    let place = Place::of("example");
    let file = place.folder("config/proxy.yaml");
    let wrong = fs::read_to_string(&file).unwrap() + "threads_: 2\n";
    fs::write(&file, wrong).unwrap();
    let ended = Process::start(place.command(), b"").end(PATIENCE);
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    assert!(ended.output().contains("threads_"), "{}", ended.output());
}
