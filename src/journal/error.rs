//! Why the journal could not do what it was asked to.
//!
//! Two texts: `Display` is for the operator and names the file; [`JournalError::detail`] is for the caller and does not.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The journal could not do what it was asked to.
#[derive(Clone, Debug)]
pub enum JournalError {
    /// The file could not be opened or read.
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is something at the path that is no regular file.
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
    /// Another process writes to the file.
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The record could not be written, or is not known to be on the disk.
    Write {
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// More records wait than the disk keeps up with.
    Busy,
    /// The record would be longer than a line of the journal may be.
    TooLong {
        /// The length of its line.
        bytes: usize,
    },
    /// The writer has stopped: the proxy is leaving, or the writer had a fault.
    Stopped,
}

impl JournalError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// What the caller of a refused call is told: never a path.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::Write { source, .. } if is_out_of_space(source) => {
                "the disk that holds the journal is full"
            }
            Self::Open { .. } | Self::NotAFile { .. } | Self::InUse { .. } => {
                "the journal cannot be opened"
            }
            Self::Write { .. } => "the journal cannot be written",
            Self::Busy => "the journal does not keep up",
            Self::TooLong { .. } => {
                "the identifying values are too long for the journal; send fewer or shorter ones"
            }
            Self::Stopped => "the journal is closed",
        }
    }
}

fn is_out_of_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } => {
                write!(f, "cannot open the journal {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::NotFound => f.write_str("; create its directory"),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; the proxy's user must be able to read and write it")
                    }
                    _ => Ok(()),
                }
            }
            Self::NotAFile { path } => write!(
                f,
                "the journal {} is no regular file, so that nothing written there would be found after a crash; name a file",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "another process writes to the journal {}; give each proxy a file of its own",
                path.display()
            ),
            Self::Write { path, source } if is_out_of_space(source) => write!(
                f,
                "cannot write to the journal {}: {source}; calls that move money are refused until there is space again",
                path.display()
            ),
            Self::Write { path, source } => write!(
                f,
                "cannot write to the journal {}: {source}; calls that move money are refused until it can be written again",
                path.display()
            ),
            Self::Busy => f.write_str(
                "too many records wait for the journal; its disk is too slow or has stopped",
            ),
            Self::TooLong { bytes } => write!(
                f,
                "a record of {bytes} bytes is too long for the journal; send fewer or shorter identifying values"
            ),
            Self::Stopped => f.write_str("the journal's writer has stopped; restart the proxy"),
        }
    }
}

impl Error for JournalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Write { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
