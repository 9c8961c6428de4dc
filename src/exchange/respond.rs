//! The last stage: the answer's head and body as the caller gets them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use serde::Serialize;

use super::{Proxy, Rejection, body::overloaded, rejection::Invalid};
use crate::{
    config::Headers, ingo::contract::Finding, listener::Refusal, problem::Code, telemetry::Trail,
    upstream::Answer,
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
    developer_message: &'static str,
    data: BTreeMap<&'static str, Vec<String>>,
    time: f64,
}

/// Those of Ingo's fields that reach the caller.
pub(crate) fn passed(headers: &Headers) -> Vec<HeaderName> {
    PASSED.iter().chain(&headers.to_caller).cloned().collect()
}

impl Proxy {
    /// Ingo's answer as the caller gets it: status and body as they are.
    pub(super) fn answer(
        &self,
        answer: &Answer,
        trail: &Trail,
    ) -> pingora::Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build(answer.status, Some(12))?;
        for (name, value) in &answer.passed {
            head.append_header(name, value)?;
        }
        finish(&mut head, answer.body.len(), trail, None)?;
        Ok(Box::new(head))
    }
}

/// The proxy's own answer.
pub(super) fn problem(
    rejection: &Rejection,
    trail: &Trail,
) -> pingora::Result<(Box<ResponseHeader>, Bytes)> {
    let code = rejection.code;
    let (mut body, media_type) = match &rejection.invalid {
        Some(invalid) if invalid.in_ingos_form => (
            serde_json::to_vec(&Envelope {
                status: 13_400,
                client_message: "invalid_request_fields",
                developer_message: "the signing proxy refused the request before it was sent to Ingo: fields are invalid; data has the messages",
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
    let mut head = ResponseHeader::build(code.status(), Some(12))?;
    head.insert_header(header::CONTENT_TYPE, media_type)?;
    match code {
        Code::MethodNotAllowed => head.insert_header(header::ALLOW, "POST")?, // RFC 9110 §15.5.6
        Code::UnsupportedEncoding => head.insert_header(header::ACCEPT_ENCODING, "identity")?, // RFC 9110 §15.5.16
        _ => {}
    }
    if let Some(seconds) = rejection.retry_after {
        head.insert_header(header::RETRY_AFTER, seconds.to_string())?;
    }
    finish(&mut head, body.len(), trail, Some(code))?;
    Ok((Box::new(head), body.into()))
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

/// What every answer carries.
fn finish(
    head: &mut ResponseHeader,
    length: usize,
    trail: &Trail,
    code: Option<Code>,
) -> pingora::Result<()> {
    let mut status = format!("{NAME}; attempts={}", trail.attempts);
    if let Some(code) = code {
        status.push_str("; error=");
        status.push_str(code.proxy_error());
    }
    if let Some(diagnosis) = trail.diagnosis {
        status.push_str("; diagnosis=");
        status.push_str(diagnosis.as_str());
    }
    head.insert_header("Proxy-Status", status)?;
    head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    if let Some(key) = &trail.idempotency_key {
        head.insert_header("Idempotency-Key", key.as_str())?;
    }
    // RFC 9110 §8.6: a 204 has none, and a 304's would be that of a body it does not have.
    if !matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(())
}

/// A whole answer for a connection of which no request was read, and its code; `None` where nothing can be answered.
pub(crate) fn refused_connection(why: Refusal) -> Option<(Code, Vec<u8>)> {
    let (rejection, status_line) = match why {
        Refusal::TooMany => (
            overloaded("as many connections are open as limits.inbound_connections allows"),
            "HTTP/1.1 503 Service Unavailable\r\n",
        ),
        Refusal::Cleartext => (
            Rejection::unsent(
                Code::BadRequest,
                "this listener speaks TLS and the connection does not; call it with https://",
            ),
            "HTTP/1.1 400 Bad Request\r\n",
        ),
        Refusal::Handshake => return None,
    };
    let trail = Trail::begin(std::time::Instant::now());
    let Ok((head, body)) = problem(&rejection, &trail) else {
        return Some((rejection.code, Vec::new()));
    };
    let mut wire = status_line.as_bytes().to_vec();
    wire.extend_from_slice(b"Connection: close\r\n");
    head.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(&body);
    Some((rejection.code, wire))
}
