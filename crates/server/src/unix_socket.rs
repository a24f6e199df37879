//! Binding Unix sockets: nobody else may connect before their rights are set.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect, as the file system sees to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// The file's mode: who may write to it may connect.
    pub mode: u32,
    /// The file's owner, if it is not the process's user.
    pub owner: Option<u32>,
    /// The file's group, if it is not that of the process.
    pub group: Option<u32>,
}

impl Rights {
    /// For the owner alone.
    pub(crate) const OWNER_ONLY: Self = Self { mode: 0o600, owner: None, group: None };
}

/// For the owner and the group.
impl Default for Rights {
    fn default() -> Self {
        Self { mode: 0o660, owner: None, group: None }
    }
}

/// Binds a socket at `path`, which the system is told as `address`, and listens. There is no file.
pub(crate) fn bind(
    path: &Path,
    address: &Path,
    rights: Rights,
    backlog: i32,
) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode of the descriptor: nobody else can connect before it is changed
    // below, which is for the other systems.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(Rights::OWNER_ONLY.mode))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(address)?)?;
    let set_rights = || {
        if rights.owner.is_some() || rights.group.is_some() {
            chown(path, rights.owner, rights.group)?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(rights.mode))
    };
    if let Err(error) = set_rights() {
        drop(std::fs::remove_file(path));
        return Err(error);
    }
    socket.set_nonblocking(true)?;
    socket.listen(backlog)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

/// Removes the socket of a process that has ended. An error if somebody listens there, or if it is
/// another file.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let text = "there is a file already, and it is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// A socket's file, which goes with this value unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file that was just bound.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.into(), identity: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // If it stays, the next start replaces it.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// `sun_path` has 108 bytes on Linux, the last of them 0.
pub(crate) const PATH_BYTES_MAX: usize = 107;

fn identity(path: &Path) -> Option<(u64, u64)> {
    let of = |file: Metadata| (file.dev(), file.ino());
    std::fs::symlink_metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bellbird-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn bound(path: &Path, mode: u32) -> UnixListener {
        bind(path, path, Rights { mode, ..Rights::default() }, 1).unwrap()
    }

    #[test]
    fn the_file_has_the_mode_and_goes() {
        let directory = directory("rights");
        let path = directory.join("s");
        for mode in [0o600, 0o660, 0o666] {
            let listener = bound(&path, mode);
            let file = SocketFile::new(&path);
            let found = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
            UnixStream::connect(&path).unwrap();
            drop((listener, file));
            assert!(!path.exists());
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_file_of_somebody_else_stays() {
        let directory = directory("else");
        let path = directory.join("s");
        let former = (bound(&path, 0o600), SocketFile::new(&path));
        std::fs::rename(&path, directory.join("moved")).unwrap();
        let _listener = bound(&path, 0o600);
        drop(former);
        assert!(path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn only_what_nobody_listens_on_is_removed() {
        let directory = directory("stale");
        let path = directory.join("s");
        remove_stale(&path).unwrap();
        let listener = bound(&path, 0o600);
        assert_eq!(remove_stale(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(remove_stale(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
