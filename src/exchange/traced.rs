//! The trace of an exchange at its edges: what the caller sent of one, and what Ingo is told of it.
//!
//! Ingo is told nothing unless `headers.to_ingo` names `traceparent`, and then never the caller's own words: the field is made
//! anew for each attempt.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::http::RequestHeader;

use super::{
    Destination, Proxy,
    attempt::{Missed, Received},
};
use crate::{
    message::{Head, Unwritable},
    retry::Ended,
    telemetry::{AttemptEnd, IngoStatus, Trail},
    traceparent::Traceparent,
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What has to be passed on of `tracestate`, in bytes (W3C Trace Context §3.3.1.5); longer ones are dropped whole.
const LONGEST_TRACESTATE: usize = 512;

/// Whether a field is passed on here, and not as it came.
pub(super) fn is_of_trace(name: &HeaderName) -> bool {
    *name == TRACEPARENT || *name == TRACESTATE
}

impl Proxy {
    /// Continues the caller's trace, or begins one.
    pub(super) fn take_up_trace(&self, head: &RequestHeader, trail: &mut Trail) {
        let caller = traceparent(&head.headers);
        self.tracer.take_up(caller, || method(&head.method), trail);
    }

    /// The caller's `tracestate` as it goes up: only beside the `traceparent` that it belongs to.
    pub(super) fn tracestate(
        &self,
        headers: &HeaderMap,
        trail: &Trail,
    ) -> Option<(HeaderName, HeaderValue)> {
        let continued = trail.trace.as_ref().is_some_and(|trace| trace.is_callers());
        if !continued || !self.headers.to_ingo.contains(&TRACESTATE) {
            return None;
        }
        // Several fields are one list (RFC 9110 §5.3).
        let fields: Vec<_> = (headers.get_all(&TRACESTATE).iter())
            .map(HeaderValue::as_bytes)
            .collect();
        let joined = fields.join(&b","[..]);
        if joined.is_empty() || joined.len() > LONGEST_TRACESTATE {
            return None;
        }
        Some((TRACESTATE, HeaderValue::from_bytes(&joined).ok()?))
    }

    /// Tells Ingo the trace and the attempt's span, where it may be told.
    pub(super) fn add_traceparent(&self, head: &mut Head, trail: &Trail) -> Result<(), Unwritable> {
        if let Some(trace) = &trail.trace
            && let Some(told) = trace.for_ingo()
            && self.headers.to_ingo.contains(&TRACEPARENT)
        {
            head.field(TRACEPARENT.as_str(), told.to_string())?;
        }
        Ok(())
    }
}

/// How an attempt ended, for its span.
pub(super) fn attempt_end(
    result: &Result<Box<Received>, Missed>,
    destination: &Destination,
) -> AttemptEnd {
    let (host, port) = destination.upstream.host_and_port();
    let server = (host.to_owned(), port);
    let why = match result {
        Ok(received) => {
            let status = received.facts.status.as_deref();
            return AttemptEnd::Answered {
                server,
                status: received.answer.status.as_u16(),
                ingo_status: status.map(IngoStatus::of),
            };
        }
        Err(missed) => match missed.ended() {
            None => return AttemptEnd::Held,
            Some(Ended::Unconnected) => "unconnected",
            Some(Ended::TimedOut) => "timed_out",
            Some(_) => "unanswered",
        },
    };
    AttemptEnd::Missed { server, why }
}

/// What the caller sent, where it is valid; several of them are none (W3C Trace Context §3.2.1 has one).
fn traceparent(headers: &HeaderMap) -> Option<Traceparent> {
    let mut fields = headers.get_all(&TRACEPARENT).iter();
    match (fields.next(), fields.next()) {
        (Some(value), None) => Traceparent::parse(value.as_bytes()),
        _ => None,
    }
}

/// A method as it may be told: one that is known, or the word that OpenTelemetry has for the others.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}
