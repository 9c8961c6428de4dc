//! Every key there is: its path, meaning, default, form and flag, in the order in which people are shown them.
//!
//! One table, so that unknown keys, defaults, bounds, remedies, the effective listing, the reference and the JSON Schema
//! cannot disagree. What values must be beside each other is not said here: the files that read a section do that.

mod form;
mod keys;

use std::{sync::LazyLock, time::Duration};

pub(super) use self::form::Form;
use super::quantity::{self, Expected};
use crate::ingo::Route;

/// The prefix of environment variables that set a key.
pub(super) const VARIABLE_PREFIX: &str = "INGO_PROXY__";

/// The key whose default depends on the machine, so that no page or schema can tell it.
pub(super) const OF_THE_MACHINE: &str = "threads";

/// A key that holds a value.
pub(super) struct Key {
    /// The dotted path.
    pub(super) path: String,
    /// What the value looks like, or each item of a list.
    pub(super) form: Form,
    /// What it is for, in whole sentences. Form, default, flag and whether it needs a restart are told beside it.
    pub(super) meaning: &'static str,
    /// The default as it would be written in a file.
    pub(super) default: Option<String>,
    /// What stands in the reference where there is no default.
    pub(super) example: Option<&'static str>,
    /// Whether the value is a list.
    pub(super) list: bool,
    /// Whether it may also be `off`.
    pub(super) off: bool,
    /// The flag that sets it.
    pub(super) flag: Option<&'static str>,
    /// What holds where the key is not set and has no default.
    pub(super) unset: &'static str,
    /// Whether it is read at the start only: a reload that changes it is refused.
    pub(super) at_start: bool,
}

impl Key {
    /// The environment variable that sets this key.
    pub(super) fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.path.to_ascii_uppercase().replace('.', "__")
        )
    }

    /// All the ways to set this key, for a remedy.
    pub(super) fn ways(&self) -> String {
        let flag = self.flag.map(|f| format!("{f}, ")).unwrap_or_default();
        format!("{flag}{} or {} in the file", self.variable(), self.path)
    }
}

/// Every key, in the order in which they are shown.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(keys::all);

/// What a section is for; empty where its keys say it all. Of a route: what it is.
pub(super) fn section_meaning(path: &str) -> String {
    keys::section_meaning(path)
}

/// Reads the text of the key at `path`, which holds a time.
pub(super) fn time_at(path: &str) -> impl Fn(&str) -> Result<Duration, Expected> + use<> {
    let Form::Time(bounds) = form_at(path) else {
        unreachable!("{path} holds no time")
    };
    move |text| quantity::duration(text, bounds.clone())
}

/// Reads the text of the key at `path`, which holds a number of bytes.
pub(super) fn size_at(path: &str) -> impl Fn(&str) -> Result<usize, Expected> + use<> {
    let Form::Size(bounds) = form_at(path) else {
        unreachable!("{path} holds no size")
    };
    move |text| quantity::size(text, bounds.clone())
}

/// Reads the text of the key at `path`, which holds a whole number.
pub(super) fn count_at(path: &str) -> impl Fn(&str) -> Result<usize, Expected> + use<> {
    let Form::Count(bounds) = form_at(path) else {
        unreachable!("{path} holds no count")
    };
    move |text| quantity::count(text, bounds.clone())
}

/// The form of the key at `path`. Paths are written in the code: one that is no key would fail every load.
fn form_at(path: &str) -> &'static Form {
    &key(path).expect("the path of a key").form
}

/// The path of a route's key.
pub(super) fn route_key(route: Route, key: &str) -> String {
    format!("routes.{}.{key}", route.name())
}

/// The key of that path.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The place of that path, of an item in it or of a section, in the order of [`KEYS`].
pub(super) fn position(path: &str) -> usize {
    let near = |key: &Key| path.starts_with(&key.path) || key.path.starts_with(path);
    KEYS.iter().position(near).unwrap_or(KEYS.len())
}

/// All the ways to set the key of that path.
pub(super) fn ways(path: &str) -> String {
    key(path).map_or_else(|| path.to_owned(), Key::ways)
}

/// The names that may stand in the section of that path (`""`: at the top), in order; none where it is no section.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS.iter() {
        let rest = match section {
            "" => Some(key.path.as_str()),
            _ => key
                .path
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| names.last() != Some(name)));
    }
    names
}

/// What to do about a key that does not exist. `section` is the path of the section it stands in.
pub(super) fn unknown(section: &str, name: &str) -> String {
    let bare = name.to_ascii_lowercase();
    if ["api_key", "apikey", "api-key"].contains(&bare.as_str()) {
        return "secrets do not stand in configuration: name a file with credentials.api_key_file or an environment \
                variable with credentials.api_key_env"
            .to_owned();
    }
    if section == "upstream.proxy" && bare.starts_with("pass") {
        return "passwords do not stand in configuration: name a file with upstream.proxy.password_file"
            .to_owned();
    }
    if ["secret", "password", "token", "passwd", "shared_secret"]
        .iter()
        .any(|word| bare == *word)
        || bare.ends_with("_secret")
        || bare.ends_with("secret_key")
    {
        return "secrets do not stand in configuration: name a file with credentials.secret_file or an environment \
                variable with credentials.secret_env"
            .to_owned();
    }
    let names = names_in(section);
    if section == "routes" {
        // A route is money: none is suggested, all are told.
        return format!("unknown route; the routes are {}", names.join(", "));
    }
    if name.contains('.') {
        return "unknown key; write sections nested, not with dots".to_owned();
    }
    let nearest = names
        .iter()
        .map(|known| (edits(&bare, known), known))
        .min()
        // More than a third wrong is no slip of the finger.
        .filter(|(edits, known)| edits * 3 <= known.len());
    match nearest {
        Some((_, known)) => format!("unknown key; did you mean {known}?"),
        None => format!("unknown key; the keys here are {}", names.join(", ")),
    }
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_stands_twice_and_none_is_also_a_section() {
        let mut seen = HashSet::new();
        for key in KEYS.iter() {
            assert!(seen.insert(&key.path), "{}", key.path);
            assert!(names_in(&key.path).is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn every_path_is_one_that_the_config_crate_reads_as_nested_identifiers() {
        for key in KEYS.iter() {
            let plain = |name: &str| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            };
            assert!(key.path.split('.').all(plain), "{}", key.path);
            assert!(
                !key.path.contains("__"),
                "{} could not be a variable",
                key.path
            );
        }
    }

    #[test]
    fn the_keys_that_need_a_restart_are_those_that_the_documentation_names() {
        let page = include_str!("../../../docs/reload.md");
        let (_, table) = page.split_once("<!-- keys that need").expect("the table");
        let (table, _) = table.split_once("<!-- end -->").expect("its end");
        let named: HashSet<_> = table.split('`').skip(1).step_by(2).collect();
        let fixed = KEYS.iter().filter(|key| key.at_start);
        assert_eq!(named, fixed.map(|key| key.path.as_str()).collect());
    }

    #[test]
    fn names_in_a_section_are_told_once_and_in_order() {
        assert_eq!(names_in("listeners"), ["proxy", "health", "admin"]);
        assert_eq!(names_in("headers"), ["to_ingo", "to_caller"]);
        assert_eq!(names_in("routes").len(), 10);
        assert_eq!(names_in("")[0], "environment");
        assert!(names_in("limit").is_empty());
    }

    #[test]
    fn a_slip_of_the_finger_gets_the_key_that_was_meant() {
        assert_eq!(
            unknown("limits", "body_byte"),
            "unknown key; did you mean body_bytes?"
        );
        assert_eq!(
            unknown("", "Environment"),
            "unknown key; did you mean environment?"
        );
        assert_eq!(
            unknown("headers", "x"),
            "unknown key; the keys here are to_ingo, to_caller"
        );
        assert!(unknown("routes", "proces").contains("create_session, verify, process, debit"));
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
