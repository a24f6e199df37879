//! Enhanced authentication: AUTH packets between CONNECT and CONNACK, and again later
//! [MQTT 5.0, 4.12]. The mechanism is outside; here is who may speak when.

use bellbird_codec::{Auth, Connect, Packet, Property, PropertyBuffer, ReasonCode, Version};

use crate::connect::Hello;
use crate::connection::{Cause, Parks, Phase};
use crate::contract::{Flow, Output};
use crate::event::Names;
use crate::identity::{ConnectionId, Time};
use crate::name::Name;
use crate::permit::Action;
use crate::shard::Shard;

/// What a mechanism is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthStep {
    /// The method the client named in CONNECT.
    pub method: Box<str>,
    /// Who says so.
    pub client_id: Box<str>,
    /// Whether an exchange begins; otherwise this answers the last challenge.
    pub is_first: bool,
    /// Authentication Data.
    pub data: Option<Box<[u8]>>,
}

/// Leaves the data out, so that it cannot reach a log.
impl std::fmt::Debug for AuthStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthStep({} of {:?})", self.method, self.client_id)
    }
}

/// What a mechanism answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthOutcome {
    /// The client has to answer this.
    Challenge(Box<[u8]>),
    /// The client has proved who it is.
    Accepted {
        /// The user name it proved, if the method knows users.
        user_name: Option<Box<str>>,
        /// Authentication Data for the last packet.
        data: Option<Box<[u8]>>,
    },
    /// It has not, or there is no such method.
    Refused(ReasonCode),
}

/// The exchange of a connection that named a method in CONNECT.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: Box<str>,
    turn: Turn,
    /// The CONNECT that waits for the first exchange to succeed.
    hello: Option<Box<Hello>>,
}

/// Who speaks next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The mechanism.
    Mechanism,
    /// The client, with 0x18 and nothing else.
    Challenged,
    /// The client, whenever it likes, with 0x19.
    Anybody,
}

impl Exchange {
    /// Of a connection that has come through.
    pub(crate) fn over(method: &str) -> Self {
        Self { method: method.into(), turn: Turn::Anybody, hello: None }
    }
}

impl Shard {
    /// A CONNECT that names a method: CONNACK waits for the mechanism.
    pub(crate) fn begin_exchange(
        &mut self,
        id: ConnectionId,
        packet: &Connect<'_>,
        hello: Box<Hello>,
    ) -> Flow {
        let Some(method) = packet.properties.authentication_method() else { return Flow::Park };
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Park };
        connection.phase = Phase::Authenticating;
        let turn = Turn::Mechanism;
        let client_id = hello.name.client_id().into();
        let exchange = Exchange { method: method.into(), turn, hello: Some(hello) };
        connection.rare().exchange = Some(exchange);
        connection.parks.add(Parks::ASK);
        let data = packet.properties.authentication_data().map(Into::into);
        let step = AuthStep { method: method.into(), client_id, is_first: true, data };
        self.clients.outputs.push_back(Output::Authenticate { connection: id, step });
        Flow::Park
    }

    /// AUTH from a client.
    pub(crate) fn auth(&mut self, now: Time, id: ConnectionId, packet: &Auth<'_>) -> Flow {
        let Some(step) = self.next_step(id, packet) else {
            return self.break_exchange(now, id, ReasonCode::ProtocolError);
        };
        self.clients.outputs.push_back(Output::Authenticate { connection: id, step });
        Flow::Park
    }

    /// The step that an AUTH is, if it is in turn and names the method of CONNECT
    /// [MQTT-4.12.0-5] [MQTT-4.12.1-1].
    fn next_step(&mut self, id: ConnectionId, packet: &Auth<'_>) -> Option<AuthStep> {
        let connection = self.clients.connections.live(id)?;
        let exchange = connection.rare_if_any()?.exchange.as_mut()?;
        let is_first = match (exchange.turn, packet.reason) {
            (Turn::Challenged, ReasonCode::ContinueAuthentication) => false,
            (Turn::Anybody, ReasonCode::Reauthenticate) => true,
            (Turn::Mechanism | Turn::Challenged | Turn::Anybody, _) => return None,
        };
        if packet.properties.authentication_method() != Some(&*exchange.method) {
            return None;
        }
        exchange.turn = Turn::Mechanism;
        let method = exchange.method.clone();
        let waiting = exchange.hello.as_ref().map(|hello| hello.name.client_id().into());
        connection.parks.add(Parks::ASK);
        let session = connection.session;
        let known = self.clients.sessions.at(session).map(|found| found.name.client_id().into());
        let client_id = waiting.or(known)?;
        let data = packet.properties.authentication_data().map(Into::into);
        Some(AuthStep { method, client_id, is_first, data })
    }

    /// The mechanism has answered.
    pub(crate) fn authenticated(&mut self, now: Time, id: ConnectionId, outcome: AuthOutcome) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        if connection.phase == Phase::Closing {
            return; // Nothing is said after DISCONNECT [MQTT-3.14.4-1], and nobody let in.
        }
        let rare = connection.rare_if_any();
        let Some(exchange) = rare.and_then(|rare| rare.exchange.as_mut()) else { return };
        if exchange.turn != Turn::Mechanism {
            return;
        }
        let method = exchange.method.clone();
        match outcome {
            AuthOutcome::Challenge(data) => {
                exchange.turn = Turn::Challenged;
                let reason = ReasonCode::ContinueAuthentication;
                self.write_auth(id, reason, &method, Some(&data));
                self.resume(id, Parks::ASK);
            }
            AuthOutcome::Accepted { user_name, data } => {
                exchange.turn = Turn::Anybody;
                match exchange.hello.take() {
                    Some(hello) => self.come_through(now, id, hello, &method, user_name, data),
                    None if self.is_another(id, user_name.as_deref()) => {
                        let _closing = self.break_exchange(now, id, ReasonCode::NotAuthorized);
                    }
                    None => {
                        self.write_auth(id, ReasonCode::Success, &method, data.as_deref());
                        self.resume(id, Parks::ASK);
                    }
                }
            }
            AuthOutcome::Refused(reason) => {
                let _closing = self.break_exchange(now, id, reason);
            }
        }
    }

    /// Whether this is not whom the session belongs to: nobody becomes somebody else on the way.
    fn is_another(&mut self, id: ConnectionId, user_name: Option<&str>) -> bool {
        let Some((index, _)) = self.session_of(id) else { return false };
        let session = self.clients.sessions.at(index);
        session.is_some_and(|session| session.name.user_name() != user_name)
    }

    /// The first exchange has succeeded: CONNECT goes on where it stopped.
    fn come_through(
        &mut self,
        now: Time,
        id: ConnectionId,
        mut hello: Box<Hello>,
        method: &str,
        user_name: Option<Box<str>>,
        data: Option<Box<[u8]>>,
    ) {
        hello.name = Name::new(hello.name.client_id(), user_name.as_deref());
        let permit = self.clients.gate.permit(
            hello.name.as_client(),
            Action::Connect,
            hello.name.client_id(),
        );
        if permit != crate::permit::Verdict::Yes {
            let names = Names::of(&hello.name);
            let _closing = self.refuse(now, id, names, ReasonCode::NotAuthorized);
            return;
        }
        hello.proof = Some(Proof { method: method.into(), data });
        if let Some(connection) = self.clients.connections.live(id) {
            connection.parks.remove(Parks::ASK);
        }
        self.go_home(now, id, hello);
    }

    /// Before CONNACK a refusal, afterwards a DISCONNECT [MQTT-4.12.0-4].
    fn break_exchange(&mut self, now: Time, id: ConnectionId, reason: ReasonCode) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Park };
        if connection.phase == Phase::Authenticating {
            let exchange = connection.rare().exchange.take();
            let hello = exchange.as_ref().and_then(|exchange| exchange.hello.as_ref());
            let names = hello.map_or(Names::default(), |hello| Names::of(&hello.name));
            return self.refuse(now, id, names, reason);
        }
        // Who is in already is told of as well: the user may be another by now.
        let name = self
            .session_of(id)
            .and_then(|(index, _)| self.clients.sessions.at(index))
            .map(|session| session.name.clone());
        self.tell_refused(id, name.as_ref().map_or(Names::default(), Names::of), reason);
        self.disconnect(now, id, reason, Cause::Protocol);
        Flow::Park
    }

    fn write_auth(
        &mut self,
        id: ConnectionId,
        reason: ReasonCode,
        method: &str,
        data: Option<&[u8]>,
    ) {
        let mut properties = PropertyBuffer::new();
        properties.push(Property::AuthenticationMethod(method));
        if let Some(data) = data {
            properties.push(Property::AuthenticationData(data));
        }
        let packet = Packet::Auth(Auth { reason, properties: properties.as_properties() });
        self.clients.write(id.index, |out| packet.encode(Version::V5, out));
    }
}

/// What CONNACK says of an exchange that has succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The method.
    pub method: Box<str>,
    /// The mechanism's last words.
    pub data: Option<Box<[u8]>>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::contract::Input;
    use crate::permit::Gate;
    use crate::recovery::Recovery;
    use crate::view::OwnView;

    /// The mechanism answers when it likes, also for a connection that is closed by then: it was
    /// once let in, and one that had been told DISCONNECT was sent AUTH behind it.
    #[test]
    fn nothing_comes_of_a_connection_that_is_closing() {
        let (now, config) = (Time(1_000_000), Config::default());
        let mut recovered = Recovery::new().finish(now, &config, &mut |_| Vec::new());
        let view = OwnView::new(0);
        let state = recovered.shards.remove(0);
        let id = crate::identity::ShardId(0);
        let mut shard = Shard::new(id, Arc::new(config), Gate::default(), state);
        let connection = ConnectionId { index: 0, generation: 1 };
        let _flow = shard.handle(now, Input::Opened { connection, listener: 0 }, &view);
        let mut properties = PropertyBuffer::new();
        properties.push(Property::AuthenticationMethod("M"));
        let packet = Packet::Connect(Connect {
            is_bridge: false,
            version: Version::V5,
            clean_start: true,
            keep_alive_secs: 0,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        });
        let _flow = shard.handle(now, Input::Packet { connection, packet: &packet }, &view);
        let _flow = shard.handle(now, Input::Stop, &view);
        while shard.poll(now).is_some() {}
        for outcome in [
            AuthOutcome::Challenge([1].into()),
            AuthOutcome::Accepted { user_name: None, data: None },
            AuthOutcome::Refused(ReasonCode::NotAuthorized),
        ] {
            let _flow = shard.handle(now, Input::Authenticated { connection, outcome }, &view);
            assert_eq!(shard.poll(now), None);
            assert!(shard.outbox(connection).is_empty());
        }
        assert_eq!(shard.sizes().0, 0, "nobody was let in");
    }
}
