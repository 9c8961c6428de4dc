//! The library chart in charts of other people: twice by an alias, included wrongly, under odd names, upgraded.

use serde_json::Value;

use crate::{helm::Helm, path, pod::pods, yaml};

/// What every chart here needs of it.
const VALUES: &str = "{environment: sandbox, username: acme, secret: {name: ingo-credentials}}";

/// A chart that has the library once by its name and once as `second`.
fn twice(helm: &Helm, name: &str, template: &str) -> Result<Vec<Value>, String> {
    let dependency = format!(
        "name: ingo-signing-proxy, version: {}, repository: \"file://../ingo-signing-proxy\"",
        env!("CARGO_PKG_VERSION")
    );
    let chart = format!(
        "{{apiVersion: v2, name: {name}, version: 1.0.0, dependencies: [{{{dependency}}}, {{{dependency}, alias: second}}]}}"
    );
    let values = format!("ingo-signing-proxy: {VALUES}\nsecond: {VALUES}\n");
    helm.chart(
        name,
        &[
            ("Chart.yaml", &chart),
            ("values.yaml", &values),
            ("templates/all.yaml", template),
        ],
    )
}

#[test]
#[ignore = "needs helm"]
fn a_second_configuration_by_an_alias_has_names_and_values_of_its_own() {
    let Some(helm) = Helm::there() else { return };
    let template = "\
{{- range list $ .Subcharts.second }}
---
{{ include \"ingo-signing-proxy.configMap\" . }}
---
annotations: {{ include \"ingo-signing-proxy.podAnnotations\" . | nindent 2 }}
volumes: {{ include \"ingo-signing-proxy.volumes\" . | nindent 2 }}
{{- end }}
";
    let documents = twice(&helm, "aliased", template).unwrap();
    // Helm puts hooks last, whatever the template has between them.
    let [of_first, of_second, first, second] = &documents[..] else {
        panic!("{documents:#?}");
    };
    for (map, parts, name) in [
        (first, of_first, "example-ingo-signing-proxy-"),
        (second, of_second, "example-second-"),
    ] {
        let (own, mounted) = (
            &map["metadata"]["name"],
            &parts["volumes"][0]["configMap"]["name"],
        );
        assert!(own.as_str().unwrap().starts_with(name), "{own}");
        assert_eq!(own, mounted);
        let label = &map["metadata"]["labels"]["app.kubernetes.io/name"];
        assert_eq!(label, "ingo-signing-proxy");
    }
    let checksum = &of_second["annotations"]["checksum/second"];
    assert_eq!(checksum.as_str().map(str::len), Some(64), "{of_second:#?}");
}

#[test]
#[ignore = "needs helm"]
fn whoever_includes_a_part_without_the_root_context_is_told_what_to_write() {
    let Some(helm) = Helm::there() else { return };
    for (name, template, told) in [
        (
            "within-with",
            "{{ with .Values.second }}{{ include \"ingo-signing-proxy.volumes\" . }}{{ end }}",
            "ingo-signing-proxy.volumes was included without the chart's root context; write: include \"ingo-signing-proxy.volumes\" $",
        ),
        (
            "within-range",
            "{{ range list 1 }}{{ include \"ingo-signing-proxy.container\" . }}{{ end }}",
            "write: include \"ingo-signing-proxy.container\" $",
        ),
    ] {
        let refused = twice(&helm, name, template).unwrap_err();
        assert!(refused.contains(told), "{name}: {refused}");
    }
}

#[test]
#[ignore = "needs helm"]
fn a_release_whose_name_looks_like_a_number_has_names_that_are_text() {
    let Some(helm) = Helm::there() else { return };
    let arguments = ["--name-template=1234", "--namespace=5678"].map(str::to_owned);
    for manifest in helm.render(&arguments) {
        let metadata = &manifest["metadata"];
        let labels = metadata["labels"].as_object().unwrap().values();
        let pod = &manifest["spec"]["template"]["metadata"];
        let of_pod = pod["labels"].as_object().into_iter().flatten();
        let all = [&metadata["name"], &metadata["namespace"]].into_iter();
        for value in all.chain(labels).chain(of_pod.map(|(_, value)| value)) {
            assert!(value.is_string(), "{value} in {manifest:#}");
        }
    }
}

#[test]
#[ignore = "needs helm"]
fn another_configuration_replaces_the_pods_unless_they_take_it_by_themselves() {
    let Some(helm) = Helm::there() else { return };
    let annotation = |sets: &[&str]| {
        let manifests = helm.render(
            &sets
                .iter()
                .map(|set| format!("--set={set}"))
                .collect::<Vec<_>>(),
        );
        let deployment = manifests
            .iter()
            .find(|m| m["kind"] == "Deployment")
            .unwrap();
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        annotations["checksum/ingo-signing-proxy"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    const ROUTE: &str = "ingo-signing-proxy.routes.verify.enabled=true";
    const THREADS: &str = "ingo-signing-proxy.threads=3";
    const RELOADED: &str = "ingo-signing-proxy.config.reload_on_change=true";
    assert_ne!(annotation(&[]), annotation(&[ROUTE]));
    let by_itself = annotation(&[RELOADED]);
    assert_ne!(
        annotation(&[]),
        by_itself,
        "whether it reloads is read at the start"
    );
    assert_eq!(annotation(&[RELOADED, ROUTE]), by_itself);
    assert_ne!(annotation(&[RELOADED, THREADS]), by_itself);
}

#[test]
#[ignore = "needs helm"]
fn another_configuration_is_another_config_map_and_the_former_one_stays_for_the_pods_of_before() {
    let Some(helm) = Helm::there() else { return };
    let map = |sets: &[&str]| {
        let sets: Vec<_> = sets.iter().map(|set| format!("--set={set}")).collect();
        let manifests = helm.render(&sets);
        let named = |m: &&Value| m["data"]["proxy.yaml"].is_string();
        let map = manifests.iter().find(named).unwrap().clone();
        for pod in pods(&manifests) {
            let mut volumes = pod.spec["volumes"].as_array().unwrap().iter();
            let ours = volumes.find(|v| v["name"] == "ingo-signing-proxy");
            assert_eq!(ours.unwrap()["configMap"]["name"], map["metadata"]["name"]);
        }
        map
    };
    const WRONG: &str =
        "ingo-signing-proxy.config.credentials.secret_file=/run/secrets/ingo/elsewhere";
    const RELOADED: &str = "ingo-signing-proxy.config.reload_on_change=true";
    let (before, after) = (map(&[]), map(&[WRONG]));
    assert_ne!(before["metadata"]["name"], after["metadata"]["name"]);
    assert_eq!(before["immutable"], true);
    // Helm deletes what a release no longer has, but no hook; and it makes a hook anew when it goes back.
    let annotations = &before["metadata"]["annotations"];
    let hook = annotations["helm.sh/hook"].as_str().unwrap();
    assert_eq!(hook, "pre-install,pre-upgrade,pre-rollback");
    let deleted = &annotations["helm.sh/hook-delete-policy"];
    assert_eq!(deleted, "before-hook-creation");

    // What a pod takes while it runs must be the same object.
    let (before, after) = (map(&[RELOADED]), map(&[RELOADED, WRONG]));
    assert_eq!(before["metadata"], after["metadata"]);
    assert_ne!(before["data"], after["data"]);
    assert!(before["immutable"].is_null() && before["metadata"]["annotations"].is_null());
}

#[test]
#[ignore = "needs helm"]
fn a_digest_beats_the_version_and_stands_beside_a_tag() {
    let Some(helm) = Helm::there() else { return };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let version = env!("CARGO_PKG_VERSION");
    for (sets, expected) in [
        (vec![], format!("ingo-signing-proxy:{version}")),
        (
            vec!["tag=9.9".to_owned()],
            "ingo-signing-proxy:9.9".to_owned(),
        ),
        (
            vec![format!("digest={digest}")],
            format!("ingo-signing-proxy@{digest}"),
        ),
        (
            vec!["tag=9.9".to_owned(), format!("digest={digest}")],
            format!("ingo-signing-proxy:9.9@{digest}"),
        ),
    ] {
        let sets: Vec<_> = sets
            .iter()
            .map(|set| format!("--set-string=ingo-signing-proxy.image.{set}"))
            .collect();
        for pod in pods(&helm.render(&sets)) {
            assert_eq!(pod.sidecar["image"], expected.as_str());
        }
    }
}

#[test]
#[ignore = "needs helm"]
fn what_the_readme_says_to_write_is_a_chart() {
    let Some(helm) = Helm::there() else { return };
    let readme = crate::text("deploy/helm/ingo-signing-proxy/README.md");
    let mut fences = readme.split("\n```");
    let mut blocks = Vec::new();
    while let (Some(_), Some(block)) = (fences.next(), fences.next()) {
        let (kind, content) = block.split_once('\n').unwrap();
        if kind.starts_with("yaml") || kind == "gotemplate" {
            blocks.push(content);
        }
    }
    let [dependencies, values, template, ..] = blocks[..] else {
        panic!("three blocks of YAML");
    };
    let chart = format!("apiVersion: v2\nname: written\nversion: 1.0.0\n{dependencies}\n");
    let template = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: written}}\nspec:\n{}",
        template.replace(
            "        - name: your-service\n",
            "        - name: your-service\n          image: x\n"
        )
    );
    let files = [
        ("Chart.yaml", chart.as_str()),
        ("values.yaml", values),
        ("templates/all.yaml", &template),
    ];
    let manifests = helm.chart("written", &files).unwrap();
    let pod = pods(&manifests).remove(0);
    let case = Helm::case(&path("deploy/helm/example-app/values-sandbox.yaml"));
    let example = pods(&helm.render(&case.arguments)).remove(0);
    assert_eq!(pod.sidecar, example.sidecar);
    assert_eq!(pod.config(), example.config());
    let url = &pod.spec["containers"][0]["env"][0]["value"];
    assert_eq!(url, "http://127.0.0.1:8646");
    assert_eq!(yaml::document(&pod.proxy_yaml)["environment"], "sandbox");
}
