//! Segments of the log, written by hand from the store's `format.md`, so that checksums hold
//! whatever the bytes behind them say.

use bellbird_core::record::Record;
use bellbird_core::{Position, Time};
use bellbird_store::{Faulty, Log, Medium, Options, Recovery, StoreError};

/// A log in memory with these segments, each with its first position.
pub(super) fn medium(segments: &[(u64, Vec<u8>)]) -> Faulty {
    let mut medium = Faulty::new(1);
    for (first, bytes) in segments {
        medium.edit(&name(*first), |content| content.clone_from(bytes));
    }
    medium
}

/// What opening a log came to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) records: Vec<(Position, Record)>,
    pub(super) log: Log<Faulty>,
    pub(super) recovery: Recovery,
}

/// Opens it as a start does.
pub(super) fn open(medium: &Faulty) -> Result<Opened, StoreError> {
    let mut records = Vec::new();
    let mut replay = |position, record| records.push((position, record));
    let (log, recovery) = Log::open(medium.clone(), Options::default(), &mut replay)?;
    Ok(Opened { records, log, recovery })
}

/// The names of all segments.
pub(super) fn names(medium: &Faulty) -> Vec<String> {
    let mut names = medium.list().expect("the medium has no faults");
    names.retain(|name| name.ends_with(".log"));
    names
}

/// The name of the segment that begins with this position.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.log")
}

pub(super) fn put_segment_header(key: u64, first: u64, synced: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"bellblog");
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    let checksum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

pub(super) fn put_batch_header(seed: u32, batch: Batch, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"\x42\x7C\xB1\xFF");
    out.extend_from_slice(&batch.count.to_le_bytes());
    out.extend_from_slice(&batch.bytes.to_le_bytes());
    out.extend_from_slice(&batch.first.to_le_bytes());
    out.extend_from_slice(&batch.synced.to_le_bytes());
    let checksum = crc32c::crc32c_append(seed, &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What a batch header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) count: u32,
    pub(super) bytes: u64,
    pub(super) first: u64,
    pub(super) synced: u64,
}

pub(super) fn put_record(seed: u32, position: u64, kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let checksum_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&position.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    let checksum = crc32c::crc32c_append(seed, &out[checksum_at + 4..]);
    out[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// A log of one segment with these bodies, all of them known to be synced.
pub(super) fn log_of(bodies: &[(u8, &[u8])]) -> Faulty {
    let mut bytes = Vec::new();
    put_segment_header(KEY, 1, bodies.len() as u64, &mut bytes);
    for (position, (kind, body)) in (1..).zip(bodies) {
        put_record(seed(KEY), position, *kind, body, &mut bytes);
    }
    medium(&[(1, bytes)])
}

/// Where the checksums of a log with this key begin.
pub(super) fn seed(key: u64) -> u32 {
    crc32c::crc32c(&key.to_le_bytes())
}

/// The key of logs made here.
pub(super) const KEY: u64 = 0x1234_5678_9ABC_DEF0;

/// A time before which no record of a log made here is.
pub(super) const NOW: Time = Time(1_000_000);
