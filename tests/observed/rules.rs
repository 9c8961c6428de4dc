//! The files of `deploy/observability` by the tools that Prometheus brings for them.

use std::path::Path;

use crate::{
    server::is_there,
    support::process::{self},
};

fn promtool(arguments: &[&str]) {
    let ended = process::run("promtool", arguments, b"");
    assert_eq!(ended.status, Some(0), "{}", ended.output());
}

fn file(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("deploy/observability").join(name);
    path.display().to_string()
}

#[test]
#[ignore = "needs promtool"]
fn each_alert_fires_in_its_case_and_none_in_the_healthy_one() {
    if is_there("promtool") {
        promtool(&["test", "rules", &file("alerts_test.yaml")]);
    }
}

#[test]
#[ignore = "needs promtool"]
fn the_rules_and_the_scrape_configuration_are_valid() {
    if is_there("promtool") {
        promtool(&["check", "rules", &file("alerts.yaml")]);
        promtool(&["check", "config", &file("prometheus.yaml")]);
    }
}
