//! Where there is no way: what the caller is told, and that nothing of a stranger's answer is.

use std::{fs, process::Command};

use crate::{
    stage::{Front, Identity, PROXY_BASIC, Rule, Stage, trusting},
    support::{Builder, Post, Proxy, session},
};

fn to(front: &Front, name: &str) -> Builder {
    Proxy::to_url(&front.url(name)).yaml(&trusting(&front.authority))
}

/// The detail and the logged cause of one refused exchange.
fn refusal(builder: Builder, code: &str) -> (String, String) {
    let proxy = builder.start();
    let answer = proxy.post(&Post::new(session("x")));
    let problem = answer.is_problem(502, code, "no");
    let line = &proxy.access_lines(1)[0];
    let cause = line["cause"].as_str().expect("a cause").to_owned();
    let output = proxy.terminate().output();
    assert!(
        !output.contains("canary-r") && !output.contains("canary-b"),
        "{output}"
    );
    (
        problem["detail"].as_str().expect("a detail").to_owned(),
        cause,
    )
}

#[test]
fn a_proxy_that_refuses_is_told_by_its_status_and_by_nothing_else_of_its_answer() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    for (rule, expected) in [
        (
            Rule::LeadWho(front.address, PROXY_BASIC),
            "the proxy refused with 407; it wants credentials: set upstream.proxy.username",
        ),
        (
            Rule::Say(b"HTTP/1.1 403 canary-reason\r\n\r\ncanary-body".to_vec()),
            "the proxy refused with 403; have this host and port allowed",
        ),
        (
            Rule::Say(b"HTTP/1.0 502 canary-reason\r\n\r\n".to_vec()),
            "the proxy answered 502; it could not reach the upstream itself",
        ),
    ] {
        let way = stage.proxy(rule);
        let yaml = format!(
            "{}  proxy:\n    url: {}\n",
            trusting(&front.authority),
            way.url()
        );
        let builder = Proxy::to_url(&front.url("ingo.test")).yaml(&yaml);
        let (detail, cause) = refusal(builder, "upstream_unreachable");
        assert!(detail.contains(expected), "{detail}");
        assert!(
            detail.contains(&format!("through the proxy {}", way.address)),
            "{detail}"
        );
        assert!(cause.contains("the proxy answered CONNECT with"), "{cause}");
    }
    assert_eq!(stage.emulator.received(), 0);
}

#[test]
fn what_is_no_answer_of_a_proxy_ends_it() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let endless = [
        b"HTTP/1.1 200 OK\r\n".as_slice(),
        &b"X-Canary: canary-r\r\n".repeat(1000),
    ]
    .concat();
    for said in [
        b"SSH-2.0-canary-r\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\ncanary-b".to_vec(),
        b"".to_vec(),
        endless,
    ] {
        let way = stage.proxy(Rule::Say(said));
        let yaml = format!(
            "{}  proxy:\n    url: {}\n",
            trusting(&front.authority),
            way.url()
        );
        let builder = Proxy::to_url(&front.url("ingo.test")).yaml(&yaml);
        let (detail, _) = refusal(builder, "upstream_unreachable");
        assert!(
            detail.contains("the proxy's answer to CONNECT is none"),
            "{detail}"
        );
    }
}

#[test]
fn a_proxy_that_is_silent_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let builder = Proxy::to_url("https://ingo.test").yaml(&format!(
        "upstream:\n  connect_timeout: 200ms\n  proxy:\n    url: {url}\n"
    ));
    let (detail, _) = refusal(builder, "upstream_unreachable");
    assert!(
        detail.contains("the proxy did not answer in time"),
        "{detail}"
    );
}

#[test]
fn a_proxy_that_is_not_there_and_a_password_that_is_not_are_told() {
    let (_taken, closed) = Stage::closed_port();
    let builder = Proxy::to_url("https://ingo.test")
        .yaml(&format!("upstream:\n  proxy:\n    url: http://{closed}\n"));
    let (detail, _) = refusal(builder, "upstream_unreachable");
    assert!(
        detail.contains("the proxy refused the connection"),
        "{detail}"
    );

    let keys = "url: http://127.0.0.1:1\n    username: u\n    password_file: /nonexistent/password";
    let ended = Proxy::to_url("https://ingo.test")
        .yaml(&format!("upstream:\n  proxy:\n    {keys}\n"))
        .fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    assert!(
        ended
            .output()
            .contains("/nonexistent/password does not exist"),
        "{}",
        ended.output()
    );
}

/// It is read for each connection, and whoever opens a FIFO that nobody writes to waits for ever.
#[test]
fn a_password_that_is_no_regular_file_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let make_fifo = || {
        let made = Command::new("mkfifo").arg(&file).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo failed");
    };
    let through = |url: &str| {
        let file = file.display();
        Proxy::to_url("https://ingo.test").yaml(&format!(
            "upstream:\n  proxy: {{url: \"{url}\", username: u, password_file: {file}}}\n"
        ))
    };
    make_fifo();
    let ended = through("http://127.0.0.1:1").fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    let told = format!("{} is no regular file", file.display());
    assert!(ended.output().contains(&told), "{}", ended.output());

    fs::remove_file(&file).unwrap();
    fs::write(&file, "s3cret").unwrap();
    let stage = Stage::new();
    let way = stage.proxy(Rule::Say(b"HTTP/1.1 407 no\r\n\r\n".to_vec()));
    let proxy = through(&way.url()).start();
    let detail = || {
        let answer = proxy.post(&Post::new(session("p")));
        let problem = answer.is_problem(502, "upstream_unreachable", "no");
        problem["detail"].as_str().unwrap().to_owned()
    };
    let told = detail();
    assert!(told.contains("407"), "{told}");
    fs::remove_file(&file).unwrap();
    make_fifo();
    let told = detail();
    assert!(
        told.contains("the password for the proxy could not be read"),
        "{told}"
    );
}

#[test]
fn an_environment_with_a_proxy_that_cannot_be_used_is_wrong_configuration() {
    let ended = Proxy::to_url("https://ingo.test")
        .env("HTTPS_PROXY", "https://u:canary-b@proxy.example:1")
        .fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    let output = ended.output();
    assert!(
        output.contains("upstream.proxy.url (HTTPS_PROXY): must begin with http://"),
        "{output}"
    );
    assert!(!output.contains("canary"), "{output}");
}

#[test]
fn every_fault_of_an_upstreams_tls_or_address_is_said_to_have_sent_nothing() {
    let stage = Stage::new();
    let other = stage.front(Identity::default());
    let expired = stage.front(Identity {
        expired: true,
        ..Identity::default()
    });
    let (_, cause) = refusal(to(&expired, "127.0.0.1"), "upstream_tls");
    assert!(cause.contains("xpired"), "{cause}");
    let unknown = stage.front(Identity {
        self_signed: true,
        ..Identity::default()
    });
    let (_, cause) = refusal(to(&unknown, "127.0.0.1"), "upstream_tls");
    assert!(
        cause.contains("UnknownIssuer") || cause.contains("issuer"),
        "{cause}"
    );
    let misnamed = stage.front(Identity {
        names: vec!["other.example"],
        ..Identity::default()
    });
    let (_, cause) = refusal(to(&misnamed, "127.0.0.1"), "upstream_tls");
    assert!(cause.contains("name"), "{cause}");
    let http2 = stage.front(Identity {
        alpn: vec!["h2"],
        ..Identity::default()
    });
    refusal(to(&http2, "127.0.0.1"), "upstream_tls");
    let (_taken, closed) = Stage::closed_port();
    let url = format!("https://{closed}");
    let builder = Proxy::to_url(&url).yaml(&trusting(&other.authority));
    let (detail, _) = refusal(builder, "upstream_unreachable");
    assert!(detail.contains("the connection was refused"), "{detail}");
    let builder = Proxy::to_url("https://ingo.invalid").yaml(&trusting(&other.authority));
    let (detail, _) = refusal(builder, "upstream_unreachable");
    assert!(
        detail.contains("its name could not be resolved"),
        "{detail}"
    );
    assert_eq!(stage.emulator.received(), 0);
}
