//! The power fails, the process is killed, the disk refuses: what was reported stored is there.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::cell::Cell;

use bellbird_core::record::Record;
use bellbird_store::{Batch, Fault, Faulty, Medium, StoreError};

use support::{Opened, Random, append, every_kind, message, numbered, open, segments};

/// Small, so that every run rolls; a part of the runs has room for reserved zeros.
const SEGMENT_BYTES: u64 = 1500;

/// What a run knows: every record that may still be there, by position, and how many must be.
struct Model {
    seed: u64,
    records: Vec<Record>,
    synced: usize,
    made: u64,
}

impl Model {
    /// A start must replay the model up to some position at or above the synced one; from then
    /// on all of that is stored, and the rest is gone for ever.
    fn check(&mut self, opened: &Opened) {
        let seed = self.seed;
        let replayed = &opened.replayed;
        assert!(replayed.len() >= self.synced, "seed {seed}: lost what was synced");
        assert!(replayed.len() <= self.records.len(), "seed {seed}: invented");
        for (index, (position, record)) in replayed.iter().enumerate() {
            assert_eq!(*position, index as u64 + 1, "seed {seed}: out of order");
            assert_eq!(*record, self.records[index], "seed {seed}: changed or came back");
        }
        let next = opened.log.next_position().0;
        assert_eq!(next, replayed.len() as u64 + 1, "seed {seed}");
        assert_eq!(opened.recovery.damaged, [], "seed {seed}: a crash is not damage");
        assert_eq!(opened.recovery.records, replayed.len() as u64, "seed {seed}");
        self.records.truncate(replayed.len());
        self.synced = replayed.len();
    }

    fn new_records(&mut self, random: &mut Random) -> Vec<Record> {
        (0..1 + random.below(5))
            .map(|_| {
                self.made += 1;
                let payload_max = if random.below(8) == 0 { 3000 } else { 90 };
                let payload = vec![0xA5; random.below(payload_max)];
                if random.below(3) == 0 {
                    numbered(self.made)
                } else {
                    message(self.made, &payload)
                }
            })
            .collect()
    }
}

fn fault(random: &mut Random) -> Fault {
    match random.below(4) {
        0 => Fault::Sync,
        1 => Fault::SyncDirectory,
        2 => Fault::Space(random.below(2000)),
        _ => Fault::ShortAppend(random.below(300)),
    }
}

/// One life: appends and syncs until it has had enough or something fails.
fn live(opened: &mut Opened, medium: &mut Faulty, model: &mut Model, random: &mut Random) {
    for _ in 0..random.below(12) {
        if random.below(40) == 0 {
            medium.inject(fault(random));
        }
        let records = model.new_records(random);
        // Written or not: it may be there, and need not.
        model.records.extend(records.iter().cloned());
        let first = match append(&mut opened.log, &records) {
            Ok(first) => first,
            // There is room by the next time; or the power fails before.
            Err(StoreError::Full { .. }) if random.below(2) == 0 => {
                append(&mut opened.log, &records).unwrap()
            }
            Err(_) => break,
        };
        assert_eq!(first as usize + records.len(), model.records.len() + 1);
        if random.below(3) > 0 {
            match opened.log.sync() {
                Ok(()) => model.synced = model.records.len(),
                Err(_) => break,
            }
        }
        if random.below(3) == 0
            && let Some(preallocation) = opened.log.preallocation()
        {
            let pieces = Cell::new(random.below(4));
            let go_on = || pieces.replace(pieces.get().saturating_sub(1)) > 0;
            if let Ok(file) = preallocation.run(medium, &go_on) {
                opened.log.preallocated(file);
            }
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut medium = Faulty::new(seed);
    let mut model = Model { seed, records: Vec::new(), synced: 0, made: 0 };
    let segment_bytes = if seed.is_multiple_of(4) { 20_000 } else { SEGMENT_BYTES };
    for life in 0..8 {
        if random.below(6) == 0 {
            medium.inject(fault(&mut random));
        }
        if let Ok(mut opened) = open(&medium, segment_bytes) {
            model.check(&opened);
            live(&mut opened, &mut medium, &mut model, &mut random);
        }
        match random.below(5) {
            0 => medium.kill(),
            _ => medium.crash(seed * 100 + life),
        }
    }
    model.check(&open(&medium, segment_bytes).unwrap());
    medium.crash(seed);
    model.check(&open(&medium, segment_bytes).unwrap());
}

#[test]
fn whatever_was_synced_survives_every_crash() {
    (0..1000).for_each(run);
}

/// Neither the name of a new segment nor its bytes may be lost after the first sync.
#[test]
fn a_new_segment_is_there_after_its_first_sync() {
    for seed in 0..500 {
        let mut medium = Faulty::new(seed);
        let mut opened = open(&medium, 1).unwrap();
        for number in 0..4 {
            // Each append begins a new segment.
            append(&mut opened.log, &[numbered(number)]).unwrap();
        }
        opened.log.sync().unwrap();
        assert_eq!(segments(&medium).len(), 4);
        medium.crash(seed);
        let opened = open(&medium, 1).unwrap();
        let expected: Vec<_> = (0..4).map(|number| (number + 1, numbered(number))).collect();
        assert_eq!(opened.replayed, expected, "seed {seed}");
    }
}

#[test]
fn a_failed_sync_poisons() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    append(&mut opened.log, &every_kind()).unwrap();
    medium.inject(Fault::Sync);
    let error = opened.log.sync().unwrap_err();
    assert!(matches!(error, StoreError::Io { operation: "sync", .. }), "{error}");
    assert!(matches!(opened.log.sync(), Err(StoreError::Poisoned)));
    assert!(matches!(append(&mut opened.log, &[numbered(1)]), Err(StoreError::Poisoned)));
    assert!(matches!(opened.log.append(&[], &mut Vec::new()), Err(StoreError::Poisoned)));
}

/// After a failed sync the process is restarted, reads the bytes from the cache, and the power
/// fails: what was replayed must not be lost, so it must have been written anew.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_not_trusted() {
    for seed in 0..100 {
        let mut medium = Faulty::new(seed);
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        append(&mut opened.log, &[numbered(0)]).unwrap();
        opened.log.sync().unwrap();
        append(&mut opened.log, &[numbered(1), numbered(2)]).unwrap();
        medium.inject(Fault::Sync);
        opened.log.sync().unwrap_err();
        medium.kill();
        assert_eq!(open(&medium, SEGMENT_BYTES).unwrap().replayed.len(), 3);
        medium.crash(seed);
        assert_eq!(open(&medium, SEGMENT_BYTES).unwrap().replayed.len(), 3, "seed {seed}");
    }
}

#[test]
fn a_full_volume_poisons_nothing() {
    for space in (0..70_500).step_by(97) {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        append(&mut opened.log, &[numbered(0)]).unwrap();
        opened.log.sync().unwrap();
        // Beyond what is reserved by now.
        let large = message(1, &[7; 330_000]);
        medium.inject(Fault::Space(space));
        let error = append(&mut opened.log, std::slice::from_ref(&large)).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("00000000000000000001.log"), "{text}");
        assert!(text.contains("free space"), "{text}");
        let mut crashed = medium.fork();
        // The same goes as soon as there is room, and then everything else.
        assert_eq!(append(&mut opened.log, std::slice::from_ref(&large)).unwrap(), 2);
        append(&mut opened.log, &[numbered(2)]).unwrap();
        opened.log.sync().unwrap();
        medium.crash(space as u64);
        let expected = [(1, numbered(0)), (2, large.clone()), (3, numbered(2))];
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert_eq!((opened.replayed, opened.recovery.damaged_places), (expected.into(), 0));
        // If the power fails before, nothing of it was there.
        crashed.crash(space as u64);
        let opened = open(&crashed, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.replayed, [(1, numbered(0))], "{space}");
        assert_eq!(opened.recovery.damaged_places, 0);
    }
}

#[test]
fn the_power_fails_after_what_had_no_room_was_repeated() {
    for seed in 0..300 {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        append(&mut opened.log, &[numbered(0)]).unwrap();
        opened.log.sync().unwrap();
        let batch = [message(1, &[7; 5_000]), numbered(1), message(2, &[8; 300_000])];
        for _ in 0..3 {
            medium.inject(Fault::Space(usize::try_from(seed).unwrap() * 7));
            append(&mut opened.log, &batch).unwrap_err();
        }
        append(&mut opened.log, &batch).unwrap();
        medium.crash(seed);
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.recovery.damaged_places, 0, "{seed}");
        let replayed: Vec<Record> = opened.replayed.into_iter().map(|(_, it)| it).collect();
        let all = [&[numbered(0)], &batch[..]].concat();
        assert_eq!(replayed, all[..replayed.len()], "{seed}");
    }
}

#[test]
#[should_panic(expected = "what had no room comes first")]
fn nothing_else_takes_the_place_of_what_had_no_room() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    medium.bound(Some(0));
    append(&mut opened.log, &[numbered(1), numbered(2)]).unwrap_err();
    medium.bound(None);
    let _appended = append(&mut opened.log, &[numbered(3)]);
}

#[test]
fn what_fits_is_written_where_nothing_can_be_reserved() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    let used = medium.read(&segments(&medium)[0]).unwrap().len();
    medium.bound(Some(used + 1000));
    append(&mut opened.log, &[message(1, &[7; 700])]).unwrap();
    append(&mut opened.log, &[message(2, &[7; 700])]).unwrap_err();
    medium.bound(None);
    append(&mut opened.log, &[message(2, &[7; 700])]).unwrap();
    opened.log.sync().unwrap();
    medium.crash(1);
    let opened = open(&medium, SEGMENT_BYTES).unwrap();
    assert_eq!(opened.replayed, [(1, message(1, &[7; 700])), (2, message(2, &[7; 700]))]);
}

#[test]
fn a_segment_without_room_is_begun_later() {
    for room in 0..SEGMENT_HEADER {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, 1).unwrap();
        append(&mut opened.log, &[numbered(0)]).unwrap();
        let names = medium.list().unwrap();
        medium.inject(Fault::Space(room));
        let error = append(&mut opened.log, &[numbered(1)]).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!(medium.list().unwrap(), names, "nothing is left of it");
        if room % 2 == 0 {
            append(&mut opened.log, &[numbered(1)]).unwrap();
            opened.log.sync().unwrap();
        }
        medium.crash(room as u64);
        let all = [(1, numbered(0)), (2, numbered(1))];
        assert_eq!(open(&medium, 1).unwrap().replayed, all[..2 - room % 2]);
    }
}

#[test]
fn a_failed_roll_poisons() {
    for fault in [Fault::Sync, Fault::SyncDirectory, Fault::ShortAppend(9)] {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, 1).unwrap();
        append(&mut opened.log, &[numbered(0)]).unwrap();
        opened.log.sync().unwrap();
        medium.inject(fault);
        append(&mut opened.log, &[numbered(1)]).unwrap_err();
        assert!(matches!(opened.log.sync(), Err(StoreError::Poisoned)), "{fault:?}");
        medium.crash(4);
        assert_eq!(open(&medium, 1).unwrap().replayed, [(1, numbered(0))], "{fault:?}");
    }
}

#[test]
fn batches_get_their_positions_in_order() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    let mut batches = [Batch::new(), Batch::new(), Batch::new()];
    batches[0].push(&numbered(0));
    batches[0].push(&numbered(1));
    batches[2].push(&numbered(2));
    let mut firsts = Vec::new();
    let refs: Vec<&Batch> = batches.iter().collect();
    opened.log.append(&refs, &mut firsts).unwrap();
    assert_eq!(firsts.iter().map(|first| first.0).collect::<Vec<_>>(), [1, 3, 3]);
    assert_eq!(batches[0].len(), 2);
    assert!(batches[1].is_empty());
    batches[0].clear();
    assert_eq!(batches[0].bytes_len(), 0);
    let written = opened.log.bytes_written();
    opened.log.append(&[&batches[0]], &mut firsts).unwrap();
    assert_eq!((firsts[0].0, opened.log.bytes_written()), (4, written));
}

/// Bytes at the front of a segment.
const SEGMENT_HEADER: usize = 40;
