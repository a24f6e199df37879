//! Reads single messages by their position, beside the committer.

use std::fmt;
use std::io;
use std::path::PathBuf;

use bellbird_core::identity::Position;
use bellbird_core::message::Message;

use crate::body;
use crate::checkpoint::{self, Found};
use crate::format::{
    self, BATCH_HEADER, BatchHeader, POSITION_MAX, RECORD_HEADER, RawRecord, SEGMENT_HEADER,
};
use crate::index::{Index, Place, PlaceFile};
use crate::limits::MARK_BYTES;
use crate::medium::Medium;
use crate::scan::{Scanner, Step};

/// Reads what was reported stored while the log is written on. It may be carried to another thread.
#[derive(Clone, Debug)]
pub struct Reader<M: Medium> {
    pub(crate) medium: M,
    pub(crate) index: Index,
    pub(crate) key: u64,
}

/// Why a message could not be read.
#[derive(Debug)]
pub struct Unread {
    /// Which.
    pub position: Position,
    /// The file it should be in; none if the files are sound and none has it: it was over.
    pub path: Option<PathBuf>,
    /// What the system said; none if the bytes are not what was written.
    pub error: Option<io::Error>,
}

/// A part of a file, from a mark on.
struct Chunk {
    place: Place,
    bytes: Vec<u8>,
    /// The file has no more.
    is_last: bool,
    /// What stands before was passed.
    at: usize,
}

impl<M: Medium> Reader<M> {
    /// The messages at these positions, in their order. Each has been reported stored, or is about
    /// to be written: then it is waited for, until the log is gone.
    pub fn read(&self, positions: &[Position]) -> Vec<Result<Message, Unread>> {
        let mut order: Vec<usize> = (0..positions.len()).collect();
        order.sort_unstable_by_key(|index| positions[*index]);
        let mut found: Vec<Option<Result<Message, Unread>>> = Vec::new();
        found.resize_with(positions.len(), || None);
        let mut chunk = None;
        for index in order {
            found[index] = Some(self.read_one(positions[index], &mut chunk));
        }
        found.into_iter().flatten().collect()
    }

    fn read_one(&self, position: Position, chunk: &mut Option<Chunk>) -> Result<Message, Unread> {
        let unread = |path, error| Unread { position, path, error };
        let mut tries = TRIES;
        loop {
            let Some(place) = self.index.place(position.0) else { return Err(unread(None, None)) };
            let (file, name) = (place.file, place.file.name());
            let read = self.read_at(position.0, place, chunk);
            // Where nothing makes sense on the way, it may still stand behind it.
            let found = match read {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => self.search(file, position.0),
                Err(error) => Err(error),
            };
            match found {
                Ok(Searched::Found(message)) => return Ok(message),
                Ok(Searched::Absent) => return Err(unread(None, None)),
                Ok(Searched::Damaged) => return Err(unread(Some(self.medium.path(&name)), None)),
                // A checkpoint took its place meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => tries -= 1,
                Err(error) => return Err(unread(Some(self.medium.path(&name)), Some(error))),
            }
            *chunk = None;
        }
    }

    /// The message, if it stands where it should.
    fn read_at(
        &self,
        position: u64,
        place: Place,
        chunk: &mut Option<Chunk>,
    ) -> io::Result<Option<Message>> {
        let chunk = match chunk {
            Some(chunk) if chunk.place == place => chunk,
            _ => {
                let bytes = place.end.map_or(MARK_BYTES, |end| end - place.offset);
                chunk.insert(self.load(place, bytes)?)
            }
        };
        loop {
            match chunk.walk(format::seed(self.key), position) {
                Walk::Found(message) => return Ok(Some(message)),
                Walk::Lost => return Ok(None),
                Walk::Short if chunk.is_last => return Ok(None),
                Walk::Short => {
                    let at = chunk.at;
                    let bytes = chunk.bytes.len() as u64 * 2;
                    *chunk = self.load(chunk.place.clone(), bytes)?;
                    chunk.at = at;
                }
            }
        }
    }

    fn load(&self, place: Place, bytes: u64) -> io::Result<Chunk> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?.max(RECORD_HEADER);
        let read = self.medium.read_at(&place.file.name(), place.offset, bytes)?;
        Ok(Chunk { place, is_last: read.len() < bytes, bytes: read, at: 0 })
    }

    /// Looks through a whole file.
    fn search(&self, file: PlaceFile, position: u64) -> io::Result<Searched> {
        let name = file.name();
        let mut is_damaged = false;
        match file {
            PlaceFile::Segment(first) => {
                let bytes = self.medium.read(&name)?;
                let seed = format::seed(self.key);
                for step in Scanner::new(&bytes, seed, SEGMENT_HEADER, first, POSITION_MAX) {
                    match step {
                        Step::Record(record, _) if record.position == position => {
                            return Ok(Searched::of(message_in(record.kind, record.body)));
                        }
                        Step::Record(..) | Step::Batch(_) => {}
                        Step::Gap { .. } => is_damaged = true,
                    }
                }
            }
            PlaceFile::Checkpoint(bound) => {
                let mut reader = checkpoint::Reader::new(&self.medium, &name, self.key, bound);
                loop {
                    match reader.next()? {
                        Found::Record { position: at, kind, body, .. } if at == position => {
                            return Ok(Searched::of(message_in(kind, reader.body(body))));
                        }
                        Found::Record { .. } => {}
                        Found::Gap { .. } => is_damaged = true,
                        Found::End { missing } => {
                            is_damaged |= missing.is_none_or(|records| records > 0);
                            break;
                        }
                    }
                }
            }
        }
        Ok(if is_damaged { Searched::Damaged } else { Searched::Absent })
    }
}

/// What came of a search.
enum Searched {
    Found(Message),
    /// The file has no such message any more: whoever waited for it is gone.
    Absent,
    /// Nobody can know.
    Damaged,
}

impl Searched {
    fn of(message: Option<Message>) -> Self {
        message.map_or(Self::Absent, Self::Found)
    }
}

/// How a walk over a chunk ends.
enum Walk {
    Found(Message),
    /// It is not where it should be.
    Lost,
    /// The chunk ends before.
    Short,
}

impl Chunk {
    /// Steps from record to record, by their lengths, to the one at this position.
    fn walk(&mut self, seed: u32, position: u64) -> Walk {
        loop {
            if BatchHeader::decode(seed, &self.bytes, self.at).is_some() {
                self.at += BATCH_HEADER;
                continue;
            }
            let header = (format::u32_at(&self.bytes, self.at), self.at.checked_add(8));
            let (Some(body), Some(field)) = header else { return Walk::Short };
            let Some(found) = format::u64_at(&self.bytes, field) else { return Walk::Short };
            if found > position {
                return Walk::Lost;
            }
            let end = self.at.saturating_add(RECORD_HEADER).saturating_add(body as usize);
            if end > self.bytes.len() {
                return Walk::Short;
            }
            if found == position {
                let window = (position, position + 1);
                let record = RawRecord::decode(seed, &self.bytes, self.at, window, &mut 0);
                let message = record.and_then(|record| message_in(record.kind, record.body));
                return message.map_or(Walk::Lost, Walk::Found);
            }
            self.at = end;
        }
    }
}

fn message_in(kind: u8, body: &[u8]) -> Option<Message> {
    body::decode(kind, body).ok()?.message().cloned()
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, path, error } = self;
        write!(f, "the message at position {} cannot be read", position.0)?;
        match (path, error) {
            (Some(path), Some(error)) => write!(f, " from {}: {error}", path.display()),
            (Some(path), None) => write!(f, ": {} is damaged", path.display()),
            (None, _) => write!(f, ": no file of the log has it"),
        }
    }
}

/// How often a file may be replaced while one message is looked for.
const TRIES: u32 = 8;
