//! One attempt: held back where it must be, connected, signed, sent, answered or missed.
//!
//! It is signed after a connection is there, so that its date is that of its first byte. What follows it is not decided here.

use std::{pin::pin, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    Destination, Proxy, Rejection,
    body::overloaded,
    failure,
    keyed::Keyed,
    pace::TooLong,
    patience::{Lost, Patience},
};
use crate::{
    bounds::Reservation,
    credentials::Credential,
    ingo::{Diagnosis, Facts, KongRefusal, Route, check_json, diagnosis, is_success, json::Reason},
    journal::{self, Journal},
    message::{Head, Unwritable},
    problem::Code,
    retry::{Ended, Refusal},
    signing::{Unsigned, verify::TOLERANCE},
    telemetry::{Phase, TENANT, Trail},
    upstream::{Answer, Connection, Failure, Freshness, NotConnected, Outgoing},
};

/// What we say we are (RFC 9110 §10.1.5).
const USER_AGENT: &str = concat!("ingo-signing-proxy/", env!("CARGO_PKG_VERSION"));

/// An answer, and what it says of itself.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) answer: Answer,
    /// The memory that it is accounted with.
    pub(super) memory: Reservation,
    pub(super) facts: Facts,
    /// Whether it is a refusal after which signing again helps.
    refusal: Option<Refusal>,
    /// What it comes from, where it is a refusal.
    pub(super) diagnosis: Option<Diagnosis>,
}

/// What an attempt was signed with, and what a refusal is judged by.
struct Used {
    clock_correction: i64,
    credential: Arc<Credential>,
}

impl Used {
    /// Whether the date that was signed is further from the upstream's, whose clock is `skew` seconds ahead of ours, than Ingo
    /// accepts.
    fn date_is_off(&self, skew: i64) -> bool {
        skew.abs_diff(self.clock_correction) > TOLERANCE.as_secs()
    }
}

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) enum Missed {
    /// It was not made, and another would not be either.
    Held(Rejection),
    /// It had written nothing.
    Unconnected(Failure),
    /// It had written something.
    Unanswered(Failure),
    /// It had written something, and its time was up.
    TimedOut,
}

impl Received {
    /// Whether Ingo did what was asked, or had done it.
    pub(super) fn is_success(&self) -> bool {
        is_success(self.answer.status.as_u16(), self.facts.status.as_deref())
    }

    /// How the attempt ended, for the decision.
    pub(super) fn ended(&self) -> Ended {
        if let Some(refusal) = self.refusal {
            return Ended::Refused(refusal);
        }
        Ended::Answered {
            http: self.answer.status.as_u16(),
            ingo: self.facts.status.as_deref().and_then(|s| s.parse().ok()),
            retry_after: self.answer.retry_after(),
        }
    }
}

impl Missed {
    /// How the attempt ended, for the decision; `None` where there is nothing to decide.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            // An open circuit is not asked again and again: that would spend the budget of repeats on an outage.
            Self::Held(_) => None,
            Self::Unconnected(_) => Some(Ended::Unconnected),
            Self::Unanswered(_) => Some(Ended::Unanswered),
            Self::TimedOut => Some(Ended::TimedOut),
        }
    }

    /// Whether Ingo may have received the request of this attempt.
    pub(super) fn was_written(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::TimedOut)
    }
}

impl Proxy {
    /// Makes one attempt.
    pub(super) async fn attempt(
        &self,
        keyed: &mut Keyed<'_>,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Result<Box<Received>, Missed> {
        let destination = keyed.admitted.destination;
        let upstream = &destination.upstream;
        let finish = trail.progress.written;
        let freshness = Freshness::of(destination.route.class());
        let recorded = self.to_record(keyed, trail)?;
        if let Some(left) = upstream.keeps_back_for(freshness) {
            return Err(Missed::Held(failure::circuit_open(upstream.name(), left)));
        }
        self.keep_pace(patience, finish, trail).await?;
        let mut connection = connected(destination, finish, patience, trail).await?;
        let now = trail.progress.stopwatch.enter(Phase::Sign);
        let Some((journal, attempt)) = recorded else {
            let now = Instant::from_std(now);
            return self.send(keyed, connection, now, patience, trail).await;
        };
        begin_in_journal(journal, &attempt, patience, trail).await?;
        let result = async {
            if !connection.is_good() {
                // It ended or grew old while the disk was waited for; nothing was written to it.
                drop(connection);
                connection = Box::pin(connected(destination, finish, patience, trail)).await?;
            }
            let now = Instant::from_std(trail.progress.stopwatch.enter(Phase::Sign));
            self.send(keyed, connection, now, patience, trail).await
        };
        let result = Box::pin(result).await;
        journal.end(&attempt, journal_end(&result));
        result
    }

    /// Signs and sends over `connection`, and reads the answer, which may take its time from `now` on.
    async fn send(
        &self,
        keyed: &mut Keyed<'_>,
        connection: Connection<'_>,
        now: Instant,
        patience: &Patience<'_>,
        trail: &mut Trail,
    ) -> Result<Box<Received>, Missed> {
        let destination = keyed.admitted.destination;
        let upstream = &destination.upstream;
        if patience.begin_by <= now {
            // A request that nobody would wait for is not sent, least of all a payment.
            return Err(lost(Lost::Deadline));
        }
        let used = Used {
            clock_correction: upstream.clock_correction(),
            credential: self.rotation.signing(keyed.credential.as_ref()),
        };
        let head = self
            .signed(keyed, &used.credential, trail)
            .map_err(|_| Missed::Held(unbuildable()))?;
        let limit = patience.deadline.min(now + destination.attempt_timeout);
        let outgoing = Outgoing {
            head,
            body: keyed.body.bytes.clone(),
            asked_for: &self.passed,
        };
        // Of its own, so that it goes with the answer: what an earlier attempt brought is not held any more.
        let mut memory = self.memory.reserve();
        let answer = patience
            .finish(
                limit,
                pin!(upstream.send(
                    connection,
                    outgoing,
                    limit,
                    &mut memory,
                    &mut trail.progress,
                )),
            )
            .await
            .ok_or(Missed::TimedOut)?
            .map_err(Missed::Unanswered)?;
        let age = trail.progress.stopwatch.enter(Phase::Validate) - answer.head_at;
        let skew = upstream.compare_clocks(&answer, age, self.clock.now());
        if answer.may_be_cut_short
            && check_json(&answer.body).is_err_and(|not| not.reason == Reason::Truncated)
        {
            // Framed by the connection's end alone, JSON that ends before it is complete was cut off.
            trail.progress.cause = Some("Truncated".to_owned());
            return Err(Missed::Unanswered(Failure::Reset));
        }
        let facts = Facts::read(&answer.body);
        self.metrics.answered(destination.route, &facts);
        if proves_acceptance(answer.status) {
            self.rotation.accepted(&used.credential);
        }
        let sent = diagnosis::Sent {
            has_host_uri: keyed.body.has_host_uri,
            just_rotated: used.credential.is_just_rotated(),
            date_is_off: skew.is_some_and(|skew| used.date_is_off(skew)),
        };
        let diagnosis = Diagnosis::of(answer.status.as_u16(), &answer.body, sent);
        // A repeat that brings no answer leaves it as it is: then this was Ingo's last word.
        trail.diagnosis = diagnosis;
        if let Some(finding) = diagnosis {
            self.note_refusal(finding, trail);
        }
        let refusal = self.remedied(keyed, &answer, skew, &used);
        // Boxed, because it goes through many hands.
        Ok(Box::new(Received {
            answer,
            memory,
            facts,
            refusal,
            diagnosis,
        }))
    }

    /// Where money moves, what is to stand in the journal before the first byte is written. What cannot is the caller's own fault, and
    /// for good: it takes nothing that others wait for.
    fn to_record<'j>(
        &'j self,
        keyed: &Keyed<'_>,
        trail: &Trail,
    ) -> Result<Option<(&'j Journal, journal::Attempt)>, Missed> {
        let route = keyed.admitted.destination.route;
        let Some(journal) = self
            .journal
            .as_deref()
            .filter(|_| route.class().moves_money())
        else {
            return Ok(None);
        };
        let attempt = journal::Attempt {
            exchange_id: trail.exchange_id,
            tenant: TENANT.to_owned(),
            route,
            number: trail.attempts,
            idempotency_key: trail.idempotency_key.clone(),
            identifier: keyed.body.identity.values.clone(),
        };
        journal
            .check(&attempt)
            .map_err(|error| Missed::Held(Rejection::unsent(Code::BodyTooLarge, error.detail())))?;
        Ok(Some((journal, attempt)))
    }

    async fn keep_pace(
        &self,
        patience: &Patience<'_>,
        finish: bool,
        trail: &mut Trail,
    ) -> Result<(), Missed> {
        let Some(pace) = &self.pace else {
            return Ok(());
        };
        trail.progress.stopwatch.enter(Phase::RateLimit);
        let kept = match patience.wait(finish, pace.keep(patience.begin_by)).await {
            Ok(kept) => kept,
            Err(Lost::Deadline) => Err(TooLong(Duration::from_secs(1))),
            Err(gone @ Lost::Caller) => return Err(lost(gone)),
        };
        kept.map_err(|too_long| {
            let seconds = u32::try_from(too_long.0.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Missed::Held(Rejection::try_again(
                Code::RateLimited,
                "more requests than rate_limit.per_second allows came before this one, and its deadline is too near to wait for them",
                seconds,
            ))
        })
    }

    /// Counts a refusal and tells of it, whatever is done about it then.
    fn note_refusal(&self, finding: Diagnosis, trail: &Trail) {
        self.metrics.refused(finding);
        tracing::warn!(
            exchange_id = %trail.exchange_id,
            trace_id = trail.trace_id().map(tracing::field::display),
            finding = finding.as_str(),
            "Ingo refused a request with 401 or 403; {}{}",
            finding.remedy(),
            if finding == Diagnosis::ClockSkew && self.max_clock_correction.is_none() {
                "; until then clock.correct helps where it may"
            } else {
                ""
            }
        );
    }

    /// Whether the gateway refused for something that the next attempt will do otherwise: then, and only then, does a 401 or
    /// 403 change anything here. A caller can provoke every other one.
    fn remedied(
        &self,
        keyed: &mut Keyed<'_>,
        answer: &Answer,
        skew: Option<i64>,
        used: &Used,
    ) -> Option<Refusal> {
        match KongRefusal::read(answer.status.as_u16(), &answer.body)? {
            KongRefusal::Skew => self.correct_clock(keyed, skew?, used),
            KongRefusal::DoesNotMatch | KongRefusal::CannotBeVerified => {
                keyed.credential = Some(self.rotation.instead_of(&used.credential)?);
                Some(Refusal::Credential)
            }
            // Ours is never without a signature: something on the way removed it.
            KongRefusal::Unauthorized => None,
        }
    }

    /// Corrects the signing clock after a refusal for the date.
    fn correct_clock(&self, keyed: &Keyed<'_>, skew: i64, used: &Used) -> Option<Refusal> {
        let bound = self.max_clock_correction?;
        let upstream = &keyed.admitted.destination.upstream;
        let seconds = upstream.correct_clock(bound, skew, used.clock_correction)?;
        let now = match seconds {
            0 => "by this host's clock again, uncorrected",
            _ => "with a corrected clock; set this host's clock right (NTP)",
        };
        tracing::warn!(
            upstream = upstream.name(),
            seconds,
            "Ingo refused a request for its date, so requests are now signed {now}"
        );
        Some(Refusal::ClockSkew)
    }

    /// The request's head as it goes up, signed now: the fields that product.md names, and no others.
    fn signed(
        &self,
        keyed: &Keyed<'_>,
        credential: &Credential,
        trail: &Trail,
    ) -> Result<Head, Unwritable> {
        const METHOD: &str = "POST";
        let destination = keyed.admitted.destination;
        let mut head = Head::request(METHOD, &keyed.admitted.target)?;
        let signed = credential.signer.sign(
            Unsigned {
                method: METHOD,
                // What will be written, not what we asked for: the two cannot part.
                target: head.target(),
                digest: &keyed.digest,
            },
            destination.upstream.corrected(self.clock.now()),
        );
        head.field("Host", destination.upstream.authority())?;
        for (name, value) in signed.fields() {
            head.field(name, value)?;
        }
        head.field("Idempotency-Key", &keyed.key)?;
        head.field("User-Agent", USER_AGENT)?;
        if destination.route == Route::Banking
            && let Some(api_key) = self.rotation.api_key()
        {
            head.field("api_key", api_key)?;
        }
        for (name, value) in &keyed.admitted.forwarded {
            head.field(name.as_str(), value)?;
        }
        self.add_traceparent(&mut head, trail)?;
        Ok(head)
    }
}

/// Takes a connection to where the route leads, or makes one.
async fn connected<'d>(
    destination: &'d Destination,
    finish: bool,
    patience: &Patience<'_>,
    trail: &mut Trail,
) -> Result<Connection<'d>, Missed> {
    let upstream = &destination.upstream;
    let freshness = Freshness::of(destination.route.class());
    // What is large is pinned where it is: an `async fn` holds what it is given twice.
    let connecting = pin!(upstream.connect(freshness, &mut trail.progress));
    let connected = patience.wait(finish, connecting).await.map_err(lost)?;
    connected.map_err(|failure| not_connected(failure, upstream.name()))
}

/// Has `attempt` stand in the journal before its first byte is written.
async fn begin_in_journal(
    journal: &Journal,
    attempt: &journal::Attempt,
    patience: &Patience<'_>,
    trail: &Trail,
) -> Result<(), Missed> {
    let begun = patience
        .wait(trail.progress.written, journal.begin(attempt))
        .await
        .map_err(lost)?;
    begun.map_err(|error| {
        tracing::error!(%error, exchange_id = %trail.exchange_id, trace_id = trail.trace_id().map(tracing::field::display), "nothing that moves money is sent while the journal cannot be written; make room on its disk, or mend it");
        Missed::Held(Rejection::try_again(Code::JournalUnavailable, error.detail(), 1))
    })
}

/// Whether an answer of this status proves that the signature was accepted. A 401 or 403 does not; neither does what a load
/// balancer may say in Ingo's place.
fn proves_acceptance(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 401 | 403 | 429) && !status.is_server_error()
}

/// How an attempt that stands in the journal ended there.
fn journal_end(result: &Result<Box<Received>, Missed>) -> journal::Ended {
    match result {
        Ok(received) => journal::Ended::Answered {
            http_status: received.answer.status.as_u16(),
            ingo_status: received.facts.status.clone(),
            transaction_id: received.facts.transaction_id.clone(),
        },
        Err(missed) if missed.was_written() => journal::Ended::Unanswered,
        Err(_) => journal::Ended::Unsent,
    }
}

/// An upstream that is busy or left alone was not asked; one that could not be reached was.
fn not_connected(why: NotConnected, upstream: &str) -> Missed {
    match why {
        NotConnected::Busy => Missed::Held(overloaded(
            "as many attempts run as upstream.attempts_in_flight allows",
        )),
        NotConnected::CircuitOpen(left) => Missed::Held(failure::circuit_open(upstream, left)),
        NotConnected::Failed(failure) => Missed::Unconnected(failure),
    }
}

fn lost(lost: Lost) -> Missed {
    Missed::Held(patience_lost(lost))
}

/// What the caller is told where a wait before the first byte ended too early.
pub(super) fn patience_lost(lost: Lost) -> Rejection {
    match lost {
        Lost::Deadline => Rejection::try_again(
            Code::DeadlineExceeded,
            "the deadline passed before a request could be sent to Ingo, or where money moves less than 60 s were left for its answer, so nothing was sent",
            1,
        ),
        Lost::Caller => Rejection::caller_gone(
            "the caller closed the connection before its request was sent to Ingo, so nothing was sent",
        ),
    }
}

/// Cannot happen with a target that Pingora itself parsed; if it does, nothing was sent.
fn unbuildable() -> Rejection {
    Rejection::unsent(
        Code::Internal,
        "the request to Ingo could not be built, so nothing was sent",
    )
}
