//! Messages are found by their positions, wherever they stand and whatever stands around them.

#![allow(clippy::unwrap_used)]

mod support;

use std::thread;

use bellbird_codec::QoS;
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{Append, Commit, Delivery, Operation, Record};
use bellbird_core::subscription::SubscriptionIds;
use bellbird_store::{Faulty, Log, Medium, Reader};
use bellbird_topics::{Namespace, TopicName};

use support::{Random, append, numbered, open, segments};

const SESSION: Holder = Holder { number: 1, incarnation: 1 };

fn message(number: u64, bytes: usize) -> Message {
    Message::new(&MessageParts {
        id: MessageId { start: 1, shard: 0, counter: number },
        namespace: Namespace(0),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        topic: TopicName::parse("plant/speed").unwrap(),
        properties: &[],
        payload: &vec![b'x'; bytes],
    })
}

fn stored(number: u64, bytes: usize) -> Record {
    let delivery = Delivery {
        holder: SESSION,
        qos: QoS::AtLeastOnce,
        retain: false,
        ids: SubscriptionIds::default(),
    };
    Record::Append(Append {
        lane: Lane(3),
        at: Time(7),
        message: message(number, bytes),
        holders: vec![delivery].into(),
        received: None,
        retained: None,
    })
}

fn commit(operations: Vec<Operation>) -> Record {
    Record::Commit(Commit { holder: SESSION, epoch: 1, at: Time(7), operations })
}

fn open_session() -> Record {
    commit(vec![Operation::Open {
        namespace: Namespace(0),
        client_id: "c".into(),
        user_name: None,
        expiry_secs: 60,
    }])
}

/// Writes messages of all sizes, alone and in batches, between other records. Returns where they
/// stand; the number of each is its position.
fn write(log: &mut Log<Faulty>, random: &mut Random, batches: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    for _ in 0..batches {
        let first = log.next_position().0;
        let count = [1, 1, 2, 300][random.below(4)];
        let mut records = Vec::new();
        for position in first..first + count {
            let bytes = [0, 10, 100, 5_000, 70_000][random.below(5)];
            if random.below(4) == 0 {
                records.push(numbered(position));
            } else {
                records.push(stored(position, if count > 2 { bytes % 5_000 } else { bytes }));
                positions.push(Position(position));
            }
        }
        assert_eq!(append(log, &records).unwrap(), first);
    }
    log.sync().unwrap();
    positions
}

/// Ends the log so that the next start knows that all before was synced.
fn end(mut log: Log<Faulty>) {
    log.sync().unwrap();
    append(&mut log, &[numbered(0)]).unwrap();
}

/// Reads some of the messages, in any order, and each one is itself.
fn check(reader: &Reader<Faulty>, positions: &[Position], random: &mut Random) {
    for _ in 0..200 {
        let count = 1 + random.below(40);
        let some: Vec<Position> =
            (0..count).map(|_| positions[random.below(positions.len())]).collect();
        for (position, message) in some.iter().zip(reader.read(&some)) {
            assert_eq!(message.unwrap().id.counter, position.0);
        }
    }
    let all = reader.read(positions);
    assert!(all.iter().zip(positions).all(|(m, at)| m.as_ref().unwrap().id.counter == at.0));
}

#[test]
fn every_message_is_found_in_segments_and_checkpoints_and_after_a_start() {
    for (seed, segment_bytes) in [(1, 3_000), (2, 100_000), (3, 1 << 30)] {
        let mut random = Random::new(seed);
        let medium = Faulty::new(seed);
        let mut opened = open(&medium, segment_bytes).unwrap();
        append(&mut opened.log, &[open_session()]).unwrap();
        let mut positions = write(&mut opened.log, &mut random, 60);
        check(&opened.log.reader(), &positions, &mut random);
        // A reader of before knows what comes after.
        let reader = opened.log.reader();
        let distilled = opened.log.distillation_of_all().run(&medium, &|| true).unwrap();
        check(&reader, &positions, &mut random);
        opened.log.distilled(&distilled);
        positions.extend(write(&mut opened.log, &mut random, 20));
        check(&reader, &positions, &mut random);
        drop(opened);
        let mut opened = open(&medium, segment_bytes).unwrap();
        check(&opened.log.reader(), &positions, &mut random);
        positions.extend(write(&mut opened.log, &mut random, 20));
        let distilled = opened.log.distillation_of_all().run(&medium, &|| true).unwrap();
        opened.log.distilled(&distilled);
        check(&opened.log.reader(), &positions, &mut random);
    }
}

/// The tail of a log that a crash left is written again at the beginning of the next segment.
#[test]
fn every_message_is_found_after_a_crash() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut medium = Faulty::new(seed);
        let mut opened = open(&medium, 20_000).unwrap();
        append(&mut opened.log, &[open_session()]).unwrap();
        let positions = write(&mut opened.log, &mut random, 10);
        let records: Vec<Record> = (0..5).map(|_| stored(0, 10)).collect();
        append(&mut opened.log, &records).unwrap();
        if seed % 2 == 0 {
            medium.crash(seed)
        } else {
            medium.kill()
        }
        let opened = open(&medium, 20_000).unwrap();
        check(&opened.log.reader(), &positions, &mut random);
    }
}

#[test]
fn damage_costs_the_damaged_messages_only_and_is_told() {
    let mut random = Random::new(1);
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 1 << 30).unwrap();
    append(&mut opened.log, &[open_session()]).unwrap();
    let records: Vec<Record> = (2..102).map(|position| stored(position, 100)).collect();
    append(&mut opened.log, &records).unwrap();
    opened.log.sync().unwrap();
    let positions: Vec<Position> = (2..102).map(Position).collect();
    check(&opened.log.reader(), &positions, &mut random);
    let lose_one = |reader: &Reader<Faulty>, name: &str| {
        let bytes = medium.read(name).unwrap();
        let begin = |at: &usize| bytes[*at..].starts_with(b"plant/speed");
        let at = (0..bytes.len()).filter(begin).nth(50).unwrap();
        for bit in [at * 8, (at - 70) * 8 + 3] {
            medium.clone().flip(name, bit);
            let found = reader.read(&positions);
            let lost: Vec<String> =
                found.iter().filter_map(|found| Some(found.as_ref().err()?.to_string())).collect();
            assert!(!lost.is_empty() && lost.len() <= 2, "{lost:?}");
            assert!(lost[0].ends_with(&format!("memory/{name} is damaged")), "{lost:?}");
            medium.clone().flip(name, bit);
        }
    };
    lose_one(&opened.log.reader(), &segments(&medium)[0]);
    end(opened.log);
    let mut opened = open(&medium, 1 << 30).unwrap();
    let distilled = opened.log.distillation_of_all().run(&medium, &|| true).unwrap();
    opened.log.distilled(&distilled);
    let names = medium.list().unwrap();
    let checkpoint = names.iter().find(|name| name.ends_with(".checkpoint")).unwrap();
    lose_one(&opened.log.reader(), checkpoint);
}

#[test]
fn what_no_file_has_is_told() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 1 << 20).unwrap();
    append(&mut opened.log, &[open_session(), stored(2, 10), numbered(3)]).unwrap();
    let reader = opened.log.reader();
    // Gone with the checkpoint, since its holder is done with it.
    let delivery = DeliveryId::own(Position(2));
    append(&mut opened.log, &[commit(vec![Operation::Done { delivery }])]).unwrap();
    end(opened.log);
    let said = |reader: &Reader<Faulty>, position| {
        reader.read(&[Position(position)]).pop().unwrap().unwrap_err().to_string()
    };
    assert_eq!(
        said(&reader, 9),
        "the message at position 9 cannot be read: memory/00000000000000000001.log is damaged",
        "the log is gone: nobody waits for what comes next"
    );
    assert_eq!(
        said(&reader, 3),
        "the message at position 3 cannot be read: no file of the log has it",
        "a setting is no message"
    );
    let mut opened = open(&medium, 1 << 20).unwrap();
    let distilled = opened.log.distillation_of_all().run(&medium, &|| true).unwrap();
    opened.log.distilled(&distilled);
    assert_eq!(
        said(&opened.log.reader(), 2),
        "the message at position 2 cannot be read: no file of the log has it"
    );
}

/// With durability `memory` a position is known before the record is written.
#[test]
fn a_reader_waits_for_what_is_about_to_be_written() {
    let medium = Faulty::new(1);
    let mut opened = open(&medium, 1 << 20).unwrap();
    let reader = opened.log.reader();
    let waiting = thread::spawn(move || reader.read(&[Position(1)]).pop().unwrap());
    append(&mut opened.log, &[stored(1, 10)]).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap().id.counter, 1);
}
