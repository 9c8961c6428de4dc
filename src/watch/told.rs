//! What the system tells of files (inotify(7)): that something became of them, and who is writing.
//!
//! Of a directory is told which names come and go and who closes what they wrote, but not each write: a log beside a secret would wake
//! the thread for every line. Writes are told of the files themselves.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};

use super::{Location, drain, wait_for};

/// Who has begun to write a file and not closed it is waited for, since a copy over a network may stall; for this long after the
/// last write, because word of the end can be lost. Nor does it come where a file got its name after it was written (`O_TMPFILE`).
const WRITER_STALLS: Duration = Duration::from_secs(60);

/// What becomes of names. `IN_ATTRIB`: who may read.
const OF_DIRECTORIES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR)
    .union(AddWatchFlags::from_bits_retain(EXCL_UNLINK));
/// `IN_EXCL_UNLINK`, which nix does not name: who closes a file that was removed says nothing of the one that came in its place.
const EXCL_UNLINK: u32 = 0x0400_0000;
/// What becomes of the bytes of a file, by whatever name it was opened.
const OF_FILES: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE);

/// What makes a file or directory this one and no other that came in its place.
type Identity = (u64, u64, Option<SystemTime>);

/// A watch, and on what.
#[derive(Clone, Copy)]
struct Watch {
    on: Identity,
    descriptor: WatchDescriptor,
}

/// What is known of a file.
#[derive(Default)]
struct File {
    watch: Option<Watch>,
    /// What someone has begun to write and not closed, and when they last wrote.
    written: Option<(Identity, Instant)>,
}

/// So many times is read what was told before what is known by then is acted on: others may write faster than is read.
const READS: usize = 64;

/// Watches files and their directories.
pub(super) struct Told {
    inotify: Option<Inotify>,
    directories: BTreeMap<PathBuf, Option<Watch>>,
    files: BTreeMap<PathBuf, File>,
    woken: Option<UnixStream>,
    /// A refusal is said once.
    refused: bool,
}

impl Told {
    /// Of `files` and what Kubernetes keeps beside them, and of a byte that comes by `woken`.
    pub(super) fn of<'a>(
        files: impl Iterator<Item = &'a Location>,
        woken: Option<UnixStream>,
    ) -> Self {
        let mut told = Self {
            inotify: None,
            directories: BTreeMap::new(),
            files: BTreeMap::new(),
            woken,
            refused: false,
        };
        for file in files {
            told.directories.insert(file.directory.clone(), None);
            told.files.insert(file.path.clone(), File::default());
        }
        told
    }

    /// Watches each directory and file, also one that came in place of another.
    pub(super) fn watch(&mut self) {
        if self.inotify.is_none() {
            match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => self.refuse(error),
            }
        }
        let Some(inotify) = &self.inotify else { return };
        let mut refusal = None;
        for (directory, watch) in &mut self.directories {
            match renew(inotify, watch, directory, OF_DIRECTORIES) {
                // It went just now.
                Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => refusal = Some(error),
            }
        }
        for (path, file) in &mut self.files {
            match renew(inotify, &mut file.watch, path, OF_FILES) {
                // That it may not be read is said by who reads it; that it is gone, too.
                Ok(()) | Err(Errno::EACCES | Errno::ENOENT) => {}
                Err(error) => refusal = Some(error),
            }
        }
        if let Some(error) = refusal {
            self.refuse(error);
        }
    }

    /// Returns once something happened to one of the files, or may have, or a byte came, and after `patience`.
    pub(super) fn wait(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.hear() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let inotify = self.inotify.as_ref().map(|inotify| inotify as &dyn AsFd);
            let woken = self.woken.as_ref().map(|woken| woken as &dyn AsFd);
            let sources: Vec<&dyn AsFd> = inotify.into_iter().chain(woken).collect();
            wait_for(&sources, left);
        }
    }

    /// Takes note of all that was told up to now. Whether any of it is a reason to look.
    pub(super) fn hear(&mut self) -> bool {
        let mut concerns = self.woken.as_ref().is_some_and(drain);
        for _ in 0..READS {
            let Some(inotify) = &self.inotify else { break };
            match inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        concerns |= self.note(&event);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_unreadable) => {
                    // Begun again by the next look.
                    self.inotify = None;
                    let of_files = self.files.values_mut().map(|file| &mut file.watch);
                    for watch in self.directories.values_mut().chain(of_files) {
                        *watch = None;
                    }
                    concerns = true;
                }
            }
        }
        concerns
    }

    /// Whether someone has begun to write `path` and not closed it.
    pub(super) fn is_written(&self, path: &Path) -> bool {
        let written = self.files.get(path).and_then(|file| file.written);
        written.is_some_and(|(which, at)| {
            at.elapsed() < WRITER_STALLS && identity(path).is_ok_and(|now| now == which)
        })
    }

    fn note(&mut self, event: &InotifyEvent) -> bool {
        // Some of what happened was not told.
        let mut concerns = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        for (path, file) in &mut self.files {
            let Some(watch) = watched(&mut file.watch, event) else {
                continue;
            };
            concerns = true;
            // What was there before says nothing of what is.
            if identity(path).is_ok_and(|now| now != watch.on) {
                continue;
            }
            if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                file.written = Some((watch.on, Instant::now()));
            } else if event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) {
                file.written = None;
            }
        }
        for (directory, watch) in &mut self.directories {
            if watched(watch, event).is_none() {
                continue;
            }
            let Some(name) = &event.name else {
                concerns = true;
                continue;
            };
            let path = directory.join(name);
            if let Some(file) = self.files.get_mut(&path) {
                concerns = true;
                if event.mask.contains(AddWatchFlags::IN_CREATE) {
                    file.written = begun(&path).map(|which| (which, Instant::now()));
                } else if !event.mask.contains(AddWatchFlags::IN_ATTRIB) {
                    file.written = None;
                }
            } else {
                concerns |= is_kept_beside(name);
            }
        }
        concerns
    }

    fn refuse(&mut self, error: Errno) {
        if !self.refused {
            let error = io::Error::from(error);
            tracing::warn!(%error, "the system does not tell of changes to files, so they are looked at every second; raise fs.inotify.max_user_instances and max_user_watches to hear of them at once");
            self.refused = true;
        }
    }
}

/// `..data` and the directories that it points to.
fn is_kept_beside(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"..")
}

/// What was just made under that name, if it is a file that is being written. A link is complete when it is there.
fn begun(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok()?;
    (metadata.is_file() && metadata.nlink() == 1).then(|| identity_of(&metadata))
}

/// The watch that this was told of. It is over with the last word of it.
fn watched(watch: &mut Option<Watch>, event: &InotifyEvent) -> Option<Watch> {
    let this = watch.filter(|watch| watch.descriptor == event.wd)?;
    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
        *watch = None;
    }
    Some(this)
}

/// Watches what is at `path` now, in place of what was.
fn renew(
    inotify: &Inotify,
    watch: &mut Option<Watch>,
    path: &Path,
    for_what: AddWatchFlags,
) -> nix::Result<()> {
    let now = identity(path).ok();
    if watch.map(|watch| watch.on) == now {
        return Ok(());
    }
    let former = watch.take();
    let added = now.map(|on| {
        let descriptor = inotify.add_watch(path, for_what)?;
        Ok(Watch { on, descriptor })
    });
    let added = added.transpose();
    if let Ok(added) = added {
        *watch = added;
    }
    if let Some(former) = former
        // The same where the system only tells another identity of it (a layer of a container that is written to).
        && watch.is_none_or(|watch| watch.descriptor != former.descriptor)
    {
        // Of what is gone the watch is, too.
        let _gone = inotify.rm_watch(former.descriptor);
    }
    added.map(drop)
}

fn identity(path: &Path) -> io::Result<Identity> {
    Ok(identity_of(&fs::metadata(path)?))
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    // The number of an inode is given again; its birth is not.
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    struct Stage {
        directory: tempfile::TempDir,
        told: Told,
    }

    impl Stage {
        /// Files of these names, which are watched.
        fn with(names: &[&str]) -> Self {
            let directory = tempfile::tempdir().expect("made");
            let paths: Vec<PathBuf> = names
                .iter()
                .map(|name| directory.path().join(name))
                .collect();
            for path in &paths {
                fs::write(path, "first").expect("written");
            }
            let locations: Vec<Location> = paths.iter().map(|path| Location::of(path)).collect();
            let mut told = Told::of(locations.iter(), None);
            told.watch();
            Self { directory, told }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// The file, about to be written at its end.
        fn append(&self, name: &str) -> File {
            let opened = File::options().append(true).open(self.path(name));
            opened.expect("open")
        }

        fn is_written(&self, name: &str) -> bool {
            self.told.is_written(&self.path(name))
        }
    }

    #[test]
    fn who_writes_is_known_from_the_first_byte_until_the_close() {
        let mut stage = Stage::with(&["secret"]);
        assert!(!stage.told.hear());
        let mut writer = stage.append("secret");
        writer.write_all(b"half").expect("written");
        assert!(stage.told.hear());
        assert!(stage.is_written("secret"));
        drop(writer);
        assert!(stage.told.hear());
        assert!(!stage.is_written("secret"));
    }

    #[test]
    fn the_close_of_a_file_that_was_removed_says_nothing_of_the_one_in_its_place() {
        // Whether the new one is watched by then.
        for renewed in [false, true] {
            let mut stage = Stage::with(&["secret"]);
            let mut former = stage.append("secret");
            former.write_all(b"half").expect("written");
            assert!(stage.told.hear());
            fs::remove_file(stage.path("secret")).expect("removed");
            let mut new = File::create(stage.path("secret")).expect("made");
            assert!(stage.told.hear());
            if renewed {
                stage.told.watch();
            }
            new.write_all(b"half").expect("written");
            former.write_all(b"the rest").expect("written");
            drop(former);
            stage.told.hear();
            assert!(stage.is_written("secret"), "by who made the new one");
            drop(new);
            assert!(stage.told.hear());
            assert!(!stage.is_written("secret"));
        }
    }

    #[test]
    fn one_file_by_two_names_is_watched_until_both_are_gone() {
        let mut stage = Stage::with(&["secret", "next"]);
        fs::remove_file(stage.path("next")).expect("removed");
        fs::hard_link(stage.path("secret"), stage.path("next")).expect("linked");
        stage.told.watch();
        assert!(stage.told.hear());
        fs::write(stage.path("new"), "second").expect("written");
        fs::rename(stage.path("new"), stage.path("secret")).expect("renamed");
        stage.told.watch();
        stage.told.hear();
        // The system has one watch for both names, which ended with that of the first.
        stage.told.watch();
        stage.told.hear();
        for name in ["next", "secret"] {
            let mut writer = stage.append(name);
            writer.write_all(b"half").expect("written");
            assert!(stage.told.hear(), "{name}");
            assert!(stage.is_written(name), "{name}");
        }
    }

    #[test]
    fn where_the_system_tells_nothing_a_wait_ends_when_it_should() {
        let mut stage = Stage::with(&["secret"]);
        stage.told.inotify = None;
        let begun = Instant::now();
        stage.told.wait(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
