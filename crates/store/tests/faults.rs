//! Whatever a disk does to a file while nobody looks: a table of what becomes of it.
//!
//! Each kind of file that lives beside a log, and each thing that may have happened to it: either
//! nothing is lost, or the loss is told, or the start is refused with the remedy. What cannot be
//! told has its rows, too, and its place in `docs/store.md`.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use bellbird_core::record::Record;
use bellbird_store::{
    Damage, Faulty, Files, Log, Medium, Options, Reading, Reason, StoreError, backup, inspect,
};

use support::{Opened, append, numbered, open, read};

const SEGMENT_BYTES: u64 = 300;
/// Four records to a segment: the checkpoint stands for 1 to 12, the youngest segment has 25 to
/// 28, and the header of its last batch says that 27 is stored.
const RECORDS: u64 = 28;

const CHECKPOINT: &str = "00000000000000000013.checkpoint";
const FIRST: &str = "00000000000000000013.log";
const OLDER: &str = "00000000000000000017.log";
const YOUNGEST: &str = "00000000000000000025.log";
const MARK: &str = "00000000000000000025.newest";

const END: &str = "00000000000000000029.end";

const HEADER: usize = 40;
/// Of a batch with one record of the youngest segment.
const BATCH: usize = 36 + RECORD;
const RECORD: usize = 17 + 10 + 9;

/// What becomes of a log.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Nothing is lost, and there is nothing to tell.
    Whole,
    /// These many records are lost, these many are told, and why the first of them are.
    Told { lost: usize, told: u64, reason: Reason },
    /// What stands at the end passes for what was being written when the power failed: it is cut,
    /// and only the bytes are told.
    Torn { lost: usize },
    /// Nothing shows.
    Unseen { lost: usize },
    /// It does not start, and says so in these words.
    Refused(&'static str),
}

use Outcome::{Refused, Told, Torn, Unseen, Whole};

fn told(lost: usize, reason: Reason) -> Outcome {
    Told { lost, told: lost as u64, reason }
}

/// A log of one key and each kind of file.
fn healthy(seed: u64) -> Faulty {
    let medium = Faulty::new(seed);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    for number in 1..=RECORDS {
        append(&mut opened.log, &[numbered(number)]).unwrap();
        opened.log.sync().unwrap();
        if number == 16 {
            let distilled = opened.log.distillation().unwrap().run(&medium, &|| true).unwrap();
            opened.log.distilled(&distilled);
        }
    }
    let names = medium.list().unwrap();
    for name in [CHECKPOINT, FIRST, OLDER, YOUNGEST, MARK] {
        assert!(names.iter().any(|found| found == name), "{name} of {names:?}");
    }
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(read(&medium, YOUNGEST).len(), HEADER + 4 * BATCH);
    medium
}

/// The same, closed as at the end of a process. (A start begins a segment, so it is written whole
/// in one life.)
fn closed() -> Faulty {
    let mut medium = healthy(5);
    medium.edit(END, |_| {});
    medium
}

/// The numbers that a start found.
fn numbers(opened: &Opened) -> Vec<u64> {
    let is_it = |number: &u64| {
        let wanted: Record = numbered(*number);
        opened.replayed.iter().any(|(_, record)| *record == wanted)
    };
    (1..=RECORDS).filter(is_it).collect()
}

fn check(what: &str, spoil: impl FnOnce(&mut Faulty), expected: Outcome) {
    check_on(healthy(5), what, spoil, expected);
}

/// The same with a log that was closed.
fn check_closed(what: &str, spoil: impl FnOnce(&mut Faulty), expected: Outcome) {
    let medium = closed();
    check_on(medium, &format!("{what}, after a clean stop"), spoil, expected);
}

fn check_on(mut medium: Faulty, what: &str, spoil: impl FnOnce(&mut Faulty), expected: Outcome) {
    spoil(&mut medium);
    medium.kill();
    let mut copy = Faulty::new(77);
    let copied = backup(&medium, &mut copy);
    let looked = inspect(&medium, Reading { record: &mut |_, _| {}, progress: &mut |_| {} });
    let opened = open(&medium, SEGMENT_BYTES);
    let Refused(words) = expected else {
        let (looked, opened) = (looked.unwrap().recovery, opened.unwrap());
        assert_eq!(looked, opened.recovery, "{what}: who looks finds what a start finds");
        check_started(what, &opened, expected);
        let copied = copied.unwrap().recovery;
        let of_copy = open(&copy, SEGMENT_BYTES).unwrap();
        assert_eq!(numbers(&of_copy), numbers(&opened), "{what}: a copy has as much");
        assert_eq!(copied.damaged_records, looked.damaged_records, "{what}: a copy tells as much");
        return go_on(what, &medium, opened);
    };
    for error in [looked.unwrap_err(), opened.unwrap_err(), copied.unwrap_err()] {
        assert!(error.to_string().contains(words), "{what}: {error}");
        assert!(error.to_string().contains(".log") || error.to_string().contains(".checkpoint"));
    }
}

fn check_started(what: &str, opened: &Opened, expected: Outcome) {
    let Opened { recovery, .. } = opened;
    let lost = usize::try_from(RECORDS).unwrap() - numbers(opened).len();
    let first = recovery.damaged.first().map(|damage| damage.reason);
    let found = (lost, recovery.damaged_records, first, recovery.torn_bytes > 0);
    let expected = match expected {
        Whole => (0, 0, None, false),
        Told { lost, told, reason } => (lost, told, Some(reason), false),
        Torn { lost } => (lost, 0, None, true),
        Unseen { lost } => (lost, 0, None, false),
        Refused(words) => panic!("{what}: started in spite of {words}"),
    };
    assert_eq!(found, expected, "{what}: {recovery}");
}

/// The log goes on, and with the next checkpoint damage is over: it was told, and the file stays
/// beside.
fn go_on(what: &str, medium: &Faulty, mut opened: Opened) {
    let found = numbers(&opened);
    append(&mut opened.log, &[numbered(100)]).unwrap();
    opened.log.sync().unwrap();
    let is_there = |name: &str| medium.list().unwrap().iter().any(|found| found == name);
    let damaged: Vec<String> = [CHECKPOINT, OLDER, YOUNGEST]
        .into_iter()
        .filter(|name| {
            // A file before which others are gone is itself sound.
            let is_hit =
                |damage: &Damage| damage.segment.ends_with(name) && damage.reason != Reason::Before;
            is_there(name) && opened.recovery.damaged.iter().any(is_hit)
        })
        .map(|name| format!("{name}.damaged"))
        .collect();
    let distilled = opened.log.distillation_of_all().run(medium, &|| true).unwrap();
    opened.log.distilled(&distilled);
    for name in damaged {
        assert!(is_there(&name), "{what}: {name} of {distilled:?}");
    }
    let again = open(medium, SEGMENT_BYTES).unwrap();
    assert_eq!(numbers(&again), found, "{what}");
    assert_eq!((&*again.recovery.damaged, again.recovery.torn_bytes), (&[][..], 0), "{what}");
    assert!(again.replayed.iter().any(|(_, record)| *record == numbered(100)), "{what}");
}

fn flip(name: &'static str, at: usize) -> impl FnOnce(&mut Faulty) {
    move |medium| medium.flip(name, at * 8)
}

fn cut(name: &'static str, len: usize) -> impl FnOnce(&mut Faulty) {
    move |medium| medium.edit(name, |bytes| bytes.truncate(len))
}

fn lose(name: &'static str) -> impl FnOnce(&mut Faulty) {
    move |medium| medium.remove(name).unwrap()
}

fn copy(name: &'static str, to: &'static str) -> impl FnOnce(&mut Faulty) {
    move |medium| {
        let bytes = read(medium, name);
        medium.edit(to, |copy| *copy = bytes);
    }
}

fn add(name: &'static str) -> impl FnOnce(&mut Faulty) {
    move |medium| medium.edit(name, |bytes| bytes.extend_from_slice(&[7; 100]))
}

/// The file of this name comes from another log.
fn exchange(name: &'static str) -> impl FnOnce(&mut Faulty) {
    move |medium| {
        let other = read(&healthy(6), name);
        medium.edit(name, |bytes| *bytes = other);
    }
}

/// A header with another version and the right checksum.
fn upgrade(name: &'static str, header: usize) -> impl FnOnce(&mut Faulty) {
    move |medium| {
        medium.edit(name, |bytes| {
            bytes[8] = 2;
            let checksum = crc32c::crc32c(&bytes[..header - 4]);
            bytes[header - 4..header].copy_from_slice(&checksum.to_le_bytes());
        });
    }
}

#[test]
fn the_youngest_segment() {
    let end = HEADER + 4 * BATCH;
    check("a bit of its header", flip(YOUNGEST, 20), told(0, Reason::Header));
    check("a bit of a batch's header", flip(YOUNGEST, HEADER + 9), told(0, Reason::Checksum));
    check("a bit of a record", flip(YOUNGEST, HEADER + 60), told(1, Reason::Checksum));
    // What was synced last is vouched for by nothing behind it.
    check("a bit of the last batch's header", flip(YOUNGEST, end - BATCH + 9), Torn { lost: 1 });
    check("a bit of the last record", flip(YOUNGEST, end - 3), Torn { lost: 1 });
    check("something behind its end", add(YOUNGEST), Torn { lost: 0 });
    let headless = Told { lost: 4, told: 0, reason: Reason::Header };
    check("cut to nothing", cut(YOUNGEST, 0), headless);
    check("cut within its header", cut(YOUNGEST, 20), headless);
    check("cut to its header", cut(YOUNGEST, HEADER), Unseen { lost: 4 });
    check("cut behind a record", cut(YOUNGEST, HEADER + 2 * BATCH), Unseen { lost: 2 });
    check("cut within a record", cut(YOUNGEST, end - BATCH - 3), Torn { lost: 2 });
    let gone = Told { lost: 4, told: 1, reason: Reason::Newest };
    check("missing", lose(YOUNGEST), gone);
    // That is what a copy from an earlier time is.
    check("stale", cut(YOUNGEST, HEADER + BATCH), Unseen { lost: 3 });
    let belongs = Refused("belongs to 00000000000000000025.log; rename it back, or move it away");
    check("also behind all others", copy(YOUNGEST, "00000000000000000099.log"), belongs);
    check("also between others", copy(YOUNGEST, "00000000000000000019.log"), belongs);
    check("also as something else", copy(YOUNGEST, "00000000000000000025.log.old"), Whole);
    check("another log's", exchange(YOUNGEST), Refused("belongs to another log"));
    check("of another version", upgrade(YOUNGEST, HEADER), Refused("start the version"));
}

/// What was there when the log was closed has to be there.
#[test]
fn the_youngest_segment_after_a_clean_stop() {
    let end = HEADER + 4 * BATCH;
    check_closed("nothing", |_| {}, Whole);
    check_closed("a bit of its header", flip(YOUNGEST, 20), told(0, Reason::Header));
    check_closed("a bit of a record", flip(YOUNGEST, HEADER + 60), told(1, Reason::Checksum));
    let last = told(1, Reason::Checksum);
    // The record behind it is sound, and needed now.
    let header = told(0, Reason::Checksum);
    check_closed("a bit of the last batch's header", flip(YOUNGEST, end - BATCH + 9), header);
    check_closed("a bit of the last record", flip(YOUNGEST, end - 3), last);
    check_closed("something behind its end", add(YOUNGEST), Torn { lost: 0 });
    check_closed("cut to nothing", cut(YOUNGEST, 0), told(4, Reason::Header));
    check_closed("cut to its header", cut(YOUNGEST, HEADER), told(4, Reason::Missing));
    check_closed(
        "cut behind a record",
        cut(YOUNGEST, HEADER + 2 * BATCH),
        told(2, Reason::Missing),
    );
    check_closed("cut within a record", cut(YOUNGEST, end - BATCH - 3), told(2, Reason::Checksum));
    check_closed("missing", lose(YOUNGEST), told(4, Reason::Newest));
    check_closed("stale", cut(YOUNGEST, HEADER + BATCH), told(3, Reason::Missing));
    let both = |medium: &mut Faulty| {
        [YOUNGEST, MARK].iter().for_each(|name| medium.remove(name).unwrap());
    };
    check_closed("the youngest and its mark", both, told(4, Reason::Missing));
    check_closed("the mark of the end is gone", lose(END), Whole);
    check_closed("an older mark is there, too", add("00000000000000000027.end"), Whole);
    check_closed(
        "the only mark is an older one",
        move |medium| {
            medium.rename(END, "00000000000000000027.end").unwrap();
        },
        Whole,
    );
}

/// The mark of an end is there from a clean stop to the next start.
#[test]
fn a_log_that_was_closed_says_so() {
    let medium = Faulty::new(3);
    let ends = || {
        let names = medium.list().unwrap();
        names.into_iter().filter(|name| name.ends_with(".end")).collect::<Vec<_>>()
    };
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    append(&mut opened.log, &[numbered(1), numbered(2)]).unwrap();
    opened.log.close().unwrap();
    assert_eq!(ends(), ["00000000000000000003.end"]);
    let opened = open(&medium, SEGMENT_BYTES).unwrap();
    assert_eq!((numbers(&opened).len(), opened.recovery.damaged_places), (2, 0));
    assert_eq!(ends(), [""; 0]);
}

#[test]
fn an_older_segment() {
    let end = HEADER + 4 * BATCH;
    check("a bit of its header", flip(OLDER, 20), told(0, Reason::Header));
    check("a bit of a batch's header", flip(OLDER, HEADER + 9), told(0, Reason::Checksum));
    check("a bit of a record", flip(OLDER, HEADER + 60), told(1, Reason::Checksum));
    check(
        "a bit of the last batch's header",
        flip(OLDER, end - BATCH + 9),
        told(0, Reason::Checksum),
    );
    check("a bit of the last record", flip(OLDER, end - 3), told(1, Reason::Checksum));
    check("something behind its end", add(OLDER), Whole);
    check("cut to nothing", cut(OLDER, 0), told(4, Reason::Header));
    check("cut to its header", cut(OLDER, HEADER), told(4, Reason::Missing));
    check("cut behind a record", cut(OLDER, HEADER + 2 * BATCH), told(2, Reason::Missing));
    check("cut within a record", cut(OLDER, end - BATCH - 3), told(2, Reason::Checksum));
    check("missing", lose(OLDER), told(4, Reason::Missing));
    check("missing right behind the checkpoint", lose(FIRST), told(4, Reason::Before));
    check("stale", cut(OLDER, HEADER + BATCH), told(3, Reason::Missing));
    let belongs = Refused("belongs to 00000000000000000017.log; rename it back, or move it away");
    check("also behind all others", copy(OLDER, "00000000000000000099.log"), belongs);
    check("instead of the next", copy(OLDER, "00000000000000000021.log"), belongs);
    // What stands below the checkpoint is superfluous, whatever it is.
    check("also before the checkpoint", copy(OLDER, "00000000000000000002.log"), Whole);
    check("also as something else", copy(OLDER, "old 17.log"), Whole);
    check("another log's", exchange(OLDER), Refused("belongs to another log"));
    check("of another version", upgrade(OLDER, HEADER), Refused("start the version"));
}

#[test]
fn the_checkpoint() {
    let len = read(&healthy(5), CHECKPOINT).len();
    check("a bit of its header", flip(CHECKPOINT, 20), told(0, Reason::Header));
    check("a bit of a record", flip(CHECKPOINT, len - 30), told(1, Reason::Checksum));
    // It may have told of more.
    let blunt = Told { lost: 0, told: 1, reason: Reason::Checksum };
    check("a bit of its end", flip(CHECKPOINT, len - 9), blunt);
    // Nobody knows how many: it counts as one.
    let headless = Told { lost: 12, told: 1, reason: Reason::Header };
    check("cut to nothing", cut(CHECKPOINT, 0), headless);
    check(
        "cut to its header",
        cut(CHECKPOINT, 32),
        Told { lost: 12, told: 1, reason: Reason::Missing },
    );
    check(
        "cut before its end",
        cut(CHECKPOINT, len - 24),
        Told { lost: 0, told: 1, reason: Reason::Missing },
    );
    check("missing", lose(CHECKPOINT), told(12, Reason::Before));
    check("stale", stale_checkpoint, Told { lost: 8, told: 8, reason: Reason::Before });
    let belongs = Refused("belongs to 00000000000000000013.checkpoint; rename it back");
    check("also of a higher bound", copy(CHECKPOINT, "00000000000000000021.checkpoint"), belongs);
    check("also of a lower bound", copy(CHECKPOINT, "00000000000000000009.checkpoint"), Whole);
    check("also as something else", copy(CHECKPOINT, "13.checkpoint"), Whole);
    check("another log's", exchange(CHECKPOINT), Refused("belongs to another log"));
    check("of another version", upgrade(CHECKPOINT, 32), Refused("start the version"));
}

/// The checkpoint before the last one comes back, and the last one is gone.
fn stale_checkpoint(medium: &mut Faulty) {
    let earlier = Faulty::new(5);
    let mut opened = open(&earlier, SEGMENT_BYTES).unwrap();
    for number in 1..=8 {
        append(&mut opened.log, &[numbered(number)]).unwrap();
        opened.log.sync().unwrap();
    }
    opened.log.distillation().unwrap().run(&earlier, &|| true).unwrap();
    let name = "00000000000000000005.checkpoint";
    let bytes = read(&earlier, name);
    medium.edit(name, |file| *file = bytes);
    medium.remove(CHECKPOINT).unwrap();
}

#[test]
fn whatever_else_lies_there() {
    check("an unfinished segment", add("next.tmp"), Whole);
    check("zeros for a segment", add("zeros.tmp"), Whole);
    check("an unfinished checkpoint", add("checkpoint.tmp"), Whole);
    check("an unfinished copy", add("00000000000000000030.log.part"), Whole);
    check("what was set aside", add("00000000000000000005.log.damaged"), Whole);
    check("something of somebody", add("notes"), Whole);
    check("the mark is gone", lose(MARK), Whole);
    check("the mark has bytes", add(MARK), Whole);
    check("an old mark is there, too", add("00000000000000000021.newest"), Whole);
    // Two at once are more than can be seen.
    let both = |medium: &mut Faulty| {
        [YOUNGEST, MARK].iter().for_each(|name| medium.remove(name).unwrap());
    };
    check("the youngest and its mark", both, Unseen { lost: 4 });
    let all = |medium: &mut Faulty| {
        let names = medium.list().unwrap();
        names.iter().filter(|name| *name != MARK).for_each(|name| medium.remove(name).unwrap());
    };
    check("all but the mark", all, Told { lost: 28, told: 25, reason: Reason::Newest });
}

/// That the youngest segment is gone is told by each start, until a checkpoint is made.
#[test]
fn a_missing_youngest_segment_stays_told() {
    let mut medium = healthy(5);
    medium.remove(YOUNGEST).unwrap();
    for start in 0..3 {
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.recovery.damaged_records, 1, "start {start}: {}", opened.recovery);
        append(&mut opened.log, &[numbered(200 + start)]).unwrap();
        opened.log.sync().unwrap();
        medium.crash(start);
    }
    let opened = open(&medium, SEGMENT_BYTES).unwrap();
    assert!(
        (200..203)
            .all(|number| opened.replayed.iter().any(|(_, found)| *found == numbered(number)))
    );
}

/// The lock is a file that says nothing: without it, or with something in it, all is well.
#[test]
fn the_lock() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store-faults-lock");
    drop(fs::remove_dir_all(&directory));
    let start = || {
        let files = Files::open(&directory)?;
        Log::open(files, Options::default(), &mut |_, _| {}).map(|(_, recovery)| recovery)
    };
    start().unwrap();
    let lock = directory.join("lock");
    fs::remove_file(&lock).unwrap();
    assert_eq!(start().unwrap().damaged, []);
    fs::write(&lock, "9999").unwrap();
    assert_eq!(start().unwrap().damaged, []);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let error = start().unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("store-faults-lock"), "{error}");
    drop(fs::remove_dir_all(&directory));
}
