//! YAML as values of JSON, so that two documents can be compared whatever order and style they are written in.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Every document of `text` that is not empty.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents = YamlLoader::load_from_str(text)
        .unwrap_or_else(|e| panic!("it should be YAML: {e}\n{text}"));
    let values = documents.iter().map(value);
    values.filter(|value| !value.is_null()).collect()
}

/// The only document of `text`.
pub(crate) fn document(text: &str) -> Value {
    let mut documents = documents(text);
    assert_eq!(documents.len(), 1, "one document:\n{text}");
    documents.remove(0)
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(boolean) => (*boolean).into(),
        Yaml::Integer(integer) => (*integer).into(),
        Yaml::Real(text) => text.parse::<f64>().unwrap().into(),
        Yaml::String(text) => text.clone().into(),
        Yaml::Array(items) => items.iter().map(value).collect(),
        Yaml::Hash(members) => {
            let member =
                |(name, of): (&Yaml, &Yaml)| (name.as_str().unwrap().to_owned(), value(of));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        Yaml::Alias(_) | Yaml::BadValue => panic!("neither aliases nor what is no YAML"),
    }
}

/// A value in one line, as one would write it in a file.
pub(crate) fn in_one_line(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(in_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{name}: {}", in_one_line(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}
