//! What is left of the beginning of a log: the same state in as few records as it takes.
//!
//! A log whose beginning was distilled gives the same node as the whole log did, whatever comes
//! behind. That holds for a log in files, where a record that speaks of a message or a holder
//! stands behind the one that made it, and the commits of one holder stand in their order.

use std::collections::BTreeSet;

use bellbird_codec::{PacketId, QoS};
use bellbird_topics::{Namespace, TopicName};

use super::holder::HolderState;
use super::{Holders, Recovery};
use crate::delaying::DELAYED;
use crate::identity::{DeliveryId, Holder, MessageId, Position, Time};
use crate::message::{Message, MessageParts};
use crate::record::{Append, Commit, Operation, Record, Retain, Settings};

/// Takes the records of a log's beginning, and keeps no message while it does.
pub struct Distiller {
    recovery: Recovery,
}

/// What is left. It tells the records that say so.
pub struct Essence {
    recovery: Recovery,
    /// A topic that was cleared at this time or later stays so: the record of an older set may
    /// come behind the end of what is distilled, from another shard, but never so late.
    recent: Time,
}

impl Distiller {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self { recovery: Recovery { stand_in: Some(stand_in()), ..Recovery::default() } }
    }

    /// Takes the next record.
    pub fn note(&mut self, position: Position, record: Record) {
        self.recovery.replay(position, record);
    }

    /// A message was there whose deliveries are all over. Of it only its time and the highest
    /// number of its holders are known.
    pub fn pass_over(&mut self, at: Time, number: u64) {
        self.recovery.last_time = self.recovery.last_time.max(at);
        self.recovery.last_number = self.recovery.last_number.max(number);
    }

    /// Everything was read.
    pub fn distil(mut self) -> Essence {
        let superseding = self.recovery.forget_superseded();
        self.recovery.forget_handed();
        let is_known = |holder: &Holder, state: &HolderState| {
            let lives = !state.ended && (state.client.is_some() || state.group.is_some());
            lives || *holder == DELAYED || !state.handed.is_empty() || superseding.contains(holder)
        };
        self.recovery.holders.retain(|holder, state| is_known(holder, state));
        let recent = Time(self.recovery.last_time.0.saturating_sub(STRAGGLERS_MS));
        Essence { recovery: self.recovery, recent }
    }
}

impl Default for Distiller {
    fn default() -> Self {
        Self::new()
    }
}

impl Essence {
    /// The records that say what is left of all that is no message. Their order counts, their
    /// position does not.
    pub fn state(&self) -> impl Iterator<Item = Record> + '_ {
        let settings = self.recovery.settings.iter().map(|(key, value)| {
            Record::Settings(Settings { key: key.clone(), value: value.clone() })
        });
        let commits = self.recovery.holders.iter().filter_map(|(holder, state)| {
            let operations = state.operations(&self.recovery.holders, *holder);
            // When it left says nothing more of one that ended.
            let at = state.left_at.filter(|_| !state.ended).unwrap_or_default();
            let commit = Commit { holder: *holder, epoch: state.epoch, at, operations };
            (!commit.operations.is_empty()).then_some(Record::Commit(commit))
        });
        std::iter::once(self.recovery.heights()).chain(settings).chain(commits)
    }

    /// What is left of the record that stood there; it keeps its position.
    pub fn keep(&self, position: Position, record: Record) -> Option<Record> {
        match record {
            Record::Append(append) => self.keep_append(position, append).map(Record::Append),
            Record::Retain(retain) => {
                let Retain { namespace, topic, order, message, at } = &retain;
                let is_kept = message.is_some() || *at >= self.recent;
                (is_kept && self.is_last(*namespace, topic, *order, position))
                    .then_some(Record::Retain(retain))
            }
            Record::Commit(_) | Record::Settings(_) => None,
        }
    }

    fn keep_append(&self, position: Position, mut append: Append) -> Option<Append> {
        let holders = &self.recovery.holders;
        let own = DeliveryId::own(position);
        append.holders.retain(|delivery| {
            holders.get(&delivery.holder).is_some_and(|state| state.queue.contains(&own))
        });
        append.received = append.received.filter(|received| {
            let state = holders.get(&received.holder);
            state.is_some_and(|state| state.received.contains_key(&position))
        });
        let message = &append.message;
        append.retained = append.retained.filter(|order| {
            let is_kept = !message.payload().is_empty() || append.at >= self.recent;
            is_kept && self.is_last(message.namespace, message.topic().as_str(), *order, position)
        });
        let is_left =
            !append.holders.is_empty() || append.received.is_some() || append.retained.is_some();
        is_left.then_some(append)
    }

    fn is_last(&self, namespace: Namespace, topic: &str, order: u64, position: Position) -> bool {
        let last = self.recovery.retained.get(&(namespace, topic.into()));
        last.is_some_and(|last| last.order == order && last.position == position)
    }
}

impl Recovery {
    /// An older incarnation ends with the next of the same client. Only its will is still owed.
    /// Returns the newer ones of those: without them the older would live again.
    fn forget_superseded(&mut self) -> BTreeSet<Holder> {
        let newest = self.newest_holders();
        let mut superseding = BTreeSet::new();
        for (holder, state) in &mut self.holders {
            let Some(next) = state.client.as_ref().and_then(|client| newest.get(client)) else {
                continue;
            };
            if next != holder && !state.ended {
                state.forget_deliveries();
                state.ended = state.will.is_none();
                if !state.ended {
                    superseding.insert(*next);
                }
            }
        }
        superseding
    }

    /// What a group gave to a member is over when the member is done with it, or over itself.
    fn forget_handed(&mut self) {
        let mut over = Vec::new();
        for (group, state) in &self.holders {
            for (position, (to, ..)) in &state.handed {
                let id = DeliveryId { position: *position, of: Some(*group) };
                let lives = |member: &HolderState| {
                    !member.ended && member.client.is_some() && !member.done.contains(&id)
                };
                let is_live = state.queue.contains(&DeliveryId::own(*position))
                    && self.holders.get(to).is_some_and(lives);
                if !is_live {
                    over.push((*group, *position));
                }
            }
        }
        for (group, position) in over {
            if let Some(state) = self.holders.get_mut(&group) {
                state.handed.remove(&position);
                state.queue.remove(&DeliveryId::own(position));
            }
        }
    }

    /// The highest numbers ever given, though the records with them are gone.
    fn heights(&self) -> Record {
        let heights = [self.last_time.0, self.last_number, self.last_order];
        let value = heights.into_iter().flat_map(u64::to_le_bytes).collect();
        Record::Settings(Settings { key: HEIGHTS.into(), value })
    }

    /// Takes in what [`Recovery::heights`] told.
    pub(super) fn rise_to(&mut self, value: &[u8]) {
        let mut heights = value
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes")));
        let mut next = || heights.next().unwrap_or_default();
        self.last_time = self.last_time.max(Time(next()));
        self.last_number = self.last_number.max(next());
        self.last_order = self.last_order.max(next());
    }
}

impl HolderState {
    /// The operations that make an empty holder this one, but for the messages it waits for.
    fn operations(&self, all: &Holders, holder: Holder) -> Vec<Operation> {
        let mut operations = Vec::new();
        if let Some((namespace, client_id)) = &self.client {
            operations.push(Operation::Open {
                namespace: *namespace,
                client_id: client_id.clone(),
                user_name: self.user_name.clone(),
                expiry_secs: self.expiry_secs,
            });
        }
        if let Some(name) = &self.group {
            let (namespace, name) = (name.namespace, name.name.clone());
            operations.push(Operation::Found { namespace, name });
        }
        if let Some(will) = &self.will {
            operations.push(Operation::Will {
                message: will.message.clone(),
                expiry_secs: will.expiry_secs,
                delay_secs: will.delay_secs,
            });
        }
        for (filter, subscription) in &self.subscriptions {
            let (filter, subscription) = (filter.clone(), *subscription);
            operations.push(Operation::Subscribe { filter, subscription });
        }
        let reserved = PacketId::new(self.reserved);
        operations.extend(reserved.map(|through| Operation::Reserved { through }));
        let holding = |packet_id: &_| Operation::Holding { packet_id: *packet_id };
        operations.extend(self.held.iter().map(holding));
        let is_live = |id: &DeliveryId| match id.of {
            None => self.queue.contains(id),
            Some(group) => all.get(&group).is_some_and(|group| {
                group.handed.get(&id.position).is_some_and(|(to, ..)| *to == holder)
            }),
        };
        let sending = self.sending.iter().filter(|(id, _)| is_live(id));
        operations.extend(
            sending
                .map(|(id, packet_id)| Operation::Sending { delivery: *id, packet_id: *packet_id }),
        );
        let had = self.had.iter().filter(|id| is_live(id));
        operations.extend(had.map(|id| Operation::Had { delivery: *id }));
        for (position, (to, retain, ids)) in &self.handed {
            operations.push(Operation::Handed {
                position: *position,
                to: *to,
                retain: *retain,
                ids: ids.clone(),
            });
        }
        if self.ended {
            operations.push(Operation::End);
        } else if self.left_at.is_some() {
            operations.push(Operation::Leave { expiry_secs: self.expiry_secs });
        }
        operations
    }

    fn forget_deliveries(&mut self) {
        self.queue.clear();
        self.received.clear();
        self.subscriptions.clear();
        self.sending.clear();
        self.had.clear();
        self.held.clear();
    }
}

pub(super) fn stand_in() -> Message {
    let topic = TopicName::parse("-").expect("a topic name");
    Message::new(&MessageParts {
        id: MessageId { start: 0, shard: 0, counter: 0 },
        namespace: Namespace::default(),
        qos: QoS::AtMostOnce,
        retain: false,
        expires_at: None,
        topic,
        properties: &[],
        payload: &[],
    })
}

/// Shards hand in their records within a turn, and a turn takes milliseconds.
const STRAGGLERS_MS: u64 = 60_000;

/// The setting that keeps the highest numbers.
pub(super) const HEIGHTS: &str = "node.heights";

#[cfg(test)]
mod tests {
    use super::super::STARTS;
    use super::*;

    fn commit(number: u64, at: u64, operations: Vec<Operation>) -> Record {
        let holder = Holder { number, incarnation: 1 };
        Record::Commit(Commit { holder, epoch: 3, at: Time(at), operations })
    }

    fn open(client_id: &str) -> Operation {
        Operation::Open {
            namespace: Namespace::default(),
            client_id: client_id.into(),
            user_name: None,
            expiry_secs: 60,
        }
    }

    /// Numbers must never be given twice, nor may the clock go back or an expiry begin anew,
    /// though the records that showed them are gone.
    #[test]
    fn what_no_record_shows_any_more_is_known() {
        let mut distiller = Distiller::new();
        let cleared = Retain {
            order: 7,
            at: Time(20),
            namespace: Namespace::default(),
            topic: "t".into(),
            message: None,
        };
        let records = [
            commit(5, 10, vec![open("stays")]),
            commit(5, 12, vec![Operation::Leave { expiry_secs: 60 }]),
            commit(9, 500, vec![open("ends")]),
            commit(9, 501, vec![Operation::End]),
            Record::Retain(cleared),
        ];
        for (position, record) in (1..).map(Position).zip(records) {
            distiller.note(position, record);
        }
        let essence = distiller.distil();
        let state: Vec<Record> = essence.state().collect();
        let mut again = Recovery::new();
        state.iter().for_each(|record| again.replay(Position(0), record.clone()));
        assert_eq!((again.last_time, again.last_number, again.last_order), (Time(501), 9, 7));
        assert_eq!(again.holders.len(), 1);
        let stays = &again.holders[&Holder { number: 5, incarnation: 1 }];
        assert_eq!((stays.left_at, stays.expiry_secs, stays.epoch), (Some(Time(12)), 60, 3));
        let setting = Record::Settings(Settings { key: STARTS.into(), value: [2].into() });
        again.replay(Position(0), setting.clone());
        let essence = Essence { recovery: again, recent: Time(0) };
        assert!(essence.state().any(|record| record == setting));
    }

    /// Another shard may have the record of an older set still to hand in.
    #[test]
    fn a_topic_stays_cleared_for_a_while() {
        let clear = |order: u64, at: u64, topic: &str| {
            Record::Retain(Retain {
                order,
                at: Time(at),
                namespace: Namespace::default(),
                topic: topic.into(),
                message: None,
            })
        };
        let (long_ago, just_now) = (clear(1, 39_999, "a"), clear(2, 40_000, "b"));
        let mut distiller = Distiller::new();
        distiller.note(Position(1), long_ago.clone());
        distiller.note(Position(2), just_now.clone());
        distiller.pass_over(Time(100_000), 1);
        let essence = distiller.distil();
        assert_eq!(essence.keep(Position(1), long_ago), None);
        assert_eq!(essence.keep(Position(2), just_now.clone()), Some(just_now.clone()));
        assert_eq!(essence.keep(Position(3), just_now), None, "only where it stands");
    }

    /// Without the newer incarnation the older would live again.
    #[test]
    fn who_is_superseded_and_owes_a_will_stays_so() {
        let mut distiller = Distiller::new();
        let message = stand_in();
        let will = Operation::Will { message, expiry_secs: None, delay_secs: 1 };
        distiller.note(Position(1), commit(5, 10, vec![open("c"), will.clone()]));
        distiller.note(Position(2), commit(6, 11, vec![open("c")]));
        distiller.note(Position(3), commit(6, 12, vec![Operation::End]));
        let state: Vec<Record> = distiller.distil().state().collect();
        assert_eq!(
            state[1..],
            [commit(5, 0, vec![open("c"), will]), commit(6, 0, vec![open("c"), Operation::End]),]
        );
    }
}
