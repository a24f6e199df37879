//! Where records become durable: the real log on a faulty medium, or four unordered streams.

use bellbird_core::identity::{Position, Ticket};
use bellbird_core::record::Record;
use bellbird_core::{Durability, Message};

use crate::plant::Plant;
use crate::power::Trace;
use crate::rng::Rng;
use crate::store_log::LogStore;
use crate::store_streams::Streams;

/// Which store a run uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// `bellbird_store::Log` over its medium in memory.
    Log,
    /// The double of a cluster: order within a lane, within one holder's commits and within the
    /// retained messages, and no other.
    Streams,
}

pub(crate) enum Store {
    Log(Box<LogStore>),
    Streams(Box<Streams>),
}

/// Records of one shard that are stored: what `Input::Stored` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) shard: usize,
    pub(crate) first: Ticket,
    pub(crate) count: u32,
    pub(crate) position: Position,
}

impl Report {
    pub(crate) fn tickets(self) -> impl Iterator<Item = Ticket> {
        (self.first.0..).take(self.count as usize).map(Ticket)
    }
}

/// How a step of the store went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// There was nothing to do.
    Idle,
    /// Something came closer to being stored.
    Done,
    /// The disk has no room; the same is tried again.
    Full,
    /// The disk failed; the process has to end.
    Failed,
}

/// How a node's life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Everything was stored before.
    Clean,
    /// The process is killed, the machine lives.
    Killed,
    /// The power fails.
    PowerLost,
}

impl Store {
    pub(crate) fn new(kind: StoreKind, seed: u64, plant: Option<Plant>) -> Self {
        match kind {
            StoreKind::Log => Self::Log(Box::new(LogStore::new(seed, plant))),
            StoreKind::Streams => Self::Streams(Box::new(Streams::new(plant))),
        }
    }

    /// From now on everything is written down that happens on the disk.
    pub(crate) fn record(&mut self) {
        match self {
            Self::Log(log) => log.record(),
            Self::Streams(_) => {}
        }
    }

    /// What was written down.
    pub(crate) fn take_trace(&mut self) -> Option<Trace> {
        match self {
            Self::Log(log) => log.take_trace(),
            Self::Streams(_) => None,
        }
    }

    /// Reads all records, then stores the first one of this start.
    pub(crate) fn open(
        &mut self,
        rng: &mut Rng,
        shards: usize,
        replay: &mut dyn FnMut(Position, Record),
    ) -> Result<(), String> {
        match self {
            Self::Log(log) => log.open(rng, shards, replay),
            Self::Streams(streams) => {
                streams.open(rng, replay);
                Ok(())
            }
        }
    }

    /// Stores the record that makes this start known, before anything else happens.
    pub(crate) fn put_first(&mut self, record: &Record) -> Result<(), String> {
        match self {
            Self::Log(log) => log.put_first(record),
            Self::Streams(streams) => {
                streams.put_first(record.clone());
                Ok(())
            }
        }
    }

    pub(crate) fn put(
        &mut self,
        shard: usize,
        ticket: Ticket,
        record: Record,
        durability: Durability,
    ) {
        match self {
            Self::Log(log) => log.put(shard, ticket, &record, durability),
            Self::Streams(streams) => streams.put(shard, ticket, record),
        }
    }

    /// One step towards being stored.
    pub(crate) fn work(&mut self, rng: &mut Rng) -> Work {
        match self {
            Self::Log(log) => log.work(rng),
            Self::Streams(streams) => streams.work(rng),
        }
    }

    /// A report that is due.
    pub(crate) fn report(&mut self, rng: &mut Rng) -> Option<Report> {
        match self {
            Self::Log(log) => log.report(rng),
            Self::Streams(streams) => streams.report(rng),
        }
    }

    /// The messages at these positions, with none for what is not to be found; nothing if some
    /// are not written yet.
    pub(crate) fn fetch(&self, positions: &[Position]) -> Option<Vec<Option<Message>>> {
        match self {
            Self::Log(log) => log.fetch(positions),
            Self::Streams(streams) => Some(streams.fetch(positions)),
        }
    }

    /// Whether the record of this ticket is stored as its level demands, reported or not.
    pub(crate) fn is_stored(&self, shard: usize, ticket: Ticket) -> bool {
        match self {
            Self::Log(log) => log.is_stored(shard, ticket),
            Self::Streams(streams) => streams.is_stored(shard, ticket),
        }
    }

    /// Whether everything that was put is stored.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Log(log) => log.is_idle(),
            Self::Streams(streams) => streams.is_idle(),
        }
    }

    /// Whether everything is stored, and the shards know.
    pub(crate) fn is_at_rest(&self) -> bool {
        let has_reports = match self {
            Self::Log(log) => log.has_reports(),
            Self::Streams(streams) => streams.has_reports(),
        };
        !has_reports && self.is_idle()
    }

    /// How many checkpoints were made since this was asked last.
    pub(crate) fn take_checkpoints(&mut self) -> u64 {
        match self {
            Self::Log(log) => log.take_checkpoints(),
            Self::Streams(_) => 0,
        }
    }

    /// The disk is full now and then.
    pub(crate) fn make_scarce(&mut self) {
        match self {
            Self::Log(log) => log.make_scarce(),
            Self::Streams(_) => {}
        }
    }

    /// No faults from now on but crashes.
    pub(crate) fn calm(&mut self) {
        match self {
            Self::Log(log) => log.calm(),
            Self::Streams(_) => {}
        }
    }

    /// Ends the node's life. Returns how it really went.
    pub(crate) fn end(&mut self, rng: &mut Rng, end: End) -> End {
        match self {
            Self::Log(log) => log.end(rng, end),
            Self::Streams(streams) => streams.end(rng, end),
        }
    }
}
