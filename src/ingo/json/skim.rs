//! The usual JSON, skimmed: which members an object has, and that all of it is JSON.
//!
//! A parser for the usual only. What is seldom (levels without end, names with escapes) it leaves to `serde_json` as it does what is
//! wrong, and so it never says what is wrong or where. What it accepts is JSON (RFC 8259): properties hold it against `serde_json`.
//!
//! `serde_json` looks at eight bytes of a string at a time, and takes twice as long for a body of 64 KiB: a twentieth of its exchange.
//! What is left to it was read here in vain, and is read by it twice: once to know that it is JSON.

use super::Members;

/// Levels of objects and arrays that are still usual.
const LEVELS: u8 = 32;

/// The members of `json` that are `wanted`, none where it is no object. `None` where it is not the usual JSON, or none.
pub(super) fn skim(json: &str, wanted: impl Fn(&[u8]) -> bool) -> Option<Members<'_>> {
    let mut members = Members::default();
    let mut rest = Rest(json.as_bytes());
    rest.pass_whitespace();
    if rest.takes(b'{') {
        members.are_of_an_object = true;
        rest.pass_members(LEVELS, |name, length, behind| {
            if wanted(name) {
                let end = json.len() - behind;
                members
                    .found
                    .push((name.into(), json.get(end - length..end)?));
            }
            Some(())
        })?;
    } else {
        rest.pass_value(LEVELS)?;
    }
    rest.pass_whitespace();
    rest.0.is_empty().then_some(members)
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Passes `wanted`, if it is next.
    fn takes(&mut self, wanted: u8) -> bool {
        let is_next = self.0.first() == Some(&wanted);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn pass(&mut self, wanted: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    fn pass_whitespace(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn pass_value(&mut self, levels: u8) -> Option<()> {
        match self.byte()? {
            b'"' => self.pass_string(),
            b'{' => self.pass_members(levels, |_, _, _| Some(())),
            b'[' => self.pass_elements(levels),
            b't' => self.pass(b"rue"),
            b'f' => self.pass(b"alse"),
            b'n' => self.pass(b"ull"),
            b'-' => {
                let first = self.byte()?;
                self.pass_number(first)
            }
            first => self.pass_number(first),
        }
    }

    /// Behind `{`: all until its `}`. Of each member `each` is told the name, how long its value is, and how much stands behind that.
    fn pass_members(
        &mut self,
        levels: u8,
        mut each: impl FnMut(&'a [u8], usize, usize) -> Option<()>,
    ) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        self.pass_whitespace();
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            self.pass(b"\"")?;
            let name = self.pass_plain();
            // One with escapes is not usual.
            self.pass(b"\"")?;
            self.pass_whitespace();
            self.pass(b":")?;
            self.pass_whitespace();
            let before = self.0.len();
            self.pass_value(levels)?;
            each(name, before - self.0.len(), self.0.len())?;
            self.pass_whitespace();
            match self.byte()? {
                b',' => self.pass_whitespace(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Behind `[`: all until its `]`.
    fn pass_elements(&mut self, levels: u8) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        self.pass_whitespace();
        if self.takes(b']') {
            return Some(());
        }
        loop {
            self.pass_value(levels)?;
            self.pass_whitespace();
            match self.byte()? {
                b',' => self.pass_whitespace(),
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Behind `"`: all until the one that ends it.
    fn pass_string(&mut self) -> Option<()> {
        loop {
            let _plain = self.pass_plain();
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => self.pass_escaped()?,
                _ => return None,
            }
        }
    }

    /// Behind a backslash (§7).
    fn pass_escaped(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => {
                let (digits, rest) = self.0.split_first_chunk::<4>()?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                self.0 = rest;
            }
            _ => return None,
        }
        Some(())
    }

    /// What of a string stands for itself.
    fn pass_plain(&mut self) -> &'a [u8] {
        let (plain, rest) = self.0.split_at(plain(self.0));
        self.0 = rest;
        plain
    }

    /// Behind what should be the first digit of a number: its others, its fraction and its exponent.
    fn pass_number(&mut self, first: u8) -> Option<()> {
        match first {
            // No digit follows a leading zero (§6): what is behind it will be taken for what ends the number, and refused.
            b'0' => {}
            b'1'..=b'9' => self.pass_digits(),
            _ => return None,
        }
        if self.takes(b'.') {
            self.pass_some_digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _sign = self.takes(b'+') || self.takes(b'-');
            self.pass_some_digits()?;
        }
        Some(())
    }

    fn pass_some_digits(&mut self) -> Option<()> {
        self.byte()?.is_ascii_digit().then_some(())?;
        self.pass_digits();
        Some(())
    }

    fn pass_digits(&mut self) {
        while let [b'0'..=b'9', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

/// Whether all of `text` stands for itself in a string (§7).
pub fn is_plain(text: &str) -> bool {
    plain(text.as_bytes()) == text.len()
}

/// How many of `bytes` stand for themselves in a string (§7): all until a quotation mark, a backslash or a control character.
fn plain(bytes: &[u8]) -> usize {
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    let mut at = 0;
    loop {
        // Most strings are short.
        for _ in 0..4 {
            let rest = &bytes[at..];
            let Some(word) = rest.first_chunk() else {
                return at + rest.iter().take_while(|byte| is_plain(**byte)).count();
            };
            let stops = stops(u64::from_le_bytes(*word));
            if stops != 0 {
                return at + stops.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        // Nothing leaves a chunk before its end, so the compiler takes its bytes together.
        let chunks = bytes[at..].as_chunks::<64>().0.iter();
        let all_plain = |chunk: &&[u8; 64]| {
            let mut all = true;
            for byte in *chunk {
                all &= is_plain(*byte);
            }
            all
        };
        at += 64 * chunks.take_while(all_plain).count();
    }
}

/// The highest bit of the first byte that is not plain, and of any that follow; of those that follow, perhaps too many.
fn stops(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let less = |word: u64, than: u8| word.wrapping_sub(EACH * u64::from(than)) & !word;
    let is = |byte: u8| less(word ^ (EACH * u64::from(byte)), 1);
    (less(word, b' ') | is(b'"') | is(b'\\')) & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::ingo::check_json;

    type Found = (bool, Vec<(Vec<u8>, String)>);

    fn listed(members: &Members<'_>) -> Found {
        let all = members
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_owned()));
        (members.are_of_an_object, all.collect())
    }

    fn skimmed(json: &[u8]) -> Option<Found> {
        skim(str::from_utf8(json).ok()?, |_| true)
            .as_ref()
            .map(listed)
    }

    /// What serde_json finds, where it says that it is JSON.
    fn parsed(json: &[u8]) -> Option<Found> {
        check_json(json).ok()?;
        let mut members = Members::default();
        let mut parser = serde_json::Deserializer::from_slice(json);
        members
            .walk(json, &mut parser, |_| true)
            .expect("it is JSON");
        Some(listed(&members))
    }

    /// What is usual: names without escapes, a few levels.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~]{0,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-zé_ ]{0,20}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Asserts of each text of up to `longest` of `pieces`, between `before` and `behind`, that it is skimmed exactly if it is JSON.
    fn is_skimmed_if_json(before: &str, pieces: &[&str], longest: u32, behind: &str) {
        let mut accepted = 0;
        for length in 0..=longest {
            for number in 0..pieces.len().pow(length) {
                let mut text = before.to_owned();
                let digit = |place| number / pieces.len().pow(place) % pieces.len();
                text.extend((0..length).map(|place| pieces[digit(place)]));
                text.push_str(behind);
                let found = skimmed(text.as_bytes());
                assert_eq!(found, parsed(text.as_bytes()), "{text:?}");
                accepted += u32::from(found.is_some());
            }
        }
        assert!(accepted > longest, "{accepted} of them are JSON");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_usual_is_skimmed(value in value(), pretty: bool) {
            let text = if pretty { format!("\r\t {value:#}\n") } else { value.to_string() };
            let found = skimmed(text.as_bytes());
            prop_assert!(found.is_some());
            prop_assert_eq!(found, parsed(text.as_bytes()));
        }

        #[test]
        fn what_is_changed_in_one_place_is_skimmed_only_if_it_is_json(
            value in value(),
            byte: u8,
            at: prop::sample::Index,
            insert: bool,
        ) {
            let mut text = value.to_string().into_bytes();
            let at = at.index(text.len());
            if insert { text.insert(at, byte) } else { text[at] = byte }
            let found = skimmed(&text);
            prop_assert!(found.is_none() || found == parsed(&text));
        }

        #[test]
        fn what_stands_for_itself_is_told_whatever_is_behind_it(
            before in 0..200_usize,
            bytes in prop::collection::vec(
                prop::sample::select(b"\0\x1f !\"#[\\]x\x7f\x80\x9f\xa2\xdc\xff".as_slice()),
                0..40,
            ),
        ) {
            let bytes = [vec![b'x'; before], bytes].concat();
            let stops = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
            prop_assert_eq!(plain(&bytes), bytes.iter().position(stops).unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn objects_and_arrays_are_skimmed_exactly_if_they_are_json() {
        let pieces = ["{", "}", "[", "]", ",", ":", "\"a\"", "1", " "];
        for (before, behind) in [("", ""), ("{\"a\":", "}"), ("{", "}"), ("[", "]")] {
            is_skimmed_if_json(before, &pieces, 5, behind);
        }
    }

    #[test]
    fn strings_are_skimmed_exactly_if_they_are_json() {
        let pieces = [
            "\\", "\"", "u", "n", "x", "/", "0", "é", "\n", "\u{1f}", "\u{7f}",
        ];
        is_skimmed_if_json("\"", &pieces, 5, "\"");
        is_skimmed_if_json("{\"a\":\"", &pieces, 3, "\"}");
        let digits = ["0", "9", "a", "F", "G", "g", "/", ":", "@", "`", "\"", "\\"];
        is_skimmed_if_json("\"\\u", &digits, 4, "\"");
        is_skimmed_if_json("\"\\ud", &digits, 4, "e\"");
    }

    #[test]
    fn names_are_skimmed_exactly_if_they_are_json_but_for_escapes() {
        is_skimmed_if_json(
            "{\"",
            &["a", "é", "\n", "\0", "\"", ":", "1", ","],
            5,
            "\":1}",
        );
    }

    #[test]
    fn numbers_and_literals_are_skimmed_exactly_if_they_are_json() {
        is_skimmed_if_json("", &["-", "+", ".", "e", "E", "0", "7"], 6, "");
        is_skimmed_if_json(
            "{\"a\":",
            &[
                "-", ".", "e", "0", "7", "true", "tru", "null", "nul", "false", "e", "\u{b}",
                "\u{feff}", "\r",
            ],
            4,
            "}",
        );
    }

    #[test]
    fn what_is_not_utf_8_is_not_skimmed() {
        for bytes in [
            b"\"\xff\"".as_slice(),
            b"\"\xc3\"",
            b"\"\xc3\\n\xa9\"",
            b"{\"\xe2\x82\":1}",
            b"\xff",
        ] {
            assert_eq!(skimmed(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_seldom_is_left_to_others() {
        let deep = |levels| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(skimmed(&deep(usize::from(LEVELS))).is_some());
        assert!(skimmed(&deep(usize::from(LEVELS) + 1)).is_none());
        assert!(skimmed(br#"{"\u0061":1}"#).is_none());
        assert!(skimmed(br#"{"a":"\u0061"}"#).is_some());
    }
}
