//! Reading JSON held against `serde_json`'s own reading, on texts that are JSON of the odd kind and on such with a few edits: repeated
//! members, escapes, lone surrogates, levels without end, numbers that no type holds, byte order marks, bytes that are no UTF-8.

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value};

use super::*;

/// What stands between the quotes of a string.
fn characters() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -!#-\\[\\]-~]{0,12}",
        "[ !#-\\[\\]-~]{60,140}",
        "\\PC{0,3}".prop_map(|text| text.replace(['"', '\\'], "")),
        prop::sample::select(vec![
            r#"\""#,
            r"\\",
            r"\/",
            r"\b",
            r"\f",
            r"\n",
            r"\r",
            r"\t",
            r"\u0000",
            r"\u0061",
            r"\u00E9",
            r"\ud83d\ude00",
            r"\uD800",
            r"\udc00",
            r"\ud800\u0041",
            r"\udbff\udbff",
            "\u{7f}",
            "\u{2028}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?",
        prop::sample::select(vec![
            "-0",
            "-0.0",
            "0e-0",
            "1e999",
            "-1E+999",
            "1e-999",
            "18446744073709551616"
        ])
        .prop_map(str::to_owned),
    ]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// A JSON text, as odd as may be.
fn json() -> impl Strategy<Value = String> {
    let string = characters().prop_map(|text| format!("\"{text}\""));
    let literal = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let leaf = prop_oneof![string, number(), literal];
    let value = leaf.prop_recursive(4, 30, 5, |inner| {
        // Few names, so that some are there twice, and some the same by escapes.
        let name = prop_oneof![
            3 => prop::sample::select(vec!["a", r"\u0061", "status", "", "é"]).prop_map(str::to_owned),
            1 => characters(),
        ];
        let member = (name, space(), inner.clone(), space())
            .prop_map(|(name, before, value, behind)| format!("{before}\"{name}\"{behind}:{before}{value}{behind}"));
        prop_oneof![
            3 => (prop::collection::vec(member, 0..5), space())
                .prop_map(|(members, space)| format!("{{{space}{}{space}}}", members.join(","))),
            1 => (prop::collection::vec(inner.clone(), 0..5), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            1 => (inner, 1..200_usize)
                .prop_map(|(value, levels)| format!("{}{value}{}", "[".repeat(levels), "]".repeat(levels))),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, behind)| format!("{before}{value}{behind}"))
}

#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = prop::sample::select(vec![
        &b"\0"[..],
        b"\x1f",
        b"\n",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"-",
        b"+",
        b".",
        b"e",
        b"0",
        b"1",
        b" ",
        b"\xc2\xa0",
        b"//",
        b"\"a\":1,",
        b"tru",
        b"NaN",
    ])
    .prop_map(<[u8]>::to_vec);
    prop_oneof![
        4 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (any::<Index>(), 1..6_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn edited(text: &str, edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        let place = |at: &Index| at.index(bytes.len() + 1);
        match edit {
            Edit::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Replace(at, byte) => {
                let at = place(at);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Edit::Remove(at, length) => {
                let at = place(at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Edit::Repeat(at, length) => {
                let at = place(at);
                let again = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Edit::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

type Found = Vec<(Vec<u8>, String)>;

fn listed(members: &Members<'_>) -> (bool, Found) {
    let all = members
        .iter()
        .map(|(name, json)| (name.to_vec(), json.to_owned()));
    (members.are_of_an_object, all.collect())
}

/// Whether it is JSON, by the parser of `serde_json` that keeps what it reads.
fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(body).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_json_is_read_as_serde_json_reads_it(text in json(), edits in prop::collection::vec(edit(), 0..4)) {
        let body = edited(&text, &edits);
        let read = Members::of_json(&body, |_| true);
        prop_assert_eq!(read.as_ref().err().copied(), check_json(&body).err());
        prop_assert!(!edits.is_empty() || read.is_ok(), "{text}");
        prop_assert_eq!(read.is_ok(), is_json(&body));
        let Ok(members) = read else {
            prop_assert!(serde_json::from_slice::<Value>(&body).is_err());
            return Ok(());
        };
        let found = listed(&members);
        let far = Members::as_far_as_it_is_json(&body, |_| true);
        prop_assert_eq!(&listed(&far), &found);
        // What a value holds of it is what is found: of those of a name the last.
        let Ok(value) = serde_json::from_slice::<Value>(&body) else {
            return Ok(());
        };
        prop_assert_eq!(value.is_object(), found.0);
        let mut map = Map::new();
        for (name, json) in found.1 {
            let name = String::from_utf8(name).expect("a value has no lone surrogate");
            let value: Value = serde_json::from_str(&json).expect("it is a part of the value");
            let read = super::text(&json);
            prop_assert_eq!(read.as_deref(), value.as_str());
            map.insert(name, value);
        }
        let whole = value.as_object().cloned().unwrap_or_default();
        prop_assert_eq!(map, whole);
    }

    #[test]
    fn what_is_cut_short_names_members_that_are_there(text in json(), edits in prop::collection::vec(edit(), 0..3), at: Index) {
        let body = edited(&text, &edits);
        let whole = listed(&Members::as_far_as_it_is_json(&body, |_| true)).1;
        let part = &body[..at.index(body.len() + 1)];
        let found = listed(&Members::as_far_as_it_is_json(part, |_| true)).1;
        prop_assert!(whole.starts_with(&found), "{found:?} of {whole:?}");
    }

    #[test]
    fn what_stands_before_the_byte_that_is_told_is_no_fault(text in json(), edits in prop::collection::vec(edit(), 1..4)) {
        let body = edited(&text, &edits);
        if let Err(NotJson { offset, reason: Reason::Syntax }) = check_json(&body) {
            let of = |end| check_json(&body[..end]).map_err(|not| not.reason);
            // The body is UTF-8, and no byte within a character is one that is wrong.
            prop_assert!(!matches!(of(offset), Err(Reason::Syntax)), "{offset}");
            // Nor is it one for want of what follows, of which an escape has four digits.
            let end = body.len().min(offset + 5);
            prop_assert!(matches!(of(end), Err(Reason::Syntax | Reason::NotUtf8)), "{offset}");
        }
    }
}
