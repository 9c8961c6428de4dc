//! Every fault: what the client sees, and what the ledger says.

use std::{io::ErrorKind, time::Duration};

use ingo_signing_proxy::emulator::{Ending, Entry, FaultKind};
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::client::{Client, SESSION, call, create_session, payment, started};

fn last(entries: &[Entry]) -> &Entry {
    entries.last().expect("an entry")
}

#[tokio::test]
async fn a_reset_before_reading_takes_nothing() {
    let emulator = started().await;
    emulator.inject("reset_before_reading").expect("a fault");
    let mut client = Client::to(&emulator).await;
    let error = client.call(&payment("a")).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let ledger = emulator.ledger();
    let entry = last(&ledger);
    assert_eq!(entry.fault, Some("reset_before_reading"));
    assert_eq!((entry.bytes_received, &entry.method), (0, &None));
    assert_eq!((entry.ending, entry.processed), (Ending::Reset, false));
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 100);
}

#[tokio::test]
async fn a_connection_that_sends_nothing_takes_no_fault() {
    let emulator = started().await;
    emulator.inject("reset_before_reading").expect("a fault");
    drop(Client::to(&emulator).await);
    let mut client = Client::to(&emulator).await;
    let error = client.call(&payment("a")).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(emulator.received(), 1);
}

#[tokio::test]
async fn a_reset_after_the_head_takes_not_one_byte_of_the_body() {
    let emulator = started().await;
    let fault = "reset_after_headers,path=/gateway/process";
    emulator.inject(fault).expect("a fault");
    let request = payment("a");
    let mut client = Client::to(&emulator).await;
    let error = client.call(&request).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let ledger = emulator.ledger();
    let entry = last(&ledger);
    assert_eq!(entry.bytes_received, request.head().len() as u64);
    assert_eq!(entry.target.as_deref(), Some("/gateway/process"));
    assert_eq!((entry.body_bytes, entry.verified), (None, None));
    assert_eq!((entry.ending, entry.processed), (Ending::Reset, false));
    assert_eq!(call(&emulator, &request).await.json()["status"], 100);
}

#[tokio::test]
async fn a_reset_after_the_body_leaves_the_payment_made() {
    let emulator = started().await;
    emulator.inject("reset_after_body").expect("a fault");
    let request = payment("a");
    let mut client = Client::to(&emulator).await;
    let error = client.call(&request).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let ledger = emulator.ledger();
    let entry = last(&ledger);
    assert_eq!(entry.bytes_received, request.bytes().len() as u64);
    assert_eq!(entry.body_bytes, Some(request.body.len()));
    assert_eq!(entry.identifying_value.as_deref(), Some("a"));
    assert_eq!((entry.verified, entry.processed), (Some(true), true));
    assert_eq!((entry.http_status, entry.bytes_answered), (None, 0));
    assert_eq!(entry.ending, Ending::Reset);
    assert_eq!(call(&emulator, &request).await.json()["status"], 101);
}

#[tokio::test]
async fn a_reset_after_the_body_can_leave_it_unmade() {
    let emulator = started().await;
    let fault = "reset_after_body,processed=false";
    emulator.inject(fault).expect("a fault");
    let mut client = Client::to(&emulator).await;
    assert!(client.call(&payment("a")).await.is_err());
    assert!(!last(&emulator.ledger()).processed);
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 100);
}

#[tokio::test]
async fn a_reset_in_the_answer_leaves_a_part_of_it() {
    let emulator = started().await;
    for (fault, wanted) in [
        ("reset_in_answer", None),
        ("reset_in_answer,bytes=0", Some(0)),
        ("reset_in_answer,bytes=17", Some(17)),
        ("reset_in_answer,bytes=99999", None),
    ] {
        emulator.inject(fault).expect("a fault");
        let mut client = Client::to(&emulator).await;
        let request = payment(fault);
        client
            .stream
            .write_all(&request.bytes())
            .await
            .expect("sent");
        let (bytes, end) = client.rest().await;
        let end = end.expect_err("no orderly end");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        assert!(wanted.is_none_or(|wanted| wanted == bytes.len()), "{fault}");
        // How long the whole is, only it can say: the time that it took stands in it.
        if wanted.is_none() {
            let text = str::from_utf8(&bytes).expect("ASCII");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let (_, rest) = head.split_once("Content-Length: ").expect("a length");
            let (length, _) = rest.split_once("\r\n").expect("a line");
            let length: usize = length.parse().expect("a number");
            let half = fault == "reset_in_answer";
            let missing = if half { length.div_ceil(2) } else { 1 };
            assert_eq!(body.len() + missing, length, "{fault}");
        }
        let ledger = emulator.ledger();
        let entry = last(&ledger);
        assert_eq!(entry.bytes_answered, bytes.len() as u64);
        assert_eq!((entry.ending, entry.processed), (Ending::Reset, true));
        assert_eq!(entry.http_status, Some(200));
    }
}

#[tokio::test]
async fn a_connection_is_closed_though_its_answer_promised_to_keep_it() {
    let emulator = started().await;
    emulator
        .inject("close_idle,milliseconds=1")
        .expect("a fault");
    let mut client = Client::to(&emulator).await;
    let answer = client.call(&payment("a")).await.expect("an answer");
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    assert_eq!(answer.json()["status"], 100);
    let (bytes, end) = client.rest().await;
    assert!(bytes.is_empty() && end.is_ok(), "{end:?}");
    let ledger = emulator.ledger();
    assert_eq!(last(&ledger).fault, Some("close_idle"));
    assert_eq!(last(&ledger).ending, Ending::Answered);
}

#[tokio::test]
async fn a_connection_is_kept_where_nothing_is_wrong() {
    let emulator = started().await;
    let mut client = Client::to(&emulator).await;
    for id in ["a", "b", "c"] {
        let answer = client.call(&payment(id)).await.expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let connections: Vec<_> = emulator.ledger().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[tokio::test]
async fn statuses_of_the_gateway_come_with_kongs_messages() {
    let date = "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
    for (fault, status, message, retry_after, processed) in [
        ("status_401_unauthorized", 401, "Unauthorized", None, false),
        ("status_401_date", 401, date, None, false),
        (
            "status_401_cannot_be_verified",
            401,
            "HMAC signature cannot be verified",
            None,
            false,
        ),
        (
            "status_401_does_not_match",
            401,
            "HMAC signature does not match",
            None,
            false,
        ),
        (
            "status_403",
            403,
            "HMAC signature does not match",
            None,
            false,
        ),
        (
            "status_429",
            429,
            "API rate limit exceeded",
            Some("1"),
            false,
        ),
        (
            "status_429,retry_after=7",
            429,
            "API rate limit exceeded",
            Some("7"),
            false,
        ),
        (
            "status_502",
            502,
            "An invalid response was received from the upstream server",
            None,
            true,
        ),
        (
            "status_502,processed=false",
            502,
            "An invalid response was received from the upstream server",
            None,
            false,
        ),
        (
            "status_503",
            503,
            "The upstream server is currently unavailable",
            None,
            false,
        ),
        (
            "status_503,retry_after=2",
            503,
            "The upstream server is currently unavailable",
            Some("2"),
            false,
        ),
        (
            "status_504",
            504,
            "The upstream server is timing out",
            None,
            true,
        ),
    ] {
        let emulator = started().await;
        emulator.inject(fault).expect("a fault");
        let answer = call(&emulator, &payment("a")).await;
        assert_eq!(answer.status, status, "{fault}");
        assert_eq!(answer.json()["message"], message, "{fault}");
        assert_eq!(answer.header("retry-after"), retry_after, "{fault}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401, "{fault}");
        let ledger = emulator.ledger();
        let entry = last(&ledger);
        assert_eq!(
            (entry.http_status, entry.verified),
            (Some(status), Some(true))
        );
        assert_eq!(
            (entry.processed, entry.ingo_status),
            (processed, None),
            "{fault}"
        );
        assert!(fault.starts_with(entry.fault.expect("a fault")));
        let repeat = call(&emulator, &payment("a")).await.json();
        assert_eq!(
            repeat["status"],
            if processed { 101 } else { 100 },
            "{fault}"
        );
    }
}

#[tokio::test]
async fn an_answer_can_be_anything_but_json() {
    for (fault, content_type) in [
        ("truncated_json", "application/json"),
        ("garbage_json", "application/json"),
        ("xml", "application/xml"),
    ] {
        let emulator = started().await;
        emulator.inject(fault).expect("a fault");
        let mut client = Client::to(&emulator).await;
        let answer = client.call(&payment("a")).await.expect("a whole message");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(content_type));
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body);
        assert!(json.is_err(), "{fault}");
        let ledger = emulator.ledger();
        assert_eq!(last(&ledger).bytes_answered, answer.bytes as u64);
        assert_eq!(
            (last(&ledger).ingo_status, last(&ledger).processed),
            (None, true)
        );
        // The message was whole, so the connection goes on.
        let repeat = client.call(&payment("a")).await.expect("an answer");
        assert_eq!(repeat.json()["status"], 101);
    }
}

#[tokio::test]
async fn an_answer_can_be_as_large_as_one_likes() {
    for (fault, size) in [
        ("oversized_answer", 2 * 1024 * 1024),
        ("oversized_answer,bytes=1048577", 1_048_577),
    ] {
        let emulator = started().await;
        emulator.inject(fault).expect("a fault");
        let answer = call(&emulator, &payment("a")).await;
        assert_eq!(answer.body.len(), size);
        assert_eq!(answer.json()["status"], 100);
        assert_eq!(last(&emulator.ledger()).bytes_answered, answer.bytes as u64);
    }
}

#[tokio::test]
async fn no_fault_makes_a_success_of_a_refusal() {
    for fault in ["garbage_json", "xml", "oversized_answer", "body_status_102"] {
        let emulator = started().await;
        let armed = format!("{fault},next=2");
        emulator.inject(&armed).expect("a fault");
        let mut unsigned = payment("a");
        unsigned.headers.pop();
        let answer = call(&emulator, &unsigned).await;
        assert_eq!(answer.status, 401, "{fault}");
        assert_eq!(answer.json()["message"], "Unauthorized", "{fault}");
        let answer = call(&emulator, &create_session(None, "{}")).await;
        assert_eq!(answer.json()["status"], 13400, "{fault}");
        assert_eq!(emulator.ledger()[1].ingo_status, Some(13400), "{fault}");
    }
}

#[tokio::test]
async fn a_date_can_be_ahead_or_behind() {
    for (fault, date) in [
        ("skewed_date", "Fri, 17 Jan 2020 20:59:29 GMT"),
        ("skewed_date,seconds=-29", "Fri, 17 Jan 2020 19:59:00 GMT"),
    ] {
        let emulator = started().await;
        let honest = call(&emulator, &payment("z")).await;
        assert_eq!(honest.header("date"), Some("Fri, 17 Jan 2020 19:59:29 GMT"));
        emulator.inject(fault).expect("a fault");
        let answer = call(&emulator, &payment("a")).await;
        assert_eq!(answer.header("date"), Some(date));
        assert_eq!(answer.json()["status"], 100);
    }
}

#[tokio::test]
async fn an_answer_can_come_byte_by_byte() {
    let emulator = started().await;
    emulator.inject("dribble,milliseconds=1").expect("a fault");
    let began = Instant::now();
    let answer = call(&emulator, &payment("a")).await;
    let least = Duration::from_millis(answer.bytes as u64 - 1);
    assert!(
        began.elapsed() >= least,
        "{:?} for {}",
        began.elapsed(),
        answer.bytes
    );
    assert_eq!(answer.json()["status"], 100);
    let ledger = emulator.ledger();
    assert_eq!(last(&ledger).bytes_answered, answer.bytes as u64);
    assert_eq!(last(&ledger).ending, Ending::Answered);
}

#[tokio::test]
async fn a_repeat_of_what_is_delayed_is_pending() {
    let emulator = started().await;
    for request in [payment("a"), create_session(Some("k"), SESSION)] {
        emulator.clear_ledger();
        emulator
            .inject("delay,milliseconds=3600000")
            .expect("a fault");
        let mut first = Client::to(&emulator).await;
        first
            .stream
            .write_all(&request.bytes())
            .await
            .expect("sent");
        let is_delayed = |entries: &[Entry]| entries.iter().any(|it| it.verified.is_some());
        emulator.ledger_when(is_delayed).await;

        let repeat = call(&emulator, &request).await.json();
        assert_eq!(repeat["status"], 104);
        assert!(repeat["data"].is_null());
        emulator.clear_faults();
        let answer = first.answer().await.expect("an answer");
        assert_eq!(answer.json()["status"], 100);
        assert_eq!(call(&emulator, &request).await.json()["status"], 101);
        let processed: Vec<_> = emulator.ledger().iter().map(|it| it.processed).collect();
        assert_eq!(processed, [true, false, true]);
    }
}

#[tokio::test]
async fn a_delay_takes_its_time() {
    let emulator = started().await;
    emulator.inject("delay,milliseconds=50").expect("a fault");
    let began = Instant::now();
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 100);
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn ingos_own_statuses_come_on_demand() {
    for (fault, status, processed) in [
        ("body_status_102", 102, true),
        ("body_status_104", 104, false),
        ("body_status_500", 500, false),
        ("body_status_500,processed=true", 500, true),
    ] {
        let emulator = started().await;
        emulator.inject(fault).expect("a fault");
        let answer = call(&emulator, &payment("a")).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &status.into())
        );
        let ledger = emulator.ledger();
        assert_eq!(last(&ledger).ingo_status, Some(status));
        assert_eq!(last(&ledger).processed, processed, "{fault}");
        let repeat = call(&emulator, &payment("a")).await.json();
        assert_eq!(
            repeat["status"],
            if processed { 101 } else { 100 },
            "{fault}"
        );
        if status == 102 {
            let stand_in = answer.json()["data"]["transaction_id"].clone();
            assert_eq!(stand_in, repeat["data"]["transaction_id"]);
        }
    }
}

#[tokio::test]
async fn a_share_of_requests_fails_and_the_same_ones_each_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let emulator = started().await;
        emulator
            .inject("status_503,share=0.2,seed=42")
            .expect("a fault");
        let mut client = Client::to(&emulator).await;
        let mut statuses = Vec::new();
        for id in 0..200 {
            let answer = client.call(&payment(&id.to_string())).await;
            statuses.push(answer.expect("an answer").status);
        }
        runs.push(statuses);
    }
    let failed = runs[0].iter().filter(|status| **status == 503).count();
    assert!((20..60).contains(&failed), "{failed}");
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_fault_stays_until_it_is_cleared() {
    let emulator = started().await;
    emulator.inject("xml,until=cleared").expect("a fault");
    for _ in 0..5 {
        let answer = call(&emulator, &payment("a")).await;
        assert_eq!(answer.header("content-type"), Some("application/xml"));
    }
    emulator.clear_faults();
    assert_eq!(call(&emulator, &payment("a")).await.json()["status"], 101);
}

/// Every fault stands in a test of this file, by its own name.
#[test]
fn every_fault_is_tested() {
    let this = include_str!("faults.rs");
    for kind in FaultKind::ALL {
        let quoted = [format!("\"{kind}\""), format!("\"{kind},")];
        assert!(quoted.iter().any(|it| this.contains(it)), "{kind}");
    }
}
