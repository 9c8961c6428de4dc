//! Manifests that pages show, and what other files of deploy/ say of the same pods.

use std::{fs, process::Command};

use yaml_rust2::{Yaml, YamlLoader};

use super::{
    page::{self, Use, root},
    shell::skipped,
};
use crate::support::process;

/// A service without the sidecar, but with the label.
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: payouts, labels: {ingo-signing-proxy/inject: 'true'}}
spec:
  selector: {matchLabels: {app: payouts}}
  template:
    metadata: {labels: {app: payouts}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - {name: payouts, image: payouts, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
";

#[test]
fn prometheus_scrapes_the_port_that_the_manifests_name() {
    let text =
        fs::read_to_string(root().join("deploy/kubernetes/sidecar/base/sidecar.yaml")).unwrap();
    let sidecar = &YamlLoader::load_from_str(&text).unwrap()[0];
    let container = &sidecar["spec"]["template"]["spec"]["initContainers"][0];
    let name = container["name"].as_str().unwrap();
    let port = container["ports"][0]["name"].as_str().unwrap();
    let scrape = fs::read_to_string(root().join("deploy/observability/prometheus.yaml")).unwrap();
    assert!(
        scrape.contains(&format!("regex: {name};{port}\n")),
        "not {name};{port}"
    );
    let runbook = page::one("docs/runbook.md").text;
    assert!(
        runbook.contains(&format!("its port `{port}`")),
        "not {port}"
    );
}

#[test]
#[ignore = "needs kubectl: make test-all"]
fn the_overlay_of_the_sidecar_guide_puts_the_sidecar_into_a_pod() {
    if !process::is_installed("kubectl", &["version", "--client"]) {
        skipped("kubectl", "the overlay of docs/sidecar.md");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let overlay = folder.path().join("mine");
    fs::create_dir(&overlay).unwrap();
    let base = root().join("deploy/kubernetes/sidecar");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(base)
        .arg(folder.path())
        .status();
    assert!(copied.unwrap().success());
    let page = page::one("docs/sidecar.md");
    let kustomization = page
        .blocks
        .iter()
        .find(|b| b.content.contains("kind: Kustomization"))
        .unwrap();
    let after = page.blocks.iter().filter(|b| b.line > kustomization.line);
    let configuration = after
        .clone()
        .find(|b| b.purpose() == Ok(Use::Configuration))
        .unwrap();
    fs::write(overlay.join("kustomization.yaml"), &kustomization.content).unwrap();
    fs::write(overlay.join("proxy.yaml"), &configuration.content).unwrap();
    fs::write(overlay.join("deployment.yaml"), DEPLOYMENT).unwrap();
    let ended = process::run("kubectl", &["kustomize", overlay.to_str().unwrap()], b"");
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let rendered = String::from_utf8(ended.stdout).unwrap();
    let made = YamlLoader::load_from_str(&rendered).unwrap();
    let of_kind = |kind: &str| {
        made.iter()
            .find(|d| d["kind"].as_str() == Some(kind))
            .unwrap()
    };
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let sidecar = &pod["initContainers"][0];
    assert_eq!(
        sidecar["name"].as_str(),
        Some("ingo-signing-proxy"),
        "{rendered}"
    );
    assert_eq!(
        sidecar["restartPolicy"].as_str(),
        Some("Always"),
        "{rendered}"
    );
    let map = of_kind("ConfigMap");
    assert_eq!(
        map["data"]["proxy.yaml"].as_str(),
        Some(configuration.content.as_str())
    );
    let named = |volume: &&Yaml| volume["configMap"]["name"] == map["metadata"]["name"];
    assert!(
        pod["volumes"].as_vec().unwrap().iter().any(|v| named(&v)),
        "{rendered}"
    );
    // All that a pod with the sidecar owes it, such as a configuration that fits its memory.
    if !process::is_installed("python3", &["-c", "import ensurepip"]) {
        skipped(
            "python3-venv",
            "whether the overlay of docs/sidecar.md is valid",
        );
        return;
    }
    let validate = root().join("deploy/checks/validate");
    let external = ["--external", "Secret/ingo-credentials", "-"];
    let ended = process::run(validate.to_str().unwrap(), &external, rendered.as_bytes());
    assert_eq!(ended.status, Some(0), "{}", ended.output());
}
