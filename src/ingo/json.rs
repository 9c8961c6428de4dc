//! Reading JSON that belongs to others: whether it is some, and the members of an object that somebody asks for, without building a
//! tree and, where it is usual, in one pass.
//!
//! Values are kept as they are written. So a number that no type holds and a lone surrogate, which are grammatical (RFC 8259 §8.2),
//! end no reading and hide nothing that stands behind them.

#[cfg(test)]
mod properties;
mod skim;

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::skim::is_plain;
use self::skim::skim;

/// A body that is not JSON (RFC 8259).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// Where reading stopped: an offset from the body's start, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a body that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing in it.
    Empty,
    /// It begins with a byte order mark, which RFC 8259 §8.1 forbids to send.
    ByteOrderMark,
    /// It is not UTF-8 (RFC 8259 §8.1).
    NotUtf8,
    /// It ends before its value does.
    Truncated,
    /// It breaks the grammar.
    Syntax,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Empty => f.write_str("the body is empty"),
            Reason::ByteOrderMark => {
                f.write_str("the body begins with a byte order mark at byte 0; send it without")
            }
            Reason::NotUtf8 => write!(f, "the body is not UTF-8 at byte {}", self.offset),
            Reason::Truncated => write!(
                f,
                "the body ends at byte {} before its JSON value does",
                self.offset
            ),
            Reason::Syntax => write!(f, "the body is not JSON at byte {}", self.offset),
        }
    }
}

/// Checks that `body` is one JSON value and nothing else.
///
/// # Errors
/// [`NotJson`], with the offset where reading stopped and never what stands there.
pub fn check_json(body: &[u8]) -> Result<(), NotJson> {
    let not = |offset, reason| Err(NotJson { offset, reason });
    if body.iter().all(u8::is_ascii_whitespace) {
        return not(body.len(), Reason::Empty);
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return not(0, Reason::ByteOrderMark);
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return not(error.valid_up_to(), Reason::NotUtf8),
    };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) if error.is_eof() => not(body.len(), Reason::Truncated),
        Err(error) => {
            let stopped = offset(body, error.line(), error.column());
            if stopped + 1 == body.len() && ends_in_a_number_cut_short(text) {
                return not(body.len(), Reason::Truncated);
            }
            not(culprit(body, stopped, &error.to_string()), Reason::Syntax)
        }
    }
}

/// Whether one more digit would make a number of what `text` ends with and is none: a sign, a point or the like. The parser says of it
/// that it is wrong, not that it ends.
fn ends_in_a_number_cut_short(text: &str) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let number = &text[text.trim_end_matches(of_number).len()..];
    let is_number = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    !number.is_empty() && !is_number(number) && is_number(&format!("{number}0"))
}

/// The byte that is wrong where the parser, for the reason that `told` gives, stopped at another: within a string it stops
/// before a control character, and at the last digit of an escape whichever is wrong.
fn culprit(body: &[u8], stopped: usize, told: &str) -> usize {
    if told.starts_with("control character") {
        return stopped + 1;
    }
    let escape = stopped.saturating_sub(5);
    let digits = match body[escape..].strip_prefix(b"\\u") {
        Some(digits) if told.starts_with("invalid escape") => digits,
        _ => return stopped,
    };
    // After another one, a backslash begins no escape.
    let backslashes = body[..=escape].iter().rev().take_while(|b| **b == b'\\');
    let wrong = digits.iter().position(|b| !b.is_ascii_hexdigit());
    match wrong {
        Some(wrong) if backslashes.count() % 2 == 1 => escape + 2 + wrong,
        _ => stopped,
    }
}

/// The byte that a parser's line and column (both from 1, columns in bytes) point at.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line {
        0 | 1 => 0,
        _ => body
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(line - 2)
            .map_or(0, |(at, _)| at + 1),
    };
    // Column 0 is that of the line feed before.
    (line_start + column).saturating_sub(1).min(body.len())
}

/// Members of an object, in their order, repeated ones included: names without escapes, values as they are written.
///
/// Of a body that is nothing but wanted members they take a few times its size: to be dropped before anything is waited for.
#[derive(Debug, Default)]
pub struct Members<'a> {
    /// Whether there is an object that they are of.
    pub(crate) are_of_an_object: bool,
    found: Vec<(Cow<'a, [u8]>, &'a str)>,
}

impl<'a> Members<'a> {
    /// Those members of a body, which must be JSON, that are `wanted`; none where it is JSON and no object.
    ///
    /// # Errors
    /// As [`check_json`].
    pub fn of_json(body: &'a [u8], wanted: impl Fn(&[u8]) -> bool) -> Result<Self, NotJson> {
        let text = str::from_utf8(body).unwrap_or_default();
        if let Some(members) = skim(text, &wanted) {
            return Ok(members);
        }
        check_json(body)?;
        let reader = serde_json::Deserializer::from_str(text);
        Ok(Self::walked(body, reader, wanted))
    }

    /// Those members of a body that are `wanted`, as far as it is JSON: an answer that is cut short still names its status.
    pub fn as_far_as_it_is_json(body: &'a [u8], wanted: impl Fn(&[u8]) -> bool) -> Self {
        // A byte order mark is none of JSON's, and hides nothing.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Ok(text) = std::str::from_utf8(body) {
            return Self::of_value(text, wanted);
        }
        let reader = serde_json::Deserializer::from_slice(body);
        Self::walked(body, reader, wanted)
    }

    /// Those members of a value that are `wanted`; none where it is no object.
    pub fn of_value(json: &'a str, wanted: impl Fn(&[u8]) -> bool) -> Self {
        skim(json, &wanted).unwrap_or_else(|| {
            let reader = serde_json::Deserializer::from_str(json);
            Self::walked(json.as_bytes(), reader, wanted)
        })
    }

    /// Those of `body`, which is what `reader` reads.
    fn walked<R: serde_json::de::Read<'a>>(
        body: &[u8],
        mut reader: serde_json::Deserializer<R>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut members = Self::default();
        let _fault = members.walk(body, &mut reader, wanted);
        members
    }

    /// Each member's name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &'a str)> {
        self.found.iter().map(|(name, json)| (&**name, *json))
    }

    fn walk<D: Deserializer<'a>>(
        &mut self,
        body: &[u8],
        json: D,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), D::Error> {
        if body.trim_ascii_start().starts_with(b"{") {
            self.are_of_an_object = true;
            let found = &mut self.found;
            let walked = json.deserialize_map(Walk { found, wanted });
            self.found.pop_if(|(_, value)| {
                // Where a body is cut short, it may have had more digits: 110 of a 1100 is a success that was none.
                let value = value.as_bytes();
                value.last().is_some_and(u8::is_ascii_digit)
                    && value.as_ptr_range().end == body.as_ptr_range().end
            });
            walked
        } else {
            IgnoredAny::deserialize(json).map(|IgnoredAny| ())
        }
    }
}

struct Walk<'f, 'a, W> {
    found: &'f mut Vec<(Cow<'a, [u8]>, &'a str)>,
    wanted: W,
}

impl<'a, W: Fn(&[u8]) -> bool> Visitor<'a> for Walk<'_, 'a, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            if (self.wanted)(&name) {
                self.found
                    .push((name, map.next_value::<&RawValue>()?.get()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A member's name as bytes: a lone surrogate in a name is grammatical and must not end the reading.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// The text of a string that is given as JSON; `None` where it is no string or, by a lone surrogate, no text.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok();
    }
    Some(Cow::Borrowed(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> (usize, Reason) {
        let not = check_json(body).expect_err("this is no JSON");
        (not.offset, not.reason)
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_offset_where_reading_stopped() {
        assert_eq!(refused(b""), (0, Reason::Empty));
        assert_eq!(refused(b" \r\n"), (3, Reason::Empty));
        assert_eq!(refused(b"\xef\xbb\xbf{}"), (0, Reason::ByteOrderMark));
        assert_eq!(refused(b"{\"a\":\"\xff\"}"), (6, Reason::NotUtf8));
        assert_eq!(refused(b"{\"a\":"), (5, Reason::Truncated));
        for cut in ["[-", "[1.", "[-0e", "[1.5E+", "{\"a\":"] {
            assert_eq!(refused(cut.as_bytes()), (cut.len(), Reason::Truncated));
        }
        assert_eq!(refused(b"[x, -"), (1, Reason::Syntax));
        for wrong in ["[--", "[01", "[1.e", "[-e", "[1e+-"] {
            assert_eq!(refused(wrong.as_bytes()), (wrong.len() - 1, Reason::Syntax));
        }
        assert_eq!(refused(b"{\"a\":tru}"), (8, Reason::Syntax));
        assert_eq!(refused(b"{}{}"), (2, Reason::Syntax));
        assert_eq!(refused(b"{\n  \"a\": 1,\n  b: 2}"), (14, Reason::Syntax));
        assert_eq!(refused(b"a=1&b=2"), (0, Reason::Syntax));
        assert_eq!(refused(b"NaN"), (0, Reason::Syntax));
        assert_eq!(refused(b"{\"a\nb\":1}"), (3, Reason::Syntax));
        // Each body's mark stands before the byte that is wrong.
        for marked in [
            "{\"name\":\"aaaa^\nbbbb\"}",
            "{\"name\":\"^\n\"}",
            "{\n\"name\":\"a^\tb\"}",
            "{\"name\":\"é^\u{1}\"}",
            "{\"a\":\"\\u12^G4\"}",
            "{\"a\":\"\\u^\n234\"}",
            "{\"a\":\"\\u123^\n\"}",
            "{\"a\":\"c:\\u^sers\"}",
            "{\"a\":\"c:\\\\\\u^sers\"}",
            "{\"a\":\"c:\\^xemp\"}",
            "{\"a\":\"\\\\u12\\^xemp\"}",
            "{\"a\":tru^\n}",
            "{\"a\"^\"\n\"}",
        ] {
            let offset = marked.find('^').expect("a mark");
            let body = marked.replace('^', "");
            assert_eq!(
                refused(body.as_bytes()),
                (offset, Reason::Syntax),
                "{marked}"
            );
        }
    }

    #[test]
    fn every_json_value_is_accepted_however_deep_large_or_odd() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for body in [
            b"{}".as_slice(),
            b"[]",
            b"\"text\"",
            b" 1e999999 ",
            b"{\"a\":1,\"a\":2}",
            b"{\"\\ud800\":\"\\ud800\"}",
            &deep,
        ] {
            assert_eq!(check_json(body), Ok(()));
        }
    }

    #[test]
    fn members_are_those_that_are_wanted_in_their_order_as_they_are_written() {
        let body = r#" {"a": 1e999, "b":{"a":2}, "\u0061":"\ud800", "c" : [1] } "#;
        let members = Members::of_json(body.as_bytes(), |name| name != b"b").expect("it is JSON");
        let found: Vec<_> = members.iter().collect();
        let expected: [(&[u8], _); 3] = [(b"a", "1e999"), (b"a", r#""\ud800""#), (b"c", "[1]")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_number_that_is_cut_short_is_none() {
        for (body, found) in [
            (r#"{"a":"x","status":1"#, &["\"x\""][..]),
            (r#"{"a":"x","status":10.5"#, &["\"x\""]),
            (r#"{"a":1,"b":[1"#, &["1"]),
            (r#"{"a":1 "#, &["1"]),
            (r#"{"a":"1""#, &["\"1\""]),
            (r#"{"a":1}"#, &["1"]),
        ] {
            let members = Members::as_far_as_it_is_json(body.as_bytes(), |_| true);
            let values: Vec<_> = members.iter().map(|(_, json)| json).collect();
            assert_eq!(values, found, "{body}");
        }
    }

    #[test]
    fn the_text_of_a_string_is_what_it_says() {
        assert_eq!(text(r#""a\u00e9\"""#).as_deref(), Some("aé\""));
        assert_eq!(text("\"é\"").as_deref(), Some("é"));
        for none in ["1", "null", r#""\ud800""#, "\"", ""] {
            assert_eq!(text(none), None, "{none}");
        }
    }
}
