//! The sockets of the admin API: bound here, served elsewhere.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};

use crate::listen::ListenError;
use crate::unix_socket::{self, PATH_BYTES_MAX, Rights};

/// Where the control socket of a data directory is, for those who bind it and who connect to it.
#[derive(Debug)]
pub struct ControlPath {
    path: PathBuf,
    /// The directory, if the system's addresses have no room for its path.
    shortcut: Option<File>,
}

impl ControlPath {
    /// The path in this data directory. An error if it is too long and there is no way round.
    pub fn of(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE_NAME);
        let bytes = path.as_os_str().len();
        if bytes <= PATH_BYTES_MAX {
            return Ok(Self { path, shortcut: None });
        }
        let directory = File::open(data)?;
        if !Path::new(OPEN_FILES).is_dir() {
            let text = format!(
                "its path has {bytes} bytes and the system takes at most {PATH_BYTES_MAX}; choose \
                 a data directory with a shorter path"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
        }
        Ok(Self { path, shortcut: Some(directory) })
    }

    /// For the system, good as long as this value lives.
    pub fn address(&self) -> PathBuf {
        match &self.shortcut {
            Some(directory) => {
                [OPEN_FILES, &directory.as_raw_fd().to_string(), FILE_NAME].iter().collect()
            }
            None => self.path.clone(),
        }
    }
}

/// The control socket of a data directory. Dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    socket: UnixListener,
}

impl ControlSocket {
    /// Binds the socket for its owner alone. The caller has the lock of the data directory: a
    /// socket that is there belongs to a process that has ended.
    pub fn bind(data: &Path) -> Result<Self, ControlError> {
        let path = data.join(FILE_NAME);
        let bind = || {
            let place = ControlPath::of(data)?;
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            unix_socket::bind(&path, &place.address(), Rights::OWNER_ONLY, BACKLOG)
        };
        match bind() {
            Ok(socket) => Ok(Self { path, socket }),
            Err(source) => Err(ControlError { path, source }),
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
    bind().map_err(|source| ListenError::new(address.into(), "--admin", source))
}

/// Why there is no control socket.
#[derive(Debug)]
pub struct ControlError {
    path: PathBuf,
    source: io::Error,
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, source } = self;
        let path = path.display();
        write!(
            f,
            "cannot create the control socket {path}: {source}; see that the data directory is \
             writable and on a file system that has sockets"
        )
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

const FILE_NAME: &str = "control.sock";
/// Where a process finds the files it has open, by their numbers.
const OPEN_FILES: &str = "/proc/self/fd";
/// Operators and scrapers come one by one.
const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_long_path_is_reached_through_its_directory() {
        let deep = std::env::temp_dir().join(format!("bellbird-{}", std::process::id()));
        for name_bytes in [1, 60, 200] {
            let data = deep.join("x".repeat(name_bytes)).join("y".repeat(name_bytes));
            std::fs::create_dir_all(&data).unwrap();
            let socket = ControlSocket::bind(&data).unwrap();
            let mode = std::fs::metadata(data.join("control.sock")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, Rights::OWNER_ONLY.mode);
            let place = ControlPath::of(&data).unwrap();
            UnixStream::connect(place.address()).unwrap();
            drop(socket);
            assert!(!data.join("control.sock").exists());
        }
        std::fs::remove_dir_all(deep).unwrap();
    }
}
