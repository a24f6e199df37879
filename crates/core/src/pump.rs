//! What a session still owes its client, sent as fast as the client takes it.

use std::sync::Arc;

use bellbird_codec::{PacketId, QoS};
use bellbird_topics::{Filter, Progress};

use crate::clients::Clients;
use crate::identity::Time;
use crate::ledger::DropReason;
use crate::limits::WALK_NODES;
use crate::message::Message;
use crate::outgoing::Single;
use crate::permit::{Action, Verdict};
use crate::session::{Inflight, NONE, Queued};
use crate::view::View;

impl Clients {
    /// Sends what the client may be sent now: first again what it had not acknowledged on its
    /// last connection, then what waits, then retained messages.
    pub(crate) fn pump(&mut self, now: Time, index: u32, view: &dyn View) {
        loop {
            let Some(session) = self.sessions.at(index) else { return };
            if session.connection == NONE {
                return;
            }
            let outbox = &mut self.outboxes[session.connection as usize];
            outbox.hungry = outbox.len() >= self.config.outbox_bytes_max / 2;
            if outbox.hungry || !session.has_quota() {
                return;
            }
            let sent = usize::from(session.sent);
            if let Some(inflight) = session.inflight.get(sent) {
                let again = inflight.clone();
                session.sent += 1;
                self.send_again(now, index, &again);
            } else if let Some(delivery) = session.queue.pop_front() {
                session.queue_bytes -= delivery.message.size_bytes();
                self.send_queued(now, index, delivery);
            } else {
                return self.walk_on(now, index, view);
            }
        }
    }

    /// With the same packet id and DUP set [MQTT-4.4.0-1] [MQTT-3.3.1-1]. A delivery that went
    /// out once does not expire any more.
    fn send_again(&mut self, now: Time, index: u32, inflight: &Inflight) {
        let Some(delivery) = &inflight.delivery else { return };
        if !self.send_single(now, index, delivery, Some((inflight.packet_id, true))) {
            if let Some(session) = self.sessions.at(index) {
                session.acknowledge(inflight.packet_id);
            }
            self.drop(index, DropReason::TooLarge, delivery.position);
        }
    }

    fn send_queued(&mut self, now: Time, index: u32, delivery: Queued) {
        if delivery.message.is_expired(now) {
            self.ledger.expired += 1;
            return self.finish(index, delivery.position);
        }
        if delivery.qos == QoS::AtMostOnce {
            if !self.send_single(now, index, &delivery, None) {
                self.drop(index, DropReason::TooLarge, None);
            }
            return;
        }
        let Some(session) = self.sessions.at(index) else { return };
        let packet_id = session.next_packet_id();
        if !self.send_single(now, index, &delivery, Some((packet_id, false))) {
            return self.drop(index, DropReason::TooLarge, delivery.position);
        }
        let Some(session) = self.sessions.at(index) else { return };
        let delivery = session.durable.then_some(delivery);
        session.inflight.push_back(Inflight { packet_id, delivery });
        session.sent += 1;
    }

    /// Appends one packet to the session's outbox. Returns whether it fits the client.
    fn send_single(
        &mut self,
        now: Time,
        index: u32,
        delivery: &Queued,
        id: Option<(PacketId, bool)>,
    ) -> bool {
        let Some(session) = self.sessions.at(index) else { return true };
        let single = Single {
            message: &delivery.message,
            qos: delivery.qos,
            retain: delivery.retain,
            dup: id.is_some_and(|(_, dup)| dup),
            packet_id: id.map_or(0, |(packet_id, _)| packet_id.value()),
        };
        let connection = session.connection;
        let outbox = &mut self.outboxes[connection as usize];
        let buffer = outbox.buffer(&mut self.pool);
        let fits = single.encode(now, session.version, session.max_packet_bytes, buffer);
        if fits && delivery.qos == QoS::AtMostOnce {
            outbox.unsent += 1;
        }
        self.announce(connection);
        fits
    }

    /// One slice of the retained messages that the session's subscriptions asked for.
    fn walk_on(&mut self, now: Time, index: u32, view: &dyn View) {
        let Some(session) = self.sessions.at(index) else { return };
        let Some(walk) = session.walks.as_mut().and_then(|walks| walks.front_mut()) else {
            return;
        };
        let Ok(filter) = Filter::parse(&walk.filter) else { return };
        let mut found = std::mem::take(&mut self.found);
        let granted = walk.granted;
        let progress =
            view.walk(session.namespace, filter, &mut walk.cursor, WALK_NODES, &mut found);
        if progress == Progress::Done
            && let Some(walks) = &mut session.walks
        {
            walks.pop_front();
            if walks.is_empty() {
                session.walks = None;
            }
        }
        let goes_on = session.walks.is_some() && !session.is_walking;
        session.is_walking |= goes_on;
        for message in found.drain(..) {
            self.deliver_retained(now, index, message, granted);
        }
        self.found = found;
        if goes_on {
            self.walking.push_back(index);
        }
    }

    fn deliver_retained(&mut self, now: Time, index: u32, message: Arc<Message>, granted: QoS) {
        if message.is_expired(now) {
            return;
        }
        self.ledger.routed += 1;
        let topic = message.topic();
        let Some(session) = self.sessions.at(index) else { return };
        let verdict = self.gate.permit(&session.client_id, Action::Receive, topic.as_str());
        if verdict != Verdict::Yes {
            return self.drop(index, DropReason::NotPermitted, None);
        }
        let qos = message.qos.min(granted);
        let delivery = Queued { message, position: None, qos, retain: true };
        if qos == QoS::AtMostOnce || (session.is_drained() && session.has_quota()) {
            self.send_queued(now, index, delivery);
        } else {
            // A walk is exempt from the queue's limits; a slice is all it can add to them.
            session.queue_bytes += delivery.message.size_bytes();
            session.queue.push_back(delivery);
        }
    }
}
