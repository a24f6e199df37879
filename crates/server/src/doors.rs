//! The sockets of the admin API: bound here, served elsewhere.

use std::fs::{File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::listen::ListenError;

/// The control socket of a data directory. Dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    socket: UnixListener,
}

/// Where the control socket of this data directory is, or why it cannot be.
pub fn control_path(data: &Path) -> Result<PathBuf, ControlError> {
    let path = data.join("control.sock");
    let bytes = path.as_os_str().len();
    if bytes > PATH_BYTES_MAX { Err(ControlError::TooLong { path, bytes }) } else { Ok(path) }
}

impl ControlSocket {
    /// Binds the socket for its owner alone. The caller has the lock of the data directory: a
    /// socket that is there belongs to a process that has ended.
    pub fn bind(data: &Path) -> Result<Self, ControlError> {
        let path = control_path(data)?;
        let bind = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Linux gives the file the mode of the descriptor: nobody else can connect before it
            // is changed below, which is for the other systems.
            let socket = File::from(OwnedFd::from(socket));
            socket.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
            let socket = Socket::from(OwnedFd::from(socket));
            socket.bind(&SockAddr::unix(&path)?)?;
            std::fs::set_permissions(&path, Permissions::from_mode(OWNER_ONLY))?;
            socket.set_nonblocking(true)?;
            socket.listen(BACKLOG)?;
            Ok(UnixListener::from(OwnedFd::from(socket)))
        };
        match bind() {
            Ok(socket) => Ok(Self { path, socket }),
            Err(source) => Err(ControlError::Bind { path, source }),
        }
    }

    /// A handle to accept from.
    pub fn handle(&self) -> io::Result<UnixListener> {
        self.socket.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If it stays, the next start replaces it.
        let _removed = std::fs::remove_file(&self.path);
    }
}

/// Binds the port for health and metrics.
pub fn bind_metrics(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bind().map_err(|source| ListenError::new(address, "--admin", source))
}

/// Why there is no control socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// The system's addresses have no room for the path.
    TooLong {
        /// Of the socket.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The system refused.
    Bind {
        /// Of the socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { path, bytes } => write!(
                f,
                "the control socket {} has a path of {bytes} bytes, and the system takes at most \
                 {PATH_BYTES_MAX}: choose a data directory with a shorter path, or give it as a \
                 relative one",
                path.display()
            ),
            Self::Bind { path, source } => write!(
                f,
                "cannot create the control socket {}: {source}; see that the data directory is \
                 writable and on a file system that has sockets",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLong { .. } => None,
            Self::Bind { source, .. } => Some(source),
        }
    }
}

const OWNER_ONLY: u32 = 0o600;
/// `sun_path` has 108 bytes on Linux, the last of them 0.
const PATH_BYTES_MAX: usize = 107;
/// Operators and scrapers come one by one.
const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_told_with_its_remedy() {
        let room = PATH_BYTES_MAX - "/control.sock".len();
        assert!(control_path(Path::new(&"x".repeat(room))).is_ok());
        let refused = control_path(Path::new(&"x".repeat(room + 1))).unwrap_err().to_string();
        assert!(refused.contains("108 bytes"), "{refused}");
        assert!(refused.contains("shorter path"), "{refused}");
    }
}
