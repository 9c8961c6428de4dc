//! Traces: which trace an exchange belongs to, whether it is recorded, and its spans once it has ended.
//!
//! Spans are made from the [`Trail`] when an exchange has ended, never while it runs: what is not recorded pays for none. They
//! hold names, numbers, times and identifiers that are made up here, never text of a request or an answer.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod otlp;
mod spans;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use prometheus::IntCounter;
use uuid::Uuid;

#[cfg(feature = "otlp")]
use self::export::Exporter;
use super::{Ending, Trail};
use crate::{
    config::Tracing,
    traceparent::{SpanId, TraceId, Traceparent},
};

/// Where there is no exporter, there is no value of it.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
enum Exporter {}

#[cfg(not(feature = "otlp"))]
impl Exporter {
    fn start(_: &Tracing, _: IntCounter) -> Result<Self, TracingError> {
        Err(TracingError(
            "this build cannot send spans; build with the feature otlp".to_owned(),
        ))
    }

    fn offer(&self, _: Vec<spans::Span>) {
        match *self {}
    }

    fn close(&self, _: Duration) {
        match *self {}
    }
}

/// Spans cannot be sent as configured. Says why, and what to do.
#[derive(Debug)]
pub struct TracingError(pub(super) String);

impl fmt::Display for TracingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TracingError {}

/// Decides what is recorded, and has it sent. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tracer(Option<Arc<On>>);

#[derive(Debug)]
struct On {
    sample_ratio: f64,
    exporter: Exporter,
}

/// The trace that an exchange belongs to.
#[derive(Clone, Debug)]
pub struct Trace {
    id: TraceId,
    /// What the caller sent.
    caller: Option<Traceparent>,
    /// The span of the attempt in progress; `None`: nothing of ours stands in the trace.
    attempt: Option<SpanId>,
    recorded: Option<Recorded>,
}

/// What spans are made of, besides the [`Trail`].
#[derive(Clone, Debug)]
struct Recorded {
    exchange: SpanId,
    method: &'static str,
    started: SystemTime,
    attempts: Vec<(SpanId, Option<AttemptEnd>)>,
}

/// How an attempt ended, for its span.
#[derive(Clone, Debug)]
pub enum AttemptEnd {
    /// It was held back before a connection was asked for, or a byte written: there was none.
    Held,
    /// An answer came.
    Answered {
        /// The upstream's host and port.
        server: (String, u16),
        /// The HTTP status.
        status: u16,
        /// The body's own `status`, as the text that is told of it.
        ingo_status: Option<IngoStatus>,
    },
    /// None came.
    Missed {
        /// The upstream's host and port.
        server: (String, u16),
        /// Why.
        why: &'static str,
    },
}

/// Ingo's `status` as it may be told where no text of an answer may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngoStatus {
    /// One that is documented.
    Documented(u16),
    /// Another.
    Other,
}

impl Tracer {
    /// Starts what `tracing` asks for; where it asks for nothing, nothing is recorded.
    ///
    /// # Errors
    /// [`TracingError`] where spans cannot be sent so.
    pub fn start(tracing: Option<&Tracing>, dropped: IntCounter) -> Result<Self, TracingError> {
        let Some(tracing) = tracing else {
            return Ok(Self(None));
        };
        Ok(Self(Some(Arc::new(On {
            sample_ratio: tracing.sample_ratio,
            exporter: Exporter::start(tracing, dropped)?,
        }))))
    }

    /// Continues the caller's trace, or begins one where tracing is on. What the caller decided holds; a trace that begins
    /// here is recorded by its ratio.
    pub fn take_up(
        &self,
        caller: Option<Traceparent>,
        method: impl FnOnce() -> &'static str,
        trail: &mut Trail,
    ) {
        let Some(on) = &self.0 else {
            trail.trace = caller.map(|caller| Box::new(Trace::passed_through(caller)));
            return;
        };
        let id = caller.map_or_else(new_trace_id, |caller| caller.trace_id);
        let sampled = caller.map_or_else(|| id.is_sampled(on.sample_ratio), |c| c.sampled);
        let recorded = sampled.then(|| {
            trail.progress.stopwatch.record();
            let ago = Instant::now().saturating_duration_since(trail.progress.stopwatch.started());
            Recorded {
                exchange: new_span_id(),
                method: method(),
                started: SystemTime::now() - ago,
                attempts: Vec::new(),
            }
        });
        trail.trace = Some(Box::new(Trace {
            id,
            caller,
            attempt: Some(new_span_id()),
            recorded,
        }));
    }

    /// Has the spans of an exchange sent that has ended, where it is recorded. Never waits.
    pub fn tell(&self, trail: &Trail, ending: &Ending) {
        if let Some(on) = &self.0
            && let Some(trace) = &trail.trace
            && let Some(recorded) = &trace.recorded
        {
            let spans = spans::of(trace, recorded, trail, ending);
            on.exporter.offer(spans);
        }
    }

    /// Sends what waits, within `limit`; what does not get through by then is lost.
    pub fn close(&self, limit: Duration) {
        if let Some(on) = &self.0 {
            on.exporter.close(limit);
        }
    }
}

impl Trace {
    fn passed_through(caller: Traceparent) -> Self {
        Self {
            id: caller.trace_id,
            caller: Some(caller),
            attempt: None,
            recorded: None,
        }
    }

    /// Names the trace.
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// Whether the caller's `traceparent` is continued: only then does its `tracestate` belong to this trace.
    pub fn is_callers(&self) -> bool {
        self.caller.is_some()
    }

    /// What Ingo is told, where it may be: the attempt in progress. Where tracing is off, there is no span of ours, and the
    /// caller's stays the parent of what follows.
    pub fn for_ingo(&self) -> Option<Traceparent> {
        match self.attempt {
            Some(attempt) => Some(Traceparent {
                trace_id: self.id,
                parent_id: attempt,
                sampled: self.recorded.is_some(),
            }),
            None => self.caller,
        }
    }

    /// A span of its own for the attempt that begins; answers its number among those that are recorded.
    pub(super) fn begin_attempt(&mut self) -> Option<u8> {
        let span = new_span_id();
        *self.attempt.as_mut()? = span;
        let attempts = &mut self.recorded.as_mut()?.attempts;
        let number = u8::try_from(attempts.len()).ok()?;
        attempts.push((span, None));
        Some(number)
    }

    /// Takes note of how the attempt in progress ended, where it is recorded.
    pub(super) fn end_attempt(&mut self, how: impl FnOnce() -> AttemptEnd) {
        let recorded = self.recorded.as_mut();
        if let Some((_, ended)) = recorded.and_then(|recorded| recorded.attempts.last_mut()) {
            ended.get_or_insert_with(how);
        }
    }
}

impl IngoStatus {
    /// What `text`, the `status` of an answer, is told as.
    pub fn of(text: &str) -> Self {
        crate::ingo::status::documented(text).map_or(Self::Other, Self::Documented)
    }
}

/// From a source that cannot be guessed, so that replicas do not meet. Of a UUID's fixed bits none are among those that the
/// ratio is decided by.
fn new_trace_id() -> TraceId {
    TraceId::new(Uuid::new_v4().into_bytes()).expect("a V4 UUID has bits that are set")
}

/// Need be unique within its trace only.
fn new_span_id() -> SpanId {
    SpanId::new(fastrand::u64(1..).to_be_bytes()).expect("at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> Trail {
        Trail::begin(Instant::now())
    }

    fn caller() -> Traceparent {
        Traceparent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .expect("valid")
    }

    #[test]
    fn where_tracing_is_off_only_a_callers_trace_is_known_and_its_span_stays_the_parent() {
        let mut trail = trail();
        Tracer(None).take_up(None, || "POST", &mut trail);
        assert!(trail.trace.is_none());
        Tracer(None).take_up(Some(caller()), || "POST", &mut trail);
        trail.begin_attempt();
        trail.end_attempt(|| unreachable!("nothing is recorded"));
        let trace = trail.trace.expect("the caller's");
        assert_eq!(trace.id(), caller().trace_id);
        assert_eq!(trace.for_ingo(), Some(caller()));
    }

    #[test]
    fn an_attempt_is_told_with_a_span_of_its_own() {
        let mut trace = Trace {
            attempt: Some(new_span_id()),
            ..Trace::passed_through(caller())
        };
        let mut told = std::collections::HashSet::new();
        for _ in 0..3 {
            trace.begin_attempt();
            let for_ingo = trace.for_ingo().expect("of an attempt");
            assert_eq!(for_ingo.trace_id, caller().trace_id);
            assert!(!for_ingo.sampled, "it is not recorded");
            assert_ne!(for_ingo.parent_id, caller().parent_id);
            assert!(told.insert(for_ingo.parent_id));
        }
    }
}
