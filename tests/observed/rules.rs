//! The files of `deploy/observability` by the tools that Prometheus brings for them.

use std::{path::Path, process::Command, time::Duration};

use crate::{server::is_there, support::Process};

/// The cases of the alerts take promtool half a minute of processor time, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

fn promtool(arguments: &[&str]) {
    let mut command = Command::new("promtool");
    command.args(arguments);
    let ended = Process::start(command, b"").end(PATIENCE);
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
