//! Attempts, until one brings an answer that is final or the decision says stop.
//!
//! Each is signed afresh, with the same key and the same bytes. What the caller gets in the end is [`Best`]: Ingo's last
//! answer, unless an attempt that was written and lost may have done what that answer does not tell; then, or without any
//! answer, what became of the last attempt that was written; where none was written, of the last.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Destination, Proxy, Rejection,
    attempt::{Missed, Received, patience_lost},
    body::overloaded,
    failure,
    keyed::Keyed,
    keys::Place,
    patience::Patience,
    traced::attempt_end,
};
use crate::{
    bounds::Turn,
    ingo::Class,
    problem::Code,
    retry::{Attempted, Decision, Ended, Reason, Remedied, decide},
    telemetry::{Phase, Trail},
};

impl Proxy {
    /// Brings Ingo's answer, alone among the exchanges with the same key. While another one has the key, the turn is given
    /// back: who waits for one stalled key must not keep out those who wait for none.
    pub(super) async fn attempts(
        &self,
        keyed: &mut Keyed<'_>,
        turn: &mut Option<Turn>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Result<Box<Received>, Rejection> {
        let place = self.join_line(keyed)?;
        let _served = match &place {
            None => None,
            Some(place) => match place.turn_now() {
                Some(served) => Some(served),
                None => {
                    trail.progress.stopwatch.enter(Phase::Queue);
                    *turn = None;
                    let served = patience
                        .wait(false, place.turn())
                        .await
                        .map_err(patience_lost)?;
                    *turn = Some(self.queue(patience).await?);
                    Some(served)
                }
            },
        };
        let received = self.repeat(keyed, patience, trail).await?;
        Ok(self.refreshed(received, keyed, patience, trail).await)
    }

    /// The answer, or a later one where its `authorized_url` has little time left and a fresh one is wanted: an idempotent
    /// repeat makes no second session (protocol.md §3). It is one attempt, which takes a part of what is left at most; where it
    /// brings none, the caller gets what there is.
    async fn refreshed(
        &self,
        received: Box<Received>,
        keyed: &mut Keyed<'_>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Box<Received> {
        /// An expired one cannot get worse by waiting, and its caller waits.
        const SHORTEST: Duration = Duration::from_secs(1);
        let destination = keyed.admitted.destination;
        let stale = destination.refresh_url_below.and_then(|below| {
            let left = self.url_left(destination, &received);
            left.filter(|left| *left < below)
        });
        let Some(left) = stale.filter(|_| !patience.caller_is_gone()) else {
            return received;
        };
        if !destination.upstream.budget().spend() {
            return received;
        }
        let hurried = patience.at_most((left / 4).max(SHORTEST));
        // Boxed, because it is rare.
        let why = Some(Reason::UrlLife);
        let (result, _ended) = Box::pin(self.counted(keyed, why, &hurried, trail)).await;
        match result {
            Ok(fresh) if fresh.is_success() && fresh.facts.has_authorized_url => fresh,
            Ok(_) | Err(_) => received,
        }
    }

    /// What is left of the answer's `authorized_url`, if it has one.
    pub(super) fn url_left(
        &self,
        destination: &Destination,
        received: &Received,
    ) -> Option<Duration> {
        let now = destination.upstream.upstreams_time(self.clock.now());
        let age = received.answer.head_at.elapsed();
        received.facts.authorized_url_left(age, now)
    }

    fn join_line(&self, keyed: &Keyed<'_>) -> Result<Option<Place<'_>>, Rejection> {
        let Some(scope) = keyed.scope() else {
            return Ok(None);
        };
        let money = scope.route.class().moves_money();
        let followers = if money {
            0
        } else {
            self.limits.followers_per_key
        };
        self.keys.join(scope, followers).map(Some).map_err(|_in_flight| {
            if money {
                Rejection::unsent(Code::InFlight, "a request with this Idempotency-Key is being processed; wait for its answer before asking again")
            } else {
                overloaded("as many exchanges wait for this Idempotency-Key as limits.followers_per_key allows")
            }
        })
    }

    async fn repeat(
        &self,
        keyed: &mut Keyed<'_>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Result<Box<Received>, Rejection> {
        let destination = keyed.admitted.destination;
        let (route, class) = (destination.route, keyed.class());
        let upstream = &destination.upstream;
        let mut best = Best::default();
        let mut remedied = Remedied::default();
        let mut why = None;
        upstream.budget().earn();
        loop {
            let (result, ended) = self.counted(keyed, why, patience, trail).await;
            best.take(result, route.class());
            let Some(ended) = ended else { break };
            let attempted = Attempted {
                class,
                ended,
                attempts: trail.attempts,
                remedied,
                time_left: match ended {
                    Ended::Unconnected | Ended::Refused(_) => patience.left_to_begin(),
                    _ => patience.left(),
                },
                affordable: upstream.budget().has_one(),
                fraction: fastrand::f64(),
            };
            let Decision::Repeat { after, reason } = decide(&destination.policy, &attempted) else {
                break;
            };
            match ended {
                Ended::Refused(refusal) => remedied.note(refusal),
                // Another exchange may have spent the last one since.
                _ if !upstream.budget().spend() => break,
                _ => {}
            }
            trail.progress.stopwatch.enter(Phase::Backoff);
            if let Err(lost) = patience.wait(trail.progress.written, sleep(after)).await {
                best.take(Err(Missed::Held(patience_lost(lost))), route.class());
                break;
            }
            why = Some(reason);
        }
        best.into_result(keyed, trail)
    }

    /// One attempt, counted and told of, and how it ended; `None` where it was held back before a connection was asked for or
    /// a byte written, which is no attempt. `why` it repeats one before, if it does.
    async fn counted(
        &self,
        keyed: &mut Keyed<'_>,
        why: Option<Reason>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> (Result<Box<Received>, Missed>, Option<Ended>) {
        let destination = keyed.admitted.destination;
        trail.begin_attempt();
        let result = self.attempt(keyed, patience, trail).await;
        let ended = match &result {
            Ok(received) => Some(received.ended()),
            Err(missed) => missed.ended(),
        };
        match ended {
            Some(_) => self.metrics.attempt(destination.route, why, result.is_ok()),
            None => trail.attempts -= 1,
        }
        trail.end_attempt(|| attempt_end(&result, destination));
        (result, ended)
    }
}

/// The best that was had so far, for the caller.
#[derive(Default)]
struct Best {
    answer: Option<Box<Received>>,
    written: Option<Missed>,
    unwritten: Option<Missed>,
}

impl Best {
    /// What was written last counts: an answer to an earlier attempt does not speak for a later one that was written and
    /// lost. Where money moves, neither does an answer to a later one that failed: the lost one may have done it.
    fn take(&mut self, result: Result<Box<Received>, Missed>, class: Class) {
        match result {
            Ok(received)
                if class.moves_money() && self.written.is_some() && !received.is_success() => {}
            Ok(received) => self.answer = Some(received),
            Err(missed) if missed.was_written() => {
                self.answer = None;
                self.written = Some(missed);
            }
            Err(missed) => self.unwritten = Some(missed),
        }
    }

    fn into_result(self, keyed: &Keyed<'_>, trail: &Trail) -> Result<Box<Received>, Rejection> {
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
