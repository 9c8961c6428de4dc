//! The sidecar in rendered manifests, and the same on this machine.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    support::{Ended, PATIENCE, Process, SECRET, tls::Authority},
    yaml,
};

/// A pod with the sidecar in it.
pub(crate) struct Pod {
    /// The kind of what makes it.
    pub(crate) kind: String,
    /// What makes a pod of it.
    pub(crate) spec: Value,
    /// `initContainers` or `containers`: where the sidecar stands.
    pub(crate) field: &'static str,
    /// Its container.
    pub(crate) sidecar: Value,
    /// The text of its configuration, from the ConfigMap that is mounted.
    pub(crate) proxy_yaml: String,
}

/// Every pod among the manifests that has the sidecar.
pub(crate) fn pods(manifests: &[Value]) -> Vec<Pod> {
    let mut pods = Vec::new();
    for manifest in manifests {
        let made = match manifest["kind"] == "CronJob" {
            true => &manifest["spec"]["jobTemplate"]["spec"],
            false => &manifest["spec"],
        };
        let spec = &made["template"]["spec"];
        for field in ["initContainers", "containers"] {
            let Some(sidecar) = container(spec, field, "ingo-signing-proxy") else {
                continue;
            };
            pods.push(Pod {
                kind: manifest["kind"].as_str().unwrap().to_owned(),
                spec: spec.clone(),
                field,
                sidecar: sidecar.clone(),
                proxy_yaml: configuration(manifests, spec, sidecar),
            });
        }
    }
    assert!(!pods.is_empty(), "a pod should have the sidecar");
    pods
}

fn container<'a>(spec: &'a Value, field: &str, name: &str) -> Option<&'a Value> {
    spec[field].as_array()?.iter().find(|c| c["name"] == name)
}

/// The file that `--config` names, by way of mount, volume and ConfigMap.
fn configuration(manifests: &[Value], spec: &Value, sidecar: &Value) -> String {
    let args = texts(&sidecar["args"]);
    let at = args.iter().position(|a| a == "--config").unwrap();
    let (folder, key) = args[at + 1].rsplit_once('/').unwrap();
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|m| m["mountPath"] == folder).unwrap();
    let volumes = spec["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|v| v["name"] == mount["name"]).unwrap();
    let map = manifests
        .iter()
        .find(|m| m["kind"] == "ConfigMap" && m["metadata"]["name"] == volume["configMap"]["name"])
        .unwrap();
    map["data"][key].as_str().unwrap().to_owned()
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|i| i.as_str().unwrap().to_owned()).collect()
}

impl Pod {
    /// What is configured.
    pub(crate) fn config(&self) -> Value {
        yaml::document(&self.proxy_yaml)
    }

    /// How long it has to end.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.spec["terminationGracePeriodSeconds"].as_u64().unwrap())
    }

    /// The emulator's container, where the pod has one.
    pub(crate) fn emulator(&self) -> Option<&Value> {
        container(&self.spec, self.field, "ingo-emulator")
    }
}

/// The files of a pod on this machine, where others than those of the pod are free.
pub(crate) struct Place {
    directory: TempDir,
    replaced: Vec<(String, String)>,
}

impl Place {
    /// The pod's files: its configuration with the paths and ports of this place, and a file for every secret.
    pub(crate) fn of(pod: &Pod) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = |name: &str| directory.path().join(name).display().to_string();
        let mut replaced = Vec::new();
        for (path, name) in [
            ("/etc/ingo-signing-proxy", "config"),
            ("/run/secrets/ingo", "secrets"),
            ("/var/lib/ingo-signing-proxy", "journal"),
            ("/etc/corporate-roots", "roots"),
        ] {
            fs::create_dir(here(name)).unwrap();
            replaced.push((path.to_owned(), here(name)));
        }
        for key in ["secret", "hmac", "next-secret", "api-key"] {
            fs::write(directory.path().join("secrets").join(key), SECRET).unwrap();
        }
        fs::write(
            directory.path().join("roots/ca.pem"),
            Authority::fresh().pem,
        )
        .unwrap();
        let listeners = pod.config()["listeners"].clone();
        for (_, listener) in listeners.as_object().unwrap() {
            let address = listener["address"].as_str().unwrap();
            if address != "off" {
                replaced.push((address.to_owned(), "127.0.0.1:0".to_owned()));
            }
        }
        let place = Self {
            directory,
            replaced,
        };
        let file = place.directory.path().join("config/proxy.yaml");
        fs::write(file, place.here(&pod.proxy_yaml)).unwrap();
        place
    }

    /// The folder that stands for a mount.
    pub(crate) fn folder(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// `text` with what is different here.
    fn here(&self, text: &str) -> String {
        let replace = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.replaced.iter().fold(text.to_owned(), replace)
    }

    /// The program with a container's arguments and environment, and further ones of a test.
    pub(crate) fn command(&self, container: &Value, further: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.directory.path());
        for argument in texts(&container["args"]) {
            command.arg(self.here(&argument));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let of = |member: &str| variable[member].as_str().unwrap().to_owned();
            command.env(of("name"), of("value"));
        }
        command.args(further);
        command
    }

    /// How `check` ends with the configuration.
    pub(crate) fn check(&self) -> Ended {
        check(&self.directory.path().join("config/proxy.yaml"))
    }
}

/// How `check` ends with a configuration file.
pub(crate) fn check(file: &Path) -> Ended {
    let mut command = program();
    command.arg("check").arg("--config").arg(file);
    Process::start(command, b"").end(PATIENCE)
}

/// The program, in an environment that says nothing to it.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let proxied = name.to_ascii_uppercase().ends_with("_PROXY");
        if name == "RUST_LOG" || name.starts_with("INGO_PROXY") || proxied {
            command.env_remove(name);
        }
    }
    command
}
