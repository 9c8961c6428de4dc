//! What `doctor` found, as lines for people and as JSON for machines.
//!
//! A step holds no secret, no body and nothing of an answer but its status.

use std::fmt;

use serde_json::{Value, json};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at: a word of the documentation.
    pub step: &'static str,
    /// The upstream's URL, if it was one's.
    pub upstream: Option<String>,
    /// Whether it is well; `None`: it could not or need not be looked at.
    pub ok: Option<bool>,
    /// What was found.
    pub detail: String,
    /// What to do, where it is not well.
    pub remedy: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Step {
    pub(super) fn well(step: &'static str, detail: impl Into<String>) -> Self {
        Self::new(step, Some(true), detail, None)
    }

    pub(super) fn skipped(step: &'static str, detail: impl Into<String>) -> Self {
        Self::new(step, None, detail, None)
    }

    pub(super) fn wrong(
        step: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(step, Some(false), detail, Some(remedy.into()))
    }

    pub(super) fn at(mut self, upstream: &str) -> Self {
        self.upstream = Some(upstream.to_owned());
        self
    }

    fn new(
        step: &'static str,
        ok: Option<bool>,
        detail: impl Into<String>,
        remedy: Option<String>,
    ) -> Self {
        Self {
            step,
            upstream: None,
            ok,
            detail: detail.into(),
            remedy,
        }
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.steps.iter().all(|step| step.ok != Some(false))
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            json!({
                "step": step.step,
                "upstream": step.upstream,
                "ok": step.ok,
                "detail": step.detail,
                "remedy": step.remedy,
            })
        });
        json!({ "healthy": self.is_healthy(), "steps": steps.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The longest name of a step.
        const WIDTH: usize = 14;
        let mut upstream = None;
        for step in &self.steps {
            if step.upstream != upstream {
                upstream.clone_from(&step.upstream);
                writeln!(f, "\n{}", upstream.as_deref().unwrap_or_default())?;
            }
            let mark = match step.ok {
                Some(true) => '✓',
                Some(false) => '✗',
                None => '–',
            };
            writeln!(f, "{mark} {:WIDTH$} {}", step.step, step.detail)?;
            if let Some(remedy) = &step.remedy {
                writeln!(f, "  {:WIDTH$} → {remedy}", "")?;
            }
        }
        let wrong = self.steps.iter().filter(|s| s.ok == Some(false)).count();
        match wrong {
            0 => writeln!(f, "\nnothing is wrong"),
            1 => writeln!(f, "\n1 thing is wrong"),
            n => writeln!(f, "\n{n} things are wrong"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_step_is_neither_well_nor_wrong() {
        let mut report = Report {
            steps: vec![
                Step::well("secret", "there"),
                Step::skipped("tls", "not reached"),
            ],
        };
        assert!(report.is_healthy());
        assert_eq!(report.to_json()["steps"][1]["ok"], Value::Null);
        report
            .steps
            .push(Step::wrong("clock", "off", "set it").at("https://a"));
        assert!(!report.is_healthy());
        let expected = "✓ secret         there\n– tls            not reached\n\nhttps://a\n✗ clock          off\n                 → set it\n\n1 thing is wrong\n";
        assert_eq!(report.to_string(), expected);
    }
}
