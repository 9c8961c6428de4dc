//! The last exchanges that ended badly, for the status page: what a person at 3 a.m. wants to search the log for.
//!
//! A lock is taken only where there was a problem. Nothing here comes from a request's text.

use std::{collections::VecDeque, time::SystemTime};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{Ending, Trail};
use crate::{ingo::Route, problem::Sent};

/// So many are kept: a screenful.
const KEPT: usize = 20;

/// An exchange that the proxy answered itself, or whose signature Ingo refused.
#[derive(Clone, Debug)]
pub struct Problem {
    /// When it ended.
    pub at: SystemTime,
    /// The problem code, or else the finding of the diagnosis.
    pub code: &'static str,
    /// Whether `code` is a finding: then Ingo refused and was passed on.
    pub by_ingo: bool,
    /// The HTTP status that the caller got.
    pub status: u16,
    /// The route, once one was found.
    pub route: Option<Route>,
    /// As in the access line.
    pub exchange_id: Uuid,
    /// Whether Ingo may have received the request.
    pub sent: Sent,
    /// Attempts begun.
    pub attempts: u32,
}

/// The last problems, the latest last.
#[derive(Debug)]
pub(super) struct Problems(Mutex<VecDeque<Problem>>);

impl Problems {
    pub(super) fn new() -> Self {
        Self(Mutex::new(VecDeque::with_capacity(KEPT)))
    }

    pub(super) fn note(&self, trail: &Trail, ending: &Ending) {
        let code = match (ending.problem, trail.diagnosis) {
            (Some(code), _) => code.as_str(),
            (None, Some(finding)) => finding.as_str(),
            (None, None) => return,
        };
        let problem = Problem {
            at: SystemTime::now(),
            code,
            by_ingo: ending.problem.is_none(),
            status: ending.status,
            route: trail.route,
            exchange_id: trail.exchange_id,
            sent: trail.sent(),
            attempts: trail.attempts,
        };
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(problem);
    }

    pub(super) fn latest_first(&self) -> Vec<Problem> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        ingo::{Diagnosis, Facts},
        problem::Code,
        telemetry::Outcome,
    };

    fn ending(problem: Option<Code>) -> Ending {
        Ending {
            outcome: Outcome::Answered,
            status: problem.map_or(200, Code::status),
            problem,
            answer: Facts::default(),
            answer_bytes: 0,
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_the_latest_stands_first() {
        let problems = Problems::new();
        let mut last = Uuid::nil();
        for _ in 0..KEPT * 3 {
            let trail = Trail::begin(Instant::now());
            last = trail.exchange_id;
            problems.note(&trail, &ending(Some(Code::Overloaded)));
        }
        let kept = problems.latest_first();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].exchange_id, last);
        assert_eq!((kept[0].code, kept[0].status), ("overloaded", 503));
    }

    #[test]
    fn what_went_well_is_not_kept_and_a_refusal_of_ingos_is() {
        let problems = Problems::new();
        let mut trail = Trail::begin(Instant::now());
        problems.note(&trail, &ending(None));
        assert!(problems.latest_first().is_empty());
        trail.diagnosis = Some(Diagnosis::SignatureMismatch);
        problems.note(&trail, &ending(None));
        let kept = problems.latest_first();
        assert!(kept[0].by_ingo && kept[0].code == "signature_mismatch");
    }
}
