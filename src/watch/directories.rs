//! What the system tells of directories: that something in them changed, and who is writing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant, SystemTime},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use parking_lot::Mutex;

/// Who has begun to write a file and not closed it is waited for, since a copy over a network may stall; for this long after the
/// last write, because word of the end can be lost.
const WRITER_STALLS: Duration = Duration::from_secs(60);

/// The files that someone has begun to write and not closed, by when they were last written to.
#[derive(Clone, Default)]
struct Writers(Arc<Mutex<HashMap<PathBuf, Instant>>>);

impl Writers {
    /// Takes note of what the system tells.
    fn note(&self, event: &Event) {
        let mut writing = self.0.lock();
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    writing.insert(path.clone(), Instant::now());
                }
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    writing.remove(path);
                }
                _ => {}
            }
        }
        writing.retain(|_, at| at.elapsed() < WRITER_STALLS);
    }

    /// Whether `path` is being written.
    fn write(&self, path: &Path) -> bool {
        let written = self.0.lock().get(path).copied();
        written.is_some_and(|at| at.elapsed() < WRITER_STALLS)
    }
}

/// What makes a directory this one and no other that came in its place.
type Identity = (u64, u64, Option<SystemTime>);

/// The directories of the files, and the watch on each.
pub(super) struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    writers: Writers,
    /// A refusal is said once.
    refused: bool,
}

impl Directories {
    /// Wakes when something happens to a file of those names in one of the directories, or to what Kubernetes keeps beside them.
    pub(super) fn new(
        directories: impl Iterator<Item = PathBuf>,
        named: HashSet<OsString>,
        wake: SyncSender<()>,
    ) -> Self {
        let writers = Writers::default();
        let noted = writers.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            noted.note(&event);
            // `..data` and the directories that it points to.
            let concerns = |path: &PathBuf| {
                path.file_name().is_none_or(|name| {
                    named.contains(name) || name.as_encoded_bytes().starts_with(b"..")
                })
            };
            if changes(event.kind) && event.paths.iter().any(concerns) {
                // Where it is full, the thread wakes anyway.
                let _woken = wake.try_send(());
            }
        });
        let mut directories = Self {
            watcher: None,
            watched: directories.map(|directory| (directory, None)).collect(),
            writers,
            refused: false,
        };
        match watcher {
            Ok(watcher) => directories.watcher = Some(watcher),
            Err(error) => directories.refuse(&error),
        }
        directories
    }

    /// Watches each directory, also one that came in place of another.
    pub(super) fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut refusal = None;
        for (directory, watched) in &mut self.watched {
            let now = identity(directory).ok();
            if *watched == now {
                continue;
            }
            // Of a directory that is gone the watch is, too.
            let _gone = watcher.unwatch(directory);
            *watched = None;
            if now.is_some() {
                match watcher.watch(directory, RecursiveMode::NonRecursive) {
                    Ok(()) => *watched = now,
                    Err(error) => refusal = Some(error),
                }
            }
        }
        if let Some(error) = refusal {
            self.refuse(&error);
        }
    }

    /// Whether someone has begun to write `path` and not closed it.
    pub(super) fn is_written(&self, path: &Path) -> bool {
        self.writers.write(path)
    }

    fn refuse(&mut self, error: &notify::Error) {
        if !self.refused {
            tracing::warn!(%error, "the system does not tell of changes to files, so they are looked at every second; raise fs.inotify.max_user_instances and max_user_watches to hear of them at once");
            self.refused = true;
        }
    }
}

fn identity(directory: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(directory)?;
    // The number of an inode is given again; its birth is not.
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Our own reading is an event as well; looking again for it would never end.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
