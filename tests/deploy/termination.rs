//! The end of a pod: the app first, then the sidecar; what is in flight finishes.

use std::time::Instant;

use crate::{
    manifests::{OVERLAYS, config, grace, sidecar},
    place::Place,
    support::{Client, Gate, Post, Reply, SESSIONS, Upstream, session},
};

/// The target of an exchange that an overlay's proxy takes as long as it takes any.
fn longest(overlay: &str) -> &'static str {
    match overlay {
        "money" => "/gateway/process",
        _ => SESSIONS,
    }
}

#[test]
fn an_exchange_in_flight_is_finished_within_the_pods_grace() {
    for overlay in OVERLAYS {
        let gate = Gate::closed();
        let holding = gate.clone();
        let upstream =
            Upstream::scripted(move |r| Reply::session(&r.participant()).held_by(&holding));
        let place = Place::of(overlay);
        let mut command = place.command();
        command.args(["--upstream", &upstream.url()]);
        // How long an ordinary container goes on serving is not what is tested here.
        command.env("INGO_PROXY__SHUTDOWN_DELAY", "0s");
        let listeners = config(overlay)["listeners"].as_object().unwrap().len();
        let started = crate::place::Started::run(command, listeners);
        let mut client = Client::connect(started.reachable("proxy"));
        client.send(&Post::new(session("p")).to(longest(overlay)).bytes());
        upstream.wait_for(1);
        let told = Instant::now();
        started.process.signal("TERM");
        started.readyz_becomes(503);
        gate.open();
        let answer = client.answer("POST");
        assert_eq!(answer.status, 200, "{overlay}: {}", answer.text());
        assert_eq!(answer.json()["data"]["participant_unique_id1"], "p");
        let ended = started.end();
        assert_eq!(ended.status, Some(0), "{overlay}: {}", ended.output());
        assert!(told.elapsed() < grace(overlay), "{overlay}");
    }
}

#[test]
fn what_an_app_still_sends_while_it_ends_is_served_where_the_sidecar_is_an_ordinary_container() {
    // Both get their SIGTERM at once there, unlike with a native sidecar.
    let delay = config("before-1.29")["shutdown_delay"].clone();
    assert_eq!(delay, "20s");
    assert!(config("example")["shutdown_delay"].is_null());
    let upstream = Upstream::echoing();
    let place = Place::of("before-1.29");
    let started = place.before(&upstream);
    started.process.signal("TERM");
    started.readyz_becomes(503);
    let answer = started.post(&Post::new(session("late")));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_native_sidecar_is_what_the_kubelet_stops_last() {
    // An init container that is restarted always; deploy/checks/validate sees that none stands before it.
    assert_eq!(sidecar()["restartPolicy"], "Always");
    assert!(sidecar()["lifecycle"].is_null(), "there is no shell to run");
}
