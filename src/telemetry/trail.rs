//! What is known of one exchange, gathered while it runs, and told once it has ended: to the metrics and in one access line.
//!
//! A [`Trail`] lives outside the exchange's own future, so that a time-out or a panic loses nothing of it, above all not
//! whether bytes were written.

use std::time::Instant;

use uuid::Uuid;

use super::{AttemptEnd, Metrics, Phase, Stopwatch, TENANT, Trace};
use crate::{
    ingo::{Diagnosis, Facts, Route},
    problem::{Code, Sent},
    traceparent::TraceId,
};

/// The one caller there is until the gateway comes.
const CALLER: &str = "local";

/// How far the attempts of an exchange have come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Whether a byte of a request may have been written to an upstream connection.
    pub written: bool,
    /// Where the time went.
    pub stopwatch: Stopwatch,
    /// What the system or the TLS library said of the last failure; for the log, never for the caller.
    pub cause: Option<String>,
}

/// What is known of an exchange so far.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Names this exchange in answers and logs.
    pub exchange_id: Uuid,
    /// The route, once one was found.
    pub route: Option<Route>,
    /// How far the attempts have come.
    pub progress: Progress,
    /// Attempts begun.
    pub attempts: u32,
    /// The key that goes, or went, to Ingo.
    pub idempotency_key: Option<String>,
    /// What the request's body says of itself.
    pub participant_unique_id1: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: usize,
    /// Why Ingo refused the request with 401 or 403, where it did.
    pub diagnosis: Option<Diagnosis>,
    /// The trace it belongs to, where there is one.
    pub trace: Option<Box<Trace>>,
}

words! {
    /// How an exchange ended. The names are label values of `exchanges_total`.
    Outcome {
        /// The caller got Ingo's answer.
        Answered = "answered";
        /// The proxy refused: nothing was sent.
        Rejected = "rejected";
        /// The proxy could not bring an answer.
        Failed = "failed";
        /// The caller was gone before the answer was written.
        Aborted = "aborted";
    }
}

/// How an exchange ended, and with what.
#[derive(Clone, Debug)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The code, where the proxy itself answered.
    pub problem: Option<Code>,
    /// What Ingo's answer says of itself.
    pub answer: Facts,
    /// Bytes of the answer's body.
    pub answer_bytes: usize,
}

impl Trail {
    /// A new exchange that began at `now`.
    pub fn begin(now: Instant) -> Self {
        Self {
            exchange_id: Uuid::new_v4(),
            route: None,
            progress: Progress {
                written: false,
                stopwatch: Stopwatch::start(now),
                cause: None,
            },
            attempts: 0,
            idempotency_key: None,
            participant_unique_id1: None,
            request_bytes: 0,
            diagnosis: None,
            trace: None,
        }
    }

    /// Counts an attempt.
    pub fn begin_attempt(&mut self) {
        self.attempts += 1;
        if let Some(trace) = &mut self.trace {
            let attempt = trace.begin_attempt();
            self.progress.stopwatch.attribute(attempt);
        }
    }

    /// What follows belongs to the exchange again, no more to the attempt.
    pub fn end_attempt(&mut self, how: impl FnOnce() -> AttemptEnd) {
        if let Some(trace) = &mut self.trace {
            trace.end_attempt(how);
            self.progress.stopwatch.attribute(None);
        }
    }

    /// Names its trace in answers and logs, where there is one.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.id())
    }

    /// Whether Ingo may have received the request.
    pub fn sent(&self) -> Sent {
        if self.progress.written {
            Sent::Maybe
        } else {
            Sent::No
        }
    }

    /// Counts the exchange and writes its access line.
    pub fn end(&self, ending: &Ending, metrics: &Metrics) {
        metrics.observe(self, ending);
        let watch = &self.progress.stopwatch;
        let seconds = |phase| watch.spent(phase).map(|d| d.as_secs_f64());
        let mut exchange_id = Uuid::encode_buffer();
        tracing::info!(
            target: "ingo_signing_proxy::access",
            exchange_id = &*self.exchange_id.as_hyphenated().encode_lower(&mut exchange_id),
            trace_id = self.trace_id().map(tracing::field::display),
            route = self.route.map_or("none", Route::name),
            tenant = TENANT,
            caller = CALLER,
            code = ending.status,
            problem = ending.problem.map(Code::as_str),
            cause = self.progress.cause.as_deref(),
            ingo_status = ending.answer.status.as_deref(),
            diagnosis = self.diagnosis.map(Diagnosis::as_str),
            outcome = ending.outcome.as_str(),
            attempts = self.attempts,
            sent = self.sent().as_str(),
            idempotency_key = self.idempotency_key.as_deref(),
            participant_unique_id1 = self.participant_unique_id1.as_deref(),
            transaction_id = ending.answer.transaction_id.as_deref(),
            request_bytes = self.request_bytes,
            answer_bytes = ending.answer_bytes,
            duration_seconds = watch.total().as_secs_f64(),
            overhead_seconds = watch.own().as_secs_f64(),
            authenticate_seconds = seconds(Phase::Authenticate),
            validate_seconds = seconds(Phase::Validate),
            queue_seconds = seconds(Phase::Queue),
            read_body_seconds = seconds(Phase::ReadBody),
            rate_limit_seconds = seconds(Phase::RateLimit),
            backoff_seconds = seconds(Phase::Backoff),
            sign_seconds = seconds(Phase::Sign),
            connect_seconds = seconds(Phase::Connect),
            tls_seconds = seconds(Phase::Tls),
            send_seconds = seconds(Phase::Send),
            first_byte_seconds = seconds(Phase::FirstByte),
            read_response_seconds = seconds(Phase::ReadResponse),
            write_answer_seconds = seconds(Phase::WriteAnswer),
            "exchange"
        );
    }
}
