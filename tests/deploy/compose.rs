//! The commands of `deploy/compose.yaml`, without Docker.

use serde_json::Value;

use crate::{
    manifests::texts,
    place::{Started, effective, program, seconds},
    stage::body,
    support::{PATIENCE, Post, Process},
    text, yaml,
};

fn service(name: &str) -> Value {
    let compose = yaml::document(&text("deploy/compose.yaml"));
    compose["services"][name].clone()
}

/// A service's command, with the secret of this checkout and what else is different here.
fn command(name: &str, here: &[(&str, &str)]) -> std::process::Command {
    let secret = crate::path("deploy/compose.secret").display().to_string();
    let mut command = program();
    for argument in texts(&service(name)["command"]) {
        let mut argument = argument.replace("/run/secrets/ingo", &secret);
        for (from, to) in here {
            argument = argument.replace(from, to);
        }
        command.arg(argument);
    }
    command
}

#[test]
fn the_trial_makes_a_session_through_the_ports_that_it_publishes_on_this_host_alone() {
    let mut command_of_emulator = command("emulator", &[]);
    command_of_emulator.args(["--listen", "127.0.0.1:0"]);
    let emulator = Started::run(command_of_emulator, 1);
    let upstream = format!("http://{}", emulator.address("emulator"));
    let proxy = command(
        "proxy",
        &[
            ("http://127.0.0.1:8647", &upstream),
            (":8646", ":0"),
            (":9646", ":0"),
        ],
    );
    let proxy = Started::run(proxy, 2);
    let answer = proxy.post(&Post::new(body("p")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["status"], 100, "{}", answer.text());
    assert_eq!(proxy.health("/readyz").status, 200);
    // What is published leads to the container's address, not to its loopback interface.
    for listener in ["proxy", "health"] {
        assert!(proxy.address(listener).ip().is_unspecified());
    }

    assert_eq!(service("proxy")["network_mode"], "service:emulator");
    let published = texts(&service("emulator")["ports"]);
    assert_eq!(published, ["127.0.0.1:8646:8646", "127.0.0.1:9646:9646"]);
    let arguments = texts(&service("proxy")["command"]).join(" ");
    for port in published {
        let inside = port.rsplit_once(':').unwrap().1;
        assert!(arguments.contains(&format!("0.0.0.0:{inside}")));
    }
}

#[test]
fn it_has_the_time_to_finish_what_is_in_flight() {
    let compose = yaml::document(&text("deploy/compose.yaml"));
    let stop = compose["x-hardened"]["stop_grace_period"].clone();
    let mut check = command("proxy", &[]);
    let arguments: Vec<_> = check.get_args().skip(1).map(ToOwned::to_owned).collect();
    check = program();
    check.arg("check").args(arguments);
    let checked = Process::start(check, b"").end(PATIENCE);
    assert_eq!(checked.status, Some(0), "{}", checked.output());
    let drain = seconds(&effective(&checked.output(), "shutdown_limit"));
    assert!(seconds(stop.as_str().unwrap()) > drain, "{stop}");
}
