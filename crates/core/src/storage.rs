//! How the log takes what must be stored, and what a shard does while it does not.
//!
//! While the disk is full only messages are concerned: what happens to sessions is small, is what
//! lets clients fetch what waits for them, and so brings room back.

use std::collections::VecDeque;

use bellbird_codec::{Publish, QoS, ReasonCode, Version};
use bellbird_topics::TopicName;

use crate::connection::{Cause, Parks};
use crate::contract::{Flow, Output};
use crate::durability::Durability;
use crate::event::Objection;
use crate::identity::{ConnectionId, Ticket, Time};
use crate::limits::WITHHELD_BYTES_MAX;
use crate::publish::{OldClients, Publisher, Refused};
use crate::record::Record;
use crate::release::StoredFor;
use crate::shard::Shard;
use crate::view::View;
use crate::will::is_ordered;

/// Whether the log takes what must be stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Storage {
    /// It does.
    #[default]
    Ready,
    /// The disk is full. No message is taken that must be stored: clients of 5.0 hear Quota
    /// exceeded, and the acknowledgements of the others are held until there is room. What is
    /// stored of sessions goes on, and so do messages that need no disk.
    Full,
    /// The log has failed, for good. Nothing durable is promised any more; what needs no disk
    /// goes on.
    Failed,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Full, Self::Failed];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }

    /// What whoever waits in vain is told.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::Full => ReasonCode::QuotaExceeded,
            Self::Ready | Self::Failed => ReasonCode::ImplementationSpecificError,
        }
    }
}

/// What waits for room, in its order. Full: no more messages are taken, and those that nobody
/// is answered for are not stored.
#[derive(Default, Debug)]
pub(crate) struct Withheld {
    waiting: VecDeque<Waiting>,
    /// The number of the front.
    first: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    /// It has no ticket yet, for tickets are consecutive.
    Record { waits: StoredFor, record: Record, durability: Durability },
    /// Its next packet is a message that must be stored.
    Connection(ConnectionId),
}

/// Whether somebody is to be told that a message is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Somebody,
    Nobody,
}

impl Withheld {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number that the next one will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }

    /// Who waits, from a number on, up to another.
    pub(crate) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = Waits<'_>> {
        let numbered = (self.first..).zip(&self.waiting);
        let some = numbered.filter(move |(number, _)| (from..to).contains(number));
        some.map(|(_, waiting)| match waiting {
            Waiting::Record { waits, .. } => Waits::For(waits),
            Waiting::Connection(id) => Waits::Itself(*id),
        })
    }

    /// Whether everything that waits came after this number was given.
    pub(crate) fn is_past(&self, number: u64) -> bool {
        self.waiting.is_empty() || self.first >= number
    }

    fn has_room(&self) -> bool {
        self.bytes < WITHHELD_BYTES_MAX
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.size_bytes();
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.first += 1;
        self.bytes -= waiting.size_bytes();
        Some(waiting)
    }
}

/// By whom something is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits<'a> {
    For(&'a StoredFor),
    Itself(ConnectionId),
}

impl Waiting {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Record { record: Record::Append(append), .. } => append.message.size_bytes(),
            Self::Record { record: Record::Retain(retain), .. } => {
                retain.message.as_ref().map_or(retain.topic.len(), |message| message.size_bytes())
            }
            Self::Record { record: Record::Commit(_) | Record::Settings(_), .. }
            | Self::Connection(_) => 0,
        }
    }
}

impl Shard {
    /// Has a record of a message stored, at once or when there is room. False if nobody will store
    /// it: then it must not be waited for.
    pub(crate) fn store_message(
        &mut self,
        waits: StoredFor,
        record: Record,
        durability: Durability,
        told: Told,
    ) -> bool {
        if self.storage == Storage::Ready {
            self.hand_out(waits, record, durability);
            return true;
        }
        let may_wait = self.storage == Storage::Full && self.withheld.has_room();
        if may_wait || told == Told::Somebody {
            // Of those whose publisher is told there are as many as it may have under way.
            self.withheld.push(Waiting::Record { waits, record, durability });
            return true;
        }
        false
    }

    pub(crate) fn hand_out(
        &mut self,
        waits: StoredFor,
        record: Record,
        durability: Durability,
    ) -> Ticket {
        let ticket = self.releases.ticket(waits);
        self.clients.outputs.push_back(Output::Store { ticket, record, durability });
        ticket
    }

    /// The log takes more or less than before.
    pub(crate) fn storage_is(&mut self, storage: Storage) {
        if self.storage == Storage::Failed {
            return;
        }
        self.storage = storage;
        match storage {
            Storage::Full => {}
            Storage::Ready => {
                while let Some(waiting) = self.withheld.pop() {
                    match waiting {
                        Waiting::Record { waits, record, durability } => {
                            self.hand_out(waits, record, durability);
                        }
                        Waiting::Connection(id) => self.resume(id, Parks::ROOM),
                    }
                }
            }
            // What has a place waits until the limit ends its connection; the others hear it now.
            Storage::Failed => {
                let numbers = self.withheld.between(0, u64::MAX);
                let held_back = numbers.filter_map(|waits| match waits {
                    Waits::Itself(id) => Some(id),
                    Waits::For(_) => None,
                });
                for id in held_back.collect::<Vec<_>>() {
                    self.resume(id, Parks::ROOM);
                }
            }
        }
    }

    /// What becomes of a PUBLISH while the log does not take messages; none if it goes on. It is
    /// decided before anybody has the message, so that a second try doubles nothing.
    pub(crate) fn without_disk(
        &mut self,
        now: Time,
        publisher: Publisher,
        refused: &Refused<'_>,
        is_delayed: bool,
        view: &dyn View,
    ) -> Option<Flow> {
        let Publish { qos, retain, .. } = *refused.packet;
        if !(is_delayed || retain || self.is_to_be_stored(publisher, qos, refused.topic, view)) {
            return None;
        }
        if qos == QoS::AtMostOnce {
            // It is sent to whoever is there, and not kept.
            self.clients.traffic.unstored += 1;
            return is_delayed.then_some(Flow::Continue);
        }
        match (publisher.version, self.storage) {
            (Version::V31 | Version::V311, Storage::Full | Storage::Ready) => {
                if self.withheld.has_room() {
                    return None;
                }
                self.withheld.push(Waiting::Connection(publisher.id));
                let connection = self.clients.connections.live(publisher.id)?;
                connection.parks.add(Parks::ROOM);
                Some(Flow::Again)
            }
            (Version::V31 | Version::V311, Storage::Failed) => {
                self.clients.traffic.storage_refused += 1;
                self.disconnect(now, publisher.id, self.storage.reason(), Cause::Storage);
                Some(Flow::Park)
            }
            (Version::V5, _) => {
                self.clients.traffic.storage_refused += 1;
                let objection = match self.storage {
                    Storage::Full | Storage::Ready => Objection::DiskFull,
                    Storage::Failed => Objection::LogFailed,
                };
                let refused = Refused { objection, ..*refused };
                Some(self.refuse_publish(now, publisher.id, &refused, OldClients::AreClosed))
            }
        }
    }

    fn is_to_be_stored(
        &mut self,
        publisher: Publisher,
        qos: QoS,
        topic: TopicName<'_>,
        view: &dyn View,
    ) -> bool {
        is_ordered(qos)
            && (publisher.records(qos)
                || self.routes.find(publisher.namespace, topic, view).is_stored)
    }
}
