//! Links within the project lead somewhere: to a file, and to a heading of it.

use std::{collections::HashSet, fs, path::Path};

use super::page::{self, Page, root};

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in page::all() {
        for (line, target) in links(&page) {
            if let Err(why) = follow(&page.name, &target) {
                wrong.push(format!("{}:{line}: {target}: {why}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_page_can_be_found_from_the_readme() {
    let mut found = HashSet::from(["README.md".to_owned()]);
    let mut to_read = vec!["README.md".to_owned()];
    while let Some(name) = to_read.pop() {
        for (_, target) in links(&page::one(&name)) {
            let Some(file) = resolved(&name, &target) else {
                continue;
            };
            if file.ends_with(".md") && root().join(&file).is_file() && found.insert(file.clone()) {
                to_read.push(file);
            }
        }
    }
    let lost = page::all()
        .into_iter()
        .map(|p| p.name)
        .filter(|n| !found.contains(n));
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "no link leads to {}", lost.join(", "));
}

#[test]
fn a_link_that_leads_nowhere_would_be_found() {
    assert!(follow("docs/verify.md", "protocol.md#2-hosts").is_ok());
    assert!(follow("docs/verify.md", "protocol.md#3-hosts").is_err());
    assert!(follow("docs/verify.md", "no-such-page.md").is_err());
    assert!(follow("docs/verify.md", "../README.md").is_ok());
}

/// What a page links to, with the line.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in without_code(line).split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            found.push((number + 1, target.to_owned()));
        }
    }
    found
}

/// A line without what stands in backticks, unless that is a link's text.
fn without_code(line: &str) -> String {
    let mut text = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 0 {
            text.push_str(part);
        }
    }
    text
}

/// The file from the root that a target names; `None` for what is elsewhere.
fn resolved(from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return Some(from.to_owned());
    }
    let mut path: Vec<&str> = from.split('/').collect();
    path.pop();
    for part in file.split('/') {
        match part {
            ".." => {
                path.pop()?;
            }
            "." | "" => {}
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

fn follow(from: &str, target: &str) -> Result<(), String> {
    let Some(file) = resolved(from, target) else {
        return Ok(());
    };
    let path = root().join(&file);
    if !path.exists() {
        return Err("there is no such file".to_owned());
    }
    match target.split_once('#') {
        Some((_, anchor)) if file.ends_with(".md") => {
            if anchors(&path).contains(anchor) {
                Ok(())
            } else {
                Err(format!("{file} has no such heading"))
            }
        }
        _ => Ok(()),
    }
}

/// The headings of a page as GitHub makes anchors of them.
fn anchors(file: &Path) -> HashSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut fenced = false;
    let mut found = HashSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if !fenced && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    found
}
