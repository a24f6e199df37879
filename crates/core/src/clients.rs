//! The clients of one shard: deliveries into their outboxes, inflight windows and queues.

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_codec::{PacketId, QoS};
use bellbird_topics::TopicName;

use crate::config::Config;
use crate::connection::{Connections, Parks};
use crate::contract::{Output, Subscriber};
use crate::errand::Errand;
use crate::event::Event;
use crate::group::Groups;
use crate::identity::{ConnectionId, DeliveryId, Holder, Position, ShardId, Time};
use crate::ledger::{DropReason, Ledger};
use crate::mail::{Share, Target};
use crate::memory::Memory;
use crate::message::Message;
use crate::outbox::{Outbox, Pool};
use crate::outgoing::Outgoing;
use crate::permit::{Action, Gate, Verdict};
use crate::record::Operation;
use crate::release::{Handing, Handings};
use crate::session::{Inflight, NONE, Queued, Session, Stage};
use crate::sessions::Sessions;
use crate::slots::Slots;
use crate::subscription::SubscriptionIds;
use crate::traffic::Traffic;
use crate::view::View;

/// Everything that a delivery touches, and nothing that routing reads meanwhile.
pub(crate) struct Clients {
    pub(crate) config: Arc<Config>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Sessions,
    pub(crate) connections: Connections,
    pub(crate) outboxes: Slots<Outbox>,
    pub(crate) pool: Pool,
    pub(crate) memory: Memory,
    pub(crate) ledger: Ledger,
    /// The session that lost something for a limit last.
    pub(crate) loser: u32,
    pub(crate) traffic: Traffic,
    pub(crate) outputs: VecDeque<Output>,
    /// What happened to sessions' stored deliveries, to be committed at the end of the turn.
    pub(crate) operations: Vec<(u32, Holder, Operation)>,
    /// Sessions whose walk of retained messages goes on in the next turn.
    pub(crate) walking: VecDeque<u32>,
    /// The next session whose queue is to leave what it can to the log.
    pub(crate) sweep: Option<u32>,
    pub(crate) groups: Groups,
    /// The same for groups.
    pub(crate) group_operations: Vec<(Holder, Operation)>,
    /// What homes of sessions and of groups have to tell each other.
    pub(crate) errands: VecDeque<(ShardId, Errand)>,
    /// Messages of QoS 2 that the log must know a member has, before it gets them.
    pub(crate) handing: Vec<Handing>,
    pub(crate) handings: Handings,
    pub(crate) appended_bytes: u64,
    /// Connections that got something to send, each once until it was sent.
    pub(crate) announced: u64,
    /// An answer filled some outbox: its connection is parked.
    pub(crate) has_pressed: bool,
    /// Somebody outside was asked something since the start.
    pub(crate) has_asked: bool,
    /// Whether what is published is bounded in time.
    pub(crate) has_rates: bool,
}

/// Whom a message is for and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Addressing<'a> {
    pub(crate) targets: &'a [Target],
    /// None for QoS 0, where all targets are served at once.
    pub(crate) share: Option<Share>,
    pub(crate) origin: Holder,
    pub(crate) position: Option<Position>,
}

/// In which manner one holder gets a message.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) position: Option<Position>,
    pub(crate) ids: &'a SubscriptionIds,
}

impl Manner<'_> {
    /// The delivery, to wait in a queue or in the window.
    pub(crate) fn keep(self, message: Message) -> Queued {
        let Self { qos, retain, position, ids } = self;
        Queued { message, position, qos, retain, ids: ids.clone(), lender: None }
    }
}

impl Clients {
    pub(crate) fn new(
        config: Arc<Config>,
        gate: Arc<Gate>,
        sessions: Sessions,
        groups: Groups,
    ) -> Self {
        Self {
            has_rates: config.has_rates(),
            config,
            gate,
            sessions,
            connections: Connections::default(),
            outboxes: Slots::new(),
            pool: Pool::default(),
            memory: Memory::default(),
            ledger: Ledger::default(),
            loser: NONE,
            traffic: Traffic::default(),
            outputs: VecDeque::new(),
            operations: Vec::new(),
            walking: VecDeque::new(),
            sweep: None,
            groups,
            group_operations: Vec::new(),
            errands: VecDeque::new(),
            handing: Vec::new(),
            handings: Handings::default(),
            appended_bytes: 0,
            announced: 0,
            has_pressed: false,
            has_asked: false,
        }
    }

    /// Takes other settings; connections keep the terms that they were promised.
    pub(crate) fn reconfigure(&mut self, config: Arc<Config>) {
        assert_eq!(config.shards, self.config.shards, "the shards are those of the start");
        assert_eq!(config.listeners.len(), self.config.listeners.len(), "and the listeners");
        self.has_rates = config.has_rates();
        self.config = config;
    }

    /// Delivers a message to those of the targets that its share takes.
    pub(crate) fn deliver(&mut self, now: Time, to: Addressing<'_>, out: &mut Outgoing<'_>) {
        let is_expired = out.parts.expires_at.is_some_and(|deadline| deadline <= now);
        for target in to.targets {
            let grant = target.grant;
            if to.share.is_some_and(|share| !share.takes(grant)) {
                continue;
            }
            if grant.no_local && target.subscriber.holder == to.origin {
                continue;
            }
            if target.subscriber.slot.is_group() {
                self.ledger.routed += 1;
                // The record names the group only if it was granted more than QoS 0 at the match,
                // whatever its members are granted since.
                let position = to.position.filter(|_| grant.is_stored());
                self.offer(now, target.subscriber, to.origin, position, out);
                continue;
            }
            let qos = out.parts.qos.min(grant.qos);
            let retain = out.parts.retain && grant.retain_as_published;
            self.ledger.routed += 1;
            let position = if qos == QoS::AtMostOnce { None } else { to.position };
            if is_expired {
                self.expire(target.subscriber, position);
                continue;
            }
            let manner = Manner { qos, retain, position, ids: &target.ids };
            self.deliver_one(now, target.subscriber, manner, out);
        }
    }

    fn deliver_one(
        &mut self,
        now: Time,
        subscriber: Subscriber,
        manner: Manner<'_>,
        out: &mut Outgoing<'_>,
    ) {
        let Manner { qos, retain, position, ids } = manner;
        let Some((index, session)) = self.sessions.of(subscriber) else {
            return self.ledger.drop(DropReason::SessionEnded, 1);
        };
        let topic = out.parts.topic.as_str();
        // To take a name apart costs as much as half a delivery.
        let is_permitted = self.gate.is_open()
            || self.gate.permit(session.name.as_client(), Action::Receive, topic) == Verdict::Yes;
        if !is_permitted {
            let stored = position.map(DeliveryId::own);
            return self.drop(index, out.parts.topic, DropReason::NotPermitted, stored);
        }
        if qos == QoS::AtMostOnce {
            // What was published with QoS 1 keeps its order whatever QoS was granted.
            if out.parts.qos != QoS::AtMostOnce
                && session.connection != NONE
                && !session.is_drained()
            {
                return self.enqueue(index, manner.keep(out.share()));
            }
            return self.deliver_at_most_once(now, index, manner, out);
        }
        let is_live = session.connection != NONE && session.is_drained() && session.has_quota();
        // A stored delivery of QoS 2 waits until the log has its packet id.
        let is_recorded = qos == QoS::ExactlyOnce && session.durable;
        let is_apart = is_recorded || session.is_particular(ids);
        if !is_live || is_apart || self.outbox_is_full(index) {
            self.enqueue(index, manner.keep(out.share()));
            if is_live && is_apart {
                self.pump_queue(now, index);
            }
            return;
        }
        let keep = session_keeps(self.sessions.at(index));
        let delivery = keep.then(|| manner.keep(out.share()));
        let Some(session) = self.sessions.at(index) else { return };
        let (frame, packet_id_at) = out.frame(now, session.version, qos, retain);
        if frame.len() > session.max_packet_bytes as usize {
            let stored = position.map(DeliveryId::own);
            return self.drop(index, out.parts.topic, DropReason::TooLarge, stored);
        }
        let Some(packet_id) = session.next_packet_id() else {
            return self.enqueue(index, manner.keep(out.share()));
        };
        let stage = Stage::Publish;
        let inflight = Inflight { packet_id, qos, stage, was_sent: true, dropped: None, delivery };
        session.inflight.push_back(inflight);
        session.sent += 1;
        let connection = session.connection;
        let needs_packet_ids = session.needs_packet_ids(self.config.packet_ids_ahead);
        let outbox = &mut self.outboxes[connection];
        let buffer = outbox.buffer(&mut self.pool);
        let at = buffer.len() + packet_id_at;
        self.appended_bytes += frame.len() as u64;
        buffer.extend_from_slice(frame);
        buffer[at..at + 2].copy_from_slice(&packet_id.value().to_be_bytes());
        self.traffic.publish_sent(qos, out.parts.payload.len());
        self.announce(connection);
        self.tell_delivered(index, out.parts.topic, qos, Some(packet_id));
        if needs_packet_ids {
            self.ask_for_packet_ids(index);
        }
    }

    /// The message waited for log or mail longer than it is good for [MQTT-3.3.2-5].
    fn expire(&mut self, subscriber: Subscriber, position: Option<Position>) {
        self.ledger.expired += 1;
        if let Some((index, _)) = self.sessions.of(subscriber) {
            self.finish(index, position.map(DeliveryId::own));
        }
    }

    pub(crate) fn deliver_at_most_once(
        &mut self,
        now: Time,
        index: u32,
        manner: Manner<'_>,
        out: &mut Outgoing<'_>,
    ) {
        let Some(session) = self.sessions.at(index) else { return };
        if session.connection == NONE {
            return self.deliver_offline(index, manner, out);
        }
        if session.is_particular(manner.ids) {
            return self.deliver_particular(now, index, manner, out);
        }
        let (frame, _) = out.frame(now, session.version, QoS::AtMostOnce, manner.retain);
        if frame.len() > session.max_packet_bytes as usize {
            return self.drop(index, out.parts.topic, DropReason::TooLarge, None);
        }
        let connection = session.connection;
        let outbox = &mut self.outboxes[connection];
        // One message always fits, however large: it is within the bound on packets.
        let bytes_max = self.memory.part_of(self.config.outbox_bytes_max);
        if outbox.len() > 0 && outbox.len() + frame.len() > bytes_max {
            return self.drop(index, out.parts.topic, DropReason::OutboxFull, None);
        }
        outbox.unsent += 1;
        self.appended_bytes += frame.len() as u64;
        outbox.buffer(&mut self.pool).extend_from_slice(frame);
        self.traffic.publish_sent(QoS::AtMostOnce, out.parts.payload.len());
        self.announce(connection);
        self.tell_delivered(index, out.parts.topic, QoS::AtMostOnce, None);
    }

    /// QoS 0 for a client that is away: kept only if the operator wants it kept.
    fn deliver_offline(&mut self, index: u32, manner: Manner<'_>, out: &mut Outgoing<'_>) {
        let Some(session) = self.sessions.at(index) else { return };
        let keeps = self.config.queues_at_most_once && self.memory < Memory::Tight;
        if keeps && session.durable {
            self.enqueue(index, manner.keep(out.share()));
        } else {
            self.drop(index, out.parts.topic, DropReason::Offline, None);
        }
    }

    /// QoS 0 with identifiers or an alias: a packet of its own.
    fn deliver_particular(
        &mut self,
        now: Time,
        index: u32,
        manner: Manner<'_>,
        out: &Outgoing<'_>,
    ) {
        let Some(session) = self.sessions.at(index) else { return };
        let outbox = &self.outboxes[session.connection];
        let about = out.parts.topic.as_bytes().len() + out.parts.payload.len();
        let bytes_max = self.memory.part_of(self.config.outbox_bytes_max);
        if outbox.len() > 0 && outbox.len() + about > bytes_max {
            return self.drop(index, out.parts.topic, DropReason::OutboxFull, None);
        }
        if !self.send_single(now, index, &out.parts, manner, None) {
            self.drop(index, out.parts.topic, DropReason::TooLarge, None);
        }
    }

    /// Puts a delivery behind those that wait, or drops it at the queue's bounds.
    pub(crate) fn enqueue(&mut self, index: u32, delivery: Queued) {
        let Some(session) = self.sessions.at(index) else { return };
        let size = delivery.message.size_bytes();
        let has_room = session.queue.len() < self.config.queue_messages_max
            && (session.queue.bytes() + size <= self.config.queue_bytes_max
                || session.queue.is_empty());
        if !has_room {
            let stored = delivery.stored();
            return self.drop(index, delivery.message.topic(), DropReason::QueueFull, stored);
        }
        self.wait(index, delivery);
    }

    /// Puts a delivery behind those that wait.
    pub(crate) fn wait(&mut self, index: u32, delivery: Queued) {
        let Some(session) = self.sessions.at(index) else { return };
        session.queue.push_back(delivery);
        if session.durable {
            session.queue.put_away(self.memory.part_of(self.config.queue_memory_bytes));
        }
        let connection = session.connection;
        if let Some(outbox) = self.outboxes.get_mut(connection) {
            outbox.hungry = true;
        }
    }

    /// The client acknowledged a delivery of QoS 1.
    pub(crate) fn acknowledged(
        &mut self,
        now: Time,
        index: u32,
        packet_id: PacketId,
        view: &dyn View,
    ) {
        let Some(session) = self.sessions.at(index) else { return };
        // An unknown id is legal: the delivery may have been acknowledged before.
        let is_for_it = |inflight: &&mut Inflight| inflight.qos == QoS::AtLeastOnce;
        if session.inflight(packet_id).filter(is_for_it).is_some() {
            self.over(now, index, packet_id, view);
        }
    }

    /// A delivery is over: its place in the window is free.
    pub(crate) fn over(&mut self, now: Time, index: u32, packet_id: PacketId, view: &dyn View) {
        let Some(session) = self.sessions.at(index) else { return };
        let Some(inflight) = session.acknowledge(packet_id) else { return };
        let has_more = !session.is_drained() || !session.walks.is_empty();
        let (holder, durable) = (session.holder, session.durable);
        let topic = || Some(inflight.delivery.as_ref()?.message.topic().as_str().into());
        match inflight.dropped {
            Some(reason) => {
                self.ledger.drop(reason, 1);
                self.tell(index, |whose| Event::Dropped {
                    whose,
                    topic: topic(),
                    reason,
                    deliveries: 1,
                });
            }
            None => {
                self.ledger.done += 1;
                self.tell(index, |client_id| Event::Acknowledged {
                    client_id,
                    packet_id,
                    topic: topic(),
                });
            }
        }
        match inflight.stored() {
            None if durable && inflight.qos == QoS::ExactlyOnce => {
                self.operations.push((index, holder, Operation::Freed { packet_id }));
            }
            stored => self.finish(index, stored),
        }
        if let Some(loan) = inflight.delivery.and_then(|delivery| delivery.loan()) {
            self.settle(loan);
        }
        if has_more {
            self.pump(now, index, view);
        }
    }

    /// The shell wrote bytes of an outbox. Returns whether there is room again.
    pub(crate) fn sent(
        &mut self,
        now: Time,
        id: ConnectionId,
        bytes: usize,
        view: &dyn View,
    ) -> bool {
        self.traffic.bytes_sent += bytes as u64;
        let Some(connection) = self.connections.live(id) else { return false };
        let session = connection.session;
        if connection.parks.contains(Parks::OUTBOX) && bytes > 0 {
            // It reads, if slowly, and cannot be heard meanwhile.
            connection.last_seen = now;
        }
        let Some(outbox) = self.outboxes.get_mut(id.index) else { return false };
        if outbox.consume(bytes, &mut self.pool) {
            outbox.announced = false;
            self.ledger.done += u64::from(std::mem::take(&mut outbox.unsent));
        }
        let has_room = outbox.len() < self.config.outbox_bytes_max / 2;
        if outbox.hungry && has_room {
            self.pump(now, session, view);
        }
        has_room
    }

    /// Tells the shell that a connection has something to send.
    pub(crate) fn announce(&mut self, connection: u32) {
        let outbox = &mut self.outboxes[connection];
        if outbox.announced {
            return;
        }
        outbox.announced = true;
        self.announced += 1;
        if let Some(id) = self.connections.id_at(connection) {
            self.outputs.push_back(Output::Send(id));
        }
    }

    /// Writes something other than a PUBLISH. A client that asks and asks and never reads is not
    /// heard any more until it does.
    pub(crate) fn write(&mut self, connection: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let outbox = &mut self.outboxes[connection];
        write(outbox.buffer(&mut self.pool));
        self.traffic.others_sent += 1;
        if outbox.len() >= self.config.outbox_bytes_max
            && let Some(id) = self.connections.id_at(connection)
            && let Some(found) = self.connections.live(id)
        {
            found.parks.add(Parks::OUTBOX);
            self.has_pressed = true;
        }
        self.announce(connection);
    }

    /// Counts a drop, and commits that a stored delivery is over.
    pub(crate) fn drop(
        &mut self,
        index: u32,
        topic: TopicName<'_>,
        reason: DropReason,
        stored: Option<DeliveryId>,
    ) {
        self.ledger.drop(reason, 1);
        self.tell_dropped(index, topic, reason);
        self.finish(index, stored);
    }

    pub(crate) fn tell_dropped(&mut self, index: u32, topic: TopicName<'_>, reason: DropReason) {
        if reason.is_of_limit() {
            self.loser = index;
        }
        let topic = || Some(topic.as_str().into());
        self.tell(index, |whose| Event::Dropped { whose, topic: topic(), reason, deliveries: 1 });
    }

    /// Tells that a message is in a client's outbox.
    #[inline]
    pub(crate) fn tell_delivered(
        &mut self,
        index: u32,
        topic: TopicName<'_>,
        qos: QoS,
        packet_id: Option<PacketId>,
    ) {
        self.tell(index, |client_id| Event::Delivered {
            client_id,
            topic: topic.as_str().into(),
            qos,
            packet_id,
        });
    }

    pub(crate) fn finish(&mut self, index: u32, stored: Option<DeliveryId>) {
        if let Some(delivery) = stored
            && let Some(session) = self.sessions.at(index)
        {
            self.operations.push((index, session.holder, Operation::Done { delivery }));
        }
    }

    fn outbox_is_full(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.at(index) else { return true };
        self.outboxes
            .get(session.connection)
            .is_none_or(|outbox| outbox.len() >= self.config.outbox_bytes_max)
    }
}

/// Whether what is sent must be kept for another connection: else the packet id is all.
fn session_keeps(session: Option<&mut Session>) -> bool {
    session.is_some_and(|session| session.durable)
}
