//! What a session still owes its client, sent as fast as the client takes it.

use bellbird_codec::{PacketId, QoS, ReasonCode, encode_pubrel};

use crate::aliases::Naming;
use crate::clients::{Clients, Manner};
use crate::contract::{Output, Subscriber};
use crate::identity::{Holder, Time};
use crate::ledger::DropReason;
use crate::limits::WALKS_PER_TURN;
use crate::message::{Message, MessageParts};
use crate::outgoing::Single;
use crate::permit::{Action, Verdict};
use crate::record::Operation;
use crate::session::{Inflight, NONE, Queued, Stage};
use crate::subscription::SubscriptionIds;
use crate::view::View;
use crate::walk::{self, Walk};

impl Clients {
    /// Sends what the client may be sent now: first again what it had not acknowledged on its
    /// last connection, then what waits, then retained messages.
    pub(crate) fn pump(&mut self, now: Time, index: u32, view: &dyn View) {
        while self.pump_queue(now, index) && self.walk_on(now, index, view) {}
    }

    /// A session has its client again: window and outbox grow once to what waits.
    pub(crate) fn make_room_for_what_waits(&mut self, index: u32) {
        let Some(session) = self.sessions.at(index) else { return };
        let bytes = session.expect_to_send().min(self.config.outbox_bytes_max / 2);
        if bytes > 0 {
            self.outboxes[session.connection].buffer(&mut self.pool).reserve(bytes);
        }
    }

    /// [`Clients::pump`] without retained messages. Returns whether the client takes more.
    pub(crate) fn pump_queue(&mut self, now: Time, index: u32) -> bool {
        loop {
            let takes_more = self.pump_what_is_here(now, index);
            if !self.fetch_more(index) {
                return takes_more;
            }
        }
    }

    /// Asks the log for messages that are away, if their turn comes near. Returns whether there is
    /// more here without having asked.
    fn fetch_more(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.at(index) else { return false };
        if session.connection == NONE {
            return false;
        }
        let Some(positions) = session.queue.ask() else { return false };
        if positions.is_empty() {
            session.queue.bring_back(Vec::new());
            return true;
        }
        let holder = session.holder;
        let of = self.sessions.subscriber(index, holder);
        self.outputs.push_back(Output::Fetch { of, positions });
        false
    }

    /// Messages came back from the log.
    pub(crate) fn fetched(
        &mut self,
        now: Time,
        of: Subscriber,
        messages: Vec<Option<Message>>,
        view: &dyn View,
    ) {
        let Some((index, session)) = self.sessions.of(of) else { return };
        for lost in session.queue.bring_back(messages) {
            self.ledger.drop(DropReason::Unreadable, 1);
            self.finish(index, Some(lost));
        }
        self.pump(now, index, view);
    }

    fn pump_what_is_here(&mut self, now: Time, index: u32) -> bool {
        loop {
            let Some(session) = self.sessions.at(index) else { return false };
            if session.connection == NONE {
                return false;
            }
            let outbox = &mut self.outboxes[session.connection];
            outbox.hungry = outbox.len() >= self.config.outbox_bytes_max / 2;
            if outbox.hungry {
                return false;
            }
            if session.has_window()
                && session.has_packet_id()
                && let Some(delivery) = session.queue.pop_front()
            {
                self.take_into_window(now, index, delivery);
            } else if !session.has_quota() {
                return false;
            } else {
                match session.inflight.get(usize::from(session.sent)).map(|next| next.stage) {
                    // The log has to have its packet id, or that the client has it, first.
                    Some(Stage::Recording(_) | Stage::Having(_)) => return false,
                    Some(Stage::Publish | Stage::Release) => self.send_inflight(now, index),
                    None if session.has_packet_id() => return true,
                    None => {
                        self.ask_for_packet_ids(index);
                        return false;
                    }
                }
            }
        }
    }

    /// The packet ids of a session come to their end: the log is to know of more.
    #[cold]
    pub(crate) fn ask_for_packet_ids(&mut self, index: u32) {
        let block = self.config.packet_ids_ahead;
        let Some(session) = self.sessions.at(index) else { return };
        if let Some(through) = session.packet_ids.ask(block) {
            self.operations.push((index, session.holder, Operation::Reserved { through }));
        }
    }

    /// The log knows of more packet ids, if this was about them.
    pub(crate) fn is_reserved(&mut self, index: u32, holder: Holder, through: Option<PacketId>) {
        let session = self.sessions.at(index).filter(|found| found.holder == holder);
        if let Some((session, through)) = session.zip(through) {
            session.packet_ids.reserve(through);
        }
    }

    /// Gives a delivery its packet id, or sends it if it needs none.
    fn take_into_window(&mut self, now: Time, index: u32, delivery: Queued) {
        if delivery.message.is_expired(now) {
            self.ledger.expired += 1;
            self.settle_loan(&delivery);
            return self.finish(index, delivery.stored());
        }
        // At QoS 1 it is enough to ask when it is sent.
        if delivery.qos != QoS::AtLeastOnce && !self.may_receive(index, &delivery) {
            self.settle_loan(&delivery);
            let stored = delivery.stored();
            return self.drop(index, delivery.message.topic(), DropReason::NotPermitted, stored);
        }
        let Some(session) = self.sessions.at(index) else { return };
        if delivery.qos == QoS::AtMostOnce && session.is_all_sent() {
            if !self.send_single(now, index, &delivery.message.parts(), delivery.manner(), None) {
                self.drop(index, delivery.message.topic(), DropReason::TooLarge, None);
            }
            return;
        }
        // Whoever calls this has seen that there is one.
        let Some(packet_id) = session.next_packet_id() else { return self.wait(index, delivery) };
        let stage = if delivery.qos == QoS::ExactlyOnce && session.durable {
            // Without a position it is a retained message of a walk: the log has only the id.
            let operation = match delivery.stored() {
                Some(delivery) => Operation::Sending { delivery, packet_id },
                None => Operation::Holding { packet_id },
            };
            self.operations.push((index, session.holder, operation));
            Stage::Recording(None)
        } else {
            Stage::Publish
        };
        session.inflight.push_back(Inflight {
            packet_id,
            qos: delivery.qos,
            stage,
            was_sent: false,
            dropped: None,
            delivery: Some(delivery),
        });
        if session.needs_packet_ids(self.config.packet_ids_ahead) {
            self.ask_for_packet_ids(index);
        }
    }

    /// Sends the next of those that have a packet id: PUBLISH, with DUP if it went out before
    /// [MQTT-3.3.1-1], or PUBREL, each under the same id [MQTT-4.4.0-1].
    fn send_inflight(&mut self, now: Time, index: u32) {
        let Some(session) = self.sessions.at(index) else { return };
        let (connection, version, durable) = (session.connection, session.version, session.durable);
        let Some(next) = session.inflight.get_mut(usize::from(session.sent)) else { return };
        let (packet_id, dup) = (next.packet_id, next.was_sent);
        session.sent += 1;
        next.was_sent = true;
        if next.stage == Stage::Release {
            let reason = ReasonCode::Success;
            return self.write(connection, |out| encode_pubrel(out, version, packet_id, reason));
        }
        let Some(delivery) = next.delivery.clone() else { return };
        if !durable && delivery.lender.is_none() {
            // It can never be sent again: the packet id is all that is needed.
            next.delivery = None;
        }
        if !dup && delivery.message.is_expired(now) {
            self.ledger.expired += 1;
            return self.take_out(index, packet_id, &delivery);
        }
        // It may have waited for the log or the socket since it got its packet id.
        let reason = if !self.may_receive(index, &delivery) {
            DropReason::NotPermitted
        } else if !self.send_single(
            now,
            index,
            &delivery.message.parts(),
            delivery.manner(),
            Some((packet_id, dup)),
        ) {
            DropReason::TooLarge
        } else {
            if delivery.qos == QoS::AtMostOnce {
                // It had its place behind others only; it is done when the kernel has it.
                self.take_out(index, packet_id, &delivery);
            }
            return;
        };
        if dup && delivery.qos == QoS::ExactlyOnce {
            // The client may have it: the id is free only after PUBCOMP.
            return self.withdraw(index, packet_id, reason);
        }
        self.ledger.drop(reason, 1);
        self.tell_dropped(index, delivery.message.topic(), reason);
        self.take_out(index, packet_id, &delivery);
    }

    /// A delivery leaves the window without the client's word.
    fn take_out(&mut self, index: u32, packet_id: PacketId, delivery: &Queued) {
        let Some(session) = self.sessions.at(index) else { return };
        session.acknowledge(packet_id);
        self.settle_loan(delivery);
        let Some(session) = self.sessions.at(index) else { return };
        let holder = session.holder;
        let is_held = session.durable && delivery.qos == QoS::ExactlyOnce;
        match delivery.stored() {
            None if is_held => {
                self.operations.push((index, holder, Operation::Freed { packet_id }));
            }
            stored => self.finish(index, stored),
        }
    }

    fn settle_loan(&mut self, delivery: &Queued) {
        if let Some(loan) = delivery.loan() {
            self.settle(loan);
        }
    }

    /// A delivery of QoS 2 that went out once is not sent again, but completed.
    fn withdraw(&mut self, index: u32, packet_id: PacketId, reason: DropReason) {
        let Some(session) = self.sessions.at(index) else { return };
        let (holder, connection, version) = (session.holder, session.connection, session.version);
        let Some(inflight) = session.inflight(packet_id) else { return };
        inflight.dropped = Some(reason);
        if let Some(delivery) = inflight.stored() {
            inflight.stage = Stage::Having(None);
            self.operations.push((index, holder, Operation::Had { delivery }));
        } else {
            inflight.stage = Stage::Release;
            let reason = ReasonCode::Success;
            self.write(connection, |out| encode_pubrel(out, version, packet_id, reason));
        }
    }

    /// What waited is asked for again: permissions may have changed since.
    fn may_receive(&mut self, index: u32, delivery: &Queued) -> bool {
        if self.gate.is_open() {
            return true;
        }
        let topic = delivery.message.topic();
        self.sessions.at(index).is_some_and(|session| {
            let verdict =
                self.gate.permit(session.name.as_client(), Action::Receive, topic.as_str());
            verdict == Verdict::Yes
        })
    }

    /// Appends one packet to the session's outbox. Returns whether it fits the client.
    pub(crate) fn send_single(
        &mut self,
        now: Time,
        index: u32,
        message: &MessageParts<'_>,
        manner: Manner<'_>,
        id: Option<(PacketId, bool)>,
    ) -> bool {
        let Some(session) = self.sessions.at(index) else { return true };
        let connection = session.connection;
        let mut aliases = match self.connections.at(connection) {
            Some(found) if session.has_aliases => {
                found.rare_if_any().and_then(|rare| rare.aliases.as_mut())
            }
            Some(_) | None => None,
        };
        let topic = message.topic.as_str();
        let single = Single {
            message,
            qos: manner.qos,
            retain: manner.retain,
            ids: manner.ids.as_properties(),
            naming: aliases.as_ref().map_or(Naming::Name, |aliases| aliases.naming(topic)),
            dup: id.is_some_and(|(_, dup)| dup),
            packet_id: id.map_or(0, |(packet_id, _)| packet_id.value()),
        };
        let outbox = &mut self.outboxes[connection];
        let buffer = outbox.buffer(&mut self.pool);
        let before = buffer.len();
        let fits = single.encode(now, session.version, session.max_packet_bytes, buffer);
        self.appended_bytes += (buffer.len() - before) as u64;
        if fits
            && let Naming::Both(alias) = single.naming
            && let Some(aliases) = &mut aliases
        {
            aliases.said(topic, alias);
        }
        if fits && manner.qos == QoS::AtMostOnce {
            outbox.unsent += 1;
        }
        if fits {
            self.traffic.publish_sent(manner.qos, message.payload.len());
            let packet_id = id.map(|(packet_id, _)| packet_id);
            self.tell_delivered(index, message.topic, manner.qos, packet_id);
        }
        self.announce(connection);
        fits
    }

    /// Begins a walk. One that finds nothing, as most do, takes no place among the session's.
    pub(crate) fn begin_walk(&mut self, now: Time, index: u32, mut walk: Walk, view: &dyn View) {
        let Some(session) = self.sessions.at(index) else { return };
        let is_first = session.walks.is_empty() && !session.is_walking;
        if is_first && self.walking.len() < WALKS_PER_TURN {
            walk.look_on(session.namespace, view);
            if walk.is_done && walk.found.is_empty() {
                return;
            }
        }
        let goes_on = is_first && !walk.is_done;
        walk::begin(&mut session.walks, walk);
        if goes_on {
            session.is_walking = true;
            self.walking.push_back(index);
        }
        self.pump(now, index, view);
    }

    /// The next retained message of the session's walks, or a slice that looks for some. Returns
    /// whether there was one to send.
    fn walk_on(&mut self, now: Time, index: u32, view: &dyn View) -> bool {
        let Some(session) = self.sessions.at(index) else { return false };
        let namespace = session.namespace;
        let Some(walk) = session.walks.front_mut() else { return false };
        if let Some(message) = walk.found.pop_front() {
            let (granted, ids) = (walk.granted, walk.ids.clone());
            self.deliver_retained(now, index, message, granted, ids);
            return true;
        }
        if walk.is_done {
            session.walks.pop_front();
            session.walks.forget_if_empty();
            return true;
        }
        if session.is_walking {
            // One slice a turn: the others have their turn as well.
            return false;
        }
        walk.look_on(namespace, view);
        if !walk.is_done {
            session.is_walking = true;
            self.walking.push_back(index);
        }
        true
    }

    fn deliver_retained(
        &mut self,
        now: Time,
        index: u32,
        message: Message,
        granted: QoS,
        ids: SubscriptionIds,
    ) {
        self.ledger.routed += 1;
        let qos = message.qos.min(granted);
        let delivery = Queued { message, position: None, qos, retain: true, ids, lender: None };
        self.take_into_window(now, index, delivery);
    }
}
