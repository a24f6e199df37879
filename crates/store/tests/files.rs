//! The medium on a real disk.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bellbird_store::{Batch, Files, Log, Medium, MediumFile, Options, StoreError};

use support::{every_kind, numbered};

/// A directory of one test, gone when the test is.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{test}"));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_log_in_files_comes_back() {
    let directory = Directory::new("comes-back");
    let data = directory.0.join("made/on/the/way");
    let options = Options { segment_bytes: 400 };
    let mut expected = Vec::new();
    for start in 0..4 {
        let mut replayed = Vec::new();
        let files = Files::open(&data).unwrap();
        let (mut log, recovery) =
            Log::open(files, options, &mut |_, record| replayed.push(record)).unwrap();
        assert_eq!(replayed, expected, "start {start}");
        assert_eq!(recovery.damaged, []);
        for record in every_kind() {
            let mut batch = Batch::new();
            batch.push(&record);
            log.append(&[&batch], &mut Vec::new()).unwrap();
            expected.push(record);
        }
        log.sync().unwrap();
    }
    assert!(fs::read_dir(&data).unwrap().count() > 20);
}

#[test]
fn a_second_opener_is_told_so() {
    let directory = Directory::new("second");
    let files = Files::open(&directory.0).unwrap();
    let error = Files::open(&directory.0).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(directory.0.to_str().unwrap()), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    drop(files);
    Files::open(&directory.0).unwrap();
}

#[test]
fn a_file_is_not_a_directory() {
    let directory = Directory::new("file");
    let file = directory.0.join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(Files::open(&file), Err(StoreError::NotADirectory { .. })));
    let below = Files::open(&file.join("below")).unwrap_err();
    assert!(matches!(below, StoreError::NotCreatable { .. }), "{below}");
}

#[test]
fn a_lock_that_cannot_be_made_is_told() {
    let directory = Directory::new("lock");
    fs::create_dir(directory.0.join("lock")).unwrap();
    let error = Files::open(&directory.0).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
}

#[test]
fn names_are_taken_once_and_foreign_files_are_left_alone() {
    let directory = Directory::new("names");
    fs::write(directory.0.join("notes.txt"), b"mine").unwrap();
    let mut files = Files::open(&directory.0).unwrap();
    let mut file = files.create("a").unwrap();
    files.create("a").unwrap_err();
    file.append(b"one").unwrap();
    file.reserve(4).unwrap();
    files.rename("a", "b").unwrap();
    file.append(b"two").unwrap();
    file.sync().unwrap();
    files.sync_directory().unwrap();
    assert_eq!(files.read("b").unwrap(), b"onetwo\0");
    files.remove("b").unwrap();
    assert_ne!(files.nonce(), files.nonce());

    let (mut log, _) = Log::open(files, Options::default(), &mut |_, _| {}).unwrap();
    let mut batch = Batch::new();
    batch.push(&numbered(1));
    log.append(&[&batch], &mut Vec::new()).unwrap();
    log.sync().unwrap();
    assert_eq!(fs::read(directory.0.join("notes.txt")).unwrap(), b"mine");
}

/// Messages are for the broker's user alone, whatever its umask says.
#[test]
fn nobody_else_may_read_it() {
    let directory = Directory::new("private");
    let data = directory.0.join("data");
    let options = Options { segment_bytes: 400 };
    let (mut log, _) = Log::open(Files::open(&data).unwrap(), options, &mut |_, _| {}).unwrap();
    let mut batch = Batch::new();
    batch.push(&every_kind()[0]);
    log.append(&[&batch], &mut Vec::new()).unwrap();
    log.sync().unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

/// Appends of either kind, zeros in between, all lengths around a block's: what stands in the file
/// is what was appended, and zeros up to its end.
#[test]
fn a_file_holds_what_was_appended_whichever_way() {
    let directory = Directory::new("appended");
    let mut files = Files::open(&directory.0).unwrap();
    let lengths = [1, 40, 4095, 4096, 4097, 300, 3796, 8192, 0, 12_000, 70_000, 5, 65_536, 61_440];
    for (number, reserved) in [0, 1 << 12, 1 << 20].into_iter().enumerate() {
        let name = format!("{number}");
        let mut file = files.create(&name).unwrap();
        let mut expected = Vec::new();
        file.reserve(reserved).unwrap();
        let mut len = reserved;
        for (step, bytes) in lengths.iter().chain(lengths.iter().rev()).enumerate() {
            let bytes = vec![step as u8 + 1; *bytes];
            if step % 3 == 0 {
                file.append(&bytes).unwrap();
            } else {
                file.append_before_sync(&bytes).unwrap();
            }
            expected.extend_from_slice(&bytes);
            len = len.max(expected.len());
            if step % 5 == 0 {
                file.reserve(10_000).unwrap();
                len += 10_000;
            }
            file.sync().unwrap();
            let found = files.read(&name).unwrap();
            assert!(found.len() == len && found.starts_with(&expected), "{reserved} {step}");
            assert!(found[expected.len()..].iter().all(|byte| *byte == 0), "{reserved} {step}");
            let (at, wanted) = (expected.len() / 2, 5000);
            let part = files.read_at(&name, at as u64, wanted).unwrap();
            assert!(part == found[at..found.len().min(at + wanted)], "{reserved} {step}");
        }
    }
}
