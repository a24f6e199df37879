//! A medium that does not always do what it says, or not what the log asks of it.

use std::io;
use std::path::PathBuf;

use bellbird_store::{Faulty, Medium, MediumFile};

use super::Rot;
use crate::layout::{BATCH, BATCH_HEADER, HEADER, RECORD_HEADER, SEGMENT, u32_at};

/// A medium with a fault, or without.
#[derive(Clone, Debug)]
pub(crate) struct Rotten {
    inner: Faulty,
    rot: Option<Rot>,
    /// The last thing it did was to name a checkpoint.
    has_renamed: bool,
    /// Segments that were begun here.
    segments: u64,
}

/// A file of it.
#[derive(Debug)]
pub(crate) struct RottenFile {
    inner: <Faulty as Medium>::File,
    rot: Option<Rot>,
    is_checkpoint: bool,
    is_first: bool,
    syncs: u64,
    /// What its header says, if it is a segment.
    key: Option<[u8; 8]>,
}

impl Rotten {
    pub(crate) fn new(inner: Faulty, rot: Option<Rot>) -> Self {
        Self { inner, rot, has_renamed: false, segments: 0 }
    }

    fn has(&self, rot: Rot) -> bool {
        self.rot == Some(rot)
    }
}

impl Medium for Rotten {
    type File = RottenFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = self.inner.read(name)?;
        if name.ends_with(SEGMENT) && self.has(Rot::ChecksumsIgnored) {
            forge_checksums(&mut bytes);
        }
        if self.has(Rot::CutTooFar)
            && self.list()?.iter().max_by_key(|name| segment(name)) == Some(&name.to_owned())
        {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            let kept = end.saturating_sub(BYTES_TOO_FAR).max(HEADER.min(bytes.len()));
            bytes.truncate(kept);
        }
        Ok(bytes)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(name, offset, bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<RottenFile> {
        let is_checkpoint = name == CHECKPOINT_TMP;
        self.segments += u64::from(!is_checkpoint);
        Ok(RottenFile {
            inner: self.inner.create(name)?,
            rot: self.rot,
            is_checkpoint,
            is_first: self.segments == 1,
            syncs: 0,
            key: None,
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.has_renamed = from == CHECKPOINT_TMP;
        if self.has(Rot::OldNameKept) && self.list()?.iter().any(|name| name == to) {
            return self.inner.remove(from);
        }
        if self.has(Rot::DirectorySyncedTooEarly) {
            self.inner.sync_directory()?;
        }
        self.inner.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let is_unfinished = name.ends_with(UNFINISHED);
        if (self.has(Rot::UnfinishedKept) && is_unfinished)
            || (self.has(Rot::SuperfluousKept) && !is_unfinished)
        {
            return Ok(());
        }
        if self.has(Rot::OneTooMany) && name.ends_with(SEGMENT) {
            let mut names = self.inner.list()?;
            names.sort();
            let next = names.iter().find(|other| other.ends_with(SEGMENT) && ***other > *name);
            if let Some(next) = next {
                self.inner.remove(next)?;
            }
        }
        self.inner.remove(name)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let is_of_checkpoint = std::mem::take(&mut self.has_renamed);
        match self.rot {
            Some(Rot::DirectoryNotSynced | Rot::DirectorySyncedTooEarly) => Ok(()),
            Some(Rot::RemovedTooEarly) if is_of_checkpoint => Ok(()),
            _ => self.inner.sync_directory(),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn nonce(&mut self) -> u64 {
        self.inner.nonce()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

impl MediumFile for RottenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begins = !self.is_checkpoint && self.key.is_none();
        if begins {
            self.key = bytes.get(12..20).and_then(|key| key.try_into().ok());
        }
        let written = match self.rot {
            Some(Rot::CheckpointCutShort) if self.is_checkpoint => {
                self.inner.append(&bytes[..bytes.len().saturating_sub(30)])
            }
            Some(Rot::TailForgotten) if begins => self.inner.append(&bytes[..HEADER]),
            Some(Rot::MarkTooHigh) if !begins && !self.is_checkpoint => {
                let mut bytes = bytes.to_vec();
                raise_mark(&mut bytes, self.key.unwrap_or_default());
                self.inner.append(&bytes)
            }
            _ => self.inner.append(bytes),
        };
        let is_believed = self.rot == Some(Rot::ShortWriteBelieved) && !self.is_checkpoint;
        if is_believed { Ok(()) } else { written }
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        self.inner.reserve(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        let of_segment = !self.is_checkpoint;
        let forgets = match self.rot {
            Some(Rot::CheckpointNotSynced) => self.is_checkpoint,
            Some(Rot::SegmentsNotSynced) => of_segment,
            Some(Rot::NamedBeforeSync) => of_segment && self.syncs == 1,
            Some(Rot::WrongFileSynced) => of_segment && !self.is_first && self.syncs > 1,
            Some(Rot::EverySecondSync) => of_segment && self.syncs.is_multiple_of(2),
            _ => false,
        };
        if forgets {
            return Ok(());
        }
        match self.inner.sync() {
            Err(_) if self.rot == Some(Rot::SyncTriedAgain) => self.inner.sync(),
            synced => synced,
        }
    }
}

/// A batch's header claims that everything before it was synced.
fn raise_mark(bytes: &mut [u8], key: [u8; 8]) {
    let Some(first) = u64_at(bytes, 16) else { return };
    bytes[24..32].copy_from_slice(&first.saturating_sub(1).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&key), &bytes[..32]);
    bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
}

/// Whatever stands where a record should stand gets the checksum that it should have.
fn forge_checksums(bytes: &mut [u8]) {
    let Some(key) = bytes.get(12..20).map(crc32c::crc32c) else { return };
    let mut at = HEADER;
    while let Some(length) = u32_at(bytes, at) {
        if length == BATCH {
            at += BATCH_HEADER;
            continue;
        }
        let end = at + RECORD_HEADER + length as usize;
        let Some(checked) = bytes.get(at + 8..end).filter(|_| length > 0) else { return };
        let checksum = crc32c::crc32c_append(key, checked);
        bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
}

fn segment(name: &str) -> Option<&str> {
    name.strip_suffix(SEGMENT)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The name of a checkpoint that is being written.
const CHECKPOINT_TMP: &str = "checkpoint.tmp";
const UNFINISHED: &str = ".tmp";
const BYTES_TOO_FAR: usize = 5;
