//! The spans of an exchange that has ended: one for the exchange, one for each attempt, one for each phase.
//!
//! Names of attributes are those of OpenTelemetry's conventions for HTTP where there is one. A [`Value`] is a number, a word of
//! ours, the upstream's host, or an identifier made here; there is no way for text of a request or an answer to get in.

use std::time::{Instant, SystemTime};

use uuid::Uuid;

use super::{AttemptEnd, IngoStatus, Recorded, Trace};
use crate::{
    ingo::{Pattern, Route},
    problem::Code,
    telemetry::{Ending, Outcome, Trail, intervals::Interval},
    traceparent::{SpanId, TraceId},
};

/// A part of a trace.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "otlp"),
    expect(dead_code, reason = "only what sends spans reads them")
)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether the parent is another program's.
    pub(super) is_entry: bool,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In nanoseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) failed: bool,
}

/// What a span is of. The numbers are those of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A phase.
    Internal = 1,
    /// The exchange.
    Server = 2,
    /// An attempt.
    Client = 3,
}

/// What an attribute may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A word of the code.
    Word(&'static str),
    Number(u32),
    /// A number where text is asked for.
    Digits(u16),
    /// One that was made up here.
    Id(Uuid),
    /// One that the configuration names.
    Host(String),
}

impl From<IngoStatus> for Value {
    fn from(status: IngoStatus) -> Self {
        match status {
            IngoStatus::Documented(code) => Self::Digits(code),
            IngoStatus::Other => Self::Word("other"),
        }
    }
}

/// All of them, the exchange's first.
pub(super) fn of(trace: &Trace, recorded: &Recorded, trail: &Trail, ending: &Ending) -> Vec<Span> {
    let making = Making {
        trace,
        recorded,
        trail,
    };
    let intervals: Vec<&Interval> = trail.progress.stopwatch.intervals().collect();
    let mut spans = vec![making.exchange(ending)];
    for (number, (id, end)) in recorded.attempts.iter().enumerate() {
        let mut own = (intervals.iter()).filter(|i| i.attempt.map(usize::from) == Some(number));
        let first = own.next();
        if let Some(first) = first
            && !matches!(end, Some(AttemptEnd::Held))
        {
            let ended = own.next_back().map_or(first.ended, |last| last.ended);
            spans.push(making.attempt(number, *id, end.as_ref(), (first.began, ended)));
        }
    }
    spans.extend(intervals.iter().map(|interval| making.phase(interval)));
    spans
}

struct Making<'a> {
    trace: &'a Trace,
    recorded: &'a Recorded,
    trail: &'a Trail,
}

impl Making<'_> {
    fn exchange(&self, ending: &Ending) -> Span {
        let Self {
            trace,
            recorded,
            trail,
        } = *self;
        let watch = &trail.progress.stopwatch;
        let failed = ending.outcome == Outcome::Failed || ending.status >= 500;
        let mut attributes = vec![
            ("http.request.method", Value::Word(recorded.method)),
            (
                "http.response.status_code",
                Value::Number(ending.status.into()),
            ),
            ("ingo_proxy.exchange_id", Value::Id(trail.exchange_id)),
            ("ingo_proxy.outcome", Value::Word(ending.outcome.as_str())),
            ("ingo_proxy.sent", Value::Word(trail.sent().as_str())),
            ("ingo_proxy.attempts", Value::Number(trail.attempts)),
        ];
        match trail.route.map(Route::pattern) {
            Some(Pattern::Exact(path)) => {
                attributes.push(("http.route", Value::Word(path)));
                attributes.push(("url.path", Value::Word(path)));
            }
            // What follows it is the caller's text.
            Some(Pattern::Prefix(prefix)) => attributes.push(("http.route", Value::Word(prefix))),
            None => {}
        }
        if let Some(status) = &ending.answer.status {
            attributes.push(("ingo.status", IngoStatus::of(status).into()));
        }
        if let Some(error) = ending.problem.map(Code::as_str) {
            attributes.push(("error.type", Value::Word(error)));
        } else if failed {
            attributes.push(("error.type", Value::Digits(ending.status)));
        }
        Span {
            trace: trace.id,
            id: recorded.exchange,
            parent: trace.caller.map(|caller| caller.parent_id),
            is_entry: true,
            name: trail.route.map_or("none", Route::name),
            kind: Kind::Server,
            began: self.nanos(watch.started()),
            ended: self.nanos(watch.started() + watch.total()),
            attributes,
            failed,
        }
    }

    fn attempt(
        &self,
        number: usize,
        id: SpanId,
        end: Option<&AttemptEnd>,
        (began, ended): (Instant, Instant),
    ) -> Span {
        let mut attributes = vec![("http.request.method", Value::Word("POST"))];
        if let Some(resent) = u32::try_from(number).ok().filter(|n| *n > 0) {
            attributes.push(("http.request.resend_count", Value::Number(resent)));
        }
        let mut failed = false;
        match end {
            Some(AttemptEnd::Answered {
                server,
                status,
                ingo_status,
            }) => {
                attributes.extend(address(server));
                attributes.push(("http.response.status_code", Value::Number((*status).into())));
                attributes.extend(ingo_status.map(|status| ("ingo.status", status.into())));
                failed = *status >= 400;
                if failed {
                    attributes.push(("error.type", Value::Digits(*status)));
                }
            }
            Some(AttemptEnd::Missed { server, why }) => {
                attributes.extend(address(server));
                attributes.push(("error.type", Value::Word(why)));
                failed = true;
            }
            // It was dropped half-way: nothing is known of its end.
            Some(AttemptEnd::Held) | None => {}
        }
        Span {
            trace: self.trace.id,
            id,
            parent: Some(self.recorded.exchange),
            is_entry: false,
            name: "attempt",
            kind: Kind::Client,
            began: self.nanos(began),
            ended: self.nanos(ended),
            attributes,
            failed,
        }
    }

    fn phase(&self, interval: &Interval) -> Span {
        let attempt = interval
            .attempt
            .and_then(|number| self.recorded.attempts.get(usize::from(number)));
        let parent = match attempt {
            // What it waited for, the exchange waited for.
            Some((_, Some(AttemptEnd::Held))) | None => self.recorded.exchange,
            Some((id, _)) => *id,
        };
        Span {
            trace: self.trace.id,
            id: super::new_span_id(),
            parent: Some(parent),
            is_entry: false,
            name: interval.phase.as_str(),
            kind: Kind::Internal,
            began: self.nanos(interval.began),
            ended: self.nanos(interval.ended),
            attributes: Vec::new(),
            failed: false,
        }
    }

    /// By the one look at the wall clock at the beginning: steps of it do not turn an exchange around.
    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.trail.progress.stopwatch.started());
        let at = (self.recorded.started + since).duration_since(SystemTime::UNIX_EPOCH);
        at.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
    }
}

fn address((host, port): &(String, u16)) -> [(&'static str, Value); 2] {
    [
        ("server.address", Value::Host(host.clone())),
        ("server.port", Value::Number((*port).into())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ingo::Facts, telemetry::Phase, traceparent::Traceparent};

    fn ending() -> Ending {
        Ending {
            outcome: Outcome::Rejected,
            status: 429,
            problem: Some(Code::RateLimited),
            answer: Facts::default(),
            answer_bytes: 0,
        }
    }

    /// An exchange that is recorded.
    fn trail() -> Trail {
        let mut trail = Trail::begin(Instant::now());
        trail.progress.stopwatch.record();
        let caller = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        trail.trace = Some(Box::new(Trace {
            attempt: Some(super::super::new_span_id()),
            recorded: Some(Recorded {
                exchange: super::super::new_span_id(),
                method: "POST",
                started: SystemTime::now(),
                attempts: Vec::new(),
            }),
            ..Trace::passed_through(Traceparent::parse(caller).expect("valid"))
        }));
        trail
    }

    fn told(trail: &Trail) -> Vec<Span> {
        let trace = trail.trace.as_ref().expect("it has one");
        let recorded = trace.recorded.as_ref().expect("it is recorded");
        of(trace, recorded, trail, &ending())
    }

    fn of_kind(spans: &[Span], kind: Kind) -> Vec<&Span> {
        spans.iter().filter(|span| span.kind == kind).collect()
    }

    #[test]
    fn an_attempt_that_was_held_back_is_none_and_what_it_waited_for_is_the_exchanges() {
        let mut trail = trail();
        trail.begin_attempt();
        trail.progress.stopwatch.enter(Phase::RateLimit);
        trail.end_attempt(|| AttemptEnd::Held);
        trail.progress.stopwatch.enter(Phase::WriteAnswer);
        trail.progress.stopwatch.stop();
        let spans = told(&trail);
        assert!(of_kind(&spans, Kind::Client).is_empty());
        let exchange = of_kind(&spans, Kind::Server)[0];
        let phases = of_kind(&spans, Kind::Internal);
        assert!(phases.iter().any(|span| span.name == "rate_limit"));
        assert!(phases.iter().all(|span| span.parent == Some(exchange.id)));
    }

    #[test]
    fn an_attempt_that_was_dropped_half_way_keeps_its_span_and_says_nothing_of_its_end() {
        let mut trail = trail();
        trail.begin_attempt();
        trail.progress.stopwatch.enter(Phase::Connect);
        trail.progress.stopwatch.enter(Phase::Send);
        trail.progress.stopwatch.stop();
        let spans = told(&trail);
        let attempts = of_kind(&spans, Kind::Client);
        assert_eq!(attempts.len(), 1);
        assert!(!attempts[0].failed);
        let phases = of_kind(&spans, Kind::Internal);
        let own: Vec<_> = phases
            .iter()
            .filter(|p| p.parent == Some(attempts[0].id))
            .collect();
        assert_eq!(own.len(), 2);
        assert_eq!(
            (attempts[0].began, attempts[0].ended),
            (own[0].began, own[1].ended)
        );
    }

    #[test]
    fn a_wall_clock_before_1970_makes_nothing_panic() {
        let mut trail = trail();
        if let Some(recorded) = trail.trace.as_mut().and_then(|t| t.recorded.as_mut()) {
            recorded.started = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(9);
        }
        assert_eq!(told(&trail)[0].began, 0);
    }
}
