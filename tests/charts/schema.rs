//! `config` of the values is held to the program's own schema, which stands in values.schema.json. No Helm is needed.

use std::fs;

use serde_json::{Map, Value, json};

use crate::{path, support::process::run, text};

/// Set to write the schema anew.
const WRITE: &str = "WRITE_CHART_SCHEMA";

const SCHEMA: &str = "deploy/helm/ingo-signing-proxy/values.schema.json";
/// Where the generated part begins; it ends with the file.
const BEGIN: &str = "\n  \"definitions\": {";

/// What `check --schema` prints, as Helm needs it.
fn of_the_program() -> Value {
    let printed = run(
        env!("CARGO_BIN_EXE_ingo-signing-proxy"),
        &["check", "--schema"],
        b"",
    );
    assert_eq!(printed.status, Some(0), "{}", printed.output());
    let Value::Object(mut schema) = serde_json::from_slice(&printed.stdout).unwrap() else {
        panic!("an object");
    };
    // Of the whole document, which says its own.
    schema.remove("$schema");
    schema.remove("title");
    adapt(&mut schema);
    Value::Object(schema)
}

/// Helm reads numbers before anybody else does (a bare 0600 is 384, and 0123 is 83), so that what is text must be quoted. And a
/// value that is null is not set.
fn adapt(schema: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            adapt(property.as_object_mut().unwrap());
        }
    }
    let text = schema.get("type") == Some(&json!(["string", "number"]));
    // A duration or a size has bounds, and a bare number of it means what it says.
    if text && !schema.contains_key("minimum") {
        schema.insert("type".to_owned(), "string".into());
    }
    if let Some(kind) = schema.get_mut("type") {
        let mut kinds = match kind.take() {
            Value::Array(kinds) => kinds,
            one => vec![one],
        };
        if !kinds.contains(&"null".into()) {
            kinds.push("null".into());
        }
        *kind = kinds.into();
    } else if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    } else if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.push(json!({"type": "null"}));
    }
}

#[test]
fn config_is_held_to_the_schema_of_the_program() {
    let written = text(SCHEMA);
    let begin = written.find(BEGIN).unwrap() + BEGIN.len();
    let schema = serde_json::to_string_pretty(&of_the_program()).unwrap();
    let schema = schema.replace('\n', "\n    ");
    let document = format!(
        "{}\n    \"config\": {schema}\n  }}\n}}\n",
        &written[..begin]
    );
    if std::env::var_os(WRITE).is_some() {
        fs::write(path(SCHEMA), &document).unwrap();
    }
    let written = text(SCHEMA);
    let _whole: Value = serde_json::from_str(&written).unwrap();
    assert!(
        written == document,
        "{SCHEMA} is not what check --schema says; write it anew: {WRITE}=1 cargo test --test charts config_is_held"
    );
}
