//! What a body says of itself, read without building a tree: whether it is JSON, who it is about, how Ingo answered.
//!
//! Bodies pass through byte for byte whatever is found here. Only fields that may be logged are ever read.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use super::{Route, moment::utc};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// The longest value that is taken over. Ingo's own identifiers have at most 100 characters (protocol.md §3).
const MAX_FACT_CHARS: usize = 128;

/// A body that is not JSON (RFC 8259).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// Where reading stopped: an offset from the body's start, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a body that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing in it.
    Empty,
    /// It begins with a byte order mark, which RFC 8259 §8.1 forbids to send.
    ByteOrderMark,
    /// It is not UTF-8 (RFC 8259 §8.1).
    NotUtf8,
    /// It ends before its value does.
    Truncated,
    /// It breaks the grammar.
    Syntax,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Empty => f.write_str("the body is empty"),
            Reason::ByteOrderMark => {
                f.write_str("the body begins with a byte order mark at byte 0; send it without")
            }
            Reason::NotUtf8 => write!(f, "the body is not UTF-8 at byte {}", self.offset),
            Reason::Truncated => write!(
                f,
                "the body ends at byte {} before its JSON value does",
                self.offset
            ),
            Reason::Syntax => write!(f, "the body is not JSON at byte {}", self.offset),
        }
    }
}

/// Checks that `body` is one JSON value and nothing else.
///
/// # Errors
/// [`NotJson`], with the offset where reading stopped and never what stands there.
pub fn check_json(body: &[u8]) -> Result<(), NotJson> {
    let not = |offset, reason| Err(NotJson { offset, reason });
    if body.iter().all(u8::is_ascii_whitespace) {
        return not(body.len(), Reason::Empty);
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return not(0, Reason::ByteOrderMark);
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return not(error.valid_up_to(), Reason::NotUtf8),
    };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) if error.is_eof() => not(body.len(), Reason::Truncated),
        Err(error) => not(offset(body, error.line(), error.column()), Reason::Syntax),
    }
}

/// The byte that a parser's line and column (both from 1, columns in bytes) point at.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line {
        0 | 1 => 0,
        _ => body
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(line - 2)
            .map_or(0, |(at, _)| at + 1),
    };
    (line_start + column.saturating_sub(1)).min(body.len())
}

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
    /// `status` of an answer, at the top or, on the newer debit page, in its `response`; a number or a string there
    /// (protocol.md §4). Not the HTTP status.
    pub status: Option<String>,
    /// `transaction_id` of an answer, at the top, in its `data` or in its `transaction`.
    pub transaction_id: Option<String>,
    /// `time` of an answer: how long Ingo says that it took.
    pub time: Option<Duration>,
    /// Whether a request has a `host_uri`.
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
    pub fn identity(&self, route: Route) -> Identity {
        let one = |values: &[String]| Identity {
            values: values.to_vec(),
            is_certain: values.len() == 1 && !values[0].is_empty(),
        };
        match route {
            Route::Banking => one(&self.idempotent_key),
            Route::Debit if !self.participant_unique_ids.is_empty() => {
                let values = self.participant_unique_ids.concat();
                let is_certain = self.participant_unique_ids.len() == 1
                    && !values.is_empty()
                    && values.iter().all(|v| !v.is_empty());
                Identity { values, is_certain }
            }
            _ => one(&self.participant_unique_id1),
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

impl Place {
    /// The place that a member of this one is.
    fn below(self, name: &[u8]) -> Option<Self> {
        match (self, name) {
            (Self::Top, b"data") => Some(Self::Data),
            (Self::Top, b"response") => Some(Self::Response),
            (Self::Top, b"transaction") => Some(Self::Transaction),
            _ => None,
        }
    }
}

impl Facts {
    /// Reads what is there. Whatever is missing, of another type or no JSON at all is simply not found.
    pub fn read(body: &[u8]) -> Self {
        let mut facts = Self::default();
        // A byte order mark is none of JSON's, and hides nothing.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // What was found before a fault stays: an answer cut short still names its status.
        let _fault = match std::str::from_utf8(body) {
            Ok(text) => facts.walk(&mut serde_json::Deserializer::from_str(text)),
            Err(_) => facts.walk(&mut serde_json::Deserializer::from_slice(body)),
        };
        facts
    }

    /// Reads what is there in a body that must be JSON, in one pass where it is.
    ///
    /// # Errors
    /// As [`check_json`].
    pub fn of_json(body: &[u8]) -> Result<Self, NotJson> {
        if let Ok(text) = std::str::from_utf8(body) {
            let mut facts = Self::default();
            let mut deserializer = serde_json::Deserializer::from_str(text);
            if facts.walk(&mut deserializer).is_ok() && deserializer.end().is_ok() {
                return Ok(facts);
            }
        }
        check_json(body)?;
        Ok(Self::read(body))
    }

    fn walk<'de, D: Deserializer<'de>>(&mut self, json: D) -> Result<(), D::Error> {
        let members = Members {
            facts: self,
            place: Place::Top,
        };
        members.deserialize(json)
    }

    /// Reads the member `name` at `place`, if it is a fact; `false` where it is none, and nothing was read.
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &[u8],
        place: Place,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        match (name, place) {
            (b"participant_unique_id1", Place::Top | Place::Transaction) => {
                self.participant_unique_id1
                    .extend(map.next_value_seed(Scalar)?);
            }
            (b"participant_unique_ids", Place::Top | Place::Transaction) => {
                self.participant_unique_ids
                    .push(map.next_value_seed(Scalars)?);
            }
            (b"idempotent_key", Place::Top) => {
                self.idempotent_key.extend(map.next_value_seed(Scalar)?)
            }
            (b"status", Place::Top | Place::Response) => {
                first(&mut self.status, map.next_value_seed(Scalar)?)
            }
            (b"transaction_id", Place::Top | Place::Data | Place::Transaction) => {
                first(&mut self.transaction_id, map.next_value_seed(Scalar)?);
            }
            (b"time", Place::Top) => {
                let text = map.next_value_seed(Scalar)?;
                let seconds = text.and_then(|text| text.parse().ok());
                let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                // Ingo holds no call for longer than a minute: what says so is no time.
                self.time = time.filter(|time| *time <= LONGEST_TIME);
            }
            (b"host_uri", Place::Top) => {
                map.next_value::<IgnoredAny>()?;
                self.has_host_uri = true;
            }
            (b"authorized_url", Place::Data) => {
                self.has_authorized_url = map.next_value::<&RawValue>()?.get().starts_with('"');
            }
            (b"authorized_url_expiration_utc", Place::Data) => {
                let text = map.next_value_seed(Scalar)?;
                self.authorized_url_expiration = text.as_deref().and_then(utc);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn first(slot: &mut Option<String>, value: Option<String>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// Walks the members of the top object and of those below that hold facts; skips everything else without building it.
struct Members<'f> {
    facts: &'f mut Facts,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            if self.facts.take(&name, self.place, &mut map)? {
                continue;
            }
            match self.place.below(&name) {
                Some(place) => {
                    let json: &RawValue = map.next_value()?;
                    let members = Members {
                        facts: &mut *self.facts,
                        place,
                    };
                    if json.get().starts_with('{') {
                        members
                            .deserialize(&mut serde_json::Deserializer::from_str(json.get()))
                            .ok();
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A member's name as bytes: a lone surrogate in a name is grammatical and must not end the reading.
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Vec<u8>, E> {
        Ok(name.to_owned())
    }
}

/// A string or number as text, cut at [`MAX_FACT_CHARS`]; anything else is nothing, and ends no reading: not a number that no type
/// holds, nor a lone surrogate.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let json: &RawValue = Deserialize::deserialize(deserializer)?;
        Ok(scalar(json.get()))
    }
}

fn scalar(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => {
            let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
            Some(text.chars().take(MAX_FACT_CHARS).collect())
        }
        // 100.0 is 100, as it is to whoever reads numbers.
        b'-' | b'0'..=b'9' => match json.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) if number.abs() < 9e15 => Some(number.to_string()),
            _ => Some(json.chars().take(MAX_FACT_CHARS).collect()),
        },
        _ => None,
    }
}

/// One scalar, the scalars of an array, or those of an object that are identifying values.
struct Scalars;

impl<'de> DeserializeSeed<'de> for Scalars {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let json: &RawValue = Deserialize::deserialize(deserializer)?;
        let several = json.get().starts_with(['[', '{']);
        if !several {
            return Ok(scalar(json.get()).into_iter().collect());
        }
        let read = serde_json::Deserializer::from_str(json.get()).deserialize_any(self);
        Ok(read.unwrap_or_default())
    }
}

impl<'de> Visitor<'de> for Scalars {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Scalar)? {
            values.extend(value);
        }
        Ok(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Scalar)?;
            // No other member is a value by which Ingo knows the call.
            if name.starts_with(b"participant_unique_id") {
                values.extend(value);
            }
        }
        Ok(values)
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

    fn refused(body: &[u8]) -> (usize, Reason) {
        let not = check_json(body).expect_err("this is no JSON");
        (not.offset, not.reason)
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_offset_where_reading_stopped() {
        assert_eq!(refused(b""), (0, Reason::Empty));
        assert_eq!(refused(b" \r\n"), (3, Reason::Empty));
        assert_eq!(refused(b"\xef\xbb\xbf{}"), (0, Reason::ByteOrderMark));
        assert_eq!(refused(b"{\"a\":\"\xff\"}"), (6, Reason::NotUtf8));
        assert_eq!(refused(b"{\"a\":"), (5, Reason::Truncated));
        assert_eq!(refused(b"{\"a\":tru}"), (8, Reason::Syntax));
        assert_eq!(refused(b"{}{}"), (2, Reason::Syntax));
        assert_eq!(refused(b"{\n  \"a\": 1,\n  b: 2}"), (14, Reason::Syntax));
        assert_eq!(refused(b"a=1&b=2"), (0, Reason::Syntax));
        assert_eq!(refused(b"NaN"), (0, Reason::Syntax));
    }

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
            prop_assert_eq!(Facts::of_json(body.as_bytes()), both);
        }
    }

    #[test]
    fn every_json_value_is_accepted_however_deep_large_or_odd() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for body in [
            b"{}".as_slice(),
            b"[]",
            b"\"text\"",
            b" 1e999999 ",
            b"{\"a\":1,\"a\":2}",
            b"{\"\\ud800\":\"\\ud800\"}",
            &deep,
        ] {
            assert_eq!(check_json(body), Ok(()));
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
        assert!(!odd.identity(Route::Debit).is_certain);
        assert_eq!(odd.status.as_deref(), Some("100"));
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
