//! How connections end, and sessions after them: by the client, by us, by silence, by expiry.

use bellbird_codec::{Disconnect, Packet, Properties, ReasonCode, Version};

use crate::connection::{Cause, Phase};
use crate::contract::{Flow, Output};
use crate::event::{Event, Names, Telling};
use crate::identity::{ConnectionId, Time};
use crate::ledger::DropReason;
use crate::record::Operation;
use crate::release::StoredFor;
use crate::session::NONE;
use crate::shard::Shard;
use crate::timer::Timer;

impl Shard {
    pub(crate) fn client_disconnects(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Disconnect<'_>,
    ) -> Flow {
        let expiry_secs_max = self.terms_of(id).session_expiry_secs_max;
        if let Some(asked) = packet.properties.session_expiry_interval()
            && let Some((index, _)) = self.session_of(id)
            && let Some(session) = self.clients.sessions.at(index)
        {
            if session.expiry_secs == 0 && asked != 0 {
                return self.break_off(now, id, ReasonCode::ProtocolError);
            }
            session.expiry_secs = asked.min(expiry_secs_max);
        }
        if packet.reason == ReasonCode::Success {
            self.forget_will(id);
        }
        self.clients.traffic.closed(Cause::Client);
        self.detach(now, id, Cause::Client, Some(packet.reason));
        self.close(id);
        Flow::Park
    }

    /// Goodbye was said: the will is not [MQTT-3.14.4-3].
    fn forget_will(&mut self, id: ConnectionId) {
        let Some((index, _)) = self.session_of(id) else { return };
        let Some(session) = self.clients.sessions.at(index) else { return };
        if session.will.take().is_some() && session.durable {
            let holder = session.holder;
            self.clients.operations.push((index, holder, Operation::WillOver));
        }
    }

    pub(crate) fn malformed(
        &mut self,
        now: Time,
        id: ConnectionId,
        reason: ReasonCode,
        version: Option<Version>,
    ) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        self.clients.traffic.malformed += 1;
        match connection.phase {
            Phase::Fresh | Phase::Authenticating => {
                connection.version = version.unwrap_or(connection.version);
                let _refused = self.refuse(now, id, Names::default(), reason);
            }
            Phase::Opening | Phase::Open => self.disconnect(now, id, reason, Cause::Protocol),
            Phase::Closing => {}
        }
    }

    /// Ends a connection from our side, with a DISCONNECT where the version has one.
    pub(crate) fn disconnect(
        &mut self,
        now: Time,
        id: ConnectionId,
        reason: ReasonCode,
        cause: Cause,
    ) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        let (phase, version) = (connection.phase, connection.version);
        if phase == Phase::Closing {
            return;
        }
        // No DISCONNECT before CONNACK [MQTT-3.14.0-1].
        if phase == Phase::Open && version == Version::V5 {
            let packet =
                Packet::Disconnect(Disconnect { reason, properties: Properties::default() });
            self.clients.write(id.index, |out| packet.encode(version, out));
        }
        self.clients.traffic.closed(cause);
        self.detach(now, id, cause, Some(reason));
        self.close(id);
    }

    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.clients.connections.live(id) {
            connection.phase = Phase::Closing;
            self.clients.outputs.push_back(Output::Close(id));
        }
    }

    /// Wills wait for the next start [MQTT 5.0, 3.1.2.5]: nobody here would hear them, and the
    /// log could not tell any more that they were said.
    pub(crate) fn stop(&mut self, now: Time) {
        for id in self.clients.connections.ids() {
            self.disconnect(now, id, ReasonCode::ServerShuttingDown, Cause::Stopped);
        }
    }

    pub(crate) fn closed(&mut self, now: Time, id: ConnectionId) {
        self.tell_unsent(id);
        self.detach(now, id, Cause::Lost, None);
        let Some(connection) = self.clients.connections.close(id) else { return };
        if connection.phase != Phase::Closing {
            self.clients.traffic.closed(Cause::Lost);
        }
        if let Some(outbox) = self.clients.outboxes.take(id.index) {
            let unsent = outbox.close(&mut self.clients.pool);
            self.clients.ledger.drop(DropReason::ConnectionLost, u64::from(unsent));
        }
    }

    /// Tells what goes with a connection that is lost. Where we closed it, its session is none of
    /// its business any more, and only the counter says so.
    fn tell_unsent(&mut self, id: ConnectionId) {
        let unsent = self.clients.outboxes.get(id.index).map_or(0, |found| found.unsent);
        if unsent > 0
            && let Some((index, _)) = self.session_of(id)
        {
            self.clients.tell(index, |whose| Event::Dropped {
                whose,
                topic: None,
                reason: DropReason::ConnectionLost,
                deliveries: unsent.into(),
            });
        }
    }

    /// Takes the connection from its session, and ends the session if nothing keeps it.
    fn detach(&mut self, now: Time, id: ConnectionId, cause: Cause, reason: Option<ReasonCode>) {
        let level = self.durability_of(id);
        let Some(connection) = self.clients.connections.live(id) else { return };
        let publisher = std::mem::replace(&mut connection.publisher, NONE);
        let index = std::mem::replace(&mut connection.session, NONE);
        connection.forget_rare();
        if publisher != NONE {
            self.releases.orphan(publisher);
        }
        let Some(session) = self.clients.sessions.at(index) else { return };
        let was_welcome = session.connection != NONE;
        session.connection = NONE;
        session.owner = NONE;
        session.sent = 0;
        session.left_at = now;
        session.rest();
        let (holder, epoch, expiry_secs) = (session.holder, session.epoch, session.expiry_secs);
        let deadline = session.next_deadline();
        let keeps_will = cause == Cause::Stopped && session.will.is_some();
        let durable = session.durable;
        if was_welcome {
            self.clients.traffic.connected -= 1;
            self.tell_gone(index, id, cause, reason);
        }
        if keeps_will && !durable {
            // It is here for its will only: a group would lend to it and get all of it back.
            self.tell_groups_gone(index);
            return;
        }
        if expiry_secs == 0 && !keeps_will {
            self.end_session(now, index);
            return;
        }
        self.tell_groups_gone(index);
        let operations = vec![Operation::Leave { expiry_secs }];
        self.commit_at(level, now, holder, epoch, operations, StoredFor::Nothing);
        if cause == Cause::Stopped {
            return;
        }
        self.check_will(now, index);
        if let Some(deadline) = deadline {
            self.look_at_session(now, index, deadline);
        }
    }

    /// Tells that a client is gone. Who broke the protocol is told of like a refusal, and so is
    /// whoever had to wait for the log too long.
    fn tell_gone(
        &mut self,
        index: u32,
        id: ConnectionId,
        cause: Cause,
        reason: Option<ReasonCode>,
    ) {
        let is_refused = matches!(cause, Cause::Protocol | Cause::Storage);
        if is_refused || self.clients.config.telling == Telling::Everything {
            self.clients.tell_refusal(index, |client_id, user_name| Event::Disconnected {
                connection: id,
                client_id,
                user_name,
                cause,
                reason,
            });
        }
    }

    pub(crate) fn check_silence(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        if connection.look_at > now {
            return;
        }
        connection.look_at = Time(0);
        let silence_ms_max = match connection.phase {
            Phase::Fresh | Phase::Authenticating => {
                u64::from(self.clients.config.handshake_secs) * 1000
            }
            Phase::Opening | Phase::Open => u64::from(connection.silence_ms_max),
            Phase::Closing => 0,
        };
        if silence_ms_max == 0 {
            return;
        }
        // A parked client cannot be heard; that is not its fault.
        if connection.parks.is_not_its_fault() {
            connection.last_seen = now;
        }
        let deadline = Time(connection.last_seen.0 + silence_ms_max);
        if deadline > now {
            return self.look_at_connection(now, id, deadline);
        }
        self.disconnect(now, id, ReasonCode::KeepAliveTimeout, Cause::KeepAlive);
    }

    pub(crate) fn check_expiry(&mut self, now: Time, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        // Another look is to come, or this one was for a session that had the place before.
        if session.look_at > now {
            return;
        }
        session.look_at = Time(0);
        if session.owner != NONE {
            return;
        }
        self.check_will(now, index);
        let Some(session) = self.clients.sessions.at(index) else { return };
        if session.expires_at().is_some_and(|deadline| deadline <= now) {
            self.clients.traffic.sessions_expired += 1;
            self.end_session(now, index);
        } else if let Some(deadline) = session.next_deadline() {
            self.look_at_session(now, index, deadline);
        }
    }

    /// Ends a session whose time without connection is over.
    pub(crate) fn end_if_expired(&mut self, now: Time, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        let is_expired = session.expires_at().is_some_and(|deadline| deadline <= now);
        if session.owner == NONE && is_expired {
            self.clients.traffic.sessions_expired += 1;
            self.end_session(now, index);
        }
    }

    pub(crate) fn look_at_connection(&mut self, now: Time, id: ConnectionId, deadline: Time) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        connection.look_at = self.timers.insert(now, deadline, Timer::Connection(id));
    }

    pub(crate) fn look_at_session(&mut self, now: Time, index: u32, deadline: Time) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        // A look that comes sooner anyway will find out; a client that comes and goes adds none.
        if session.look_at > now && session.look_at <= deadline {
            return;
        }
        session.look_at = self.timers.insert(now, deadline, Timer::Session(index));
    }
}
