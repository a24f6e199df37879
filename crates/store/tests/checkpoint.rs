//! Space comes back and nothing else changes, wherever it is interrupted and whatever breaks.

#![allow(clippy::unwrap_used)]

mod support;

use bellbird_codec::{PacketId, QoS};
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{Append, Commit, Delivery, Operation, Received, Record, Retain};
use bellbird_core::recovery::Distiller;
use bellbird_core::subscription::SubscriptionIds;
use bellbird_store::{Distilled, Fault, Faulty, Medium, Reason, StoreError};
use bellbird_topics::{Namespace, TopicName};

use support::{Opened, Random, append, numbered, open, read, segments};

const SEGMENT_BYTES: u64 = 2_000;

/// What a log says, in as few words as possible: two logs that say the same are the same.
fn meaning(replayed: &[(u64, Record)]) -> Vec<(u64, Record)> {
    let mut distiller = Distiller::new();
    for (position, record) in replayed {
        distiller.note(Position(*position), record.clone());
    }
    let essence = distiller.distil();
    let state = essence.state().map(|record| (0, record));
    let kept = replayed.iter().filter_map(|(position, record)| {
        Some((*position, essence.keep(Position(*position), record.clone())?))
    });
    // That the clock had gone on is known by other means where the newest record still stands.
    let counts = |record: &Record| !is_heights(record) && !is_cleared(record);
    state.chain(kept).filter(|(_, record)| counts(record)).collect()
}

fn is_heights(record: &Record) -> bool {
    matches!(record, Record::Settings(setting) if &*setting.key == "node.heights")
}

/// Once an older set cannot follow any more, such a record may go.
fn is_cleared(record: &Record) -> bool {
    matches!(record, Record::Retain(Retain { message: None, .. }))
}

fn holder(number: usize) -> Holder {
    Holder { number: number as u64, incarnation: 1 }
}

fn note(topic: &str, payload: &[u8]) -> Message {
    Message::new(&MessageParts {
        id: MessageId { start: 1, shard: 0, counter: 1 },
        namespace: Namespace(0),
        qos: QoS::ExactlyOnce,
        retain: false,
        expires_at: None,
        topic: TopicName::parse(topic).unwrap(),
        properties: &[],
        payload,
    })
}

fn commit(number: usize, operations: Vec<Operation>) -> Record {
    Record::Commit(Commit { holder: holder(number), epoch: 1, at: Time(7), operations })
}

fn open_session(number: usize) -> Record {
    commit(
        number,
        vec![Operation::Open {
            namespace: Namespace(0),
            client_id: format!("client {number}").into(),
            user_name: None,
            expiry_secs: 60,
        }],
    )
}

/// A broker of three clients that makes up its mind at random. It knows which positions its
/// records will have.
struct Broker {
    random: Random,
    order: u64,
    /// Messages that wait: for whom, and where they stand.
    waiting: Vec<(usize, u64)>,
    unreleased: Vec<(usize, u64)>,
}

impl Broker {
    fn record(&mut self, position: u64) -> Record {
        let number = 1 + self.random.below(3);
        let delivery = |position: u64| DeliveryId::own(Position(position));
        match self.random.below(9) {
            0 => numbered(self.random.below(4) as u64),
            1 | 2 => self.retain(),
            3 | 4 if !self.waiting.is_empty() => {
                let index = self.random.below(self.waiting.len());
                let (number, at) = self.waiting.remove(index);
                commit(number, vec![Operation::Done { delivery: delivery(at) }])
            }
            5 if !self.waiting.is_empty() => {
                let (number, at) = self.waiting[self.random.below(self.waiting.len())];
                let packet_id = PacketId::new(u16::try_from(at).unwrap()).unwrap();
                commit(number, vec![Operation::Sending { delivery: delivery(at), packet_id }])
            }
            6 if !self.unreleased.is_empty() => {
                let (number, at) = self.unreleased.remove(0);
                commit(number, vec![Operation::Released { position: Position(at) }])
            }
            _ => self.publish(number, position),
        }
    }

    fn retain(&mut self) -> Record {
        self.order += 1;
        let topic = format!("retained/{}", self.random.below(4));
        let message = (self.random.below(3) > 0).then(|| note(&topic, b"kept"));
        let at = Time(7);
        Record::Retain(Retain {
            order: self.order,
            at,
            namespace: Namespace(0),
            topic: topic.into(),
            message,
        })
    }

    fn publish(&mut self, number: usize, position: u64) -> Record {
        let names: Vec<usize> = (1..=3).filter(|_| self.random.below(2) == 0).collect();
        self.waiting.extend(names.iter().map(|name| (*name, position)));
        let is_received = self.random.below(3) == 0;
        if is_received {
            self.unreleased.push((number, position));
        }
        let packet_id = PacketId::new(u16::try_from(position).unwrap()).unwrap();
        let deliver = |name: usize| Delivery {
            holder: holder(name),
            qos: QoS::ExactlyOnce,
            retain: false,
            ids: SubscriptionIds::default(),
        };
        Record::Append(Append {
            lane: Lane(3),
            at: Time(7),
            message: note("plant/speed", &vec![b'x'; self.random.below(120)]),
            holders: names.into_iter().map(deliver).collect(),
            received: is_received.then(|| Received { holder: holder(number), packet_id }),
            retained: None,
        })
    }
}

/// A log of so many records, each written alone, and what was written.
fn filled(seed: u64, count: u64) -> (Faulty, Opened, Vec<(u64, Record)>) {
    let medium = Faulty::new(seed);
    let mut opened = open(&medium, SEGMENT_BYTES).unwrap();
    let mut broker = Broker {
        random: Random::new(seed + 1),
        order: 0,
        waiting: Vec::new(),
        unreleased: Vec::new(),
    };
    let mut written = Vec::new();
    for number in 1..=3 {
        written.push((number as u64, open_session(number)));
    }
    for position in 4..=count {
        written.push((position, broker.record(position)));
    }
    for (_, record) in &written {
        append(&mut opened.log, std::slice::from_ref(record)).unwrap();
    }
    opened.log.sync().unwrap();
    (medium, opened, written)
}

fn distil(opened: &mut Opened) -> Result<Distilled, StoreError> {
    let distillation = opened.log.distillation().expect("there is enough of it");
    let distilled = distillation.run(opened.log.medium(), &|| true)?;
    opened.log.distilled(&distilled);
    Ok(distilled)
}

fn checkpoints(medium: &Faulty) -> Vec<String> {
    let mut names = medium.list().unwrap();
    names.retain(|name| name.ends_with(".checkpoint"));
    names
}

#[test]
fn a_checkpoint_says_what_its_segments_said() {
    for seed in 0..200 {
        let (medium, mut opened, mut written) = filled(seed, 150);
        let before = opened.log.bytes();
        let distilled = distil(&mut opened).unwrap();
        assert!(opened.log.bytes() < before, "space comes back");
        assert_eq!((segments(&medium).len(), checkpoints(&medium).len()), (1, 1));
        assert_eq!(medium.read(&checkpoints(&medium)[0]).unwrap().len() as u64, distilled.bytes);
        // The log goes on, over a second checkpoint and a start.
        let mut position = opened.log.next_position().0;
        while opened.log.distillation().is_none() {
            let record = numbered(position % 3);
            append(&mut opened.log, std::slice::from_ref(&record)).unwrap();
            written.push((position, record));
            position += 1;
        }
        distil(&mut opened).unwrap();
        drop(opened);
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.recovery.damaged, []);
        assert_eq!(meaning(&opened.replayed), meaning(&written), "seed {seed}");
        assert_eq!(opened.log.next_position().0, position);
    }
}

/// Whatever the last thing is that the process could do, and whatever of it survived.
#[test]
fn it_may_be_interrupted_anywhere() {
    for seed in 0..40 {
        let mut step = 0;
        loop {
            let (mut medium, mut opened, written) = filled(seed, 120);
            medium.inject(Fault::Death(step));
            let made = distil(&mut opened).is_ok_and(|distilled| distilled.left.is_empty());
            drop(opened);
            medium.crash(seed + step as u64);
            let opened = open(&medium, SEGMENT_BYTES).unwrap();
            assert_eq!(opened.recovery.damaged, [], "seed {seed}, step {step}");
            assert_eq!(meaning(&opened.replayed), meaning(&written), "seed {seed}, step {step}");
            assert!(medium.list().unwrap().iter().all(|name| !name.ends_with(".tmp")));
            assert!(checkpoints(&medium).len() <= 1, "what is superfluous went at the start");
            if made {
                break;
            }
            step += 1;
        }
        assert!(step > 8, "each step was tried");
    }
}

/// A disk that is full, or does not sync: the log goes on as it was, and the next try succeeds.
#[test]
fn a_failure_costs_nothing() {
    for fault in [Fault::Space(100), Fault::ShortAppend(10), Fault::Sync, Fault::SyncDirectory] {
        let (mut medium, mut opened, mut written) = filled(5, 150);
        medium.inject(fault);
        assert!(distil(&mut opened).is_err(), "{fault:?}");
        if matches!(fault, Fault::Space(_)) {
            medium.kill();
            opened = open(&medium, SEGMENT_BYTES).unwrap();
        } else {
            let position = append(&mut opened.log, &[numbered(77)]).unwrap();
            written.push((position, numbered(77)));
            opened.log.sync().unwrap();
        }
        distil(&mut opened).unwrap();
        medium.crash(9);
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert_eq!(opened.recovery.damaged, []);
        assert_eq!(meaning(&opened.replayed), meaning(&written), "{fault:?}");
    }
}

#[test]
fn it_gives_up_when_nobody_wants_it() {
    let (medium, opened, written) = filled(5, 150);
    let distillation = opened.log.distillation().unwrap();
    let interrupted = distillation.run(opened.log.medium(), &|| false);
    assert!(matches!(interrupted, Err(StoreError::Interrupted)));
    drop(opened);
    assert_eq!(meaning(&open(&medium, SEGMENT_BYTES).unwrap().replayed), meaning(&written));
}

/// Each byte of a checkpoint inverted: only what stood there is lost, and it is told.
#[test]
fn damage_costs_only_what_it_hit() {
    let (medium, mut opened, _) = filled(5, 150);
    distil(&mut opened).unwrap();
    drop(opened);
    let name = checkpoints(&medium).remove(0);
    let whole = open(&medium, SEGMENT_BYTES).unwrap().replayed;
    let bytes = read(&medium, &name);
    for at in 0..bytes.len() {
        let (mut medium, mut opened, _) = filled(5, 150);
        distil(&mut opened).unwrap();
        drop(opened);
        medium.flip(&name, at * 8 + at % 8);
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        let recovery = &opened.recovery;
        let is_header = at < 32;
        let is_end = at >= bytes.len() - 24;
        assert_eq!(recovery.damaged_places, 1 + u64::from(is_end), "byte {at}: {recovery}");
        let lost = whole.iter().filter(|record| !opened.replayed.contains(record)).count();
        assert_eq!(lost, usize::from(!is_header && !is_end), "byte {at}");
        assert!(opened.replayed.iter().all(|record| whole.contains(record)), "byte {at}");
        let told = recovery.damaged_records;
        assert_eq!(
            told,
            u64::from(!is_header),
            "byte {at}: an end that is damaged may have told of more"
        );
        assert!(checkpoints(&medium).contains(&name), "the file is kept");
    }
}

#[test]
fn a_checkpoint_that_was_cut_short_is_told() {
    let (medium, mut opened, _) = filled(5, 150);
    distil(&mut opened).unwrap();
    drop(opened);
    let name = checkpoints(&medium).remove(0);
    let len = read(&medium, &name).len();
    let whole = open(&medium, SEGMENT_BYTES).unwrap().replayed;
    for len in 0..len {
        let (mut medium, mut opened, _) = filled(5, 150);
        distil(&mut opened).unwrap();
        drop(opened);
        medium.edit(&name, |bytes| bytes.truncate(len));
        let opened = open(&medium, SEGMENT_BYTES).unwrap();
        assert!(opened.recovery.damaged_places > 0, "cut to {len}");
        assert!(opened.recovery.damaged_records > 0, "cut to {len}");
        assert!(opened.replayed.iter().all(|record| whole.contains(record)));
    }
}

/// With a checkpoint it shows if the segment behind it is missing.
#[test]
fn what_is_missing_in_between_is_told() {
    let (mut medium, mut opened, _) = filled(5, 150);
    distil(&mut opened).unwrap();
    let first = segments(&medium).remove(0);
    while segments(&medium).len() < 2 {
        append(&mut opened.log, &[numbered(1)]).unwrap();
    }
    drop(opened);
    medium.remove(&first).unwrap();
    let opened = open(&medium, SEGMENT_BYTES).unwrap();
    assert_eq!(opened.recovery.damaged[0].reason, Reason::Before);
    assert!(opened.recovery.damaged_records > 0);
}

/// A segment that is damaged goes into the checkpoint as far as it can be read, and stays beside.
#[test]
fn a_damaged_segment_is_set_aside() {
    let (mut medium, mut opened, _) = filled(5, 150);
    let name = segments(&medium).remove(0);
    medium.flip(&name, 8 * 200);
    let distilled = distil(&mut opened).unwrap();
    assert_eq!(distilled.read.damaged_places, 1);
    assert!(medium.list().unwrap().contains(&format!("{name}.damaged")));
    drop(opened);
    assert_eq!(open(&medium, SEGMENT_BYTES).unwrap().recovery.damaged, []);
}

#[test]
fn other_checkpoints_are_refused() {
    let (mut medium, mut opened, _) = filled(5, 150);
    distil(&mut opened).unwrap();
    drop(opened);
    let name = checkpoints(&medium).remove(0);
    let other = "00000000000000000999.checkpoint";
    let mut bytes = read(&medium, &name);
    medium.edit(other, |file| file.clone_from(&bytes));
    let renamed = open(&medium, SEGMENT_BYTES).unwrap_err();
    assert!(matches!(&renamed, StoreError::Renamed { right_name, .. } if *right_name == name));
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    medium.remove(other).unwrap();
    medium.edit(&name, |file| file.clone_from(&bytes));
    let unknown = open(&medium, SEGMENT_BYTES).unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownVersion { found: 9, known: 1, .. }));
}

const V1: &[u8] = include_bytes!("vectors/v1.checkpoint");

/// A checkpoint of format 1 stays readable. It was made of the log below.
#[test]
fn format_1_is_read() {
    let (_, _, written) = filled(11, 60);
    let mut medium = Faulty::new(1);
    medium.edit("00000000000000000048.checkpoint", |bytes| bytes.extend_from_slice(V1));
    let opened = open(&medium, SEGMENT_BYTES).unwrap();
    // A segment always stands behind one.
    assert_eq!(opened.recovery.damaged_places, 1);
    assert_eq!(opened.recovery.damaged[0].reason, Reason::Missing);
    let covered: Vec<_> = written.into_iter().filter(|(position, _)| *position < 48).collect();
    assert_eq!(meaning(&opened.replayed), meaning(&covered));
    assert_eq!(opened.log.next_position(), Position(48));
}
