//! Through a CONNECT proxy, and around one.

use crate::{
    stage::{Front, Identity, PROXY_BASIC, PROXY_PASSWORD, PROXY_USER, Rule, Stage, trusting},
    support::{
        Builder, Client, PATIENCE, Post, Process, Proxy, SECRET, USERNAME, contains, session,
    },
};

fn to(front: &Front, name: &str, proxy: &str) -> Builder {
    let yaml = format!("{}  proxy:\n    {proxy}\n", trusting(&front.authority));
    Proxy::to_url(&front.url(name)).yaml(&yaml)
}

#[test]
fn requests_go_through_the_proxy_and_arrive_whole_on_one_tunnel() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::Lead(front.address));
    let proxy = to(&front, "ingo.test", &format!("url: {}", way.url()))
        .argument("--threads=1")
        .start();
    for id in ["first", "second"] {
        let answer = proxy.post(&Post::new(session(id)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let target = format!("ingo.test:{}", front.address.port());
    let expected = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    assert_eq!(way.heads(), [expected]);
    assert_eq!(stage.emulator.received(), 2);
}

#[test]
fn an_upstream_by_ipv6_address_is_asked_for_in_brackets() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::Lead(front.address));
    let proxy = to(&front, "[::1]", &format!("url: {}", way.url())).start();
    let answer = proxy.post(&Post::new(session("v6")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let target = format!("[::1]:{}", front.address.port());
    assert!(
        way.heads()[0].starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"))
    );
}

#[test]
fn credentials_from_a_file_are_shown_to_the_proxy_and_to_nobody_else() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::LeadWho(front.address, PROXY_BASIC));
    let password = stage.file("password", format!("{PROXY_PASSWORD}\n"));
    let keys = format!(
        "url: {}\n    username: {PROXY_USER}\n    password_file: {}",
        way.url(),
        password.display()
    );
    let proxy = to(&front, "ingo.test", &keys).admin().start();
    let answer = proxy.post(&Post::new(session("known")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = proxy.admin("/config").text();
    assert!(
        shown.contains("password_file") && !shown.contains(PROXY_PASSWORD),
        "{shown}"
    );
    let ended = proxy.terminate();
    assert!(!contains(
        ended.output().as_bytes(),
        PROXY_PASSWORD.as_bytes()
    ));
    assert!(!contains(ended.output().as_bytes(), PROXY_BASIC.as_bytes()));
}

#[test]
fn a_rotated_password_is_used_for_the_next_connection_without_a_restart() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::LeadWho(front.address, PROXY_BASIC));
    let password = stage.file("password", "yesterday's");
    let keys = format!(
        "url: {}\n    username: {PROXY_USER}\n    password_file: {}",
        way.url(),
        password.display()
    );
    let proxy = to(&front, "ingo.test", &keys).start();
    let problem =
        proxy
            .post(&Post::new(session("a")))
            .is_problem(502, "upstream_unreachable", "no");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("does not accept these credentials"),
        "{detail}"
    );
    stage.file("password", PROXY_PASSWORD);
    let answer = proxy.post(&Post::new(session("b")));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn the_environments_proxy_is_used_with_its_credentials_which_are_never_shown() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::LeadWho(front.address, PROXY_BASIC));
    let url = format!("http://{PROXY_USER}:canary-proxy-p%40ss@{}", way.address);
    let proxy = Proxy::to_url(&front.url("ingo.test"))
        .yaml(&trusting(&front.authority))
        .env("HTTPS_PROXY", &url)
        .admin()
        .start();
    let answer = proxy.post(&Post::new(session("env")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = proxy.admin("/config").text();
    let expected = format!("HTTPS_PROXY of the environment, {}", way.address);
    assert!(
        shown.contains(&expected) && !shown.contains("canary"),
        "{shown}"
    );
    let ended = proxy.terminate();
    for secret in [PROXY_PASSWORD, "canary-proxy", PROXY_BASIC] {
        assert!(!contains(ended.output().as_bytes(), secret.as_bytes()));
    }
}

#[test]
fn no_proxy_off_and_loopback_each_go_around_it() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::Lead(front.address));
    let yaml = trusting(&front.authority);
    let url = front.url("127.0.0.1");
    let configured = format!("{yaml}  proxy:\n    url: {}\n", way.url());
    let around = [
        // Go's rule: the environment's proxy is not for the machine itself.
        Proxy::to_url(&url)
            .yaml(&yaml)
            .env("https_proxy", &way.url()),
        Proxy::to_url(&url)
            .yaml(&format!("{yaml}  proxy:\n    url: off\n"))
            .env("HTTPS_PROXY", &way.url()),
        Proxy::to_url(&url)
            .yaml(&configured)
            .env("NO_PROXY", "example.com,127.0.0.0/8"),
        Proxy::to_url(&url).yaml(&format!(
            "{configured}    no_proxy: ['127.0.0.1:{}']\n",
            front.address.port()
        )),
    ];
    for builder in around {
        let answer = builder.start().post(&Post::new(session("direct")));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(way.heads().is_empty());
    let answer = Proxy::to_url(&url)
        .yaml(&configured)
        .start()
        .post(&Post::new(session("through")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        way.heads().len(),
        1,
        "where the configuration says so, loopback goes through it"
    );
}

#[test]
fn an_upstream_on_ipv6_is_reached_by_address() {
    let stage = Stage::new();
    let Some(front) = stage.front_at("[::1]:0", Identity::default()) else {
        eprintln!("SKIPPED: this host has no ::1");
        return;
    };
    let proxy = Proxy::to_url(&front.url("[::1]"))
        .yaml(&trusting(&front.authority))
        .start();
    let answer = proxy.post(&Post::new(session("six")));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn one_dead_address_of_two_costs_no_exchange() {
    let stage = Stage::new();
    let Some((front, mut command, _free)) = stage.half_dead() else {
        eprintln!(
            "SKIPPED: no names of one's own here (unshare -rm); src/upstream/dial.rs tests two addresses"
        );
        return;
    };
    let config = stage.file("config.yaml", trusting(&front.authority));
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .arg("--upstream")
        .arg(front.url("twice.test"));
    command
        .arg("--username")
        .arg(USERNAME)
        .arg("--secret-file")
        .arg(stage.file("secret", SECRET));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--health-listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]);
    let process = Process::start(command, b"");
    let address = process.wait_until(PATIENCE, |lines| {
        let lines = lines
            .iter()
            .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let mut listening =
            lines.filter(|l| l["message"] == "listening" && l["listener"] == "proxy");
        listening.next()?["address"].as_str()?.parse().ok()
    });
    let address = address.unwrap_or_else(|output| panic!("{output}"));
    for id in ["first", "second", "third"] {
        let answer =
            Client::connect(address).post(&Post::new(session(id)).header("Connection", "close"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let attempts = stage.emulator.received();
    assert_eq!(attempts, 3, "no exchange needed a second attempt");
}
