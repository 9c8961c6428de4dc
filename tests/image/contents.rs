//! What is in the image, and what is not.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use crate::{
    built::{commit, digest, image, make},
    support::contains,
};

/// Beside its base, of which this image has none.
const LARGEST: u64 = 25 * 1024 * 1024;

#[test]
#[ignore = "needs buildah"]
fn it_runs_as_nobody_and_starts_to_serve() {
    let Some(image) = image() else { return };
    let config = &image.config["config"];
    assert_eq!(
        config["User"], "65532:65532",
        "by number, for runAsNonRoot: {config}"
    );
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/ingo-signing-proxy"]));
    assert_eq!(config["Cmd"], json!(["serve"]));
    let passwd = fs::read_to_string(image.root.join("etc/passwd")).unwrap();
    assert!(passwd.contains("nonroot:x:65532:65532:"), "{passwd}");
}

#[test]
#[ignore = "needs buildah"]
fn it_says_what_it_is_in_labels_and_annotations() {
    let Some(image) = image() else { return };
    let labels = &image.config["config"]["Labels"];
    let annotations = &image.manifest["annotations"];
    let told = |name: &str| {
        labels[format!("org.opencontainers.image.{name}")]
            .as_str()
            .unwrap_or_else(|| panic!("a label {name}: {labels}"))
    };
    assert_eq!(told("title"), env!("CARGO_PKG_NAME"));
    assert_eq!(told("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(told("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(told("version"), env!("CARGO_PKG_VERSION"));
    let (revision, date) = commit();
    assert_eq!(told("revision"), revision);
    let created = told("created");
    assert_eq!(created, rfc_3339(date.parse().unwrap()));
    assert_eq!(image.config["created"], created, "the image's own date");
    for name in ["version", "revision", "created"] {
        let name = format!("org.opencontainers.image.{name}");
        assert_eq!(annotations[&name], labels[&name], "{annotations}");
    }
    let sbom = labels["ingo-signing-proxy.sbom"].as_str().unwrap();
    assert!(image.root.join(sbom.trim_start_matches('/')).is_file());
    let names: BTreeSet<&String> = labels.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 7, "and no other labels: {names:?}");
}

#[test]
#[ignore = "needs buildah"]
fn it_holds_no_other_program_and_nothing_that_gives_or_lends_rights() {
    let Some(image) = image() else { return };
    let mut executable = Vec::new();
    for entry in &image.entries {
        let kind = entry.mode.as_bytes()[0];
        assert!(
            matches!(kind, b'd' | b'-'),
            "no links, no devices: {entry:?}"
        );
        assert!(!entry.mode.contains(['s', 'S', 't', 'T']), "{entry:?}");
        assert_eq!(entry.owner, "0/0", "{entry:?}");
        let written_by_others = [5, 8].map(|at| entry.mode.as_bytes()[at] == b'w');
        assert_eq!(written_by_others, [false, false], "{entry:?}");
        if kind == b'-' && entry.mode.contains('x') {
            executable.push(entry.name.as_str());
        }
    }
    assert_eq!(executable, ["usr/bin/ingo-signing-proxy"]);
}

#[test]
#[ignore = "needs buildah"]
fn it_holds_these_files_and_no_others_under_25_mib_in_all() {
    let Some(image) = image() else { return };
    let files = image.entries.iter().filter(|e| e.mode.starts_with('-'));
    let names: BTreeSet<&str> = files.clone().map(|e| e.name.as_str()).collect();
    let expected = BTreeSet::from([
        "etc/group",
        "etc/nsswitch.conf",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/ingo-signing-proxy",
        "usr/share/doc/ingo-signing-proxy/LGPL-2.1",
        "usr/share/doc/ingo-signing-proxy/LICENSE",
        "usr/share/doc/ingo-signing-proxy/THIRD-PARTY-LICENSES",
        "usr/share/sbom/ingo-signing-proxy.cdx.json",
    ]);
    assert_eq!(names, expected);
    let size: u64 = files.map(|e| e.size).sum();
    let layers = image.manifest["layers"].as_array().unwrap();
    let packed: u64 = layers.iter().map(|l| l["size"].as_u64().unwrap()).sum();
    println!("image: {size} bytes, {packed} packed");
    assert!(size < LARGEST, "{size} bytes");
}

#[test]
#[ignore = "needs buildah"]
fn it_trusts_mozillas_roots_and_none_that_this_machine_added() {
    let Some(image) = image() else { return };
    let bundle = image.root.join("etc/ssl/certs/ca-certificates.crt");
    let told = certificates(&fs::read_to_string(bundle).unwrap());
    assert!(told.len() > 100, "{} roots", told.len());
    let mozilla = files("/usr/share/ca-certificates/mozilla");
    let mozilla: BTreeSet<_> = mozilla.iter().flat_map(|f| certificates(f)).collect();
    assert_eq!(told, mozilla);
    for local in files("/usr/local/share/ca-certificates") {
        for certificate in certificates(&local) {
            assert!(!told.contains(&certificate), "a root of this machine");
        }
    }
}

#[test]
#[ignore = "needs buildah"]
fn its_binary_names_no_directory_of_the_machine_that_built_it() {
    let Some(image) = image() else { return };
    let binary = fs::read(image.root.join("usr/bin/ingo-signing-proxy")).unwrap();
    let registry = concat!(".cargo", "/registry");
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    for here in [registry, sources] {
        assert!(!contains(&binary, here.as_bytes()), "{here} is in it");
    }
    // The search would find them: what they were replaced by is there.
    assert!(contains(&binary, b"/registry/"));
}

#[test]
#[ignore = "needs buildah"]
fn its_binary_does_not_tell_when_it_was_compiled() {
    let Some(image) = image() else { return };
    let binary = fs::read(image.root.join("usr/bin/ingo-signing-proxy")).unwrap();
    // __DATE__ of C, "Nov 20 2026" and a zero byte. mimalloc has one; it is the same for all builds.
    let dates: BTreeSet<String> = binary
        .windows(12)
        .filter(|w| w[11] == 0 && w[3] == b' ' && w[6] == b' ')
        .filter(|w| w[..3].is_ascii() && w[7..11].iter().all(u8::is_ascii_digit))
        .filter(|w| MONTHS.contains(&String::from_utf8_lossy(&w[..3]).as_ref()))
        .map(|w| String::from_utf8_lossy(&w[..11]).into_owned())
        .collect();
    assert_eq!(dates, BTreeSet::from(["Jan  1 1970".to_owned()]));
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[test]
#[ignore = "needs buildah"]
fn building_it_again_gives_the_same_digest() {
    let Some(image) = image() else { return };
    make("image");
    assert_eq!(image.digest, digest());
}

fn rfc_3339(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let (date, (hour, minute, second)) = (at.date(), at.time().as_hms());
    // time writes a date as RFC 3339 does.
    format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The certificates of a PEM text, each as the letters between its lines.
fn certificates(pem: &str) -> BTreeSet<String> {
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|rest| rest.split("-----END").next().unwrap())
        .map(|letters| letters.split_whitespace().collect())
        .collect()
}

fn files(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}
