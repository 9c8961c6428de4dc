//! The control endpoint: what it does, and whom it refuses.

use std::net::SocketAddr;

use ingo_signing_proxy::{
    config::Address,
    emulator::{Emulator, StartError},
    listener::BoundAddress,
};
use serde_json::{Value, json};

use crate::client::{Answer, Client, Request, builder, call, payment};

async fn controlled() -> (Emulator, SocketAddr) {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let emulator = builder().control(Address::Tcp(any)).start().await;
    let emulator = emulator.expect("free ports");
    let Some(BoundAddress::Tcp(control)) = emulator.addresses().control.clone() else {
        panic!("a control endpoint");
    };
    (emulator, control)
}

fn request(method: &str, target: &str, body: &str) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        version: "HTTP/1.1".to_owned(),
        headers: vec![
            ("Host".to_owned(), "localhost:1".to_owned()),
            ("Content-Length".to_owned(), body.len().to_string()),
        ],
        body: body.as_bytes().to_vec(),
    }
}

async fn asked(control: SocketAddr, request: &Request) -> Answer {
    let mut client = Client::connect(control).await;
    client.call(request).await.expect("an answer")
}

async fn told(control: SocketAddr, method: &str, target: &str, body: &str) -> (u16, Value) {
    let answer = asked(control, &request(method, target, body)).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn faults_are_armed_shown_applied_and_cleared() {
    let (emulator, control) = controlled().await;
    let (status, armed) = told(
        control,
        "POST",
        "/faults",
        r#"{"fault":"status_503","next":2}"#,
    )
    .await;
    assert_eq!(
        (status, &armed),
        (201, &json!({"fault": "status_503", "next": 2, "id": 1}))
    );
    let (_, _) = told(
        control,
        "POST",
        "/faults",
        r#"{"fault":"xml","until":"cleared"}"#,
    )
    .await;
    assert_eq!(call(&emulator, &payment("a")).await.status, 503);
    let (status, list) = told(control, "GET", "/faults", "").await;
    assert_eq!(status, 200);
    assert_eq!(
        list["faults"],
        json!([
            {"fault": "status_503", "next": 1, "id": 1, "applied": 1},
            {"fault": "xml", "until": "cleared", "id": 2, "applied": 0},
        ])
    );
    assert_eq!(
        told(control, "DELETE", "/faults", "").await,
        (200, json!({"cleared": 2}))
    );
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 100);
}

#[tokio::test]
async fn a_fault_that_cannot_be_is_refused_with_a_reason() {
    let (_emulator, control) = controlled().await;
    for body in [
        "",
        "{}",
        "not json",
        r#"{"fault":"delay","nxt":3}"#,
        r#"{"fault":"nonsense"}"#,
    ] {
        let (status, reason) = told(control, "POST", "/faults", body).await;
        assert_eq!(status, 400, "{body}");
        assert!(reason["detail"].is_string());
    }
    let large = format!("\"{}\"", "x".repeat(70_000));
    assert_eq!(told(control, "POST", "/faults", &large).await.0, 413);
}

#[tokio::test]
async fn the_ledger_and_the_sessions_are_shown() {
    let (emulator, control) = controlled().await;
    call(&emulator, &payment("a")).await;
    let (_, ledger) = told(control, "GET", "/ledger", "").await;
    assert_eq!(ledger["count"], 1);
    let entry = &ledger["entries"][0];
    assert_eq!(entry["identifying_value"], "a");
    assert_eq!(
        (&entry["verified"], &entry["ending"]),
        (&json!(true), &json!("answered"))
    );
    assert_eq!(
        told(control, "DELETE", "/ledger", "").await,
        (200, json!({"cleared": 1}))
    );
    let (_, ledger) = told(control, "GET", "/ledger", "").await;
    assert_eq!(ledger, json!({"count": 0, "entries": []}));
    let (_, sessions) = told(control, "GET", "/sessions", "").await;
    assert_eq!(
        (&sessions["created"], &sessions["transactions"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn browsers_and_strange_hosts_are_refused() {
    let (emulator, control) = controlled().await;
    let body = r#"{"fault":"xml"}"#;
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "same-origin"),
    ] {
        let from_a_page = request("POST", "/faults", body).with(name, value);
        assert_eq!(asked(control, &from_a_page).await.status, 403);
    }
    let mut rebound = request("POST", "/faults", body);
    rebound.headers[0].1 = "evil.example".to_owned();
    assert_eq!(asked(control, &rebound).await.status, 421);
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 100);
}

#[tokio::test]
async fn other_paths_and_methods_say_what_there_is() {
    let (_emulator, control) = controlled().await;
    assert_eq!(told(control, "GET", "/", "").await.0, 404);
    let answer = asked(control, &request("PUT", "/ledger", "")).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, DELETE"))
    );
}

#[tokio::test]
async fn it_can_be_a_unix_socket_and_never_be_exposed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sock");
    let address = Address::Unix {
        path: path.clone(),
        mode: 0o600,
    };
    let emulator = builder().control(address).start().await.expect("a socket");
    let stream = tokio::net::UnixStream::connect(&path).await;
    assert!(stream.is_ok());
    drop(emulator);
    assert!(!path.exists());

    let everywhere: SocketAddr = ([0, 0, 0, 0], 0).into();
    let exposed = builder().control(Address::Tcp(everywhere)).start().await;
    assert!(matches!(exposed, Err(StartError::ControlExposed(_))));
}
