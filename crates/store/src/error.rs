//! What can go wrong with the log, said so that an operator can act on it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the log cannot be opened, written or synced.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Something that is not a directory stands where the log should be.
    NotADirectory {
        /// The data directory as configured.
        path: PathBuf,
    },
    /// Another process has the log open.
    InUse {
        /// The data directory as configured.
        path: PathBuf,
    },
    /// There is no such directory.
    NotThere {
        /// The directory.
        path: PathBuf,
    },
    /// There should be a log, and there is none.
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// A copy was to go where a log is already.
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Files went while they were copied, again and again.
    Restless {
        /// The directory that was to be copied.
        path: PathBuf,
    },
    /// The data directory does not exist and cannot be created.
    NotCreatable {
        /// The data directory as configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory exists and cannot be written.
    NotWritable {
        /// The data directory as configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was written by a version of Bellbird with another format.
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        found: u32,
        /// The format this program knows.
        known: u32,
    },
    /// The name of a segment or checkpoint and its header disagree about its position.
    Renamed {
        /// The file.
        path: PathBuf,
        /// The name that its header asks for.
        right_name: String,
    },
    /// A segment's header has another key than the files before it.
    Foreign {
        /// The segment.
        path: PathBuf,
    },
    /// The system refused an operation on a file of the log.
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The volume has no room for it. Nothing is lost by that: what was to be written may be
    /// written again, the same, once there is room.
    Full {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody waits for it any more.
    Interrupted,
    /// An earlier write or sync failed: what the files hold is uncertain, so nothing is written
    /// any more until the process starts anew and recovers.
    Poisoned,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADirectory { path } => write!(
                f,
                "data directory {}: this is not a directory; name another one or move it away",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "data directory {}: in use by another process; stop it, or name another directory \
                 with --data",
                path.display()
            ),
            Self::NotThere { path } => {
                write!(f, "data directory {}: there is no such directory", path.display())
            }
            Self::NoLog { path } => write!(
                f,
                "data directory {}: there is no log in this directory; name the one that the \
                 broker prints at its start",
                path.display()
            ),
            Self::NotEmpty { path } => {
                write!(f, "directory {}: there is a log already; name an empty one", path.display())
            }
            Self::Restless { path } => write!(
                f,
                "data directory {}: its files went while they were copied, each time; try again \
                 when there is less to do",
                path.display()
            ),
            Self::NotCreatable { path, source } => write!(
                f,
                "data directory {}: cannot be created ({source}); create it, owned by the user \
                 that runs the broker, or name another one",
                path.display()
            ),
            Self::NotWritable { path, source } => write!(
                f,
                "data directory {}: cannot be written ({source}); give it to the user that runs \
                 the broker, or name another one",
                path.display()
            ),
            Self::UnknownVersion { path, found, known } => write!(
                f,
                "{}: format version {found}, this program knows version {known}; start \
                 the version of bellbird that wrote it",
                path.display()
            ),
            Self::Renamed { path, right_name } => write!(
                f,
                "{}: its header belongs to {right_name}; rename it back, or move it away \
                 if it is a copy",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "segment {}: it belongs to another log than the files before it; move away what \
                 came here from elsewhere",
                path.display()
            ),
            Self::Io { operation, path, source } => {
                write!(f, "cannot {operation} {} ({source}); {}", path.display(), remedy(source))
            }
            Self::Full { operation, path, source } => {
                write!(f, "cannot {operation} {} ({source}); free space there", path.display())
            }
            Self::Interrupted => write!(f, "it was interrupted because the broker ends"),
            Self::Poisoned => write!(
                f,
                "the log takes no more writes because an earlier write or sync failed; repair \
                 the disk and restart the broker"
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotCreatable { source, .. }
            | Self::NotWritable { source, .. }
            | Self::Full { source, .. }
            | Self::Io { source, .. } => Some(source),
            Self::NotADirectory { .. }
            | Self::InUse { .. }
            | Self::NotThere { .. }
            | Self::NoLog { .. }
            | Self::NotEmpty { .. }
            | Self::Restless { .. }
            | Self::UnknownVersion { .. }
            | Self::Renamed { .. }
            | Self::Foreign { .. }
            | Self::Interrupted
            | Self::Poisoned => None,
        }
    }
}

impl StoreError {
    /// What the system refused: for want of room, which may come, or for another reason.
    pub(crate) fn of(operation: &'static str, path: PathBuf, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full { operation, path, source }
        } else {
            Self::Io { operation, path, source }
        }
    }
}

/// Whether there is only no room.
pub(crate) fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn remedy(source: &io::Error) -> &'static str {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};

    if is_full(source) {
        "free space on its volume and restart the broker"
    } else if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) {
        "make it readable and writable for the user that runs the broker, then restart"
    } else {
        "check the disk and the kernel log, then restart the broker"
    }
}
