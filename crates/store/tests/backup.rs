//! A copy has what was stored when it began, whatever the broker does meanwhile.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bellbird_core::record::Record;
use bellbird_store::{Distillation, Fault, Faulty, Medium, Reading, StoreError, backup, inspect};

use support::{Opened, append, numbered, open, read, segments};

const SEGMENT_BYTES: u64 = 300;

fn numbers(opened: &Opened) -> Vec<Record> {
    opened.replayed.iter().map(|(_, record)| record.clone()).collect()
}

fn copy_of<M: Medium>(medium: &M) -> Opened {
    let mut copy = Faulty::new(99);
    let inspection = backup(medium, &mut copy).unwrap();
    assert_eq!(inspection.recovery.damaged, []);
    copy.crash(1);
    open(&copy, SEGMENT_BYTES).unwrap()
}

#[test]
fn whatever_was_appended_is_in_it() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    for number in 0..40 {
        let copy = copy_of(&medium);
        assert_eq!(numbers(&copy), (0..number).map(numbered).collect::<Vec<_>>());
        append(&mut opened.log, &[numbered(number)]).unwrap();
        if number % 3 == 0 {
            opened.log.sync().unwrap();
        }
    }
    assert!(segments(&medium).len() > 3);
}

#[test]
fn what_is_half_written_is_not() {
    for bytes in 0..60 {
        let mut medium = Faulty::new(1);
        let mut opened = open(&medium, 10_000).unwrap();
        append(&mut opened.log, &[numbered(0), numbered(1)]).unwrap();
        medium.inject(Fault::ShortAppend(bytes));
        append(&mut opened.log, &[numbered(2)]).unwrap_err();
        assert_eq!(numbers(&copy_of(&medium)), [numbered(0), numbered(1)], "{bytes} bytes");
    }
}

/// Damage in the youngest segment is no torn end: what stands behind it is copied, and the damage is
/// told as a start tells it.
#[test]
fn damage_in_the_middle_is_copied_as_it_is() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 10_000).unwrap();
    for number in 0..10 {
        append(&mut opened.log, &[numbered(number)]).unwrap();
        opened.log.sync().unwrap();
    }
    let name = segments(&medium).remove(0);
    let content = read(&medium, &name);
    for needle in ["number.0", "number.4", "number.8"] {
        let mut medium = medium.clone();
        let found = content.windows(needle.len()).position(|it| it == needle.as_bytes()).unwrap();
        medium.edit(&name, |bytes| bytes[found] ^= 1);
        let mut copy = Faulty::new(99);
        let told = backup(&medium, &mut copy).unwrap().recovery;
        assert_eq!((told.records, told.damaged_places, told.damaged_records), (9, 1, 1));
        let reading = Reading { record: &mut |_, _| {}, progress: &mut |_| {} };
        let original = inspect(&medium, reading).unwrap().recovery;
        assert_eq!(told, original, "{needle}");
        medium.edit(&name, |bytes| bytes[found] ^= 1);
    }
}

/// A medium on which the broker works while somebody reads.
#[derive(Clone)]
struct Busy {
    inner: Faulty,
    /// What the first reading of a whole file sees: one that is being written.
    stale: Rc<RefCell<Option<Vec<u8>>>>,
    /// A checkpoint that is made after the first reading of a part.
    pending: Rc<RefCell<Option<Distillation>>>,
}

impl Busy {
    fn new(inner: Faulty, stale: Option<Vec<u8>>, pending: Option<Distillation>) -> Self {
        let (stale, pending) = (Rc::new(RefCell::new(stale)), Rc::new(RefCell::new(pending)));
        Self { inner, stale, pending }
    }
}

impl Medium for Busy {
    type File = <Faulty as Medium>::File;

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match self.stale.take() {
            Some(stale) => Ok(stale),
            None => self.inner.read(name),
        }
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let read = self.inner.read_at(name, offset, bytes);
        if let Some(distillation) = self.pending.take() {
            distillation.run(&self.inner, &|| true).unwrap();
        }
        read
    }

    fn create(&mut self, name: &str) -> io::Result<Self::File> {
        self.inner.create(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn nonce(&mut self) -> u64 {
        self.inner.nonce()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

#[test]
fn what_is_read_before_it_is_written_is_no_damage() {
    let inner = Faulty::new(1);
    let mut opened = open(&inner, 10_000).unwrap();
    for number in 0..10 {
        append(&mut opened.log, &[numbered(number)]).unwrap();
        opened.log.sync().unwrap();
    }
    let mut stale = read(&inner, &segments(&inner)[0]);
    let find =
        |needle: &str| stale.windows(needle.len()).position(|it| it == needle.as_bytes()).unwrap();
    let (from, to) = (find("number.3"), find("number.6"));
    stale[from..to].fill(0);
    // Zeros where the second reading finds batches, and what was written behind them.
    let copy = copy_of(&Busy::new(inner, Some(stale), None));
    assert_eq!(numbers(&copy), (0..10).map(numbered).collect::<Vec<_>>());
}

#[test]
fn what_has_no_log_cannot_be_copied() {
    let mut copy = Faulty::new(2);
    assert!(matches!(backup(&Faulty::new(1), &mut copy), Err(StoreError::NoLog { .. })));
    assert_eq!(copy.list().unwrap(), Vec::<String>::new());
}

#[test]
fn files_may_go_meanwhile() {
    let inner = Faulty::new(1);
    let mut opened = open(&inner, SEGMENT_BYTES).unwrap();
    for number in 0..40 {
        append(&mut opened.log, &[numbered(number)]).unwrap();
    }
    let copy = copy_of(&Busy::new(inner, None, opened.log.distillation()));
    let mut found = numbers(&copy);
    found.retain(|record| (0..40).any(|number| *record == numbered(number)));
    found.sort_by_key(|record| format!("{record:?}"));
    let mut expected: Vec<Record> = (0..40).map(numbered).collect();
    expected.sort_by_key(|record| format!("{record:?}"));
    assert_eq!(found, expected);
}

#[test]
fn a_log_is_not_overwritten() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    append(&mut opened.log, &[numbered(1)]).unwrap();
    let mut other = Faulty::new(2);
    open(&other, SEGMENT_BYTES).unwrap();
    let before = read(&other, &segments(&other)[0]);
    assert!(matches!(backup(&medium, &mut other), Err(StoreError::NotEmpty { .. })));
    assert_eq!(read(&other, &segments(&other)[0]), before);
}

/// Whatever the last thing is that could be done: the copy is none, or damaged, or whole.
#[test]
fn an_interrupted_copy_passes_for_nothing_else() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    for number in 0..20 {
        append(&mut opened.log, &[numbered(number)]).unwrap();
    }
    let mut step = 0;
    loop {
        let mut copy = Faulty::new(3);
        copy.inject(Fault::Death(step));
        let made = backup(&medium, &mut copy).is_ok();
        copy.crash(step as u64);
        let found = open(&copy, SEGMENT_BYTES).unwrap();
        let is_none = found.replayed.is_empty() && !made;
        let is_whole = numbers(&found) == (0..20).map(numbered).collect::<Vec<_>>();
        let is_told = found.recovery.damaged_places > 0 && !made;
        assert!(is_none || is_whole || is_told, "step {step}: {}", found.recovery);
        if made {
            break;
        }
        step += 1;
    }
    assert!(step > 10, "each step was tried");
}
