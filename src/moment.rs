//! A moment as RFC 3339 text, in UTC with milliseconds: `2020-01-17T19:59:29.042Z`.
//!
//! The texts have one width, so that they sort as the moments do. Nothing here asks a clock, and nothing panics at any time.

use std::time::{SystemTime, UNIX_EPOCH};

/// `9999-12-31T23:59:59.999Z`: the last moment with a four-digit year, in milliseconds.
const LAST: u128 = 253_402_300_799_999;
const DAY: u64 = 86_400_000;

/// `at` as text. A time before 1970 becomes the first moment of 1970 and one after 9999 the last of 9999.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis().min(LAST)).unwrap_or(0);
    let (year, month, day) = date(millis / DAY);
    let of_day = millis % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}

/// The date of a day counted from 1970-01-01, after Howard Hinnant's `civil_from_days`: years are counted from March, so
/// that the leap day is a year's last.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01, in eras of 400 years with 146,097 days each.
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(millis: u64) -> String {
        rfc3339(UNIX_EPOCH + Duration::from_millis(millis))
    }

    #[test]
    fn moments_are_what_the_command_date_says_they_are() {
        // date -u -d @<seconds> +%FT%TZ
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.042Z"),
            (951_782_399, "2000-02-28T23:59:59.042Z"),
            (951_782_400, "2000-02-29T00:00:00.042Z"),
            (951_868_800, "2000-03-01T00:00:00.042Z"),
            (1_579_291_169, "2020-01-17T19:59:29.042Z"),
            (4_107_542_400, "2100-03-01T00:00:00.042Z"),
            (253_402_300_799, "9999-12-31T23:59:59.042Z"),
        ] {
            assert_eq!(text(seconds * 1_000 + 42), expected);
        }
    }

    #[test]
    fn every_day_has_the_date_that_http_dates_give_it() {
        for day in 0..80_000 {
            let at = UNIX_EPOCH + Duration::from_millis(day * DAY);
            // "Fri, 17 Jan 2020 19:59:29 GMT"
            let http = httpdate::fmt_http_date(at);
            let date = rfc3339(at);
            assert_eq!(date[8..10], http[5..7], "{date} {http}");
            assert_eq!(date[..4], http[12..16], "{date} {http}");
        }
    }

    #[test]
    fn a_time_outside_the_format_is_clamped() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let after = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        assert_eq!(rfc3339(before), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(after), "9999-12-31T23:59:59.999Z");
    }
}
