//! What stands twice in the charts' files, or elsewhere too, is the same. No Helm is needed.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{path, text, yaml};

const LIBRARY: &str = "deploy/helm/ingo-signing-proxy";
const EXAMPLE: &str = "deploy/helm/example-app";

#[test]
fn the_charts_are_of_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    let library = yaml::document(&text(&format!("{LIBRARY}/Chart.yaml")));
    assert_eq!(library["version"], version);
    assert_eq!(library["appVersion"], version);
    for file in ["Chart.yaml", "Chart.lock"] {
        let example = yaml::document(&text(&format!("{EXAMPLE}/{file}")));
        assert_eq!(example["dependencies"][0]["version"], version, "{file}");
    }
}

#[test]
fn the_example_is_the_same_service_as_that_of_kustomize() {
    let folder = |name: &str| -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(path(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|file| {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(file).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let ours = folder(&format!("{EXAMPLE}/files"));
    assert!(!ours.is_empty());
    let theirs = folder("deploy/kubernetes/sidecar/overlays/example/app/code");
    assert!(
        ours == theirs,
        "copy deploy/kubernetes/sidecar/overlays/example/app/code to {EXAMPLE}/files"
    );
}

#[test]
fn what_needs_a_restart_replaces_the_pods_although_the_proxy_reloads_by_itself() {
    let template = text(&format!("{LIBRARY}/templates/_configuration.tpl"));
    let picked = template.split("(pick $parsed ").nth(1).unwrap();
    let picked: BTreeSet<_> = picked.split(')').next().unwrap().split('"').collect();
    let page = text("docs/reload.md");
    let table = page.split("<!-- keys that need a restart").nth(1).unwrap();
    let table = table.split("<!-- end -->").next().unwrap();
    let keys: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 20, "the table should have been found");
    for key in keys {
        let section = key.split('.').next().unwrap();
        assert!(picked.contains(section), "{key} is read at the start only");
    }
}

#[test]
fn the_schema_knows_the_values_that_there_are_and_no_others() {
    fn compare(path: &str, values: &Value, schema: &Value, differences: &mut Vec<String>) {
        let (Some(values), Some(properties)) =
            (values.as_object(), schema["properties"].as_object())
        else {
            return;
        };
        if schema["additionalProperties"] != false {
            differences.push(format!("{path}additionalProperties is not false"));
        }
        for name in properties.keys().filter(|name| *name != "global") {
            if !values.contains_key(name) {
                differences.push(format!("{path}{name} is no value"));
            }
        }
        for (name, value) in values {
            match properties.get(name) {
                None => differences.push(format!("{path}{name} is not in the schema")),
                Some(of) => compare(&format!("{path}{name}."), value, of, differences),
            }
        }
    }
    for chart in [LIBRARY, EXAMPLE] {
        let values = yaml::document(&text(&format!("{chart}/values.yaml")));
        let schema = text(&format!("{chart}/values.schema.json"));
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let mut differences = Vec::new();
        compare("", &values, &schema, &mut differences);
        assert!(differences.is_empty(), "{chart}: {differences:#?}");
    }
}
