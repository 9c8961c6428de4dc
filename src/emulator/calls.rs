//! The calls of protocol.md §4: verify, process, debit, notify, open banking, banking.
//!
//! No money moves: what is kept of a call is that it came and which transaction it made, by the value that tells a repeat.
//! Parameters are not compared on these calls, for no document says that Ingo does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    answer::{Answer, Messages, Time},
    fingerprint::Fingerprint,
    store::Bounded,
};
use crate::ingo::Route;

/// How long a repeat is recognised. Invented: no document says.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The first transaction id: a number of Ingo's length. Invented.
const FIRST_TRANSACTION: u64 = 1_000_001;

/// 104 (protocol.md §4): the first is still being processed. The wording is that of Ingo's list of response codes.
const IN_PROGRESS: (u64, &str) = (104, "In Progress - Idempotent Response");
const SUCCESS: (u64, &str) = (100, "Success");
const REPEATED: (u64, &str) = (101, "Success - Idempotent Response");

/// What is remembered of calls.
#[derive(Debug)]
pub(super) struct Calls {
    known: Bounded<(Route, Fingerprint), Known>,
    transactions: u64,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Pending,
    Done(Transaction),
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    id: u64,
    account_token: Uuid,
}

/// A call that is being processed.
#[derive(Debug)]
pub(super) struct Ticket {
    route: Route,
    key: Option<Fingerprint>,
    known: Option<Known>,
    echo: Echo,
}

/// What of a request stands in its answer.
#[derive(Debug)]
struct Echo {
    ids: [Option<Value>; 2],
    /// `request` and `participant_unique_ids` of a body of version 12.
    v12: Option<[Value; 2]>,
}

/// The `data` of an answer, in the order of Ingo's pages.
#[derive(Serialize)]
struct Data {
    transaction_id: u64,
    request_timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_account_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_unique_id1: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_unique_id2: Option<Value>,
}

impl Calls {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            known: Bounded::new(capacity, LIFETIME),
            transactions: 0,
        }
    }

    /// Claims the identifying value of a call.
    ///
    /// # Errors
    /// The name of the identifying field, where it is required and missing.
    pub(super) fn begin(
        &mut self,
        route: Route,
        path: &[u8],
        body: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<Ticket, &'static str> {
        let identity = identity(route, body);
        if let (None, Some(name)) = (identity, required(route)) {
            return Err(name);
        }
        // Banking's paths are one route here, and each its own call.
        let path = String::from_utf8_lossy(path);
        let key = identity.map(|identity| Fingerprint::of(&json!([path, identity])));
        let mut known = None;
        if let Some(key) = key {
            known = self.known.find(&(route, key), now).copied();
            if known.is_none() {
                self.known.put((route, key), Known::Pending, now);
            }
        }
        Ok(Ticket {
            route,
            key,
            known,
            echo: Echo::of(body),
        })
    }

    /// Processes a call and answers it.
    pub(super) fn finish(&mut self, ticket: Ticket, took: Duration, now: SystemTime) -> Answer {
        match ticket.known {
            Some(Known::Pending) => ticket.answer(IN_PROGRESS, None, took, now),
            Some(Known::Done(first)) => ticket.answer(REPEATED, Some(first), took, now),
            None => {
                let transaction = Transaction {
                    id: FIRST_TRANSACTION + self.transactions,
                    account_token: Uuid::new_v4(),
                };
                self.transactions += 1;
                if let Some(key) = ticket.key {
                    let done = Known::Done(transaction);
                    match self.known.find(&(ticket.route, key), now) {
                        Some(known) => *known = done,
                        None => self.known.put((ticket.route, key), done, now),
                    }
                }
                ticket.answer(SUCCESS, Some(transaction), took, now)
            }
        }
    }

    /// How many transactions were made, repeats not counted.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions
    }
}

impl Ticket {
    fn answer(
        self,
        (status, message): (u64, &str),
        transaction: Option<Transaction>,
        took: Duration,
        now: SystemTime,
    ) -> Answer {
        // Number here, text there: protocol.md §3 says so of `time`, Ingo's pages show text on the gateway's calls.
        let time = Time::Text(took);
        if let Some([request, ids]) = self.echo.v12 {
            return v12(status, message, [request, ids], transaction, took);
        }
        let Some(transaction) = transaction else {
            return Answer::success(status, message, &Value::Null, time);
        };
        if self.route == Route::VerifyOpenBanking || self.route == Route::OpenBankingAccount {
            // `"data":{}` is what the page under development shows (protocol.md §4).
            return Answer::success(status, message, &json!({}), time);
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Ingo asks its clients to log the transaction id (protocol.md §4). That it stands in `data`, as a number, is
        // from its pages for process; on the other calls it is invented.
        let [participant_unique_id1, participant_unique_id2] = self.echo.ids;
        let token = (self.route == Route::Verify).then_some(transaction.account_token);
        let data = Data {
            transaction_id: transaction.id,
            request_timestamp: since.as_secs(),
            customer_account_token: token.map(|token| token.to_string()),
            participant_unique_id1,
            participant_unique_id2,
        };
        Answer::success(status, message, &data, time)
    }
}

/// The answer to a body of version 12. Not in protocol.md: the shape is that of Ingo's page for a debit by ACH, the one of
/// this family that shows an answer.
fn v12(
    status: u64,
    message: &str,
    [request, ids]: [Value; 2],
    transaction: Option<Transaction>,
    took: Duration,
) -> Answer {
    let duration = format!("{:.4}", took.as_secs_f64());
    let mut of_transaction = json!({"participant_unique_ids": ids});
    if let Some(transaction) = transaction {
        of_transaction["transaction_id"] = transaction.id.to_string().into();
    }
    let body = json!({
        "request": request,
        "response": {"status": status.to_string(), "message": message, "duration": duration},
        "transaction": of_transaction,
    });
    Answer::body(Some(status), &body)
}

/// A call whose body cannot be used. Status 400 with this message is from Ingo's list of response codes, without the
/// telephone number there; what the developer is told is invented.
pub(super) fn unusable(http_status: u16, developer: &str, took: Duration) -> Answer {
    let messages = Messages {
        client: "Transaction Failure",
        developer,
    };
    Answer::failure(http_status, 400, messages, &Value::Null, Time::Text(took))
}

/// The value by which a repeat is recognised (protocol.md §4), where there is one.
pub(super) fn identity(route: Route, body: &Map<String, Value>) -> Option<&Value> {
    let value = match route {
        Route::Verify | Route::Process | Route::NotifyV3 | Route::NotifyCancel => {
            body.get("participant_unique_id1")
        }
        // At the top of the body, or where Ingo's page for debit shows it.
        Route::Debit => body
            .get("participant_unique_ids")
            .or_else(|| body.get("transaction")?.get("participant_unique_ids")),
        Route::Banking => body.get("idempotent_key"),
        Route::NotifyV4
        | Route::OpenBankingAccount
        | Route::VerifyOpenBanking
        | Route::CreateSession => None,
    }?;
    let empty = match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    (!empty).then_some(value)
}

/// The identifying field without which a call is refused. Invented for all three: protocol.md says what recognises a
/// repeat, not what happens without it.
fn required(route: Route) -> Option<&'static str> {
    match route {
        Route::Verify | Route::Process => Some("participant_unique_id1"),
        Route::Debit => Some("participant_unique_ids"),
        _ => None,
    }
}

impl Echo {
    fn of(body: &Map<String, Value>) -> Self {
        let v12 = body
            .get("transaction")
            .and_then(|transaction| transaction.get("participant_unique_ids"))
            .map(|ids| {
                [
                    body.get("request").cloned().unwrap_or_default(),
                    ids.clone(),
                ]
            });
        let text = |name| body.get(name).filter(|value| value.is_string()).cloned();
        Self {
            ids: [
                text("participant_unique_id1"),
                text("participant_unique_id2"),
            ],
            v12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn ticket(calls: &mut Calls, route: Route, body: &Value) -> Result<Ticket, &'static str> {
        let body = body.as_object().expect("an object");
        calls.begin(route, b"/path", body, at(0))
    }

    fn answered(calls: &mut Calls, route: Route, body: &Value) -> Value {
        let ticket = ticket(calls, route, body).expect("a usable body");
        let answer = calls.finish(ticket, Duration::from_millis(850), at(0));
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let status = body.get("status").unwrap_or(&body["response"]["status"]);
        let status = status.as_u64().or_else(|| status.as_str()?.parse().ok());
        assert_eq!(answer.ingo_status, status);
        body
    }

    #[test]
    fn a_repeat_names_the_first_transaction() {
        for (route, body) in [
            (Route::Verify, json!({"participant_unique_id1": "a"})),
            (Route::Process, json!({"participant_unique_id1": "a"})),
            (Route::Debit, json!({"participant_unique_ids": ["a", "b"]})),
            (Route::NotifyV3, json!({"participant_unique_id1": "a"})),
            (Route::Banking, json!({"idempotent_key": "a"})),
        ] {
            let mut calls = Calls::new(10);
            let first = answered(&mut calls, route, &body);
            let second = answered(&mut calls, route, &body);
            assert_eq!(
                (&first["status"], &second["status"]),
                (&json!(100), &json!(101))
            );
            assert_eq!(first["time"], "0.85");
            assert!(first["data"]["transaction_id"].is_u64(), "{first}");
            assert_eq!(first["data"], second["data"], "{route:?}");
            assert_eq!(calls.transactions(), 1);
        }
    }

    #[test]
    fn another_id_or_another_route_is_another_transaction() {
        let mut calls = Calls::new(10);
        let body = json!({"participant_unique_id1": "a", "amount": 1});
        assert_eq!(answered(&mut calls, Route::Process, &body)["status"], 100);
        assert_eq!(answered(&mut calls, Route::Verify, &body)["status"], 100);
        let other = json!({"participant_unique_id1": "b", "amount": 1});
        assert_eq!(answered(&mut calls, Route::Process, &other)["status"], 100);
        // Only the id counts.
        let changed = json!({"participant_unique_id1": "a", "amount": 2});
        assert_eq!(
            answered(&mut calls, Route::Process, &changed)["status"],
            101
        );
        assert_eq!(calls.transactions(), 3);
    }

    #[test]
    fn a_repeat_while_the_first_is_processed_gets_104() {
        let mut calls = Calls::new(10);
        let body = json!({"participant_unique_id1": "a"});
        let first = ticket(&mut calls, Route::Process, &body).expect("a ticket");
        let repeat = answered(&mut calls, Route::Process, &body);
        assert_eq!(
            (&repeat["status"], &repeat["data"]),
            (&json!(104), &Value::Null)
        );
        calls.finish(first, Duration::ZERO, at(1));
        assert_eq!(answered(&mut calls, Route::Process, &body)["status"], 101);
    }

    #[test]
    fn a_body_of_version_12_is_answered_in_that_shape() {
        let mut calls = Calls::new(10);
        let body = json!({
            "request": {"participant_id": "12345", "timestamp": "1547143063"},
            "transaction": {"participant_unique_ids": {"participant_unique_id1": "a", "participant_unique_id2": "b"}},
        });
        let first = answered(&mut calls, Route::Debit, &body);
        assert_eq!(first["request"], body["request"]);
        assert_eq!(first["response"]["status"], "100");
        assert_eq!(first["transaction"]["transaction_id"], "1000001");
        let repeat = answered(&mut calls, Route::Debit, &body);
        assert_eq!(repeat["response"]["status"], "101");
        assert_eq!(repeat["transaction"], first["transaction"]);
    }

    #[test]
    fn a_call_that_must_be_identified_is_refused_without() {
        for (route, name) in [
            (Route::Verify, "participant_unique_id1"),
            (Route::Process, "participant_unique_id1"),
            (Route::Debit, "participant_unique_ids"),
        ] {
            for value in [json!(null), json!(""), json!([]), json!({})] {
                let refused = ticket(&mut Calls::new(1), route, &json!({ name: value }));
                assert_eq!(refused.expect_err("refused"), name);
            }
        }
    }

    #[test]
    fn what_nothing_identifies_is_new_each_time() {
        for route in [
            Route::NotifyV4,
            Route::OpenBankingAccount,
            Route::VerifyOpenBanking,
        ] {
            let mut calls = Calls::new(10);
            for _ in 0..2 {
                let body = json!({"participant_unique_id1": "a"});
                assert_eq!(answered(&mut calls, route, &body)["status"], 100);
            }
        }
        let mut calls = Calls::new(10);
        let body = answered(&mut calls, Route::VerifyOpenBanking, &json!({}));
        assert_eq!(
            body,
            json!({"status": 100, "client_message": "Success", "data": {}, "time": "0.85"})
        );
    }
}
