//! The log: bytes on the disk give records, or damage that is told, never a panic nor memory by
//! what a length pretends.

use std::mem::discriminant;

use bellbird_core::Position;
use bellbird_core::record::{Operation, Record, Settings};
use bellbird_store::{Batch, Faulty, Log, Options, Reason, StoreError};

use super::segment::{self, KEY, open, seed};
use crate::allocation::measure;
use crate::outcome::{Outcome, rough};

/// The body of one record, whose kind is the first byte: what is read is written again and read
/// as the same.
pub(super) fn bodies(bytes: &[u8]) -> Outcome {
    let Some((kind, body)) = bytes.split_first() else { return Outcome::NONE };
    let medium = segment::log_of(&[(*kind, body)]);
    let (opened, allocated) = measure(|| open(&medium).expect("the medium has no faults"));
    assert!(allocated.largest <= bytes_max(body.len()), "{allocated:?} for {} bytes", body.len());
    let Some((position, record)) = opened.records.first() else {
        assert_eq!(opened.recovery.damaged_records, 1, "what is no record is damage");
        let reason = opened.recovery.damaged[0].reason;
        assert!(matches!(reason, Reason::Body(_)), "{reason:?}");
        return Outcome::of(&(*kind, reason.to_string()));
    };
    assert_eq!((*position, opened.recovery.damaged_places), (Position(1), 0));
    let (again, bytes_len) = rewritten(record);
    assert_eq!(again, *record);
    let (once_more, bytes_len_again) = rewritten(&again);
    assert_eq!((once_more, bytes_len_again), (again, bytes_len));
    features(record).and(kind)
}

/// A script for segments with right and wrong headers, checksums, positions and lengths. Whatever
/// they are, a second start finds what the first one found.
pub(super) fn segments(bytes: &[u8]) -> Outcome {
    let segments = script(bytes);
    let total: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
    let medium = segment::medium(&segments);
    let (opened, allocated) = measure(|| open(&medium));
    assert!(allocated.largest <= bytes_max(total), "{allocated:?} for {total} bytes");
    let first = match opened {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!matches!(error, StoreError::Io { .. }), "{error}");
            return Outcome::of(&discriminant(&error));
        }
    };
    let recovery = &first.recovery;
    assert!(first.records.is_sorted_by(|one, other| one.0 < other.0), "in ascending order");
    assert!(first.records.iter().all(|(position, _)| *position < first.log.next_position()));
    assert_eq!(first.records.len() as u64, recovery.records);
    assert!(recovery.to_string().contains("recovered"));
    let second = open(&medium).expect("the log was opened before");
    assert_eq!(second.records, first.records, "a second start finds the same");
    assert_eq!(second.log.next_position(), first.log.next_position());
    let reasons = recovery.damaged.iter().map(|damage| damage.reason.to_string());
    Outcome::of(&(rough(first.records.len()), recovery.segments.min(3)))
        .and(&(recovery.torn_bytes > 0, recovery.damaged_records.min(3)))
        .and_each(reasons)
}

/// A log as it is written, then changed: the first byte says how many records, the second how
/// large segments are, and then each three bytes flip a bit somewhere. No other record than those
/// written comes back, and none below the youngest segment is missing without being told.
pub(super) fn damage(bytes: &[u8]) -> Outcome {
    let [count, segment_bytes, flips @ ..] = bytes else { return Outcome::NONE };
    let (medium, records) = written(usize::from(*count % 24), u64::from(*segment_bytes) * 4);
    let mut damaged = medium.clone();
    let names = segment::names(&medium);
    for flip in flips.chunks_exact(3).take(FLIPS_MAX) {
        let name = &names[usize::from(flip[0] >> 1) % names.len()];
        let at = usize::from(flip[0] & 1) << 16 | usize::from(flip[1]) << 8 | usize::from(flip[2]);
        damaged.edit(name, |content| {
            let bits = content.len() * 8;
            if let Some(byte) = content.get_mut(at % bits / 8) {
                *byte ^= 1 << (at % 8);
            }
        });
    }
    let opened = match open(&damaged) {
        Ok(opened) => opened,
        // Versions and names are told apart from damage by a checksum, which a flip breaks.
        Err(error) => panic!("{error}"),
    };
    for (position, record) in &opened.records {
        let place = position.0 as usize - 1;
        assert_eq!(records.get(place), Some(record), "position {}", position.0);
    }
    assert!(opened.records.is_sorted_by(|one, other| one.0 < other.0));
    let youngest = names.iter().filter_map(|name| name.get(..20)?.parse::<u64>().ok()).max();
    let youngest = youngest.expect("each log has a segment");
    for position in 1..youngest {
        let is_kept = opened.records.iter().any(|(kept, _)| kept.0 == position);
        let is_told =
            opened.recovery.damaged.iter().any(|damage| {
                (damage.first.0..damage.first.0 + damage.records).contains(&position)
            });
        assert!(is_kept != is_told, "position {position}: kept {is_kept}, told {is_told}");
    }
    let lost = records.len().saturating_sub(opened.records.len());
    let places = opened.recovery.damaged_places.min(5);
    Outcome::of(&(names.len().min(4), rough(lost))).and(&(places, opened.recovery.torn_bytes > 0))
}

/// The record, written by the log and read again, and how many bytes it took.
fn rewritten(record: &Record) -> (Record, usize) {
    let medium = Faulty::new(2);
    let mut batch = Batch::new();
    batch.push(record);
    let mut opened = open(&medium).expect("an empty medium is an empty log");
    opened.log.append(&[&batch], &mut Vec::new()).expect("the medium has no faults");
    opened.log.sync().expect("the medium has no faults");
    let mut opened = open(&medium).expect("the medium has no faults");
    assert_eq!(opened.recovery.damaged_places, 0, "what was written is read");
    let (_, record) = opened.records.pop().expect("what was written is read");
    assert!(opened.records.is_empty());
    (record, batch.bytes_len())
}

fn features(record: &Record) -> Outcome {
    match record {
        Record::Append(append) => Outcome::of(&(
            append.holders.len().min(3),
            append.holders.first().map(|it| it.ids.iter().count().min(2)),
            append.received.is_some(),
            append.retained.is_some(),
            append.message.expires_at.is_some(),
        )),
        Record::Commit(commit) => {
            let kinds = commit.operations.iter().take(2).map(discriminant::<Operation>);
            Outcome::of(&(commit.operations.len().min(3), kinds.collect::<Vec<_>>()))
        }
        Record::Retain(retain) => Outcome::of(&retain.message.is_some()),
        Record::Settings(settings) => {
            Outcome::of(&(settings.key.len().min(2), settings.value.len().min(2)))
        }
    }
}

/// Reads the segments that a script describes: an operation, its operands, and so on.
fn script(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut rest = bytes.iter().copied();
    let mut segments: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut first, mut position, seed) = (1_u64, 1_u64, seed(KEY));
    let mut segment = Vec::new();
    segment::put_segment_header(KEY, first, 0, &mut segment);
    while let Some(operation) = rest.next() {
        let mut operand = || rest.next().unwrap_or(0);
        match operation % 12 {
            0..3 => {
                let (kind, len) = (operand() % 6, operand() % 64);
                let body: Vec<u8> = (0..len).map(|_| operand()).collect();
                segment::put_record(seed, position, kind, &body, &mut segment);
                position = position.wrapping_add(1);
            }
            3 => segment::put_record(seed, position, 4, &[1, operand(), 0], &mut segment),
            4 => {
                segment::put_record(seed, position, 4, &[1, b'k', 0], &mut segment);
                position = position.wrapping_add(1);
            }
            5 => {
                let (count, synced) = (operand().into(), position.wrapping_sub(operand().into()));
                let batch = segment::Batch { count, bytes: count.into(), first: position, synced };
                segment::put_batch_header(seed, batch, &mut segment);
            }
            6 => position = position.wrapping_add(operand().into()),
            7 => position = position.wrapping_sub(operand().into()),
            8 => position = edge(operand()),
            9 => (0..operand() % 64).for_each(|_| segment.push(operand())),
            10 => segment.truncate(segment.len().saturating_sub(operand().into())),
            _ => {
                let next = if operand() < 0x80 { position } else { edge(operand()) };
                segments.push((first, std::mem::take(&mut segment)));
                first = next;
                position = next;
                let key = if operand() == 7 { KEY + 1 } else { KEY };
                let synced = next.wrapping_sub(operand().into());
                segment::put_segment_header(key, first, synced, &mut segment);
            }
        }
    }
    segments.push((first, segment));
    segments
}

/// A power of two, or a number beside it.
fn edge(operand: u8) -> u64 {
    let power = 1_u64 << (operand & 63);
    match operand >> 6 {
        0 => power,
        1 => power - 1,
        2 => power + 1,
        _ => u64::MAX - power,
    }
}

/// A log with so many records, some of them in one write, and what they say.
fn written(count: usize, segment_bytes: u64) -> (Faulty, Vec<Record>) {
    let medium = Faulty::new(3);
    let options = Options { segment_bytes: segment_bytes.max(1) };
    let opened = Log::open(medium.clone(), options, &mut |_, _| {});
    let (mut log, _) = opened.expect("an empty medium is an empty log");
    let records: Vec<Record> = (0..count)
        .map(|number| {
            let value = vec![number as u8; number * 5 % 37];
            Record::Settings(Settings { key: format!("k{number}").into(), value: value.into() })
        })
        .collect();
    for some in records.chunks(3) {
        let mut batch = Batch::new();
        some.iter().for_each(|record| batch.push(record));
        log.append(&[&batch], &mut Vec::new()).expect("the medium has no faults");
        log.sync().expect("the medium has no faults");
    }
    (medium, records)
}

/// What one allocation may take for a log of so many bytes.
fn bytes_max(bytes: usize) -> usize {
    64 * bytes + 4096
}

const FLIPS_MAX: usize = 16;
