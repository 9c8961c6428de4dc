//! The metrics of product.md, with their handles cached: no exchange looks one up by a string.

mod readings;
mod scrape;

use std::{collections::HashMap, time::Duration};

use parking_lot::{Mutex, RwLock};

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, process_collector::ProcessCollector,
};

pub use self::readings::{End, Ends, Spreads, Tally};
use super::{
    Ending, Outcome, Phase, TENANT, Trail,
    family::{Cells, Histograms, Registering, VALID},
    problems::Problems,
};
use crate::{
    config::Buckets,
    ingo::{Diagnosis, Facts, Route, contract::Rule, status},
    problem::Code,
    retry::Reason,
};

/// Of what is left of an `authorized_url`, which lives for 30 seconds (protocol.md §3).
const LIFE_BUCKETS: [f64; 10] = [0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 29.0, 30.0];

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
    durations: Histograms,
    phases: Histograms,
    overhead: Histograms,
    responses: IntCounterVec,
    /// Its children by route and status: too many to keep a cell for each.
    responses_known: RwLock<HashMap<(Route, u16), IntCounter>>,
    processing: Histograms,
    url_life: Histograms,
    diagnoses: Vec<IntCounter>,
    validation: Vec<IntCounter>,
    connections: IntGaugeVec,
    inbound_connections: IntGauge,
    limits: [IntGauge; 3],
    attempts: Cells<IntCounterVec, IntCounter>,
    retries: Cells<IntCounterVec, IntCounter>,
    rejections: Vec<IntCounter>,
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
    handshakes_failed: IntCounter,
    /// Held while a counter takes over what is counted elsewhere.
    catching_up: Mutex<()>,
    panics: IntCounter,
    dropped_lines: IntCounter,
    dropped_spans: IntCounter,
    bounds: readings::Bounds,
    problems: Problems,
}

/// One exchange in flight; counted off when dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A registry of its own, with every metric at zero.
    pub fn new(buckets: &Buckets) -> Self {
        let registry = Registry::new();
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect(VALID);
        let register = Registering(&registry);
        // Some phases are our own work, some are Ingo's, and all are in one family.
        let mut of_phases = [buckets.own.clone(), buckets.ingo.clone()].concat();
        of_phases.sort_by(f64::total_cmp);
        of_phases.dedup();
        let phases = register.histograms(
            "phase_duration_seconds",
            "Time spent in one phase of an exchange, in seconds.",
            &["phase"],
            &of_phases,
            Phase::ALL.len(),
        );
        for phase in Phase::ALL {
            phases.make(*phase as usize, [phase.as_str()]);
        }
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
            bounds: readings::Bounds::of(buckets, &of_phases),
            problems: Problems::new(),
            exchanges: Cells::new(
                register.counters(
                    "exchanges_total",
                    "Exchanges ended, by outcome and class of the HTTP status that the caller got.",
                    &["route", "tenant", "outcome", "code"],
                ),
                ROUTES * Outcome::ALL.len() * STATUS_CLASSES.len(),
            ),
            durations: register.histograms(
                "exchange_duration_seconds",
                "Time from a request's head to the last byte of its answer, in seconds.",
                &["route", "tenant", "outcome"],
                &buckets.ingo,
                ROUTES * Outcome::ALL.len(),
            ),
            overhead: register.histograms(
                "overhead_seconds",
                "What the proxy itself adds to an exchange: its time less all waiting for Ingo, for the caller, or on purpose, in seconds.",
                &["route"],
                &buckets.own,
                ROUTES,
            ),
            responses: register.counters(
                "ingo_responses_total",
                "Answers of Ingo, by the status in their body: those of documented families, other, or none.",
                &["route", "ingo_status"],
            ),
            responses_known: RwLock::default(),
            processing: register.histograms(
                "ingo_processing_seconds",
                "The processing time that Ingo reports in an answer, in seconds.",
                &["route"],
                &buckets.ingo,
                ROUTES,
            ),
            url_life: register.histograms(
                "authorized_url_ttl_seconds",
                "What is left of the life of an authorized_url when it is passed on, in seconds.",
                &["route"],
                &LIFE_BUCKETS,
                ROUTES,
            ),
            diagnoses: register.counter_of_each(
                "diagnoses_total",
                "Answers 401 and 403 of Ingo, by what they come from.",
                "finding",
                Diagnosis::ALL.iter().map(|finding| finding.as_str()),
            ),
            validation: register.counter_of_each(
                "validation_findings_total",
                "Fields of requests that break a rule of Ingo's documents, by rule.",
                "rule",
                Rule::ALL.iter().map(|rule| rule.as_str()),
            ),
            connections: register.gauges(
                "upstream_connections",
                "Connections to an upstream that are open, by whether an attempt uses them.",
                &["upstream", "state"],
            ),
            inbound_connections: register.gauge(
                "inbound_connections",
                "Connections open on the proxy listener, one of HTTP/2 counted as 100.",
            ),
            limits: [
                register.gauge(
                    "limit_exchanges_in_flight",
                    "What limits.exchanges_in_flight is.",
                ),
                register.gauge("limit_buffered_bytes", "What limits.buffered_bytes is."),
                register.gauge(
                    "limit_inbound_connections",
                    "What limits.inbound_connections is.",
                ),
            ],
            phases,
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
            rejections: register.counter_of_each(
                "rejections_total",
                "Answers of the proxy itself, by problem code.",
                "code",
                Code::ALL.iter().map(|code| code.as_str()),
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
            catching_up: Mutex::new(()),
            handshakes_failed: register.counter(
                "inbound_tls_handshakes_failed_total",
                "TLS handshakes of callers that failed or were too slow.",
            ),
            panics: register.counter(
                "panics_total",
                "Faults of the proxy that ended one exchange; each is a bug to report.",
            ),
            dropped_lines: register.counter(
                "log_lines_dropped_total",
                "Log lines dropped because standard output was not read fast enough or could not be written to.",
            ),
            dropped_spans: register.counter(
                "spans_dropped_total",
                "Spans that did not get to the collector.",
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

    /// Counts one attempt, answered or failed, and `why` it repeats one before, if it does.
    pub fn attempt(&self, route: Route, why: Option<Reason>, answered: bool) {
        let result = usize::from(!answered);
        self.attempts
            .at(route as usize * ATTEMPT_RESULTS.len() + result, |v| {
                v.with_label_values(&[route.name(), ATTEMPT_RESULTS[result]])
            })
            .inc();
        if let Some(reason) = why {
            self.retries
                .at(route as usize * Reason::ALL.len() + reason as usize, |v| {
                    v.with_label_values(&[route.name(), reason.as_str()])
                })
                .inc();
        }
    }

    /// Counts an answer of Ingo, and takes note of the time that it says it took.
    pub fn answered(&self, route: Route, facts: &Facts) {
        /// No status of Ingo's: it stands for one that is not documented, and for none.
        const OTHER: u16 = 0;
        const NONE: u16 = 1;
        let code = match &facts.status {
            Some(text) => status::documented(text).unwrap_or(OTHER),
            None => NONE,
        };
        let known = self.responses_known.read().get(&(route, code)).cloned();
        let counter = known.unwrap_or_else(|| {
            let label = match code {
                OTHER => "other".to_owned(),
                NONE => "none".to_owned(),
                code => code.to_string(),
            };
            let made = self.responses.with_label_values(&[route.name(), &label]);
            self.responses_known
                .write()
                .insert((route, code), made.clone());
            made
        });
        counter.inc();
        if let Some(time) = facts.time {
            self.processing
                .observe(route as usize, [route.name()], time.as_secs_f64());
        }
    }

    /// Counts an answer 401 or 403 of Ingo.
    pub fn refused(&self, finding: Diagnosis) {
        self.diagnoses[finding as usize].inc();
    }

    /// Takes note of what is left of an `authorized_url` that is passed on.
    pub fn passes_on(&self, route: Route, left: Duration) {
        self.url_life
            .observe(route as usize, [route.name()], left.as_secs_f64());
    }

    /// Counts a field of a request that breaks a rule.
    pub fn found(&self, rule: Rule) {
        self.validation[rule as usize].inc();
    }

    /// Counts a caller's TLS handshake that failed.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// Counts a panic that ended one exchange.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts spans that did not get to the collector.
    pub fn dropped_spans(&self) -> IntCounter {
        self.dropped_spans.clone()
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
        let watch = &trail.progress.stopwatch;
        let labels = [name, TENANT, ending.outcome.as_str()];
        self.durations
            .observe(cell, labels, watch.total().as_secs_f64());
        self.overhead
            .observe(route, [name], watch.own().as_secs_f64());
        self.phases.observe_each(
            watch
                .phases()
                .map(|(phase, spent)| (phase as usize, [phase.as_str()], spent.as_secs_f64())),
        );
        if let Some(code) = ending.problem {
            self.reject(code);
        }
        self.problems.note(trail, ending);
    }

    /// Has what each thread observed by itself in what is read.
    fn gather(&self) {
        let Self {
            durations,
            phases,
            overhead,
            processing,
            url_life,
            ..
        } = self;
        for histograms in [durations, phases, overhead, processing, url_life] {
            histograms.gather();
        }
    }

    /// Counts an answer of the proxy itself that belongs to no exchange, such as one to a connection over the limit.
    pub fn reject(&self, code: Code) {
        self.rejections[code as usize].inc();
    }
}
