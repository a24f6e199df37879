//! A workload of the log alone: few clients, records of up to some hundred kilobytes, and a disk
//! that fails now and then.

use bellbird_codec::QoS;
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::record::{Append, Commit, Delivery, Operation, Record, Retain, Settings};
use bellbird_core::subscription::SubscriptionIds;
use bellbird_core::{Message, MessageParts};
use bellbird_store::{Batch, Fault, Faulty, Log, Options};
use bellbird_topics::{Namespace, TopicName};

use super::trace::{Mark, Marks, Trace};
use crate::rng::Rng;
use crate::rot::{Rot, Rotten, keep};

pub(crate) fn record(seed: u64, rot: Option<Rot>) -> Result<Trace, String> {
    let mut rng = Rng::new(seed ^ 0x6c61_7267_6500);
    let mut disk = Faulty::new(rng.next());
    disk.record();
    let mut marks = Marks::default();
    let mut broker = Broker::default();
    for life in 0..rng.between(2, 5) {
        let options = Options { segment_bytes: *rng.pick(&[3_000, 200_000, 1 << 20]) };
        let medium = Rotten::new(disk.clone(), rot);
        let opened = Log::open(medium, options, &mut |_, _| {});
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            // What was recorded so far has to show it.
            Err(_) if rot.is_some() => break,
            Err(error) => return Err(format!("it does not open: {error}")),
        };
        if recovery.damaged_places > 0 && rot.is_none() {
            return Err(format!("damage: {recovery}"));
        }
        let next = log.next_position();
        marks.push(&disk, Mark::Opened { next });
        broker.forget_from(next);
        live(log, &mut disk, &mut marks, &mut broker, &mut rng, rot);
        if life % 2 == 0 { disk.crash(rng.next()) } else { disk.kill() }
    }
    Ok(Trace::new(&disk, marks))
}

/// One life: until it has had enough, or something fails.
fn live(
    mut log: Log<Rotten>,
    disk: &mut Faulty,
    marks: &mut Marks,
    broker: &mut Broker,
    rng: &mut Rng,
    rot: Option<Rot>,
) {
    let syncs = *rng.pick(&[15, 40, 80]);
    for _ in 0..rng.between(5, 25) {
        if rng.below(30) == 0 {
            let room = rng.below(100_000);
            let faults =
                [Fault::Sync, Fault::SyncDirectory, Fault::Space(room), Fault::ShortAppend(room)];
            disk.inject(*rng.pick(&faults));
        }
        let first = log.next_position();
        let records: Vec<Record> = (0..rng.between(1, 4))
            .map(|index| broker.record(Position(first.0 + index as u64), rng))
            .collect();
        let mut batch = Batch::new();
        records.iter().for_each(|record| batch.push(record));
        marks.push(disk, Mark::Appending { records });
        if log.append(&[&batch], &mut Vec::new()).is_err() {
            return;
        }
        if rng.chance(syncs) {
            if log.sync().is_err() {
                return;
            }
            marks.push(disk, Mark::Stored { next: log.next_position() });
        }
        if rng.chance(30)
            && let Some(preallocation) = log.preallocation()
            && let Ok(file) = preallocation.run(log.medium(), &|| true)
        {
            log.preallocated(file);
        }
        if rng.chance(30)
            && let Some(distillation) = log.distillation()
            && let Ok(distilled) =
                distillation.run_with(log.medium(), &|| true, &mut |essence, position, record| {
                    keep(rot, essence, position, record)
                })
        {
            log.distilled(&distilled);
            marks.push(disk, Mark::Checkpoint);
        }
    }
}

/// What its clients make it say. It knows which positions its records will have.
#[derive(Default)]
struct Broker {
    sessions: u64,
    opened_at: Vec<(Position, Holder)>,
    waiting: Vec<(Position, Holder)>,
    messages: u64,
    order: u64,
}

impl Broker {
    /// What stood there was never stored.
    fn forget_from(&mut self, next: Position) {
        self.opened_at.retain(|(position, _)| *position < next);
        self.waiting.retain(|(position, _)| *position < next);
    }

    fn record(&mut self, position: Position, rng: &mut Rng) -> Record {
        if self.opened_at.is_empty() || rng.chance(5) {
            return self.open(position);
        }
        match rng.below(10) {
            0 => Record::Settings(Settings {
                key: format!("number.{}", rng.below(3)).into(),
                value: vec![7; some_bytes(rng)].into(),
            }),
            1 | 2 => {
                self.order += 1;
                let topic = format!("kept/{}", rng.below(3));
                let message = rng.chance(70).then(|| self.message(&topic, some_bytes(rng)));
                let (order, at) = (self.order, self.now());
                Record::Retain(Retain {
                    order,
                    at,
                    namespace: Namespace(0),
                    topic: topic.into(),
                    message,
                })
            }
            3..=5 if !self.waiting.is_empty() => {
                let (at, holder) = self.waiting.remove(rng.below(self.waiting.len()));
                self.commit(holder, Operation::Done { delivery: DeliveryId::own(at) })
            }
            _ => self.publish(position, rng),
        }
    }

    fn open(&mut self, position: Position) -> Record {
        self.sessions += 1;
        let holder = Holder { number: self.sessions, incarnation: 1 };
        self.opened_at.push((position, holder));
        let client_id = format!("client {}", self.sessions).into();
        let operation = Operation::Open {
            namespace: Namespace(0),
            client_id,
            user_name: None,
            expiry_secs: u32::MAX,
        };
        self.commit(holder, operation)
    }

    fn publish(&mut self, position: Position, rng: &mut Rng) -> Record {
        let holders: Vec<Holder> = self
            .opened_at
            .iter()
            .filter(|(at, _)| *at < position)
            .map(|(_, holder)| *holder)
            .filter(|_| rng.chance(50))
            .collect();
        self.waiting.extend(holders.iter().map(|holder| (position, *holder)));
        let deliver = |holder: Holder| Delivery {
            holder,
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIds::default(),
        };
        Record::Append(Append {
            lane: Lane(1),
            at: self.now(),
            message: self.message("plant/picture", some_bytes(rng)),
            holders: holders.into_iter().map(deliver).collect(),
            received: None,
            retained: None,
        })
    }

    fn message(&mut self, topic: &str, bytes: usize) -> Message {
        self.messages += 1;
        // Bytes that differ from sector to sector, and none of them 0.
        let payload: Vec<u8> =
            (0..bytes).map(|at| u8::try_from((at / 97 + at % 13) % 255 + 1).unwrap_or(1)).collect();
        Message::new(&MessageParts {
            id: MessageId { start: 1, shard: 0, counter: self.messages },
            namespace: Namespace(0),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            topic: TopicName::parse(topic).expect("a topic name"),
            properties: &[],
            payload: &payload,
        })
    }

    fn commit(&self, holder: Holder, operation: Operation) -> Record {
        Record::Commit(Commit { holder, epoch: 1, at: self.now(), operations: vec![operation] })
    }

    fn now(&self) -> Time {
        Time(1_700_000_000_000 + self.messages)
    }
}

/// Mostly small, some of a few sectors, some beyond what zeros are written ahead for.
fn some_bytes(rng: &mut Rng) -> usize {
    let most = *rng.pick(&[60, 60, 600, 3_000, 3_000, 70_000, 300_000]);
    rng.below(most)
}
