//! Holds the layers of ARCHITECTURE.md: who may use whom, what is pure, and where Pingora may be named.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each module and the modules of this crate that it may use. A module may use only those that stand above it.
const LAYERS: &[(&str, &[&str])] = &[
    ("words", &[]),
    ("overlay", &[]),
    ("allocator", &[]),
    ("secret", &[]),
    ("clock", &[]),
    ("signing", &["secret"]),
    ("framing", &[]),
    ("capture", &["framing", "signing"]),
    ("ingo", &[]),
    ("problem", &[]),
    ("retry", &["ingo"]),
    ("idempotency", &["ingo", "secret"]),
    ("traceparent", &[]),
    ("moment", &[]),
    ("bounds", &[]),
    ("lifecycle", &[]),
    ("message", &[]),
    ("config", &["ingo", "secret", "signing"]),
    ("watch", &["secret"]),
    ("credentials", &["config", "secret", "signing", "watch"]),
    ("tls", &["config", "secret", "watch"]),
    (
        "telemetry",
        &[
            "config",
            "ingo",
            "moment",
            "problem",
            "retry",
            "secret",
            "tls",
            "traceparent",
        ],
    ),
    ("journal", &["clock", "config", "ingo", "moment"]),
    (
        "listener",
        &["bounds", "config", "framing", "lifecycle", "tls"],
    ),
    (
        "upstream",
        &[
            "bounds",
            "config",
            "credentials",
            "ingo",
            "message",
            "retry",
            "secret",
            "telemetry",
            "tls",
            "watch",
        ],
    ),
    (
        "exchange",
        &[
            "bounds",
            "clock",
            "config",
            "credentials",
            "framing",
            "idempotency",
            "ingo",
            "journal",
            "lifecycle",
            "listener",
            "message",
            "problem",
            "retry",
            "signing",
            "telemetry",
            "tls",
            "traceparent",
            "upstream",
        ],
    ),
    (
        "admin",
        &[
            "exchange",
            "ingo",
            "journal",
            "lifecycle",
            "listener",
            "moment",
            "problem",
            "telemetry",
            "upstream",
        ],
    ),
    (
        "emulator",
        &[
            "bounds", "clock", "config", "exchange", "framing", "ingo", "listener", "secret",
            "signing",
        ],
    ),
    (
        "server",
        &[
            "admin",
            "allocator",
            "bounds",
            "clock",
            "config",
            "credentials",
            "exchange",
            "idempotency",
            "journal",
            "lifecycle",
            "listener",
            "problem",
            "retry",
            "secret",
            "telemetry",
            "tls",
            "upstream",
            "watch",
        ],
    ),
    (
        "doctor",
        &[
            "clock",
            "config",
            "credentials",
            "ingo",
            "signing",
            "tls",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "capture",
            "clock",
            "config",
            "credentials",
            "doctor",
            "emulator",
            "ingo",
            "journal",
            "lifecycle",
            "listener",
            "secret",
            "server",
            "signing",
            "telemetry",
        ],
    ),
];

/// Bytes and times go in, values come out.
const PURE: &[&str] = &[
    "framing",
    "signing",
    "capture",
    "ingo",
    "problem",
    "retry",
    "idempotency",
    "traceparent",
];
/// What a pure module has no business with.
const IMPURE: &[&str] = &[
    "pingora",
    "tokio::",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "SystemTime::now",
    "Instant::now",
    "new_v4",
    "tracing::",
];
/// The only modules that name Pingora.
const PINGORA: &[&str] = &[
    "overlay", "listener", "upstream", "exchange", "admin", "emulator",
];

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let mut above = BTreeSet::new();
    for (module, uses) in LAYERS {
        for used in *uses {
            assert!(
                above.contains(used),
                "{module} may not use {used}: it stands beside or above"
            );
        }
        above.insert(*module);
    }
    let allowed: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    for (module, file, code) in sources() {
        let uses = allowed.get(module.as_str()).unwrap_or_else(|| {
            panic!(
                "the module {module} has no place in the layers; give it one here and in src/lib.rs"
            )
        });
        for used in crate_paths(&code) {
            assert!(
                used == module || uses.contains(&used.as_str()),
                "{} uses crate::{used}, which {module} may not",
                file.display()
            );
        }
    }
}

#[test]
fn the_pure_core_touches_neither_the_system_nor_the_clock() {
    for (module, file, code) in sources() {
        if PURE.contains(&module.as_str()) {
            for word in IMPURE {
                assert!(
                    !code.contains(word),
                    "{} names {word}, but {module} is pure",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn pingora_is_named_in_the_network_layer_only() {
    for (module, file, code) in sources() {
        if !PINGORA.contains(&module.as_str()) {
            assert!(
                !code.contains("pingora::"),
                "{} names pingora",
                file.display()
            );
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (_, file, code) in sources() {
        let lines = code.lines().count();
        assert!(
            lines <= 500,
            "{} has {lines} lines before its tests: split it",
            file.display()
        );
    }
}

#[test]
fn main_only_hands_over() {
    let main = fs::read_to_string(root().join("main.rs")).unwrap();
    assert!(main.lines().count() <= 60);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its top module, its path, and its code without comments and tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test_file(&path) {
                let relative = path.strip_prefix(root()).unwrap();
                let top = relative
                    .components()
                    .next()
                    .unwrap()
                    .as_os_str()
                    .to_str()
                    .unwrap();
                let module = top.trim_end_matches(".rs").to_owned();
                if module != "lib" && module != "main" {
                    found.push((module, path.clone(), code_of(&path)));
                }
            }
        }
    }
    assert!(
        found.len() > 40,
        "the sources are where they are looked for"
    );
    found
}

/// Whether the file is a `mod` that its parent declares under `#[cfg(test)]`.
fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let parent = path.parent().unwrap().join("mod.rs");
    let declared = fs::read_to_string(parent).unwrap_or_default();
    let lines: Vec<_> = declared.lines().collect();
    lines
        .windows(2)
        .any(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim() == format!("mod {name};"))
}

fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .take_while(|l| *l != "#[cfg(test)]" || !text.contains("mod tests {"));
    lines
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules named by `crate::name` or in `use crate::{name…, name…}`.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(top_names(group));
        } else {
            found.insert(word(rest));
        }
    }
    found.retain(|name| LAYERS.iter().any(|(module, _)| module == name));
    found
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// The first words of the comma-separated paths of a `use` group, which may nest.
fn top_names(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut names) = (0_usize, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                names.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}
