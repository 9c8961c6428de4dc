//! Notices what becomes of secret files: told by the system, and by looking every second.
//!
//! The directory is watched and not the file: Kubernetes changes a mounted Secret by renaming a link beside it, and a watch
//! on the file would stay with what was deleted. What changed is taken when two looks a moment apart agree, so that half a
//! file is not. All this runs on a thread of its own, because a file system can hang; no exchange waits for it.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use parking_lot::Mutex;

use super::{
    read::{SecretError, read_secret},
    rotation::{Part, Rotation},
};
use crate::{config::SecretSource, secret::Secret};

/// How long no word of the system is waited for: network file systems send none, and limits of inotify can be exhausted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks that must agree. Where the system does not tell who writes, or a file is closed half written, a pause of
/// more in the middle cannot be told from the end.
const SETTLE: Duration = Duration::from_millis(250);
/// Who has begun to write a file and not closed it is waited for, since a copy over a network may stall; for this long after the
/// last write, because word of the end can be lost.
const WRITER_STALLS: Duration = Duration::from_secs(60);
/// Trouble that stays is counted and logged again after this long, so that an alert on the metric stays too.
const REMIND_AFTER: Duration = Duration::from_secs(60);

/// A file that a secret was read from.
#[derive(Debug)]
pub(super) struct Watched {
    part: Part,
    source: SecretSource,
    directory: PathBuf,
    /// As the system names it when it tells of it.
    path: PathBuf,
    /// What was last taken from it, or found in it where it is never taken.
    held: Secret,
    /// What was last said to be wrong with it, and when.
    said: Option<(String, Instant)>,
}

impl Watched {
    /// The file that `secret` was read from; `None` where it was no regular file: an environment variable does not change, and
    /// a pipe cannot be read twice.
    pub(super) fn of(part: Part, source: &SecretSource, secret: &Secret) -> Option<Self> {
        let SecretSource::File(path) = source else {
            return None;
        };
        let regular = fs::metadata(path).is_ok_and(|m| m.is_file());
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        regular.then(|| Self {
            part,
            source: source.clone(),
            path: directory.join(path.file_name().unwrap_or_default()),
            directory,
            held: secret.clone(),
            said: None,
        })
    }

    /// What is in the file, if that is not what is held.
    fn suspicion(&self) -> Option<Result<Secret, SecretError>> {
        match read_secret(&self.source) {
            Ok(secret) if secret.is_same(&self.held) => None,
            found => Some(found),
        }
    }

    /// Acts on what was found twice.
    fn settle(&mut self, found: Result<Secret, SecretError>, rotation: &Rotation) {
        if self.part == Part::Idempotency {
            if let Ok(secret) = found {
                self.held = secret;
                tracing::warn!(
                    secret = self.part.key(),
                    "the file changed, and the secret that was read at the start stays in use: with another one every derived key is another, so that a repeat is no longer recognised; put the former one back before this process is started again"
                );
            }
            return;
        }
        let taken = found.and_then(|secret| {
            rotation.take(self.part, secret.clone())?;
            self.held = secret;
            Ok(())
        });
        match taken {
            Ok(()) => self.said = None,
            Err(error) => self.complain(error.to_string(), rotation),
        }
    }

    fn complain(&mut self, what: String, rotation: &Rotation) {
        let recently =
            |(said, at): &(String, Instant)| *said == what && at.elapsed() < REMIND_AFTER;
        if !self.said.as_ref().is_some_and(recently) {
            rotation.trouble(self.part, what.clone());
            self.said = Some((what, Instant::now()));
        }
    }
}

/// Files are watched until this is dropped.
#[derive(Debug)]
pub struct Watching {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Where it is full, the thread wakes anyway.
        let _woken = self.wake.try_send(());
    }
}

impl Watching {
    pub(super) fn over(rotation: Arc<Rotation>, files: Vec<Watched>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // One is enough: whatever happened, all files are looked at.
        let (wake, woken) = sync_channel(1);
        if !files.is_empty() {
            let thread = Thread {
                rotation,
                directories: Directories::new(&files, wake.clone()),
                files,
                stop: stop.clone(),
                woken,
            };
            let started = thread::Builder::new()
                .name("secret-files".to_owned())
                .spawn(move || thread.run());
            if let Err(error) = started {
                tracing::error!(%error, "the system refused a thread, so secrets that change are not noticed until this process is started again");
            }
        }
        Self { stop, wake }
    }
}

/// What runs on the thread.
struct Thread {
    rotation: Arc<Rotation>,
    files: Vec<Watched>,
    directories: Directories,
    stop: Arc<AtomicBool>,
    woken: Receiver<()>,
}

impl Thread {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.directories.watch();
            let unsettled = self.look();
            if unsettled {
                continue;
            }
            match self.woken.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: the watcher holds the other end, and it is ours.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks at every file, and twice where something is new. Whether something is still being changed.
    fn look(&mut self) -> bool {
        let mut suspects = Vec::new();
        for (index, file) in self.files.iter_mut().enumerate() {
            match file.suspicion() {
                Some(found) => suspects.push((index, found)),
                None => {
                    file.said = None;
                    self.rotation.recovered(file.part);
                }
            }
        }
        if suspects.is_empty() {
            return false;
        }
        thread::sleep(SETTLE);
        let mut unsettled = false;
        for (index, first) in suspects {
            let file = &mut self.files[index];
            match file.suspicion() {
                Some(_) if self.directories.writers.write(&file.path) => unsettled = true,
                Some(second) if agree(&first, &second) => file.settle(second, &self.rotation),
                // It is again what it was: nothing happened.
                None => {}
                Some(_) => unsettled = true,
            }
        }
        unsettled
    }
}

fn agree(first: &Result<Secret, SecretError>, second: &Result<Secret, SecretError>) -> bool {
    match (first, second) {
        (Ok(first), Ok(second)) => first.is_same(second),
        (Err(first), Err(second)) => first.to_string() == second.to_string(),
        _ => false,
    }
}

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
struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    writers: Writers,
    /// A refusal is said once.
    refused: bool,
}

impl Directories {
    fn new(files: &[Watched], wake: SyncSender<()>) -> Self {
        let writers = Writers::default();
        let noted = writers.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            noted.note(&event);
            if changes(event.kind) {
                // Where it is full, the thread wakes anyway.
                let _woken = wake.try_send(());
            }
        });
        let mut directories = Self {
            watcher: None,
            watched: files.iter().map(|f| (f.directory.clone(), None)).collect(),
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
    fn watch(&mut self) {
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

    fn refuse(&mut self, error: &notify::Error) {
        if !self.refused {
            tracing::warn!(%error, "the system does not tell of changes to secret files, so they are looked at every second");
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
