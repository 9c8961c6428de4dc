//! What a body says of itself: who it is about, how Ingo answered.
//!
//! Bodies pass through byte for byte whatever is found here. Only fields that may be logged are ever read.

use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use super::{
    Route,
    json::{Members, text},
    moment::utc,
};

/// The longest value that is taken over. Ingo's own identifiers have at most 100 characters (protocol.md §3).
const MAX_FACT_CHARS: usize = 128;

/// What a body says of itself that may be logged. Ingo asks its clients to log the transaction id and
/// `participant_unique_id1` of each payment (protocol.md §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every `participant_unique_id1`: the identifying value of a request on most routes. Where a name is repeated, which one
    /// Ingo takes is not known.
    pub participant_unique_id1: Vec<String>,
    /// Every `participant_unique_ids`: the identifying values of a debit.
    pub participant_unique_ids: Vec<Vec<String>>,
    /// Every `idempotent_key`: the identifying value on the Banking Platform.
    pub idempotent_key: Vec<String>,
    /// `status` of an answer, at the top or, on the newer debit page, in its `response`: its digits, as a number or a string
    /// (protocol.md §4), or `other`. Not the HTTP status.
    pub status: Option<String>,
    /// `transaction_id` of an answer, at the top, in its `data` or in its `transaction`.
    pub transaction_id: Option<String>,
    /// `time` of an answer: how long Ingo says that it took.
    pub time: Option<Duration>,
    /// Whether a request names a `host_uri`: null and the empty string are none.
    pub has_host_uri: bool,
    /// Whether an answer has an `authorized_url` in its `data`. What it is, is never read.
    pub has_authorized_url: bool,
    /// `authorized_url_expiration_utc` of an answer, in its `data`.
    pub authorized_url_expiration: Option<SystemTime>,
}

/// By what Ingo recognises a repeat of a request, as far as its body tells (protocol.md §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The identifying values: all of them, where a name is repeated.
    pub values: Vec<String>,
    /// Whether there is one identifying member and no doubt about its value.
    pub is_certain: bool,
}

/// A `time` beyond this is none.
const LONGEST_TIME: Duration = Duration::from_secs(600);
/// An `authorized_url` must be used within this time (protocol.md §3).
const AUTHORIZED_URL_LIFE: Duration = Duration::from_secs(30);

impl Facts {
    /// What is left of the life of the answer's `authorized_url`, if it has one: of its 30 seconds since the answer came, `age`
    /// ago, or until its own expiration, whichever is less. `now` is the time by Ingo's clock.
    pub fn authorized_url_left(&self, age: Duration, now: SystemTime) -> Option<Duration> {
        if !self.has_authorized_url {
            return None;
        }
        let left = AUTHORIZED_URL_LIFE.saturating_sub(age);
        let until = self
            .authorized_url_expiration
            .map(|then| then.duration_since(now).unwrap_or_default());
        Some(until.map_or(left, |until| until.min(left)))
    }

    /// By what Ingo recognises a repeat of this request on `route`.
    pub fn identity(self, route: Route) -> Identity {
        let one = |values: Vec<String>| Identity {
            is_certain: values.len() == 1 && !values[0].is_empty(),
            values,
        };
        match route {
            Route::Banking => one(self.idempotent_key),
            Route::Debit if !self.participant_unique_ids.is_empty() => {
                let values = self.participant_unique_ids.concat();
                let is_certain = self.participant_unique_ids.len() == 1
                    && !values.is_empty()
                    && values.iter().all(|v| !v.is_empty());
                Identity { values, is_certain }
            }
            _ => one(self.participant_unique_id1),
        }
    }
}

/// Where in a body facts are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Data,
    Response,
    Transaction,
}

/// The members that facts are read from, wherever they stand.
pub(super) fn is_asked_for(name: &[u8]) -> bool {
    matches!(
        name,
        b"participant_unique_id1"
            | b"participant_unique_ids"
            | b"idempotent_key"
            | b"status"
            | b"transaction_id"
            | b"time"
            | b"host_uri"
            | b"authorized_url"
            | b"authorized_url_expiration_utc"
            | b"data"
            | b"response"
            | b"transaction"
    )
}

impl Facts {
    /// Reads what is there. Whatever is missing, of another type or no JSON at all is simply not found.
    pub fn read(body: &[u8]) -> Self {
        Self::of(&Members::as_far_as_it_is_json(body, is_asked_for))
    }

    /// Reads what `members` say: those of a whole body, of which at least those that [`is_asked_for`](super::is_asked_for) were kept.
    pub fn of(members: &Members<'_>) -> Self {
        let mut facts = Self::default();
        facts.take_all(members, Place::Top);
        facts
    }

    fn take_all(&mut self, members: &Members<'_>, place: Place) {
        for (name, json) in members.iter() {
            self.take(name, json, place);
        }
    }

    /// Reads one member, if it is a fact at `place` or an object that holds some.
    fn take(&mut self, name: &[u8], json: &str, place: Place) {
        match (name, place) {
            (b"participant_unique_id1", Place::Top | Place::Transaction) => {
                self.participant_unique_id1.extend(scalar(json));
            }
            (b"participant_unique_ids", Place::Top | Place::Transaction) => {
                self.participant_unique_ids.push(scalars(json));
            }
            (b"idempotent_key", Place::Top) => self.idempotent_key.extend(scalar(json)),
            (b"status", Place::Top | Place::Response) if self.status.is_none() => {
                self.status = scalar(json).map(status);
            }
            (b"transaction_id", Place::Top | Place::Data | Place::Transaction)
                if self.transaction_id.is_none() =>
            {
                self.transaction_id = scalar(json);
            }
            (b"time", Place::Top) => {
                let time = number(json).and_then(|s| Duration::try_from_secs_f64(s).ok());
                // Ingo holds no call for longer than a minute: what says so is no time.
                self.time = time.filter(|time| *time <= LONGEST_TIME);
            }
            (b"host_uri", Place::Top) => {
                self.has_host_uri |= json.starts_with('"') && json != "\"\"";
            }
            (b"authorized_url", Place::Data) => self.has_authorized_url = json.starts_with('"'),
            (b"authorized_url_expiration_utc", Place::Data) => {
                self.authorized_url_expiration = scalar(json).as_deref().and_then(utc);
            }
            (b"data", Place::Top) => self.take_below(json, Place::Data),
            (b"response", Place::Top) => self.take_below(json, Place::Response),
            (b"transaction", Place::Top) => self.take_below(json, Place::Transaction),
            _ => {}
        }
    }

    fn take_below(&mut self, json: &str, place: Place) {
        self.take_all(&Members::of_value(json, is_asked_for), place);
    }
}

/// A status as it may be logged: what no document knows may hold anything that a body may.
fn status(text: String) -> String {
    /// More than any status has.
    const MOST_DIGITS: usize = 9;
    let is_short = (1..=MOST_DIGITS).contains(&text.len());
    if is_short && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text
    } else {
        "other".to_owned()
    }
}

/// A string or number as text, cut at [`MAX_FACT_CHARS`]; anything else is nothing: not a number that no type holds, nor a lone
/// surrogate.
fn scalar(json: &str) -> Option<String> {
    /// Up to so many digits a number is itself, also for whoever reads all numbers as IEEE 754's.
    const EXACT: usize = 15;
    match json.as_bytes().first()? {
        b'"' => {
            let text = text(json)?;
            // Mostly there are not even as many bytes.
            let may_be_longer = text.len() > MAX_FACT_CHARS;
            let end = may_be_longer.then(|| text.char_indices().nth(MAX_FACT_CHARS));
            Some(text[..end.flatten().map_or(text.len(), |(at, _)| at)].to_owned())
        }
        b'0'..=b'9' if json.len() <= EXACT && json.bytes().all(|b| b.is_ascii_digit()) => {
            Some(json.to_owned())
        }
        // 100.0 is 100, as it is to whoever reads numbers.
        b'-' | b'0'..=b'9' => match json.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) if number.abs() < 9e15 => Some(number.to_string()),
            _ => Some(json.chars().take(MAX_FACT_CHARS).collect()),
        },
        _ => None,
    }
}

/// A number, or a string that holds one.
fn number(json: &str) -> Option<f64> {
    match text(json) {
        Some(text) => text.parse().ok(),
        None => json.parse().ok(),
    }
}

/// One scalar, the scalars of an array, or those of an object that are identifying values.
fn scalars(json: &str) -> Vec<String> {
    match json.as_bytes().first() {
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            elements.iter().filter_map(|e| scalar(e.get())).collect()
        }
        Some(b'{') => {
            // No other member is a value by which Ingo knows the call.
            let is_value = |name: &[u8]| name.starts_with(b"participant_unique_id");
            let members = Members::of_value(json, is_value);
            members
                .iter()
                .filter_map(|(_, json)| scalar(json))
                .collect()
        }
        _ => scalar(json).into_iter().collect(),
    }
}

/// Whether an answer says that Ingo did what was asked, or had done it before: an HTTP success whose body's `status` is of
/// the family 100–110, except 104, which says that the first attempt is still being processed (protocol.md §4).
pub fn is_success(http: u16, status: Option<&str>) -> bool {
    let status: Option<u32> = status.and_then(|s| s.parse().ok());
    (200..300).contains(&http) && status.is_some_and(|s| (100..=110).contains(&s) && s != 104)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingo::check_json;

    proptest! {
        #[test]
        fn one_pass_over_a_body_says_what_two_say(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", " ", "1e999", "-1", "true", "null", "\"a\"", "\"status\":100",
                    "\"participant_unique_id1\":\"x\"", "\"data\":{\"transaction_id\":7}", "\\u00", "\u{feff}", "é",
                ]),
                0..8,
            ),
        ) {
            let body = pieces.concat();
            let both = check_json(body.as_bytes()).map(|()| Facts::read(body.as_bytes()));
            let one = Members::of_json(body.as_bytes(), is_asked_for).map(|members| Facts::of(&members));
            prop_assert_eq!(one, both);
        }
    }

    #[test]
    fn what_is_left_of_an_authorized_url_is_the_smaller_of_its_30_seconds_and_its_expiration() {
        let at = |text| utc(text).expect("a moment");
        let now = at("2026-11-20T12:00:00Z");
        let answer = |expiration: &str| {
            let body = format!(
                r#"{{"status":100,"data":{{"authorized_url":"x","authorized_url_expiration_utc":"{expiration}"}},"time":"0.85"}}"#
            );
            Facts::read(body.as_bytes())
        };
        let seconds = Duration::from_secs;
        for (expiration, left) in [
            ("2026-11-20T12:15:00Z", 28),
            ("2026-11-20T12:15:00.1234567", 28),
            ("2026-11-20T12:00:05+00:00", 5),
            ("2026-11-20T11:59:59Z", 0),
            ("soon", 28),
            ("", 28),
        ] {
            let facts = answer(expiration);
            assert_eq!(facts.time, Some(Duration::from_millis(850)));
            let told = facts.authorized_url_left(seconds(2), now);
            assert_eq!(told, Some(seconds(left)), "{expiration}");
            let long_ago = facts.authorized_url_left(seconds(31), now);
            assert_eq!(long_ago, Some(Duration::ZERO));
        }
        let none = Facts::read(br#"{"status":100,"data":{},"time":-1}"#);
        assert_eq!(none.authorized_url_left(Duration::ZERO, now), None);
        assert_eq!(none.time, None);
    }

    #[test]
    fn an_odd_value_hides_nothing_that_stands_behind_it() {
        for body in [
            r#"{"data":{"authorized_url":"u"},"time":1e999,"status":100}"#,
            r#"{"data":{"transaction_id":"\ud800"},"status":100}"#,
            r#"{"data":1e999,"time":1e18,"status":"100"}"#,
            r#"{"participant_unique_id1":-1e999,"status":100.0}"#,
            "\u{feff}{\"status\":100}",
        ] {
            let facts = Facts::read(body.as_bytes());
            assert_eq!(facts.status.as_deref(), Some("100"), "{body}");
            assert_eq!(facts.time, None, "{body}");
        }
        let null = Facts::read(br#"{"status":100,"data":{"authorized_url":null}}"#);
        assert!(!null.has_authorized_url);
    }

    #[test]
    fn facts_are_read_from_the_top_and_from_data_only() {
        let body = br#"{"x":{"status":1,"transaction_id":"no"},"status":100,"data":{"status":7,"transaction_id":"T-1"},"participant_unique_id1":"p"}"#;
        let facts = Facts::read(body);
        assert_eq!(facts.status.as_deref(), Some("100"));
        assert_eq!(facts.transaction_id.as_deref(), Some("T-1"));
        assert_eq!(facts.participant_unique_id1, ["p"]);
    }

    #[test]
    fn a_status_that_is_no_whole_number_is_told_as_other_because_it_is_logged() {
        for (json, told) in [
            ("13723", Some("13723")),
            ("\"0100\"", Some("0100")),
            ("\"card 4111111111111111 was declined\"", Some("other")),
            ("4111111111111111", Some("other")),
            ("\"\"", Some("other")),
            ("-1", Some("other")),
            ("100.5", Some("other")),
            ("null", None),
        ] {
            let facts = Facts::read(format!(r#"{{"status":{json}}}"#).as_bytes());
            assert_eq!(facts.status.as_deref(), told, "{json}");
        }
    }

    #[test]
    fn debits_tell_theirs_in_the_shapes_of_both_documents() {
        let newer = br#"{"request":{"status":9},"response":{"status":"104"},"transaction":{"transaction_id":7,"participant_unique_ids":["a","b",3]}}"#;
        let facts = Facts::read(newer);
        assert_eq!(facts.status.as_deref(), Some("104"));
        assert_eq!(facts.transaction_id.as_deref(), Some("7"));
        assert_eq!(facts.participant_unique_ids, [["a", "b", "3"]]);
        let one = Facts::read(br#"{"participant_unique_ids":"a"}"#);
        assert_eq!(one.participant_unique_ids, [["a"]]);
        let object = br#"{"transaction":{"participant_unique_ids":{"participant_unique_id1":"a","other":"x","participant_unique_id2":2}}}"#;
        assert_eq!(Facts::read(object).participant_unique_ids, [["a", "2"]]);
        let odd = Facts::read(br#"{"participant_unique_ids":{"a":[1]},"status":100}"#);
        assert_eq!(odd.status.as_deref(), Some("100"));
        assert!(!odd.identity(Route::Debit).is_certain);
    }

    #[test]
    fn a_request_is_identified_only_where_there_is_no_doubt() {
        let certain = |route, body: &str| Facts::read(body.as_bytes()).identity(route).is_certain;
        assert!(certain(Route::Verify, r#"{"participant_unique_id1":"a"}"#));
        assert!(certain(Route::Banking, r#"{"idempotent_key":"a"}"#));
        assert!(certain(
            Route::Debit,
            r#"{"participant_unique_ids":["a","b"]}"#
        ));
        for (route, body) in [
            (Route::Verify, r#"{"card":1}"#),
            (
                Route::Verify,
                r#"{"participant_unique_id1":"a","participant_unique_id1":"b"}"#,
            ),
            (Route::Verify, r#"{"participant_unique_id1":""}"#),
            (Route::Verify, r#"{"participant_unique_id1":null}"#),
            (Route::Verify, "[]"),
            (Route::Banking, r#"{"participant_unique_id1":"a"}"#),
            (Route::Debit, r#"{"participant_unique_ids":[]}"#),
            (
                Route::Debit,
                r#"{"participant_unique_ids":["a"],"transaction":{"participant_unique_ids":["b"]}}"#,
            ),
        ] {
            assert!(!certain(route, body), "{body}");
        }
        let twice = Facts::read(br#"{"participant_unique_id1":"a","participant_unique_id1":"b"}"#);
        assert_eq!(
            twice.identity(Route::Process).values,
            ["a", "b"],
            "a journal names both"
        );
    }

    #[test]
    fn odd_bodies_have_the_facts_that_can_be_read_and_no_others() {
        assert_eq!(Facts::read(b""), Facts::default());
        assert_eq!(Facts::read(b"<xml/>"), Facts::default());
        assert_eq!(Facts::read(b"[1,2]"), Facts::default());
        assert_eq!(Facts::read(b"\"status\""), Facts::default());
        assert_eq!(
            Facts::read(b"{\"status\":\"101\",\"cut").status.as_deref(),
            Some("101")
        );
        assert_eq!(Facts::read(b"{\"status\":[1],\"x\":1}").status, None);
        assert_eq!(
            Facts::read(b"{\"status\":1,\"status\":2}")
                .status
                .as_deref(),
            Some("1")
        );
        let long = format!("{{\"participant_unique_id1\":\"{}\"}}", "é".repeat(999));
        let fact = &Facts::read(long.as_bytes()).participant_unique_id1[0];
        assert_eq!(fact.chars().count(), MAX_FACT_CHARS);
    }
}
