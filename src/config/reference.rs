//! The reference of the configuration, written from the table of keys: as a file with every key, and as a page.
//!
//! `config/reference.yaml` and `docs/configuration.md` are this module's output; tests hold them to it.

use std::fmt::Write as _;

use super::schema::{self, Form, KEYS, Key};
use crate::ingo::Route;

/// What a file needs that the defaults do not give, so that it stands uncommented in the reference.
const REQUIRED: [&str; 3] = [
    "environment",
    "credentials.username",
    "credentials.secret_file",
];
const WIDTH: usize = 120;
/// Over each table of keys.
const KEYS_HEAD: &str = "| key | form | default | meaning |\n|---|---|---|---|\n";

const YAML_HEAD: &str = "\
Every key of the configuration: its meaning, unit and default. Values shown uncommented are the defaults, but for those \
that are said to be required. `ingo-signing-proxy check` prints what applies and where each value comes from.

Any key can also be set by an environment variable: INGO_PROXY__ and the path in capitals, with `__` for each dot, such \
as INGO_PROXY__LIMITS__BODY_BYTES; a list's items are separated by commas. A flag beats a variable beats this file beats \
the default. Unknown keys, anchors, aliases and tags are mistakes. Text means itself: 0123 and yes need no quotes.

On SIGHUP this file is taken anew without a restart, whole or not at all; a key marked [restart] cannot be changed so. See docs/reload.md.

Durations: 100ms, 10s, 1.5s, 1m; a bare number is seconds. Sizes: bytes, or KiB and MiB (1024, 1024 x 1024 bytes). \
Booleans: true and false. Addresses: IP:PORT (port 0: the system chooses) or unix:/path.

This file is written by `ingo-signing-proxy check --reference yaml`; editors complete a configuration by \
`check --schema`.";

/// A configuration file with every key and its meaning, which says the same as its three required keys alone.
pub fn yaml() -> String {
    let mut text = String::new();
    comment(&mut text, 0, YAML_HEAD);
    let mut around: Vec<&str> = Vec::new();
    for key in KEYS.iter() {
        let (sections, name) = split(&key.path);
        let common = (sections.iter().zip(&around))
            .take_while(|(a, b)| a == b)
            .count();
        if common == 0 {
            text.push('\n');
        }
        for (depth, section) in sections.iter().enumerate().skip(common) {
            let path = sections[..=depth].join(".");
            comment(&mut text, depth, &schema::section_meaning(&path));
            if path == "routes" {
                route_keys(&mut text);
            }
            let _infallible = writeln!(text, "{}{section}:", indent(depth));
        }
        let depth = sections.len();
        if sections.first() != Some(&"routes") {
            comment(&mut text, depth, &remarks(key));
        }
        let (mark, value) = match written_default(key) {
            Some(default) => ("", default),
            None if is_required(key) => ("", example(key).to_owned()),
            None => ("#", example(key).to_owned()),
        };
        let _infallible = writeln!(text, "{}{mark}{name}: {value}", indent(depth));
        around = sections;
    }
    text
}

/// What the keys of every route mean, once for all of them.
fn route_keys(text: &mut String) {
    for (name, key) in kinds_of_route_keys() {
        comment(text, 0, &format!("  {name}: {}", remarks(key)));
    }
}

const PAGE_HEAD: &str = "\
# Configuration

<!-- Written by `ingo-signing-proxy check --reference markdown`; a test holds it to that. -->

A YAML file (`--config FILE`), environment variables and flags. A flag beats a variable beats the file beats the default. Any
key can be set by a variable: `INGO_PROXY__` and its path in capitals with `__` for each dot, such as
`INGO_PROXY__LIMITS__BODY_BYTES`; a list's items are separated by commas.

```sh
ingo-signing-proxy check --config config/minimal.yaml   # what applies, and where each value comes from
ingo-signing-proxy check --reference yaml               # every key with its meaning, as a file to start from
ingo-signing-proxy check --schema                       # JSON Schema
```

An editor with a YAML language server completes and checks the file with the schema beside it and this line at its top:

```yaml
# yaml-language-server: $schema=ingo-signing-proxy.schema.json
environment: sandbox
credentials: {username: your-username, secret_file: /run/secrets/ingo/secret}
```

Durations are `100ms`, `10s`, `1.5s`, `1m`; a bare number is seconds. Sizes are bytes, or KiB and MiB. Text means itself: `0123` and
`yes` need no quotes. Unknown keys, keys that stand twice, anchors, aliases and tags are mistakes; all of a file's mistakes are told at once.
A change of a key marked † needs a restart; every other is taken on [reload](reload.md).
";

/// The reference as a page of Markdown.
pub fn markdown() -> String {
    let mut page = PAGE_HEAD.to_owned();
    let mut section: Option<String> = None;
    let mut routes_told = false;
    for key in KEYS.iter() {
        let (sections, _) = split(&key.path);
        if sections.first() == Some(&"routes") {
            if !routes_told {
                routes_table(&mut page);
                routes_told = true;
            }
            continue;
        }
        let here = sections.join(".");
        if section.as_ref() != Some(&here) {
            let title = if here.is_empty() {
                "at the top".to_owned()
            } else {
                format!("`{here}`")
            };
            let _infallible = write!(page, "\n## {title}\n\n");
            let meaning = schema::section_meaning(&here);
            if !meaning.is_empty() {
                let _infallible = write!(page, "{}\n\n", cell(&meaning));
            }
            page.push_str(KEYS_HEAD);
            section = Some(here);
        }
        row(&mut page, &key.path, key, &shown_default(key));
    }
    page
}

fn routes_table(page: &mut String) {
    let _infallible = write!(
        page,
        "\n## `routes`\n\n{}\n\n| route | what | enabled by default |\n|---|---|---|\n",
        cell(&schema::section_meaning("routes"))
    );
    for route in Route::ALL {
        let meaning = schema::section_meaning(&format!("routes.{}", route.name()));
        let enabled = schema::key(&schema::route_key(route, "enabled"));
        let enabled = enabled
            .and_then(|key| key.default.as_deref())
            .unwrap_or_default();
        let _infallible = writeln!(
            page,
            "| `{}` | {} | {enabled} |",
            route.name(),
            cell(&meaning)
        );
    }
    page.push('\n');
    page.push_str(KEYS_HEAD);
    for (name, key) in kinds_of_route_keys() {
        let of = |route| schema::key(&schema::route_key(route, name)).map(shown_default);
        let usual = shown_default(key);
        let default = match of(Route::Process) {
            _ if name == "enabled" => "see above".to_owned(),
            Some(money) if money != usual && key.default.is_some() => {
                format!("{usual}; where money moves {money}")
            }
            _ if key.default.is_none() => "not set".to_owned(),
            _ => usual,
        };
        row(page, &format!("routes.<name>.{name}"), key, &default);
    }
}

fn row(page: &mut String, path: &str, key: &Key, default: &str) {
    let list = if key.list { "list: " } else { "" };
    let off = if key.off { ", or off" } else { "" };
    let form = cell(&format!("{list}{}{off}", key.form.shown()));
    let restart = if key.at_start { "†" } else { "" };
    let flag = key
        .flag
        .map(|flag| format!(" Flag `{flag}`."))
        .unwrap_or_default();
    let meaning = cell(key.meaning);
    let _infallible = writeln!(
        page,
        "| `{path}`{restart} | {form} | {default} | {meaning}{flag} |"
    );
}

/// Text that stands in a cell of a table.
fn cell(text: &str) -> String {
    let escaped = text
        .replace('|', "\\|")
        .replace('*', "\\*")
        .replace('<', "&lt;");
    // The page stands in docs/ itself.
    let linked = |word: &str| match word.strip_prefix("docs/") {
        Some(page) => {
            let name = page.trim_end_matches('.');
            format!("[docs/{name}]({name}){}", &page[name.len()..])
        }
        None => word.to_owned(),
    };
    let words: Vec<String> = escaped.split(' ').map(linked).collect();
    words.join(" ")
}

fn shown_default(key: &Key) -> String {
    match written_default(key) {
        Some(default) if key.list && default == "[]" => "none".to_owned(),
        Some(default) => format!("`{default}`"),
        None if is_required(key) => "required".to_owned(),
        None if key.path == schema::OF_THE_MACHINE => "the machine's".to_owned(),
        None => key.unset.trim_start_matches("default: ").to_owned(),
    }
}

/// Each key that routes have, as the first route has it that does.
fn kinds_of_route_keys() -> Vec<(&'static str, &'static Key)> {
    let mut kinds: Vec<(&str, &Key)> = Vec::new();
    for key in KEYS.iter() {
        let (sections, name) = split(&key.path);
        let known = kinds.iter().any(|(known, _)| *known == name);
        if sections.first() == Some(&"routes") && !known {
            kinds.push((name, key));
        }
    }
    kinds
}

/// What is told of a key besides its name and value: meaning [form; flag; restart].
fn remarks(key: &Key) -> String {
    let mut details = Vec::new();
    // That a file is one, and a switch is on or off, shows in the name.
    if !matches!(key.form, Form::Boolean | Form::File) {
        let list = if key.list { "a list: " } else { "" };
        let off = if key.off { "off, or " } else { "" };
        details.push(format!("{list}{off}{}", key.form.shown()));
    }
    details.extend(key.flag.map(|flag| format!("flag {flag}")));
    details.extend(key.at_start.then(|| "restart".to_owned()));
    if details.is_empty() {
        return key.meaning.to_owned();
    }
    format!("{} [{}]", key.meaning, details.join("; "))
}

fn written_default(key: &Key) -> Option<String> {
    let default = key
        .default
        .as_ref()
        .filter(|_| key.path != schema::OF_THE_MACHINE)?;
    Some(if key.list {
        format!("[{default}]")
    } else {
        default.clone()
    })
}

fn example(key: &Key) -> &str {
    key.example
        .expect("a test finds keys without default and example")
}

fn is_required(key: &Key) -> bool {
    REQUIRED.contains(&key.path.as_str())
}

fn split(path: &str) -> (Vec<&str>, &str) {
    let mut sections: Vec<&str> = path.split('.').collect();
    let name = sections.pop().unwrap_or_default();
    (sections, name)
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// Writes `text` as comment lines of at most [`WIDTH`] characters.
fn comment(to: &mut String, depth: usize, text: &str) {
    if text.is_empty() {
        return;
    }
    let begin = format!("{}#", indent(depth));
    for paragraph in text.split('\n') {
        let lead: String = paragraph.chars().take_while(|c| *c == ' ').collect();
        let mut line = format!("{begin}{lead}");
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _infallible = writeln!(to, "{line}");
                line = if lead.is_empty() {
                    begin.clone()
                } else {
                    format!("{begin}{lead}   ")
                };
            }
            line.push(' ');
            line.push_str(word);
        }
        let _infallible = writeln!(to, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    /// Says how to write the file anew, not where it differs: `git diff` shows that better.
    fn is_as_written(file: &str, text: &str, now: &str) {
        let same = text == now;
        assert!(
            same,
            "{file} is not what the code says; write it anew with: make reference"
        );
    }

    #[test]
    fn the_reference_file_and_the_page_are_what_the_table_of_keys_says() {
        is_as_written(
            "config/reference.yaml",
            include_str!("../../config/reference.yaml"),
            &yaml(),
        );
        let page = include_str!("../../docs/configuration.md");
        is_as_written("docs/configuration.md", page, &markdown());
    }

    #[test]
    fn every_key_has_a_meaning_in_whole_sentences_and_a_default_or_an_example() {
        for key in KEYS.iter() {
            assert!(key.meaning.ends_with('.'), "{}", key.path);
            assert!(
                key.default.is_some() || key.example.is_some(),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn a_key_takes_the_words_that_its_form_names_and_no_others() {
        for key in KEYS.iter() {
            let Form::Word(words) = &key.form else {
                continue;
            };
            let told = |word: &str| {
                let sources = Sources {
                    file: Some("config/minimal.yaml".into()),
                    environment: vec![(key.variable(), word.to_owned())],
                    ..Sources::default()
                };
                load(&sources)
                    .err()
                    .map_or_else(String::new, |error| error.to_string())
            };
            let form_is_refused = |word: &str| told(word).contains(": must be ");
            for word in *words {
                assert!(!form_is_refused(word), "{}: {}", key.path, told(word));
            }
            assert!(form_is_refused("other"), "{}", key.path);
        }
    }

    #[test]
    fn no_line_of_prose_in_the_file_is_longer_than_a_screen_is_wide() {
        for line in yaml()
            .lines()
            .filter(|line| line.trim_start().starts_with("# "))
        {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}
