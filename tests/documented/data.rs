//! Configurations and other data in the pages.

use std::fs;

use yaml_rust2::{Yaml, YamlLoader};

use super::{
    page::{self, Use},
    place::Place,
};
use crate::support::process::Process;

/// What every configuration needs, where a page shows a part of one.
const BASE: [(&str, &str); 2] = [
    ("environment", "environment: sandbox\n"),
    (
        "credentials",
        "credentials:\n  username: your-username\n  secret_file: /run/secrets/ingo/secret\n",
    ),
];

#[test]
fn every_configuration_in_a_page_passes_check() {
    let place = Place::new();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in page::all() {
        for block in page
            .blocks
            .iter()
            .filter(|b| b.purpose() == Ok(Use::Configuration))
        {
            checked += 1;
            if let Err(why) = check(&place, &block.content) {
                wrong.push(format!("{}:{}: {why}", page.name, block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    assert!(checked > 0, "no configuration was found");
}

#[test]
fn a_wrong_configuration_in_a_page_would_be_found() {
    let place = Place::new();
    assert!(check(&place, "journal: {file: /var/lib/x}\n").is_ok());
    assert!(check(&place, "journal: {fil: /var/lib/x}\n").is_err());
}

/// Completes a part of a configuration and lets `check` read it.
fn check(place: &Place, part: &str) -> Result<(), String> {
    let said = YamlLoader::load_from_str(part).map_err(|e| format!("it is no YAML: {e}"))?;
    let mut whole = part.to_owned();
    for (key, default) in BASE {
        if said.first().is_none_or(|y| y[key].is_badvalue()) {
            whole.push_str(default);
        }
    }
    let file = place.work().join("part.yaml");
    fs::write(&file, whole).unwrap();
    let mut command = place.command("ingo-signing-proxy");
    command
        .env_remove("HTTPS_PROXY")
        .args(["check", "--config"])
        .arg(file);
    command.env(
        "PATH",
        std::env::join_paths([place.folder().join("bin"), "/usr/bin".into(), "/bin".into()])
            .unwrap(),
    );
    let ended = Process::start(command, b"").end(crate::support::PATIENCE);
    if ended.status == Some(0) {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

#[test]
fn other_yaml_and_json_in_a_page_is_well_formed() {
    let mut wrong = Vec::new();
    for page in page::all() {
        for block in &page.blocks {
            let result = match block.purpose() {
                Ok(Use::ForeignYaml) => YamlLoader::load_from_str(&block.content)
                    .map_err(|e| e.to_string())
                    .and_then(|documents| match documents.first() {
                        Some(Yaml::Hash(_) | Yaml::Array(_)) => Ok(()),
                        _ => Err("there is nothing in it".to_owned()),
                    }),
                Ok(Use::Json) => serde_json::from_str::<serde_json::Value>(&block.content)
                    .map(drop)
                    .map_err(|e| e.to_string()),
                _ => Ok(()),
            };
            if let Err(why) = result {
                wrong.push(format!("{}:{}: {why}", page.name, block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
