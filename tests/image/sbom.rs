//! The SBOM names what is in the binary: by cargo's own resolver, and by the sources that the binary's line numbers name.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    process::Command,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::built::{Image, image, target};

fn sbom(image: &Image) -> Value {
    let path = image
        .root
        .join("usr/share/sbom/ingo-signing-proxy.cdx.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The crates among the components, as `name-version`.
fn crates(sbom: &Value) -> BTreeSet<String> {
    let components = sbom["components"].as_array().unwrap().iter();
    components
        .filter(|c| {
            c["purl"]
                .as_str()
                .is_some_and(|p| p.starts_with("pkg:cargo/"))
        })
        .map(|c| {
            format!(
                "{}-{}",
                c["name"].as_str().unwrap(),
                c["version"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
#[ignore = "needs buildah"]
fn its_crates_are_those_that_cargo_builds_without_those_for_tests() {
    let Some(image) = image() else { return };
    let told = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let mut built: BTreeSet<String> = String::from_utf8(told.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!(
                "{}-{}",
                words.next()?,
                words.next()?.trim_start_matches('v')
            ))
        })
        .collect();
    // The whole, of which the others are parts.
    let ours = concat!(env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION"));
    assert!(built.remove(ours));
    assert_eq!(crates(&sbom(image)), built);
}

#[test]
#[ignore = "needs buildah"]
fn every_crate_whose_code_is_in_the_binary_is_named() {
    let Some(image) = image() else { return };
    let host = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output()
        .unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let lines = format!("shipped/{}-static/ingo-signing-proxy.debug", host.trim());
    let compiled = sources(&fs::read(target(&lines)).unwrap());
    assert!(
        compiled.len() > 100,
        "the search finds too little: {compiled:?}"
    );
    let unnamed: Vec<_> = compiled
        .difference(&crates(&sbom(image)))
        .cloned()
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

#[test]
#[ignore = "needs buildah"]
fn it_names_the_binary_by_its_digest_and_all_that_no_crate_names() {
    let Some(image) = image() else { return };
    let sbom = sbom(image);
    let binary = fs::read(image.root.join("usr/bin/ingo-signing-proxy")).unwrap();
    let digest: String = Sha256::digest(&binary)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let component = &sbom["metadata"]["component"];
    assert_eq!(component["hashes"][0]["content"], digest, "{component}");
    assert_eq!(component["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let components = sbom["components"].as_array().unwrap();
    for name in ["rust-std", "glibc", "libgcc", "ca-certificates"] {
        let named = components.iter().find(|c| c["name"] == name);
        let version = named.unwrap_or_else(|| panic!("{name} is not named"))["version"].as_str();
        assert!(version.is_some_and(|v| !v.is_empty()), "{name}");
    }
    // Whoever depends on whom: no end of an edge is missing.
    let known: HashSet<&Value> = components
        .iter()
        .chain([component])
        .map(|c| &c["bom-ref"])
        .collect();
    for dependency in sbom["dependencies"].as_array().unwrap() {
        let ends = dependency["dependsOn"].as_array().into_iter().flatten();
        for end in ends.chain([&dependency["ref"]]) {
            assert!(known.contains(end), "{end}");
        }
    }
}

#[test]
#[ignore = "needs buildah"]
fn the_same_lies_beside_the_image_and_names_no_directory_of_this_machine() {
    let Some(image) = image() else { return };
    let inside = image
        .root
        .join("usr/share/sbom/ingo-signing-proxy.cdx.json");
    let inside = fs::read_to_string(inside).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let beside = format!("image/ingo-signing-proxy-{version}-scratch.cdx.json");
    assert_eq!(inside, fs::read_to_string(target(&beside)).unwrap());
    assert!(!inside.contains(env!("CARGO_MANIFEST_DIR")));
}

/// `name-version` of every directory below /registry that is named in these bytes.
fn sources(binary: &[u8]) -> BTreeSet<String> {
    const REGISTRY: &[u8] = b"/registry/";
    let mut found = BTreeSet::new();
    let mut rest = binary;
    while let Some(at) = rest.windows(REGISTRY.len()).position(|w| w == REGISTRY) {
        rest = &rest[at + REGISTRY.len()..];
        let end = rest.iter().position(|byte| !is_of_a_name(*byte));
        let name = String::from_utf8_lossy(&rest[..end.unwrap_or(0)]).into_owned();
        if name.contains('-') {
            found.insert(name);
        }
    }
    found
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte)
}
