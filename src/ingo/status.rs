//! The `status` in the body of Ingo's answers, as far as its families are documented (protocol.md §4, "Status families").

use std::ops::RangeInclusive;

/// The documented families, and the two of Create Session (protocol.md §3).
const DOCUMENTED: [RangeInclusive<u16>; 10] = [
    100..=132,
    400..=599,
    600..=616,
    700..=742,
    750..=815,
    851..=867,
    900..=999,
    1100..=1170,
    13_400..=13_400,
    13_723..=13_723,
];

/// `text` as a status of a documented family; `None` where it is none.
pub fn documented(text: &str) -> Option<u16> {
    let code = text.parse().ok()?;
    let known = DOCUMENTED.iter().any(|family| family.contains(&code));
    // `0100` and `+100` are no statuses of Ingo's.
    (known && text.starts_with(|first: char| ('1'..='9').contains(&first))).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_of_the_documented_families_are_known() {
        for (text, code) in [("100", 100), ("402", 402), ("787", 787), ("13723", 13_723)] {
            assert_eq!(documented(text), Some(code));
        }
        for text in [
            "", "99", "133", "0100", "+100", "100.0", "13401", "70000", "success",
        ] {
            assert_eq!(documented(text), None, "{text}");
        }
    }
}
