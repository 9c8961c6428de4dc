//! Spans on their way to the collector: a bounded queue, and a thread that sends what is in it.
//!
//! No exchange waits: where the queue is full, spans are dropped and counted. A collector that is down costs a warning a minute,
//! and at the end of the process no more than [`Exporter::close`] is given.

use std::{
    mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use uuid::Uuid;

use super::{
    TracingError,
    collector::{Collector, Refusal},
    otlp::Sender,
    spans::Span,
};
use crate::config::Tracing;

/// Spans that wait to be sent: about 1 MiB.
const QUEUE: usize = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// So long is waited for more of them.
const GATHER: Duration = Duration::from_secs(1);
/// One request may take this long.
const REQUEST: Duration = Duration::from_secs(5);
/// So often a batch is sent again that the collector may take later.
const REPEATS: u32 = 3;
/// The first wait before that; each is twice the one before, and the collector may ask for more.
const BACKOFF: Duration = Duration::from_secs(1);
/// But for no more than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So often it is told that spans get lost.
const WARNING: Duration = Duration::from_secs(60);

/// Takes spans and has them sent.
#[derive(Debug)]
pub(super) struct Exporter(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct State {
    spans: Vec<Span>,
    /// Until when what is left is to be sent, once it ends.
    closing: Option<Instant>,
    /// Whether nothing is sent any more.
    ended: bool,
}

impl Exporter {
    /// Starts the thread; spans that get lost are counted by `dropped`.
    ///
    /// # Errors
    /// [`TracingError`] where the collector cannot be asked so, or there is no thread.
    pub(super) fn start(tracing: &Tracing, dropped: IntCounter) -> Result<Self, TracingError> {
        let collector = Collector::new(tracing)?;
        let instance = Uuid::new_v4().as_hyphenated().to_string();
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            dropped,
        });
        let mut sending = Sending {
            queue: queue.clone(),
            sender: Sender::new(&tracing.service_name, instance),
            collector,
            warned: None,
        };
        thread::Builder::new()
            .name("spans".to_owned())
            .spawn(move || sending.run())
            .map_err(|error| {
                TracingError(format!("the system refused a thread for spans: {error}"))
            })?;
        Ok(Self(queue))
    }

    /// Takes over all of `spans`, or where there is no room none of them: part of an exchange is misleading.
    pub(super) fn offer(&self, mut spans: Vec<Span>) {
        let queue = &self.0;
        let mut state = queue.state.lock();
        let before = state.spans.len();
        if state.ended || before + spans.len() > QUEUE {
            drop(state);
            queue.dropped.inc_by(spans.len() as u64);
            return;
        }
        state.spans.append(&mut spans);
        // The thread waits for the first one, then for a batch.
        let wakes = before == 0 || before < BATCH && state.spans.len() >= BATCH;
        drop(state);
        if wakes {
            queue.changed.notify_all();
        }
    }

    /// Has what waits sent, and waits for that until `limit` has passed.
    pub(super) fn close(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.0.state.lock();
        state.closing.get_or_insert(until);
        self.0.changed.notify_all();
        let still_sends = |state: &mut State| !state.ended;
        self.0
            .changed
            .wait_while_until(&mut state, still_sends, until);
    }
}

/// Where nobody closed it, nobody waits for what is left.
impl Drop for Exporter {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl Queue {
    /// Waits for a batch; `None`: it has ended, and there is nothing left.
    fn take(&self) -> Option<Vec<Span>> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            state.spans.is_empty() && state.closing.is_none()
        });
        self.changed.wait_while_for(
            &mut state,
            |state| state.spans.len() < BATCH && state.closing.is_none(),
            GATHER,
        );
        if state.spans.is_empty() {
            state.ended = true;
            self.changed.notify_all();
            return None;
        }
        let count = state.spans.len().min(BATCH);
        let rest = state.spans.split_off(count);
        Some(mem::replace(&mut state.spans, rest))
    }

    /// How long a request may take now; `None`: it is too late for one.
    fn time_for_request(&self) -> Option<Duration> {
        let Some(until) = self.state.lock().closing else {
            return Some(REQUEST);
        };
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(REQUEST))
    }

    /// Waits so long; `false`: it is ending, and there is no time for repeats.
    fn pause(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        let waited = self
            .changed
            .wait_while_for(&mut state, |state| state.closing.is_none(), time);
        waited.timed_out()
    }
}

/// What the thread has.
struct Sending {
    queue: Arc<Queue>,
    sender: Sender,
    collector: Collector,
    warned: Option<Instant>,
}

impl Sending {
    fn run(&mut self) {
        while let Some(batch) = self.queue.take() {
            let all = batch.len() as u64;
            let (lost, why) = match self.send(&self.sender.encode(&batch)) {
                Ok(0) => continue,
                // Whatever number a collector says, it had no more.
                Ok(rejected) => (
                    rejected.min(all),
                    "the collector refused some of them".to_owned(),
                ),
                Err(why) => (all, why),
            };
            self.warn(lost, &why);
            self.queue.dropped.inc_by(lost);
        }
    }

    /// Sends one batch, again where that may help. Answers how many of its spans the collector did not take; or why none got
    /// through.
    fn send(&self, body: &[u8]) -> Result<u64, String> {
        let mut repeats = 0;
        let mut backoff = BACKOFF;
        loop {
            let Some(time) = self.queue.time_for_request() else {
                return Err("there was no time left to send them".to_owned());
            };
            let (why, wait) = match self.collector.export(body, time) {
                Ok(rejected) => return Ok(rejected),
                Err(Refusal::Final(why)) => return Err(why),
                Err(Refusal::ForNow(why, asked)) => (why, asked),
            };
            // Half of it by chance, so that replicas do not come back all at once.
            let wait = wait.map_or(backoff.mul_f64(0.5 + fastrand::f64() / 2.0), |asked| {
                asked.min(LONGEST_WAIT)
            });
            if repeats == REPEATS || !self.queue.pause(wait) {
                return Err(why);
            }
            repeats += 1;
            backoff *= 2;
        }
    }

    fn warn(&mut self, lost: u64, why: &str) {
        let now = Instant::now();
        if self
            .warned
            .is_some_and(|last| now.duration_since(last) < WARNING)
        {
            return;
        }
        self.warned = Some(now);
        tracing::warn!(
            spans = lost,
            cause = why,
            "spans could not be sent; check that the collector of tracing.otlp_endpoint is up and takes OTLP/HTTP in JSON"
        );
    }
}
