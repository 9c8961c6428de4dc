//! Numbers as people read them.

use std::time::{Duration, SystemTime};

use crate::{
    moment::rfc3339,
    telemetry::{Quantile, Spread},
};

/// Keeps a number and its unit on one line.
const NBSP: char = '\u{a0}';
/// Where there is nothing to tell.
pub(super) const NONE: &str = "–";

/// Three digits and a unit: `870 µs`, `1.24 ms`, `62 s`.
pub(super) fn seconds(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 0.000_999_5 => (s * 1e6, "µs"),
        s if s < 0.999_5 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{}{NBSP}{unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A number without the zeros behind its point, for the ends of scales.
pub(super) fn round(text: &str) -> String {
    let (number, unit) = match text.find(NBSP) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let short = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{short}{unit}")
}

/// A quantile of seconds, or a dash.
pub(super) fn quantile(spread: &Spread, q: f64) -> String {
    match spread.quantile(q) {
        Some(Quantile::About(value)) => seconds(value),
        Some(Quantile::Beyond(bound)) => format!("over{NBSP}{}", seconds(bound)),
        None => NONE.to_owned(),
    }
}

/// Per second: `0`, `0.05`, `8.2`, `124`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        r if r <= 0.0 => "0".to_owned(),
        r if r < 0.01 => "<\u{202f}0.01".to_owned(),
        r if r < 1.0 => format!("{r:.2}"),
        r if r < 99.95 => format!("{r:.1}"),
        r => count(r.round() as u64),
    }
}

/// A part of a whole in per cent.
pub(super) fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return NONE.to_owned();
    }
    match 100.0 * part / whole {
        p if p <= 0.0 => format!("0{NBSP}%"),
        p if p < 0.1 => format!("<\u{202f}0.1{NBSP}%"),
        // What is nearly all is not all.
        p if p < 9.95 || (99.0..99.95).contains(&p) => format!("{p:.1}{NBSP}%"),
        p => format!("{p:.0}{NBSP}%"),
    }
}

/// A whole number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a binary unit.
pub(super) fn bytes(number: usize) -> String {
    let units = ["KiB", "MiB", "GiB"];
    let mut value = number as f64;
    if value < 1024.0 {
        return format!("{number}{NBSP}B");
    }
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let digits = usize::from(value < 99.95 && value.fract() != 0.0);
    format!("{value:.digits$}{NBSP}{unit}")
}

/// How long, in its two largest units.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, smaller: &str| {
        if small == 0 {
            format!("{large}{NBSP}{unit}")
        } else {
            format!("{large}{NBSP}{unit} {small}{NBSP}{smaller}")
        }
    };
    match seconds {
        0..60 => format!("{seconds}{NBSP}s"),
        60..3_600 => two(minutes, "min", seconds % 60, "s"),
        3_600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// A moment for machines, in UTC.
pub(super) fn stamp(at: SystemTime) -> String {
    rfc3339(at)
}

/// A moment for people: `2026-11-20 10:38:42`, in UTC.
pub(super) fn moment(at: SystemTime) -> String {
    let mut text = rfc3339(at).replace('T', " ");
    text.truncate("2026-11-20 10:38:42".len());
    text
}

/// A noun in the singular or plural.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace([NBSP, '\u{202f}'], " ")
    }

    #[test]
    fn a_time_has_three_digits_and_a_unit() {
        for (value, text) in [
            (0.0, "0.00 µs"),
            (0.000_012_34, "12.3 µs"),
            (0.000_999_7, "1.00 ms"),
            (0.012_345, "12.3 ms"),
            (0.999_9, "1.00 s"),
            (62.4, "62.4 s"),
            (600.0, "600 s"),
        ] {
            assert_eq!(plain(&seconds(value)), text);
        }
    }

    #[test]
    fn the_end_of_a_scale_is_told_without_zeros() {
        for (value, text) in [(10.0, "10 s"), (0.1, "100 ms"), (0.000_5, "500 µs")] {
            assert_eq!(plain(&round(&seconds(value))), text);
        }
        assert_eq!([20.0, 0.05].map(|r| round(&rate(r))), ["20", "0.05"]);
    }

    #[test]
    fn rates_shares_and_counts_are_short() {
        assert_eq!(
            [0.0, 0.001, 0.05, 8.24, 1234.6].map(|r| plain(&rate(r))),
            ["0", "< 0.01", "0.05", "8.2", "1 235"]
        );
        assert_eq!(
            [
                (0.0, 0.0),
                (0.0, 1.0),
                (0.0001, 1.0),
                (0.012, 1.0),
                (0.996, 1.0),
                (1.0, 1.0)
            ]
            .map(|(part, whole)| plain(&share(part, whole))),
            ["–", "0 %", "< 0.1 %", "1.2 %", "99.6 %", "100 %"]
        );
        assert_eq!(
            [7, 999, 1_000, 1_234_567].map(|n| plain(&count(n))),
            ["7", "999", "1 000", "1 234 567"]
        );
        assert_eq!(counted(1, "warning", "warnings"), "1 warning");
    }

    #[test]
    fn bytes_and_ages_have_the_unit_that_fits() {
        assert_eq!(
            [0, 1023, 1024, 1536, 64 << 20, 5 << 30].map(|n| plain(&bytes(n))),
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "64 MiB", "5 GiB"]
        );
        assert_eq!(
            [0, 61, 120, 3_600, 7_380, 90_000, 172_800]
                .map(|s| plain(&age(Duration::from_secs(s)))),
            [
                "0 s",
                "1 min 1 s",
                "2 min",
                "1 h",
                "2 h 3 min",
                "1 d 1 h",
                "2 d"
            ]
        );
    }

    #[test]
    fn a_moment_is_told_in_utc_without_fractions() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_579_291_169_042);
        assert_eq!(moment(at), "2020-01-17 19:59:29");
        assert_eq!(stamp(at), "2020-01-17T19:59:29.042Z");
    }
}
