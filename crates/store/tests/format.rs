//! A log of each released format stays readable, and format 1 is written as it was.

mod support;

use bellbird_codec::PacketId;
use bellbird_core::identity::{Holder, Time};
use bellbird_core::record::{Commit, Operation, Record};
use bellbird_store::Faulty;

use support::{append, every_kind, numbered, open, read, segments};

const NAME: &str = "00000000000000000001.log";
const V1: &[u8] = include_bytes!("vectors/v1.log");

fn records() -> Vec<Record> {
    every_kind().into_iter().chain([numbered(1), reserved()]).collect()
}

/// Came to the format last.
fn reserved() -> Record {
    let through = PacketId::new(2048).expect("not 0");
    let operations = vec![Operation::Reserved { through }];
    let holder = Holder { number: 1, incarnation: 1 };
    Record::Commit(Commit { holder, epoch: 1, at: Time(7), operations })
}

#[test]
fn format_1_is_read() {
    let mut medium = Faulty::new(8);
    medium.edit(NAME, |bytes| bytes.extend_from_slice(V1));
    let opened = open(&medium, 1 << 20).expect("it opens");
    let replayed: Vec<Record> = opened.replayed.into_iter().map(|(_, record)| record).collect();
    assert_eq!(replayed, records());
    assert_eq!(opened.recovery.damaged, []);
}

#[test]
fn format_1_is_written() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 1 << 20).expect("it opens");
    append(&mut opened.log, &every_kind()).expect("it appends");
    opened.log.sync().expect("it syncs");
    append(&mut opened.log, &[numbered(1)]).expect("it appends");
    opened.log.sync().expect("it syncs");
    append(&mut opened.log, &[reserved()]).expect("it appends");
    assert_eq!(segments(&medium), [NAME]);
    let written = read(&medium, NAME);
    let (used, reserved) = written.split_at(V1.len());
    assert!(used == V1, "the bytes of format 1 have changed");
    assert!(reserved.iter().all(|byte| *byte == 0), "only reserved zeros follow");
}
