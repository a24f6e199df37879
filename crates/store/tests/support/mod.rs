//! What the tests of the log share: records that differ, and a log that is opened again.

// Each test file uses its own part of this; helpers may fail as tests do.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use bellbird_codec::{PacketId, QoS, RetainHandling, SubscribeOptions};
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{
    Append, Commit, Delivery, Operation, Received, Record, Retain, Settings,
};
use bellbird_core::subscription::{Subscription, SubscriptionId, SubscriptionIds};
use bellbird_store::{Batch, Faulty, Log, Medium, Options, Recovery, StoreError};
use bellbird_topics::{Namespace, TopicName};

/// A log in memory with what its start replayed.
#[derive(Debug)]
pub struct Opened {
    pub log: Log<Faulty>,
    pub recovery: Recovery,
    pub replayed: Vec<(u64, Record)>,
}

pub fn open(medium: &Faulty, segment_bytes: u64) -> Result<Opened, StoreError> {
    let mut replayed = Vec::new();
    let mut replay = |position: Position, record| replayed.push((position.0, record));
    let (log, recovery) = Log::open(medium.clone(), Options { segment_bytes }, &mut replay)?;
    Ok(Opened { log, recovery, replayed })
}

/// Appends the records as one batch; returns the first position.
pub fn append(log: &mut Log<Faulty>, records: &[Record]) -> Result<u64, StoreError> {
    let mut batch = Batch::new();
    records.iter().for_each(|record| batch.push(record));
    let mut firsts = Vec::new();
    log.append(&[&batch], &mut firsts)?;
    Ok(firsts[0].0)
}

/// The log's segments by name, oldest first.
pub fn segments(medium: &Faulty) -> Vec<String> {
    let mut names = medium.list().unwrap();
    names.retain(|name| name.ends_with(".log"));
    names
}

pub fn read(medium: &Faulty, name: &str) -> Vec<u8> {
    medium.read(name).unwrap()
}

/// A setting that tells its number.
pub fn numbered(number: u64) -> Record {
    Record::Settings(Settings {
        key: format!("number.{number}").into(),
        value: number.to_le_bytes().into(),
    })
}

/// A message of this payload to one holder.
pub fn message(at: u64, payload: &[u8]) -> Record {
    let parts = MessageParts {
        id: MessageId { start: 3, shard: 1, counter: at },
        namespace: Namespace(0),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        topic: TopicName::parse("plant/line 4/speed").unwrap(),
        properties: &[],
        payload,
    };
    let holder = Holder { number: 12, incarnation: 1 };
    Record::Append(Append {
        lane: Lane(77),
        at: Time(at),
        message: Message::new(&parts),
        holders: vec![Delivery { holder, qos: QoS::AtLeastOnce, retain: false, ids: ids(&[]) }]
            .into(),
        received: None,
        retained: None,
    })
}

/// Every kind of record, operation, flag and edge.
pub fn every_kind() -> Vec<Record> {
    let holder = Holder { number: u64::MAX, incarnation: u32::MAX };
    let mut records = vec![message(1, b"21.5"), numbered(7)];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for retain in [false, true] {
            let message = Message::new(&MessageParts {
                id: MessageId { start: u32::MAX, shard: u8::MAX, counter: u64::MAX },
                namespace: Namespace(u32::MAX),
                qos,
                retain,
                expires_at: retain.then_some(Time(u64::MAX)),
                topic: TopicName::parse("ä/€/𝄞").unwrap(),
                properties: &[1, 1, 3, 0, 1, b'x'],
                payload: &[0xFF; 300],
            });
            let holders = vec![
                Delivery { holder, qos, retain, ids: ids(&[1, 268_435_455]) },
                Delivery {
                    holder: Holder::default(),
                    qos: QoS::AtMostOnce,
                    retain: !retain,
                    ids: ids(&[]),
                },
            ]
            .into();
            let packet_id = PacketId::new(u16::MAX).unwrap();
            let received = retain.then_some(Received { holder, packet_id });
            let (lane, at) = (Lane(u32::MAX), Time(u64::MAX));
            let retained = retain.then_some(u64::MAX);
            let append = Append { lane, at, message, holders, received, retained };
            records.push(Record::Retain(Retain {
                order: 1 << 40,
                at: Time(9),
                namespace: Namespace(2),
                topic: "ä/€/𝄞".into(),
                message: Some(append.message.clone()),
            }));
            records.push(Record::Append(append));
        }
    }
    records.push(Record::Retain(Retain {
        order: 0,
        at: Time(0),
        namespace: Namespace(0),
        topic: "a".into(),
        message: None,
    }));
    records.push(Record::Commit(Commit {
        holder,
        epoch: u32::MAX,
        at: Time(5),
        operations: every_operation(),
    }));
    records.push(Record::Commit(Commit {
        holder: Holder::default(),
        epoch: 0,
        at: Time(0),
        operations: Vec::new(),
    }));
    records.push(Record::Settings(Settings { key: "".into(), value: Box::default() }));
    records
}

fn ids(values: &[u32]) -> SubscriptionIds {
    values.iter().filter_map(|value| SubscriptionId::new(*value)).collect()
}

fn every_operation() -> Vec<Operation> {
    let Record::Append(Append { message, .. }) = message(1, b"gone") else { unreachable!() };
    let mut operations = vec![
        Operation::Open {
            namespace: Namespace(4),
            client_id: "tank 7".into(),
            user_name: Some("plant".into()),
            expiry_secs: 60,
        },
        Operation::Resume { user_name: None, expiry_secs: u32::MAX },
        Operation::Leave { expiry_secs: 0 },
        Operation::Unsubscribe { filter: "a/+/#".into() },
        Operation::Done { delivery: DeliveryId::own(Position(u64::MAX)) },
        Operation::End,
        Operation::Sending {
            delivery: DeliveryId::own(Position(u64::MAX)),
            packet_id: PacketId::new(u16::MAX).unwrap(),
        },
        Operation::Had { delivery: DeliveryId::own(Position(1)) },
        Operation::Released { position: Position(300) },
        Operation::Holding { packet_id: PacketId::new(1).unwrap() },
        Operation::Freed { packet_id: PacketId::new(u16::MAX).unwrap() },
        Operation::WillOver,
        Operation::Found { namespace: Namespace(1), name: "$share/g/a/#".into() },
        Operation::Handed {
            position: Position(7),
            to: Holder { number: 3, incarnation: 2 },
            retain: true,
            ids: ids(&[9]),
        },
    ];
    let of = Some(Holder { number: 300, incarnation: 1 });
    let delivery = DeliveryId { position: Position(7), of };
    let packet_id = PacketId::new(1).unwrap();
    operations.extend([
        Operation::Sending { delivery, packet_id },
        Operation::Had { delivery },
        Operation::Done { delivery },
    ]);
    for expiry_secs in [None, Some(0), Some(u32::MAX)] {
        let message = message.clone();
        operations.push(Operation::Will { message, expiry_secs, delay_secs: u32::MAX });
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for retain_handling in
            [RetainHandling::SendAlways, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
        {
            for (no_local, retain_as_published) in [(false, true), (true, false)] {
                let options =
                    SubscribeOptions { qos, no_local, retain_as_published, retain_handling };
                let id = SubscriptionId::new(if no_local { 300 } else { 0 });
                let subscription = Subscription { options, id };
                operations.push(Operation::Subscribe { filter: "$share/g/a".into(), subscription });
            }
        }
    }
    operations
}

/// Xorshift: the tests' own choices, the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 20) % bound as u64).unwrap()
    }
}
