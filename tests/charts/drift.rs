//! The sidecar of Helm is that of Kustomize (`deploy/kubernetes/sidecar`), but for names.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    helm::Helm,
    path,
    pod::{Pod, pods},
    support::{PATIENCE, Process, contains, process::is_installed},
    yaml,
};

/// What an overlay renders; nothing, said aloud, where no Kustomize is there that knows components.
fn overlay(name: &str) -> Option<Vec<Value>> {
    let folder = path("deploy/kubernetes/sidecar/overlays").join(name);
    let kubectl = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    // Components need Kustomize 3.7; a kubectl that has it says so.
    let kubectl = kubectl.is_ok_and(|said| contains(&said.stdout, b"Kustomize"));
    let (program, subcommand) = match is_installed("kustomize", &["version"]) {
        true => ("kustomize", "build"),
        false if kubectl => ("kubectl", "kustomize"),
        false => {
            eprintln!("SKIPPED: neither kustomize nor a kubectl from 1.27 on is installed");
            return None;
        }
    };
    let mut command = Command::new(program);
    command.arg(subcommand).arg(folder);
    let ended = Process::start(command, b"").end(PATIENCE);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    Some(yaml::documents(&String::from_utf8(ended.stdout).unwrap()))
}

/// What of a pod concerns the sidecar, with names that are the same everywhere.
fn sidecar(pod: &Pod) -> Value {
    let mounts: Vec<&str> = pod.sidecar["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["name"].as_str().unwrap())
        .collect();
    let volumes: Vec<Value> = pod.spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|volume| mounts.contains(&volume["name"].as_str().unwrap()))
        // A journal is on a claim that each of the two gets in its own way.
        .filter(|volume| volume.get("persistentVolumeClaim").is_none())
        .map(|volume| {
            let mut volume = volume.clone();
            if let Some(map) = volume.get_mut("configMap") {
                map["name"] = "a ConfigMap".into();
            }
            if let Some(secret) = volume.get_mut("secret") {
                secret["secretName"] = "a Secret".into();
            }
            volume
        })
        .collect();
    let mut container = pod.sidecar.clone();
    let by_name = |mount: &Value| mount["name"].as_str().unwrap().to_owned();
    let mounts = container["volumeMounts"].as_array_mut().unwrap();
    mounts.sort_by_key(by_name);
    let first = pod.spec["initContainers"]
        .as_array()
        .and_then(|all| all.first());
    json!({
        "kind": pod.kind.replace("StatefulSet", "Deployment").replace("CronJob", "Job"),
        "stands in": pod.field,
        "container": container,
        "volumes": volumes,
        "grace": pod.grace().as_secs(),
        "group": pod.spec["securityContext"]["fsGroup"],
        "configuration": pod.config(),
        "emulator": pod.emulator(),
        "first": first.map(|container| &container["name"]),
    })
}

fn of(manifests: &[Value]) -> Vec<Value> {
    let mut sidecars: Vec<_> = pods(manifests).iter().map(sidecar).collect();
    sidecars.sort_by_key(|sidecar| sidecar["kind"].as_str().unwrap().to_owned());
    sidecars
}

/// Compares an overlay with the example and further values.
fn same(name: &str, arguments: &[String]) {
    let (Some(helm), Some(theirs)) = (Helm::there(), overlay(name)) else {
        return;
    };
    let (ours, theirs) = (of(&helm.render(arguments)), of(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for (part, value) in theirs.as_object().unwrap() {
            assert_eq!(
                &ours[part], value,
                "{name}: {part}: Helm on the left, Kustomize on the right"
            );
        }
    }
    assert_eq!(ours.len(), theirs.len(), "{name}: the same workloads");
}

fn values(name: &str) -> Vec<String> {
    Helm::case(&path("deploy/helm/example-app").join(name)).arguments
}

#[test]
#[ignore = "needs helm and kubectl"]
fn helm_and_kustomize_make_the_same_sidecar() {
    same("example", &values("values-sandbox.yaml"));
}

#[test]
#[ignore = "needs helm and kubectl"]
fn helm_and_kustomize_make_the_same_sidecar_beside_an_emulator() {
    same("try", &["--set=job.enabled=false".to_owned()]);
}

#[test]
#[ignore = "needs helm and kubectl"]
fn helm_and_kustomize_make_the_same_sidecar_where_money_moves() {
    let mut arguments = values("ci/money.yaml");
    arguments.push("--set=ingo-signing-proxy.routes.debit.deadline=null".to_owned());
    same("money", &arguments);
}

#[test]
#[ignore = "needs helm and kubectl"]
fn helm_and_kustomize_make_the_same_ordinary_container_for_old_clusters() {
    same("before-1.29", &values("ci/before-1.29.yaml"));
}

#[test]
#[ignore = "needs helm and kubectl"]
fn helm_and_kustomize_scrape_the_same() {
    let (Some(helm), Some(theirs)) = (Helm::there(), overlay("money")) else {
        return;
    };
    let endpoints = |manifests: &[Value]| {
        let monitor = manifests
            .iter()
            .find(|m| m["kind"] == "PodMonitor")
            .unwrap();
        monitor["spec"]["podMetricsEndpoints"].clone()
    };
    let ours = helm.render(&["--set=ingo-signing-proxy.podMonitor.enabled=true".to_owned()]);
    assert_eq!(endpoints(&ours), endpoints(&theirs));
}
