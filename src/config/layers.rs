//! The layers a configuration is made of, merged by the `config` crate: defaults, file, environment, flags.
//!
//! Every layer is checked against the `schema` before it is merged, so that a mistake shows even where a higher
//! layer hides it, and only keys that exist are merged: that crate would read a `.` or `[` in a key as a path.
//! Every scalar is a string with its origin; that crate is asked to convert none, because it echoes what it cannot convert.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use super::{
    Flag,
    mistake::Mistakes,
    schema::{self, Key},
    yaml::{self, Entry, Node},
};
use crate::ingo::Route;

/// The origin of what nobody wrote.
pub(super) const DEFAULT: &str = "default";

/// What stands for one key after merging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) content: Content,
    pub(super) origin: String,
}

/// A setting's text, or a list of texts each with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    List(Vec<(String, String)>),
}

/// The merged settings by dotted path. A key that nobody set and that has no default is absent.
pub(super) type Settings = BTreeMap<String, Setting>;

/// What one place says: only keys that exist, each of the right shape.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(BTreeMap<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone().into_iter().collect())
    }
}

/// The layer below all others.
pub(super) fn defaults() -> Layer {
    let mut layer = Layer::default();
    for key in schema::KEYS.iter() {
        if let Some(default) = &key.default {
            layer.set_written(key, default, DEFAULT);
        }
    }
    layer
}

/// The layer of a file, from its tree.
pub(super) fn of_file(file: &str, entries: &[Entry], mistakes: &mut Mistakes) -> Layer {
    let mut layer = Layer::default();
    layer.take_section(file, "", entries, mistakes);
    layer.displace();
    layer
}

/// The layer of the environment: of `variables` those with the prefix.
pub(super) fn of_environment(variables: &[(String, String)], mistakes: &mut Mistakes) -> Layer {
    let mut variables: Vec<_> = variables.iter().collect();
    // The process environment has no order; mistakes should.
    variables.sort();
    let mut layer = Layer::default();
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(schema::VARIABLE_PREFIX) else {
            continue;
        };
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if !name.bytes().all(plain) {
            let remedy = "is no key; variables are the keys in capitals, with `__` for each dot";
            mistakes.note("", yaml::shown(variable), remedy);
            continue;
        }
        let path = name.to_ascii_lowercase().replace("__", ".");
        match schema::key(&path) {
            Some(key) if text.is_empty() && !key.list => {
                mistakes.note(path, variable, "is empty; give it a value, or unset it");
            }
            Some(key) => layer.set_written(key, text, variable),
            None => mistakes.note(shown_path(&path), variable, misnamed(&path, variable)),
        }
    }
    layer.displace();
    layer
}

/// The layer of the command line.
pub(super) fn of_flags(flags: &[Flag], mistakes: &mut Mistakes) -> Layer {
    let mut layer = Layer::default();
    for flag in flags {
        if flag.key == "routes" {
            layer.take_routes(flag, mistakes);
        } else if flag.value.is_empty() {
            mistakes.note(flag.key, flag.name, "is empty; give it a value");
        } else if let Some(key) = schema::key(flag.key) {
            layer.set_written(key, &flag.value, flag.name);
        } else {
            mistakes.note(flag.key, flag.name, "unknown key");
        }
    }
    layer.displace();
    layer
}

/// Merges `layers`, the lowest first.
pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Settings {
    let builder = layers
        .into_iter()
        .fold(Config::builder(), |builder, layer| {
            builder.add_source(layer)
        });
    let merged = builder
        .build()
        .and_then(|config| config.collect())
        .expect("layers are in memory and hold no path that could fail to parse");
    let mut settings = Settings::new();
    collect_settings("", merged, &mut settings);
    settings
}

impl Layer {
    fn set(&mut self, path: &str, kind: impl Into<ValueKind>, origin: &str) {
        let value = Value::new(Some(&origin.to_owned()), kind);
        self.0.insert(path.to_owned(), value);
    }

    /// Sets `key` to `text` as a variable or flag writes it: lists separated by commas.
    fn set_written(&mut self, key: &Key, text: &str, origin: &str) {
        if key.list {
            let items = text.split(',').filter(|_| !text.is_empty());
            let origin_of_items = origin.to_owned();
            let items: Vec<Value> = items
                .map(|item| Value::new(Some(&origin_of_items), item.trim()))
                .collect();
            self.set(&key.path, items, origin);
        } else {
            self.set(&key.path, text, origin);
        }
    }

    fn take_section(
        &mut self,
        file: &str,
        section: &str,
        entries: &[Entry],
        mistakes: &mut Mistakes,
    ) {
        for entry in entries {
            let origin = yaml::at(file, entry.line);
            let shown = yaml::shown(&entry.name);
            // Not joined before it is known to be one name: `a.b` is no way to write b in a.
            let single = !entry.name.contains('.');
            let path = if section.is_empty() {
                shown.to_owned()
            } else {
                format!("{section}.{shown}")
            };
            let names = schema::names_in(&path);
            if let (true, Some(key)) = (single, schema::key(&path)) {
                self.take_key(file, key, entry, mistakes);
            } else if single && !names.is_empty() {
                match &entry.node {
                    Node::Section(entries) => self.take_section(file, &path, entries, mistakes),
                    // All keys of a section may be commented out.
                    Node::Nothing | Node::Refused => {}
                    Node::Text(_) | Node::List(_) => {
                        let remedy =
                            format!("must be a section; the keys in it are {}", names.join(", "));
                        mistakes.note(path, origin, remedy);
                    }
                }
            } else {
                mistakes.note(path, origin, schema::unknown(section, &entry.name));
            }
        }
    }

    fn take_key(&mut self, file: &str, key: &Key, entry: &Entry, mistakes: &mut Mistakes) {
        let origin = yaml::at(file, entry.line);
        let remedy = match (&entry.node, key.list) {
            (Node::Text(text), false) => return self.set(&key.path, text.as_str(), &origin),
            (Node::List(items), true) => {
                let mut values = Vec::new();
                for (index, (line, item)) in items.iter().enumerate() {
                    let origin = yaml::at(file, *line);
                    match item {
                        Node::Text(text) => values.push(Value::new(Some(&origin), text.as_str())),
                        Node::Refused => {}
                        Node::Nothing | Node::List(_) | Node::Section(_) => {
                            let path = format!("{}[{index}]", key.path);
                            mistakes.note(path, origin, "must be a single value");
                        }
                    }
                }
                return self.set(&key.path, values, &origin);
            }
            (Node::Refused, _) => return,
            (Node::Nothing, _) => "has no value; write one, or remove the key",
            (Node::List(_) | Node::Section(_), false) => "must be a single value",
            (Node::Text(_) | Node::Section(_), true) => "must be a list, such as [first, second]",
        };
        mistakes.note(&key.path, origin, remedy);
    }

    /// `--routes` names the whole set.
    fn take_routes(&mut self, flag: &Flag, mistakes: &mut Mistakes) {
        let mut named = Vec::new();
        for name in flag.value.split(',').map(str::trim) {
            match Route::from_name(name) {
                Some(route) => named.push(route),
                None => {
                    let remedy = format!(
                        "must name routes separated by commas, of {}",
                        schema::names_in("routes").join(", ")
                    );
                    return mistakes.note(flag.key, flag.name, remedy);
                }
            }
        }
        for route in Route::ALL {
            let path = schema::route_key(route, "enabled");
            self.set(&path, named.contains(&route).to_string(), flag.name);
        }
    }

    /// Unsets in lower layers what this layer replaces under another name: `--secret-file` beats a `secret_env` of
    /// the file, and `--upstream` means all routes. Both in one layer are left for the reader to judge.
    fn displace(&mut self) {
        let urls: Vec<String> = Route::ALL.map(|r| schema::route_key(r, "url")).into();
        let pair = |name: &str| vec![format!("credentials.{name}")];
        for (key, displaced) in [
            ("credentials.secret_file", pair("secret_env")),
            ("credentials.secret_env", pair("secret_file")),
            ("credentials.api_key_file", pair("api_key_env")),
            ("credentials.api_key_env", pair("api_key_file")),
            ("upstream.url", urls),
        ] {
            let set = |value: &&Value| value.kind != ValueKind::Nil;
            let Some(value) = self.0.get(key).filter(set) else {
                continue;
            };
            let origin = value.origin().unwrap_or_default().to_owned();
            for path in displaced {
                let nil = Value::new(Some(&origin), ValueKind::Nil);
                self.0.entry(path).or_insert(nil);
            }
        }
    }
}

fn collect_settings(section: &str, table: Map<String, Value>, settings: &mut Settings) {
    for (name, value) in table {
        let path = if section.is_empty() {
            name
        } else {
            format!("{section}.{name}")
        };
        let origin = value.origin().unwrap_or_default().to_owned();
        let content = match value.kind {
            ValueKind::Table(table) => {
                collect_settings(&path, table, settings);
                continue;
            }
            ValueKind::Array(items) => Content::List(items.into_iter().map(text_of).collect()),
            ValueKind::String(text) => Content::Text(text),
            // Displaced; and layers hold no other kind.
            _ => continue,
        };
        settings.insert(path, Setting { content, origin });
    }
}

fn text_of(item: Value) -> (String, String) {
    let origin = item.origin().unwrap_or_default().to_owned();
    match item.kind {
        ValueKind::String(text) => (text, origin),
        _ => (String::new(), origin),
    }
}

/// What to do about a `variable` whose `path` is no key: told of the first name in it that leads nowhere.
fn misnamed(path: &str, variable: &str) -> String {
    let mut section = String::new();
    for name in path.split('.') {
        let inner = if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        };
        if schema::key(&inner).is_some() {
            return format!("is no key: {inner} holds a single value");
        }
        if schema::names_in(&inner).is_empty() {
            return schema::unknown(&section, name);
        }
        section = inner;
    }
    let first = schema::names_in(&section)[0].to_ascii_uppercase();
    format!("is a section; set its keys one by one, such as {variable}__{first}")
}

fn shown_path(path: &str) -> String {
    let names: Vec<&str> = path.split('.').map(yaml::shown).collect();
    names.join(".")
}
