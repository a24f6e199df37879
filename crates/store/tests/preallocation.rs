//! The next segment's file, made beside the log.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used)]

mod support;

use bellbird_core::record::Record;
use bellbird_store::{Event, Fault, Faulty, Medium, Preallocation, StoreError};

use support::{Opened, append, message, numbered, open, segments};

const SEGMENT_BYTES: u64 = 64_000;
const ZEROS: &str = "zeros.tmp";

fn small(opened: &mut Opened) {
    append(&mut opened.log, &[message(1, &[0xA5; 900])]).unwrap();
    opened.log.sync().unwrap();
}

/// Appends small records until a file is wanted.
fn until_wanted(opened: &mut Opened) -> (usize, Preallocation) {
    let mut appended = 0;
    loop {
        if let Some(preallocation) = opened.log.preallocation() {
            return (appended, preallocation);
        }
        small(opened);
        appended += 1;
    }
}

fn preallocate(opened: &mut Opened, medium: &Faulty) {
    let (_, preallocation) = until_wanted(opened);
    opened.log.preallocated(preallocation.run(medium, &|| true).unwrap());
}

fn has_zeros(medium: &Faulty) -> bool {
    medium.list().unwrap().iter().any(|name| name == ZEROS)
}

fn check_replayed(medium: &Faulty, expected: usize) {
    let opened = open(medium, SEGMENT_BYTES).unwrap();
    assert_eq!(opened.replayed.len(), expected);
    assert_eq!(opened.recovery.damaged, []);
    assert!(!has_zeros(medium));
}

#[test]
fn a_file_is_wanted_once_small_writes_have_filled_a_part_of_the_segment() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    let (appended, preallocation) = until_wanted(&mut opened);
    assert_eq!(appended, 17, "a quarter");
    opened.log.preallocated(preallocation.run(&medium, &|| true).unwrap());
    assert_eq!(opened.log.preallocation(), None);
    let (appended, _) = {
        small(&mut opened);
        until_wanted(&mut opened)
    };
    assert_eq!(appended + 1, 33, "half of one that was made so");
    check_replayed(&medium, 50);
}

#[test]
fn none_is_wanted_where_writes_are_large() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 1 << 20).unwrap();
    for _ in 0..10 {
        append(&mut opened.log, &[message(1, &[0xA5; 70_000])]).unwrap();
    }
    assert_eq!(opened.log.preallocation(), None);
}

/// The file stays as long as it is, and nothing else is written than what was appended.
#[test]
fn a_segment_in_such_a_file_never_grows() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    preallocate(&mut opened, &medium);
    small(&mut opened);
    let names = segments(&medium);
    assert_eq!(names.len(), 2, "the first one ends early");
    assert!(!has_zeros(&medium));
    let length = medium.len(&names[1]).unwrap();
    medium.record();
    while segments(&medium).len() == 2 {
        assert_eq!(medium.len(&names[1]).unwrap(), length);
        small(&mut opened);
    }
    let journal = medium.journal();
    let first_of_next = journal.iter().position(|event| matches!(event, Event::Created { .. }));
    let in_segment = &journal[..first_of_next.unwrap()];
    assert!(in_segment.len() > 100);
    assert!(
        in_segment
            .iter()
            .all(|event| matches!(event, Event::Written { .. } | Event::Synced { .. }))
    );
}

#[test]
fn what_is_not_used_is_gone_after_an_end_a_crash_or_a_call_for_room() {
    for seed in 0..20 {
        let mut medium = Faulty::new(seed);
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        preallocate(&mut opened, &medium);
        assert!(has_zeros(&medium));
        match seed % 3 {
            0 => opened.log.close().unwrap(),
            1 => {
                let distillation = opened.log.distillation_for_room().unwrap();
                assert!(distillation.is_some());
                // It is the segment that room was asked in.
                assert!(!has_zeros(&medium));
            }
            _ => drop(opened),
        }
        assert_eq!(has_zeros(&medium), seed % 3 == 2);
        medium.crash(seed);
        check_replayed(&medium, 17);
    }
}

#[test]
fn whatever_goes_wrong_leaves_nothing_and_stops_nothing() {
    let check = |fault: Option<Fault>, go_on: bool, expected: fn(&StoreError) -> bool| {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
        let (_, preallocation) = until_wanted(&mut opened);
        fault.into_iter().for_each(|fault| medium.inject(fault));
        let error = preallocation.run(&medium, &|| go_on).unwrap_err();
        assert!(expected(&error), "{fault:?}: {error}");
        assert!(!has_zeros(&medium), "{fault:?}");
        small(&mut opened);
        check_replayed(&medium, 18);
    };
    let is_failure = |error: &StoreError| matches!(error, StoreError::Io { .. });
    check(None, false, |error| matches!(error, StoreError::Interrupted));
    check(Some(Fault::Space(1000)), true, |error| matches!(error, StoreError::Full { .. }));
    check(Some(Fault::Sync), true, is_failure);
    check(Some(Fault::Refusal(0)), true, is_failure);
}

/// What stands there in part is continued where it stands.
#[test]
fn what_had_no_room_is_not_moved_into_it() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    let (_, preallocation) = until_wanted(&mut opened);
    let file = preallocation.run(&medium, &|| true).unwrap();
    let records: Vec<Record> = (0..9000).map(numbered).collect();
    medium.inject(Fault::Space(100));
    let error = append(&mut opened.log, &records).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    opened.log.preallocated(file);
    append(&mut opened.log, &records).unwrap();
    assert_eq!(segments(&medium).len(), 1);
    small(&mut opened);
    assert_eq!(segments(&medium).len(), 2);
    check_replayed(&medium, 9018);
}

#[test]
fn a_leftover_of_an_earlier_try_is_in_nobodys_way() {
    let mut medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    medium.edit(ZEROS, |bytes| bytes.extend([7; 90_000]));
    preallocate(&mut opened, &medium);
    small(&mut opened);
    check_replayed(&medium, 18);
}
