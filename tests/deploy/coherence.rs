//! That the manifests agree with each other, with the configuration they mount, and with the version of the program.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    manifests::{OVERLAYS, config, grace, manifest, mount, pod, proxy_yaml, sidecar},
    path,
    place::{Place, effective, seconds},
    text, yaml,
};

#[test]
fn every_overlay_is_tested() {
    let folder = path("deploy/kubernetes/sidecar/overlays");
    let there: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, OVERLAYS.map(str::to_owned).into());
}

#[test]
fn each_configuration_is_accepted_without_a_warning_and_leaves_the_time_to_finish() {
    for overlay in OVERLAYS {
        let place = Place::of(overlay);
        let checked = place.check();
        let output = checked.output();
        assert_eq!(checked.status, Some(0), "{overlay}: {output}");
        assert_eq!(String::from_utf8_lossy(&checked.stderr), "", "{overlay}");
        let drain = seconds(&effective(&output, "shutdown_delay"))
            + seconds(&effective(&output, "shutdown_limit"));
        let grace = grace(overlay).as_secs_f64();
        // The app comes first, or beside it, and the kubelet is not the fastest.
        assert!(
            grace >= drain + 10.0,
            "{overlay}: {grace} s, of which the proxy may take {drain}"
        );
    }
}

#[test]
fn the_kubelet_reaches_the_health_listener_and_only_the_pod_reaches_the_proxy() {
    let ports = sidecar()["ports"].clone();
    assert_eq!(ports.as_array().unwrap().len(), 1, "the proxy has no port");
    assert_eq!(ports[0]["name"], "ingo-health");
    for overlay in OVERLAYS {
        let listeners = config(overlay)["listeners"].clone();
        let health = listeners["health"]["address"].as_str().unwrap();
        assert_eq!(
            health,
            format!("0.0.0.0:{}", ports[0]["containerPort"]),
            "{overlay}"
        );
        assert_eq!(
            listeners["proxy"]["address"], "127.0.0.1:8646",
            "{overlay}: what docs and apps say"
        );
    }
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    for probe in probes {
        assert_eq!(sidecar()[probe]["httpGet"]["port"], "ingo-health");
    }
    let monitor = manifest("podmonitor/podmonitor.yaml");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], "ingo-health");
    assert_eq!(endpoint["path"], "/metrics");
    assert_eq!(endpoint["relabelings"][0]["targetLabel"], "job");
    assert_eq!(
        endpoint["relabelings"][0]["replacement"],
        "ingo-signing-proxy"
    );
    // The labels that it selects are those that every pod is given.
    let given = manifest("base/sidecar.yaml")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], given);
    let policy = manifest("networkpolicy/networkpolicy.yaml");
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], given);
    let opened = &policy["spec"]["ingress"][0]["ports"][0]["port"];
    assert_eq!(*opened, ports[0]["containerPort"]);
}

#[test]
fn what_the_configuration_names_is_mounted_where_it_says() {
    let args = sidecar()["args"].clone();
    let file = format!("{}/proxy.yaml", mount("ingo-signing-proxy"));
    assert_eq!(args, serde_json::json!(["serve", "--config", file]));
    for overlay in OVERLAYS {
        let config = config(overlay);
        let secret = config["credentials"]["secret_file"].as_str().unwrap();
        assert_eq!(
            secret,
            format!("{}/secret", mount("ingo-credentials")),
            "{overlay}"
        );
        // Whatever the overlay makes of it, its ConfigMap has the key that is mounted as that file.
        let kustomization = manifest(&format!("overlays/{overlay}/kustomization.yaml"));
        let map = &kustomization["configMapGenerator"][0];
        assert_eq!(map["name"], "ingo-signing-proxy", "{overlay}");
        assert_eq!(map["files"], serde_json::json!(["proxy.yaml"]), "{overlay}");
    }
    let volumes = pod()["volumes"].clone();
    assert_eq!(volumes[0]["configMap"]["name"], "ingo-signing-proxy");
    assert_eq!(volumes[1]["secret"]["secretName"], "ingo-credentials");
    for volume in [&volumes[0]["configMap"], &volumes[1]["secret"]] {
        // The files are root's, and the proxy is not.
        assert_eq!(volume["defaultMode"], 0o444);
    }
    let journal = manifest("journal/journal.yaml");
    let mounted = &journal["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"][0];
    let file = config("money")["journal"]["file"].clone();
    assert_eq!(
        file.as_str().unwrap(),
        format!("{}/journal", mounted["mountPath"].as_str().unwrap())
    );
    let group = &journal["spec"]["template"]["spec"]["securityContext"]["fsGroup"];
    assert_eq!(*group, sidecar()["securityContext"]["runAsGroup"]);
}

#[test]
fn a_cron_job_gets_what_every_other_workload_gets() {
    let template = |name: &str| manifest(name)["spec"].clone();
    let usual = template("base/sidecar.yaml")["template"].clone();
    let deeper = template("base/sidecar-cronjob.yaml")["jobTemplate"]["spec"]["template"].clone();
    assert_eq!(usual, deeper);
}

#[test]
fn every_manifest_runs_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let tag = |name: &str| manifest(name)["images"][0]["newTag"].clone();
    assert_eq!(tag("base/kustomization.yaml"), version);
    assert_eq!(tag("overlays/try/kustomization.yaml"), version);
    let compose = text("deploy/compose.yaml");
    assert!(compose.contains(&format!("image: ingo-signing-proxy:{version}\n")));
}

#[test]
fn the_memory_limit_is_reckoned_from_limits_that_every_configuration_sets() {
    let limits = config("example")["limits"].clone();
    for overlay in OVERLAYS {
        assert_eq!(config(overlay)["limits"], limits, "{overlay}");
    }
    let bytes = |text: &Value| {
        let text = text.as_str().unwrap();
        let number = text.trim_end_matches("MiB").trim_end_matches("Mi");
        number.parse::<u64>().unwrap() << 20
    };
    // Idle and after load, each connection with a head of 32 KiB, and all bodies: see base/sidecar.yaml.
    let connections = limits["inbound_connections"].as_u64().unwrap() * (24 + 45) * 1024;
    let needed = (14 << 20) + connections + bytes(&limits["buffered_bytes"]);
    let limit = bytes(&sidecar()["resources"]["limits"]["memory"]);
    assert!(limit >= needed * 3 / 2, "{limit} bytes, of {needed}");
}

#[test]
fn no_secret_stands_in_a_manifest_but_the_one_that_is_made_up() {
    for overlay in OVERLAYS {
        let kustomization = manifest(&format!("overlays/{overlay}/kustomization.yaml"));
        let secrets = &kustomization["secretGenerator"];
        assert_eq!(secrets.is_null(), overlay != "try", "{overlay}");
        let credentials = yaml::document(&proxy_yaml(overlay))["credentials"].clone();
        let keys: Vec<&String> = credentials.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["secret_file", "username"], "{overlay}");
    }
}
