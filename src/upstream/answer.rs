//! Ingo's answer: what of its head is kept, and whether the head says for certain where the body ends.
//!
//! Nothing here reads from a connection.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::BadResponse;

/// Ingo's answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The header fields that were asked for, as received.
    pub passed: Vec<(HeaderName, HeaderValue)>,
    /// Its `Date`.
    date: Option<HeaderValue>,
    /// Its `Retry-After`.
    retry_after: Option<HeaderValue>,
    /// The body, byte for byte.
    pub body: Bytes,
    /// When the head was complete.
    pub head_at: std::time::Instant,
    /// Whether only the connection's end says that the body is complete (RFC 9112 §6.3).
    pub may_be_cut_short: bool,
}

impl Answer {
    /// An answer of which the head is there, which came as `raw`; its body is still to be read.
    pub(super) fn begun(
        head: &ResponseHeader,
        raw: &[u8],
        asked_for: &[HeaderName],
        head_at: std::time::Instant,
    ) -> Result<Self, BadResponse> {
        if !is_framed_once(head, raw) {
            return Err(BadResponse::Framing);
        }
        Ok(Self {
            status: head.status,
            passed: (head.headers.iter())
                .filter(|(name, _)| asked_for.contains(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            date: head.headers.get(header::DATE).cloned(),
            retry_after: head.headers.get(header::RETRY_AFTER).cloned(),
            may_be_cut_short: !head.headers.contains_key(header::CONTENT_LENGTH)
                && !head.headers.contains_key(header::TRANSFER_ENCODING),
            head_at,
            body: Bytes::new(),
        })
    }

    /// When to come back, where the answer says so (RFC 9110 §10.2.3): in seconds, or at a date by its own clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.retry_after.as_ref()?.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More seconds than can be counted are not none.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let then = httpdate::parse_http_date(text).ok()?;
        let now = httpdate::parse_http_date(self.date()?).ok()?;
        Some(then.duration_since(now).unwrap_or_default())
    }

    /// The answer's `Date`.
    pub(super) fn date(&self) -> Option<&str> {
        self.date.as_ref()?.to_str().ok()
    }
}

/// Whether Transfer-Encoding, where there is one, is `chunked` once and alone: what is not decoded cannot be passed on as if it were
/// the body, and with a Content-Length beside it, or twice, whoever stands between may have seen another body end elsewhere (RFC 9112
/// §6.3: "ought to be handled as an error"). A wrong outcome of a payment is worse than one that is not known. Of lengths that differ,
/// Pingora says so itself; a length beside Transfer-Encoding it drops, so that only the `raw` head has it.
fn is_framed_once(head: &ResponseHeader, raw: &[u8]) -> bool {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return true;
    };
    let has_length = raw.split(|byte| *byte == b'\n').any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        (name.trim_ascii()).eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str().as_bytes())
    });
    coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() && !has_length
}

/// How many bytes the body has, where the head says so and it counts (RFC 9112 §6.3).
pub(super) fn announced(head: &ResponseHeader) -> Option<u64> {
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    if has_none || head.headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let length = head.headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}
