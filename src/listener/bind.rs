//! Binding, before anything runs.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{IntoRawFd as _, RawFd},
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use crate::config::Address;

/// A socket that is bound and listens, and is not served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) fd: RawFd,
    /// Where it listens.
    pub address: BoundAddress,
}

/// Where a socket listens: the port is the real one, also where 0 was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl BoundAddress {
    /// Whether only this host can reach it over IP. A Unix socket has no `Host` to be deceived by.
    pub fn is_loopback_ip(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().is_loopback())
    }

    /// Removes what the socket leaves behind in the file system.
    pub fn clean_up(&self) {
        if let Self::Unix { path, .. } = self {
            // Whether it could be removed or not, the process ends; the next one replaces a dead socket.
            let _result = fs::remove_file(path);
        }
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The system refused to bind a socket.
#[derive(Debug)]
pub struct BindError {
    address: String,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        write!(f, "cannot listen on {address}: ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("another process listens there; stop it or choose another address")
            }
            io::ErrorKind::PermissionDenied => f.write_str(
                "permission denied; ports below 1024 and other users' directories need privileges",
            ),
            io::ErrorKind::AddrNotAvailable => f.write_str("this host has no such address"),
            io::ErrorKind::NotFound => f.write_str("the socket's directory does not exist"),
            _ => source.fmt(f),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Binds `address` and listens.
///
/// # Errors
/// [`BindError`] where the system refuses, or where another process still answers on a Unix socket of that path.
pub fn bind(address: &Address) -> Result<Bound, BindError> {
    match address {
        Address::Tcp(wanted) => {
            let refused = |source| BindError {
                address: wanted.to_string(),
                source,
            };
            let listener = TcpListener::bind(wanted).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            let address = BoundAddress::Tcp(listener.local_addr().map_err(refused)?);
            Ok(Bound {
                fd: listener.into_raw_fd(),
                address,
            })
        }
        Address::Unix { path, mode } => {
            let refused = |source| BindError {
                address: format!("unix:{}", path.display()),
                source,
            };
            let listener = bind_unix(path, *mode).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            let address = BoundAddress::Unix {
                path: path.clone(),
                mode: *mode,
            };
            Ok(Bound {
                fd: listener.into_raw_fd(),
                address,
            })
        }
    }
}

/// Binds under a temporary name, sets the mode, then renames: nobody can connect in between with other permissions, and a
/// socket that a dead process left behind is replaced in one step.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other(
                "there is a file of that name that is no socket; remove it or choose another path",
            ));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) | Err(_) => {}
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _result = fs::remove_file(&temporary);
        })?;
    Ok(listener)
}
