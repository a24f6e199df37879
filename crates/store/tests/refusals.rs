//! One operation on the disk fails, any one of them, in each way it can: the log says which and
//! where, nothing that was reported stored is lost, and the directory opens again.

#![allow(clippy::unwrap_used)]

mod support;

use bellbird_store::{Fault, Faulty, StoreError};

use support::{Opened, append, message, numbered, open};

const SEGMENT_BYTES: u64 = 3_000;

/// How far a run came.
#[derive(Default, Debug)]
struct Progress {
    /// Numbers that were reported stored.
    stored: u64,
    /// Numbers that were written.
    written: u64,
    /// What a checkpoint could not remove.
    left: Vec<String>,
}

/// A start on what an earlier process left, writes with and without room ahead, new segments, and
/// a checkpoint. Stops at the first error.
fn run(medium: &Faulty, progress: &mut Progress) -> Result<(), StoreError> {
    let Opened { mut log, .. } = open(medium, SEGMENT_BYTES)?;
    for round in 0..6 {
        let number = progress.written + 1;
        progress.written = number;
        let filler = message(7, &vec![1; if round == 3 { 70_000 } else { 700 }]);
        append(&mut log, &[numbered(number), filler])?;
        log.sync()?;
        progress.stored = number;
        if round == 4 {
            let distilled = log.distillation().unwrap().run(medium, &|| true)?;
            log.distilled(&distilled);
            progress.left.extend(distilled.left);
        }
    }
    Ok(())
}

/// A medium on which two runs went well.
fn used(seed: u64) -> (Faulty, Progress) {
    let (mut medium, mut progress) = (Faulty::new(seed), Progress::default());
    for _ in 0..2 {
        run(&medium, &mut progress).unwrap();
        medium.kill();
    }
    (medium, progress)
}

/// What is there after an end of this kind is what was stored, and perhaps more of what was written.
fn check_after(what: &str, medium: &Faulty, progress: &Progress) {
    for start in 0..2 {
        let mut opened = open(medium, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.recovery.damaged, [], "{what}");
        let found = |number: u64| {
            let wanted = numbered(number);
            opened.replayed.iter().any(|(_, record)| *record == wanted)
        };
        assert!((1..=progress.stored).all(found), "{what}: {} are stored", progress.stored);
        assert!(!found(progress.written + 1), "{what}");
        append(&mut opened.log, &[numbered(1_000 + start)]).unwrap();
        opened.log.sync().unwrap();
        let distilled = opened.log.distillation_of_all().run(medium, &|| true).unwrap();
        assert!(distilled.left.is_empty(), "{what}: {:?}", distilled.left);
        opened.log.distilled(&distilled);
    }
    let opened = open(medium, SEGMENT_BYTES).unwrap();
    let is_there = |wanted| opened.replayed.iter().any(|(_, record)| *record == wanted);
    assert!(is_there(numbered(1_000)) && is_there(numbered(1_001)), "{what}");
}

/// Returns which operations failed, as the errors call them.
fn each_operation(fault: impl Fn(usize) -> Fault, remedy: &str) -> Vec<String> {
    let mut operations = Vec::new();
    for step in 0.. {
        let (mut medium, mut progress) = used(step as u64);
        medium.inject(fault(step));
        let what = format!("{:?}", fault(step));
        match run(&medium, &mut progress) {
            Err(
                ref error @ (StoreError::Io { operation, ref path, .. }
                | StoreError::Full { operation, ref path, .. }),
            ) => {
                let error = error.to_string();
                assert!(error.contains(operation) && error.contains(remedy), "{what}: {error}");
                assert!(path.starts_with("memory"), "{what}: {error}");
                operations.push(operation.to_owned());
            }
            Err(other) => panic!("{what}: {other}"),
            Ok(()) => {}
        }
        let is_over = !medium.is_awaiting_fault();
        for seed in 0..3 {
            let mut copy = medium.fork();
            match seed {
                0 => copy.kill(),
                _ => copy.crash(seed),
            }
            check_after(&format!("{what}, then {seed}"), &copy, &progress);
        }
        if !is_over {
            operations.sort();
            operations.dedup();
            return operations;
        }
    }
    unreachable!("a run has an end");
}

#[test]
fn an_operation_fails() {
    let refused = each_operation(Fault::Refusal, "check the disk and the kernel log");
    assert_eq!(
        refused,
        ["append to", "create", "rename a checkpoint to", "rename a new segment to", "sync"]
    );
}

#[test]
fn the_volume_is_full() {
    let refused = each_operation(Fault::Full, "free space ");
    assert!(refused.contains(&"append to".to_owned()) && refused.contains(&"create".to_owned()));
    for room in (0..).step_by(1_237) {
        let (mut medium, mut progress) = used(3);
        medium.inject(Fault::Space(room));
        let Err(error) = run(&medium, &mut progress) else {
            assert!(room > 0, "some is needed");
            break;
        };
        assert!(error.to_string().contains("free space "), "{error}");
        medium.kill();
        check_after(&format!("room for {room}"), &medium, &progress);
    }
}

/// A write that fails halfway, each of them, after any number of bytes.
#[test]
fn a_write_is_cut_short() {
    for bytes in [0, 1, 39, 40, 41, 75, 300, 800, 69_000] {
        let (mut medium, mut progress) = used(4);
        medium.inject(Fault::ShortAppend(bytes));
        run(&medium, &mut progress).unwrap_err();
        for seed in 0..3 {
            let mut copy = medium.fork();
            if seed == 0 {
                copy.kill()
            } else {
                copy.crash(seed)
            }
            check_after(&format!("{bytes} bytes, then {seed}"), &copy, &progress);
        }
    }
}

/// The sync of a file or of the directory fails, the so-manyth of them.
#[test]
fn a_sync_fails() {
    for fault in [Fault::Sync, Fault::SyncDirectory] {
        let (mut medium, mut progress) = used(5);
        medium.inject(fault);
        let error = run(&medium, &mut progress).unwrap_err();
        assert!(matches!(error, StoreError::Io { operation: "sync", .. }), "{error}");
        for seed in 0..20 {
            let mut copy = medium.fork();
            if seed == 0 {
                copy.kill()
            } else {
                copy.crash(seed)
            }
            check_after(&format!("{fault:?}, then {seed}"), &copy, &progress);
        }
    }
}

/// A file cannot be read, or the directory not be listed: the start says which and changes nothing
/// that counts; a checkpoint is not made.
#[test]
fn a_look_fails() {
    let refused = each_operation(Fault::Unreadable, "check the disk and the kernel log");
    assert_eq!(refused, ["list", "read"]);
}
