//! Durations, sizes, counts and booleans as people write them.
//!
//! Each function takes text and bounds and gives a value, or says what is expected without repeating the text.
//! Whole arithmetic only: no floating point decides a time-out.

use std::{ops::RangeInclusive, time::Duration};

/// What is expected in place of what was written. Never holds a value.
pub(super) type Expected = String;

/// A duration such as `10s`, `100ms`, `1.5s`, `1m`; a bare number means seconds.
pub(super) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, Expected> {
    parse_duration(text)
        .filter(|duration| bounds.contains(duration))
        .ok_or_else(|| {
            format!(
                "must be a duration from {} to {}; write it such as 100ms, 10s or 1m",
                show_duration(*bounds.start()),
                show_duration(*bounds.end())
            )
        })
}

/// A number of bytes, or of KiB or MiB such as `64KiB`.
pub(super) fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<usize, Expected> {
    let (number, unit) = if let Some(kibibytes) = text.strip_suffix("KiB") {
        (kibibytes, 1 << 10)
    } else if let Some(mebibytes) = text.strip_suffix("MiB") {
        (mebibytes, 1 << 20)
    } else {
        (text, 1)
    };
    whole(number, unit)
        .filter(|bytes| bounds.contains(bytes))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| {
            format!(
                "must be between {} and {} bytes; write a whole number of bytes, or KiB/MiB such as 1MiB",
                bounds.start(),
                bounds.end()
            )
        })
}

/// A whole number.
pub(super) fn count(text: &str, bounds: RangeInclusive<usize>) -> Result<usize, Expected> {
    whole(text, 1)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| bounds.contains(n))
        .ok_or_else(|| {
            format!(
                "must be a whole number from {} to {}",
                bounds.start(),
                bounds.end()
            )
        })
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, Expected> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// `duration` as it would be written in a file.
pub(super) fn show_duration(duration: Duration) -> String {
    /// Up to two minutes people think in seconds.
    const SECONDS_UP_TO: u128 = 120_000;
    let millis = duration.as_millis();
    if millis == 0 {
        "0s".to_owned()
    } else if !millis.is_multiple_of(1_000) {
        format!("{millis}ms")
    } else if !millis.is_multiple_of(60_000) || millis <= SECONDS_UP_TO {
        format!("{}s", millis / 1_000)
    } else {
        format!("{}m", millis / 60_000)
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let nanos_per_unit: u64 = match unit {
        "ms" => 1_000_000,
        "s" | "" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return None,
    };
    let (integer, fraction) = match number.split_once('.') {
        Some((integer, fraction)) if !fraction.is_empty() && fraction.len() <= 3 => {
            (integer, fraction)
        }
        Some(_) => return None,
        None => (number, ""),
    };
    let mut nanos = whole(integer, nanos_per_unit)?;
    if !fraction.is_empty() {
        let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
        nanos = nanos.checked_add(whole(fraction, nanos_per_unit / scale)?)?;
    }
    Some(Duration::from_nanos(nanos))
}

/// Digits, and nothing but digits, times `unit`.
fn whole(text: &str, unit: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| text.parse().ok())??;
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, millis) in [
            ("10s", 10_000),
            ("100ms", 100),
            ("1m", 60_000),
            ("1.5s", 1_500),
            ("1.25m", 75_000),
            ("0", 0),
            ("0s", 0),
            ("7", 7_000),
            ("0.001", 1),
            ("0010s", 10_000),
        ] {
            let expected = Some(Duration::from_millis(millis));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "ms",
            "-1s",
            "+1s",
            "1 s",
            " 1s",
            "1s ",
            "1h",
            "1S",
            "1.s",
            ".5s",
            "1..5s",
            "1.5.5s",
            "1e3",
            "1.0000s",
            "99999999999999999999s",
            "18446744073709551615m",
            "١s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_whole_bytes_kib_or_mib() {
        let any = 0..=u64::MAX;
        for (text, bytes) in [("0", 0), ("17", 17), ("64KiB", 65_536), ("1MiB", 1_048_576)] {
            assert_eq!(size(text, any.clone()), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1.5MiB",
            "1MB",
            "1M",
            "1 MiB",
            "-1",
            "0x10",
            "18446744073709551615KiB",
        ] {
            assert!(size(text, any.clone()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bounds_are_told_and_the_text_is_not() {
        let error = size("987654321", 1..=16_777_216).expect_err("too large");
        assert_eq!(
            error,
            "must be between 1 and 16777216 bytes; write a whole number of bytes, or KiB/MiB such as 1MiB"
        );
        let bounds = Duration::from_millis(10)..=Duration::from_secs(60);
        let error = duration("61.5s", bounds).expect_err("too long");
        assert_eq!(
            error,
            "must be a duration from 10ms to 60s; write it such as 100ms, 10s or 1m"
        );
        assert_eq!(
            count("987", 1..=64),
            Err("must be a whole number from 1 to 64".to_owned())
        );
        assert!(boolean("yes").is_err() && boolean("True").is_err());
    }

    #[test]
    fn a_shown_duration_reads_back_as_itself() {
        for millis in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 95_000, 3_600_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
