//! Where an exchange's time goes.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};

use super::intervals::{Interval, Intervals};

words! {
    /// A part of an exchange. The names are label values of `phase_duration_seconds`.
    Phase {
        /// Who asks: whether a browser does, and under which name.
        Authenticate = "authenticate";
        /// Checking what came: the request's head and JSON, and what Ingo's answer says of itself.
        Validate = "validate";
        /// Waiting for a turn, for another exchange with the same key, or for others whose bodies are digested together with this one's.
        Queue = "queue";
        /// Reading the caller's body.
        ReadBody = "read_body";
        /// Waiting for the outbound rate limit.
        RateLimit = "rate_limit";
        /// Waiting between two attempts.
        Backoff = "backoff";
        /// Digest, signing string, MAC, and building the request.
        Sign = "sign";
        /// Taking a pooled connection or making one: resolution and TCP.
        Connect = "connect";
        /// The TLS handshake of a new connection.
        Tls = "tls";
        /// Writing the request.
        Send = "send";
        /// Waiting for the head of Ingo's answer.
        FirstByte = "first_byte";
        /// Reading the rest of Ingo's answer.
        ReadResponse = "read_response";
        /// Writing the answer to the caller.
        WriteAnswer = "write_answer";
    }
}

impl Phase {
    /// Whether its time is our work, where nobody says otherwise: finding a pooled connection is, making one is not, however it
    /// ends, and of writing a request all is but the waits for room.
    const fn is_our_work(self) -> bool {
        match self {
            Self::Authenticate | Self::Validate | Self::Sign | Self::Send => true,
            Self::Queue
            | Self::ReadBody
            | Self::RateLimit
            | Self::Backoff
            | Self::Connect
            | Self::Tls
            | Self::FirstByte
            | Self::ReadResponse
            | Self::WriteAnswer => false,
        }
    }
}

/// Does `doing`, and adds the time in which it could not go on to `waited`.
pub async fn waits<F: Future>(mut doing: Pin<&mut F>, waited: &mut Duration) -> F::Output {
    let mut since: Option<Instant> = None;
    poll_fn(|context| {
        if let Some(since) = since.take() {
            *waited += since.elapsed();
        }
        let polled = doing.as_mut().poll(context);
        if polled.is_pending() {
            since = Some(Instant::now());
        }
        polled
    })
    .await
}

/// Splits the time of an exchange into phases without a gap: entering one ends the one before, so the phases always sum
/// to the whole, and a future that is dropped half-way leaves its time where it was spent.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Instant,
    entered: Instant,
    current: Phase,
    /// Whether the time of the current phase is our work.
    ours: bool,
    own: Duration,
    spent: [Option<Duration>; Phase::ALL.len()],
    /// Only where spans are made of it.
    intervals: Option<Box<Intervals>>,
}

impl Stopwatch {
    /// Starts at `now`, in [`Phase::Authenticate`].
    pub fn start(now: Instant) -> Self {
        Self {
            started: now,
            entered: now,
            current: Phase::Authenticate,
            ours: Phase::Authenticate.is_our_work(),
            own: Duration::ZERO,
            spent: [None; Phase::ALL.len()],
            intervals: None,
        }
    }

    /// Keeps from now on when each phase began and ended.
    pub(super) fn record(&mut self) {
        self.intervals.get_or_insert_default();
    }

    /// Has the phases that are entered from now on belong to that attempt; `None`: to the exchange, at once.
    pub(super) fn attribute(&mut self, attempt: Option<u8>) {
        if let Some(intervals) = &mut self.intervals {
            intervals.attribute(attempt);
            if attempt.is_none() {
                self.stop();
            }
        }
    }

    /// When each phase began and ended, as far as it was recorded.
    pub(super) fn intervals(&self) -> impl Iterator<Item = &Interval> {
        self.intervals.iter().flat_map(|intervals| intervals.iter())
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Ends the current phase and enters `phase`, which may have been entered before. Answers when that is: a clock that was read
    /// need not be read again at once.
    pub fn enter(&mut self, phase: Phase) -> Instant {
        self.stop();
        self.current = phase;
        self.ours = phase.is_our_work();
        self.entered
    }

    /// Books the time up to now on the current phase.
    pub fn stop(&mut self) {
        let now = Instant::now();
        let spent = now.saturating_duration_since(self.entered);
        *self.spent[self.current as usize].get_or_insert(Duration::ZERO) += spent;
        if self.ours {
            self.own += spent;
        }
        if let Some(intervals) = &mut self.intervals {
            intervals.note(self.current, self.entered, now);
        }
        self.entered = now;
    }

    /// Takes note that of a phase that is our work this much was a wait for somebody else after all.
    pub fn waited(&mut self, time: Duration) {
        self.own = self.own.saturating_sub(time);
    }

    /// Takes note that the current phase, which as a rule is no work of ours, is this time: what of it was not booked yet, until
    /// another is entered.
    pub fn works(&mut self) {
        self.ours = true;
    }

    /// The part of the whole that was our own work: all but what was spent waiting for Ingo, for the caller, or on purpose.
    pub fn own(&self) -> Duration {
        self.own
    }

    /// Moves up to `spent` from one phase to another, where a part is known only afterwards.
    pub fn reassign(&mut self, from: Phase, to: Phase, spent: Duration) {
        let available = self.spent[from as usize].unwrap_or_default();
        let moved = spent.min(available);
        self.spent[from as usize] = Some(available - moved);
        *self.spent[to as usize].get_or_insert(Duration::ZERO) += moved;
        if let Some(intervals) = &mut self.intervals {
            intervals.tell_apart(from, to, moved);
        }
    }

    /// From the start to the last time something was booked.
    pub fn total(&self) -> Duration {
        self.entered.saturating_duration_since(self.started)
    }

    /// The phases that were met, in order.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL
            .iter()
            .filter_map(|phase| Some((*phase, self.spent[*phase as usize]?)))
    }

    /// The time spent in one phase.
    pub fn spent(&self, phase: Phase) -> Option<Duration> {
        self.spent[phase as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn the_phases_sum_to_the_whole_whatever_is_reassigned() {
        let mut watch = Stopwatch::start(Instant::now());
        watch.enter(Phase::Connect);
        watch.enter(Phase::Sign);
        watch.reassign(Phase::Connect, Phase::Tls, Duration::from_secs(9));
        watch.enter(Phase::Connect);
        watch.enter(Phase::WriteAnswer);
        watch.stop();
        let sum: Duration = watch.phases().map(|(_, spent)| spent).sum();
        assert_eq!(sum, watch.total());
        assert!(watch.spent(Phase::Connect).is_some());
        assert_eq!(watch.spent(Phase::Send), None);
    }

    #[test]
    fn our_own_work_is_what_nobody_was_waited_for() {
        let mut watch = Stopwatch::start(Instant::now());
        watch.enter(Phase::FirstByte);
        let before = watch.own();
        assert_eq!(Some(before), watch.spent(Phase::Authenticate));
        watch.enter(Phase::Connect);
        assert_eq!(watch.own(), before, "what Ingo takes is not ours");
        watch.stop();
        assert_eq!(watch.own(), before, "neither is a connection that is made");
        let made = watch.spent(Phase::Connect).expect("entered");
        watch.works();
        watch.stop();
        watch.enter(Phase::ReadResponse);
        let found = watch.spent(Phase::Connect).expect("entered") - made;
        assert_eq!(
            watch.own(),
            before + found,
            "but one that is found, to the end of the phase"
        );
        watch.stop();
        assert_eq!(watch.own(), before + found, "and not beyond");
        watch.waited(found);
        assert_eq!(watch.own(), before);
        watch.waited(Duration::MAX);
        assert_eq!(watch.own(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_wait_is_the_time_in_which_nothing_could_be_done() {
        let mut waited = Duration::ZERO;
        waits(pin!(async {}), &mut waited).await;
        assert_eq!(waited, Duration::ZERO);
        let (tell, told) = tokio::sync::oneshot::channel();
        let began = Instant::now();
        let told = pin!(told);
        let waiting = waits(told, &mut waited);
        let telling = async {
            tokio::task::yield_now().await;
            tell.send(7)
        };
        let (heard, _sent) = tokio::join!(waiting, telling);
        assert_eq!(heard, Ok(7));
        assert!(waited > Duration::ZERO && waited <= began.elapsed());
    }
}
