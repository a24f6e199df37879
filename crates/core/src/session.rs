//! A client's state, with or without a connection.

use bellbird_codec::{PacketId, QoS, Version};
use bellbird_topics::Namespace;

use crate::clients::Manner;
use crate::errand::Loan;
use crate::identity::{DeliveryId, Holder, Lane, Position, Ticket, Time};
use crate::ledger::DropReason;
use crate::message::Message;
use crate::name::Name;
use crate::packet_ids::PacketIds;
use crate::queue::Queue;
use crate::row::Row;
use crate::sessions::lane_of;
use crate::subscription::SubscriptionIds;
use crate::subscriptions::Subscriptions;
use crate::walk::Walk;
use crate::will::Will;

/// No connection, in place of a connection's index.
pub(crate) const NONE: u32 = u32::MAX;

/// One session. The fields that a delivery touches stand first.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) holder: Holder,
    /// The connection that may be sent messages: it has had its CONNACK. [`NONE`] without.
    pub(crate) connection: u32,
    /// The connection's Maximum Packet Size.
    pub(crate) max_packet_bytes: u32,
    pub(crate) version: Version,
    /// It had a connection since the start of the node: `version` is what that one spoke.
    pub(crate) is_met: bool,
    /// Outlives its connection; what it is owed is stored before it is acknowledged.
    pub(crate) durable: bool,
    /// Its subscriptions count as with No Local and Retain As Published: a bridge before 5.0 cannot
    /// say so.
    pub(crate) is_bridge: bool,
    /// Its connection allows topic aliases toward the client.
    pub(crate) has_aliases: bool,
    /// The client's Receive Maximum, bounded by ours.
    pub(crate) inflight_max: u16,
    pub(crate) packet_ids: PacketIds,
    /// How many of `inflight`, from the front, were sent on this connection.
    pub(crate) sent: u16,
    pub(crate) inflight: Row<Inflight>,
    pub(crate) queue: Queue,
    /// The connection that claims the session: `connection`, or one that waits for its CONNACK.
    pub(crate) owner: u32,
    /// Counts the connections of this incarnation.
    pub(crate) epoch: u32,
    pub(crate) expiry_secs: u32,
    /// When the last connection ended; says when it expires.
    pub(crate) left_at: Time,
    /// When the wheel looks at its expiry; earlier looks are of insertions that this one replaced.
    pub(crate) look_at: Time,
    /// The lane of what its client publishes.
    pub(crate) lane: Lane,
    pub(crate) namespace: Namespace,
    pub(crate) name: Name,
    pub(crate) subscriptions: Subscriptions,
    /// Stands on the list of walks to go on with.
    pub(crate) is_walking: bool,
    /// Retained messages that subscriptions asked for and that are still to be sent.
    pub(crate) walks: Row<Walk>,
    /// What is published when the client goes without a word.
    pub(crate) will: Option<Box<Will>>,
    /// The log knows this session though it is not durable: for its will.
    pub(crate) is_logged: bool,
    /// Packet ids of what the client published with QoS 2 and has not released.
    pub(crate) received: Row<Receipt>,
}

/// A PUBLISH of QoS 2 whose PUBREL has not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Receipt {
    pub(crate) packet_id: PacketId,
    /// Where the message is stored with this packet id, if it is.
    pub(crate) position: Option<Position>,
    /// PUBREC may be sent.
    pub(crate) is_ready: bool,
}

/// A delivery with a packet id that is not acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Inflight {
    pub(crate) packet_id: PacketId,
    pub(crate) qos: QoS,
    pub(crate) stage: Stage,
    /// It went out once, on this connection or an earlier one: the next time it is marked DUP.
    pub(crate) was_sent: bool,
    /// Why it is not delivered, though its exchange has to be completed.
    pub(crate) dropped: Option<DropReason>,
    /// None if the session ends with its connection: then it can never be sent again.
    pub(crate) delivery: Option<Queued>,
}

impl Inflight {
    /// How the log knows it, if it does.
    pub(crate) fn stored(&self) -> Option<DeliveryId> {
        self.delivery.as_ref()?.stored()
    }
}

/// How far a delivery has come. QoS 1 knows only the first stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// PUBLISH is sent, or may be.
    Publish,
    /// PUBLISH may be sent once the log has its packet id: with the record of this ticket, or
    /// with the one of this turn.
    Recording(Option<Ticket>),
    /// PUBREC came; PUBREL may be sent once the log knows.
    Having(Option<Ticket>),
    /// PUBREL is sent, or may be.
    Release,
}

/// A delivery of QoS 1 or 2 that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    /// Where it is stored, if it is.
    pub(crate) position: Option<Position>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// The identifiers of the subscriptions it answers.
    pub(crate) ids: SubscriptionIds,
    /// The group it comes from.
    pub(crate) lender: Option<Box<Lender>>,
}

/// The group that a delivery came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lender {
    /// One that waits for word of it.
    Loan(Loan),
    /// One that handed it over before the node started, and waits for nothing.
    Handed(Holder),
}

impl Lender {
    pub(crate) fn group(&self) -> Holder {
        match self {
            Self::Loan(loan) => loan.group.holder,
            Self::Handed(group) => *group,
        }
    }
}

impl Queued {
    /// How the log knows it, if it does.
    pub(crate) fn stored(&self) -> Option<DeliveryId> {
        self.position.map(|position| {
            let of = self.lender.as_deref().map(Lender::group);
            DeliveryId { position, of }
        })
    }

    /// What its group waits for.
    pub(crate) fn loan(&self) -> Option<Loan> {
        match self.lender.as_deref()? {
            Lender::Loan(loan) => Some(*loan),
            Lender::Handed(_) => None,
        }
    }

    pub(crate) fn manner(&self) -> Manner<'_> {
        let Self { position, qos, retain, ids, .. } = self;
        Manner { qos: *qos, retain: *retain, position: *position, ids }
    }
}

impl Session {
    pub(crate) fn new(holder: Holder, namespace: Namespace, name: Name) -> Self {
        Self {
            holder,
            connection: NONE,
            max_packet_bytes: u32::MAX,
            version: Version::V311,
            is_met: false,
            durable: false,
            is_bridge: false,
            has_aliases: false,
            inflight_max: 1,
            packet_ids: PacketIds::default(),
            sent: 0,
            inflight: Row::new(),
            queue: Queue::default(),
            owner: NONE,
            epoch: 0,
            expiry_secs: 0,
            left_at: Time(0),
            look_at: Time(0),
            is_walking: false,
            lane: lane_of(namespace, name.client_id()),
            namespace,
            name,
            subscriptions: Subscriptions::default(),
            walks: Row::new(),
            will: None,
            is_logged: false,
            received: Row::new(),
        }
    }

    /// The next packet id, which is given with this; none if the log has to know of more first.
    pub(crate) fn next_packet_id(&mut self) -> Option<PacketId> {
        if self.inflight.is_empty() {
            self.packet_ids.none_inflight();
        }
        let id = self.find_packet_id()?;
        self.packet_ids.give(id);
        Some(id)
    }

    /// Whether there is a next packet id.
    pub(crate) fn has_packet_id(&self) -> bool {
        self.find_packet_id().is_some()
    }

    /// Whether the log has to know of more of them soon, by blocks of this size.
    pub(crate) fn needs_packet_ids(&self, block: u16) -> bool {
        self.durable && self.packet_ids.are_few(block)
    }

    /// Takes the next block, if it needs one, for a record that everything waits for. Returns how
    /// far it goes.
    pub(crate) fn reserve_packet_ids(&mut self, block: u16) -> Option<PacketId> {
        if !self.needs_packet_ids(block) {
            return None;
        }
        let through = self.packet_ids.ask(block)?;
        self.packet_ids.reserve(through);
        Some(through)
    }

    fn find_packet_id(&self) -> Option<PacketId> {
        let is_inflight = |id| self.inflight.iter().any(|found| found.packet_id == id);
        self.packet_ids.next(self.durable, is_inflight)
    }

    /// The delivery with this packet id.
    pub(crate) fn inflight(&mut self, id: PacketId) -> Option<&mut Inflight> {
        self.inflight.iter_mut().find(|inflight| inflight.packet_id == id)
    }

    /// Takes the delivery with this packet id out of those inflight.
    pub(crate) fn acknowledge(&mut self, id: PacketId) -> Option<Inflight> {
        // The next acknowledgement nearly always hits the front.
        let index = self.inflight.iter().position(|inflight| inflight.packet_id == id)?;
        if index < usize::from(self.sent) {
            self.sent -= 1;
        }
        self.inflight.remove(index)
    }

    /// Whether one more delivery of QoS 1 may be sent [MQTT-4.9.0-2].
    pub(crate) fn has_quota(&self) -> bool {
        self.sent < self.inflight_max
    }

    /// Whether one more delivery may have a packet id: the window is for all that are not
    /// acknowledged, sent on this connection or not.
    pub(crate) fn has_window(&self) -> bool {
        self.inflight.len() < usize::from(self.inflight_max)
    }

    /// Whether what it is sent looks like nobody else's.
    pub(crate) fn is_particular(&self, ids: &SubscriptionIds) -> bool {
        self.has_aliases || (!ids.is_empty() && self.version == Version::V5)
    }

    /// Whether nothing stands before a new delivery of QoS 1 or 2.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.is_all_sent()
    }

    /// Whether all that has a packet id was sent on this connection.
    pub(crate) fn is_all_sent(&self) -> bool {
        usize::from(self.sent) == self.inflight.len()
    }

    /// Its client is there: what waits is in the window soon. Returns how many bytes of messages
    /// that are.
    pub(crate) fn expect_to_send(&mut self) -> usize {
        let next = self.queue.next(usize::from(self.inflight_max));
        self.inflight.begin(next.len());
        // All of them are asked at once: otherwise each is waited for when its turn comes, for
        // none of them is in the cache.
        next.map(|delivery| delivery.message.size_bytes()).sum()
    }

    pub(crate) fn receipt(&mut self, id: PacketId) -> Option<&mut Receipt> {
        let index = self.received.binary_search_by_key(&id, |receipt| receipt.packet_id).ok()?;
        self.received.get_mut(index)
    }

    /// Takes a receipt in, unless there is one with its packet id.
    pub(crate) fn receive(&mut self, receipt: Receipt) {
        let found = self.received.binary_search_by_key(&receipt.packet_id, |r| r.packet_id);
        if let Err(index) = found {
            self.received.insert(index, receipt);
        }
    }

    /// Takes a receipt out.
    pub(crate) fn release(&mut self, id: PacketId) -> Option<Receipt> {
        let index = self.received.binary_search_by_key(&id, |receipt| receipt.packet_id).ok()?;
        self.received.remove(index)
    }

    /// Its connection is gone: what is empty takes no memory.
    pub(crate) fn rest(&mut self) {
        self.inflight.forget_if_empty();
        self.queue.forget_if_empty();
        self.received.forget_if_empty();
    }

    /// When the session expires if nobody comes back; none for ever.
    pub(crate) fn expires_at(&self) -> Option<Time> {
        (self.expiry_secs != u32::MAX).then(|| self.left_at.plus_secs(u64::from(self.expiry_secs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Holder::default(), Namespace(0), Name::new("c", None))
    }

    fn send(session: &mut Session) -> u16 {
        let packet_id = session.next_packet_id().unwrap();
        session.inflight.push_back(Inflight {
            packet_id,
            qos: QoS::AtLeastOnce,
            stage: Stage::Publish,
            was_sent: true,
            dropped: None,
            delivery: None,
        });
        session.sent += 1;
        packet_id.value()
    }

    #[test]
    fn packet_ids_wrap_past_zero_and_past_a_stuck_one() {
        let mut session = session();
        assert_eq!(send(&mut session), 1);
        assert_eq!(send(&mut session), 2);
        // 1 stays unacknowledged while the count goes once around.
        for expected in 3..=u16::MAX {
            session.acknowledge(PacketId::new(expected - 1).unwrap()).unwrap();
            assert_eq!(send(&mut session), expected);
        }
        session.acknowledge(PacketId::new(u16::MAX).unwrap()).unwrap();
        assert_eq!(send(&mut session), 2, "0 is no id and 1 is inflight");
        assert_eq!(session.sent, 2);
    }

    #[test]
    fn no_id_is_given_twice_while_some_are_stuck() {
        let mut session = session();
        let stuck = [send(&mut session), send(&mut session), send(&mut session)];
        session.acknowledge(PacketId::new(stuck[1]).unwrap()).unwrap();
        for _ in 0..60_000 {
            let id = send(&mut session);
            session.acknowledge(PacketId::new(id).unwrap()).unwrap();
        }
        let late = send(&mut session);
        for _ in 0..200_000 {
            let id = send(&mut session);
            assert!(id != late && id != stuck[0] && id != stuck[2]);
            session.acknowledge(PacketId::new(id).unwrap()).unwrap();
        }
    }

    #[test]
    fn acknowledgements_in_any_order() {
        let mut session = session();
        for _ in 0..3 {
            send(&mut session);
        }
        let id = |value| PacketId::new(value).unwrap();
        assert!(session.acknowledge(id(2)).is_some());
        assert!(session.acknowledge(id(2)).is_none());
        assert!(session.acknowledge(id(9)).is_none());
        assert_eq!((session.sent, session.inflight.len()), (2, 2));
    }
}
