//! What was read and from where, as a file that says the same again.
//!
//! Shows paths and names of variables, no secret: a [`Config`] has none, and a value that was refused is never shown.

use std::fmt;

use super::{
    Address, Config,
    layers::{Content, DEFAULT, Settings},
    limits,
    schema::{self, Key},
};
use crate::ingo::Route;

/// The effective configuration, in the order of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// What applies. Keys that cannot matter and that nobody set are left out: the details of disabled routes.
    pub entries: Vec<Entry>,
}

/// A key, what it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The dotted path.
    pub key: String,
    /// The value as YAML; `None` where it is not set and nothing is written for it.
    pub value: Option<String>,
    /// `FILE:LINE`, a flag's name, a variable's name, or `default`.
    pub origin: String,
    /// Whether somebody set it; otherwise it is a default, or follows from other keys.
    pub is_given: bool,
}

impl Effective {
    /// The keys whose values differ in `other`, in order. What only follows from another one is not told beside it.
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let differs = |key: &&str| {
            let entry = |of: &Self| of.entries.iter().find(|entry| entry.key == *key).cloned();
            let both = [entry(self), entry(other)];
            let is_given = both.iter().flatten().any(|entry| entry.is_given);
            // Where nothing is written, the origin says what holds.
            let [before, after] = both.map(|entry| entry.map(|e| e.value.unwrap_or(e.origin)));
            is_given && before != after
        };
        let keys = schema::KEYS.iter().map(|key| key.path.as_str());
        keys.filter(differs).map(str::to_owned).collect()
    }

    pub(super) fn of(config: &Config, settings: &Settings) -> Self {
        let keys = schema::KEYS.iter();
        Self {
            entries: keys
                .filter_map(|key| entry(key, config, settings))
                .collect(),
        }
    }
}

fn entry(key: &Key, config: &Config, settings: &Settings) -> Option<Entry> {
    let setting = settings.get(&key.path);
    let given = setting.is_some_and(|setting| setting.origin != DEFAULT);
    if !given && !matters(&key.path, config) {
        return None;
    }
    let (value, origin) = match setting {
        Some(setting) => {
            let value = match &setting.content {
                Content::Text(text) => scalar(text),
                Content::List(items) => {
                    let items: Vec<String> = items.iter().map(|(text, _)| scalar(text)).collect();
                    format!("[{}]", items.join(", "))
                }
            };
            (Some(value), setting.origin.clone())
        }
        None if key.path == "upstream.proxy.url" && config.upstream.proxy.is_some() => {
            (None, proxy_of_the_environment(config))
        }
        None => computed(&key.path, config, settings)
            .map_or_else(|| (None, key.unset.to_owned()), |(v, o)| (Some(v), o)),
    };
    Some(Entry {
        key: key.path.clone(),
        value,
        origin,
        is_given: given,
    })
}

/// The value that follows from others where nobody set `path`, and how.
fn computed(path: &str, config: &Config, settings: &Settings) -> Option<(String, String)> {
    if path == "shutdown_limit" {
        return Some(limits::shown_default_limit(&config.shutdown));
    }
    let name = path.strip_prefix("routes.")?.strip_suffix(".url")?;
    let enabled = config.routes.iter().find(|r| r.route.name() == name)?;
    let origin = match (settings.get("upstream.url"), config.environment) {
        (Some(common), _) => common.origin.clone(),
        (None, Some(environment)) => format!("{DEFAULT} of {environment}"),
        (None, None) => DEFAULT.to_owned(),
    };
    Some((scalar(&enabled.upstream.to_string()), origin))
}

/// Which proxy it is that nobody configured. Not shown as a value: it may have credentials, and then it would not read back.
fn proxy_of_the_environment(config: &Config) -> String {
    let proxy = config.upstream.proxy.as_ref();
    proxy.map_or_else(String::new, |proxy| {
        let variable = proxy.variable.as_deref().unwrap_or_default();
        format!("not set: {variable} of the environment, {}", proxy.name())
    })
}

/// Whether the value of `path` changes anything.
fn matters(path: &str, config: &Config) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["routes", name, key] => {
            let route = Route::from_name(name);
            *key == "enabled" || config.routes.iter().any(|r| Some(r.route) == route)
        }
        ["listeners", name, key] => {
            let listener = match *name {
                "proxy" => Some(&config.listeners.proxy),
                "health" => Some(&config.listeners.health),
                _ => config.listeners.admin.as_ref(),
            };
            let unix = |address: &Address| matches!(address, Address::Unix { .. });
            match *key {
                "address" => true,
                "socket_mode" => listener.is_some_and(|l| unix(&l.address)),
                _ => listener.is_some(),
            }
        }
        _ => true,
    }
}

/// Whether a value of that key is read at the start only.
pub fn is_read_at_start(key: &str) -> bool {
    schema::key(key).is_some_and(|key| key.at_start)
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Where origins begin, unless the values need more or less.
        const WIDEST: usize = 60;
        let lines = self.lines();
        let width = lines
            .iter()
            .map(|(line, _)| line.chars().count())
            .filter(|width| *width <= WIDEST)
            .max()
            .unwrap_or(0);
        for (line, origin) in lines {
            match origin {
                Some(origin) => writeln!(f, "{line:width$}  # {origin}")?,
                None => writeln!(f, "{line}")?,
            }
        }
        Ok(())
    }
}

impl Effective {
    /// Each line of the file, with its origin if it holds a value.
    fn lines(&self) -> Vec<(String, Option<&str>)> {
        let mut lines = Vec::new();
        let mut around: Vec<&str> = Vec::new();
        for entry in &self.entries {
            let mut sections: Vec<&str> = entry.key.split('.').collect();
            let name = sections.pop().unwrap_or_default();
            let common = (sections.iter().zip(&around))
                .take_while(|(a, b)| a == b)
                .count();
            for (depth, section) in sections.iter().enumerate().skip(common) {
                lines.push((format!("{}{section}:", indent(depth)), None));
            }
            let indent = indent(sections.len());
            let line = match &entry.value {
                Some(value) => format!("{indent}{name}: {value}"),
                None => format!("{indent}# {name}:"),
            };
            lines.push((line, Some(entry.origin.as_str())));
            around = sections;
        }
        lines
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// `text` as a YAML scalar that reads back as itself.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:+@- ".contains(c);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let is_plain = starts_plain
        && text.chars().all(plain)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !text.eq_ignore_ascii_case("null");
    if is_plain {
        text.to_owned()
    } else {
        // JSON's strings are YAML's double-quoted ones (YAML 1.2 §1.3).
        serde_json::Value::from(text).to_string()
    }
}
