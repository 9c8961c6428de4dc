//! The configuration's JSON Schema (draft 2020-12), so that editors complete and check a file while it is written.
//!
//! It refuses no file that `check` takes, as far as one key goes. What is `required` is not said, because a flag or
//! a variable may give it, and neither is what keys must be beside each other: `check` says that.

use serde_json::{Map, Value, json};

use super::schema::{self, Form, Key};

/// The schema, as it is printed.
pub fn json_schema() -> String {
    let mut root = section("");
    root.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert(
        "title".to_owned(),
        "Configuration of ingo-signing-proxy".into(),
    );
    let mut text = serde_json::to_string_pretty(&Value::Object(root)).expect("values of JSON");
    text.push('\n');
    text
}

fn section(path: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    for name in schema::names_in(path) {
        let inner = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        let value = schema::key(&inner).map_or_else(|| section(&inner), of_key);
        properties.insert(name.to_owned(), Value::Object(value));
    }
    let mut object = Map::new();
    let meaning = schema::section_meaning(path);
    if !meaning.is_empty() {
        object.insert("description".to_owned(), meaning.into());
    }
    // A section whose keys are all commented out is nothing in YAML.
    object.insert("type".to_owned(), json!(["object", "null"]));
    object.insert("properties".to_owned(), properties.into());
    object.insert("additionalProperties".to_owned(), false.into());
    object
}

fn of_key(key: &Key) -> Map<String, Value> {
    let one = of_form(&key.form);
    let mut object = match (key.list, key.off) {
        (true, _) => map(json!({"type": "array", "items": one})),
        // YAML 1.1, which some editors read, takes a bare off for false.
        (false, true) => map(json!({"anyOf": [{"enum": ["off", false]}, one]})),
        (false, false) => map(one),
    };
    let flag = key
        .flag
        .map(|flag| format!(" Flag {flag}."))
        .unwrap_or_default();
    let restart = if key.at_start {
        " A change needs a restart."
    } else {
        ""
    };
    object.insert(
        "description".to_owned(),
        format!(
            "{} {}.{flag}{restart}",
            key.meaning,
            capitalised(&key.form.shown())
        )
        .into(),
    );
    if let Some(default) = key
        .default
        .as_ref()
        .filter(|_| key.path != schema::OF_THE_MACHINE)
    {
        object.insert("default".to_owned(), default_of(key, default));
    }
    object
}

fn of_form(form: &Form) -> Value {
    match form {
        Form::Boolean => json!({"type": "boolean"}),
        Form::Word(words) => {
            let mut words: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            if words.contains(&json!("off")) {
                words.push(json!(false));
            }
            json!({ "enum": words })
        }
        Form::Count(bounds) => {
            json!({"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()})
        }
        Form::Number(bounds) => {
            json!({"type": "number", "minimum": bounds.start(), "maximum": bounds.end()})
        }
        Form::Time(bounds) => json!({
            "type": ["string", "number"],
            "pattern": r"^[0-9]+(\.[0-9]{1,3})?(ms|s|m)?$",
            "minimum": bounds.start().as_secs_f64(),
            "maximum": bounds.end().as_secs_f64(),
        }),
        Form::Size(bounds) => json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(KiB|MiB)?$",
            "minimum": bounds.start(),
            "maximum": bounds.end(),
        }),
        Form::File => json!({"type": "string", "minLength": 1}),
        // Text means itself, also where YAML would read a number: 0600.
        Form::Text(_, pattern) => json!({"type": ["string", "number"], "pattern": pattern}),
    }
}

fn default_of(key: &Key, default: &str) -> Value {
    let one = |text: &str| match &key.form {
        Form::Boolean => json!(text == "true"),
        Form::Count(_) => text
            .parse::<u64>()
            .map_or_else(|_| json!(text), Value::from),
        Form::Number(_) => text
            .parse::<f64>()
            .map_or_else(|_| json!(text), Value::from),
        _ => json!(text),
    };
    if key.list {
        default
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(one)
            .collect()
    } else {
        one(default)
    }
}

fn capitalised(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
