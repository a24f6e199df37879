//! One incarnation of a holder, put together from its commits and the messages that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellbird_codec::{PacketId, QoS};
use bellbird_topics::{Namespace, SubscriptionFilter};

use super::Fetch;
use super::owings::{Owed, Owings};
use crate::config::Config;
use crate::errand::GroupName;
use crate::identity::{DeliveryId, Holder, Position, ShardId, Time};
use crate::name::Name;
use crate::packet_ids::PacketIds;
use crate::record::Operation;
use crate::release::StoredFor;
use crate::session::{Inflight, Receipt, Session, Stage};
use crate::sessions::{home_of, lane_of};
use crate::subscription::{Subscription, SubscriptionIds};
use crate::will::{AfterWill, DueWill, Will};

/// One incarnation of a holder.
#[derive(Default)]
pub(super) struct HolderState {
    /// Set by Open: whose session it is.
    pub(super) client: Option<(Namespace, Box<str>)>,
    pub(super) user_name: Option<Box<str>>,
    /// Set by Found: which shared subscription it is.
    pub(super) group: Option<GroupName>,
    /// Messages that are a member's own: whose, and how it gets them.
    pub(super) handed: BTreeMap<Position, (Holder, bool, SubscriptionIds)>,
    pub(super) epoch: u32,
    pub(super) expiry_secs: u32,
    /// When its connection ended; none while it is connected.
    pub(super) left_at: Option<Time>,
    pub(super) ended: bool,
    pub(super) will: Option<Will>,
    pub(super) subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// What it waits for. Messages stay in the log.
    pub(super) queue: Owings,
    /// Done before the message itself was read.
    pub(super) done: BTreeSet<DeliveryId>,
    /// Deliveries of QoS 2 with a packet id.
    pub(super) sending: BTreeMap<DeliveryId, PacketId>,
    /// Those that the client has.
    pub(super) had: BTreeSet<DeliveryId>,
    /// Packet ids of deliveries of QoS 2 that the log does not have.
    pub(super) held: BTreeSet<PacketId>,
    /// The last packet id that may have been given; 0 if none.
    pub(super) reserved: u16,
    /// What the client published with QoS 2 and has not released.
    pub(super) received: BTreeMap<Position, PacketId>,
    /// Released before the message itself was read.
    pub(super) released: BTreeSet<Position>,
}

impl HolderState {
    pub(super) fn take(&mut self, operation: Operation, at: Time) {
        match operation {
            Operation::Open { namespace, client_id, user_name, expiry_secs } => {
                self.client = Some((namespace, client_id));
                self.user_name = user_name;
                self.expiry_secs = expiry_secs;
            }
            Operation::Will { message, expiry_secs, delay_secs } => {
                self.will = Some(Will { message, expiry_secs, delay_secs });
            }
            Operation::WillOver => self.will = None,
            Operation::Resume { user_name, expiry_secs } => {
                self.user_name = user_name;
                self.will = None;
                self.expiry_secs = expiry_secs;
                self.left_at = None;
            }
            Operation::Leave { expiry_secs } => {
                self.expiry_secs = expiry_secs;
                self.left_at = Some(at);
            }
            // Nobody looks again whether a filter is one, and a log may say anything.
            Operation::Subscribe { filter, .. } if SubscriptionFilter::parse(&filter).is_err() => {}
            Operation::Subscribe { filter, subscription } => {
                self.subscriptions.insert(filter, subscription);
            }
            Operation::Unsubscribe { filter } => {
                self.subscriptions.remove(&filter);
            }
            Operation::Sending { delivery, packet_id } => {
                self.sending.insert(delivery, packet_id);
            }
            Operation::Holding { packet_id } => {
                self.held.insert(packet_id);
            }
            Operation::Freed { packet_id } => {
                self.held.remove(&packet_id);
            }
            Operation::Reserved { through } => self.reserved = through.value(),
            Operation::Had { delivery } => {
                self.had.insert(delivery);
            }
            Operation::Released { position } => {
                if self.received.remove(&position).is_none() {
                    self.released.insert(position);
                }
            }
            Operation::Done { delivery } => {
                self.sending.remove(&delivery);
                self.had.remove(&delivery);
                if !self.queue.remove(&delivery) {
                    self.done.insert(delivery);
                }
            }
            Operation::Found { namespace, name } => {
                self.group = Some(GroupName { namespace, name });
            }
            Operation::Handed { position, to, retain, ids } => {
                self.handed.insert(position, (to, retain, ids));
            }
            Operation::End => {
                self.ended = true;
                // What a group gave away before is not its own any more.
                self.queue.retain(|id| self.handed.contains_key(&id.position));
                self.subscriptions = BTreeMap::new();
                self.received = BTreeMap::new();
            }
        }
    }

    pub(super) fn into_session(
        mut self,
        holder: Holder,
        namespace: Namespace,
        client_id: &str,
        now: Time,
        fetch: &mut Fetch<'_>,
    ) -> Session {
        let name = Name::new(client_id, self.user_name.as_deref());
        let mut session = Session::new(holder, namespace, name);
        session.durable = true;
        session.will = self.will.take().map(Box::new);
        session.epoch = self.epoch;
        session.expiry_secs = self.expiry_secs;
        // Who was connected when the node stopped may have been so until now: late, never early.
        session.left_at = self.left_at.unwrap_or(now);
        session.subscriptions = std::mem::take(&mut self.subscriptions).into_iter().collect();
        self.restore_exactly_once(&mut session, fetch);
        let queue = self.queue.into_iter();
        session.queue = queue.map(|owed| owed.away().into()).collect();
        session
    }

    /// The will of an incarnation that another one superseded, and the home of its client.
    pub(super) fn into_due_will(
        self,
        holder: Holder,
        config: &Config,
    ) -> Option<(ShardId, DueWill)> {
        let (namespace, client_id) = self.client?;
        let will = self.will?;
        let home = home_of(namespace, &client_id, config.shards);
        let lane = lane_of(namespace, &client_id);
        let after = AfterWill {
            holder,
            epoch: self.epoch,
            operation: Operation::End,
            waits: StoredFor::Nothing,
            given_up: Vec::new(),
        };
        let name = Some(Name::new(&client_id, self.user_name.as_deref()));
        Some((home, DueWill { will, name, origin: holder, lane, after: Some(after) }))
    }

    /// Deliveries of QoS 2 keep their packet ids. What stood before them in the queue was sent
    /// before them, and is sent again before them.
    fn restore_exactly_once(&mut self, session: &mut Session, fetch: &mut Fetch<'_>) {
        let receipts = |(position, packet_id): (&Position, &PacketId)| Receipt {
            packet_id: *packet_id,
            position: Some(*position),
            is_ready: true,
        };
        self.received.iter().map(receipts).for_each(|receipt| session.receive(receipt));
        for packet_id in &self.held {
            session.inflight.push_back(Inflight {
                packet_id: *packet_id,
                qos: QoS::ExactlyOnce,
                stage: Stage::Release,
                was_sent: true,
                dropped: None,
                delivery: None,
            });
        }
        // Ids come back in the order of their messages, not of their numbers.
        session.packet_ids = PacketIds::behind(self.reserved);
        self.sending.retain(|id, _| self.queue.contains(id));
        let Some(last) = self.sending.keys().next_back().copied() else { return };
        let taken: BTreeSet<PacketId> = self.sending.values().chain(&self.held).copied().collect();
        // The others have new ones: their old ones may be acknowledged late.
        let mut ids = session.packet_ids;
        let before: Vec<DeliveryId> =
            self.queue.iter().map(Owed::id).take_while(|id| *id <= last).collect();
        // Lanes with a delivery that was not sent: nor was what came behind it by the same lane.
        let mut unsent = BTreeSet::new();
        let mut window = Vec::new();
        for id in before {
            let Some(Owed { lane, qos, .. }) = self.queue.get(&id) else { continue };
            let known = self.sending.get(&id).copied();
            let packet_id = match known {
                Some(packet_id) => packet_id,
                // The packet ids of QoS 1 are not in the log.
                None if *qos == QoS::AtLeastOnce && !unsent.contains(lane) => {
                    if window.len() + taken.len() >= usize::from(u16::MAX) {
                        break;
                    }
                    ids.give_next(|id| taken.contains(&id))
                }
                // Groups hand over later than positions tell.
                None if id.of.is_some() => continue,
                None => {
                    unsent.insert(*lane);
                    continue;
                }
            };
            let Some(owed) = self.queue.take(&id) else { continue };
            window.push((packet_id, id, owed));
        }
        session.packet_ids = ids.all_reserved();
        let positions: Vec<Position> = window.iter().map(|(_, id, _)| id.position).collect();
        let messages = fetch(&positions);
        for ((packet_id, id, owed), message) in window.into_iter().zip(messages) {
            let had = self.had.contains(&id);
            // One that cannot be read is lost; whoever reads says so.
            let Ok(delivery) = owed.away().back(message) else { continue };
            session.inflight.push_back(Inflight {
                packet_id,
                qos: delivery.qos,
                stage: if had { Stage::Release } else { Stage::Publish },
                was_sent: true,
                dropped: None,
                delivery: Some(delivery),
            });
        }
    }
}
