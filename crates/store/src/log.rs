//! The log as its committer sees it: append, sync, and never again after a failure.

use std::io;

use bellbird_core::identity::Position;
use bellbird_core::record::Record;

use crate::batch::Batch;
use crate::distillation::{self, Distillation, Distilled};
use crate::error::{StoreError, is_full};
use crate::format::{
    self, BatchHeader, PREALLOCATED_NAME, SEGMENT_HEADER, SegmentHeader, UNFINISHED_NAME,
};
use crate::index::Index;
use crate::limits::{
    BUFFER_BYTES_KEPT, PREALLOCATE_AT_SHARE, RESERVE_BYTES, RESERVE_FOR_BYTES_MAX,
    SEGMENT_BYTES_DEFAULT,
};
use crate::medium::{Medium, MediumFile};
use crate::preallocation::{self, Preallocated, Preallocation};
use crate::reader::Reader;
use crate::recovery::{self, FileOf, Layout, Reading, Recovery};

/// The durable log. One committer owns it.
///
/// What was appended is stored once [`Log::sync`] has returned, not before. The first failure
/// poisons the log: it does not know any more what the files hold, and a second sync of the same
/// file may succeed without having written what the first one lost. But a volume that is full
/// ([`StoreError::Full`]) poisons nothing: the append is repeated, with the same batches.
#[derive(Debug)]
pub struct Log<M: Medium> {
    medium: M,
    segment: M::File,
    /// The position in its name.
    segment_first: u64,
    /// The files before it.
    layout: Layout,
    /// What is written of it, without reserved zeros.
    segment_bytes: u64,
    /// How long its file is.
    reserved_bytes: u64,
    /// What small writes have put into it.
    small_bytes: u64,
    /// Whether its file was made of zeros.
    is_preallocated: bool,
    /// The next segment's file.
    preallocated: Option<Preallocated<M::File>>,
    segment_bytes_max: u64,
    key: u64,
    seed: u32,
    next: u64,
    synced: u64,
    bytes_written: u64,
    record_bytes: u64,
    poisoned: bool,
    /// How many messages the checkpoint keeps.
    checkpoint_messages: u64,
    index: OwnIndex,
    /// The checksum of what an append had no room for: it stands there in part, and is written
    /// over with the same.
    unfinished: Option<u32>,
    /// What one append writes, put together; used again.
    buffer: Vec<u8>,
}

/// The index, by whom readers wait for nothing any more once the log is gone.
#[derive(Debug)]
struct OwnIndex(Index);

impl Drop for OwnIndex {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What comes after an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Sync,
    Anything,
}

/// What may be chosen about a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// A segment that has reached this size is followed by a new one. Recovery holds one segment
    /// in memory at a time.
    pub segment_bytes: u64,
}

impl<M: Medium> Log<M> {
    /// Replays every kept record in the order of the positions, then begins a new segment.
    ///
    /// All that was replayed is on stable storage when it returns, also what had been written but
    /// not synced when the last process ended.
    pub fn open(
        medium: M,
        options: Options,
        replay: &mut dyn FnMut(Position, Record),
    ) -> Result<(Self, Recovery), StoreError> {
        Self::open_with(medium, options, Reading { record: replay, progress: &mut |_| {} })
    }

    /// The same for who wants to hear how far it is.
    pub fn open_with(
        mut medium: M,
        options: Options,
        reading: Reading<'_>,
    ) -> Result<(Self, Recovery), StoreError> {
        let recovered = recovery::recover(&mut medium, reading)?;
        let key = recovered.key.unwrap_or_else(|| medium.nonce());
        let next = recovered.next;
        let mut buffer = Vec::new();
        let first = next - recovered.tail_records;
        SegmentHeader { key, first, synced: next - 1 }.encode(&mut buffer);
        if recovered.tail_records > 0 {
            let count = u32::try_from(recovered.tail_records)
                .expect("the records of one segment are fewer than 2³²");
            let bytes = recovered.tail.len() as u64;
            BatchHeader { count, bytes, first, synced: first - 1 }
                .encode(format::seed(key), &mut buffer);
            buffer.extend_from_slice(&recovered.tail);
        }
        let name = format::segment_name(first);
        if distillation::is_damaged(&medium, &recovered.recovery, &name) {
            // The new segment takes its name, and somebody may want to have a look at it.
            distillation::copy(&mut medium, &name)?;
        }
        let segment = begin_segment(&mut medium, None, &name, &buffer)?;
        let mut layout = recovered.layout;
        let mut marks = recovered.segment_marks;
        marks.retain(|(position, _)| *position < first);
        let bound = layout.checkpoint.as_ref().map(|checkpoint| checkpoint.position);
        let index = Index::new(bound.zip(recovered.checkpoint_marks), marks, next);
        index.begin_segment(first);
        let header = SEGMENT_HEADER as u64;
        index.append(first, recovered.tail_records, header, &recovered.tail);
        // The new segment takes the place of one of its name.
        layout.segments.retain(|segment| segment.position < first);
        remove_leftovers(&mut medium, &mut layout)?;
        note_newest(&mut medium, first, &std::mem::take(&mut layout.newest));
        for end in std::mem::take(&mut layout.ends) {
            // The new segment says as much, and one that stays says nothing wrong.
            drop(medium.remove(&format::end_name(end)));
        }
        let log = Self {
            medium,
            segment,
            segment_first: first,
            layout,
            segment_bytes: buffer.len() as u64,
            reserved_bytes: buffer.len() as u64,
            small_bytes: 0,
            is_preallocated: false,
            preallocated: None,
            segment_bytes_max: options.segment_bytes,
            key,
            seed: format::seed(key),
            next,
            synced: next - 1,
            bytes_written: buffer.len() as u64,
            record_bytes: 0,
            poisoned: false,
            checkpoint_messages: recovered.checkpoint_messages,
            index: OwnIndex(index),
            unfinished: None,
            buffer: Vec::new(),
        };
        Ok((log, recovered.recovery))
    }

    /// Adds the records of the batches behind everything before, with one write, and puts the
    /// position of the first record of each batch into `firsts`, in order. (An empty batch has
    /// the position that its first record would have had.)
    ///
    /// The records are written but not synced when it returns. If the volume is full, nothing has
    /// happened, and nothing else may be appended before these batches.
    ///
    /// # Panics
    /// If other batches are appended after a volume was full.
    pub fn append(
        &mut self,
        batches: &[&Batch],
        firsts: &mut Vec<Position>,
    ) -> Result<(), StoreError> {
        self.append_for(Next::Anything, batches, firsts)
    }

    /// The same for who calls [`Log::sync`] next: both take less time then, but nothing is written
    /// much earlier than synced.
    ///
    /// # Panics
    /// As [`Log::append`].
    pub fn append_before_sync(
        &mut self,
        batches: &[&Batch],
        firsts: &mut Vec<Position>,
    ) -> Result<(), StoreError> {
        self.append_for(Next::Sync, batches, firsts)
    }

    fn append_for(
        &mut self,
        next_is: Next,
        batches: &[&Batch],
        firsts: &mut Vec<Position>,
    ) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        firsts.clear();
        let records: u64 = batches.iter().map(|batch| batch.len() as u64).sum();
        let bytes: usize = batches.iter().map(|batch| batch.bytes_len()).sum();
        if records > 0 && self.must_roll() {
            self.roll()?;
        }
        let mut next = self.next;
        for batch in batches {
            firsts.push(Position(next));
            next += batch.len() as u64;
        }
        if records == 0 {
            return Ok(());
        }
        let count = u32::try_from(records).expect("one write has fewer than 2³² records");
        let header =
            BatchHeader { count, bytes: bytes as u64, first: self.next, synced: self.synced };
        self.buffer.clear();
        header.encode(self.seed, &mut self.buffer);
        let records_at = self.buffer.len();
        for batch in batches {
            self.buffer.extend_from_slice(batch.bytes());
        }
        format::finish_records(self.seed, &mut self.buffer[records_at..], self.next);
        if let Some(unfinished) = self.unfinished {
            let records = crc32c::crc32c(&self.buffer[records_at..]);
            assert_eq!(unfinished, records, "what had no room comes first");
        }
        let written = self.write_buffer(next_is);
        if let Err(error) = &written
            && is_full(error)
        {
            self.unfinished = Some(crc32c::crc32c(&self.buffer[records_at..]));
            return written.map_err(|source| self.error("append to", source));
        }
        self.poison_on_error("append to", written)?;
        self.unfinished = None;
        let header = self.segment_bytes - self.buffer.len() as u64;
        self.index.0.append(self.next, records, header, &self.buffer[records_at..]);
        self.next = next;
        if self.buffer.len() <= RESERVE_FOR_BYTES_MAX {
            self.small_bytes += self.buffer.len() as u64;
        }
        self.bytes_written += self.buffer.len() as u64;
        self.record_bytes += bytes as u64;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Everything appended so far is on stable storage when it returns.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        if self.synced + 1 == self.next {
            return Ok(());
        }
        let synced = self.segment.sync();
        self.poison_on_error("sync", synced)?;
        self.synced = self.next - 1;
        Ok(())
    }

    /// Everything appended so far is on stable storage when it returns, and nothing more will be:
    /// the next start sees whether all of it is still there. If that cannot be said, it sees less.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.sync()?;
        if self.preallocated.take().is_some() {
            preallocation::remove(&mut self.medium)?;
        }
        if self.medium.create(&format::end_name(self.next)).is_ok() {
            drop(self.medium.sync_directory());
        }
        Ok(())
    }

    /// The position that the next record will have.
    pub fn next_position(&self) -> Position {
        Position(self.next)
    }

    /// All bytes written since the log was opened: headers, checkpoints and zeros included.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// The bytes of the records that were appended since then.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// How many bytes the log takes, but for zeros written ahead.
    pub fn bytes(&self) -> u64 {
        let files = self.layout.segments.iter().chain(&self.layout.checkpoint);
        self.segment_bytes + files.map(|file| file.bytes).sum::<u64>()
    }

    /// What is to become a checkpoint, if it is worth it: a segment's worth of complete segments
    /// or more, and as much as the last checkpoint has. So each byte that lives on is written
    /// again at most once for each new one.
    pub fn distillation(&self) -> Option<Distillation> {
        let complete: u64 = self.layout.segments.iter().map(|segment| segment.bytes).sum();
        let kept = self.layout.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.bytes);
        let is_worth_it = complete > 0 && complete >= self.segment_bytes_max.max(kept);
        is_worth_it.then(|| self.distillation_of_all())
    }

    /// The same whether it is worth it or not.
    pub fn distillation_of_all(&self) -> Distillation {
        let (layout, index) = (self.layout.clone(), self.index.0.clone());
        Distillation { key: self.key, layout, bound: self.segment_first, index }
    }

    /// The same for whoever needs room, whether it is worth it or not: the segment in use is
    /// ended for it, unless something had no room there. None if there is nothing to gain.
    pub fn distillation_for_room(&mut self) -> Result<Option<Distillation>, StoreError> {
        self.refuse_if_poisoned()?;
        if self.preallocated.take().is_some() {
            preallocation::remove(&mut self.medium)?;
        }
        if self.unfinished.is_none() && self.has_records() {
            self.roll()?;
        }
        Ok((!self.layout.segments.is_empty()).then(|| self.distillation_of_all()))
    }

    /// Whether most of a checkpoint of some size must be dead, if no more messages than `alive`
    /// are needed. Nothing of that is seen in how much was written since: the ends of messages are
    /// short.
    pub fn is_mostly_dead(&self, alive: impl FnOnce() -> u64) -> bool {
        let kept = self.layout.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.bytes);
        kept >= self.segment_bytes_max && alive() <= self.checkpoint_messages / 2
    }

    /// The file for the next segment that is worth making now, so that the writes which wait for
    /// a sync find it as long as it will be: if most writes are small, and there is none yet.
    pub fn preallocation(&self) -> Option<Preallocation> {
        let share = if self.is_preallocated { 2 } else { PREALLOCATE_AT_SHARE };
        let is_worth_it =
            self.preallocated.is_none() && self.small_bytes >= self.segment_bytes_max / share;
        // The last small write begins before the segment is full.
        let bytes =
            self.segment_bytes_max + self.segment_bytes_max.min(RESERVE_FOR_BYTES_MAX as u64);
        is_worth_it.then_some(Preallocation { segment: self.segment_first, bytes })
    }

    /// The next segment's file is there. A segment that was begun without one ends now.
    pub fn preallocated(&mut self, file: Preallocated<M::File>) {
        self.bytes_written += file.bytes;
        self.preallocated = Some(file);
    }

    /// How many messages the checkpoint keeps.
    pub fn checkpoint_messages(&self) -> u64 {
        self.checkpoint_messages
    }

    /// Reads what was reported stored.
    pub fn reader(&self) -> Reader<M> {
        Reader { medium: self.medium.clone(), index: self.index.0.clone(), key: self.key }
    }

    /// The checkpoint is there, and what it stands for is gone.
    pub fn distilled(&mut self, distilled: &Distilled) {
        let Distilled { bound, bytes, messages, .. } = *distilled;
        self.layout.segments.retain(|segment| segment.position >= bound);
        let name = format::checkpoint_name(bound);
        self.layout.checkpoint = Some(FileOf { position: bound, name, bytes });
        self.checkpoint_messages = messages;
        self.bytes_written += bytes;
    }

    /// Where the files are: a [`Distillation`] runs there.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// Ends the segment, synced, and begins the next one.
    fn roll(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        let header = SegmentHeader { key: self.key, first: self.next, synced: self.synced };
        self.buffer.clear();
        header.encode(&mut self.buffer);
        let name = format::segment_name(self.next);
        let preallocated = self.preallocated.take();
        let zeros = preallocated.as_ref().map(|file| file.bytes);
        let file = preallocated.map(|preallocated| preallocated.file);
        match begin_segment(&mut self.medium, file, &name, &self.buffer) {
            Ok(segment) => self.segment = segment,
            Err(error) => {
                self.poisoned = !matches!(error, StoreError::Full { .. });
                return Err(error);
            }
        }
        note_newest(&mut self.medium, self.next, &[self.segment_first]);
        self.layout.segments.push(FileOf {
            position: self.segment_first,
            name: format::segment_name(self.segment_first),
            bytes: self.segment_bytes,
        });
        self.segment_first = self.next;
        self.index.0.begin_segment(self.next);
        self.segment_bytes = self.buffer.len() as u64;
        self.reserved_bytes = zeros.unwrap_or(self.segment_bytes);
        self.is_preallocated = zeros.is_some();
        self.small_bytes = 0;
        self.bytes_written += self.segment_bytes;
        Ok(())
    }

    /// Appends the buffer; if it is small and does not fit into the reserved zeros, after having
    /// reserved more of them, so that the next small ones do.
    fn write_buffer(&mut self, next_is: Next) -> io::Result<()> {
        let end = self.segment_bytes + self.buffer.len() as u64;
        if end > self.reserved_bytes && self.buffer.len() <= RESERVE_FOR_BYTES_MAX {
            let wanted = (end + RESERVE_BYTES).min(self.segment_bytes_max.max(end));
            let missing = wanted - self.reserved_bytes;
            match self.segment.reserve(usize::try_from(missing).map_err(io::Error::other)?) {
                Ok(()) => {
                    self.reserved_bytes = wanted;
                    self.bytes_written += missing;
                }
                // It may fit without.
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match next_is {
            Next::Sync => self.segment.append_before_sync(&self.buffer)?,
            Next::Anything => self.segment.append(&self.buffer)?,
        }
        self.segment_bytes = end;
        self.reserved_bytes = self.reserved_bytes.max(end);
        Ok(())
    }

    fn poison_on_error(
        &mut self,
        operation: &'static str,
        result: io::Result<()>,
    ) -> Result<(), StoreError> {
        result.map_err(|source| {
            self.poisoned = true;
            let path = self.medium.path(&format::segment_name(self.segment_first));
            StoreError::Io { operation, path, source }
        })
    }

    fn error(&self, operation: &'static str, source: io::Error) -> StoreError {
        let path = self.medium.path(&format::segment_name(self.segment_first));
        StoreError::of(operation, path, source)
    }

    fn refuse_if_poisoned(&self) -> Result<(), StoreError> {
        if self.poisoned { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    fn must_roll(&self) -> bool {
        let is_full = self.segment_bytes >= self.segment_bytes_max;
        let is_outdone = self.preallocated.is_some() && !self.is_preallocated;
        // What had no room is continued where it stands.
        let is_outdone = is_outdone && self.unfinished.is_none();
        (is_full || is_outdone) && self.has_records()
    }

    fn has_records(&self) -> bool {
        self.segment_bytes > SEGMENT_HEADER as u64
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT }
    }
}

/// Makes a segment of this name that begins with these bytes, of a preallocated file or of a new
/// one. Name and bytes are on stable storage when it returns; until then there is no segment of
/// this name, or the old one. If the volume is full, nothing of it is left.
fn begin_segment<M: Medium>(
    medium: &mut M,
    preallocated: Option<M::File>,
    name: &str,
    bytes: &[u8],
) -> Result<M::File, StoreError> {
    let unfinished = if preallocated.is_some() { PREALLOCATED_NAME } else { UNFINISHED_NAME };
    match write_segment(medium, preallocated, unfinished, name, bytes) {
        Err(StoreError::Full { operation, path, source }) => {
            match medium.remove(unfinished) {
                Ok(()) => {}
                // There was no room for its name either.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let path = medium.path(unfinished);
                    return Err(StoreError::Io { operation: "remove", path, source });
                }
            }
            Err(StoreError::Full { operation, path, source })
        }
        Err(error) => Err(error),
        Ok(file) => {
            medium.sync_directory().map_err(|source| {
                let (operation, path) = ("sync", medium.path(""));
                StoreError::Io { operation, path, source }
            })?;
            Ok(file)
        }
    }
}

fn write_segment<M: Medium>(
    medium: &mut M,
    preallocated: Option<M::File>,
    unfinished: &str,
    name: &str,
    bytes: &[u8],
) -> Result<M::File, StoreError> {
    let path = medium.path(unfinished);
    let failed = |operation| move |source| StoreError::of(operation, path, source);
    let mut file = match preallocated {
        Some(file) => file,
        None => medium.create(unfinished).map_err(failed.clone()("create"))?,
    };
    file.append(bytes).map_err(failed.clone()("append to"))?;
    file.sync().map_err(failed("sync"))?;
    let path = medium.path(name);
    medium
        .rename(unfinished, name)
        .map_err(|source| StoreError::of("rename a new segment to", path, source))?;
    Ok(file)
}

/// Says that there is a segment which begins here, now that its name is on stable storage. If that
/// cannot be said, or does not get to stable storage itself, only its loss would not show.
fn note_newest<M: Medium>(medium: &mut M, first: u64, older: &[u64]) {
    drop(medium.create(&format::newest_name(first)));
    for position in older.iter().filter(|position| **position != first) {
        drop(medium.remove(&format::newest_name(*position)));
    }
}

/// Removes what a checkpoint made superfluous: an earlier process did not come so far.
fn remove_leftovers<M: Medium>(medium: &mut M, layout: &mut Layout) -> Result<(), StoreError> {
    for name in std::mem::take(&mut layout.leftovers) {
        medium.remove(&name).map_err(|source| StoreError::Io {
            operation: "remove",
            path: medium.path(&name),
            source,
        })?;
    }
    Ok(())
}
