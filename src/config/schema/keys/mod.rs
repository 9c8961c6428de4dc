//! The table of keys, a file for each third of it, and how a line of it is written.

mod ingo;
mod process;
mod safety;

use super::{Form, Key};
use crate::ingo::Route;

/// Every key, in the order in which they are shown.
pub(super) fn all() -> Vec<Key> {
    let mut keys = process::keys();
    keys.extend(ingo::keys());
    keys.extend(safety::keys());
    keys.extend(ingo::headers());
    keys
}

/// What a section is for; empty where its keys say it all.
pub(super) fn section_meaning(path: &str) -> String {
    if let Some(route) = path.strip_prefix("routes.").and_then(Route::from_name) {
        return ingo::route_meaning(route);
    }
    let sections = [process::SECTIONS, ingo::SECTIONS, safety::SECTIONS].concat();
    let found = sections.iter().find(|(section, _)| *section == path);
    found.map_or_else(String::new, |(_, meaning)| (*meaning).to_owned())
}

impl Key {
    fn new(path: impl Into<String>, form: Form, meaning: &'static str) -> Self {
        Self {
            path: path.into(),
            form,
            meaning,
            default: None,
            example: None,
            list: false,
            off: false,
            flag: None,
            unset: "not set",
            at_start: false,
        }
    }

    fn file(path: impl Into<String>, example: &'static str, meaning: &'static str) -> Self {
        Self::new(path, Form::File, meaning).such_as(example)
    }

    fn boolean(path: impl Into<String>, default: bool, meaning: &'static str) -> Self {
        Self::new(path, Form::Boolean, meaning).or(default.to_string())
    }

    /// A list of items of that form; empty where nobody sets it.
    fn list(path: impl Into<String>, item: Form, meaning: &'static str) -> Self {
        Self {
            list: true,
            default: Some(String::new()),
            ..Self::new(path, item, meaning)
        }
    }

    fn or(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }

    fn such_as(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    fn or_off(mut self) -> Self {
        self.off = true;
        self
    }

    fn or_else(mut self, meaning: &'static str) -> Self {
        self.unset = meaning;
        self
    }

    /// For a list that means something else where it is not set than where it is empty.
    fn without_default(mut self, meaning: &'static str) -> Self {
        self.default = None;
        self.or_else(meaning)
    }

    fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// What it decides is made once: sockets, threads, files that are open.
    fn at_start(mut self) -> Self {
        self.at_start = true;
        self
    }
}
