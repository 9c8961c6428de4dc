//! What the tests here have in common: an emulated Ingo, a mounted directory, callers under way.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ingo_signing_proxy::{emulator::Emulator, secret::Secret};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{Builder, Client, PATIENCE, Post, Proxy};

pub(crate) const USERNAME: &str = "acme";
pub(crate) const CALLERS: usize = 32;
pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// A body that the emulator accepts.
pub(crate) fn body(id: &str) -> String {
    json!({
        "participant_unique_id1": id,
        "recipient_information": {
            "first_name": "Ada", "last_name": "Lovelace", "address_line1": "1 Main St",
            "city": "Atlanta", "state": "GA", "zip_code": "30313"
        }
    })
    .to_string()
}

/// An emulated Ingo on a runtime of its own.
pub(crate) struct Ingo {
    pub(crate) emulator: Emulator,
    _runtime: Runtime,
}

impl Ingo {
    pub(crate) fn accepting(credentials: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (username, first) = credentials[0];
        let emulator = runtime
            .block_on(Emulator::builder(username, secret(first)).start())
            .unwrap();
        let ingo = Self {
            emulator,
            _runtime: runtime,
        };
        ingo.accept(credentials);
        ingo
    }

    pub(crate) fn accept(&self, credentials: &[(&str, &str)]) {
        let credentials: Vec<_> = credentials.iter().map(|(u, s)| (*u, secret(s))).collect();
        self.emulator.accept(&credentials);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.emulator.addresses().gateway)
    }
}

/// A directory as Kubernetes mounts a Secret: `<name>` → `..data/<name>` → `..<n>/<name>`.
pub(crate) struct Mounted {
    pub(crate) directory: TempDir,
    version: u32,
}

impl Mounted {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mounted = Self {
            directory,
            version: 0,
        };
        mounted.swap(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mounted.path(name)).unwrap();
        }
        mounted
    }

    /// As the kubelet does it: a new directory, a new link, the link renamed over the old one, the old directory removed.
    pub(crate) fn swap(&mut self, files: &[(&str, &str)]) {
        let root = self.directory.path();
        let former = fs::read_link(root.join("..data")).ok();
        self.version += 1;
        let version = format!("..{}", self.version);
        fs::create_dir(root.join(&version)).unwrap();
        for (name, content) in files {
            fs::write(root.join(&version).join(name), content).unwrap();
        }
        symlink(&version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        if let Some(former) = former {
            fs::remove_dir_all(root.join(former)).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A proxy that reads its secret from `file`.
pub(crate) fn proxy(ingo: &Ingo, file: &Path) -> Builder {
    Proxy::to_url(&ingo.url())
        .secret_file(None)
        .argument("--secret-file")
        .argument(file)
}

/// Callers that ask one after another on connections of their own, until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// How many answers each caller has had.
    answered: Arc<[AtomicU64]>,
    /// Everything that a caller must not get.
    failures: Arc<Mutex<Vec<String>>>,
    callers: Vec<thread::JoinHandle<()>>,
    began: Instant,
}

impl Load {
    pub(crate) fn on(proxy: &Proxy) -> Self {
        Self::of(CALLERS, proxy)
    }

    pub(crate) fn of(callers: usize, proxy: &Proxy) -> Self {
        let load = Self {
            stop: Arc::default(),
            answered: (0..callers).map(|_| AtomicU64::new(0)).collect(),
            failures: Arc::default(),
            callers: Vec::new(),
            began: Instant::now(),
        };
        let callers = (0..callers).map(|caller| {
            let (stop, answered) = (load.stop.clone(), load.answered.clone());
            let failures = load.failures.clone();
            let mut client = Client::connect(proxy.address("proxy"));
            thread::spawn(move || {
                let post = Post::new(body(&format!("caller-{caller}")));
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post(&post);
                    let text = answer.text();
                    let well =
                        text.contains(r#""status":100,"#) || text.contains(r#""status":101,"#);
                    if answer.status != 200 || !well {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("{} {text}", answer.status));
                    }
                    answered[caller].fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let callers = callers.collect();
        Self { callers, ..load }
    }

    /// Waits until each caller has begun and ended `count` exchanges after now, and the one that it is at.
    pub(crate) fn passes(&self, count: u64) {
        let before: Vec<_> = self
            .answered
            .iter()
            .map(|a| a.load(Ordering::Relaxed))
            .collect();
        // The exchange that runs now began before.
        become_true("every caller goes on", PATIENCE * 3, || {
            let now = self.answered.iter().map(|a| a.load(Ordering::Relaxed));
            now.zip(&before).all(|(now, before)| now > before + count)
        });
    }

    pub(crate) fn total(&self) -> u64 {
        self.answered
            .iter()
            .map(|a| a.load(Ordering::Relaxed))
            .sum()
    }

    /// Stops the callers; fails if any of them noticed anything.
    pub(crate) fn end(self, what: &str) {
        let (total, seconds) = (self.total(), self.began.elapsed().as_secs_f64());
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().unwrap();
        }
        println!(
            "{what}: {total} exchanges, {:.0} in a second",
            total as f64 / seconds
        );
        let failures = self.failures.lock().unwrap();
        let first = failures.iter().take(3).collect::<Vec<_>>();
        assert!(
            failures.is_empty(),
            "{} of {total} failed: {first:#?}",
            failures.len()
        );
    }
}

/// Asks until it is so; fails after `bound`. Answers how long it took.
pub(crate) fn become_true(what: &str, bound: Duration, mut is: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < bound, "not within {bound:?}: {what}");
        // Not as often as possible: it is asked over the network, on a machine that is busy.
        thread::park_timeout(Duration::from_millis(1));
    }
    began.elapsed()
}

pub(crate) fn readyz(proxy: &Proxy) -> String {
    let answer = proxy.health("/readyz");
    assert_eq!(answer.status, 200, "a broken file makes nobody unready");
    answer.text()
}

pub(crate) fn readyz_says(proxy: &Proxy, what: &str) -> String {
    let mut said = String::new();
    become_true(what, PATIENCE, || {
        said = readyz(proxy);
        said.contains(what)
    });
    said
}

pub(crate) fn lines_with(proxy: &Proxy, text: &str) -> usize {
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    output.lines().filter(|line| line.contains(text)).count()
}

/// Whether an exchange succeeds now.
pub(crate) fn succeeds(proxy: &Proxy) -> bool {
    let answer = proxy.post(&Post::new(body("one")));
    answer.text().contains(r#""status":100,"#)
}
