//! The last stage: the answer's head and body as the caller gets them.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::{http::ResponseHeader, protocols::http::date::get_cached_date};
use serde::Serialize;

use super::{Rejection, body::overloaded, rejection::Invalid};
use crate::{
    config::Headers,
    ingo::contract::Finding,
    listener::Refusal,
    message::{self, Unwritable},
    problem::Code,
    telemetry::Trail,
};

/// This proxy's name in `Proxy-Status` (RFC 9209 §2) and in problem types.
const NAME: &str = "ingo-signing-proxy";

/// Of Ingo's fields, these reach the caller, and those that `headers.to_caller` names.
const PASSED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    HeaderName::from_static("deprecation"),
    HeaderName::from_static("sunset"),
];

/// A problem document (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    sent: &'a str,
    exchange_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// By field, where the body is at fault.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'static str, Vec<String>>,
}

/// Ingo's own answer to invalid fields (protocol.md §3), for services that read that already.
#[derive(Serialize)]
struct Envelope {
    status: u32,
    client_message: &'static str,
    developer_message: String,
    data: BTreeMap<&'static str, Vec<String>>,
    time: f64,
}

/// Those of Ingo's fields that reach the caller.
pub(crate) fn passed(headers: &Headers) -> Vec<HeaderName> {
    PASSED.iter().chain(&headers.to_caller).cloned().collect()
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An answer's head, before it is known over which version of HTTP it goes.
pub(super) struct Head {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Head {
    /// Ingo's answer as the caller gets it: `status` as it is, and of its fields those that `passed`.
    pub(super) fn answer(
        status: StatusCode,
        passed: Vec<(HeaderName, HeaderValue)>,
        length: usize,
        trail: &Trail,
    ) -> Self {
        let mut head = Self {
            status,
            fields: passed,
        };
        head.finish(length, trail, None);
        head
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    /// What every answer carries.
    fn finish(&mut self, length: usize, trail: &Trail, code: Option<Code>) {
        self.fields.reserve(4);
        let values = [
            (PROXY_STATUS, proxy_status(trail, code)),
            (
                header::CACHE_CONTROL,
                Some(HeaderValue::from_static("no-store")),
            ),
            (
                IDEMPOTENCY_KEY,
                (trail.idempotency_key.as_deref()).and_then(|key| HeaderValue::from_str(key).ok()),
            ),
            // RFC 9110 §8.6: a 204 has none, and a 304's would be that of a body it does not have.
            (
                header::CONTENT_LENGTH,
                (!self.has_no_body()).then(|| HeaderValue::from(length)),
            ),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                self.field(name, value);
            }
        }
    }

    /// Whether such an answer never has a body (RFC 9110 §6.4.1).
    pub(super) fn has_no_body(&self) -> bool {
        matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
    }

    /// As bytes, for a connection that is kept or closed then. Pingora would make two maps of it first.
    pub(super) fn to_wire(&self, is_kept: bool) -> Result<Vec<u8>, Unwritable> {
        let mut head = message::Head::answer(self.status);
        for (name, value) in &self.fields {
            head.field(&spelling(name), value)?;
        }
        head.field("Date", get_cached_date())?;
        head.field("Connection", if is_kept { "keep-alive" } else { "close" })?;
        Ok(head.into_wire())
    }

    /// For Pingora, which adds date and connection itself.
    pub(super) fn for_pingora(&self) -> pingora::Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build(self.status, Some(12))?;
        for (name, value) in &self.fields {
            head.append_header(spelling(name).into_owned(), value)?;
        }
        Ok(Box::new(head))
    }
}

fn proxy_status(trail: &Trail, code: Option<Code>) -> Option<HeaderValue> {
    // As nearly all are.
    const AT_ONCE: HeaderValue = HeaderValue::from_static("ingo-signing-proxy; attempts=1");
    if (trail.attempts, code, trail.diagnosis) == (1, None, None) {
        return Some(AT_ONCE);
    }
    let mut status = format!("{NAME}; attempts={}", trail.attempts);
    if let Some(code) = code {
        status.push_str("; error=");
        status.push_str(code.proxy_error());
    }
    if let Some(diagnosis) = trail.diagnosis {
        status.push_str("; diagnosis=");
        status.push_str(diagnosis.as_str());
    }
    HeaderValue::try_from(status).ok()
}

/// A field's name as it is mostly written: there are callers that look for it so.
fn spelling(name: &HeaderName) -> Cow<'static, str> {
    const SPELLED: [(HeaderName, &str); 7] = [
        (header::CONTENT_TYPE, "Content-Type"),
        (header::CONTENT_LENGTH, "Content-Length"),
        (header::CACHE_CONTROL, "Cache-Control"),
        (PROXY_STATUS, "Proxy-Status"),
        (IDEMPOTENCY_KEY, "Idempotency-Key"),
        (header::WWW_AUTHENTICATE, "WWW-Authenticate"),
        (header::ETAG, "ETag"),
    ];
    if let Some((_, spelled)) = SPELLED.iter().find(|(known, _)| known == name) {
        return (*spelled).into();
    }
    let mut begins = true;
    let letters = name.as_str().chars().map(|letter| {
        let spelled = if begins {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        begins = letter == '-';
        spelled
    });
    letters.collect::<String>().into()
}

/// The proxy's own answer.
pub(super) fn problem(rejection: &Rejection, trail: &Trail) -> (Head, Bytes) {
    let code = rejection.code;
    let (mut body, media_type) = match &rejection.invalid {
        Some(invalid) if invalid.in_ingos_form => (
            serde_json::to_vec(&Envelope {
                status: 13_400,
                client_message: "invalid_request_fields",
                developer_message: format!(
                    "the signing proxy refused the request before it was sent to Ingo: fields are invalid; data has the messages, and the proxy's log has exchange_id {}",
                    trail.exchange_id.as_hyphenated()
                ),
                data: by_field(invalid, Finding::in_ingos_words),
                time: 0.0,
            }),
            "application/json",
        ),
        invalid => (
            serde_json::to_vec(&Problem {
                r#type: format!("urn:{NAME}:problem:{code}"),
                title: code.title(),
                status: code.status(),
                detail: &rejection.detail,
                code: code.as_str(),
                sent: rejection.sent.as_str(),
                exchange_id: trail.exchange_id.as_hyphenated().to_string(),
                trace_id: trail.trace_id().map(|id| id.to_string()),
                errors: match invalid {
                    Some(invalid) => by_field(invalid, Finding::to_string),
                    None => BTreeMap::new(),
                },
            }),
            "application/problem+json",
        ),
    };
    if let Ok(body) = &mut body {
        body.push(b'\n');
    }
    let body = body.unwrap_or_default();
    let mut head = Head {
        status: StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        fields: vec![(header::CONTENT_TYPE, HeaderValue::from_static(media_type))],
    };
    match code {
        // RFC 9110 §15.5.6
        Code::MethodNotAllowed => head.field(header::ALLOW, HeaderValue::from_static("POST")),
        // RFC 9110 §15.5.16
        Code::UnsupportedEncoding => {
            head.field(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        _ => {}
    }
    if let Some(seconds) = rejection.retry_after {
        head.field(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    head.finish(body.len(), trail, Some(code));
    (head, body.into())
}

fn by_field(
    invalid: &Invalid,
    words: impl Fn(&Finding) -> String,
) -> BTreeMap<&'static str, Vec<String>> {
    let mut fields: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for finding in &invalid.findings {
        fields
            .entry(finding.field)
            .or_default()
            .push(words(finding));
    }
    fields
}

/// A whole answer for a connection of which no request was read, and its code; `None` where nothing can be answered. `too_many` says which
/// limit is reached where as many are open as may be.
pub(crate) fn refused_connection(why: Refusal, too_many: &'static str) -> Option<(Code, Vec<u8>)> {
    let rejection = match why {
        Refusal::TooMany => overloaded(too_many),
        Refusal::TooManyHttp2 => return Some((Code::Overloaded, go_away(too_many))),
        Refusal::Cleartext => Rejection::unsent(
            Code::BadRequest,
            "this listener speaks TLS and the connection does not; call it with https://",
        ),
        Refusal::Handshake => return None,
    };
    let trail = Trail::begin(std::time::Instant::now());
    let (head, body) = problem(&rejection, &trail);
    let wire = head.to_wire(false).map(|head| [&head[..], &body].concat());
    Some((rejection.code, wire.unwrap_or_default()))
}

/// What an HTTP/2 connection is told that ends before any of its streams was looked at: SETTINGS without any, with which a server begins
/// (RFC 9113 §3.4), and GOAWAY with ENHANCE_YOUR_CALM (§6.8, §7).
fn go_away(why: &str) -> Vec<u8> {
    const ENHANCE_YOUR_CALM: u8 = 0xb;
    let length = u8::try_from(8 + why.len()).expect("a short reason");
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend([0, 0, length, 7, 0, 0, 0, 0, 0]);
    // The last stream that was looked at, and the error.
    frames.extend([0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM]);
    frames.extend_from_slice(why.as_bytes());
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_are_spelled_as_they_mostly_are() {
        for (name, spelled) in [
            ("content-type", "Content-Type"),
            ("proxy-status", "Proxy-Status"),
            ("www-authenticate", "WWW-Authenticate"),
            ("etag", "ETag"),
            ("sunset", "Sunset"),
            ("x-kong-request-id", "X-Kong-Request-Id"),
        ] {
            assert_eq!(spelling(&HeaderName::from_static(name)), spelled);
        }
    }
}
