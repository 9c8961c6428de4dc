//! What holds for every configuration, whatever is written in it: reading never panics, and no message holds a value.

use std::fs;

use proptest::prelude::*;

use super::{
    Flag, Sources, load,
    samples::{CANARY, try_text},
    schema,
};

/// Ways in which a canary can stand for a value.
fn canary() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "canary",
        "'canary'",
        "\"can\\u0061ry\"",
        "canary:1",
        "unix:canary",
        "https://canary@host",
        "https://host/canary",
        "http://canary",
        "1canary",
        "1 canary",
        "[canary]",
        "[[canary]]",
        "{a: canary}",
        "{canary: 1, a: {b: canary}}",
        "&a canary",
        "*canary",
        "!canary x",
        "@canary",
        "`canary`",
        "%canary",
        "\"canary",
        "|\n  canary",
        ">-\n canary\n canary: canary",
        "- canary",
        "canary: canary",
        "canary\u{0}",
        "'canary\u{1b}[31m'",
    ])
    .prop_map(str::to_owned)
}

/// A path of the schema, or one that is not in it.
fn any_path() -> impl Strategy<Value = String> {
    let mut paths: Vec<String> = schema::KEYS.iter().map(|key| key.path.clone()).collect();
    let others = [
        "limits",
        "routes.process",
        "zzz",
        "credentials.secret",
        "a.b.c",
        "routes.x.url",
    ];
    paths.extend(others.map(str::to_owned));
    prop::sample::select(paths)
}

/// YAML that sets `path` to `value`.
fn nested(path: &str, value: &str) -> String {
    let mut text = String::new();
    let names: Vec<&str> = path.split('.').collect();
    for (depth, name) in names.iter().enumerate() {
        text.push_str(&format!("{}{name}:", "  ".repeat(depth)));
        text.push(if depth + 1 == names.len() { ' ' } else { '\n' });
    }
    text + value + "\n"
}

/// Something that looks like YAML often enough to get past the scanner.
fn yamlish() -> impl Strategy<Value = String> {
    let mut pieces: Vec<String> = [
        "\n",
        "\n  ",
        "\n    ",
        " ",
        ": ",
        ":",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "#",
        "&a ",
        "*a ",
        "!t ",
        "!!str ",
        "|",
        ">",
        "|+2\n",
        "'",
        "\"",
        "\\",
        "\\x",
        "%YAML 1.2\n",
        "%TAG ! x\n",
        "---",
        "...",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
        "@",
        "`",
        "~",
        "<<",
        "0123",
        "é",
        "=",
    ]
    .map(str::to_owned)
    .into();
    pieces.extend(
        schema::KEYS
            .iter()
            .flat_map(|key| key.path.split('.').map(str::to_owned)),
    );
    prop::collection::vec(prop::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_repeats_a_value_of_the_file(
        values in prop::collection::vec((any_path(), canary()), 1..5),
    ) {
        let text: String = values.iter().map(|(path, value)| nested(path, value)).collect();
        if let Err(error) = try_text(&text) {
            // A key is shown, so that it can be found: only values must not be.
            let told = format!("{error} {error:?}");
            let keys = text.contains("canary: ");
            prop_assert!(keys || !told.to_ascii_lowercase().contains(CANARY), "{text}\n{told}");
        }
    }

    #[test]
    fn no_message_repeats_the_value_of_a_variable_or_flag(
        values in prop::collection::vec((0..schema::KEYS.len(), canary()), 1..5),
    ) {
        let mut sources = Sources::default();
        for (index, value) in &values {
            let key = &schema::KEYS[*index];
            sources.environment.push((key.variable(), value.clone()));
            sources.environment.push((format!("{}__X", key.variable()), value.clone()));
            if let Some(name) = key.flag {
                sources.flags.push(Flag { key: &key.path, value: value.clone(), name });
            }
        }
        sources.flags.push(Flag { key: "routes", value: values[0].1.clone(), name: "--routes" });
        let error = load(&sources).expect_err("no route is called so");
        let told = format!("{error} {error:?}").to_ascii_lowercase();
        prop_assert!(!told.contains(CANARY), "{told}");
    }

    #[test]
    fn no_text_makes_reading_panic(text in yamlish()) {
        let _ = try_text(&text);
    }

    #[test]
    fn no_change_of_the_reference_makes_reading_panic(
        at in 0..9_000_usize, length in 0..200_usize, piece in yamlish(),
    ) {
        let reference = fs::read_to_string("config/reference.yaml").expect("readable");
        let text: String = reference
            .chars()
            .take(at)
            .chain(piece.chars())
            .chain(reference.chars().skip(at + length))
            .collect();
        let _ = try_text(&text);
    }
}
