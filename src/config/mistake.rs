//! What is wrong with a configuration, told so that it can be put right.
//!
//! A [`Mistake`] holds a key, where it was written, and what to do. It never holds a value: what stands in the wrong
//! place may be a secret. Whoever adds a message here or elsewhere in `config` must keep to that.

use std::{error::Error, fmt};

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key as a dotted path, such as `limits.body_bytes`; empty where a whole file is meant.
    pub key: String,
    /// Where it was written: `FILE:LINE`, a flag, an environment variable, `default`; empty where it was not.
    pub origin: String,
    /// What is expected, and what to write.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), self.origin.as_str()) {
            ("", "") => f.write_str(&self.remedy),
            ("", origin) => write!(f, "{origin}: {}", self.remedy),
            (key, "") => write!(f, "{key}: {}", self.remedy),
            (key, origin) => write!(f, "{key} ({origin}): {}", self.remedy),
        }
    }
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    mistakes: Vec<Mistake>,
}

impl LoadError {
    /// Every mistake: first those of how something is written, layer by layer, then those of what it means.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => write!(f, "the configuration has 1 mistake:")?,
            n => write!(f, "the configuration has {n} mistakes:")?,
        }
        for mistake in &self.mistakes {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl Error for LoadError {}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn note(
        &mut self,
        key: impl Into<String>,
        origin: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Mistake {
            key: key.into(),
            origin: origin.into(),
            remedy: remedy.into(),
        });
    }

    /// Whether something is already known to be wrong with `key` or a section around it, so that a consequence of it
    /// need not be told as well.
    pub(super) fn concern(&self, key: &str) -> bool {
        self.0.iter().any(|mistake| {
            key.strip_prefix(&mistake.key).is_some_and(|rest| {
                !mistake.key.is_empty() && (rest.is_empty() || rest.starts_with('.'))
            })
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts those from the `first` on in the order of their keys' positions.
    pub(super) fn arrange(&mut self, first: usize, position: impl Fn(&str) -> usize) {
        if let Some(late) = self.0.get_mut(first..) {
            late.sort_by_key(|mistake| position(&mistake.key));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_error(self) -> LoadError {
        LoadError { mistakes: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_reads_key_then_origin_then_remedy() {
        let mut mistakes = Mistakes::default();
        mistakes.note("threads", "--threads", "must be 1");
        mistakes.note("environment", "", "is not set");
        mistakes.note("", "f.yaml:3", "is not valid YAML");
        assert_eq!(
            mistakes.into_error().to_string(),
            "the configuration has 3 mistakes:\n  threads (--threads): must be 1\n  environment: is not set\n  f.yaml:3: is not valid YAML"
        );
    }

    #[test]
    fn a_mistake_in_a_section_concerns_its_keys_and_no_namesakes() {
        let mut mistakes = Mistakes::default();
        mistakes.note("limits", "f.yaml:3", "must be a section");
        assert!(mistakes.concern("limits"));
        assert!(mistakes.concern("limits.body_bytes"));
        assert!(!mistakes.concern("limitsx"));
        assert!(!mistakes.concern("threads"));
    }
}
