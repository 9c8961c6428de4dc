//! Reads settings one key at a time and remembers every mistake instead of stopping at the first.
//!
//! A read that gives `None` has noted why, so that a section is complete exactly if all its reads gave something.
//! It passes on what a parser of values says is expected; it never shows the value.

use std::time::Duration;

use super::{
    layers::{Content, DEFAULT, Settings},
    mistake::Mistakes,
    quantity::{Expected, boolean},
    schema,
};

/// Merged settings, and what is wrong with them.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    mistakes: &'a mut Mistakes,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings, mistakes: &'a mut Mistakes) -> Self {
        Self { settings, mistakes }
    }

    /// The value of a key that must be set, by a default if by nobody else.
    pub(super) fn required<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.optional(path, parse)?;
        if value.is_none() {
            self.reject(path, format!("is not set; set {}", schema::ways(path)));
        }
        value
    }

    /// The value of a key that need not be set. The outer `None`: a mistake.
    pub(super) fn optional<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        let Some(text) = self.text(path) else {
            return (!self.mistakes.concern(path)).then_some(None);
        };
        match parse(text) {
            Ok(value) => Some(Some(value)),
            Err(expected) => {
                self.reject(path, expected);
                None
            }
        }
    }

    /// A time that must be set.
    pub(super) fn time(&mut self, path: &str) -> Option<Duration> {
        self.required(path, schema::time_at(path))
    }

    /// A number of bytes that must be set.
    pub(super) fn size(&mut self, path: &str) -> Option<usize> {
        self.required(path, schema::size_at(path))
    }

    /// A whole number that must be set.
    pub(super) fn count(&mut self, path: &str) -> Option<usize> {
        self.required(path, schema::count_at(path))
    }

    /// `true` or `false`, which must be set.
    pub(super) fn boolean(&mut self, path: &str) -> Option<bool> {
        self.required(path, boolean)
    }

    /// The value of a key that must be set, and may be `off`.
    pub(super) fn unless_off<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        self.required(path, |text| match text {
            "off" => Ok(None),
            _ => parse(text)
                .map(Some)
                .map_err(|expected| format!("{expected}; or off")),
        })
    }

    /// The values of two keys that are set both or neither. The outer `None`: a mistake.
    pub(super) fn pair<A, B>(
        &mut self,
        (first, parse_first): (&str, impl FnOnce(&str) -> Result<A, Expected>),
        (second, parse_second): (&str, impl FnOnce(&str) -> Result<B, Expected>),
    ) -> Option<Option<(A, B)>> {
        let read = (
            self.optional(first, parse_first),
            self.optional(second, parse_second),
        );
        let (missing, beside) = match (read.0?, read.1?) {
            (Some(a), Some(b)) => return Some(Some((a, b))),
            (None, None) => return Some(None),
            (Some(_), None) => (second, first),
            (None, Some(_)) => (first, second),
        };
        let ways = schema::ways(missing);
        self.reject(
            missing,
            format!("is not set beside {beside}; set {ways}, or leave both out"),
        );
        None
    }

    /// The values of a key that holds a list.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<Vec<T>> {
        let settings = self.settings;
        let items = match settings.get(path).map(|setting| &setting.content) {
            Some(Content::List(items)) => items.as_slice(),
            Some(Content::Text(_)) | None => &[],
        };
        let mut values = Vec::new();
        for (index, (text, origin)) in items.iter().enumerate() {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(expected) => {
                    self.mistakes
                        .note(format!("{path}[{index}]"), origin, expected);
                }
            }
        }
        (values.len() == items.len()).then_some(values)
    }

    /// Notes that the value of `path` cannot stand, where that shows only beside other values.
    pub(super) fn reject(&mut self, path: &str, remedy: impl Into<String>) {
        let origin = self.origin(path);
        self.mistakes.note(path, origin, remedy);
    }

    /// Notes that `lesser` is too great beside `greater`: at the one that somebody wrote.
    pub(super) fn reject_order(&mut self, lesser: &str, greater: &str) {
        if self.origin(lesser) == DEFAULT {
            let remedy = format!(
                "is too small beside {lesser}, which has its default; set that lower as well"
            );
            self.reject(greater, remedy);
        } else {
            self.reject(lesser, format!("is too great beside {greater}"));
        }
    }

    /// Notes a mistake in a value that was taken from `origin` for want of one at `path`.
    pub(super) fn reject_at(&mut self, path: &str, origin: &str, remedy: impl Into<String>) {
        self.mistakes.note(path, origin, remedy);
    }

    /// Whether `path` has a value, by a default if by nobody else.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.settings.contains_key(path)
    }

    /// Where the value of `path` comes from; empty where it is not set.
    pub(super) fn origin(&self, path: &str) -> String {
        let setting = self.settings.get(path);
        setting.map_or_else(String::new, |setting| setting.origin.clone())
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        match &self.settings.get(path)?.content {
            Content::Text(text) => Some(text),
            Content::List(_) => None,
        }
    }
}
