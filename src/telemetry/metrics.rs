//! The metrics of product.md that exist so far, with their handles cached: no exchange looks one up by a string.

use std::sync::OnceLock;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, process_collector::ProcessCollector,
};

use super::{Ending, Outcome, Phase, TENANT, Trail, logging};
use crate::{ingo::Route, problem::Code, retry::Reason};

/// From what our own work takes to what Ingo may take on a money route, in seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.000_05, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 90.0,
];

/// The route label of exchanges whose path belongs to no route.
const NO_ROUTE: &str = "none";
const ROUTES: usize = Route::ALL.len() + 1;
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How an attempt ended. Label values of `attempts_total`.
const ATTEMPT_RESULTS: [&str; 2] = ["answered", "failed"];

/// Every metric of one proxy.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    exchanges: Cells<IntCounterVec, IntCounter>,
    durations: Cells<HistogramVec, Histogram>,
    phases: Vec<Histogram>,
    attempts: Cells<IntCounterVec, IntCounter>,
    retries: Cells<IntCounterVec, IntCounter>,
    rejections: Cells<IntCounterVec, IntCounter>,
    circuits: IntGaugeVec,
    skews: IntGaugeVec,
    unresolved: IntGaugeVec,
    certificates: IntGaugeVec,
    credential_loaded: IntGaugeVec,
    credential_failures: IntCounterVec,
    in_flight: Cells<IntGaugeVec, IntGauge>,
    buffered: IntGauge,
    queue: IntGauge,
    last_reload: IntGauge,
    panics: IntCounter,
    dropped_lines: IntCounter,
}

/// A vector's children, made when first used and then found by index.
#[derive(Debug)]
struct Cells<V, T> {
    vector: V,
    cells: Vec<OnceLock<T>>,
}

impl<V, T: Clone> Cells<V, T> {
    fn new(vector: V, size: usize) -> Self {
        Self {
            vector,
            cells: (0..size).map(|_| OnceLock::new()).collect(),
        }
    }

    fn at(&self, index: usize, make: impl FnOnce(&V) -> T) -> &T {
        self.cells[index].get_or_init(|| make(&self.vector))
    }
}

/// One exchange in flight; counted off when dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, with every metric at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect(VALID);
        let register = Registering(&registry);
        let phases = register.histograms(
            "phase_duration_seconds",
            "Time spent in one phase of an exchange, in seconds.",
            &["phase"],
        );
        let build = register.gauges(
            "build_info",
            "Always 1; the labels say what runs.",
            &["version", "revision"],
        );
        let revision = option_env!("INGO_PROXY_REVISION").unwrap_or("unknown");
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), revision])
            .set(1);
        let last_reload = register.gauge(
            "config_last_reload_successful",
            "1 where the configuration in use is the one that was last asked for, 0 where that was refused.",
        );
        last_reload.set(1);
        Self {
            last_reload,
            exchanges: Cells::new(
                register.counters(
                    "exchanges_total",
                    "Exchanges ended, by outcome and class of the HTTP status that the caller got.",
                    &["route", "tenant", "outcome", "code"],
                ),
                ROUTES * Outcome::ALL.len() * STATUS_CLASSES.len(),
            ),
            durations: Cells::new(
                register.histograms(
                    "exchange_duration_seconds",
                    "Time from a request's head to the last byte of its answer, in seconds.",
                    &["route", "tenant", "outcome"],
                ),
                ROUTES * Outcome::ALL.len(),
            ),
            phases: Phase::ALL
                .iter()
                .map(|p| phases.with_label_values(&[p.as_str()]))
                .collect(),
            attempts: Cells::new(
                register.counters("attempts_total", "Attempts ended.", &["route", "result"]),
                ROUTES * ATTEMPT_RESULTS.len(),
            ),
            retries: Cells::new(
                register.counters(
                    "retries_total",
                    "Attempts that repeat one before, by why.",
                    &["route", "reason"],
                ),
                ROUTES * Reason::ALL.len(),
            ),
            circuits: register.gauges(
                "circuit_open",
                "1 while the upstream is left alone because it could not be connected to.",
                &["upstream"],
            ),
            skews: register.gauges(
                "clock_skew_seconds",
                "The upstream's Date less this host's clock, in seconds, as of its last answer.",
                &["upstream"],
            ),
            unresolved: register.gauges(
                "journal_unresolved",
                "Exchanges that the journal saw begin and not end, those in flight included.",
                &["route"],
            ),
            certificates: register.gauges(
                "certificate_not_after_timestamp_seconds",
                "When a certificate of ours expires, in seconds since 1970.",
                &["certificate"],
            ),
            credential_loaded: register.gauges(
                "credential_loaded_timestamp_seconds",
                "When a secret was last read and taken into use, in seconds since 1970.",
                &["tenant"],
            ),
            credential_failures: register.counters(
                "credential_reload_failures_total",
                "Secret files that changed and could not be used; counted again each minute while one stays so.",
                &["tenant"],
            ),
            rejections: Cells::new(
                register.counters(
                    "rejections_total",
                    "Answers of the proxy itself, by problem code.",
                    &["code"],
                ),
                Code::ALL.len(),
            ),
            in_flight: Cells::new(
                register.gauges("exchanges_in_flight", "Exchanges that run now.", &["route"]),
                ROUTES,
            ),
            buffered: register.gauge(
                "buffered_bytes",
                "Bytes of request and answer bodies held now.",
            ),
            queue: register.gauge("queue_length", "Exchanges that wait for their turn now."),
            panics: register.counter(
                "panics_total",
                "Faults of the proxy that ended one exchange; each is a bug to report.",
            ),
            dropped_lines: register.counter(
                "log_lines_dropped_total",
                "Log lines dropped because standard output was not read fast enough.",
            ),
            registry,
        }
    }

    /// Counts an exchange in until the answer is dropped.
    pub fn in_flight(&self, route: Route) -> InFlight {
        let gauge = self
            .in_flight
            .at(route as usize, |v| v.with_label_values(&[route.name()]))
            .clone();
        gauge.inc();
        InFlight(gauge)
    }

    /// Counts one attempt, answered or failed.
    pub fn attempt(&self, route: Route, answered: bool) {
        let result = usize::from(!answered);
        self.attempts
            .at(route as usize * ATTEMPT_RESULTS.len() + result, |v| {
                v.with_label_values(&[route.name(), ATTEMPT_RESULTS[result]])
            })
            .inc();
    }

    /// Counts an attempt that repeats one before.
    pub fn retried(&self, route: Route, reason: Reason) {
        self.retries
            .at(route as usize * Reason::ALL.len() + reason as usize, |v| {
                v.with_label_values(&[route.name(), reason.as_str()])
            })
            .inc();
    }

    /// Counts a panic that ended one exchange.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub(super) fn observe(&self, trail: &Trail, ending: &Ending) {
        let route = trail.route.map_or(Route::ALL.len(), |r| r as usize);
        let name = trail.route.map_or(NO_ROUTE, Route::name);
        let outcome = ending.outcome as usize;
        let class = usize::from(ending.status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        let cell = route * Outcome::ALL.len() + outcome;
        self.exchanges
            .at(cell * STATUS_CLASSES.len() + class, |v| {
                v.with_label_values(&[name, TENANT, ending.outcome.as_str(), STATUS_CLASSES[class]])
            })
            .inc();
        self.durations
            .at(cell, |v| {
                v.with_label_values(&[name, TENANT, ending.outcome.as_str()])
            })
            .observe(trail.progress.stopwatch.total().as_secs_f64());
        for (phase, spent) in trail.progress.stopwatch.phases() {
            self.phases[phase as usize].observe(spent.as_secs_f64());
        }
        if let Some(code) = ending.problem {
            self.reject(code);
        }
    }

    /// Counts an answer of the proxy itself that belongs to no exchange, such as one to a connection over the limit.
    pub fn reject(&self, code: Code) {
        self.rejections
            .at(code as usize, |v| v.with_label_values(&[code.as_str()]))
            .inc();
    }

    /// Takes over what is known of an upstream, before rendering: label values come from configuration.
    pub fn upstream(&self, name: &str, circuit_open: bool, clock_skew: Option<i64>) {
        self.circuits
            .with_label_values(&[name])
            .set(i64::from(circuit_open));
        if let Some(seconds) = clock_skew {
            self.skews.with_label_values(&[name]).set(seconds);
        }
    }

    /// Takes over what the journal knows of a route, before rendering.
    pub fn unresolved(&self, route: Route, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unresolved
            .with_label_values(&[route.name()])
            .set(count);
    }

    /// Takes over when a certificate expires, before rendering.
    pub fn certificate(&self, certificate: &str, not_after: i64) {
        self.certificates
            .with_label_values(&[certificate])
            .set(not_after);
    }

    /// Takes over what is known of the credential, before rendering.
    pub fn credential(&self, loaded_at: u64, failures: u64) {
        let loaded_at = i64::try_from(loaded_at).unwrap_or(i64::MAX);
        self.credential_loaded
            .with_label_values(&[TENANT])
            .set(loaded_at);
        let counter = self.credential_failures.with_label_values(&[TENANT]);
        counter.inc_by(failures.saturating_sub(counter.get()));
    }

    /// Takes note of how a reload went. Of upstreams that are there no longer nothing is told any more.
    pub fn reloaded(&self, successfully: bool) {
        self.last_reload.set(i64::from(successfully));
        if successfully {
            for gauges in [
                &self.circuits,
                &self.skews,
                &self.unresolved,
                &self.certificates,
            ] {
                gauges.reset();
            }
        }
    }

    /// Whether the configuration in use is not the one that was last asked for.
    pub fn last_reload_failed(&self) -> bool {
        self.last_reload.get() == 0
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    pub fn render(&self, buffered_bytes: usize, queue_length: usize) -> Vec<u8> {
        self.buffered
            .set(i64::try_from(buffered_bytes).unwrap_or(i64::MAX));
        self.queue
            .set(i64::try_from(queue_length).unwrap_or(i64::MAX));
        let dropped = u64::try_from(logging::dropped_lines()).unwrap_or(u64::MAX);
        self.dropped_lines
            .inc_by(dropped.saturating_sub(self.dropped_lines.get()));
        let mut text = Vec::new();
        let families = self.registry.gather();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("families of a registry have names and at least one sample, and memory takes every byte");
        text
    }
}

/// Makes and registers; every name and label here is a constant, so that failing is a fault of this file that any test
/// that makes a [`Metrics`] finds.
struct Registering<'a>(&'a Registry);

fn prefixed(name: &str) -> String {
    format!("ingo_proxy_{name}")
}

const VALID: &str = "names and labels in this file are valid and unique";

impl Registering<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(prefixed(name), help), labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let made = IntCounter::new(prefixed(name), help).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(prefixed(name), help), labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let made = IntGauge::new(prefixed(name), help).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(prefixed(name), help).buckets(DURATION_BUCKETS.to_vec());
        let made = HistogramVec::new(options, labels).expect(VALID);
        self.0.register(Box::new(made.clone())).expect(VALID);
        made
    }
}
