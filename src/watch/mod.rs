//! Notices what becomes of files that are in use: told by the system, and by looking every second.
//!
//! The directory is watched and not the file: Kubernetes changes a mounted Secret by renaming a link beside it, and a watch
//! on the file would stay with what was deleted. What changed is taken when two looks a moment apart agree, so that half a
//! file is not. All this runs on a thread of its own, because a file system can hang; no exchange waits for it.

mod read;
#[cfg(any(target_os = "android", target_os = "linux"))]
mod told;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
#[path = "untold.rs"]
mod told;

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

pub use self::read::{Unread, read};
use self::told::Told;
use crate::secret::Secret;

/// How long no word of the system is waited for: network file systems send none, and limits of inotify can be exhausted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks that must agree. Where the system does not tell who writes, or a file is closed half written, a pause of
/// more in the middle cannot be told from the end.
pub const SETTLE: Duration = Duration::from_millis(250);
/// What could not be taken is tried again after this long, because what it lacked may have come since.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Trouble that stays is counted and logged again after this long, so that an alert on the metric stays too.
const REMIND_AFTER: Duration = Duration::from_secs(60);

/// Whoever uses what is in files that are watched.
pub trait User: Send {
    /// Reads the files: what is in each of them, or what is wrong, for people.
    ///
    /// # Errors
    /// What is wrong with which file, and what to do.
    fn read(&self) -> Result<Vec<Secret>, String>;

    /// Uses `found` from now on, where it is not what is in use.
    ///
    /// # Errors
    /// Why it cannot be used, for people. What was in use stays so.
    fn take(&mut self, found: &[Secret]) -> Result<(), String>;

    /// Says what is wrong: something that cannot be read, or not be taken.
    fn complain(&mut self, what: &str);

    /// The files hold again what is in use.
    fn recovered(&mut self);

    /// What a look is for, asked before each.
    fn wish(&self) -> Wish {
        Wish::Changes
    }
}

/// What a look at files is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To take what changed.
    Changes,
    /// To take what is there, changed or not.
    Everything,
    /// Nothing: changes are not to be taken now.
    Nothing,
}

/// Files that are used together, and by whom.
pub struct Watched {
    files: Vec<Location>,
    /// What was last taken from them.
    held: Vec<Secret>,
    /// What could not be taken, and when that was tried.
    refused: Option<(Vec<Secret>, Instant)>,
    /// What was last said to be wrong, and when.
    said: Option<(String, Instant)>,
    user: Box<dyn User>,
}

/// A file and its directory.
#[derive(Debug)]
struct Location {
    directory: PathBuf,
    /// As the system names it when it tells of it.
    path: PathBuf,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Watched {
    /// Files from which `held` was taken. `None` where one is no regular file: a pipe cannot be read twice.
    pub fn new(paths: &[&Path], held: Vec<Secret>, user: impl User + 'static) -> Option<Self> {
        // One that is not there just now may be on its way back.
        let regular = |path: &&Path| fs::metadata(path).map_or(true, |m| m.is_file());
        paths.iter().all(regular).then(|| Self {
            files: paths.iter().map(|path| Location::of(path)).collect(),
            held,
            refused: None,
            said: None,
            user: Box::new(user),
        })
    }

    /// What is there, if that is to be taken.
    fn suspicion(&mut self) -> Option<Result<Vec<Secret>, String>> {
        let wish = self.user.wish();
        if wish == Wish::Nothing {
            return None;
        }
        let found = match self.files.iter().find(|file| file.is_irregular()) {
            Some(file) => Err(format!(
                "{} is no regular file, and only those are taken while the proxy runs; put one in its place",
                file.path.display()
            )),
            None => guarded(|| self.user.read()),
        };
        if wish == Wish::Everything {
            // Whoever asks for it wants to hear what is wrong, also for the second time.
            self.said = None;
            return Some(found);
        }
        if found.as_ref().is_ok_and(|found| same(found, &self.held)) {
            self.said = None;
            self.refused = None;
            self.user.recovered();
            return None;
        }
        let lately = |(refused, at): &(Vec<Secret>, Instant)| {
            at.elapsed() < TRY_AGAIN && found.as_ref().is_ok_and(|found| same(found, refused))
        };
        if self.refused.as_ref().is_some_and(lately) {
            return None;
        }
        Some(found)
    }

    /// Acts on what was found twice.
    fn settle(&mut self, found: Result<Vec<Secret>, String>) {
        let taken = found.and_then(|found| {
            let taken = guarded(|| self.user.take(&found));
            match taken {
                Ok(()) => (self.held, self.refused) = (found, None),
                Err(_) => self.refused = Some((found, Instant::now())),
            }
            taken
        });
        match taken {
            Ok(()) => self.said = None,
            Err(what) => {
                let recently =
                    |(said, at): &(String, Instant)| *said == what && at.elapsed() < REMIND_AFTER;
                if !self.said.as_ref().is_some_and(recently) {
                    self.user.complain(&what);
                    self.said = Some((what, Instant::now()));
                }
            }
        }
    }
}

impl Location {
    fn of(path: &Path) -> Self {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            path: directory.join(path.file_name().unwrap_or_default()),
            directory,
        }
    }

    /// Whether there is something that must not be opened here: a FIFO would have this thread wait for ever.
    fn is_irregular(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| !found.is_file())
    }
}

/// A panic must not end the thread: nothing would be noticed any more.
fn guarded<T>(doing: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(doing)).unwrap_or_else(|_told_by_the_hook| {
        Err("taking what changed failed by a fault of the proxy; report it with the log lines before".to_owned())
    })
}

fn same(a: &[Secret], b: &[Secret]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
}

fn agree(a: &Result<Vec<Secret>, String>, b: &Result<Vec<Secret>, String>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => same(a, b),
        (Err(a), Err(b)) => a == b,
        _ => false,
    }
}

/// Files are watched until this is dropped.
#[derive(Debug)]
pub struct Watching {
    stop: Arc<AtomicBool>,
    /// A byte has the thread look. None where there is none.
    wake: Option<UnixStream>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.look_now();
    }
}

impl Watching {
    /// Watches `files` on a thread called `name`.
    pub fn over(name: &str, files: Vec<Watched>) -> Self {
        let mut watching = Self {
            stop: Arc::new(AtomicBool::new(false)),
            wake: None,
        };
        if !files.is_empty()
            && let Err(error) = watching.begin(name, files)
        {
            tracing::error!(%error, "the system refused a thread, so files that change are not noticed until this process is started again; raise the limit on threads (ulimit -u, TasksMax, pids.max)");
        }
        watching
    }

    fn begin(&mut self, name: &str, files: Vec<Watched>) -> io::Result<()> {
        // Where there is none, the thread looks every second all the same.
        let (wake, woken) = wake().map_or((None, None), |(wake, woken)| (Some(wake), Some(woken)));
        let thread = Thread {
            told: Told::of(files.iter().flat_map(|f| &f.files), woken),
            files,
            stop: self.stop.clone(),
        };
        let named = thread::Builder::new().name(name.to_owned());
        named.spawn(move || thread.run())?;
        self.wake = wake;
        Ok(())
    }

    /// Has the files looked at without delay.
    pub fn look_now(&self) {
        if let Some(mut wake) = self.wake.as_ref() {
            // Where there is no room, the thread wakes anyway.
            let _woken = wake.write(&[0]);
        }
    }
}

/// What has the thread wake, and what it wakes by. One byte is enough, whoever wrote it; a second that finds no room is none too few.
fn wake() -> io::Result<(UnixStream, UnixStream)> {
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    Ok((wake, woken))
}

/// Takes what came, and answers whether anything did.
fn drain(mut woken: &UnixStream) -> bool {
    let mut came = false;
    while woken.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {
        came = true;
    }
    came
}

/// Waits until one of `sources` has something to read, or a signal comes, for `patience` at most.
fn wait_for(sources: &[&dyn AsFd], patience: Duration) {
    let sources = sources
        .iter()
        .map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN));
    let mut sources: Vec<PollFd<'_>> = sources.collect();
    // A part of a millisecond is one: less would be asked for again and again.
    let timeout = PollTimeout::try_from(patience + Duration::from_millis(1));
    match poll(&mut sources, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(_no_memory) => thread::sleep(patience),
    }
}

/// What runs on the thread.
struct Thread {
    files: Vec<Watched>,
    told: Told,
    stop: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.told.watch();
            let unsettled = self.look();
            if !unsettled {
                self.told.wait(LOOK_EVERY);
            }
        }
    }

    /// Looks at everything, and twice where something is new. Whether something is still being changed.
    fn look(&mut self) -> bool {
        let mut suspects = Vec::new();
        for (index, watched) in self.files.iter_mut().enumerate() {
            if let Some(found) = watched.suspicion() {
                suspects.push((index, found));
            }
        }
        if suspects.is_empty() {
            return false;
        }
        thread::sleep(SETTLE);
        // It may have been of others than the suspects.
        let mut unsettled = self.told.hear();
        for (index, first) in suspects {
            let watched = &mut self.files[index];
            let mut paths = watched.files.iter().map(|file| &file.path);
            let being_written = paths.any(|path| self.told.is_written(path));
            match watched.suspicion() {
                Some(_) if being_written => unsettled = true,
                Some(second) if agree(&first, &second) => watched.settle(second),
                // It is again what it was: nothing happened.
                None => {}
                Some(_) => unsettled = true,
            }
        }
        unsettled
    }
}
