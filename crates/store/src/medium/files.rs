//! The medium on a real disk: one directory, locked against a second broker.

mod direct;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use crate::error::StoreError;
use crate::medium::{Medium, MediumFile};

use direct::Direct;

/// A directory with the log's files.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
    /// Holds the lock for as long as a clone has it open.
    _lock: Option<Arc<File>>,
    last_read: LastRead,
}

/// The file that a part was read of last, and its name: often the next one is of the same. A clone
/// is for somebody else, who reads something else.
#[derive(Default, Debug)]
struct LastRead(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    name: String,
    file: File,
    /// The window that was read in last and was not in memory.
    missed: Option<u64>,
}

impl Clone for LastRead {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl LastRead {
    /// What may be another file from now on is opened anew.
    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Opens the directory, creates it if need be, and locks it until the last clone of this value
    /// is dropped or the process ends.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        create_directory(directory)?;
        Self::open_existing(directory)
    }

    /// The same with a directory that has to be there.
    pub fn open_existing(directory: &Path) -> Result<Self, StoreError> {
        let path = || directory.to_path_buf();
        find(directory)?;
        let lock = OpenOptions::new()
            .mode(OWNER_ONLY)
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK_NAME))
            .map_err(|source| StoreError::NotWritable { path: path(), source })?;
        match lock.try_lock() {
            Ok(()) => {
                let _lock = Some(Arc::new(lock));
                Ok(Self { directory: path(), _lock, last_read: LastRead::default() })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path() }),
            Err(TryLockError::Error(source)) => {
                Err(StoreError::Io { operation: "lock", path: directory.join(LOCK_NAME), source })
            }
        }
    }
}

impl Files {
    /// A directory that another process may work in: to read, and nothing else.
    pub fn look_at(directory: &Path) -> Result<Self, StoreError> {
        find(directory)?;
        let directory = directory.to_path_buf();
        Ok(Self { directory, _lock: None, last_read: LastRead::default() })
    }
}

impl Medium for Files {
    type File = SegmentFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Names that are not UTF-8 are not ours.
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(name))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        fs::metadata(self.directory.join(name)).map(|metadata| metadata.len())
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut last_read = self.last_read.lock();
        let mut last = match last_read.take() {
            Some(last) if last.name == name => last,
            _ => {
                let file = File::open(self.directory.join(name))?;
                Last { name: name.to_owned(), file, missed: None }
            }
        };
        let mut read = vec![0; bytes];
        let mut filled = read_cached(&last.file, &mut read, offset);
        if filled < bytes {
            last.misses(offset + filled as u64);
        }
        while filled < bytes {
            match last.file.read_at(&mut read[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read.truncate(filled);
        *last_read = Some(last);
        Ok(read)
    }

    fn create(&mut self, name: &str) -> io::Result<SegmentFile> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().mode(OWNER_ONLY).create_new(true).write(true).open(path)?;
        Ok(SegmentFile { file, end: 0, len: 0, direct: Direct::default() })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.last_read.forget();
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.last_read.forget();
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(&self.directory)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    fn nonce(&mut self) -> u64 {
        // The standard library seeds each of these states from the system's randomness.
        RandomState::new().hash_one(&self.directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }
}

/// What of it is in memory already, from the front on.
fn read_cached(file: &File, read: &mut [u8], offset: u64) -> usize {
    let mut parts = [io::IoSliceMut::new(read)];
    // Whatever is wrong shows again when it is read in earnest.
    rustix::io::preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

impl Last {
    /// What stands here is not in memory. Who reads where the last one did reads on: messages that
    /// came together are fetched together, for different sessions. Others read here and there.
    fn misses(&mut self, offset: u64) {
        let window = offset / WINDOW_BYTES;
        let is_near = self.missed.is_some_and(|missed| window.abs_diff(missed) <= 1);
        if is_near {
            let bytes = NonZeroU64::new(WINDOW_BYTES);
            let advice = Advice::WillNeed;
            // Advice may be refused.
            rustix::fs::fadvise(&self.file, window * WINDOW_BYTES, bytes, advice)
                .unwrap_or_default();
        }
        self.missed = Some(window);
    }
}

/// As much as a disk reads in about the time that it needs to begin.
const WINDOW_BYTES: u64 = 128 * 1024;

/// An open file of [`Files`].
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    /// Where the next append goes.
    end: u64,
    /// How long the file is, reserved zeros included.
    len: u64,
    direct: Direct,
}

impl SegmentFile {
    /// Whether all blocks that an append writes are there already: others need room first, and a
    /// file must not grow by what stands behind the bytes.
    fn is_in_zeros(&self, bytes: &[u8]) -> bool {
        Direct::reach(self.end, bytes.len()) <= self.len
    }

    fn has_appended(&mut self, bytes: &[u8]) {
        self.direct.note(bytes);
        self.end += bytes.len() as u64;
        self.len = self.len.max(self.end);
    }
}

impl MediumFile for SegmentFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_in_zeros(bytes) || !self.direct.append_cached(&self.file, self.end, bytes)? {
            self.file.write_all_at(bytes, self.end)?;
        }
        self.has_appended(bytes);
        Ok(())
    }

    fn append_before_sync(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_in_zeros(bytes) || !self.direct.append(&self.file, self.end, bytes)? {
            return self.append(bytes);
        }
        self.has_appended(bytes);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        if !self.direct.reserve(&self.file, self.len, bytes)? {
            self.file.write_all_at(&vec![0; bytes], self.len)?;
        }
        self.len += bytes as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// An error if there is no such directory.
fn find(directory: &Path) -> Result<(), StoreError> {
    let path = || directory.to_path_buf();
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::NotADirectory { path: path() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::NotThere { path: path() })
        }
        Err(source) => Err(StoreError::Io { operation: "find", path: path(), source }),
    }
}

/// Creates the directory and whatever is missing above it, and syncs each parent it changed.
fn create_directory(directory: &Path) -> Result<(), StoreError> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(StoreError::NotADirectory { path: directory.to_path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
        Err(source) => {
            return Err(StoreError::NotWritable { path: directory.to_path_buf(), source });
        }
    }
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|level| !level.as_os_str().is_empty() && !level.exists())
        .collect();
    let mut builder = fs::DirBuilder::new();
    let created =
        builder.recursive(true).mode(OWNER_ALONE_ENTERS).create(directory).and_then(|()| {
            missing.iter().try_for_each(|level| match level.parent() {
                Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
                Some(parent) => sync_directory(parent),
                None => Ok(()),
            })
        });
    created.map_err(|source| StoreError::NotCreatable { path: directory.to_path_buf(), source })
}

/// What clients said is for the broker's user alone.
const OWNER_ONLY: u32 = 0o600;
const OWNER_ALONE_ENTERS: u32 = 0o700;

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The file that carries the lock. It stays when the broker ends; the lock does not.
const LOCK_NAME: &str = "lock";
