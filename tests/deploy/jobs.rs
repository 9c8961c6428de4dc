//! Jobs: they must end when the app has, with its exit status, and leave nothing of an exchange behind.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    manifests::{config, grace, manifest, texts},
    path,
    place::{Place, Started, program},
    stage::become_true,
    support::{Client, PATIENCE, Post, Process, SECRET, Upstream, process::is_installed, session},
};

/// The shell script of the Job for clusters before 1.29.
fn script() -> String {
    let job = manifest("overlays/before-1.29/cronjob.yaml")["spec"]["jobTemplate"].clone();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(texts(&container["command"]), ["sh", "-c"]);
    texts(&container["args"]).remove(0)
}

#[test]
fn once_a_jobs_app_is_done_the_kubelets_sigterm_ends_the_sidecar_at_once_and_well() {
    let upstream = Upstream::echoing();
    let place = Place::of("example");
    let started = place.before(&upstream);
    assert_eq!(started.post(&Post::new(session("batch"))).status, 200);
    // A connection that the app never closed.
    let mut kept = Client::connect(started.reachable("proxy"));
    assert_eq!(kept.post(&Post::new(session("kept"))).status, 200);
    let told = Instant::now();
    started.process.signal("TERM");
    let ended = started.end();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    assert!(
        told.elapsed() < grace("example") / 10,
        "{:?}",
        told.elapsed()
    );
}

#[test]
fn quitquitquit_at_the_address_that_the_job_posts_to_ends_the_proxy_with_status_0() {
    let admin = config("before-1.29")["listeners"]["admin"]["address"].clone();
    let health = config("before-1.29")["listeners"]["health"]["address"].clone();
    let quit = format!("http://{}/quitquitquit", admin.as_str().unwrap());
    assert!(
        script().contains(&format!("--post-data= {quit}\n")),
        "{}",
        script()
    );
    let (_, port) = health.as_str().unwrap().rsplit_once(':').unwrap();
    assert!(script().contains(&format!(" http://127.0.0.1:{port}/readyz;")));

    let upstream = Upstream::echoing();
    let place = Place::of("before-1.29");
    let mut command = place.command();
    command.args(["--upstream", &upstream.url()]);
    let started = Started::run(command, 3);
    let answer =
        Client::connect(started.reachable("admin")).post(&Post::new("").to("/quitquitquit"));
    assert_eq!(answer.status, 200);
    // The shutdown_delay of 20 s is for apps that still have calls to make; this one is done.
    let ended = started.end();
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let draining = ended
        .output()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|line| line["message"] == "draining")
        .unwrap();
    assert_eq!(draining["delay_seconds"], 0.0);
}

#[test]
fn a_job_of_an_old_cluster_cannot_stay_for_ever() {
    let job = |name: &str| manifest(&format!("overlays/{name}"))["spec"]["jobTemplate"].clone();
    let old = job("before-1.29/cronjob.yaml");
    assert!(old["spec"]["activeDeadlineSeconds"].as_u64().is_some());
    // With a native sidecar the kubelet sees to it.
    let native = job("example/app/cronjob.yaml");
    assert!(native["spec"]["activeDeadlineSeconds"].is_null());
}

#[test]
fn an_overlay_can_be_applied_again_with_another_configuration() {
    // The pod of a Job cannot be changed, and another configuration changes every pod.
    for folder in ["example/app", "money"] {
        let kustomization = manifest(&format!("overlays/{folder}/kustomization.yaml"));
        for resource in texts(&kustomization["resources"]) {
            let file = format!("deploy/kubernetes/sidecar/overlays/{folder}/{resource}");
            for object in crate::yaml::documents(&crate::text(&file)) {
                assert_ne!(object["kind"], "Job", "{file}");
            }
        }
    }
}

/// An emulated Ingo and a proxy before it, as the overlay starts it.
fn with_an_emulator(overlay: &'static str) -> (Place, Started, Started) {
    let place = Place::of(overlay);
    let secret = place.secret.path("secret");
    let mut command = program();
    command.args([
        "emulator",
        "--listen",
        "127.0.0.1:0",
        "--control-listen",
        "off",
    ]);
    let username = config(overlay)["credentials"]["username"].clone();
    command.args([
        "--username",
        username.as_str().unwrap(),
        "--log-format",
        "json",
        "--secret-file",
    ]);
    command.arg(secret);
    let emulator = Started::run(command, 1);
    let mut command = place.command();
    let upstream = format!("http://{}", emulator.address("emulator"));
    command.args(["--upstream", &upstream]);
    let listeners = config(overlay)["listeners"].as_object().unwrap().len();
    let proxy = Started::run(command, listeners);
    (place, emulator, proxy)
}

#[test]
#[ignore = "needs php and wget"]
fn the_jobs_script_waits_posts_quits_and_keeps_the_exit_status_of_the_app() {
    if !is_installed("php", &["--version"]) || !is_installed("wget", &["--version"]) {
        eprintln!("SKIPPED: the Job's script needs php and wget");
        return;
    }
    for well in [true, false] {
        let (_place, _emulator, proxy) = with_an_emulator("before-1.29");
        let code = path("deploy/kubernetes/sidecar/overlays/example/app/code");
        let script = script()
            .replace("127.0.0.1:9646", &proxy.reachable("health").to_string())
            .replace("127.0.0.1:9648", &proxy.reachable("admin").to_string())
            .replace("/app", &code.display().to_string());
        let mut job = Command::new("sh");
        job.args(["-c", &script]);
        let ingo = match well {
            true => format!("http://{}", proxy.reachable("proxy")),
            // Nobody listens there.
            false => "http://127.0.0.1:1".to_owned(),
        };
        job.env("INGO_URL", ingo);
        let ended = Process::start(job, b"").end(PATIENCE * 3);
        assert_eq!(ended.status, Some(i32::from(!well)), "{}", ended.output());
        let lines = ended.output().matches("a session was made").count();
        assert_eq!(lines, if well { 3 } else { 0 }, "{}", ended.output());
        assert_eq!(proxy.end().status, Some(0));
    }
}

#[test]
#[ignore = "needs php"]
fn the_example_app_gets_a_session_through_the_sidecar_and_says_what_became_of_it_where_it_gets_none()
 {
    if !is_installed("php", &["--version"]) {
        eprintln!("SKIPPED: the example app needs php");
        return;
    }
    let (_place, emulator, proxy) = with_an_emulator("try");
    let (app, _php) = php(&format!("http://{}", proxy.reachable("proxy")));
    assert_eq!(Client::connect(app).get("/healthz").status, 200);
    let form = || {
        Post::new("participant=p-1")
            .to("/")
            .header("Content-Type", "application/x-www-form-urlencoded")
    };
    let answer = Client::connect(app).post(&form());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = answer.json()["authorized_url"].clone();
    assert!(url.as_str().unwrap().contains("/session/"), "{url}");
    assert_eq!(
        Client::connect(app).post(&Post::new("").to("/")).status,
        400
    );
    drop(emulator);
    let answer = Client::connect(app).post(&form());
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.json()["sent"], "no");
}

/// PHP's own server with the example app, as its container starts it.
fn php(ingo: &str) -> (SocketAddr, Process) {
    let app = crate::yaml::documents(&crate::text(
        "deploy/kubernetes/sidecar/overlays/example/app/deployment.yaml",
    ));
    let container = &app[0]["spec"]["template"]["spec"]["containers"][0];
    let code = path("deploy/kubernetes/sidecar/overlays/example/app/code");
    for _ in 0..5 {
        // PHP cannot be told to choose a port itself; another process may take this one first, so several are tried.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let command = texts(&container["command"]);
        let mut php = Command::new(&command[0]);
        for argument in &command[1..] {
            let argument = argument.replace("0.0.0.0:8080", &free.to_string());
            php.arg(argument.replace("/app", &code.display().to_string()));
        }
        php.env("INGO_URL", ingo);
        let process = Process::start(php, b"");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if Client::try_connect(free).is_ok() {
                return (free, process);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
    panic!("php should listen");
}

#[test]
fn the_emulator_of_the_trial_is_in_the_same_pod_with_the_same_secret_and_nowhere_else() {
    let emulator = manifest("overlays/try/emulator.yaml");
    let container = &emulator["spec"]["template"]["spec"]["initContainers"][0];
    let mut args = texts(&container["args"]);
    assert_eq!(container["restartPolicy"], "Always");
    let upstream = config("try")["upstream"]["url"].clone();
    // The emulator's own default.
    assert_eq!(upstream, "http://127.0.0.1:8647");
    let secret = args.pop().unwrap();
    assert_eq!(secret, config("try")["credentials"]["secret_file"]);
    let place = Place::of("try");
    let mut command = program();
    command.args(args).arg(place.here(&secret));
    command.args(["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]);
    let emulator = Started::run(command, 2);
    let url = upstream.as_str().unwrap();
    let file = place.folder("config/proxy.yaml");
    let here = fs::read_to_string(&file).unwrap();
    let here = here.replace(url, &format!("http://{}", emulator.address("emulator")));
    fs::write(&file, here).unwrap();
    let proxy = Started::run(place.command(), 2);
    become_true("a session is made", PATIENCE, || {
        let answer = proxy.post(&Post::new(crate::stage::body("p")));
        answer.status == 200 && answer.json()["status"] == 100
    });
    proxy.process.signal("TERM");
    let ended = proxy.end();
    assert_eq!(ended.status, Some(0));
    assert!(
        !ended
            .output()
            .contains(std::str::from_utf8(SECRET).unwrap())
    );
}
