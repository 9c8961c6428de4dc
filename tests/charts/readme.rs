//! README.md of the library chart says what its files say. No Helm is needed.

use std::fs;

use serde_json::Value;

use crate::{path, text, yaml};

/// Set to write the table of values anew.
const WRITE: &str = "WRITE_CHART_README";

const README: &str = "deploy/helm/ingo-signing-proxy/README.md";
const VALUES: &str = "deploy/helm/ingo-signing-proxy/values.yaml";

/// A value that has a comment of its own: its path and what the comment says.
struct Described {
    path: Vec<String>,
    meaning: String,
}

/// Every key of values.yaml that a comment stands above, with no empty line between.
fn described(values: &str) -> Vec<Described> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    for line in values.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if let Some(words) = content.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        if let Some((key, _)) = content.split_once(':') {
            path.truncate(depth);
            path.push(key.to_owned());
            if !comment.is_empty() {
                found.push(Described {
                    path: path.clone(),
                    meaning: comment.join(" "),
                });
            }
        }
        comment.clear();
    }
    found
}

/// What stands at a path.
fn at<'a>(values: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(values, |value, key| {
        value
            .get(key)
            .unwrap_or_else(|| panic!("{path:?} should be there"))
    })
}

fn table() -> String {
    let values = text(VALUES);
    let parsed = yaml::document(&values);
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for Described { path, meaning } in described(&values) {
        let default = yaml::in_one_line(at(&parsed, &path));
        let name = path.join(".");
        let default = match default.as_str() {
            "unset" => default,
            _ => format!("`{default}`"),
        };
        table.push_str(&format!("| `{name}` | {default} | {meaning} |\n"));
    }
    table
}

/// What stands between the comment that begins with `marker` and the next `<!-- end -->`, and where.
fn section<'a>(document: &'a str, marker: &str) -> (usize, &'a str) {
    let comment = document.find(&format!("<!-- {marker}:")).unwrap();
    let begin = comment + document[comment..].find("-->\n").unwrap() + 4;
    let end = begin + document[begin..].find("<!-- end -->").unwrap();
    (begin, &document[begin..end])
}

#[test]
fn the_readme_has_the_table_of_values_yaml() {
    let readme = text(README);
    let (begin, written) = section(&readme, "values");
    let table = table();
    if std::env::var_os(WRITE).is_some() {
        let after = &readme[begin + written.len()..];
        fs::write(path(README), format!("{}{table}{after}", &readme[..begin])).unwrap();
        return;
    }
    assert!(
        written == table,
        "{README} is not what {VALUES} says; write it anew: {WRITE}=1 cargo test --test charts the_table_of"
    );
}

#[test]
fn no_value_is_left_without_a_comment() {
    fn leaves(
        value: &Value,
        path: &mut Vec<String>,
        covered: &[Described],
        bare: &mut Vec<String>,
    ) {
        if covered.iter().any(|c| c.path == *path) {
            return;
        }
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    path.push(name.clone());
                    leaves(value, path, covered, bare);
                    path.pop();
                }
            }
            _ => bare.push(path.join(".")),
        }
    }
    let values = text(VALUES);
    let mut bare = Vec::new();
    let parsed = yaml::document(&values);
    leaves(&parsed, &mut Vec::new(), &described(&values), &mut bare);
    assert!(bare.is_empty(), "say above each what it is for: {bare:?}");
}

#[test]
fn the_readme_lists_the_parts_that_there_are() {
    let templates = text("deploy/helm/ingo-signing-proxy/templates/_parts.tpl");
    let defined = |line: &str| {
        Some(
            line.split("define \"")
                .nth(1)?
                .split('"')
                .next()?
                .to_owned(),
        )
    };
    let mut parts: Vec<_> = templates.lines().filter_map(defined).collect();
    parts.retain(|part| !part.contains(".private."));
    parts.sort();
    let readme = text(README);
    let (_, listed) = section(&readme, "parts");
    let mut listed: Vec<_> = listed
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    listed.sort();
    assert_eq!(listed, parts);
}
