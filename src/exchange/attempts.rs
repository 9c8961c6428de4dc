//! Attempts, until one brings an answer that is final or the decision says stop.
//!
//! Each is signed afresh, with the same key and the same bytes. What the caller gets in the end is Ingo's last answer; without
//! one, what became of the last attempt that was written; without one of those, of the last.

use tokio::time::sleep;

use super::{
    Proxy, Rejection,
    attempt::{Missed, Received, patience_lost},
    failure,
    keyed::Keyed,
    keys::Place,
    patience::Patience,
};
use crate::{
    ingo::Class,
    problem::Code,
    retry::{Attempted, Decision, Ended, decide},
    telemetry::{Phase, Trail},
};

impl Proxy {
    /// Brings Ingo's answer, alone among the exchanges with the same key.
    pub(super) async fn attempts(
        &self,
        keyed: &mut Keyed<'_>,
        patience: &Patience,
        trail: &mut Trail,
    ) -> Result<Received, Rejection> {
        let place = self.join_line(keyed)?;
        let _turn = match &place {
            Some(place) => {
                trail.progress.stopwatch.enter(Phase::Queue);
                Some(
                    patience
                        .wait(false, place.turn())
                        .await
                        .map_err(patience_lost)?,
                )
            }
            None => None,
        };
        self.repeat(keyed, patience, trail).await
    }

    fn join_line(&self, keyed: &Keyed<'_>) -> Result<Option<Place<'_>>, Rejection> {
        let Some(scope) = keyed.scope() else {
            return Ok(None);
        };
        let money = scope.route.class().moves_money();
        self.keys.join(scope, !money).map(Some).map_err(|_in_flight| {
            if money {
                Rejection::unsent(Code::InFlight, "a request with this Idempotency-Key is being processed; wait for its answer before asking again")
            } else {
                super::body::overloaded("as many exchanges wait for this Idempotency-Key as limits.followers_per_key allows")
            }
        })
    }

    async fn repeat(
        &self,
        keyed: &mut Keyed<'_>,
        patience: &Patience,
        trail: &mut Trail,
    ) -> Result<Received, Rejection> {
        let destination = keyed.admitted.destination;
        let route = destination.route;
        let mut best = Best::default();
        let mut remedied = false;
        self.budget().earn();
        loop {
            trail.attempts += 1;
            let result = self.attempt(keyed, patience, trail).await;
            self.metrics.attempt(route, result.is_ok());
            let ended = match &result {
                Ok(received) => Some(received.ended()),
                Err(missed) => missed.ended(),
            };
            best.take(result, route.class());
            let Some(ended) = ended else { break };
            let attempted = Attempted {
                class: route.class(),
                ended,
                attempts: trail.attempts,
                remedied,
                time_left: patience.left(),
                affordable: self.budget().has_one(),
                fraction: fastrand::f64(),
            };
            let Decision::Repeat { after, reason } = decide(&destination.policy, &attempted) else {
                break;
            };
            match ended {
                Ended::Refused(_) => remedied = true,
                // Another exchange may have spent the last one since.
                _ if !self.budget().spend() => break,
                _ => {}
            }
            trail.progress.stopwatch.enter(Phase::Backoff);
            if let Err(lost) = patience.wait(trail.progress.written, sleep(after)).await {
                best.take(Err(Missed::Held(patience_lost(lost))), route.class());
                break;
            }
            self.metrics.retried(route, reason);
        }
        best.into_result(keyed, trail)
    }
}

/// The best that was had so far, for the caller.
#[derive(Default)]
struct Best {
    answer: Option<Received>,
    written: Option<Missed>,
    unwritten: Option<Missed>,
}

impl Best {
    fn take(&mut self, result: Result<Received, Missed>, class: Class) {
        match result {
            Ok(received) => self.answer = Some(received),
            Err(missed) if missed.was_written() => {
                // A refusal says that nothing was done. It does not speak for an attempt that came after it, and where money
                // moves, no answer does.
                if class.moves_money() || self.answer.as_ref().is_some_and(Received::is_refusal) {
                    self.answer = None;
                }
                self.written = Some(missed);
            }
            Err(missed) => self.unwritten = Some(missed),
        }
    }

    fn into_result(self, keyed: &Keyed<'_>, trail: &Trail) -> Result<Received, Rejection> {
        if let Some(received) = self.answer {
            return Ok(received);
        }
        let missed = self
            .written
            .or(self.unwritten)
            .expect("at least one attempt was made");
        Err(failure::rejection(
            missed,
            trail,
            keyed.admitted.destination,
        ))
    }
}
