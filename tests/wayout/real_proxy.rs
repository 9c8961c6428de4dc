//! Through a CONNECT proxy that somebody else wrote, where one is installed.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use crate::{
    stage::{Identity, Stage, trusting},
    support::{PATIENCE, Post, Process, Proxy, process::is_installed, session},
};

#[test]
fn requests_go_through_tinyproxy_with_its_credentials() {
    if !is_installed("tinyproxy", &["-v"]) {
        eprintln!("SKIPPED: tinyproxy is not installed (apt-get install tinyproxy)");
        return;
    }
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    // It cannot be told to choose a port, so one is chosen for it and given back.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let settings = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 10\nAllow 127.0.0.1\nBasicAuth corporate s3cret\nConnectPort {}\n",
        front.address.port()
    );
    let settings = stage.file("tinyproxy.conf", settings);
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(settings);
    let running = Process::start(command, b"");
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < until,
            "{}",
            String::from_utf8_lossy(&running.output())
        );
    }
    let password = stage.file("password", "s3cret\n");
    let yaml = format!(
        "{}  proxy:\n    url: http://127.0.0.1:{port}\n",
        trusting(&front.authority)
    );
    let url = front.url("localhost");
    let refused = Proxy::to_url(&url)
        .yaml(&yaml)
        .start()
        .post(&Post::new(session("x")));
    refused.is_problem(502, "upstream_unreachable", "no");
    let yaml = format!(
        "{yaml}    username: corporate\n    password_file: {}\n",
        password.display()
    );
    let answer = Proxy::to_url(&url)
        .yaml(&yaml)
        .start()
        .post(&Post::new(session("x")));
    assert_eq!(answer.status, 200, "{}", answer.text());
}
