//! A start: replays what is kept, cuts what was torn, and lists what is damaged.

mod report;

use std::ops::Range;
use std::path::{Path, PathBuf};

use bellbird_core::identity::{Position, Time};
use bellbird_core::record::Record;

use crate::body;
use crate::bytes::Malformed;
use crate::checkpoint::{Found, Reader};
use crate::distillation::STATE;
use crate::error::StoreError;
use crate::format::{
    self, CHECKPOINT_END, CHECKPOINT_HEADER, CheckpointHeader, HeaderError, POSITION_MAX,
    PREALLOCATED_NAME, RECORD_HEADER, RawRecord, SEGMENT_HEADER, SegmentHeader,
    UNFINISHED_CHECKPOINT, UNFINISHED_NAME, VERSION,
};
use crate::index::Marks;
use crate::limits::DAMAGED_MAX;
use crate::medium::Medium;
use crate::scan::{Scanner, Step};

pub use report::{Damage, Progress, Reason, Recovery};

/// What the log goes on with.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    /// The log's key, if there is a log.
    pub(crate) key: Option<u64>,
    /// The position of the next record.
    pub(crate) next: u64,
    /// The last records before `next`, replayed but not known to be on stable storage: the new
    /// segment begins with them.
    pub(crate) tail: Vec<u8>,
    pub(crate) tail_records: u64,
    /// The files that were read.
    pub(crate) layout: Layout,
    /// Where in them records stand: in the checkpoint, and in each segment.
    pub(crate) checkpoint_marks: Option<Marks>,
    /// How many messages the checkpoint keeps.
    pub(crate) checkpoint_messages: u64,
    pub(crate) segment_marks: Vec<(u64, Marks)>,
}

/// The files of a log, in the order in which they are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Layout {
    /// What stands for everything below the first segment, by its bound.
    pub(crate) checkpoint: Option<FileOf>,
    pub(crate) segments: Vec<FileOf>,
    /// What the checkpoint made superfluous.
    pub(crate) leftovers: Vec<String>,
    /// The files that say which segment was the youngest, by their positions.
    pub(crate) newest: Vec<u64>,
    /// The files that say what was there when the log was closed: all before these positions.
    pub(crate) ends: Vec<u64>,
}

/// A file and the position in its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileOf {
    pub(crate) position: u64,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Who takes what is read.
pub struct Reading<'r> {
    /// Takes each record, in the order of the positions; those of a checkpoint that only count in
    /// their order come at position 0.
    pub record: &'r mut dyn FnMut(Position, Record),
    /// Hears now and then how far it is.
    pub progress: &'r mut dyn FnMut(Progress),
}

/// What an [`inspect`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// What a start would find.
    pub recovery: Recovery,
    /// The log's files in the order in which they are read, and how long they are.
    pub files: Vec<(String, u64)>,
    /// Files that a start would remove: a checkpoint stands for what is in them.
    pub leftovers: Vec<String>,
}

/// Reads a log as a start does and changes nothing.
pub fn inspect<M: Medium>(medium: &M, reading: Reading<'_>) -> Result<Inspection, StoreError> {
    let mut layout = Layout::of(medium)?;
    let Reading { record, progress } = reading;
    let mut take = |position, kind, body: &[u8]| take_decoded(record, position, kind, body);
    let mut run = Run::new(&mut take, progress);
    run.read_all(medium, &layout, None)?;
    let recovery = run.recovery;
    let files = layout.checkpoint.take().into_iter().chain(layout.segments);
    let files = files.map(|file| (file.name, file.bytes)).collect();
    Ok(Inspection { recovery, files, leftovers: layout.leftovers })
}

/// Replays the checkpoint and all segments of the medium and leaves them as they are.
pub(crate) fn recover<M: Medium>(
    medium: &mut M,
    reading: Reading<'_>,
) -> Result<Recovered, StoreError> {
    remove_unfinished(medium)?;
    let mut layout = Layout::of(medium)?;
    let Reading { record, progress } = reading;
    let mut take = |position, kind, body: &[u8]| take_decoded(record, position, kind, body);
    let mut run = Run::new(&mut take, progress);
    let (key, next) = run.read_all(medium, &layout, None)?;
    let Run { recovery, tail, tail_records, segment_marks, segment_bytes, .. } = run;
    let (checkpoint_marks, checkpoint_messages) = (run.checkpoint_marks, run.checkpoint_messages);
    for (segment, bytes) in layout.segments.iter_mut().zip(segment_bytes) {
        segment.bytes = bytes;
    }
    Ok(Recovered {
        recovery,
        key,
        next,
        tail,
        tail_records,
        layout,
        checkpoint_marks,
        checkpoint_messages,
        segment_marks,
    })
}

/// Takes the position, the kind and the body of a record, and tells its time.
pub(crate) type Take<'r> = dyn FnMut(u64, u8, &[u8]) -> Result<Time, Malformed> + 'r;

/// Reads files that are all complete, as they are: everything below `bound`. With a list of
/// positions, going up, only files that may have one of them.
pub(crate) fn read_finished<M: Medium>(
    medium: &M,
    layout: &Layout,
    bound: u64,
    wanted: Option<&[u64]>,
    is_wanted: &dyn Fn() -> bool,
    take: &mut Take<'_>,
) -> Result<Recovery, StoreError> {
    let mut silent = |_| {};
    let mut run = Run { is_wanted, wanted, ..Run::new(take, &mut silent) };
    run.read_all(medium, layout, Some(bound))?;
    Ok(run.recovery)
}

fn take_decoded(
    take: &mut dyn FnMut(Position, Record),
    position: u64,
    kind: u8,
    body: &[u8],
) -> Result<Time, Malformed> {
    let record = body::decode(kind, body)?;
    let time = time_of(&record);
    take(Position(position), record);
    Ok(time)
}

/// One segment file as recovery sees it.
struct Segment<'a> {
    path: PathBuf,
    bytes: &'a [u8],
    /// None if no header of the log tells the key: then nothing can be read.
    seed: Option<u32>,
    first: u64,
    synced: u64,
}

/// Collects while the files are read.
struct Run<'r> {
    recovery: Recovery,
    /// Whether anybody still waits for it.
    is_wanted: &'r dyn Fn() -> bool,
    /// The only positions that count, going up.
    wanted: Option<&'r [u64]>,
    take: &'r mut Take<'r>,
    progress: &'r mut dyn FnMut(Progress),
    bytes_total: u64,
    /// Everything before it was there when the log was closed.
    end: u64,
    tail: Vec<u8>,
    tail_records: u64,
    /// Of the file that is being read.
    marks: Marks,
    checkpoint_marks: Option<Marks>,
    checkpoint_messages: u64,
    segment_marks: Vec<(u64, Marks)>,
    /// Of each segment, how long it is without zeros at its end.
    segment_bytes: Vec<u64>,
    /// How much of what was read were such zeros.
    zeros: u64,
}

impl<'r> Run<'r> {
    fn new(take: &'r mut Take<'r>, progress: &'r mut dyn FnMut(Progress)) -> Self {
        Self {
            recovery: Recovery::default(),
            is_wanted: &|| true,
            wanted: None,
            take,
            progress,
            bytes_total: 0,
            end: 0,
            tail: Vec::new(),
            tail_records: 0,
            marks: Marks::default(),
            checkpoint_marks: None,
            checkpoint_messages: 0,
            segment_marks: Vec::new(),
            segment_bytes: Vec::new(),
            zeros: 0,
        }
    }

    fn wants(&self, positions: Range<u64>) -> bool {
        let Some(wanted) = self.wanted else { return true };
        let next = wanted.partition_point(|position| *position < positions.start);
        wanted.get(next).is_some_and(|position| *position < positions.end)
    }

    /// Reads all files, the last segment as a finished one if its bound is given. Returns the
    /// log's key and the position that comes next.
    fn read_all<M: Medium>(
        &mut self,
        medium: &M,
        layout: &Layout,
        last_bound: Option<u64>,
    ) -> Result<(Option<u64>, u64), StoreError> {
        let mut key = None;
        let mut next = FIRST_POSITION;
        let files = layout.checkpoint.iter().chain(&layout.segments);
        self.bytes_total = files.map(|file| file.bytes).sum();
        if let Some(checkpoint) = &layout.checkpoint
            && self.wants(0..checkpoint.position)
        {
            key = self.read_checkpoint(medium, checkpoint, &layout.segments)?;
            self.checkpoint_marks = Some(std::mem::take(&mut self.marks));
            next = checkpoint.position;
            if layout.segments.is_empty() {
                let path = medium.path(&checkpoint.name);
                self.damage(&path, checkpoint.bytes..checkpoint.bytes, next..next, Reason::Missing);
            }
        }
        let missing = layout.missing_newest().filter(|_| last_bound.is_none());
        self.end = layout.ends.iter().copied().max().filter(|_| last_bound.is_none()).unwrap_or(0);
        let last_bound = last_bound.or(missing);
        for index in 0..layout.segments.len() {
            self.go_on()?;
            let FileOf { position: first, name, .. } = &layout.segments[index];
            let bound = layout.segments.get(index + 1).map(|next| next.position).or(last_bound);
            if let Some(bound) = bound
                && !self.wants(*first..bound)
            {
                continue;
            }
            let bytes = read(medium, name)?;
            let header = decode_header(medium, *first, name, &bytes)?;
            if let (Some(known), Some(SegmentHeader { key, .. })) = (key, header)
                && key != known
            {
                return Err(StoreError::Foreign { path: medium.path(name) });
            }
            key = match header {
                Some(header) => Some(header.key),
                None if key.is_some() => key,
                None => find_key(medium, &layout.segments[index + 1..])?,
            };
            self.recovery.segments += 1;
            let used_bytes = used(&bytes);
            self.recovery.bytes += used_bytes;
            self.segment_bytes.push(used_bytes);
            self.zeros += bytes.len() as u64 - used_bytes;
            let segment = Segment {
                path: medium.path(name),
                bytes: &bytes,
                seed: key.map(format::seed),
                first: *first,
                synced: header.map_or(0, |header| header.synced),
            };
            if index == 0 && self.wanted.is_none() && *first > next {
                self.damage(&segment.path, 0..0, next..*first, Reason::Before);
            }
            if header.is_none() {
                let place = 0..bytes.len().min(SEGMENT_HEADER) as u64;
                self.damage(&segment.path, place, *first..*first, Reason::Header);
            }
            next = match bound {
                Some(bound) => self.read_finished(&segment, bound),
                None => self.read_last(&segment),
            };
            self.segment_marks.push((*first, std::mem::take(&mut self.marks)));
            self.tell_progress(self.recovery.bytes);
        }
        if let Some(newest) = missing {
            let path = medium.path(&format::segment_name(newest));
            let end = self.end.max(newest + 1);
            self.damage(&path, 0..0, next..end, Reason::Newest);
            next = end;
        }
        Ok((key, next))
    }

    fn tell_progress(&mut self, bytes: u64) {
        let (records, bytes_total) = (self.recovery.records, self.bytes_total);
        (self.progress)(Progress { records, bytes: bytes + self.zeros, bytes_total });
    }

    fn go_on(&self) -> Result<(), StoreError> {
        if (self.is_wanted)() { Ok(()) } else { Err(StoreError::Interrupted) }
    }

    /// Returns the log's key.
    fn read_checkpoint<M: Medium>(
        &mut self,
        medium: &M,
        checkpoint: &FileOf,
        segments: &[FileOf],
    ) -> Result<Option<u64>, StoreError> {
        let FileOf { position: bound, name, .. } = checkpoint;
        let path = medium.path(name);
        let failed = |source| StoreError::Io { operation: "read", path: path.clone(), source };
        let head = medium.read_at(name, 0, CHECKPOINT_HEADER).map_err(failed)?;
        let key = match CheckpointHeader::decode(&head) {
            Ok(header) if header.bound == *bound => Some(header.key),
            Ok(header) => {
                let right_name = format::checkpoint_name(header.bound);
                return Err(StoreError::Renamed { path, right_name });
            }
            Err(HeaderError::Version(found)) => {
                return Err(StoreError::UnknownVersion { path, found, known: VERSION });
            }
            Err(HeaderError::Damaged) => {
                self.damage(&path, 0..head.len() as u64, 0..0, Reason::Header);
                find_key(medium, segments)?
            }
        };
        let Some(known_key) = key else { return Ok(None) };
        let mut reader = Reader::new(medium, name, known_key, *bound);
        loop {
            self.go_on()?;
            match reader.next().map_err(failed)? {
                Found::Record { position, kind, body, offset } => {
                    let place = offset..offset + (RECORD_HEADER + body.len()) as u64;
                    self.checkpoint_messages += u64::from(Position(position) != STATE);
                    self.replay(&path, place, position, kind, reader.body(body));
                    if self.recovery.records.is_multiple_of(PROGRESS_RECORDS) {
                        self.tell_progress(offset);
                    }
                }
                Found::Gap { offset, bytes } => {
                    self.damage(&path, offset..offset + bytes, 0..0, Reason::Checksum);
                }
                Found::End { missing } => {
                    let end = reader.offset();
                    self.recovery.bytes += end + CHECKPOINT_END as u64;
                    if missing.is_none() {
                        self.damage(&path, end..end, 0..0, Reason::Missing);
                    }
                    self.recovery.damaged_records += missing.unwrap_or(1);
                    return Ok(key);
                }
            }
        }
    }

    /// Reads a segment that has a younger one behind it, which begins at `bound`. All below was
    /// on stable storage before the younger one got its name; all above is void.
    fn read_finished(&mut self, segment: &Segment<'_>, bound: u64) -> u64 {
        let Some(mut scanner) = segment.scan(bound) else {
            self.damage(&segment.path, segment.whole(), segment.first..bound, Reason::Checksum);
            return bound;
        };
        while let Some(step) = scanner.next() {
            match step {
                Step::Batch(_) => {}
                Step::Record(record, stored) => self.replay_raw(segment, &record, stored),
                Step::Gap { offset, bytes, first, next } => {
                    let next = if next == first && scanner.is_at_end() { bound } else { next };
                    let place = offset as u64..(offset + bytes) as u64;
                    self.damage(&segment.path, place, first..next, Reason::Checksum);
                    scanner.skip_to(next);
                }
            }
        }
        self.missing(segment, scanner.position()..bound);
        bound
    }

    /// Reads the youngest segment: from the first hole behind the highest synced position on,
    /// it is a torn tail, whatever follows.
    fn read_last(&mut self, segment: &Segment<'_>) -> u64 {
        let Some(mut scanner) = segment.scan(POSITION_MAX) else {
            // Beyond any position that may have been in it, so that its name stays taken.
            let lost_max = segment.bytes.len().saturating_sub(SEGMENT_HEADER) / RECORD_HEADER;
            let next = segment.first + lost_max as u64;
            self.damage(&segment.path, segment.whole(), segment.first..next, Reason::Checksum);
            return next + 1;
        };
        let synced = segment.highest_synced().max(self.end.saturating_sub(1));
        // Behind the last bytes that are kept or accounted for as damage.
        let mut settled = SEGMENT_HEADER.min(segment.bytes.len());
        while let Some(step) = scanner.next() {
            match step {
                Step::Batch(_) => {}
                Step::Record(record, stored) => {
                    self.replay_raw(segment, &record, stored);
                    settled = scanner.offset();
                    if record.position > synced {
                        self.tail.extend_from_slice(stored);
                        self.tail_records += 1;
                    }
                }
                Step::Gap { first, .. } if first > synced => {
                    self.cut(segment, settled);
                    return first;
                }
                Step::Gap { offset, bytes, first, next } => {
                    let at_end = next == first && scanner.is_at_end();
                    let lost = if at_end { synced + 1 } else { next.min(synced + 1) };
                    let place = offset as u64..(offset + bytes) as u64;
                    self.damage(&segment.path, place, first..lost, Reason::Checksum);
                    settled = offset + bytes;
                    if at_end || next > lost {
                        self.cut(segment, settled);
                        return lost;
                    }
                }
            }
        }
        self.cut(segment, settled);
        let next = scanner.position().max(synced + 1);
        self.missing(segment, scanner.position()..next);
        next
    }

    fn replay_raw(&mut self, segment: &Segment<'_>, record: &RawRecord<'_>, stored: &[u8]) {
        let offset = segment.offset_of(stored) as u64;
        let place = offset..offset + stored.len() as u64;
        self.replay(&segment.path, place, record.position, record.kind, record.body);
    }

    fn replay(&mut self, path: &Path, place: Range<u64>, position: u64, kind: u8, body: &[u8]) {
        match (self.take)(position, kind, body) {
            Ok(time) => {
                if position > 0 {
                    self.marks.note(position, place.start);
                }
                self.recovery.records += 1;
                self.recovery.last_time = self.recovery.last_time.max(time);
            }
            Err(malformed) => {
                let lost = position..position + 1;
                self.damage(path, place, lost, Reason::Body(malformed.0));
            }
        }
    }

    /// What follows was never reported stored. Zeros up to the end were only reserved.
    fn cut(&mut self, segment: &Segment<'_>, offset: usize) {
        let torn = segment.bytes.get(offset..).unwrap_or_default();
        self.recovery.torn_bytes += used(torn);
    }

    fn missing(&mut self, segment: &Segment<'_>, lost: Range<u64>) {
        if !lost.is_empty() {
            let end = segment.bytes.len() as u64;
            self.damage(&segment.path, end..end, lost, Reason::Missing);
        }
    }

    fn damage(&mut self, path: &Path, place: Range<u64>, lost: Range<u64>, reason: Reason) {
        let records = lost.end.saturating_sub(lost.start);
        let nothing_there = place.is_empty() && reason == Reason::Checksum;
        let reason = if nothing_there { Reason::Missing } else { reason };
        self.recovery.damaged_places += 1;
        self.recovery.damaged_records += records;
        if self.recovery.damaged.len() < DAMAGED_MAX {
            self.recovery.damaged.push(Damage {
                segment: path.to_path_buf(),
                offset: place.start,
                bytes: place.end - place.start,
                first: Position(lost.start),
                records,
                reason,
            });
        }
    }
}

impl<'a> Segment<'a> {
    fn scan(&self, bound: u64) -> Option<Scanner<'a>> {
        let seed = self.seed?;
        Some(Scanner::new(self.bytes, seed, SEGMENT_HEADER, self.first, bound))
    }

    /// The highest position that the segment itself says was on stable storage.
    fn highest_synced(&self) -> u64 {
        let before = self.synced.max(self.first.saturating_sub(1));
        let marks = self.scan(POSITION_MAX).into_iter().flatten().filter_map(|step| match step {
            Step::Batch(header) => Some(header.synced),
            Step::Record(..) | Step::Gap { .. } => None,
        });
        marks.fold(before, u64::max)
    }

    fn whole(&self) -> Range<u64> {
        0..self.bytes.len() as u64
    }

    /// Where in the segment a part of it stands.
    fn offset_of(&self, part: &[u8]) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.bytes.as_ptr() as usize)
    }
}

impl Layout {
    pub(crate) fn of<M: Medium>(medium: &M) -> Result<Self, StoreError> {
        let names = medium.list().map_err(|source| StoreError::Io {
            operation: "list",
            path: medium.path(""),
            source,
        })?;
        let mut layout = Self::default();
        let mut checkpoints = Vec::new();
        for name in names {
            layout.newest.extend(format::parse_newest_name(&name));
            layout.ends.extend(format::parse_end_name(&name));
            let segment = format::parse_segment_name(&name);
            let checkpoint = format::parse_checkpoint_name(&name);
            let Some(position) = segment.or(checkpoint) else { continue };
            let bytes = medium.len(&name).map_err(|source| StoreError::Io {
                operation: "read",
                path: medium.path(&name),
                source,
            })?;
            let files = if segment.is_some() { &mut layout.segments } else { &mut checkpoints };
            files.push(FileOf { position, name, bytes });
        }
        layout.segments.sort_unstable_by_key(|file| file.position);
        checkpoints.sort_unstable_by_key(|file| file.position);
        layout.checkpoint = checkpoints.pop();
        let bound = layout.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position);
        let live = layout.segments.partition_point(|file| file.position < bound);
        let superfluous = layout.segments.drain(..live).chain(checkpoints);
        layout.leftovers = superfluous.map(|file| file.name).collect();
        Ok(layout)
    }

    /// The position of the youngest segment, if it was there once and is not any more.
    fn missing_newest(&self) -> Option<u64> {
        let newest = self.newest.iter().copied().max()?;
        let is_there = self.segments.last().is_some_and(|segment| segment.position >= newest);
        (!is_there).then_some(newest)
    }
}

/// Removes what an interrupted creation left.
fn remove_unfinished<M: Medium>(medium: &mut M) -> Result<(), StoreError> {
    let names = medium.list().map_err(|source| StoreError::Io {
        operation: "list",
        path: medium.path(""),
        source,
    })?;
    for name in [UNFINISHED_NAME, PREALLOCATED_NAME, UNFINISHED_CHECKPOINT] {
        if names.iter().any(|found| found == name) {
            medium.remove(name).map_err(|source| StoreError::Io {
                operation: "remove",
                path: medium.path(name),
                source,
            })?;
        }
    }
    Ok(())
}

fn read<M: Medium>(medium: &M, name: &str) -> Result<Vec<u8>, StoreError> {
    medium.read(name).map_err(|source| StoreError::Io {
        operation: "read",
        path: medium.path(name),
        source,
    })
}

/// How long a segment is without zeros that were written ahead.
fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// The header; none if it is damaged. Refuses what is intact and not for us.
fn decode_header<M: Medium>(
    medium: &M,
    first: u64,
    name: &str,
    bytes: &[u8],
) -> Result<Option<SegmentHeader>, StoreError> {
    let path = || medium.path(name);
    match SegmentHeader::decode(bytes) {
        Ok(header) if header.first == first => Ok(Some(header)),
        Ok(header) => Err(StoreError::Renamed {
            path: path(),
            right_name: format::segment_name(header.first),
        }),
        Err(HeaderError::Damaged) => Ok(None),
        Err(HeaderError::Version(found)) => {
            Err(StoreError::UnknownVersion { path: path(), found, known: VERSION })
        }
    }
}

/// The key as the first intact header of these segments tells it.
fn find_key<M: Medium>(medium: &M, segments: &[FileOf]) -> Result<Option<u64>, StoreError> {
    for segment in segments {
        if let Ok(header) = SegmentHeader::decode(&read(medium, &segment.name)?) {
            return Ok(Some(header.key));
        }
    }
    Ok(None)
}

pub(crate) fn time_of(record: &Record) -> Time {
    match record {
        Record::Append(append) => append.at,
        Record::Commit(commit) => commit.at,
        Record::Retain(retain) => retain.at,
        Record::Settings(_) => Time(0),
    }
}

/// Position 0 stands for "none".
const FIRST_POSITION: u64 = 1;

/// Often enough that somebody who waits sees it move.
const PROGRESS_RECORDS: u64 = 10_000;
