//! Moments in Ingo's answers.

use std::time::{Duration, SystemTime};

/// A moment as RFC 3339 has it, or without its offset: the names of Ingo's members say that it is UTC. Fractions of a second are
/// dropped.
pub(super) fn utc(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_at_checked("YYYY-MM-DD".len())?;
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let zone = time.bytes().position(|b| b"Zz+-".contains(&b));
    let (time, zone) = time.split_at(zone.unwrap_or(time.len()));
    let (time, fraction) = time.split_at_checked("hh:mm:ss".len())?;
    let [hour, minute, second] = numbers(time, b':', [2, 2, 2])?;
    let fraction_fits = match fraction.strip_prefix('.') {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
        None => fraction.is_empty(),
    };
    let well = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second (RFC 3339 §5.6) is the next minute's first.
        && second <= 60
        && fraction_fits;
    if !well {
        return None;
    }
    let of_day = (hour * 60 + minute) * 60 + second;
    let seconds = days_since_1970(year, month, day) * 86_400 + of_day - offset(zone)?;
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.as_bytes().first() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (zone.len() == 1).then_some(0),
        Some(b'+') => (1, &zone[1..]),
        Some(_) => (-1, &zone[1..]),
    };
    let [hours, minutes] = numbers(rest, b':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Numbers of so many digits each, between `separator`s.
fn numbers<const N: usize>(text: &str, separator: u8, digits: [usize; N]) -> Option<[i64; N]> {
    let mut rest = text.as_bytes();
    let mut read = [0; N];
    for (index, digits) in digits.into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(&[separator])?;
        }
        let (part, after) = rest.split_at_checked(digits)?;
        for byte in part {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            read[index] = 10 * read[index] + digit;
        }
        rest = after;
    }
    rest.is_empty().then_some(read)
}

/// After Howard Hinnant's `days_from_civil`: years are counted from March, so that the leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let since = utc(text)?.duration_since(SystemTime::UNIX_EPOCH);
        since.ok().map(|since| since.as_secs())
    }

    #[test]
    fn a_moment_is_read_with_and_without_its_offset() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-20T13:50:00", 1_795_182_600),
            ("2026-11-20T13:50:00.1234567Z", 1_795_182_600),
            ("2026-11-20T15:20:00+01:30", 1_795_182_600),
            ("2026-11-20 08:50:00-05:00", 1_795_182_600),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "soon",
            "2026-11-20",
            "2026-13-20T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "26-11-20T00:00:00Z",
            "2026-11-20T00:00Z",
            "2026-11-20T00:00:00.Z",
            "2026-11-20T00:00:00ZZ",
            "2026-11-20T00:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "2026-11-20T00:00:00Zé",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    #[test]
    fn every_date_that_http_has_is_the_same_day_here() {
        for days in (0..60_000_u64).step_by(17) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
            let imf = httpdate::fmt_http_date(at);
            // `Fri, 20 Nov 2026 13:50:00 GMT`
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = months.find(&imf[8..11]).expect("a month") / 3 + 1;
            let text = format!("{}-{month:02}-{}T00:00:00Z", &imf[12..16], &imf[5..7]);
            assert_eq!(utc(&text), Some(at), "{text}");
        }
    }
}
