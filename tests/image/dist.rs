//! The tarball for hosts: what is in it, that it works, and that packing it again gives the same bytes.

use std::{fs, path::Path, process::Command};

use crate::{
    built::{make, target},
    support::process::{is_installed, run},
};

#[test]
#[ignore = "builds a release"]
fn the_tarball_holds_a_binary_that_runs_and_what_belongs_to_it_and_is_the_same_when_packed_again() {
    if !is_installed("jq", &["--version"]) {
        eprintln!("SKIPPED: the tarball needs jq (apt-get install jq)");
        return;
    }
    make("dist");
    let host = run("rustc", &["--print", "host-tuple"], b"");
    let host = String::from_utf8(host.stdout).unwrap();
    let name = format!(
        "ingo-signing-proxy-{}-{}",
        env!("CARGO_PKG_VERSION"),
        host.trim()
    );
    let tarball = target("dist").join(format!("{name}.tar.gz"));
    let first = fs::read(&tarball).unwrap();
    make("dist");
    assert!(
        first == fs::read(&tarball).unwrap(),
        "two tarballs of one commit differ"
    );
    checked(&target("dist"));

    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&tarball)
        .arg("-C")
        .arg(place.path())
        .status();
    assert!(unpacked.is_ok_and(|s| s.success()));
    let root = place.path().join(&name);
    checked(&root);
    for file in [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "THIRD-PARTY-LICENSES",
        "ingo-signing-proxy.cdx.json",
        "config/reference.yaml",
        "config/minimal.yaml",
        "deploy/systemd/ingo-signing-proxy.service",
        "docs/runbook.md",
        "share/man/man1/ingo-signing-proxy.1",
        "share/man/man1/ingo-signing-proxy-serve.1",
        "share/bash-completion/completions/ingo-signing-proxy",
        "share/zsh/site-functions/_ingo-signing-proxy",
        "share/fish/vendor_completions.d/ingo-signing-proxy.fish",
    ] {
        let size = fs::metadata(root.join(file)).map_or(0, |m| m.len());
        assert!(size > 0, "{file} is missing or empty");
    }
    let binary = root.join("bin/ingo-signing-proxy");
    let said = run(binary.to_str().unwrap(), &["--version"], b"");
    let expected = format!("ingo-signing-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&said.stdout), expected);
}

/// What SHA256SUMS says in `directory` is so.
fn checked(directory: &Path) {
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
