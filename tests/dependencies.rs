//! `docs/dependencies.md` and `Cargo.toml` name the same direct dependencies, with the same licences.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

/// Name and licence by heading of the page.
type Named = BTreeMap<String, String>;

fn metadata() -> Value {
    // For this system alone: crates for others have not been downloaded by whoever only built and tested.
    let told = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output()
        .unwrap();
    let host = String::from_utf8(told.stdout).unwrap();
    let told = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", host.trim()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    serde_json::from_slice(&told.stdout).unwrap()
}

/// The dependencies of `kind` as Cargo.toml has them, with the licences that their own manifests say.
fn direct(metadata: &Value, kind: &Value) -> Named {
    let packages = metadata["packages"].as_array().unwrap();
    let ours = packages
        .iter()
        .find(|p| p["name"] == env!("CARGO_PKG_NAME"))
        .unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|n| n["id"] == ours["id"]).unwrap();
    let resolved: Vec<&str> = node["deps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["pkg"].as_str().unwrap())
        .collect();
    let names = ours["dependencies"].as_array().unwrap().iter();
    let names = names.filter(|d| d["kind"] == *kind);
    names
        .map(|d| {
            let package = packages
                .iter()
                .find(|p| p["name"] == d["name"] && resolved.contains(&p["id"].as_str().unwrap()));
            let licence = package.unwrap_or_else(|| panic!("{} is resolved", d["name"]))["license"]
                .as_str()
                .unwrap();
            (d["name"].as_str().unwrap().to_owned(), licence.to_owned())
        })
        .collect()
}

/// The rows of the table under `heading`: the crate and its licence.
fn described(page: &str, heading: &str) -> Named {
    let section = page
        .split("\n## ")
        .find(|s| s.starts_with(heading))
        .unwrap_or_else(|| panic!("the page has a heading {heading:?}"));
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 5, "{line}");
            let empty = cells.iter().any(|cell| cell.is_empty());
            assert!(!empty, "an empty cell: {line}");
            let name = cells[0].trim_end_matches(" ●").trim_matches('`');
            (name.to_owned(), cells[3].to_owned())
        })
        .collect()
}

/// The licences that an expression or a cell names, whatever stands between them.
fn licences(text: &str) -> BTreeSet<String> {
    text.replace("OR", " ")
        .replace(" or ", " ")
        .split([' ', '/', ','])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_names_exactly_the_direct_dependencies_with_their_licences() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dependencies.md");
    let page = fs::read_to_string(page).unwrap();
    let metadata = metadata();
    for (heading, kind) in [
        ("In the binary", Value::Null),
        ("In tests only", "dev".into()),
    ] {
        let told = described(&page, heading);
        let there = direct(&metadata, &kind);
        let names = |named: &Named| named.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&told), names(&there), "under {heading:?}");
        for (name, licence) in &told {
            assert_eq!(licences(licence), licences(&there[name]), "{name}");
        }
    }
}

#[test]
fn the_page_marks_exactly_what_the_library_face_needs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dependencies.md");
    let page = fs::read_to_string(page).unwrap();
    let marked: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` ● |"))
        .map(|(name, _)| name.to_owned())
        .collect();
    let metadata = metadata();
    let ours = metadata["packages"].as_array().unwrap().iter();
    let ours = ours.filter(|p| p["name"] == env!("CARGO_PKG_NAME"));
    let needed: BTreeSet<String> = ours
        .flat_map(|p| p["dependencies"].as_array().unwrap())
        .filter(|d| d["kind"].is_null() && d["optional"] == false)
        .map(|d| d["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(marked, needed);
}
