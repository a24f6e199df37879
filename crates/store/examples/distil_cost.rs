//! What a checkpoint costs: writes messages that are delivered and done, and distils them.
//!
//! `cargo run --release --example distil_cost -- DIR [MESSAGES]`

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use bellbird_codec::QoS;
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{Append, Commit, Delivery, Operation, Record};
use bellbird_core::subscription::SubscriptionIds;
use bellbird_store::{Batch, Files, Log, Options};
use bellbird_topics::{Namespace, TopicName};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data: PathBuf = arguments.next().ok_or("name a directory")?.into();
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |number| number.parse())?;
    let files = Files::open(&data)?;
    let (mut log, _) = Log::open(files, Options::default(), &mut |_, _| {})?;
    let mut batch = Batch::new();
    for turn in 0..messages / TURN {
        batch.clear();
        let first = log.next_position().0;
        (0..TURN).for_each(|number| batch.push(&append(turn, number)));
        for session in 0..SESSIONS {
            batch.push(&commit(session, first));
        }
        log.append(&[&batch], &mut Vec::new())?;
    }
    log.sync()?;
    let begun = Instant::now();
    let distilled = log.distillation_of_all().run(log.medium(), &|| true)?;
    let elapsed = begun.elapsed();
    println!(
        "{} bytes became {} in {elapsed:?}, {} ns for each message",
        distilled.read_bytes,
        distilled.bytes,
        elapsed.as_nanos() / u128::from(messages)
    );
    Ok(())
}

fn append(turn: u64, number: u64) -> Record {
    let topic = TopicName::parse("bench/durable/17").expect("a topic name");
    let message = Message::new(&MessageParts {
        id: MessageId { start: 1, shard: 0, counter: turn * TURN + number },
        namespace: Namespace::default(),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        topic,
        properties: &[],
        payload: &[7; 16],
    });
    let holder = Holder { number: 1 + number % SESSIONS, incarnation: 1 };
    let ids = SubscriptionIds::default();
    Record::Append(Append {
        lane: Lane(5),
        at: Time(1_700_000_000_000),
        message,
        holders: vec![Delivery { holder, qos: QoS::AtLeastOnce, retain: false, ids }].into(),
        received: None,
        retained: None,
    })
}

fn commit(session: u64, first: u64) -> Record {
    let done =
        |number: u64| Operation::Done { delivery: DeliveryId::own(Position(first + number)) };
    Record::Commit(Commit {
        holder: Holder { number: 1 + session, incarnation: 1 },
        epoch: 1,
        at: Time(1_700_000_000_000),
        operations: (0..TURN).filter(|number| number % SESSIONS == session).map(done).collect(),
    })
}

const TURN: u64 = 200;
const SESSIONS: u64 = 10;
