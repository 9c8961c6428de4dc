//! `X-Date`: IMF-fixdate, the one date format that RFC 9110 §5.6.7 lets a sender write.
//!
//! Resolution is one second, fractions are cut off. Nothing here asks a clock, and nothing panics at any time.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// `Fri, 31 Dec 9999 23:59:59 GMT` in seconds: the last moment with a four-digit year.
const LAST: u64 = 253_402_300_799;

/// `at` as IMF-fixdate, such as `Fri, 17 Jan 2020 19:59:29 GMT`.
///
/// A time before 1970 becomes the first moment of 1970 and one after 9999 the last of 9999: a host's clock can be that
/// wrong, and a request with an absurd date is refused by Ingo, where a panic would take down an exchange.
pub fn imf_fixdate(at: SystemTime) -> String {
    thread_local! {
        /// What the last call on this thread made: of the requests of one second all but the first have the same date.
        static LAST_MADE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let seconds = seconds(at);
    LAST_MADE.with_borrow_mut(|(of, date)| {
        if *of != seconds {
            *date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            *of = seconds;
        }
        date.clone()
    })
}

/// Reads an IMF-fixdate, in exactly the form that [`imf_fixdate`] writes.
///
/// The obsolete forms of RFC 9110 §5.6.7 (RFC 850, asctime), surrounding space and a wrong day name are refused: `None`.
pub fn parse_imf_fixdate(text: &str) -> Option<SystemTime> {
    let at = httpdate::parse_http_date(text).ok()?;
    (httpdate::fmt_http_date(at) == text).then_some(at)
}

/// Whole seconds since 1970, within what a date can show.
pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
        .min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_the_format_is_clamped() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let after = UNIX_EPOCH + Duration::from_secs(LAST + 1);
        assert_eq!(imf_fixdate(before), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(imf_fixdate(after), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_written_date_is_read_back_and_fractions_are_cut_off() {
        let at = UNIX_EPOCH + Duration::from_millis(1_579_291_169_999);
        let text = imf_fixdate(at);
        assert_eq!(text, "Fri, 17 Jan 2020 19:59:29 GMT");
        assert_eq!(
            parse_imf_fixdate(&text),
            Some(UNIX_EPOCH + Duration::from_secs(1_579_291_169))
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "Friday, 17-Jan-20 19:59:29 GMT",
            "Fri Jan 17 19:59:29 2020",
            "Thu, 17 Jan 2020 19:59:29 GMT",
            "Fri, 17 Jan 2020 19:59:29 UTC",
            "Fri, 17 Jan 2020 19:59:29 +0000",
            " Fri, 17 Jan 2020 19:59:29 GMT",
            "2020-01-17T19:59:29Z",
            "Fri, 7 Jan 2020 19:59:29 GMT",
        ] {
            assert_eq!(parse_imf_fixdate(text), None, "{text}");
        }
    }
}
