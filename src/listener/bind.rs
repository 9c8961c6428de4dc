//! Binding, before anything runs.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::sys::socket::{Backlog, listen};

use crate::config::Address;

/// A socket that is bound and listens, and is not served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) fd: OwnedFd,
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
        /// Device and inode of the socket file, by which it is told from a successor's.
        file: (u64, u64),
    },
}

#[cfg(test)]
impl Bound {
    /// This socket's address with a file behind it that can be no socket: whoever accepts from it panics, as Pingora does where the
    /// system refuses it something.
    pub(crate) fn broken(self) -> Self {
        let file = fs::File::open("/dev/null").expect("every Linux has it");
        Self {
            fd: file.into(),
            ..self
        }
    }
}

impl BoundAddress {
    /// Removes what the socket leaves behind in the file system.
    pub fn clean_up(&self) {
        if let Self::Unix { path, file, .. } = self
            && identity(path).is_ok_and(|found| found == *file)
        {
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

/// Binds a TCP socket and listens, for as many connections that wait to be accepted as the system allows (net.core.somaxconn): of a
/// burst that is larger than what std and tokio ask for, callers would wait a second or more for their next attempt.
///
/// # Errors
/// Where the system refuses.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listen(&listener, Backlog::MAXALLOWABLE)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Binds `address` and listens, for as many connections that wait to be accepted as the system allows.
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
            let listener = bind_tcp(*wanted).map_err(refused)?;
            let address = BoundAddress::Tcp(listener.local_addr().map_err(refused)?);
            Ok(Bound {
                fd: listener.into(),
                address,
            })
        }
        Address::Unix { path, mode } => {
            let refused = |source| BindError {
                address: format!("unix:{}", path.display()),
                source,
            };
            let listener = bind_unix(path, *mode).map_err(refused)?;
            listen(&listener, Backlog::MAXALLOWABLE).map_err(|errno| refused(errno.into()))?;
            listener.set_nonblocking(true).map_err(refused)?;
            let file = identity(path).map_err(refused)?;
            let address = BoundAddress::Unix {
                path: path.clone(),
                mode: *mode,
                file,
            };
            Ok(Bound {
                fd: listener.into(),
                address,
            })
        }
    }
}

/// Binds in a directory of our own, sets the mode, then renames: nobody can connect in between with other permissions, and a
/// socket that a dead process left behind is replaced in one step.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    make_way(path)?;
    let private = private_beside(path)?;
    let socket = private.join("s");
    let bound = UnixListener::bind(&socket).and_then(|listener| {
        fs::set_permissions(&socket, fs::Permissions::from_mode(mode))?;
        fs::rename(&socket, path)?;
        Ok(listener)
    });
    // What is left of it, where something failed.
    let _removed = fs::remove_file(&socket);
    let _removed = fs::remove_dir(&private);
    bound
}

/// A new directory beside `path` that nobody else enters. What is there of such a name is somebody else's, or of a process of this number
/// that was killed: in a container that number is always 1.
fn private_beside(path: &Path) -> io::Result<PathBuf> {
    const TRIES: u32 = 100;
    let mut tried = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..TRIES {
        let mut private = path.as_os_str().to_owned();
        private.push(format!(".{}", std::process::id().wrapping_add(number)));
        let private = PathBuf::from(private);
        tried = fs::DirBuilder::new()
            .mode(0o700)
            .create(&private)
            .map(|()| private);
        if !matches!(&tried, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    tried
}

/// Makes sure that nothing at `path` is in use: only a socket that refuses connections is dead.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other(
                "there is a file of that name that is no socket; remove it or choose another path",
            ));
        }
        Ok(_) => {}
    }
    // Connecting to a socket whose queue is full would block; who does not answer for so long is alive.
    let (tell, told) = mpsc::channel();
    let probed = path.to_owned();
    thread::spawn(move || tell.send(UnixStream::connect(probed).map(drop)));
    match told.recv_timeout(PROBE) {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// How long a socket that is in the way may take to answer.
const PROBE: Duration = Duration::from_secs(1);

/// By which a file is told from another of the same name.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn what_a_process_of_the_same_number_left_when_it_was_killed_bars_nobody() {
        let folder = tempfile::tempdir().expect("room in the temporary folder");
        let path = folder.path().join("socket");
        let left = folder.path().join(format!("socket.{}", std::process::id()));
        fs::create_dir(&left).expect("a free name");
        drop(UnixListener::bind(left.join("s")).expect("a free name"));
        let bound = bind(&Address::Unix {
            path: path.clone(),
            mode: 0o600,
        });
        assert!(bound.is_ok(), "{bound:?}");
        assert!(path.exists() && left.exists(), "it may be another's");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
    }

    #[test]
    fn a_burst_of_connections_waits_to_be_accepted() {
        let folder = tempfile::tempdir().expect("room in the temporary folder");
        let path = folder.path().join("socket");
        let unix = Address::Unix {
            path: path.clone(),
            mode: 0o600,
        };
        let tcp = bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port");
        let _unix = bind(&unix).expect("a free name");
        let BoundAddress::Tcp(address) = tcp.address else {
            panic!("an IP address")
        };
        // Nobody accepts any of them.
        let limit = Duration::from_secs(1);
        for number in 0..400 {
            let connected = TcpStream::connect_timeout(&address, limit);
            assert!(connected.is_ok(), "connection {number}: {connected:?}");
        }
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let connected: Vec<_> = (0..400).map(|_| UnixStream::connect(&path)).collect();
            tell.send(connected.iter().all(Result::is_ok))
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
