//! A start: replays what is kept, cuts what was torn, and lists what is damaged.

mod report;

use std::ops::Range;
use std::path::PathBuf;

use bellbird_core::identity::{Position, Time};
use bellbird_core::record::Record;

use crate::body;
use crate::error::StoreError;
use crate::format::{
    self, HeaderError, POSITION_MAX, RECORD_HEADER, RawRecord, SEGMENT_HEADER, SegmentHeader,
    UNFINISHED_NAME, VERSION,
};
use crate::limits::DAMAGED_MAX;
use crate::medium::Medium;
use crate::scan::{Scanner, Step};

pub use report::{Damage, Reason, Recovery};

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
}

/// Replays all segments of the medium and leaves them as they are.
pub(crate) fn recover<M: Medium>(
    medium: &mut M,
    replay: &mut dyn FnMut(Position, Record),
) -> Result<Recovered, StoreError> {
    let segments = list_segments(medium)?;
    let mut run = Run { recovery: Recovery::default(), replay, tail: Vec::new(), tail_records: 0 };
    let mut key = None;
    let mut next = FIRST_POSITION;
    for (index, (first, name)) in segments.iter().enumerate() {
        let bytes = read(medium, name)?;
        let header = decode_header(medium, *first, name, &bytes)?;
        key = match header {
            Some(header) => Some(header.key),
            None if key.is_some() => key,
            None => find_key(medium, &segments[index + 1..])?,
        };
        run.recovery.segments += 1;
        run.recovery.bytes += bytes.len() as u64;
        let segment = Segment {
            path: medium.path(name),
            bytes: &bytes,
            seed: key.map(format::seed),
            first: *first,
            synced: header.map_or(0, |header| header.synced),
        };
        if header.is_none() {
            run.damage(
                &segment,
                0..bytes.len().min(SEGMENT_HEADER),
                *first..*first,
                Reason::Header,
            );
        }
        next = match segments.get(index + 1) {
            Some((bound, _)) => run.read_finished(&segment, *bound),
            None => run.read_last(&segment),
        };
    }
    let Run { recovery, tail, tail_records, .. } = run;
    Ok(Recovered { recovery, key, next, tail, tail_records })
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

/// Collects while the segments are read.
struct Run<'r> {
    recovery: Recovery,
    replay: &'r mut dyn FnMut(Position, Record),
    tail: Vec<u8>,
    tail_records: u64,
}

impl Run<'_> {
    /// Reads a segment that has a younger one behind it, which begins at `bound`. All below was
    /// on stable storage before the younger one got its name; all above is void.
    fn read_finished(&mut self, segment: &Segment<'_>, bound: u64) -> u64 {
        let Some(mut scanner) = segment.scan(bound) else {
            self.damage(segment, 0..segment.bytes.len(), segment.first..bound, Reason::Checksum);
            return bound;
        };
        while let Some(step) = scanner.next() {
            match step {
                Step::Batch(_) => {}
                Step::Record(record, stored) => self.replay(segment, &record, stored),
                Step::Gap { offset, bytes, first, next } => {
                    let next = if next == first && scanner.is_at_end() { bound } else { next };
                    self.damage(segment, offset..offset + bytes, first..next, Reason::Checksum);
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
            let lost_max = (segment.bytes.len() / RECORD_HEADER) as u64 + 1;
            let next = segment.first + lost_max;
            self.damage(segment, 0..segment.bytes.len(), segment.first..next, Reason::Checksum);
            return next;
        };
        let synced = segment.highest_synced();
        // Behind the last bytes that are kept or accounted for as damage.
        let mut settled = SEGMENT_HEADER.min(segment.bytes.len());
        while let Some(step) = scanner.next() {
            match step {
                Step::Batch(_) => {}
                Step::Record(record, stored) => {
                    self.replay(segment, &record, stored);
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
                    self.damage(segment, offset..offset + bytes, first..lost, Reason::Checksum);
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

    fn replay(&mut self, segment: &Segment<'_>, record: &RawRecord<'_>, stored: &[u8]) {
        match body::decode(record.kind, record.body) {
            Ok(decoded) => {
                self.recovery.records += 1;
                self.recovery.last_time = self.recovery.last_time.max(time_of(&decoded));
                (self.replay)(Position(record.position), decoded);
            }
            Err(malformed) => {
                let offset = segment.offset_of(stored);
                let lost = record.position..record.position + 1;
                let reason = Reason::Body(malformed.0);
                self.damage(segment, offset..offset + stored.len(), lost, reason);
            }
        }
    }

    /// What follows was never reported stored. Zeros up to the end were only reserved.
    fn cut(&mut self, segment: &Segment<'_>, offset: usize) {
        let torn = segment.bytes.get(offset..).unwrap_or_default();
        let last = torn.iter().rposition(|byte| *byte != 0);
        self.recovery.torn_bytes += last.map_or(0, |last| last as u64 + 1);
    }

    fn missing(&mut self, segment: &Segment<'_>, lost: Range<u64>) {
        if !lost.is_empty() {
            let end = segment.bytes.len();
            self.damage(segment, end..end, lost, Reason::Missing);
        }
    }

    fn damage(
        &mut self,
        segment: &Segment<'_>,
        place: Range<usize>,
        lost: Range<u64>,
        reason: Reason,
    ) {
        let records = lost.end.saturating_sub(lost.start);
        let nothing_there = place.is_empty() && reason == Reason::Checksum;
        let reason = if nothing_there { Reason::Missing } else { reason };
        self.recovery.damaged_places += 1;
        self.recovery.damaged_records += records;
        if self.recovery.damaged.len() < DAMAGED_MAX {
            self.recovery.damaged.push(Damage {
                segment: segment.path.clone(),
                offset: place.start as u64,
                bytes: place.len() as u64,
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

    /// Where in the segment a part of it stands.
    fn offset_of(&self, part: &[u8]) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.bytes.as_ptr() as usize)
    }
}

/// The segments in the order of their positions. Removes what an interrupted creation left.
fn list_segments<M: Medium>(medium: &mut M) -> Result<Vec<(u64, String)>, StoreError> {
    let names = medium.list().map_err(|source| StoreError::Io {
        operation: "list",
        path: medium.path(""),
        source,
    })?;
    if names.iter().any(|name| name == UNFINISHED_NAME) {
        medium.remove(UNFINISHED_NAME).map_err(|source| StoreError::Io {
            operation: "remove",
            path: medium.path(UNFINISHED_NAME),
            source,
        })?;
    }
    let mut segments: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((format::parse_segment_name(&name)?, name)))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

fn read<M: Medium>(medium: &M, name: &str) -> Result<Vec<u8>, StoreError> {
    medium.read(name).map_err(|source| StoreError::Io {
        operation: "read",
        path: medium.path(name),
        source,
    })
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
fn find_key<M: Medium>(medium: &M, segments: &[(u64, String)]) -> Result<Option<u64>, StoreError> {
    for (_, name) in segments {
        if let Ok(header) = SegmentHeader::decode(&read(medium, name)?) {
            return Ok(Some(header.key));
        }
    }
    Ok(None)
}

fn time_of(record: &Record) -> Time {
    match record {
        Record::Append(append) => append.at,
        Record::Commit(commit) => commit.at,
        Record::Retain(retain) => retain.at,
        Record::Settings(_) => Time(0),
    }
}

/// Position 0 stands for "none".
const FIRST_POSITION: u64 = 1;
