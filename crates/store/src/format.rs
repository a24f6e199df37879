//! The bytes of a segment: its name and header, the headers of batches and records.
//!
//! `format.md` is the description; what a record says is in `body`.

/// Positions beyond this are not ours: leaves room for sums without overflow.
pub(crate) const POSITION_MAX: u64 = u64::MAX / 2;
/// The format that this crate writes and reads.
pub(crate) const VERSION: u32 = 1;
/// Length of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 40;
/// Length of a batch's header.
pub(crate) const BATCH_HEADER: usize = 36;
/// Length of a record's header.
pub(crate) const RECORD_HEADER: usize = 17;
/// Length of a checkpoint's header.
pub(crate) const CHECKPOINT_HEADER: usize = 32;
/// Length of a checkpoint's last bytes.
pub(crate) const CHECKPOINT_END: usize = 24;
/// The name of a segment that is not complete yet.
pub(crate) const UNFINISHED_NAME: &str = "next.tmp";
/// The name of a file of zeros that is to become a segment.
pub(crate) const PREALLOCATED_NAME: &str = "zeros.tmp";
/// The name of a checkpoint that is not complete yet.
pub(crate) const UNFINISHED_CHECKPOINT: &str = "checkpoint.tmp";

const CHECKPOINT_MAGIC: [u8; 8] = *b"bellbase";
/// As a record's length it would be above the limit.
const CHECKPOINT_END_MAGIC: u32 = 0xFFB1_7CED;
const SEGMENT_MAGIC: [u8; 8] = *b"bellblog";
/// As a record's length it would be above the limit, so the two are never confused.
const BATCH_MAGIC: u32 = 0xFFB1_7C42;
const BODY_BYTES_MAX: usize = 0x7FFF_FFFF;

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    /// The log's key: all checksums behind the header start from it.
    pub(crate) key: u64,
    /// The lowest position the segment may hold. Records at or above it in older segments are
    /// void.
    pub(crate) first: u64,
    /// The highest position that was on stable storage when the segment got its name; 0 if none.
    pub(crate) synced: u64,
}

/// What a checkpoint says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CheckpointHeader {
    /// The log's key, as in its segments.
    pub(crate) key: u64,
    /// It stands for all records below this position.
    pub(crate) bound: u64,
}

/// What a checkpoint ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CheckpointEnd {
    /// How many records it has.
    pub(crate) count: u64,
    /// How many bytes they take.
    pub(crate) bytes: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderError {
    /// Not a header, or a damaged one.
    Damaged,
    /// An intact header of this other version.
    Version(u32),
}

/// What stands before the records that were written together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchHeader {
    /// How many records follow.
    pub(crate) count: u32,
    /// How many bytes they take.
    pub(crate) bytes: u64,
    /// The position of the first of them.
    pub(crate) first: u64,
    /// The highest position known to be on stable storage when it was written; 0 if none.
    pub(crate) synced: u64,
}

/// An intact record as it stands in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) position: u64,
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

impl SegmentHeader {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.synced.to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..SEGMENT_HEADER).ok_or(HeaderError::Damaged)?;
        let checksum = crc32c::crc32c(&bytes[..SEGMENT_HEADER - 4]);
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, SEGMENT_HEADER - 4) != Some(checksum) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8).ok_or(HeaderError::Damaged)?;
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let field = |at| u64_at(bytes, at).ok_or(HeaderError::Damaged);
        let header = Self { key: field(12)?, first: field(20)?, synced: field(28)? };
        if header.first > POSITION_MAX || header.synced > POSITION_MAX {
            return Err(HeaderError::Damaged);
        }
        Ok(header)
    }
}

impl CheckpointHeader {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&CHECKPOINT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.bound.to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..CHECKPOINT_HEADER).ok_or(HeaderError::Damaged)?;
        let checksum = crc32c::crc32c(&bytes[..CHECKPOINT_HEADER - 4]);
        if bytes[..8] != CHECKPOINT_MAGIC || u32_at(bytes, CHECKPOINT_HEADER - 4) != Some(checksum)
        {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8).ok_or(HeaderError::Damaged)?;
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let field = |at| u64_at(bytes, at).ok_or(HeaderError::Damaged);
        Ok(Self { key: field(12)?, bound: field(20)? })
    }
}

impl CheckpointEnd {
    pub(crate) fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&CHECKPOINT_END_MAGIC.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The intact end at the beginning of these bytes, if it is one.
    pub(crate) fn decode(seed: u32, bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != CHECKPOINT_END_MAGIC {
            return None;
        }
        let checked = bytes.get(..CHECKPOINT_END - 4)?;
        if u32_at(bytes, CHECKPOINT_END - 4)? != crc32c::crc32c_append(seed, checked) {
            return None;
        }
        Some(Self { count: u64_at(checked, 4)?, bytes: u64_at(checked, 12)? })
    }
}

impl BatchHeader {
    pub(crate) fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&BATCH_MAGIC.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.synced.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The intact header at this place, if there is one.
    pub(crate) fn decode(seed: u32, bytes: &[u8], at: usize) -> Option<Self> {
        if u32_at(bytes, at)? != BATCH_MAGIC {
            return None;
        }
        let checked = bytes.get(at..at.checked_add(BATCH_HEADER - 4)?)?;
        if u32_at(bytes, at + BATCH_HEADER - 4)? != crc32c::crc32c_append(seed, checked) {
            return None;
        }
        let header = Self {
            count: u32_at(checked, 4)?,
            bytes: u64_at(checked, 8)?,
            first: u64_at(checked, 16)?,
            synced: u64_at(checked, 24)?,
        };
        (header.first <= POSITION_MAX && header.synced < header.first).then_some(header)
    }
}

impl<'a> RawRecord<'a> {
    /// The record at this place if its position is at least `from` and below `to` and its
    /// checksum holds. Adds the bytes it had to check to `checked_bytes`.
    pub(crate) fn decode(
        seed: u32,
        bytes: &'a [u8],
        at: usize,
        (from, to): (u64, u64),
        checked_bytes: &mut usize,
    ) -> Option<Self> {
        let position = u64_at(bytes, at.checked_add(8)?)?;
        if position < from || position >= to {
            return None;
        }
        let len = usize::try_from(u32_at(bytes, at)?).ok()?;
        let body_at = at + RECORD_HEADER;
        let end = body_at.checked_add(len)?;
        let checked = bytes.get(at + 8..end)?;
        *checked_bytes = checked_bytes.saturating_add(checked.len());
        if u32_at(bytes, at + 4)? != crc32c::crc32c_append(seed, checked) {
            return None;
        }
        Some(Self { position, kind: *bytes.get(at + 16)?, body: bytes.get(body_at..end)? })
    }

    /// How many bytes it takes in the segment.
    pub(crate) fn stored_len(&self) -> usize {
        RECORD_HEADER + self.body.len()
    }
}

/// Writes length and kind into the header in front of a body that has just been encoded.
///
/// # Panics
/// If the body is longer than [`BODY_BYTES_MAX`].
pub(crate) fn begin_record(record: &mut [u8], kind: u8) {
    let body_len = record.len() - RECORD_HEADER;
    assert!(body_len <= BODY_BYTES_MAX, "a record is shorter than 2 GiB");
    let body_len = u32::try_from(body_len).expect("checked just above");
    record[..4].copy_from_slice(&body_len.to_le_bytes());
    record[16] = kind;
}

/// Gives positions, counting up from `first`, and checksums to the records that lie one behind
/// the other in `records`, as [`begin_record`] left them.
pub(crate) fn finish_records(seed: u32, records: &mut [u8], first: u64) {
    let mut rest = records;
    let mut position = first;
    while let Some(body_len) = u32_at(rest, 0) {
        let (record, others) = rest.split_at_mut(RECORD_HEADER + body_len as usize);
        record[8..16].copy_from_slice(&position.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &record[8..]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        position += 1;
        rest = others;
    }
}

/// The name of the segment that begins at this position.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// The first position of the segment of this name, if it is one.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    parse_name(name, ".log")
}

/// The name of the checkpoint that stands for everything below this position.
pub(crate) fn checkpoint_name(bound: u64) -> String {
    format!("{bound:020}.checkpoint")
}

/// The bound of the checkpoint of this name, if it is one.
pub(crate) fn parse_checkpoint_name(name: &str) -> Option<u64> {
    parse_name(name, ".checkpoint")
}

/// The name of the file that says that there is a segment which begins at this position.
pub(crate) fn newest_name(first: u64) -> String {
    format!("{first:020}.newest")
}

/// The position in such a name, if it is one.
pub(crate) fn parse_newest_name(name: &str) -> Option<u64> {
    parse_name(name, ".newest")
}

/// The name of the file that says that everything before this position is on stable storage.
pub(crate) fn end_name(next: u64) -> String {
    format!("{next:020}.end")
}

/// The position in such a name, if it is one.
pub(crate) fn parse_end_name(name: &str) -> Option<u64> {
    parse_name(name, ".end")
}

fn parse_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first <= POSITION_MAX)
}

/// Where the checksums of a log begin. Clients do not know it, so they cannot put a record that
/// passes for one of ours into a payload.
pub(crate) fn seed(key: u64) -> u32 {
    crc32c::crc32c(&key.to_le_bytes())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}
