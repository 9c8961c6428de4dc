//! What is made of TLS files, and made anew when they change. Several files are taken together, so that a certificate never
//! meets another's key; what cannot be used leaves in use what was.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Unusable;
use crate::{
    secret::Secret,
    watch::{self, Unread, User, Watched, Watching},
};

/// No file of certificates is this large, in bytes; a device or a log file named by mistake may be.
const LARGEST: usize = 1 << 20;
/// What expires sooner is warned of when it is loaded, in seconds.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 86_400;

/// A file of PEM, and the key of the configuration that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFile {
    /// The key.
    pub key: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// When a certificate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Which certificate; a label value of `certificate_not_after_timestamp_seconds`.
    pub certificate: &'static str,
    /// In seconds since 1970.
    pub not_after: i64,
}

/// Something made of files.
#[derive(Debug)]
pub struct Made<T> {
    /// What was made.
    pub value: T,
    /// When what it is made of expires.
    pub expiries: Vec<Expiry>,
}

type Make<T> = dyn Fn(&[Secret]) -> Result<Made<T>, String> + Send + Sync;

/// Something that is made of files and made anew when they change.
pub struct Renewed<T> {
    files: Vec<TlsFile>,
    make: Box<Make<T>>,
    now: ArcSwap<T>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    expiries: Vec<Expiry>,
    trouble: Option<String>,
    /// What was read, until someone watches the files.
    read: Vec<Secret>,
}

impl TlsFile {
    /// A message that names the file: `is` follows its path.
    pub fn is(&self, is: &str) -> String {
        format!("{}: {} {is}", self.key, self.path.display())
    }

    /// What is in it.
    ///
    /// # Errors
    /// [`Unusable`] where it cannot be read.
    pub fn read(&self) -> Result<Secret, Unusable> {
        let read = watch::read(&self.path, LARGEST);
        let why = match read {
            Ok(secret) => return Ok(secret),
            Err(Unread::Unreadable(error)) => &*format!(
                "cannot be read: {error}; name a PEM file that the user that runs this process may read"
            ),
            Err(Unread::TooLarge) => "is larger than 1 MiB; name a PEM file",
            Err(Unread::Growing) => {
                "was written to while it was read; write it to another name, then rename it"
            }
        };
        Err(Unusable(self.is(why)))
    }
}

impl<T: Send + Sync + 'static> Renewed<T> {
    /// Reads `files` and makes of them what `make` makes of what is in them.
    ///
    /// # Errors
    /// [`Unusable`]: a file that cannot be read, or what `make` says.
    pub fn new(
        files: Vec<TlsFile>,
        make: impl Fn(&[Secret]) -> Result<Made<T>, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Unusable> {
        let read = read(&files).map_err(Unusable)?;
        let made = make(&read).map_err(Unusable)?;
        Ok(Arc::new(Self {
            files,
            make: Box::new(make),
            now: ArcSwap::from_pointee(made.value),
            known: Mutex::new(Known {
                expiries: made.expiries,
                trouble: None,
                read,
            }),
        }))
    }

    /// What is to be used now.
    pub fn now(&self) -> Arc<T> {
        self.now.load_full()
    }

    /// When what it is made of expires.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.known.lock().expiries.clone()
    }

    /// What is wrong with the files now, for people.
    pub fn trouble(&self) -> Option<String> {
        self.known.lock().trouble.clone()
    }

    /// Makes it anew when the files change, until the answer is dropped. Says which certificates have expired or will soon.
    pub fn watch(self: &Arc<Self>) -> Watching {
        warn_of_expiry(&self.expiries());
        let read = std::mem::take(&mut self.known.lock().read);
        let paths: Vec<&Path> = self.files.iter().map(|file| file.path.as_path()).collect();
        let watched = (!paths.is_empty())
            .then(|| Watched::new(&paths, read, Renewing(self.clone())))
            .flatten();
        Watching::over("tls-files", watched.into_iter().collect())
    }
}

impl<T> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

struct Renewing<T>(Arc<Renewed<T>>);

impl<T: Send + Sync + 'static> User for Renewing<T> {
    fn read(&self) -> Result<Vec<Secret>, String> {
        read(&self.0.files)
    }

    fn take(&mut self, found: &[Secret]) -> Result<(), String> {
        let made = (self.0.make)(found)?;
        warn_of_expiry(&made.expiries);
        self.0.now.store(Arc::new(made.value));
        let mut known = self.0.known.lock();
        known.expiries = made.expiries;
        known.trouble = None;
        let keys: Vec<&str> = self.0.files.iter().map(|file| file.key).collect();
        tracing::info!(
            files = keys.join(", "),
            "certificates were loaded and are used from now on"
        );
        Ok(())
    }

    fn complain(&mut self, what: &str) {
        tracing::warn!("{what}; what was loaded before stays in use");
        let line = format!("{what}; what was loaded before stays in use");
        self.0.known.lock().trouble = Some(line);
    }

    fn recovered(&mut self) {
        if self.0.known.lock().trouble.take().is_some() {
            tracing::info!("the files of TLS hold what is in use again");
        }
    }
}

fn read(files: &[TlsFile]) -> Result<Vec<Secret>, String> {
    let contents: Result<_, _> = files.iter().map(TlsFile::read).collect();
    contents.map_err(|unusable: Unusable| unusable.0)
}

/// An expired certificate is used all the same: whoever it is shown to judges it, and no service is better for a proxy that
/// does not start.
fn warn_of_expiry(expiries: &[Expiry]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    for Expiry {
        certificate,
        not_after,
    } in expiries
    {
        let left = not_after - now;
        if left <= 0 {
            tracing::warn!(certificate, "the certificate has expired; replace it");
        } else if left < SOON {
            tracing::warn!(
                certificate,
                days = left / DAY,
                "the certificate expires soon; replace it"
            );
        }
    }
}
