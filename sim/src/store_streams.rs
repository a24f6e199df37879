//! The double of a cluster's store: four streams without order between them.

use std::collections::VecDeque;

use bellbird_core::Message;
use bellbird_core::identity::{Holder, Lane, Position, Ticket};
use bellbird_core::record::Record;

use crate::plant::Plant;
use crate::rng::Rng;
use crate::store::{End, Report, Work};

/// Four streams in memory.
pub(crate) struct Streams {
    plant: Option<Plant>,
    /// On their way, in the order they were put.
    pending: VecDeque<Pending>,
    stored: [Vec<(Position, Record)>; STREAMS],
    reports: [VecDeque<Report>; STREAMS],
    next: u64,
}

struct Pending {
    key: Key,
    shard: usize,
    ticket: Ticket,
    record: Record,
}

/// What keeps its order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Append(Lane),
    Commit(Holder),
    Retain,
    Settings,
}

impl Streams {
    pub(crate) fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            pending: VecDeque::new(),
            stored: Default::default(),
            reports: Default::default(),
            next: 1,
        }
    }

    /// Replays the streams, interleaved at will.
    pub(crate) fn open(&mut self, rng: &mut Rng, replay: &mut dyn FnMut(Position, Record)) {
        let mut at = [0; STREAMS];
        loop {
            let open = (0..STREAMS).filter(|stream| at[*stream] < self.stored[*stream].len());
            let Some(stream) = rng.any(open) else { return };
            for _ in 0..rng.between(1, 40) {
                let Some((position, record)) = self.stored[stream].get(at[stream]) else { break };
                replay(*position, record.clone());
                at[stream] += 1;
            }
        }
    }

    pub(crate) fn put_first(&mut self, record: Record) {
        self.keep(Key::Settings, record);
    }

    pub(crate) fn put(&mut self, shard: usize, ticket: Ticket, record: Record) {
        let key = match &record {
            Record::Append(append) => Key::Append(append.lane),
            Record::Commit(commit) => Key::Commit(commit.holder),
            Record::Retain(_) => Key::Retain,
            Record::Settings(_) => Key::Settings,
        };
        if self.plant == Some(Plant::StoredBeforeSync) {
            let position = Position(self.next + self.pending.len() as u64);
            self.reports[key.stream()].push_back(Report {
                shard,
                first: ticket,
                count: 1,
                position,
            });
        }
        self.pending.push_back(Pending { key, shard, ticket, record });
    }

    pub(crate) fn work(&mut self, rng: &mut Rng) -> Work {
        let mut done = Work::Idle;
        for _ in 0..rng.between(1, 3) {
            if !self.store_one(rng) {
                break;
            }
            done = Work::Done;
        }
        done
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn has_reports(&self) -> bool {
        self.reports.iter().any(|reports| !reports.is_empty())
    }

    /// One record that nothing of its key stands before becomes stored.
    fn store_one(&mut self, rng: &mut Rng) -> bool {
        let firsts = self.pending.iter().enumerate().filter(|(index, pending)| {
            !self.pending.iter().take(*index).any(|before| before.key == pending.key)
        });
        let Some((index, _)) = rng.any(firsts) else { return false };
        let Some(Pending { key, shard, ticket, record }) = self.pending.remove(index) else {
            return false;
        };
        let position = self.keep(key, record);
        if self.plant != Some(Plant::StoredBeforeSync) {
            self.reports[key.stream()].push_back(Report {
                shard,
                first: ticket,
                count: 1,
                position,
            });
        }
        true
    }

    fn keep(&mut self, key: Key, record: Record) -> Position {
        let position = Position(self.next);
        self.next += 1;
        self.stored[key.stream()].push((position, record));
        position
    }

    pub(crate) fn report(&mut self, rng: &mut Rng) -> Option<Report> {
        let stream = rng.any((0..STREAMS).filter(|stream| !self.reports[*stream].is_empty()))?;
        self.reports[stream].pop_front()
    }

    pub(crate) fn fetch(&self, positions: &[Position]) -> Vec<Option<Message>> {
        let message = |position: &Position| {
            let appends = &self.stored[Key::Append(Lane(0)).stream()];
            let found = appends.binary_search_by_key(position, |(position, _)| *position).ok()?;
            appends[found].1.message().cloned()
        };
        positions.iter().map(message).collect()
    }

    pub(crate) fn is_stored(&self, shard: usize, ticket: Ticket) -> bool {
        !self.pending.iter().any(|pending| pending.shard == shard && pending.ticket == ticket)
    }

    pub(crate) fn end(&mut self, rng: &mut Rng, end: End) -> End {
        let kept = match end {
            End::Clean => self.pending.len(),
            End::Killed | End::PowerLost => rng.between(0, self.pending.len()),
        };
        for _ in 0..kept {
            self.store_one(rng);
        }
        self.pending.clear();
        self.reports = Default::default();
        end
    }
}

impl Key {
    fn stream(self) -> usize {
        match self {
            Self::Append(_) => 0,
            Self::Commit(_) => 1,
            Self::Retain => 2,
            Self::Settings => 3,
        }
    }
}

const STREAMS: usize = 4;
