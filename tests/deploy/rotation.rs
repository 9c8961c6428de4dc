//! Secrets that the kubelet swaps in the mounted folder, and what the proxy leaves on its file system.

use std::{fs, path::Path};

use crate::{
    manifests::config,
    place::Place,
    stage::become_true,
    support::{PATIENCE, Post, Reply, SECRET, Upstream, session},
};

#[test]
fn a_new_secret_in_the_mounted_folder_is_signed_with_without_a_restart() {
    let username = config("example")["credentials"]["username"].clone();
    let username = username.as_str().unwrap();
    let upstream = Upstream::echoing();
    let mut place = Place::of("example");
    let started = place.before(&upstream);
    let process = started.process.id();
    assert_eq!(started.post(&Post::new(session("former"))).status, 200);
    upstream.only_request().verify(SECRET, username);

    let new = "the-secret-that-was-rotated-in";
    place.secret.swap(&[("secret", new)]);
    become_true("the new secret is loaded", PATIENCE, || {
        let output = String::from_utf8_lossy(&started.process.output()).into_owned();
        output.contains("a secret was loaded and is used from now on")
    });
    assert_eq!(started.post(&Post::new(session("new"))).status, 200);
    let requests = upstream.requests();
    requests[1].verify(new.as_bytes(), username);
    assert_eq!(started.process.id(), process);
    assert_eq!(started.health("/readyz").text(), "ok\n");
}

#[test]
fn a_secret_that_loses_its_key_keeps_the_pod_ready_with_the_one_before() {
    let upstream = Upstream::echoing();
    let mut place = Place::of("example");
    let started = place.before(&upstream);
    place.secret.swap(&[("password", "x")]);
    become_true("readyz warns", PATIENCE, || {
        let answer = started.health("/readyz");
        assert_eq!(answer.status, 200);
        answer.text().contains("warning: ")
    });
    assert_eq!(started.health("/livez").status, 200);
    assert_eq!(started.post(&Post::new(session("p"))).status, 200);
}

#[test]
fn nothing_is_written_but_the_journal_so_that_the_root_file_system_can_be_read_only() {
    for (overlay, written) in [("example", &[][..]), ("money", &["state/journal"][..])] {
        let upstream = Upstream::answering(Reply::json(r#"{"status":100}"#));
        let place = Place::of(overlay);
        let before = files(place.directory.path());
        let started = place.before(&upstream);
        let target = match overlay {
            "money" => "/gateway/process",
            _ => crate::support::SESSIONS,
        };
        assert_eq!(
            started.post(&Post::new(session("p")).to(target)).status,
            200
        );
        started.process.signal("HUP");
        started.process.signal("TERM");
        assert_eq!(started.end().status, Some(0));
        let new: Vec<String> = files(place.directory.path())
            .into_iter()
            .filter(|file| !before.contains(file))
            .collect();
        assert_eq!(new, written, "{overlay}");
    }
}

/// Every file below a folder.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap();
                found.push(relative.display().to_string());
            }
        }
    }
    found.sort();
    found
}
