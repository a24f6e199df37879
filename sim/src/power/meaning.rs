//! What records mean, however they are put: two logs that mean the same give the same node.

use std::sync::Arc;

use bellbird_core::identity::{Position, ShardId, Time};
use bellbird_core::permit::Gate;
use bellbird_core::record::{Record, Retain};
use bellbird_core::recovery::{Distiller, Found, Recovery};
use bellbird_core::{Change, Config, Shard};

/// What some records mean.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Meaning {
    /// What is left of them, at its position; at 0 what only counts in its order.
    essence: Vec<(Position, Record)>,
    node: Node,
}

/// A node that starts from them.
#[derive(PartialEq, Eq, Debug)]
struct Node {
    found: Found,
    last_time: Time,
    last_order: u64,
    first_record: Record,
    changes: Vec<Change>,
    /// How many deliveries wait on each shard, and what it will do next.
    shards: Vec<(u64, Option<Time>)>,
}

impl Meaning {
    pub(crate) fn of(records: &[(Position, Record)]) -> Self {
        Self { essence: essence(records), node: Node::of(records) }
    }

    /// In what it differs from another one, in a few words.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let without = |these: &Self, those: &Self| {
            let missing = these.essence.iter().filter(|record| !those.essence.contains(record));
            cut(format!("{:?}", missing.take(3).collect::<Vec<_>>()))
        };
        let (missing, more) = (without(other, self), without(self, other));
        let node = if self.node == other.node {
            String::new()
        } else {
            let (is, was) = (format!("{:?}", self.node), format!("{:?}", other.node));
            format!("; the node is {} and not {}", cut(is), cut(was))
        };
        format!("missing {missing}, not expected {more}{node}")
    }
}

impl Node {
    fn of(records: &[(Position, Record)]) -> Self {
        let mut recovery = Recovery::new();
        records.iter().for_each(|(position, record)| recovery.replay(*position, record.clone()));
        let config = Arc::new(Config { shards: SHARDS, ..Config::default() });
        let last_time = recovery.last_time();
        let message = |wanted: &Position| {
            let mut found = records.iter().filter(|(position, _)| position == wanted);
            found.find_map(|(_, record)| record.message().cloned())
        };
        let recovered = recovery
            .finish(last_time, &config, &mut |positions| positions.iter().map(message).collect());
        let gate = Arc::new(Gate::default());
        let shards = (0..).map(ShardId).zip(recovered.shards).map(|(id, state)| {
            let shard = Shard::new(id, Arc::clone(&config), Arc::clone(&gate), state);
            (shard.waiting(), shard.poll_timeout())
        });
        Self {
            found: recovered.found,
            last_time,
            last_order: recovered.last_order,
            shards: shards.collect(),
            first_record: recovered.first_record,
            changes: recovered.changes,
        }
    }
}

fn essence(records: &[(Position, Record)]) -> Vec<(Position, Record)> {
    let mut distiller = Distiller::new();
    records.iter().for_each(|(position, record)| distiller.note(*position, record.clone()));
    let essence = distiller.distil();
    let state = essence.state().map(|record| (Position(0), record));
    let kept = records.iter().filter_map(|(position, record)| {
        Some((*position, essence.keep(*position, record.clone())?))
    });
    state.chain(kept).filter(|(_, record)| counts(record)).collect()
}

/// That a topic was cleared is known for a while only.
fn counts(record: &Record) -> bool {
    !matches!(record, Record::Retain(Retain { message: None, .. }))
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

const SHARDS: u8 = 2;
/// A page is enough to see what it is about.
const TEXT_MAX: usize = 1_500;
