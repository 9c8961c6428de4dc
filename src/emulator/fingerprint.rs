//! JSON values compared by value, without keeping them.
//!
//! Bodies hold card numbers and names; to recognise the same parameters again, their SHA-256 in a canonical form is
//! enough. Order of keys, white space, escapes and the spelling of a number make no difference.

use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// What is kept of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(value: &Value) -> Self {
        let mut hash = Sha256::new();
        absorb(value, &mut hash);
        Self(hash.finalize().into())
    }
}

/// Each value is absorbed with a letter for its type and a length, so that no two values give the same bytes. The depth
/// is bounded by the parser's, 128.
fn absorb(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Number(number) => absorb_text(b'd', &canonical_number(number), hash),
        Value::String(text) => absorb_text(b's', text, hash),
        Value::Array(items) => {
            absorb_length(b'a', items.len(), hash);
            for item in items {
                absorb(item, hash);
            }
        }
        Value::Object(members) => {
            absorb_length(b'o', members.len(), hash);
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                absorb_text(b'k', name, hash);
                absorb(value, hash);
            }
        }
    }
}

fn absorb_text(letter: u8, text: &str, hash: &mut Sha256) {
    absorb_length(letter, text.len(), hash);
    hash.update(text.as_bytes());
}

fn absorb_length(letter: u8, length: usize, hash: &mut Sha256) {
    hash.update([letter]);
    hash.update((length as u64).to_be_bytes());
}

/// 1, 1.0 and 1e0 are one number.
fn canonical_number(number: &Number) -> String {
    /// Above this a float does not hold every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            // The cast is exact in this range; it also makes -0.0 the 0 that it equals.
            (float as i64).to_string()
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of(&serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn the_same_value_in_another_spelling_is_the_same() {
        for (one, other) in [
            (
                r#"{"a":1,"b":{"c":[],"d":"x"}}"#,
                "{ \"b\" : {\"d\":\"\\u0078\",\n\"c\":[ ]},\t\"a\": 1 }",
            ),
            ("[1, 2.5, 0]", "[1.0, 25e-1, -0.0]"),
            ("100", "1e2"),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
    }

    #[test]
    fn another_value_is_another() {
        let values = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "\"1\"",
            "\"\"",
            "[]",
            "{}",
            "[[]]",
            "[null]",
            "[1,2]",
            "[2,1]",
            "[\"1\",\"2\"]",
            "[\"12\"]",
            "{\"a\":1}",
            "{\"a\":2}",
            "{\"b\":1}",
            "{\"a\":{\"b\":1}}",
            "9007199254740993",
            "9007199254740992",
            "1.5",
        ];
        for (index, one) in values.iter().enumerate() {
            for other in &values[index + 1..] {
                assert_ne!(of(one), of(other), "{one} {other}");
            }
        }
    }
}
