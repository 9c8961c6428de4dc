//! Queries for Prometheus in the pages: they are good PromQL, and ask for metrics that there are.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use super::page::{self, Page};
use crate::support::process;

#[test]
fn every_metric_that_a_page_names_is_there() {
    let known = metrics();
    assert!(known.contains("exchanges_total") && known.len() > 30);
    let mut wrong = Vec::new();
    for page in page::all() {
        for name in named(&page) {
            let plain = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|s| name.strip_suffix(s));
            let beginning = name
                .strip_suffix('^')
                .map(|b| known.iter().any(|k| k.starts_with(b)));
            if beginning == Some(true) {
                continue;
            }
            if !known.contains(&name) && plain.is_none_or(|plain| !known.contains(plain)) {
                wrong.push(format!("{}: ingo_proxy_{name}", page.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "there are no such metrics:\n{}",
        wrong.join("\n")
    );
}

#[test]
#[ignore = "needs promtool: make test-all"]
fn every_query_in_a_page_is_understood_by_promtool() {
    if !process::is_installed("promtool", &["--version"]) {
        println!("SKIPPED: promtool is not installed");
        return;
    }
    let mut rules = "groups:\n- name: pages\n  rules:\n".to_owned();
    let mut count = 0;
    for page in page::all() {
        for block in page.blocks.iter().filter(|b| b.language == "promql") {
            for query in block.content.lines() {
                count += 1;
                let quoted = serde_json::to_string(query).unwrap();
                let _ = writeln!(rules, "  - record: page:{count}\n    expr: {quoted}");
            }
        }
    }
    assert!(count > 10, "only {count} queries were found");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, rules.replace("page:", "page:q")).unwrap();
    let file = file.to_str().unwrap();
    let ended = process::run("promtool", &["check", "rules", file], b"");
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    fs::write(file, rules.replace("expr: \"", "expr: \"(")).unwrap();
    let ended = process::run("promtool", &["check", "rules", file], b"");
    assert_ne!(ended.status, Some(0), "a broken query is found");
}

/// The metrics of docs/observability.md, without their prefix.
fn metrics() -> BTreeSet<String> {
    let page = page::one("docs/observability.md");
    let table = page
        .text
        .lines()
        .skip_while(|l| !l.starts_with("| metric |"));
    let rows = table.skip(2).take_while(|l| l.starts_with('|'));
    let names = rows.flat_map(|row| {
        row.split('|')
            .nth(1)
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
    });
    names.map(str::to_owned).collect()
}

/// What follows `ingo_proxy_` in a page, where a name does; with `^` at its end where it is a beginning that is searched for.
fn named(page: &Page) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, prefix) in page.text.match_indices("ingo_proxy_") {
        let part = &page.text[at + prefix.len()..];
        let end = part
            .find(|c: char| !c.is_ascii_lowercase() && c != '_')
            .unwrap_or(part.len());
        let searched = page.text[..at].ends_with('^');
        if end > 0 {
            names.insert(format!(
                "{}{}",
                &part[..end],
                if searched { "^" } else { "" }
            ));
        }
    }
    names
}
