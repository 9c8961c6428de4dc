//! What is no clean HTTP/1.1 gets an answer or an end, and is counted to the byte.

use std::{net::TcpStream, time::Duration};

use ingo_signing_proxy::emulator::Ending;
use tokio::io::AsyncWriteExt as _;

use crate::client::{Client, Request, call, payment, started};

#[tokio::test]
async fn what_cannot_be_read_is_answered_with_400_and_the_connection_closed() {
    let emulator = started().await;
    let sent = [
        &b"nonsense\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nfolded: a\r\n b\r\n\r\n",
    ];
    for bytes in sent {
        let mut client = Client::to(&emulator).await;
        client.stream.write_all(bytes).await.expect("sent");
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.rest().await.1.is_ok());
        let ledger = emulator.ledger();
        let entry = ledger.last().expect("an entry");
        assert_eq!((entry.http_status, entry.verified), (Some(400), None));
        assert_eq!(entry.bytes_received, bytes.len() as u64);
    }
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_read_all_the_same() {
    let emulator = started().await;
    let request = payment("a");
    let mut client = Client::to(&emulator).await;
    for byte in request.bytes() {
        client.stream.write_all(&[byte]).await.expect("sent");
    }
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.json()["status"], 100);
    let ledger = emulator.ledger();
    assert_eq!(ledger[0].bytes_received, request.bytes().len() as u64);
}

#[tokio::test]
async fn requests_in_one_write_are_told_apart() {
    let emulator = started().await;
    let requests = ["a", "b", "c"].map(payment);
    let bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
    let mut client = Client::to(&emulator).await;
    client.stream.write_all(&bytes).await.expect("sent");
    for request in &requests {
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.json()["status"], 100);
        let length = request.bytes().len() as u64;
        assert!(
            emulator
                .ledger()
                .iter()
                .any(|it| it.bytes_received == length)
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_noted_with_what_it_sent() {
    let emulator = started().await;
    let request = payment("a");
    let mut client = Client::to(&emulator).await;
    let sent = request.bytes().len() - 1;
    client
        .stream
        .write_all(&request.bytes()[..sent])
        .await
        .expect("sent");
    drop(client);
    let ledger = emulator
        .ledger_when(|entries| entries.iter().any(|it| it.ending != Ending::InProgress))
        .await;
    assert_eq!(ledger[0].ending, Ending::Abandoned);
    assert_eq!(ledger[0].bytes_received, sent as u64);
    assert_eq!((ledger[0].body_bytes, ledger[0].processed), (None, false));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let emulator = started().await;
    let request = payment("a").with("Expect", "100-continue");
    let mut client = Client::to(&emulator).await;
    client
        .stream
        .write_all(&request.head())
        .await
        .expect("sent");
    let mut interim = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut interim)
        .await
        .expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.stream.write_all(&request.body).await.expect("sent");
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.json()["status"], 100);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let emulator = started().await;
    let mut request = payment("a");
    request.headers.retain(|(name, _)| name != "Content-Length");
    let request = request.with("Content-Length", "4194305");
    let mut client = Client::to(&emulator).await;
    client
        .stream
        .write_all(&request.head())
        .await
        .expect("sent");
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status, 413);
    assert_eq!(
        emulator.ledger()[0].bytes_received,
        request.head().len() as u64
    );
}

#[tokio::test]
async fn a_large_body_is_taken() {
    let emulator = started().await;
    let body = format!(
        r#"{{"participant_unique_id1":"a","x":"{}"}}"#,
        "é".repeat(1 << 20)
    );
    let request = Request::signed("/gateway/verify", body.as_bytes());
    let answer = call(&emulator, &request).await;
    assert_eq!(answer.json()["status"], 100);
    assert_eq!(emulator.ledger()[0].body_bytes, Some(body.len()));
}

#[tokio::test]
async fn a_burst_of_connections_waits_to_be_accepted() {
    let emulator = started().await;
    // The emulator's tasks run on this thread, which lets them accept none.
    let limit = Duration::from_secs(1);
    let address = emulator.addresses().gateway;
    let connected: Vec<_> = (0..400)
        .map(|_| TcpStream::connect_timeout(&address, limit))
        .take_while(Result::is_ok)
        .collect();
    assert_eq!(connected.len(), 400);
}

#[tokio::test]
async fn dropping_the_emulator_closes_everything() {
    let emulator = started().await;
    let address = emulator.addresses().gateway;
    let mut client = Client::to(&emulator).await;
    client.call(&payment("a")).await.expect("an answer");
    drop(emulator);
    assert!(client.rest().await.0.is_empty());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
