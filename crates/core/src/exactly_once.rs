//! QoS 2, both ways: what is received once, and what is delivered once.

use bellbird_codec::{PacketId, Publish, QoS, ReasonCode, Version, encode_pubrec, encode_pubrel};

use crate::clients::Clients;
use crate::contract::Flow;
use crate::identity::{ConnectionId, Holder, Position, Ticket, Time};
use crate::record::Operation;
use crate::release::{Answer, AnswerKind, Release, StoredFor};
use crate::session::{NONE, Receipt, Stage};
use crate::shard::Shard;
use crate::view::View;

impl Shard {
    /// Whether this packet id stands for a message that was received before [MQTT-4.3.3-10]; then
    /// that is said again.
    pub(crate) fn is_received(&mut self, id: ConnectionId, packet_id: Option<PacketId>) -> bool {
        let Some(packet_id) = packet_id else { return false };
        let Some((index, version)) = self.session_of(id) else { return false };
        let Some(session) = self.clients.sessions.at(index) else { return false };
        let Some(receipt) = session.receipt(packet_id) else { return false };
        // One that is not ready is answered when it is, on whatever connection there is.
        if receipt.is_ready {
            let reason = ReasonCode::Success;
            self.clients.write(id.index, |out| encode_pubrec(out, version, packet_id, reason));
        }
        true
    }

    /// Notes the packet id of a new message of QoS 1 or 2. False if there are too many open: those
    /// of QoS 1 that are not answered, and those of QoS 2 until they are released
    /// [MQTT-3.3.4-7]. Clients before 5.0 know no such limit: their input waits for the log, and
    /// at QoS 2 packet ids are what bounds them.
    pub(crate) fn receive(&mut self, id: ConnectionId, packet: &Publish<'_>) -> bool {
        let Some((packet_id, (index, version))) = packet.packet_id.zip(self.session_of(id)) else {
            return true;
        };
        let receive_max = usize::from(self.terms_of(id).receive_max);
        let Some(connection) = self.clients.connections.live(id) else { return true };
        let Some(session) = self.clients.sessions.at(index) else { return true };
        let unreleased = session.received.len();
        let open = unreleased + usize::from(connection.unanswered);
        if version == Version::V5 && open >= receive_max {
            return false;
        }
        if packet.qos == QoS::AtLeastOnce {
            connection.unanswered = connection.unanswered.saturating_add(1);
            return true;
        }
        session.receive(Receipt { packet_id, position: None, is_ready: false });
        true
    }

    /// The message of a receipt is ours. Returns where to say so: the session's connection.
    pub(crate) fn receipt_is_ready(
        &mut self,
        index: u32,
        holder: Holder,
        packet_id: PacketId,
        position: Option<Position>,
    ) -> Option<(u32, Version)> {
        let session = self.clients.sessions.at(index).filter(|found| found.holder == holder)?;
        if let Some(receipt) = session.receipt(packet_id) {
            receipt.is_ready = true;
            receipt.position = position;
        }
        (session.connection != NONE).then_some((session.connection, session.version))
    }

    /// PUBREL from a client: the packet id is free once the log knows it [MQTT-4.3.3-11].
    pub(crate) fn released(&mut self, now: Time, id: ConnectionId, packet_id: PacketId) -> Flow {
        let Some((index, _)) = self.session_of(id) else { return Flow::Continue };
        let Some(session) = self.clients.sessions.at(index) else { return Flow::Continue };
        let is_ready = session.receipt(packet_id).is_some_and(|receipt| receipt.is_ready);
        let receipt = if is_ready { session.release(packet_id) } else { None };
        let (holder, epoch) = (session.holder, session.epoch);
        let reason = match receipt {
            Some(_) => ReasonCode::Success,
            None => ReasonCode::PacketIdentifierNotFound,
        };
        let answer = Answer { kind: AnswerKind::Pubcomp, packet_id, reason };
        let Some(position) = receipt.and_then(|receipt| receipt.position) else {
            return self.answer_in_order(id, answer);
        };
        let Some(place) = self.take_place(id) else { return Flow::Continue };
        let operations = vec![Operation::Released { position }];
        let level = self.durability_of(id);
        self.commit_at(level, now, holder, epoch, operations, StoredFor::Beside(place));
        self.releases.fill(place, Release { answer: Some(answer), ..Release::waiting() });
        Flow::Continue
    }
}

impl Clients {
    /// PUBREC from a client: it has the message, or refuses it.
    pub(crate) fn had(
        &mut self,
        now: Time,
        index: u32,
        packet_id: PacketId,
        reason: ReasonCode,
        view: &dyn View,
    ) {
        let Some(session) = self.sessions.at(index) else { return };
        let (connection, version) = (session.connection, session.version);
        let (holder, durable) = (session.holder, session.durable);
        let of_exactly_once =
            session.inflight(packet_id).filter(|found| found.qos == QoS::ExactlyOnce);
        let Some(inflight) = of_exactly_once else {
            let reason = ReasonCode::PacketIdentifierNotFound;
            return self.write(connection, |out| encode_pubrel(out, version, packet_id, reason));
        };
        if reason.is_error() {
            // It is over, and never sent again [MQTT-4.4.0-2].
            return self.over(now, index, packet_id, view);
        }
        match (inflight.stage, inflight.stored()) {
            (Stage::Publish, Some(delivery)) if durable => {
                inflight.stage = Stage::Having(None);
                self.operations.push((index, holder, Operation::Had { delivery }));
            }
            (Stage::Publish | Stage::Release, _) => {
                inflight.stage = Stage::Release;
                let reason = ReasonCode::Success;
                self.write(connection, |out| encode_pubrel(out, version, packet_id, reason));
            }
            // The log is asked already; or the client speaks of what it was not sent.
            (Stage::Having(_) | Stage::Recording(_), _) => {}
        }
    }

    /// PUBCOMP from a client: the exchange is over.
    pub(crate) fn completed(
        &mut self,
        now: Time,
        index: u32,
        packet_id: PacketId,
        view: &dyn View,
    ) {
        let Some(session) = self.sessions.at(index) else { return };
        if session.inflight(packet_id).is_some_and(|found| found.stage == Stage::Release) {
            self.over(now, index, packet_id, view);
        }
    }

    /// The operations of this turn have their ticket.
    pub(crate) fn is_committed(&mut self, index: u32, ticket: Ticket) {
        let Some(session) = self.sessions.at(index) else { return };
        for inflight in session.inflight.iter_mut() {
            if let Stage::Recording(none @ None) | Stage::Having(none @ None) = &mut inflight.stage
            {
                *none = Some(ticket);
            }
        }
    }

    /// The log has a session's operations: what waited for them goes on.
    pub(crate) fn is_recorded(
        &mut self,
        now: Time,
        index: u32,
        holder: Holder,
        ticket: Ticket,
        view: &dyn View,
    ) {
        let Some(session) = self.sessions.at(index).filter(|found| found.holder == holder) else {
            return;
        };
        let sent = usize::from(session.sent);
        let mut releases = Vec::new();
        for (place, inflight) in session.inflight.iter_mut().enumerate() {
            if inflight.stage == Stage::Recording(Some(ticket)) {
                inflight.stage = Stage::Publish;
            } else if inflight.stage == Stage::Having(Some(ticket)) {
                inflight.stage = Stage::Release;
                if place < sent {
                    releases.push(inflight.packet_id);
                }
            }
        }
        let (connection, version) = (session.connection, session.version);
        for packet_id in releases {
            let reason = ReasonCode::Success;
            self.write(connection, |out| encode_pubrel(out, version, packet_id, reason));
        }
        self.pump(now, index, view);
    }
}
