//! A start from records that the log holds, whatever they say.

use bellbird_core::record::{Operation, Record};
use bellbird_core::{Config, Holder, Message, Time};

use super::node::Node;
use super::segment::{self, NOW};
use crate::outcome::{Outcome, rough};

/// Bodies behind a kind and a length each. What the log reads as records starts a node, which
/// lives for some time, stops, and leaves records that start the next one.
pub(super) fn recovery(bytes: &[u8]) -> Outcome {
    let Some((head, mut rest)) = bytes.split_first() else { return Outcome::NONE };
    let mut bodies = Vec::new();
    while let [kind, len, behind @ ..] = rest {
        let (body, behind) = behind.split_at(behind.len().min((*len).into()));
        bodies.push((*kind % 5, body));
        rest = behind;
    }
    let opened = segment::open(&segment::log_of(&bodies)).expect("the medium has no faults");
    let records = opened.records.into_iter().map(|(_, record)| record);
    let records: Vec<Record> = records.filter(has_room).collect();
    let count = records.len();
    let config = Config { shards: 1 + head % 3, ..Config::default() };
    let mut node = Node::start(config.clone(), false, records, NOW);
    node.reads_packets = false;
    node.check_ledger();
    let found = node.found;
    let ledger = node.ledger();
    node.wait(1 << (head >> 3));
    node.check_ledger();
    node.stop();
    node.check_ledger();
    let node = node.crash();
    node.check_ledger();
    assert_eq!(node.found.starts, found.starts.saturating_add(1));
    let dropped = ledger.dropped.map(|count| count.min(1));
    Outcome::of(&(found.sessions.min(3), found.subscriptions.min(3)))
        .and(&(found.deliveries.min(3), found.retained.min(3)))
        .and(&(rough(count), dropped))
        .and_bits(node.seen)
}

/// Whether its numbers are some that a node can count on from: a broker that writes others has
/// counted for centuries.
fn has_room(record: &Record) -> bool {
    let holder =
        |holder: &Holder| holder.number <= u64::MAX / 2 && holder.incarnation <= u32::MAX / 2;
    let time = |time: Time| time.0 <= u64::MAX / 2;
    let message = |message: &Message| message.expires_at.is_none_or(time);
    match record {
        Record::Append(append) => {
            let received = append.received.map(|received| received.holder);
            time(append.at)
                && message(&append.message)
                && append.holders.iter().all(|delivery| holder(&delivery.holder))
                && received.is_none_or(|it| holder(&it))
                && append.retained.is_none_or(|order| order <= u64::MAX / 2)
        }
        Record::Commit(commit) => {
            let operation = |operation: &Operation| match operation {
                Operation::Will { message: will, .. } => message(will),
                Operation::Handed { to, .. } => holder(to),
                _ => true,
            };
            holder(&commit.holder)
                && commit.epoch <= u32::MAX / 2
                && time(commit.at)
                && commit.operations.iter().all(operation)
        }
        Record::Retain(retain) => {
            let retained = retain.message.as_ref().is_none_or(message);
            retain.order <= u64::MAX / 2 && time(retain.at) && retained
        }
        Record::Settings(_) => true,
    }
}
