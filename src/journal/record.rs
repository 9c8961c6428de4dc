//! One line of a journal: what it holds, and how it is written and read.
//!
//! A record says everything that is needed to ask Ingo about an attempt, so that it can be understood without any other
//! line. It must never hold a body, a secret or a signature. Its fields are public API (`docs/journal.md`).

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ingo::{Route, is_success};
use crate::moment::rfc3339;

/// The version of the records that are written, and the only one that is read.
const VERSION: u8 = 1;

/// The longest line that is written. Ingo's identifiers have at most 100 characters (protocol.md §3), so that hundreds of
/// them fit; what is longer was not meant seriously, and would cost whoever reads the journal memory.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// One attempt of a call that moves money, as the exchange knows it before it writes the first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Names the exchange in answers and logs.
    pub exchange_id: Uuid,
    /// Whose credentials sign it.
    pub tenant: String,
    /// Which call.
    pub route: Route,
    /// Counted from 1 within the exchange.
    pub number: u32,
    /// The `Idempotency-Key` that goes to Ingo.
    pub idempotency_key: Option<String>,
    /// `participant_unique_id1` or `participant_unique_ids`: by what Ingo recognises a repeat. Empty where the body has none.
    pub identifier: Vec<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Ingo's answer came whole. What it says is the caller's to act on, be it a success or not.
    Answered {
        /// The HTTP status.
        http_status: u16,
        /// The `status` in the body.
        ingo_status: Option<String>,
        /// The `transaction_id` in the body.
        transaction_id: Option<String>,
    },
    /// Bytes were written and no whole answer came: Ingo may have acted.
    Unanswered,
    /// It failed before its first byte was written: Ingo cannot have acted.
    Unsent,
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u8,
    /// Whether an attempt is about to be written, or has ended.
    pub event: Event,
    /// When, in UTC as RFC 3339 with milliseconds.
    pub time: String,
    /// The exchange.
    #[serde(with = "hyphenated")]
    pub exchange_id: Uuid,
    /// The tenant.
    #[serde(default)]
    pub tenant: String,
    /// The route's name. A journal may outlive a route, so this is text.
    #[serde(default)]
    pub route: String,
    /// The attempt, counted from 1; 0, and left out, where a line speaks of the whole exchange.
    #[serde(default, skip_serializing_if = "is_of_the_exchange")]
    pub attempt: u32,
    /// The key that went to Ingo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The identifying value or values in the request's body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<String>,
    /// How it ended; only where `event` is `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The HTTP status of Ingo's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The `status` in its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingo_status: Option<String>,
    /// Its `transaction_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Whether this line repeats one that stands in an older file of the same journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The first byte of an attempt may be written from now on.
    Begin,
    /// An attempt has ended.
    End,
}

/// The `outcome` of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Ingo answered.
    Answered,
    /// Ingo may have acted and did not answer: this resolves nothing.
    Unanswered,
    /// Nothing was sent.
    Unsent,
    /// A person found out what became of the exchange, and wrote this line or had it written. A running proxy never does.
    Settled,
}

impl Record {
    pub(super) fn begin(attempt: &Attempt, at: SystemTime) -> Self {
        Self {
            v: VERSION,
            event: Event::Begin,
            time: rfc3339(at),
            exchange_id: attempt.exchange_id,
            tenant: attempt.tenant.clone(),
            route: attempt.route.name().to_owned(),
            attempt: attempt.number,
            idempotency_key: attempt.idempotency_key.clone(),
            identifier: attempt.identifier.clone(),
            outcome: None,
            http_status: None,
            ingo_status: None,
            transaction_id: None,
            carried: false,
        }
    }

    pub(super) fn end(attempt: &Attempt, ended: Ended, at: SystemTime) -> Self {
        let mut record = Self {
            event: Event::End,
            ..Self::begin(attempt, at)
        };
        record.outcome = Some(match ended {
            Ended::Answered {
                http_status,
                ingo_status,
                transaction_id,
            } => {
                record.http_status = Some(http_status);
                record.ingo_status = ingo_status;
                record.transaction_id = transaction_id;
                Outcome::Answered
            }
            Ended::Unanswered => Outcome::Unanswered,
            Ended::Unsent => Outcome::Unsent,
        });
        record
    }

    /// That a person found out what became of the exchange of this record.
    pub(super) fn settled(&self, at: SystemTime) -> Self {
        Self {
            event: Event::End,
            time: rfc3339(at),
            attempt: 0,
            outcome: Some(Outcome::Settled),
            carried: false,
            ..self.clone()
        }
    }

    /// The same for a newer file.
    pub(super) fn carried(&self) -> Self {
        Self {
            carried: true,
            ..self.clone()
        }
    }

    /// The record as a line, newline included. JSON escapes every newline within, so that it is one line whatever it holds.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self)
            .expect("names are strings and values are text and numbers, which JSON can always say");
        line.push(b'\n');
        line
    }

    /// The record that `line` holds; `None` for a line that is torn, of another version, or nothing of ours.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(line).ok()?;
        let complete = match record.event {
            Event::Begin => true,
            Event::End => record.outcome.is_some(),
        };
        (record.v == VERSION && complete).then_some(record)
    }

    /// Whether this record proves that nothing is open any more about attempt `number` of its exchange.
    ///
    /// An answer speaks for its own attempt. It speaks for those before it only if it is a success: then Ingo recognised the
    /// identifying value and acted once. A refusal of the second attempt, such as a 429 or a wrong date, says nothing about
    /// what became of the first.
    pub(super) fn resolves(&self, number: u32) -> bool {
        match self.outcome {
            None | Some(Outcome::Unanswered) => false,
            Some(Outcome::Unsent) => number == self.attempt,
            Some(Outcome::Answered) => {
                number == self.attempt || number < self.attempt && self.is_success()
            }
            Some(Outcome::Settled) => true,
        }
    }

    fn is_success(&self) -> bool {
        self.http_status
            .is_some_and(|http| is_success(http, self.ingo_status.as_deref()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_of_the_exchange(attempt: &u32) -> bool {
    *attempt == 0
}

/// A UUID as answers and logs show it.
mod hyphenated {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Uuid, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Uuid::try_parse(&text).map_err(|_| D::Error::custom("no UUID"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn attempt(number: u32) -> Attempt {
        Attempt {
            exchange_id: Uuid::from_u128(7),
            tenant: "default".to_owned(),
            route: Route::Process,
            number,
            idempotency_key: Some("k".to_owned()),
            identifier: vec!["a\nb".to_owned(), "\"é\"".to_owned()],
        }
    }

    fn answered(http_status: u16, ingo_status: &str) -> Ended {
        Ended::Answered {
            http_status,
            ingo_status: Some(ingo_status.to_owned()),
            transaction_id: Some("T-1".to_owned()),
        }
    }

    #[test]
    fn a_begin_is_this_one_line() {
        let record = Record::begin(&attempt(1), UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(
            String::from_utf8(record.line()).expect("JSON is UTF-8"),
            "{\"v\":1,\"event\":\"begin\",\"time\":\"1970-01-01T00:00:01.500Z\",\
             \"exchange_id\":\"00000000-0000-0000-0000-000000000007\",\"tenant\":\"default\",\"route\":\"process\",\
             \"attempt\":1,\"idempotency_key\":\"k\",\"identifier\":[\"a\\nb\",\"\\\"é\\\"\"]}\n"
        );
    }

    #[test]
    fn an_end_says_what_ingo_answered() {
        let line = Record::end(&attempt(2), answered(200, "101"), UNIX_EPOCH).line();
        let text = String::from_utf8(line).expect("JSON is UTF-8");
        assert!(
            text.ends_with(
                "\"outcome\":\"answered\",\"http_status\":200,\"ingo_status\":\"101\",\"transaction_id\":\"T-1\"}\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_was_written_is_read_back() {
        for record in [
            Record::begin(&attempt(1), UNIX_EPOCH),
            Record::end(&attempt(1), answered(200, "100"), UNIX_EPOCH),
            Record::end(&attempt(1), Ended::Unanswered, UNIX_EPOCH),
            Record::end(&attempt(1), Ended::Unsent, UNIX_EPOCH),
        ] {
            assert_eq!(Record::parse(&record.line()), Some(record));
        }
    }

    #[test]
    fn a_field_that_a_later_release_adds_is_no_obstacle_and_another_version_is() {
        let line = Record::begin(&attempt(1), UNIX_EPOCH).line();
        let text = String::from_utf8(line).expect("JSON is UTF-8");
        let longer = text.replace("{\"v\":1,", "{\"v\":1,\"new\":{\"x\":[]},");
        assert!(Record::parse(longer.as_bytes()).is_some());
        let other = text.replace("{\"v\":1,", "{\"v\":2,");
        assert!(Record::parse(other.as_bytes()).is_none());
        for foreign in ["", "\n", "{}", "null", "{\"v\":1,\"event\":\"end\"}"] {
            assert!(Record::parse(foreign.as_bytes()).is_none(), "{foreign}");
        }
    }

    #[test]
    fn a_person_needs_to_write_four_fields_to_settle_an_exchange() {
        let line = br#"{"v":1,"event":"end","time":"2026-01-02","exchange_id":"00000000-0000-0000-0000-000000000007","outcome":"settled"}"#;
        let record = Record::parse(line).expect("a record");
        assert!((1..5).all(|number| record.resolves(number)));
    }

    #[test]
    fn only_a_success_speaks_for_the_attempts_before_it() {
        let end = |ended| Record::end(&attempt(2), ended, UNIX_EPOCH);
        for (record, resolves) in [
            (end(answered(200, "100")), [true, true, false]),
            (end(answered(200, "101")), [true, true, false]),
            (end(answered(200, "104")), [false, true, false]),
            (end(answered(200, "500")), [false, true, false]),
            (end(answered(200, "x")), [false, true, false]),
            (end(answered(401, "100")), [false, true, false]),
            (end(answered(429, "")), [false, true, false]),
            (end(Ended::Unsent), [false, true, false]),
            (end(Ended::Unanswered), [false, false, false]),
            (
                Record::begin(&attempt(2), UNIX_EPOCH),
                [false, false, false],
            ),
        ] {
            assert_eq!(
                [1, 2, 3].map(|n| record.resolves(n)),
                resolves,
                "{record:?}"
            );
        }
    }
}
