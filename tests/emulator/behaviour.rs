//! Ingo's documented behaviour, from outside.

use std::time::Duration;

use ingo_signing_proxy::{
    emulator::{Emulator, Entry, SessionEnd, SessionState},
    ingo::contract::Profile,
};
use serde_json::{Value, json};

use crate::client::{
    Answer, Client, Request, SESSION, SESSIONS, builder, call, create_session, now, payment,
    started,
};

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value["data"][name].as_str().expect("text")
}

async fn visited(emulator: &Emulator, url: &str) -> Answer {
    let origin = format!("http://{}", emulator.addresses().gateway);
    let target = url.strip_prefix(&origin).expect("an URL of the emulator");
    let request = Request {
        method: "GET".to_owned(),
        target: target.to_owned(),
        version: "HTTP/1.1".to_owned(),
        headers: vec![("Host".to_owned(), "127.0.0.1".to_owned())],
        body: Vec::new(),
    };
    call(emulator, &request).await
}

#[tokio::test]
async fn create_session_answers_100_then_101_with_the_same_session_and_a_fresh_url() {
    let emulator = started().await;
    let answer = call(&emulator, &create_session(Some("k"), SESSION)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let first = answer.json();
    assert_eq!(first["status"], 100);
    assert_eq!(first["client_message"], "Success");
    assert!(first["time"].is_number());
    assert_eq!(text(&first, "participant_unique_id1"), "p-1");
    assert_eq!(
        text(&first, "authorized_url_expiration_utc"),
        "2020-01-17T20:14:29.000000Z"
    );

    // Compared by value: other bytes, the same parameters.
    let same = r#"{ "recipient_information": {"first_name" : "\u0041lex"}, "participant_unique_id1":"p-1" }"#;
    let second = call(&emulator, &create_session(Some("k"), same))
        .await
        .json();
    assert_eq!(second["status"], 101);
    assert_eq!(second["client_message"], "Success - Idempotent");
    assert_eq!(
        text(&first, "session_identifier"),
        text(&second, "session_identifier")
    );
    assert_ne!(
        text(&first, "authorized_url"),
        text(&second, "authorized_url")
    );
    assert_eq!(emulator.counts()["created"], 1);
}

#[tokio::test]
async fn the_same_key_with_other_parameters_is_13723() {
    let emulator = started().await;
    call(&emulator, &create_session(Some("k-1"), SESSION)).await;
    let other = SESSION.replace("Alex", "Sam");
    let answer = call(&emulator, &create_session(Some("k-1"), &other)).await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["status"], 13723);
    assert_eq!(
        body["developer_message"],
        "Idempotency Key k-1 for ParticipantId 12345 does not match the original request"
    );
    assert!(body["data"].is_null() && body["time"].is_number());
}

#[tokio::test]
async fn fields_are_refused_with_13400_and_the_key_can_be_used_again() {
    let emulator = started().await;
    let answer = call(
        &emulator,
        &create_session(Some("k"), r#"{"recipient_information":{"state":"ZZ"}}"#),
    )
    .await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["status"], 13400);
    assert_eq!(body["client_message"], "invalid_request_fields");
    assert_eq!(
        body["data"],
        json!({
            "participant_unique_id1": ["The ParticipantUniqueId1 field is required."],
            "recipient_information.state": ["The field State is invalid."],
        })
    );
    let ledger = emulator.ledger();
    assert_eq!(
        (ledger[0].verified, ledger[0].processed),
        (Some(true), false)
    );
    let answer = call(&emulator, &create_session(Some("k"), SESSION)).await;
    assert_eq!(answer.json()["status"], 100);
}

#[tokio::test]
async fn by_the_older_document_the_recipients_name_and_address_are_required() {
    let older = builder().profile(Profile::Older).start().await;
    let older = older.expect("a free port");
    let answer = call(&older, &create_session(None, SESSION)).await.json();
    assert_eq!(answer["status"], 13400);
    assert_eq!(
        answer["data"],
        json!({
            "recipient_information.address_line1": ["The AddressLine1 field is required."],
            "recipient_information.city": ["The City field is required."],
            "recipient_information.last_name": ["The LastName field is required."],
            "recipient_information.state": ["The State field is required."],
            "recipient_information.zip_code": ["The ZipCode field is required."],
        })
    );
}

#[tokio::test]
async fn what_no_type_holds_is_json_and_hides_no_field() {
    let emulator = started().await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for odd in ["1e999", r#""\ud800""#, &deep] {
        let body = SESSION.replacen('{', &format!("{{\"tomorrow\":{odd},"), 1);
        let key = odd.len().to_string();
        for status in [100, 101] {
            let answer = call(&emulator, &create_session(Some(&key), &body)).await;
            assert_eq!(answer.json()["status"], status, "{body}");
        }
        let other = body.replace("Alex", "Sam");
        let answer = call(&emulator, &create_session(Some(&key), &other)).await;
        assert_eq!(answer.json()["status"], 13723, "{body}");
        let payment = format!("{{\"participant_unique_id1\":\"{key}\",\"tomorrow\":{odd}}}");
        let payment = Request::signed("/gateway/process", payment.as_bytes());
        assert_eq!(
            call(&emulator, &payment).await.json()["status"],
            100,
            "{odd}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let emulator = started().await;
    for body in ["", "[]", "{", "null", "\"text\""] {
        let answer = call(&emulator, &create_session(None, body)).await.json();
        assert_eq!(answer["status"], 13400, "{body}");
        let payment = Request::signed("/gateway/process", body.as_bytes());
        assert_eq!(
            call(&emulator, &payment).await.json()["status"],
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_key_of_more_than_250_characters_is_refused() {
    let emulator = started().await;
    let longest = "k".repeat(250);
    let answer = call(&emulator, &create_session(Some(&longest), SESSION)).await;
    assert_eq!(answer.json()["status"], 100);
    let answer = call(&emulator, &create_session(Some(&(longest + "k")), SESSION)).await;
    assert_eq!(answer.json()["status"], 13400);
}

#[tokio::test]
async fn a_key_is_forgotten_after_two_hours_of_the_emulators_clock() {
    let emulator = started().await;
    let first = call(&emulator, &create_session(Some("k"), SESSION))
        .await
        .json();
    emulator.advance(Duration::from_secs(7200));
    let late = Request::signed_at(SESSIONS, SESSION.as_bytes(), emulator.now());
    let second = call(&emulator, &late.with("Idempotency-Key", "k"))
        .await
        .json();
    assert_eq!(second["status"], 100);
    assert_ne!(
        text(&first, "session_identifier"),
        text(&second, "session_identifier")
    );
}

#[tokio::test]
async fn an_authorized_url_can_be_mounted_for_30_seconds() {
    let emulator = started().await;
    let first = call(&emulator, &create_session(Some("k"), SESSION))
        .await
        .json();
    let session = text(&first, "session_identifier");
    emulator.advance(Duration::from_secs(29));
    assert_eq!(emulator.session_state(session), Some(SessionState::Active));
    emulator.advance(Duration::from_secs(1));
    assert_eq!(
        visited(&emulator, text(&first, "authorized_url"))
            .await
            .status,
        410
    );
    assert_eq!(emulator.session_state(session), Some(SessionState::Expired));

    let second = call(&emulator, &create_session(Some("k"), SESSION))
        .await
        .json();
    assert_eq!(
        visited(&emulator, text(&second, "authorized_url"))
            .await
            .status,
        200
    );
    assert_eq!(emulator.session_state(session), Some(SessionState::Mounted));
    assert!(emulator.end_session(session, SessionEnd::Completed));
    assert_eq!(
        visited(&emulator, text(&second, "authorized_url"))
            .await
            .status,
        410
    );
    assert_eq!(emulator.counts()["by_state"]["completed"], 1);
    let wrong = text(&second, "authorized_url").replace("&h=", "&h=0");
    assert_eq!(visited(&emulator, &wrong).await.status, 404);
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_unauthorized_whatever_the_signature() {
    let emulator = builder()
        .allowed_hosts(["https://pay.example".to_owned()])
        .start()
        .await
        .expect("a free port");
    let with = |host: &str| SESSION.replace("{\"first", &format!("{{\"x\":\"{host}\",\"first"));
    let asking = |host: &str| {
        let body = with(host).replacen('{', &format!("{{\"host_uri\":\"{host}\","), 1);
        create_session(Some("k"), &body)
    };
    let answer = call(&emulator, &asking("https://evil.example")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["client_message"], "Unauthorized");
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(emulator.ledger()[0].verified, Some(true));
    // A failure: the key is still free.
    let answer = call(&emulator, &asking("https://PAY.example/")).await;
    assert_eq!(answer.json()["status"], 100);
    assert_eq!(
        call(&emulator, &create_session(None, SESSION)).await.status,
        200
    );
}

#[tokio::test]
async fn refusals_have_kongs_messages_and_the_ledger_has_the_finding() {
    let emulator = started().await;
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut request = payment("a");
        change(&mut request);
        request
    };
    let stale = Request::signed_at("/gateway/process", b"{}", now() - Duration::from_secs(301));
    let without = |name: &'static str| {
        changed(&move |request: &mut Request| request.headers.retain(|(other, _)| other != name))
    };
    for (request, message, finding) in [
        (without("Authorization"), "Unauthorized", "missing_header"),
        (
            stale,
            "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication",
            "date_stale",
        ),
        (
            without("Content-sha512"),
            "HMAC signature cannot be verified",
            "missing_header",
        ),
        (
            changed(&|request| request.body[2] ^= 1),
            "HMAC signature does not match",
            "digest_mismatch",
        ),
        (
            changed(&|request| request.target.push_str("?a=b")),
            "HMAC signature does not match",
            "query_missing",
        ),
    ] {
        let answer = call(&emulator, &request).await;
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (401, &message.into())
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some("hmac realm=\"kong\"")
        );
        let ledger = emulator.ledger();
        let entry = ledger.last().expect("an entry");
        assert_eq!((entry.verified, entry.processed), (Some(false), false));
        assert_eq!(entry.findings[0], finding);
    }
    assert_eq!(emulator.counts()["transactions"], 0);
}

#[tokio::test]
async fn an_older_kong_refuses_with_403_and_errors_can_come_with_200() {
    let emulator = builder()
        .refusal_status(403)
        .error_status(200)
        .start()
        .await;
    let emulator = emulator.expect("a free port");
    let mut request = payment("a");
    request.headers.pop();
    let answer = call(&emulator, &request).await;
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (403, &"Unauthorized".into())
    );
    let answer = call(&emulator, &create_session(None, "{}")).await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &13400.into())
    );
}

#[tokio::test]
async fn every_documented_call_is_answered() {
    let emulator = started().await;
    for (target, body, repeated) in [
        ("/gateway/verify", r#"{"participant_unique_id1":"a"}"#, 101),
        ("/gateway/process", r#"{"participant_unique_id1":"a"}"#, 101),
        (
            "/gateway/v12/debit/process",
            r#"{"participant_unique_ids":["a"]}"#,
            101,
        ),
        (
            "/gateway/v3/notify",
            r#"{"participant_unique_id1":"a"}"#,
            101,
        ),
        ("/gateway/v4/notify", "{}", 100),
        ("/gateway/v3/notifycancel", "{}", 100),
        ("/gateway/v1/open-banking-account", "{}", 100),
        ("/gateway/verify--open-banking", "{}", 100),
        ("/api/v4/accounts", r#"{"idempotent_key":"a"}"#, 101),
    ] {
        let request = Request::signed(target, body.as_bytes());
        let first = call(&emulator, &request).await;
        assert_eq!(
            (first.status, &first.json()["status"]),
            (200, &100.into()),
            "{target}"
        );
        let second = call(&emulator, &request).await.json();
        assert_eq!(second["status"], repeated, "{target}");
    }
    let open_banking = Request::signed("/gateway/verify--open-banking", b"{}");
    let body = call(&emulator, &open_banking).await.json();
    assert!(body["time"].is_string() && body["data"] == json!({}));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_after_the_signature() {
    let emulator = started().await;
    let unknown = Request::signed("/gateway/unknown", b"{}");
    assert_eq!(call(&emulator, &unknown).await.status, 404);
    let mut unsigned = unknown;
    unsigned.headers.pop();
    assert_eq!(call(&emulator, &unsigned).await.status, 401);
    let mut get = payment("a");
    get.method = "GET".to_owned();
    let answer = call(&emulator, &get).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(emulator.ledger()[2].verified, None);
}

#[tokio::test]
async fn the_ledger_has_what_was_received_and_no_secret_of_it() {
    let emulator = started().await;
    let request = create_session(Some("key-1"), SESSION);
    let answer = call(&emulator, &request).await.json();
    visited(&emulator, text(&answer, "authorized_url")).await;
    let ledger: Vec<Entry> = emulator.ledger();
    let entry = &ledger[0];
    assert_eq!((entry.sequence, entry.connection), (1, 1));
    assert_eq!(entry.method.as_deref(), Some("POST"));
    assert_eq!(entry.target.as_deref(), Some(SESSIONS));
    assert_eq!(entry.route, Some("create_session"));
    assert_eq!(entry.idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(entry.identifying_value.as_deref(), Some("p-1"));
    assert_eq!(entry.bytes_received, request.bytes().len() as u64);
    assert_eq!(entry.body_bytes, Some(SESSION.len()));
    let digest = <sha2::Sha256 as sha2::Digest>::digest(SESSION);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entry.body_sha256.as_deref(), Some(hex.as_str()));
    assert_eq!(
        (entry.http_status, entry.ingo_status),
        (Some(200), Some(100))
    );
    assert_eq!(ledger[1].target.as_deref(), Some("/session/…"));

    let shown = serde_json::to_string(&ledger).expect("JSON");
    let signature = request
        .headers
        .iter()
        .find(|(name, _)| name == "Authorization");
    let (_, signature) = signature
        .expect("signed")
        .1
        .split_once("signature=\"")
        .expect("it");
    let token = text(&answer, "authorized_url")
        .rsplit('=')
        .next()
        .expect("a token");
    for hidden in [signature.trim_end_matches('"'), token, "made up", "Alex"] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn the_ledger_is_bounded() {
    let emulator = builder()
        .ledger_entries(3)
        .start()
        .await
        .expect("a free port");
    let mut client = Client::to(&emulator).await;
    for id in 0..10 {
        client
            .call(&payment(&id.to_string()))
            .await
            .expect("an answer");
    }
    assert_eq!((emulator.ledger().len(), emulator.received()), (3, 10));
    emulator.clear_ledger();
    assert_eq!((emulator.ledger().len(), emulator.received()), (0, 0));
}

#[tokio::test]
async fn it_starts_in_milliseconds() {
    let began = std::time::Instant::now();
    for _ in 0..20 {
        started().await;
    }
    // Twenty in the time that one may take on a machine that is busy with other tests.
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}
