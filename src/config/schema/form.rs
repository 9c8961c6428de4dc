//! What a value may look like: said once, for the readers of sections, the reference and the JSON Schema.
//!
//! A form holds no value. What must fit together with other keys is not said here.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::quantity::show_duration;

/// The look of a value, or of an item in a list.
pub(in crate::config) enum Form {
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number.
    Count(RangeInclusive<usize>),
    /// A decimal number.
    Number(RangeInclusive<f64>),
    /// A time, such as `100ms`.
    Time(RangeInclusive<Duration>),
    /// A number of bytes, or of KiB or MiB.
    Size(RangeInclusive<u64>),
    /// The path of a file.
    File,
    /// Something else: in words, and as far as a regular expression can say it (ECMA-262, as JSON Schema has it).
    Text(&'static str, &'static str),
}

impl Form {
    /// What is told of it beside its meaning.
    pub(in crate::config) fn shown(&self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Word(words) => either(words),
            Self::Count(bounds) => format!("{} to {}", bounds.start(), bounds.end()),
            Self::Number(bounds) => format!("{} to {}", bounds.start(), bounds.end()),
            Self::Time(bounds) => format!(
                "{} to {}",
                show_duration(*bounds.start()),
                show_duration(*bounds.end())
            ),
            Self::Size(bounds) => {
                format!(
                    "{} to {}",
                    show_size(*bounds.start()),
                    show_size(*bounds.end())
                )
            }
            Self::File => "the path of a file".to_owned(),
            Self::Text(description, _) => (*description).to_owned(),
        }
    }
}

/// The words as one says them: `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => words.concat(),
    }
}

/// Bytes as they would be written in a file.
fn show_size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{}MiB", bytes / MIB)
    } else if bytes >= KIB && bytes.is_multiple_of(KIB) {
        format!("{}KiB", bytes / KIB)
    } else {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_shown_as_they_would_be_written() {
        assert_eq!(Form::Size(1..=16 << 20).shown(), "1 to 16MiB");
        assert_eq!(Form::Size(1024..=256 << 10).shown(), "1KiB to 256KiB");
        assert_eq!(Form::Number(0.000_001..=600.0).shown(), "0.000001 to 600");
        let time = Form::Time(Duration::from_millis(10)..=Duration::from_secs(600));
        assert_eq!(time.shown(), "10ms to 10m");
    }

    #[test]
    fn words_are_told_with_an_or_before_the_last() {
        assert_eq!(Form::Word(&["off"]).shown(), "off");
        assert_eq!(
            Form::Word(&["off", "warn", "enforce"]).shown(),
            "off, warn or enforce"
        );
    }
}
