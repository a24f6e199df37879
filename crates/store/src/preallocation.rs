//! The next segment's file, made beside the log while it still writes the one before.
//!
//! A sync that finds the file as long as the last one left it costs a third of one that has to
//! note a new length, so small writes overwrite zeros. Zeros that the log writes itself make the
//! writes that wait for them late; here nobody waits for them.

use std::io;

use crate::error::StoreError;
use crate::format::PREALLOCATED_NAME;
use crate::limits::PREALLOCATED_AT_ONCE_BYTES;
use crate::medium::{Medium, MediumFile};

/// What is to be made: a file of zeros. [`Log::preallocation`](crate::Log::preallocation) says
/// when it is worth it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preallocation {
    /// The segment that is written meanwhile.
    pub(crate) segment: u64,
    pub(crate) bytes: u64,
}

/// A file of zeros, all of them on stable storage; for
/// [`Log::preallocated`](crate::Log::preallocated).
#[derive(Debug)]
pub struct Preallocated<F> {
    pub(crate) file: F,
    pub(crate) bytes: u64,
}

impl Preallocation {
    /// How many bytes the file will have.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file, as long as `go_on` says so. If it cannot be made, nothing of it is left.
    ///
    /// # Errors
    /// The medium's, and [`StoreError::Interrupted`].
    pub fn run<M: Medium>(
        &self,
        medium: &M,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Preallocated<M::File>, StoreError> {
        let mut medium = medium.clone();
        remove(&mut medium)?;
        let path = medium.path(PREALLOCATED_NAME);
        let mut file = medium
            .create(PREALLOCATED_NAME)
            .map_err(|source| StoreError::of("create", path.clone(), source))?;
        match self.fill(&mut file, go_on) {
            Ok(true) => Ok(Preallocated { file, bytes: self.bytes }),
            Ok(false) => remove(&mut medium).and(Err(StoreError::Interrupted)),
            Err(source) => {
                let error = StoreError::of("write zeros to", path, source);
                remove(&mut medium).and(Err(error))
            }
        }
    }

    /// Little by little: a sync of the log's own waits for what the disk is doing here.
    fn fill<F: MediumFile>(&self, file: &mut F, go_on: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut left = self.bytes;
        while left > 0 {
            if !go_on() {
                return Ok(false);
            }
            let bytes = left.min(PREALLOCATED_AT_ONCE_BYTES as u64);
            file.reserve(usize::try_from(bytes).map_err(io::Error::other)?)?;
            file.sync()?;
            left -= bytes;
        }
        Ok(true)
    }
}

/// Removes the file, if it is there.
pub(crate) fn remove<M: Medium>(medium: &mut M) -> Result<(), StoreError> {
    match medium.remove(PREALLOCATED_NAME) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let path = medium.path(PREALLOCATED_NAME);
            Err(StoreError::Io { operation: "remove", path, source })
        }
        _ => Ok(()),
    }
}
