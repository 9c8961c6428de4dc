//! One request on one connection: read, judged, processed, answered; and at each step the fault that may end it.
//!
//! The ledger's entry is complete before the last byte of an answer is written, so that whoever has the answer finds it;
//! should that byte not get out, the entry is corrected.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use super::{
    State,
    answer::Answer,
    fault::Fault,
    gateway::{Judged, is_authorized_url, route},
    kind::FaultKind,
    ledger::{Ending, Entry, shown},
    spoil::{instead, spoilt},
    wire::{Cut, Head, Wire},
};

/// nginx below Kong waits as long for a request as for the next of its reads; here it is one time for all of it. Invented.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// A client that stops reading is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// What is to become of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may come on it.
    Keep,
    /// It is closed so that the answer can be read.
    Close,
    /// It is closed without another word, this long after the answer.
    CloseIdle(Duration),
    /// It is reset.
    Reset,
}

/// A request on its way through the emulator.
struct Received<'a> {
    state: &'a State,
    wire: &'a mut Wire,
    entry: Entry,
}

/// Serves one request, of which at least one byte has arrived.
pub(super) async fn receive(state: &State, wire: &mut Wire, connection: u64) -> Next {
    let mut received = Received {
        state,
        entry: state.ledger.open(connection),
        wire,
    };
    let next = received.run().await;
    let entry = received.entry;
    tracing::info!(
        sequence = entry.sequence,
        connection = entry.connection,
        method = entry.method,
        route = entry.route,
        idempotency_key = entry.idempotency_key,
        identifying_value = entry.identifying_value,
        bytes_received = entry.bytes_received,
        verified = entry.verified,
        findings = (!entry.findings.is_empty()).then(|| entry.findings.join(" ")),
        fault = entry.fault,
        processed = entry.processed,
        http_status = entry.http_status,
        ingo_status = entry.ingo_status,
        ending = entry.ending.as_str(),
        "received"
    );
    next
}

impl Received<'_> {
    async fn run(&mut self) -> Next {
        if let Some(fault) = self.state.faults.take_before_reading() {
            self.entry.fault = Some(fault.kind.as_str());
            return self.reset();
        }
        let head = match self.read(Wire::read_head).await {
            Ok(head) => head,
            Err(cut) => return self.cut_short(&cut).await,
        };
        self.note_head(&head);
        // Before the fault is taken, so that clearing the faults ends its wait in any case.
        let cleared = self.state.faults.cleared();
        let fault = self.state.faults.take_for(head.path());
        self.entry.fault = fault.as_ref().map(|fault| fault.kind.as_str());
        self.note();
        let is = |kind| fault.as_ref().is_some_and(|fault| fault.kind == kind);
        if is(FaultKind::ResetAfterHeaders) {
            return self.reset();
        }
        if head.expects_continue() {
            // RFC 9110 §10.1.1. No part of the answer, so the ledger does not count it.
            let _sent = self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let body = match self.read(async |wire| wire.read_body(&head).await).await {
            Ok(body) => body,
            Err(cut) => return self.cut_short(&cut).await,
        };
        self.entry.body_sha256 = Some(hex(&Sha256::digest(&body)));
        self.entry.body_bytes = Some(body.len());
        // RFC 9110 §9.3.2: no body follows the head of an answer to HEAD. It gets one, and the end of the connection.
        let keep = head.keeps_alive() && head.method != "HEAD";
        let judged = self.state.gateway.judge(head, body, self.state.clock.now());
        self.note_judgement(&judged);

        let unprocessed = fault.as_ref().is_some_and(|fault| !fault.processes());
        if is(FaultKind::ResetAfterBody) && unprocessed {
            return self.reset();
        }
        let answer = self.process(&judged, fault.as_ref(), cleared).await;
        if is(FaultKind::ResetAfterBody) {
            return self.reset();
        }
        self.answer(answer, keep, fault.as_ref()).await
    }

    /// Reads a part of the request, and counts what was read of it whatever came of that.
    async fn read<T>(
        &mut self,
        part: impl AsyncFnOnce(&mut Wire) -> Result<T, Cut>,
    ) -> Result<T, Cut> {
        let read = timeout(READ_DEADLINE, part(self.wire)).await;
        self.entry.bytes_received += self.wire.take_received();
        read.unwrap_or(Err(Cut::Gone))
    }

    /// What Ingo answers, or what the fault puts in its place.
    async fn process(
        &mut self,
        judged: &Judged,
        fault: Option<&Fault>,
        cleared: impl Future<Output = ()>,
    ) -> Answer {
        let now = self.state.clock.now();
        let replaced = fault.and_then(instead);
        if let Some(answer) = &replaced
            && !fault.is_some_and(Fault::processes)
        {
            return answer.clone();
        }
        let work = self.state.gateway.begin(judged, now);
        if let Some(fault) = fault.filter(|it| it.kind == FaultKind::Delay) {
            // The identifying value is claimed: from here on the ledger shows the request as judged, and a repeat is pending.
            self.note();
            let time = Duration::from_millis(fault.parameters.milliseconds.unwrap_or(1000));
            tokio::select! {
                () = sleep(time) => {}
                () = cleared => {}
            }
        }
        let answer = self.state.gateway.finish(work, self.state.clock.now());
        // 100 and 101; a 104 is somebody else's work, and anything else a failure.
        self.entry.processed = matches!(answer.ingo_status, Some(100 | 101));
        match (replaced, fault) {
            (Some(replaced), _) => replaced,
            (None, Some(fault)) => spoilt(answer, fault),
            (None, None) => answer,
        }
    }

    /// Writes an answer, the way the fault wants it.
    async fn answer(&mut self, answer: Answer, keep: bool, fault: Option<&Fault>) -> Next {
        self.entry.http_status = Some(answer.status);
        self.entry.ingo_status = answer.ingo_status;
        let bytes = answer.to_bytes(self.state.clock.now(), keep);
        match fault.map(|fault| (fault.kind, fault.parameters)) {
            Some((FaultKind::ResetInAnswer, parameters)) => {
                let half = bytes.len() - answer.body.len().div_ceil(2);
                // At least one byte is missing, or it would be no reset in the answer.
                let cut = parameters.bytes.unwrap_or(half).min(bytes.len() - 1);
                let (written, _failed) = self.wire.write(&bytes[..cut]).await;
                self.entry.bytes_answered = written;
                return self.reset();
            }
            Some((FaultKind::Dribble, parameters)) => {
                let pause = Duration::from_millis(parameters.milliseconds.unwrap_or(10));
                let (before, last) = bytes.split_at(bytes.len() - 1);
                for byte in before {
                    let (written, result) = self.wire.write(std::slice::from_ref(byte)).await;
                    self.entry.bytes_answered += written;
                    if result.is_err() {
                        return self.abandon();
                    }
                    sleep(pause).await;
                }
                return self.write_last(last, keep).await;
            }
            _ => {}
        }
        let next = self.write_last(&bytes, keep).await;
        match fault {
            Some(fault) if fault.kind == FaultKind::CloseIdle && next == Next::Keep => {
                Next::CloseIdle(Duration::from_millis(
                    fault.parameters.milliseconds.unwrap_or(0),
                ))
            }
            _ => next,
        }
    }

    /// Writes what is left of an answer. The entry says so first.
    async fn write_last(&mut self, bytes: &[u8], keep: bool) -> Next {
        let before = self.entry.bytes_answered;
        self.entry.bytes_answered += bytes.len() as u64;
        self.entry.ending = Ending::Answered;
        self.note();
        match timeout(WRITE_DEADLINE, self.wire.write(bytes)).await {
            Ok((_, Ok(()))) if keep => Next::Keep,
            Ok((_, Ok(()))) => Next::Close,
            Ok((written, Err(_))) => {
                self.entry.bytes_answered = before + written;
                self.abandon()
            }
            Err(_late) => {
                // How much of it was taken is not known; not all.
                self.entry.bytes_answered = before;
                self.abandon()
            }
        }
    }

    /// A request that could not be read to its end.
    async fn cut_short(&mut self, cut: &Cut) -> Next {
        // Kong's nginx answers so; what Ingo's does is not documented.
        let answer = match cut {
            Cut::Gone => return self.abandon(),
            Cut::TooLarge => Answer::kong(413, "Request entity too large"),
            Cut::Unreadable(why) => Answer::kong(400, why),
        };
        self.answer(answer, false, None).await
    }

    fn reset(&mut self) -> Next {
        self.entry.ending = Ending::Reset;
        self.note();
        Next::Reset
    }

    fn abandon(&mut self) -> Next {
        self.entry.ending = Ending::Abandoned;
        self.note();
        Next::Close
    }

    fn note(&self) {
        self.state.ledger.put(&self.entry);
    }

    fn note_head(&mut self, head: &Head) {
        let route = route(head);
        self.entry.method = Some(shown(head.method.as_bytes()));
        self.entry.target = Some(if is_authorized_url(head) {
            "/session/…".to_owned()
        } else {
            shown(&head.target)
        });
        self.entry.route = match route {
            Some(route) => Some(route.name()),
            None if is_authorized_url(head) => Some("authorized_url"),
            None => None,
        };
        self.entry.idempotency_key = head.values("idempotency-key").next().map(shown);
    }

    fn note_judgement(&mut self, judged: &Judged) {
        let findings = judged.findings.iter();
        self.entry.findings = findings.map(|finding| finding.code.as_str()).collect();
        // A GET is not signed, and so not judged.
        let signed = self.entry.method.as_deref() == Some("POST");
        self.entry.verified = signed.then_some(judged.refusal.is_none());
        self.entry.identifying_value = judged.identifying_value().map(|it| shown(it.as_bytes()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
