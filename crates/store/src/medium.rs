//! Where the log's files live: on a disk, or in memory with faults.
//!
//! A medium is flat: names, no folders. It promises no more than POSIX does: bytes are stable
//! after the file's sync, names after the directory's.

mod faulty;
mod files;
mod journal;

use std::io;
use std::path::PathBuf;

pub use faulty::{Fault, Faulty};
pub use files::{Files, SegmentFile};
pub use journal::{Event, Survivors};

/// A place for files. [`Files`] is the real one; [`Faulty`] is in memory and injects faults.
/// Clones are the same place.
pub trait Medium: Clone {
    /// An open file of this medium.
    type File: MediumFile;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All bytes of one file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// How long one file is, zeros written ahead included.
    fn len(&self, name: &str) -> io::Result<u64>;
    /// At most so many bytes of one file from an offset on; fewer only where it ends.
    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;
    /// A new, empty file. Fails if the name is taken.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name. A file that had this name before is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// All names are on stable storage when it returns.
    fn sync_directory(&mut self) -> io::Result<()>;
    /// Bytes that files may still take here.
    fn free_bytes(&self) -> io::Result<u64>;
    /// A number that nobody outside can guess.
    fn nonce(&mut self) -> u64;
    /// How messages call this file; the empty name is the place itself.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file that grows at its end.
pub trait MediumFile {
    /// Writes all of the bytes behind those appended before, or fails; then part of them may be
    /// written, and the next append writes over them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The same for who syncs next: what waits for the disk in any case may go there at once.
    fn append_before_sync(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)
    }
    /// Makes the file longer by so many zeros, which later appends overwrite: a sync is cheaper
    /// if the file's length has not changed.
    fn reserve(&mut self, bytes: usize) -> io::Result<()>;
    /// All bytes are on stable storage when it returns (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}
