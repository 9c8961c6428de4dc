//! The real binary with what Helm renders: it is accepted, it serves, and it has the time to end.

use std::{fs, net::SocketAddr, process::Command};

use serde_json::Value;

use crate::{
    helm::Helm,
    pod::{Place, Pod, check, pods},
    support::{Client, PATIENCE, Post, Process, SESSIONS, session},
    text, yaml,
};

/// A started program, and where it listens.
struct Started {
    process: Process,
    listeners: Vec<(String, SocketAddr)>,
}

impl Started {
    /// Starts `command` and waits until `expected` listeners are announced.
    fn run(command: Command, expected: usize) -> Self {
        let process = Process::start(command, b"");
        let listeners = process.wait_until(PATIENCE, |lines| {
            let found: Vec<_> = lines.iter().filter_map(|line| listening(line)).collect();
            (found.len() == expected).then_some(found)
        });
        let listeners = listeners.unwrap_or_else(|output| panic!("it should listen:\n{output}"));
        Self { process, listeners }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let mut found = self.listeners.iter().filter(|(name, _)| name == listener);
        found
            .next()
            .unwrap_or_else(|| panic!("no listener {listener}"))
            .1
    }

    /// Asks `/readyz` until it is well.
    fn is_ready(&self) {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = Client::connect(self.address("health")).get("/readyz");
            if answer.status == 200 {
                return;
            }
            assert!(std::time::Instant::now() < until, "{}", answer.text());
        }
    }
}

fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let of = |name: &str| line[name].as_str().map(str::to_owned);
    (line["message"] == "listening")
        .then(|| Some((of("listener")?, of("address")?.parse().ok()?)))?
}

/// The emulator: of the pod where it has one, else one that takes the signatures of the pod's proxy.
fn emulator(place: &Place, pod: &Pod) -> Started {
    let free = ["--listen", "127.0.0.1:0", "--control-listen", "off"];
    let command = match pod.emulator() {
        Some(container) => place.command(container, &free),
        None => {
            let config = pod.config();
            let username = config["credentials"]["username"].as_str().unwrap();
            let secret = config["credentials"]["secret_file"].as_str().unwrap();
            let container = serde_json::json!({
                "args": ["emulator", "--username", username, "--secret-file", secret],
            });
            place.command(&container, &free)
        }
    };
    Started::run(command, 1)
}

/// The proxy as the pod runs it, sending to `emulator`.
fn proxy(place: &Place, pod: &Pod, emulator: &Started) -> Started {
    let upstream = format!("http://{}", emulator.listeners[0].1);
    let admin = &pod.config()["listeners"]["admin"]["address"];
    let listeners = 2 + usize::from(admin.as_str().is_some_and(|address| address != "off"));
    let mut command = place.command(&pod.sidecar, &["--upstream", &upstream]);
    // What an ordinary container goes on for once it was told to end.
    command.env("INGO_PROXY__SHUTDOWN_DELAY", "0s");
    Started::run(command, listeners)
}

/// A key of what `check` prints, without where it comes from.
fn effective<'a>(printed: &'a str, key: &str) -> &'a str {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("{key} in:\n{printed}"))
        .split('#')
        .next()
        .unwrap()
        .trim()
}

/// A duration as `check` prints it.
fn seconds(text: &str) -> f64 {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let number: f64 = text[..end].parse().unwrap();
    match &text[end..] {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        unit => panic!("no unit: {unit}"),
    }
}

#[test]
#[ignore = "needs helm"]
fn each_configuration_is_accepted_without_a_warning_and_leaves_the_time_to_end() {
    let Some(helm) = Helm::there() else { return };
    for case in Helm::cases() {
        for pod in pods(&helm.render(&case.arguments)) {
            let checked = Place::of(&pod).check();
            let output = checked.output();
            assert_eq!(checked.status, Some(0), "{}: {output}", case.name);
            assert_eq!(
                String::from_utf8_lossy(&checked.stderr),
                "",
                "{}",
                case.name
            );
            let drain = ["shutdown_delay", "shutdown_limit"];
            let drain: f64 = drain
                .iter()
                .map(|key| seconds(effective(&output, key)))
                .sum();
            let grace = pod.grace().as_secs_f64();
            assert!(
                grace >= drain + 5.0,
                "{}: {grace} s, of {drain} s",
                case.name
            );
        }
    }
}

#[test]
#[ignore = "needs helm"]
fn the_rendered_sidecar_signs_what_the_emulator_accepts_and_ends_when_told_to() {
    let Some(helm) = Helm::there() else { return };
    for case in Helm::cases() {
        for pod in pods(&helm.render(&case.arguments)) {
            let place = Place::of(&pod);
            let emulator = emulator(&place, &pod);
            let proxy = proxy(&place, &pod, &emulator);
            proxy.is_ready();
            let routes = &pod.config()["routes"];
            let target = match routes["create_session"]["enabled"] == false {
                true => "/gateway/v4/notify",
                false => SESSIONS,
            };
            let post = Post::new(session("helm-1")).to(target);
            let answer = Client::connect(proxy.address("proxy")).post(&post);
            let said = (case.name.as_str(), answer.text());
            assert_eq!(answer.status, 200, "{said:?}");
            if routes["process"]["enabled"] == true {
                let post = Post::new(session("helm-2")).to("/gateway/process");
                Client::connect(proxy.address("proxy")).post(&post);
                let journal = fs::read_to_string(place.folder("journal").join("journal")).unwrap();
                assert!(
                    journal.contains("\"event\":\"begin\""),
                    "{}: {journal}",
                    case.name
                );
            }
            proxy.process.signal("TERM");
            let ended = proxy.process.end(PATIENCE);
            assert_eq!(ended.status, Some(0), "{}: {}", case.name, ended.output());
        }
    }
}

#[test]
#[ignore = "needs helm"]
fn the_job_of_an_old_cluster_ends_the_proxy_by_the_address_that_it_posts_to() {
    let Some(helm) = Helm::there() else { return };
    let case = Helm::case(&crate::path("deploy/helm/example-app/ci/before-1.29.yaml"));
    let pods = pods(&helm.render(&case.arguments));
    let pod = pods.iter().find(|pod| pod.kind == "Job").unwrap();
    assert_eq!(pod.field, "containers");
    let script = pod.spec["containers"][0]["args"][0].as_str().unwrap();
    let admin = pod.config()["listeners"]["admin"]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        script.contains(&format!("http://{admin}/quitquitquit")),
        "{script}"
    );

    let place = Place::of(pod);
    let emulator = emulator(&place, pod);
    let proxy = proxy(&place, pod, &emulator);
    let quit = Post::new(b"").to("/quitquitquit");
    let answer = Client::connect(proxy.address("admin")).post(&quit);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ended = proxy.process.end(PATIENCE);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
}

#[test]
#[ignore = "needs helm"]
fn the_reference_means_the_same_when_it_went_through_helm() {
    let Some(helm) = Helm::there() else { return };
    // A kubelet must reach the health listener, and Helm reads a bare 0600 as 384.
    let reference = text("config/reference.yaml")
        .replace("address: 127.0.0.1:9646", "address: 0.0.0.0:9646")
        .replace("socket_mode: 0600", "socket_mode: \"0600\"")
        .replace("\n#threads: 2\n", "\nthreads: 2\n")
        .replace("\n#log_format: json\n", "\nlog_format: json\n");
    let directory = tempfile::tempdir().unwrap();
    let values = directory.path().join("values.yaml");
    let indented: String = reference
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    fs::write(
        &values,
        format!("ingo-signing-proxy:\n  config:\n{indented}"),
    )
    .unwrap();
    let sandbox = crate::path("deploy/helm/example-app/values-sandbox.yaml");
    let arguments = [&sandbox, &values].map(|file| format!("--values={}", file.display()));
    let rendered = pods(&helm.render(&arguments)).remove(0).proxy_yaml;

    let effective = |name: &str, content: &str| -> Vec<String> {
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        let checked = check(&file);
        assert_eq!(checked.status, Some(0), "{}", checked.output());
        let printed = String::from_utf8(checked.stdout).unwrap();
        // Without where each value comes from, and what merely is not set.
        let lines = printed
            .lines()
            .map(|line| line.split('#').next().unwrap().trim_end());
        lines
            .map(str::to_owned)
            .filter(|line| !line.is_empty())
            .collect()
    };
    let before = effective("reference.yaml", &reference);
    assert!(before.len() > 100, "{before:#?}");
    assert_eq!(effective("rendered.yaml", &rendered), before);
    assert_eq!(yaml::document(&rendered)["environment"], "sandbox");
}
