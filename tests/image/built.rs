//! The scratch image, built once as a user builds it, and unpacked.
//!
//! Builds in a storage of its own: nothing is left among the images of this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::support::process::is_installed;

/// The unpacked image.
pub struct Image {
    /// What its container begins with.
    pub root: PathBuf,
    /// How its container is run: user, entry point, labels.
    pub config: Value,
    /// Its manifest: layers, annotations.
    pub manifest: Value,
    /// The digest of the manifest, by which a registry names it.
    pub digest: String,
    /// Every entry of its layers, as `tar -tv --numeric-owner` writes them: mode, owner, size, time, name.
    pub entries: Vec<Entry>,
}

/// A file of a layer.
#[derive(Debug)]
pub struct Entry {
    /// As `ls` writes it: `-rwxr-xr-x`.
    pub mode: String,
    /// `uid/gid`.
    pub owner: String,
    /// In bytes.
    pub size: u64,
    /// Without a slash in front.
    pub name: String,
}

/// The image; `None`, said aloud, where it cannot be built.
pub fn image() -> Option<&'static Image> {
    static IMAGE: OnceLock<Option<Image>> = OnceLock::new();
    IMAGE.get_or_init(|| has_builder().then(build)).as_ref()
}

/// What another process of this test has unpacked.
pub fn unpacked() -> Image {
    read(&work())
}

/// The same, where its binary can also be run in it.
pub fn image_to_run() -> Option<&'static Image> {
    if !is_installed("sh", &["-c", "test $(id -u) = 0 && unshare --mount true"]) {
        eprintln!("SKIPPED: running the image's binary needs root, for chroot and mounts");
        return None;
    }
    image()
}

fn has_builder() -> bool {
    let missing: Vec<_> = ["buildah", "jq"]
        .into_iter()
        .filter(|program| !is_installed(program, &["--version"]))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        eprintln!("SKIPPED: the image needs {missing} (apt-get install {missing})");
    }
    missing.is_empty()
}

/// The commit that is built and its date, seconds since 1970: as they were when the first test asked, because a commit
/// while the tests run would make the second build another one.
pub fn commit() -> &'static (String, String) {
    static COMMIT: OnceLock<(String, String)> = OnceLock::new();
    COMMIT.get_or_init(|| {
        let given = |name| env::var(name).ok();
        let revision = given("INGO_PROXY_REVISION");
        let date = given("SOURCE_DATE_EPOCH");
        (
            revision.unwrap_or_else(|| git(&["rev-parse", "--short=12", "HEAD"])),
            date.unwrap_or_else(|| git(&["log", "-1", "--format=%ct"])),
        )
    })
}

/// What git says of this checkout.
pub fn git(arguments: &[&str]) -> String {
    let told = Command::new("git")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

/// Runs `make TARGET` with buildah's storage elsewhere.
pub fn make(target: &str) -> String {
    let (revision, date) = commit();
    let storage = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let settings = storage.path().join("storage.conf");
    let [graph, run] = ["graph", "run"].map(|name| storage.path().join(name));
    let content = format!("[storage]\ndriver = 'vfs'\ngraphroot = {graph:?}\nrunroot = {run:?}\n");
    fs::write(&settings, content).unwrap();
    let made = Command::new("make")
        .args(["--no-print-directory", target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CONTAINERS_STORAGE_CONF", settings)
        .env("STORAGE_DRIVER", "vfs")
        .env("BUILDAH_ISOLATION", "chroot")
        .env("IMAGE_BUILDER", "buildah")
        .env("IMAGE_VARIANT", "scratch")
        .env_remove("IMAGE")
        .env_remove("IMAGE_SOURCE")
        .env_remove("CA_BUNDLE")
        .env("INGO_PROXY_REVISION", revision)
        .env("SOURCE_DATE_EPOCH", date)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "make {target} failed:\n{said}");
    said
}

/// A file or directory of the target folder.
pub fn target(path: &str) -> PathBuf {
    // Cargo keeps target/tmp for integration tests; the rest is around it.
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join(path)
}

/// The digest of what `make image` built last.
pub fn digest() -> String {
    let index = tar(&["-xOf".as_ref(), &archive(), "index.json".as_ref()]);
    let index: Value = serde_json::from_str(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str();
    digest.unwrap().to_owned()
}

fn archive() -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    target(&format!("image/ingo-signing-proxy-{version}-scratch.tar"))
}

fn build() -> Image {
    make("image");
    unpack(&archive())
}

/// Unpacks an OCI archive.
fn unpack(archive: &Path) -> Image {
    let work = work();
    let _ = fs::remove_dir_all(&work);
    let [layout, root] = ["layout", "root"].map(|name| work.join(name));
    fs::create_dir_all(&layout).unwrap();
    fs::create_dir_all(&root).unwrap();
    tar(&["-xf".as_ref(), archive, "-C".as_ref(), &layout]);
    let image = read(&work);
    for layer in image.layers(&layout) {
        tar(&["-xzpf".as_ref(), &layer, "-C".as_ref(), &root]);
    }
    mount_points(&root);
    image
}

/// Not removed at the end, being for all tests: one folder, emptied by the next run.
fn work() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("unpacked-image")
}

fn read(work: &Path) -> Image {
    let layout = work.join("layout");
    let index: Value = json(&layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = json(&blob(&layout, &index["manifests"][0]["digest"]));
    let config = json(&blob(&layout, &manifest["config"]["digest"]));
    let mut image = Image {
        root: work.join("root"),
        config,
        manifest,
        digest,
        entries: Vec::new(),
    };
    for layer in image.layers(&layout) {
        let listed = tar(&["-tvzf".as_ref(), &layer, "--numeric-owner".as_ref()]);
        image.entries.extend(listed.lines().map(entry));
    }
    image
}

impl Image {
    fn layers(&self, layout: &Path) -> Vec<PathBuf> {
        let layers = self.manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| blob(layout, &layer["digest"])).collect()
    }
}

fn blob(layout: &Path, digest: &Value) -> PathBuf {
    let digest = digest.as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// What a container runtime makes before it mounts over it.
fn mount_points(root: &Path) {
    for directory in ["etc/ingo-signing-proxy", "run/secrets/ingo"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["etc/hosts", "etc/resolv.conf", "run/secrets/authority.pem"] {
        fs::write(root.join(file), "").unwrap();
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn tar(arguments: &[&Path]) -> String {
    let done = Command::new("tar").args(arguments).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn entry(line: &str) -> Entry {
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut word = || words.next().unwrap();
    let (mode, owner) = (word(), word());
    let size = word().parse().unwrap();
    let (_day, _time) = (word(), word());
    Entry {
        mode,
        owner,
        size,
        name: word().trim_matches('/').to_owned(),
    }
}
