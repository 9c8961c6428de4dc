//! One caller request and its answer, whatever happens between.
//!
//! The stages, in order: `admit` judges the head, `body` reads the rest, `attempt` signs and sends, `respond`
//! answers. Each takes what the one before made; all of them refuse with a [`Rejection`]. This file runs them, and makes
//! sure that every exchange is answered, counted and logged once, also where one panics.

mod admit;
mod attempt;
mod attempts;
mod body;
mod digests;
mod failure;
pub mod hosts;
mod keyed;
mod keys;
mod pace;
mod patience;
mod rejection;
mod respond;
mod session;
mod traced;
mod validate;

use std::{pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderName;
use pingora::protocols::http::ServerSession;
use tokio::{sync::Semaphore, time::Instant};

pub(crate) use self::{
    admit::check_browser,
    respond::{passed, refused_connection},
};
use self::{
    attempt::Received,
    hosts::Hosts,
    keyed::Keyed,
    patience::{Gone, Lost, Patience},
};
pub(crate) use self::{keyed::KeySource, keys::Keys, pace::Pace, session::linger};
pub use self::{rejection::Rejection, session::ProxyApp};
use crate::{
    bounds::{Memory, Reservation, Turn, Turns},
    clock::Clock,
    config::{Headers, Limits, Validation, no_journal},
    credentials::Rotation,
    ingo::{Facts, Route},
    journal::Journal,
    lifecycle::{Lifecycle, Stage},
    listener::Guarded,
    problem::Code,
    retry::Policy,
    telemetry::{Ending, InFlight, Metrics, Outcome, Phase, Tracer, Trail},
    tls::{Expiry, Renewed},
    upstream::{Upstream, Upstreams},
};

/// What all exchanges of one proxy listener share that began under the same configuration.
#[derive(Debug)]
pub struct Proxy {
    /// The enabled routes.
    pub(crate) routes: Vec<Destination>,
    /// Whose signature stands under each request.
    pub(crate) rotation: Arc<Rotation>,
    /// Which names the listener answers to.
    pub(crate) hosts: Hosts,
    /// Which further fields pass.
    pub(crate) headers: Headers,
    /// Of Ingo's fields, those that pass.
    pub(crate) passed: Vec<HeaderName>,
    /// The bounds of one exchange.
    pub(crate) limits: Limits,
    /// The bound of all bodies.
    pub(crate) memory: Memory,
    /// The bound of all exchanges.
    pub(crate) turns: Arc<Turns>,
    /// The connections of callers that may still be opened.
    pub(crate) places: Arc<Semaphore>,
    /// The keys in flight.
    pub(crate) keys: Arc<Keys>,
    /// Where a key comes from that the caller did not send.
    pub(crate) key_source: KeySource,
    /// The environment's name, or the upstream where there is none: part of a derived key.
    pub(crate) environment: String,
    /// How many requests may be sent in a second.
    pub(crate) pace: Option<Arc<Pace>>,
    /// Where calls that move money are recorded.
    pub(crate) journal: Option<Arc<Journal>>,
    /// By how much the signing clock may be corrected; `None`: not at all.
    pub(crate) max_clock_correction: Option<Duration>,
    /// What the process is about to do.
    pub(crate) lifecycle: Lifecycle,
    /// Where exchanges are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Which exchanges are recorded, and where their spans go.
    pub(crate) tracer: Tracer,
    /// The date that is signed.
    pub(crate) clock: Clock,
    /// The configuration as people may see it.
    pub(crate) configuration: String,
    /// What is made of TLS files, for callers and for upstreams.
    pub(crate) tls: Tls,
}

/// What is made of TLS files.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) inbound: Option<Arc<Renewed<rustls::ServerConfig>>>,
    pub(crate) upstreams: Arc<Upstreams>,
}

impl Tls {
    /// When our certificates expire.
    pub(crate) fn expiries(&self) -> Vec<Expiry> {
        let inbound = self.inbound.iter().flat_map(|inbound| inbound.expiries());
        inbound.chain(self.upstreams.expiries()).collect()
    }

    /// What is wrong with files now, a line for each thing.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = String> {
        let inbound = self.inbound.as_ref().and_then(|inbound| inbound.trouble());
        inbound.into_iter().chain(self.upstreams.trouble())
    }
}

/// The proxy as it is configured now. An exchange takes it once and keeps what it began with.
#[derive(Clone, Debug)]
pub struct Current(Arc<ArcSwap<Proxy>>);

impl Current {
    /// Begins with `proxy`.
    pub(crate) fn new(proxy: Arc<Proxy>) -> Self {
        Self(Arc::new(ArcSwap::new(proxy)))
    }

    /// What exchanges that begin now go by.
    pub(crate) fn load(&self) -> Arc<Proxy> {
        self.0.load_full()
    }

    /// Has exchanges that begin from now on go by `proxy`.
    pub(crate) fn replace(&self, proxy: Arc<Proxy>) {
        self.0.store(proxy);
    }
}

/// An enabled route and where it leads.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) route: Route,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) deadline: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) policy: Policy,
    pub(crate) disabled: bool,
    pub(crate) validation: Option<Validation>,
    pub(crate) refresh_url_below: Option<Duration>,
}

/// What is written to the caller, and what is told of it.
struct Reply {
    head: respond::Head,
    body: Bytes,
    ending: Ending,
    /// Until the caller has its answer, the exchange counts as running and its bytes as held.
    held: Option<(Option<Turn>, [Reservation; 2], InFlight)>,
}

impl Proxy {
    /// Each upstream once, in the order of the routes.
    pub(crate) fn upstreams(&self) -> Vec<&Upstream> {
        let mut found: Vec<&Arc<Upstream>> = Vec::new();
        for destination in &self.routes {
            let upstream = &destination.upstream;
            if !found.iter().any(|known| Arc::ptr_eq(known, upstream)) {
                found.push(upstream);
            }
        }
        found.into_iter().map(|upstream| &**upstream).collect()
    }

    /// What is wrong with files now, a line for each thing. What was read before stays in use, so it is no less ready.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut troubles = self.rotation.troubles();
        troubles.extend(self.tls.troubles());
        if self.metrics.last_reload_failed() {
            troubles.push(
                "the configuration was not reloaded, the one before stays in use; the log says why"
                    .to_owned(),
            );
        }
        troubles
    }

    /// The warning where a route moves money and no journal is kept.
    pub(crate) fn no_journal(&self) -> Option<String> {
        let mut routes = self.routes.iter().map(|destination| destination.route);
        let money = routes.find(|route| route.class().moves_money());
        money.filter(|_| self.journal.is_none()).map(no_journal)
    }

    /// From a request head to Ingo's answer.
    async fn exchange(
        &self,
        session: &mut ServerSession,
        trail: &mut Trail,
    ) -> Result<Reply, Rejection> {
        self.take_up_trace(session.req_header(), trail);
        let received = session
            .as_http1()
            .and_then(|http1| Guarded::of(http1.stream())?.target());
        let admitted = self.admit(session.req_header(), received, trail)?;
        if self.lifecycle.stage() == Stage::Draining {
            return Err(Rejection::try_again(
                Code::Draining,
                "the proxy is shutting down; connect again",
                1,
            ));
        }
        let began = Instant::from_std(trail.progress.stopwatch.started());
        let allowed = admitted.destination.deadline;
        let time = admitted.timeout.map_or(allowed, |asked| asked.min(allowed));
        let class = admitted.destination.route.class();
        let gone = Gone::default();
        let patience = Patience::of(class, began, time, &gone);

        trail.progress.stopwatch.enter(Phase::Queue);
        let mut turn = Some(match self.turns.take_now() {
            Some(turn) => turn,
            // Boxed, because it is rare.
            None => {
                let queueing = self.queue(&patience);
                Box::pin(patience::queued(session, &gone, queueing)).await?
            }
        });
        let counted = self.metrics.in_flight(admitted.destination.route);
        let body = self.read_body(session, &admitted, &patience, trail).await?;
        let validated = self.validate(&admitted, body, trail)?;
        let mut keyed = self.key(admitted, validated, trail).await;
        // Boxed, because it is large and would be moved from hand to hand otherwise.
        let attempts = boxed(|| self.attempts(&mut keyed, &mut turn, &patience, trail));
        let received = patience::watched(session, &gone, attempts).await?;
        self.note_life_of_url(&keyed, &received, trail);
        // Not of a later answer that the caller does not get.
        trail.diagnosis = received.diagnosis;
        let Received {
            answer,
            memory,
            facts,
            ..
        } = *received;
        Ok(Reply {
            head: respond::Head::answer(answer.status, answer.passed, answer.body.len(), trail),
            ending: Ending {
                outcome: if patience.caller_is_gone() {
                    Outcome::Aborted
                } else {
                    Outcome::Answered
                },
                status: answer.status.as_u16(),
                problem: None,
                answer: facts,
                answer_bytes: answer.body.len(),
            },
            body: answer.body,
            held: Some((turn, [keyed.into_memory(), memory], counted)),
        })
    }

    /// How long the caller has to use the `authorized_url` that it is about to get.
    fn note_life_of_url(&self, keyed: &Keyed<'_>, received: &Received, trail: &Trail) {
        /// A page cannot be loaded in less.
        const NEARLY: Duration = Duration::from_secs(5);
        let destination = keyed.admitted.destination;
        let Some(left) = self.url_left(destination, received) else {
            return;
        };
        self.metrics.passes_on(destination.route, left);
        if left < NEARLY {
            tracing::warn!(
                exchange_id = %trail.exchange_id,
                trace_id = trail.trace_id().map(tracing::field::display),
                seconds_left = left.as_secs_f64(),
                "an authorized_url is passed on that has expired or will at once; look at first_byte and the clocks{}",
                if destination.route == Route::CreateSession && destination.refresh_url_below.is_none() {
                    ", or have it refreshed with routes.create_session.refresh_url_below"
                } else {
                    ""
                }
            );
        }
    }

    /// Waits for a turn. Whoever hangs up meanwhile leaves its place to others.
    async fn queue(&self, patience: &Patience<'_>) -> Result<Turn, Rejection> {
        let taken = patience.wait(false, self.turns.take()).await;
        let taken = taken.map_err(attempt::patience_lost)?;
        if patience.caller_is_gone() {
            return Err(attempt::patience_lost(Lost::Caller));
        }
        taken.map_err(|_| {
            body::overloaded("as many exchanges run as limits.exchanges_in_flight allows")
        })
    }

    /// The proxy's own answer.
    fn refuse(rejection: &Rejection, trail: &Trail) -> Reply {
        let (head, body) = respond::problem(rejection, trail);
        let outcome = match rejection.code.status() {
            _ if rejection.caller_gone => Outcome::Aborted,
            500 | 502 | 504 => Outcome::Failed,
            _ => Outcome::Rejected,
        };
        let ending = Ending {
            outcome,
            status: rejection.code.status(),
            // Who is gone was not answered.
            problem: (!rejection.caller_gone).then_some(rejection.code),
            answer: Facts::default(),
            answer_bytes: body.len(),
        };
        Reply {
            head,
            body,
            ending,
            held: None,
        }
    }
}

/// A future that is made in its box. One that is moved into it is copied with all its room, which holds next to nothing yet.
fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// A fault of ours.
fn broken(trail: &Trail) -> Rejection {
    Rejection {
        code: Code::Internal,
        sent: trail.sent(),
        detail: "the proxy failed at this exchange; report it with the exchange_id and the log lines around it".into(),
        retry_after: None,
        caller_gone: false,
        invalid: None,
    }
}
