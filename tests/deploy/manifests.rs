//! What the manifests of `deploy/kubernetes/sidecar` say.

use std::time::Duration;

use serde_json::Value;

use crate::{text, yaml};

/// Every overlay there is; a test compares them with the folders.
pub(crate) const OVERLAYS: [&str; 4] = ["example", "try", "money", "before-1.29"];

/// One of the manifests, by its path below the folder of the sidecar.
pub(crate) fn manifest(name: &str) -> Value {
    yaml::document(&text(&format!("deploy/kubernetes/sidecar/{name}")))
}

/// What a pod gets.
pub(crate) fn pod() -> Value {
    manifest("base/sidecar.yaml")["spec"]["template"]["spec"].clone()
}

/// The sidecar's container.
pub(crate) fn sidecar() -> Value {
    let containers = pod()["initContainers"].clone();
    containers[0].clone()
}

/// The text of an overlay's configuration.
pub(crate) fn proxy_yaml(overlay: &str) -> String {
    text(&format!(
        "deploy/kubernetes/sidecar/overlays/{overlay}/proxy.yaml"
    ))
}

/// An overlay's configuration.
pub(crate) fn config(overlay: &str) -> Value {
    yaml::document(&proxy_yaml(overlay))
}

/// How long the pods of an overlay have to end.
pub(crate) fn grace(overlay: &str) -> Duration {
    let of = match overlay {
        "money" => {
            manifest("journal/journal.yaml")["spec"]["template"]["spec"]
                ["terminationGracePeriodSeconds"]
                .clone()
        }
        _ => pod()["terminationGracePeriodSeconds"].clone(),
    };
    Duration::from_secs(of.as_u64().unwrap())
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|i| i.as_str().unwrap().to_owned()).collect()
}

/// One of the sidecar's mounts, by the name of its volume: where it is.
pub(crate) fn mount(volume: &str) -> String {
    let mounts = sidecar()["volumeMounts"].clone();
    let mut mounts = mounts.as_array().unwrap().iter();
    let found = mounts.find(|m| m["name"] == volume);
    let found = found.unwrap_or_else(|| panic!("{volume} should be mounted"));
    found["mountPath"].as_str().unwrap().to_owned()
}
