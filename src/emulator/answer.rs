//! Answers as bytes: Ingo's envelope, Kong's message, and the head around them.
//!
//! The envelope is protocol.md §3's. The HTTP status of a body that reports an error is undocumented; ours is a setting,
//! and whoever reads answers must decide by the body's `status`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::kong::Refusal;
use crate::signing::imf_fixdate;

/// Names what answers, as nginx below Kong does. Invented.
const SERVER: &str = "ingo-emulator";

/// An answer before it is written.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The `status` in the body, if there is one.
    pub(super) ingo_status: Option<u64>,
    /// How far ahead of the clock the `Date` field is, in seconds.
    pub(super) date_skew: i64,
}

/// Ingo's envelope, its members in the order of the documents.
#[derive(Serialize)]
struct Envelope<'a, T: ?Sized> {
    status: u64,
    client_message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_message: Option<&'a str>,
    data: &'a T,
    time: Value,
}

impl Answer {
    fn json<T: Serialize + ?Sized>(status: u16, ingo_status: Option<u64>, body: &T) -> Self {
        Self {
            status,
            content_type: "application/json",
            fields: Vec::new(),
            body: serde_json::to_vec(body)
                .expect("our bodies have text for keys and finite numbers"),
            ingo_status,
            date_skew: 0,
        }
    }

    /// Success: `{"status","client_message","data","time"}` (protocol.md §3).
    pub(super) fn success<T: Serialize + ?Sized>(
        status: u64,
        message: &str,
        data: &T,
        time: Time,
    ) -> Self {
        let body = Envelope {
            status,
            client_message: message,
            developer_message: None,
            data,
            time: time.to_json(),
        };
        Self::json(200, Some(status), &body)
    }

    /// Failure: `{"status","client_message","developer_message","data","time"}` (protocol.md §3).
    pub(super) fn failure(
        http_status: u16,
        status: u64,
        messages: Messages<'_>,
        data: &Value,
        time: Time,
    ) -> Self {
        let body = Envelope {
            status,
            client_message: messages.client,
            developer_message: Some(messages.developer),
            data,
            time: time.to_json(),
        };
        Self::json(http_status, Some(status), &body)
    }

    /// Any JSON at all, with what its `status` is.
    pub(super) fn body<T: Serialize + ?Sized>(ingo_status: Option<u64>, body: &T) -> Self {
        Self::json(200, ingo_status, body)
    }

    /// Kong's own answer, `{"message"}`. `WWW-Authenticate` stands with 401 (RFC 9110 §11.6.1); its wording is Kong's, no
    /// document of Ingo's shows it.
    pub(super) fn kong(status: u16, message: &str) -> Self {
        let mut answer = Self::json(status, None, &json!({ "message": message }));
        if status == 401 {
            answer
                .fields
                .push(("WWW-Authenticate", r#"hmac realm="kong""#.to_owned()));
        }
        answer
    }

    /// Kong's refusal of a signature.
    pub(super) fn refusal(status: u16, refusal: Refusal) -> Self {
        Self::kong(status, refusal.message())
    }

    /// Says another status of the same thing, in either shape; a refusal has none and stays as it is.
    pub(super) fn restate(&mut self, status: u64, message: &str) {
        let Ok(mut body) = serde_json::from_slice::<Value>(&self.body) else {
            return;
        };
        if body["status"].is_u64() {
            body["status"] = status.into();
            body["client_message"] = message.into();
        } else if body["response"]["status"].is_string() {
            body["response"]["status"] = status.to_string().into();
            body["response"]["message"] = message.into();
        } else {
            return;
        }
        self.body = body.to_string().into_bytes();
        self.ingo_status = Some(status);
    }

    /// The whole answer as it goes over the wire.
    pub(super) fn to_bytes(&self, now: SystemTime, keep_alive: bool) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let skew = Duration::from_secs(self.date_skew.unsigned_abs());
        let date = if self.date_skew < 0 {
            now.checked_sub(skew)
        } else {
            now.checked_add(skew)
        };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nServer: {SERVER}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n",
            self.status,
            reason.unwrap_or_default(),
            imf_fixdate(date.unwrap_or(now)),
            self.content_type,
            self.body.len(),
            if keep_alive { "keep-alive" } else { "close" },
        );
        for (name, value) in &self.fields {
            let _written = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// What an error says to the two kinds of readers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a> {
    pub(super) client: &'a str,
    pub(super) developer: &'a str,
}

/// Ingo's own processing time: a number, or a string on some endpoints (protocol.md §3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    Number(Duration),
    Text(Duration),
}

impl Time {
    /// Its value in seconds, to a tenth of a millisecond as in Ingo's examples.
    fn to_json(self) -> Value {
        let rounded = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10_000.0;
        match self {
            Self::Number(time) => json!(rounded(time)),
            Self::Text(time) => json!(rounded(time).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn time_is_a_number_or_a_string() {
        let time = Duration::from_micros(850_040);
        assert_eq!(Time::Number(time).to_json(), json!(0.85));
        assert_eq!(Time::Text(time).to_json(), json!("0.85"));
    }

    #[test]
    fn a_401_of_kongs_carries_a_challenge_and_a_403_none() {
        let text = |status| {
            let answer = Answer::refusal(status, Refusal::DoesNotMatch);
            String::from_utf8(answer.to_bytes(UNIX_EPOCH, true)).expect("ASCII")
        };
        assert!(text(401).contains("\r\nWWW-Authenticate: hmac realm=\"kong\"\r\n"));
        assert!(text(401).ends_with("\r\n\r\n{\"message\":\"HMAC signature does not match\"}"));
        assert!(!text(403).contains("WWW-Authenticate"));
    }

    #[test]
    fn the_date_can_be_off() {
        let mut answer = Answer::kong(200, "");
        answer.date_skew = -3600;
        let at = UNIX_EPOCH + Duration::from_secs(7200);
        let text = String::from_utf8(answer.to_bytes(at, false)).expect("ASCII");
        assert!(text.contains("Date: Thu, 01 Jan 1970 01:00:00 GMT\r\n"));
        assert!(text.contains("Connection: close\r\n"));
    }
}
