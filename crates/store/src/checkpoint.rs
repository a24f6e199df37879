//! A checkpoint: what is left of all segments below its bound, in one file.
//!
//! The records that only count in their order have position 0 and stand first; behind them stand
//! messages and retained messages, each at the position it always had.

use std::io;
use std::ops::Range;

use bellbird_core::identity::Position;
use bellbird_core::record::Record;

use crate::body;
use crate::error::StoreError;
use crate::format::{
    self, CHECKPOINT_END, CHECKPOINT_HEADER, CheckpointEnd, CheckpointHeader, RECORD_HEADER,
    RawRecord, UNFINISHED_CHECKPOINT,
};
use crate::index::Marks;
use crate::limits::{CHUNK_BYTES, SEARCH_FACTOR};
use crate::medium::{Medium, MediumFile};

/// Writes a checkpoint. It gets its name when it is complete and on stable storage.
pub(crate) struct Writer<M: Medium> {
    medium: M,
    file: M::File,
    buffer: Vec<u8>,
    header: CheckpointHeader,
    end: CheckpointEnd,
    marks: Marks,
}

impl<M: Medium> Writer<M> {
    pub(crate) fn begin(mut medium: M, header: CheckpointHeader) -> Result<Self, StoreError> {
        let name = UNFINISHED_CHECKPOINT;
        if medium.list().is_ok_and(|names| names.iter().any(|found| found == name)) {
            medium.remove(name).map_err(|source| failed(&medium, "remove", name, source))?;
        }
        let file = medium.create(name).map_err(|source| failed(&medium, "create", name, source))?;
        let mut buffer = Vec::new();
        header.encode(&mut buffer);
        let end = CheckpointEnd { count: 0, bytes: 0 };
        Ok(Self { medium, file, buffer, header, end, marks: Marks::default() })
    }

    /// Adds a record; the positions go up.
    pub(crate) fn push(&mut self, position: Position, record: &Record) -> Result<(), StoreError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_HEADER]);
        let kind = body::encode(record, &mut self.buffer);
        let added = &mut self.buffer[start..];
        format::begin_record(added, kind);
        format::finish_records(format::seed(self.header.key), added, position.0);
        if position.0 > 0 {
            self.marks.note(position.0, CHECKPOINT_HEADER as u64 + self.end.bytes);
        }
        self.end.count += 1;
        self.end.bytes += added.len() as u64;
        if self.buffer.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// How many records it has so far.
    pub(crate) fn records(&self) -> u64 {
        self.end.count
    }

    /// Ends it and gives it its name. Returns how many bytes it has, and where its records stand.
    pub(crate) fn finish(mut self) -> Result<(u64, Marks), StoreError> {
        self.end.encode(format::seed(self.header.key), &mut self.buffer);
        self.flush()?;
        let Self { mut medium, mut file, header, end, marks, .. } = self;
        let name = UNFINISHED_CHECKPOINT;
        file.sync().map_err(|source| failed(&medium, "sync", name, source))?;
        let right_name = format::checkpoint_name(header.bound);
        medium
            .rename(name, &right_name)
            .map_err(|source| failed(&medium, "rename a checkpoint to", &right_name, source))?;
        medium.sync_directory().map_err(|source| failed(&medium, "sync", "", source))?;
        Ok(((CHECKPOINT_HEADER + CHECKPOINT_END) as u64 + end.bytes, marks))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let written = self.file.append(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| failed(&self.medium, "append to", UNFINISHED_CHECKPOINT, source))
    }
}

/// Reads a checkpoint behind its header, a piece at a time.
pub(crate) struct Reader<'m, M: Medium> {
    medium: &'m M,
    name: &'m str,
    seed: u32,
    bound: u64,
    /// What was read of the file and not taken yet begins at `start`, which is `offset` in it.
    chunk: Vec<u8>,
    start: usize,
    offset: u64,
    /// The lowest position that may follow.
    next: u64,
    taken: u64,
    /// Bytes whose checksum may still be tried while searching: keeps a search linear whatever
    /// the bytes pretend.
    search_budget: usize,
}

/// One thing in a checkpoint.
pub(crate) enum Found {
    /// A record: its position, kind and body, and where it stands.
    Record { position: u64, kind: u8, body: Range<usize>, offset: u64 },
    /// Bytes that make no sense.
    Gap { offset: u64, bytes: u64 },
    /// The end, and how many records are missing before it; none if nobody knows, because the
    /// file ends too early.
    End { missing: Option<u64> },
}

/// What stands at a place.
enum Look {
    Record { position: u64, kind: u8, bytes: usize },
    End(CheckpointEnd),
}

impl<'m, M: Medium> Reader<'m, M> {
    pub(crate) fn new(medium: &'m M, name: &'m str, key: u64, bound: u64) -> Self {
        Self {
            medium,
            name,
            seed: format::seed(key),
            bound,
            chunk: Vec::new(),
            start: 0,
            offset: CHECKPOINT_HEADER as u64,
            next: 0,
            taken: 0,
            search_budget: 0,
        }
    }

    /// Where the next thing stands.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands next. Nothing stands behind [`Found::End`].
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        let offset = self.offset;
        match self.look(0)? {
            Some(Look::Record { position, kind, bytes }) => {
                let body = self.start + RECORD_HEADER..self.start + bytes;
                self.skip(bytes);
                self.taken += 1;
                self.next = if position == 0 { 0 } else { position + 1 };
                return Ok(Found::Record { position, kind, body, offset });
            }
            Some(Look::End(end)) => {
                return Ok(Found::End { missing: Some(end.count.saturating_sub(self.taken)) });
            }
            None if self.load(1)? == 0 => return Ok(Found::End { missing: None }),
            None => {}
        }
        // Mostly the damage is in the body, and the length still leads to the next record.
        self.search_budget = CHUNK_BYTES * SEARCH_FACTOR;
        let claimed = format::u32_at(&self.chunk[self.start..], 0).unwrap_or(0) as usize;
        let next = RECORD_HEADER + claimed;
        if claimed <= CHUNK_BYTES && self.look(next)?.is_some() {
            self.skip(next);
            return Ok(Found::Gap { offset, bytes: next as u64 });
        }
        while self.load(2)? > 1 {
            self.skip(1);
            self.search_budget += SEARCH_FACTOR;
            if self.look(0)?.is_some() {
                return Ok(Found::Gap { offset, bytes: self.offset - offset });
            }
        }
        self.skip(1);
        Ok(Found::Gap { offset, bytes: self.offset - offset })
    }

    /// The body of the record found last.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.chunk[range]
    }

    /// What stands so many bytes ahead, if it is intact.
    fn look(&mut self, ahead: usize) -> io::Result<Option<Look>> {
        self.load(ahead + CHECKPOINT_END)?;
        let here = self.chunk.get(self.start + ahead..).unwrap_or_default();
        if let Some(end) = CheckpointEnd::decode(self.seed, here) {
            return Ok(Some(Look::End(end)));
        }
        let (Some(body), Some(position)) = (format::u32_at(here, 0), format::u64_at(here, 8))
        else {
            return Ok(None);
        };
        let bytes = RECORD_HEADER + body as usize;
        let is_ahead = ahead > 0 || self.search_budget > 0;
        if position < self.next
            || position >= self.bound
            || (is_ahead && bytes > self.search_budget)
            || self.load(ahead + bytes)? < ahead + bytes
        {
            return Ok(None);
        }
        if is_ahead {
            self.search_budget -= bytes;
        }
        let here = &self.chunk[self.start + ahead..];
        let found = RawRecord::decode(self.seed, here, 0, (self.next, self.bound), &mut 0);
        if found.is_some() {
            self.search_budget = 0;
        }
        Ok(found.map(|record| Look::Record { position, kind: record.kind, bytes }))
    }

    /// Reads on until so many bytes are there, or the file ends. Returns how many there are.
    fn load(&mut self, bytes: usize) -> io::Result<usize> {
        while self.chunk.len() - self.start < bytes {
            let at = self.offset + (self.chunk.len() - self.start) as u64;
            let wanted = (bytes - (self.chunk.len() - self.start)).max(CHUNK_BYTES);
            let more = self.medium.read_at(self.name, at, wanted)?;
            if more.is_empty() {
                break;
            }
            self.chunk.drain(..self.start);
            self.start = 0;
            self.chunk.extend_from_slice(&more);
        }
        Ok(self.chunk.len() - self.start)
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }
}

fn failed<M: Medium>(
    medium: &M,
    operation: &'static str,
    name: &str,
    source: io::Error,
) -> StoreError {
    StoreError::Io { operation, path: medium.path(name), source }
}
