//! The last stage: the answer's head and body as the caller gets them.

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use pingora::http::ResponseHeader;
use serde::Serialize;

use super::{Proxy, Rejection, body::overloaded};
use crate::{listener::Refusal, problem::Code, telemetry::Trail, upstream::Answer};

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
}

impl Proxy {
    /// Ingo's answer as the caller gets it: status and body as they are.
    pub(super) fn answer(
        &self,
        answer: &Answer,
        trail: &Trail,
    ) -> pingora::Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build(answer.status, Some(12))?;
        for name in PASSED.iter().chain(&self.headers.to_caller) {
            for value in answer.headers.get_all(name) {
                head.append_header(name.clone(), value)?;
            }
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
    let document = Problem {
        r#type: format!("urn:{NAME}:problem:{code}"),
        title: code.title(),
        status: code.status(),
        detail: &rejection.detail,
        code: code.as_str(),
        sent: rejection.sent.as_str(),
        exchange_id: trail.exchange_id.as_hyphenated().to_string(),
    };
    let mut body = serde_json::to_vec(&document).unwrap_or_default();
    body.push(b'\n');
    let mut head = ResponseHeader::build(code.status(), Some(12))?;
    head.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
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
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(key) = &trail.idempotency_key {
        head.insert_header("Idempotency-Key", key.as_str())?;
    }
    // RFC 9110 §8.6: a 204 has none, and a 304's would be that of a body it does not have.
    if !matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        head.insert_header(header::CONTENT_LENGTH, length.to_string())?;
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
