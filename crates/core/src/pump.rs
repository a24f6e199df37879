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
            } else if !self.walk_on(now, index, view) {
                return;
            }
        }
    }

    /// With the same packet id and DUP set [MQTT-4.4.0-1] [MQTT-3.3.1-1]. A delivery that went
    /// out once does not expire any more.
    fn send_again(&mut self, now: Time, index: u32, inflight: &Inflight) {
        let Some(delivery) = &inflight.delivery else { return };
        let reason = if !self.may_receive(index, delivery) {
            DropReason::NotPermitted
        } else if !self.send_single(now, index, delivery, Some((inflight.packet_id, true))) {
            DropReason::TooLarge
        } else {
            return;
        };
        if let Some(session) = self.sessions.at(index) {
            session.acknowledge(inflight.packet_id);
        }
        self.drop(index, reason, delivery.position);
    }

    fn send_queued(&mut self, now: Time, index: u32, delivery: Queued) {
        if delivery.message.is_expired(now) {
            self.ledger.expired += 1;
            return self.finish(index, delivery.position);
        }
        if !self.may_receive(index, &delivery) {
            return self.drop(index, DropReason::NotPermitted, delivery.position);
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

    /// What waited is asked for again: permissions may have changed since.
    fn may_receive(&mut self, index: u32, delivery: &Queued) -> bool {
        if self.gate.is_open() {
            return true;
        }
        let topic = delivery.message.topic();
        self.sessions.at(index).is_some_and(|session| {
            let verdict = self.gate.permit(&session.client_id, Action::Receive, topic.as_str());
            verdict == Verdict::Yes
        })
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
        let before = buffer.len();
        let fits = single.encode(now, session.version, session.max_packet_bytes, buffer);
        self.appended_bytes += (buffer.len() - before) as u64;
        if fits && delivery.qos == QoS::AtMostOnce {
            outbox.unsent += 1;
        }
        self.announce(connection);
        fits
    }

    /// The next retained message of the session's walks, or a slice that looks for some. Returns
    /// whether there was one to send.
    fn walk_on(&mut self, now: Time, index: u32, view: &dyn View) -> bool {
        let Some(session) = self.sessions.at(index) else { return false };
        let namespace = session.namespace;
        let Some(walks) = &mut session.walks else { return false };
        let Some(walk) = walks.front_mut() else { return false };
        if let Some(message) = walk.found.pop_front() {
            let granted = walk.granted;
            self.deliver_retained(now, index, message, granted);
            return true;
        }
        if walk.is_done {
            walks.pop_front();
            if walks.is_empty() {
                session.walks = None;
            }
            return true;
        }
        if session.is_walking {
            // One slice a turn: the others have their turn as well.
            return false;
        }
        let Ok(filter) = Filter::parse(&walk.filter) else { return false };
        let mut found = Vec::new();
        let progress = view.walk(namespace, filter, &mut walk.cursor, WALK_NODES, &mut found);
        walk.found.extend(found);
        walk.is_done = progress == Progress::Done;
        if !walk.is_done {
            session.is_walking = true;
            self.walking.push_back(index);
        }
        true
    }

    fn deliver_retained(&mut self, now: Time, index: u32, message: Arc<Message>, granted: QoS) {
        self.ledger.routed += 1;
        let qos = message.qos.min(granted);
        self.send_queued(now, index, Queued { message, position: None, qos, retain: true });
    }
}
