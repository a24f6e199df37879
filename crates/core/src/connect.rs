//! CONNECT: the lobby settles who it is, the home gives it its session.

use bellbird_codec::{
    Connack, Connect, Packet, Properties, Property, PropertyBuffer, QoS, ReasonCode, Version,
};
use bellbird_topics::{Namespace, TopicName};

use crate::aliases::Aliases;
use crate::auth::{Exchange, Proof};
use crate::config::{Profile, Terms};
use crate::connection::{Cause, Opening, Parks, Phase};
use crate::contract::{Change, Flow, Output};
use crate::durability::Durability;
use crate::event::{Event, Names, Telling};
use crate::identity::{ConnectionId, Holder, Ticket, Time};
use crate::ledger::DropReason;
use crate::name::Name;
use crate::permit::{Action, Password, Verdict};
use crate::record::{Commit, Operation, Record};
use crate::release::StoredFor;
use crate::rewriting::{Subject, rewritten};
use crate::session::{NONE, Session};
use crate::sessions::home_of;
use crate::shard::Shard;
use crate::storage::Storage;
use crate::strict::CLIENT_ID_MAX_31;
use crate::system::is_open;
use crate::view::View;
use crate::will::{AfterWill, Will};

/// A CONNECT that the lobby accepted, on its way to the session's home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The protocol the client speaks.
    pub version: Version,
    /// The namespace it was put into.
    pub namespace: Namespace,
    /// Its final client identifier, and the user name it proved.
    pub name: Name,
    /// Whether it is a bridge that does not want its own messages back.
    pub is_bridge: bool,
    /// The listener it came through.
    pub listener: u8,
    /// What CONNACK says of enhanced authentication.
    pub proof: Option<Proof>,
    /// Whether the server chose the identifier [MQTT-3.1.3-6].
    pub is_assigned: bool,
    /// Clean Start, or Clean Session in 3.1.1.
    pub clean_start: bool,
    /// Keep Alive in seconds, after our bound; 0 switches it off.
    pub keep_alive_secs: u16,
    /// The client asked for another Keep Alive than it gets [MQTT-3.1.2-21].
    pub is_keep_alive_changed: bool,
    /// Session Expiry Interval in seconds, after our bound; `u32::MAX` never.
    pub expiry_secs: u32,
    /// The client asked for another expiry than it gets.
    pub is_expiry_changed: bool,
    /// The client's Receive Maximum.
    pub receive_max: u16,
    /// The client's Maximum Packet Size.
    pub max_packet_bytes: u32,
    /// The client's Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// What is published when the client goes without a word.
    pub will: Option<Box<Will>>,
}

/// What the transport has proven of a client, by its certificate say. It beats what CONNECT says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Proven {
    /// Its user name: no password is asked for.
    pub user_name: Option<Box<str>>,
    /// Its client identifier: it may say this one or none.
    pub client_id: Option<Box<str>>,
}

impl Shard {
    /// The transport has proven who is at the other end.
    pub(crate) fn proven(&mut self, id: ConnectionId, proven: Proven) {
        if let Some(connection) = self.clients.connections.live(id) {
            connection.rare().proven = Some(proven);
        }
    }

    /// CONNECT on the accepting shard.
    pub(crate) fn connect(&mut self, now: Time, id: ConnectionId, packet: &Connect<'_>) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Park };
        connection.version = packet.version;
        let listener = connection.listener;
        // As it says, whether anybody can check it or not.
        let names = Names { client_id: Some(packet.client_id), user_name: packet.user_name };
        if let Some(code) = unsupported(packet, self.clients.config.terms(listener)) {
            return self.refuse(now, id, names, code);
        }
        let proven = connection.rare_if_any().and_then(|rare| rare.proven.clone());
        let proven = proven.unwrap_or_default();
        let is_assigned = packet.client_id.is_empty();
        let is_another = |client_id: &str| !is_assigned && packet.client_id != client_id;
        if !is_valid(packet, self.clients.config.terms(listener).profile)
            || proven.client_id.as_deref().is_some_and(is_another)
        {
            return self.refuse(now, id, names, ReasonCode::ClientIdentifierNotValid);
        }
        let client_id = match proven.client_id {
            Some(client_id) => client_id,
            None if is_assigned => self.assigned_client_id(id),
            None => packet.client_id.into(),
        };
        // A user name that nobody can check says nothing.
        let said = packet.user_name.filter(|_| self.clients.gate.has_users());
        let is_proven = proven.user_name.is_some();
        let name = Name::new(&client_id, proven.user_name.as_deref().or(said));
        let will = match self.will_of(packet, listener, &name) {
            Ok(will) => will,
            Err(reason) => return self.refuse(now, id, names, reason),
        };
        if packet.properties.authentication_method().is_some() {
            // The exchange proves who it is, and not the user name that it says.
            let name = Name::new(&client_id, proven.user_name.as_deref());
            let hello = Box::new(self.hello(packet, listener, name, will));
            return self.begin_exchange(id, packet, hello);
        }
        match self.let_in(id, listener, &name, is_proven, packet.password) {
            Some(None) => {}
            Some(Some(reason)) => return self.refuse(now, id, names, reason),
            None => return Flow::Again,
        }
        let hello = Box::new(self.hello(packet, listener, name, will));
        self.go_home(now, id, hello);
        Flow::Park
    }

    /// Who it is is settled: the connection goes where its session lives.
    pub(crate) fn go_home(&mut self, now: Time, id: ConnectionId, hello: Box<Hello>) {
        let rare = self.clients.connections.live(id).and_then(|it| it.rare_if_any());
        if let Some(rare) = rare {
            rare.proven = None;
        }
        let home = home_of(hello.namespace, hello.name.client_id(), self.clients.config.shards);
        if home == self.id {
            self.arrive(now, id, &hello);
        } else {
            self.clients.connections.close(id);
            self.clients.outputs.push_back(Output::Move { connection: id, to: home, hello });
        }
    }

    /// Whether the client is let in, or the reason why not; none if somebody outside was asked.
    #[allow(clippy::option_option)] // asked, let in, or refused with a reason
    fn let_in(
        &mut self,
        id: ConnectionId,
        listener: u8,
        name: &Name,
        is_proven: bool,
        password: Option<&[u8]>,
    ) -> Option<Option<ReasonCode>> {
        let is_anonymous_welcome = self.clients.config.terms(listener).anonymous;
        if is_proven {
            // There is nothing to ask for.
        } else if name.user_name().is_some() {
            let client_id = name.client_id();
            let connection = self.clients.connections.live(id)?;
            match connection.answer(Action::Connect, client_id) {
                Some(Verdict::Yes) => {}
                Some(Verdict::No) => return Some(Some(ReasonCode::BadUserNameOrPassword)),
                // Nobody had the time to look.
                Some(Verdict::Ask) => return Some(Some(ReasonCode::ServerBusy)),
                None => {
                    let password = password.map(|password| Password(password.into()));
                    self.ask(id, name, Action::Connect, client_id, password);
                    return None;
                }
            }
        } else if !is_anonymous_welcome {
            return Some(Some(ReasonCode::NotAuthorized));
        }
        match self.permit_as(id, name, Action::Connect, name.client_id())? {
            true => Some(None),
            false => Some(Some(ReasonCode::NotAuthorized)),
        }
    }

    /// A connection whose home is this shard, CONNECT behind it.
    pub(crate) fn arrive(&mut self, now: Time, id: ConnectionId, hello: &Hello) {
        if let Some(connection) = self.clients.connections.live(id) {
            connection.version = hello.version;
        }
        let found = self.clients.sessions.find(hello.namespace, hello.name.client_id());
        // Who would wait where others have given up waiting need not begin.
        let is_stuck = self.storage == Storage::Failed || self.is_stuck();
        if is_stuck && self.needs_log(hello, found) {
            let names = Names::of(&hello.name);
            let _closing = self.refuse(now, id, names, ReasonCode::ServerUnavailable);
            return;
        }
        if let Some(owner) =
            found.and_then(|index| self.clients.sessions.at(index)).map(|s| s.owner)
            && let Some(old) = self.clients.connections.id_at(owner)
        {
            self.disconnect(now, old, ReasonCode::SessionTakenOver, Cause::TakenOver);
        }
        // The takeover may have ended a session that lived no longer than its connection, and the
        // wheel comes late: time is over when it is over.
        if let Some(index) = self.clients.sessions.find(hello.namespace, hello.name.client_id()) {
            self.end_if_expired(now, index);
        }
        let found = self.clients.sessions.find(hello.namespace, hello.name.client_id());
        let kept = found.filter(|_| !hello.clean_start);
        let mut given_up = Vec::new();
        let index = match (kept, found) {
            (Some(index), _) => Some(index),
            (None, Some(old)) => {
                let holder = self.clients.sessions.at(old).map_or(Holder::default(), |s| s.holder);
                if hello.expiry_secs == 0 {
                    self.end_session(now, old);
                } else {
                    given_up = self.supersede_session(old);
                }
                let incarnation = holder.incarnation + 1;
                self.begin_session(Holder { number: holder.number, incarnation }, hello)
            }
            (None, None) => {
                if let Err(reason) = self.room_for_session() {
                    let _closing = self.refuse(now, id, Names::of(&hello.name), reason);
                    return;
                }
                let number = self.clients.sessions.take_number();
                self.begin_session(Holder { number, incarnation: 1 }, hello)
            }
        };
        let Some(index) = index else {
            let names = Names::of(&hello.name);
            let _closing = self.refuse(now, id, names, ReasonCode::QuotaExceeded);
            return;
        };
        let ticket = self.claim(now, id, index, hello, kept.is_some());
        if let Some(ticket) = ticket {
            self.give_up_after(ticket, given_up, None);
        }
        let must_wait =
            ticket.is_some() || self.endings.wait(hello.namespace, hello.name.client_id(), id);
        if !must_wait {
            self.welcome_now(now, id);
        }
    }

    /// Whether CONNACK would have to wait for the log.
    fn needs_log(&mut self, hello: &Hello, found: Option<u32>) -> bool {
        let session = found.and_then(|index| self.clients.sessions.at(index));
        hello.expiry_secs > 0
            || session.is_some_and(|session| session.durable)
            || self.endings.has(hello.namespace, hello.name.client_id())
    }

    fn begin_session(&mut self, holder: Holder, hello: &Hello) -> Option<u32> {
        let mut session = Session::new(holder, hello.namespace, hello.name.clone());
        session.durable = hello.expiry_secs > 0;
        self.clients.sessions.add(session)
    }

    /// Ties the connection to its session. Returns the record that CONNACK waits for.
    fn claim(
        &mut self,
        now: Time,
        id: ConnectionId,
        index: u32,
        hello: &Hello,
        session_present: bool,
    ) -> Option<Ticket> {
        let terms = self.clients.config.terms(hello.listener);
        let aliases_max = terms.topic_alias_out_max.min(hello.topic_alias_max);
        let inflight_max = terms.inflight_max.min(hello.receive_max).max(1);
        let session = self.clients.sessions.at(index)?;
        session.owner = id.index;
        session.name = hello.name.clone();
        (session.version, session.is_met) = (hello.version, true);
        session.is_bridge = hello.is_bridge;
        session.has_aliases = aliases_max > 0;
        session.max_packet_bytes = hello.max_packet_bytes;
        session.inflight_max = inflight_max;
        session.expiry_secs = hello.expiry_secs;
        session.epoch += 1;
        session.sent = 0;
        // The will of the last connection is cancelled with this one [MQTT-3.1.3-9].
        session.will.clone_from(&hello.will);
        session.is_logged |= hello.will.is_some();
        let (holder, epoch, durable) = (session.holder, session.epoch, session.durable);
        let block = self.clients.config.packet_ids_ahead;
        let through = session.reserve_packet_ids(block);
        let connection = self.clients.connections.live(id)?;
        connection.version = hello.version;
        connection.session = index;
        connection.phase = Phase::Opening;
        connection.parks.add(Parks::CONNACK);
        connection.silence_ms_max = u32::from(hello.keep_alive_secs) * 1500;
        let rare = connection.rare();
        rare.exchange = hello.proof.as_ref().map(|proof| Exchange::over(&proof.method));
        rare.aliases = (aliases_max > 0).then(|| Aliases::new(aliases_max));
        rare.opening = Some(Opening {
            session_present,
            assigned_client_id: hello.is_assigned,
            expiry_secs: hello.is_expiry_changed.then_some(hello.expiry_secs),
            keep_alive_secs: hello.is_keep_alive_changed.then_some(hello.keep_alive_secs),
            proof: hello.proof.clone(),
        });
        if connection.silence_ms_max > 0 {
            let deadline = Time(now.0 + u64::from(connection.silence_ms_max));
            self.look_at_connection(now, id, deadline);
        }
        if !durable && hello.will.is_none() {
            return None;
        }
        let user_name = hello.name.user_name().map(Into::into);
        let operation = if session_present {
            Operation::Resume { user_name, expiry_secs: hello.expiry_secs }
        } else {
            Operation::Open {
                namespace: hello.namespace,
                client_id: hello.name.client_id().into(),
                user_name,
                expiry_secs: hello.expiry_secs,
            }
        };
        let will = hello.will.iter().map(|will| will.operation());
        let reserved = through.map(|through| Operation::Reserved { through });
        let operations = std::iter::once(operation).chain(will).chain(reserved).collect();
        // The will of a session that is not durable is logged, but not waited for.
        let waits = if durable { StoredFor::Connack(id) } else { StoredFor::Nothing };
        let level = self.durability_of(id);
        let ticket = self.commit_at(level, now, holder, epoch, operations, waits);
        durable.then_some(ticket)
    }

    /// CONNACK, and everything the session owes its client.
    pub(crate) fn welcome(&mut self, now: Time, id: ConnectionId, view: &dyn View) {
        let Some(index) = self.welcome_now(now, id) else { return };
        self.clients.make_room_for_what_waits(index);
        self.clients.pump(now, index, view);
    }

    fn welcome_now(&mut self, _now: Time, id: ConnectionId) -> Option<u32> {
        let connection = self.clients.connections.live(id)?;
        if connection.phase != Phase::Opening {
            return None;
        }
        connection.phase = Phase::Open;
        let (index, version) = (connection.session, connection.version);
        let (config, listener) = (connection.config.clone(), connection.listener);
        let opening = connection.rare_if_any()?.opening.take()?;
        connection.forget_rare_if_idle();
        self.tell_groups_ready(index);
        let session = self.clients.sessions.at(index)?;
        session.connection = id.index;
        self.clients.traffic.connected += 1;
        self.clients.traffic.welcomed += 1;
        if !config.auto_subscriptions.is_empty() {
            self.newcomers.push(id);
        }
        let client_id: Box<str> = session.name.client_id().into();
        let user_name = match self.clients.config.telling {
            Telling::Everything => session.name.user_name().map(Into::into),
            Telling::Nothing | Telling::Refusals => None,
        };
        let mut buffer = PropertyBuffer::new();
        if version == Version::V5 {
            self.announce(config.terms(listener), &opening, &client_id, &mut buffer);
        }
        let connack = Packet::Connack(Connack {
            // 3.1 has no such flag.
            session_present: opening.session_present && version != Version::V31,
            code: 0,
            properties: buffer.as_properties(),
        });
        self.clients.write(id.index, |out| connack.encode(version, out));
        let session_present = opening.session_present;
        self.clients.event(|| Event::Connected {
            connection: id,
            client_id,
            user_name,
            version,
            session_present,
        });
        self.resume(id, Parks::CONNACK);
        Some(index)
    }

    /// What a 5.0 client must know: our limits, and what is not offered.
    fn announce(
        &self,
        terms: &Terms,
        opening: &Opening,
        client_id: &str,
        buffer: &mut PropertyBuffer,
    ) {
        if let Some(secs) = opening.expiry_secs {
            buffer.push(Property::SessionExpiryInterval(secs));
        }
        buffer.push(Property::ReceiveMaximum(terms.receive_max));
        if terms.qos_max != QoS::ExactlyOnce {
            buffer.push(Property::MaximumQoS(terms.qos_max));
        }
        if !terms.retain {
            buffer.push(Property::RetainAvailable(false));
        }
        buffer.push(Property::MaximumPacketSize(terms.packet_bytes_max));
        if opening.assigned_client_id {
            buffer.push(Property::AssignedClientIdentifier(client_id));
        }
        buffer.push(Property::TopicAliasMaximum(terms.topic_alias_max));
        if !terms.wildcards {
            buffer.push(Property::WildcardSubscriptionAvailable(false));
        }
        if !terms.subscription_ids {
            buffer.push(Property::SubscriptionIdentifierAvailable(false));
        }
        if !terms.shared {
            buffer.push(Property::SharedSubscriptionAvailable(false));
        }
        if let Some(secs) = opening.keep_alive_secs {
            buffer.push(Property::ServerKeepAlive(secs));
        }
        if let Some(Proof { method, data }) = &opening.proof {
            buffer.push(Property::AuthenticationMethod(method));
            if let Some(data) = data {
                buffer.push(Property::AuthenticationData(data));
            }
        }
    }

    /// CONNACK with a reason, then close [MQTT-3.2.2-7].
    pub(crate) fn refuse(
        &mut self,
        _now: Time,
        id: ConnectionId,
        names: Names<'_>,
        reason: ReasonCode,
    ) -> Flow {
        self.tell_refused(id, names, reason);
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Park };
        let version = connection.version;
        self.clients.traffic.refused.add(reason, 1);
        connection.phase = Phase::Closing;
        let code = match version {
            Version::V5 => Some(reason.value()),
            Version::V31 | Version::V311 => return_code(reason),
        };
        if let Some(code) = code {
            let properties = Properties::default();
            let connack = Packet::Connack(Connack { session_present: false, code, properties });
            self.clients.write(id.index, |out| connack.encode(version, out));
        }
        self.clients.outputs.push_back(Output::Close(id));
        Flow::Park
    }

    /// Ends a session for good: what it held is dropped, its subscriptions leave the view, its
    /// will is published [MQTT-3.1.2-8], and then the log is told if it knew it.
    pub(crate) fn end_session(&mut self, now: Time, index: u32) {
        let Some((mut session, given_up)) = self.forget_session(index) else { return };
        if !session.durable && !session.is_logged {
            return;
        }
        let waits = if session.durable {
            StoredFor::Ending(self.endings.begin(session.namespace, session.name.client_id()))
        } else {
            StoredFor::Nothing
        };
        let (holder, epoch, operation) = (session.holder, session.epoch, Operation::End);
        let end = AfterWill { holder, epoch, operation, waits, given_up };
        match session.will {
            Some(_) => self.wills.extend(session.due_will(Some(end))),
            None => self.commit_end(now, end),
        }
    }

    /// A new incarnation takes the place of a session. Its Open ends the old one in the log as
    /// well, but for a will that is still to be published. Returns what the view is told then.
    fn supersede_session(&mut self, index: u32) -> Vec<Change> {
        let Some((mut session, given_up)) = self.forget_session(index) else { return Vec::new() };
        let (holder, epoch, operation) = (session.holder, session.epoch, Operation::End);
        let waits = StoredFor::Nothing;
        let end = AfterWill { holder, epoch, operation, waits, given_up: Vec::new() };
        self.wills.extend(session.due_will(Some(end)));
        given_up
    }

    /// Takes a session out, and its subscriptions from the view, little by little; but those that
    /// must not be anybody else's before the log knows are returned.
    fn forget_session(&mut self, index: u32) -> Option<(Session, Vec<Change>)> {
        let mut session = self.clients.sessions.remove(index)?;
        if self.clients.loser == index {
            self.clients.loser = NONE;
        }
        let subscriber = self.clients.sessions.subscriber(index, session.holder);
        self.leave_groups(&mut session, subscriber);
        let lost = session.inflight.len() + session.queue.len();
        self.clients.ledger.drop(DropReason::SessionEnded, lost as u64);
        self.clients.event(|| Event::SessionEnded {
            client_id: session.name.client_id().into(),
            deliveries: lost as u64,
        });
        let given_up = self.remove_subscriptions(&mut session, subscriber);
        Some((session, given_up))
    }

    /// Tells the log what happened to a holder that came through no listener.
    pub(crate) fn commit(
        &mut self,
        now: Time,
        holder: Holder,
        epoch: u32,
        operations: Vec<Operation>,
        waits: StoredFor,
    ) -> Ticket {
        self.commit_at(self.clients.config.durability, now, holder, epoch, operations, waits)
    }

    /// The same with the durability of a connection.
    pub(crate) fn commit_at(
        &mut self,
        durability: Durability,
        now: Time,
        holder: Holder,
        epoch: u32,
        operations: Vec<Operation>,
        waits: StoredFor,
    ) -> Ticket {
        if self.storage == Storage::Failed && waits == StoredFor::Nothing {
            return NO_TICKET;
        }
        let record = Record::Commit(Commit { holder, epoch, at: now, operations });
        self.hand_out(waits, record, durability)
    }

    /// The will of a CONNECT, with the topic that stands for its own; or why there is none like it.
    fn will_of(
        &self,
        packet: &Connect<'_>,
        listener: u8,
        name: &Name,
    ) -> Result<Option<Box<Will>>, ReasonCode> {
        let Some(will) = &packet.will else { return Ok(None) };
        let rules = &self.clients.config.rewrites;
        let text = rewritten(rules, Subject::Topic, name.as_client(), will.topic.as_str());
        let topic = match &text {
            Some(text) => TopicName::parse(text).map_err(|_| ReasonCode::TopicNameInvalid)?,
            None => will.topic,
        };
        if !is_open(topic, self.clients.config.terms(listener)) {
            return Err(ReasonCode::TopicNameInvalid);
        }
        Ok(Some(Box::new(Will::of(will, topic, Namespace::default()))))
    }

    fn hello(
        &self,
        packet: &Connect<'_>,
        listener: u8,
        name: Name,
        will: Option<Box<Will>>,
    ) -> Hello {
        let terms = self.clients.config.terms(listener);
        let properties = packet.properties;
        let asked = match packet.version {
            Version::V31 | Version::V311 if packet.clean_start => 0,
            // Clean Session 0 has no expiry of its own: such a session is kept [MQTT-3.1.2-5].
            Version::V31 | Version::V311 => u32::MAX,
            Version::V5 => properties.session_expiry_interval().unwrap_or(0),
        };
        let expiry_secs = asked.min(terms.session_expiry_secs_max);
        let keep_alive_secs = keep_alive(packet.keep_alive_secs, terms.keep_alive_secs_max);
        Hello {
            version: packet.version,
            namespace: Namespace::default(),
            name,
            proof: None,
            is_bridge: packet.is_bridge,
            listener,
            is_assigned: packet.client_id.is_empty(),
            clean_start: packet.clean_start,
            keep_alive_secs,
            is_keep_alive_changed: keep_alive_secs != packet.keep_alive_secs,
            expiry_secs,
            is_expiry_changed: packet.version == Version::V5 && expiry_secs != asked,
            receive_max: properties.receive_maximum().unwrap_or(u16::MAX),
            topic_alias_max: properties.topic_alias_maximum().unwrap_or(0),
            max_packet_bytes: properties.maximum_packet_size().unwrap_or(u32::MAX),
            will,
        }
    }

    /// Unique among all starts, shards and connections of this node.
    fn assigned_client_id(&self, id: ConnectionId) -> Box<str> {
        let start = self.ids.next.start;
        format!("auto-{start}-{}-{}-{}", self.id.0, id.index, id.generation).into()
    }
}

/// What is asked for in CONNECT and not offered.
fn unsupported(packet: &Connect<'_>, terms: &Terms) -> Option<ReasonCode> {
    if !terms.versions.contains(packet.version) {
        return Some(ReasonCode::UnsupportedProtocolVersion); // [MQTT-3.1.2-2]
    }
    let properties = packet.properties;
    if properties.authentication_data().is_some() && properties.authentication_method().is_none() {
        return Some(ReasonCode::ProtocolError);
    }
    let will = packet.will.as_ref()?;
    if will.qos > terms.qos_max {
        return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-12]
    }
    if will.retain && !terms.retain {
        return Some(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-13]
    }
    let is_deep = will.topic.levels().count() > terms.topic_levels_max;
    is_deep.then_some(ReasonCode::TopicNameInvalid)
}

/// Whether the client identifier is one that the version allows.
fn is_valid(packet: &Connect<'_>, profile: Profile) -> bool {
    let len = packet.client_id.chars().count();
    match packet.version {
        Version::V31 => len > 0 && (len <= CLIENT_ID_MAX_31 || profile == Profile::Tolerant),
        // [MQTT-3.1.3-8 of 3.1.1]
        Version::V311 => len > 0 || packet.clean_start,
        Version::V5 => true,
    }
}

/// The Keep Alive of a client that asked for one, within our bound; 0 is none.
fn keep_alive(asked_secs: u16, secs_max: u16) -> u16 {
    match (asked_secs, secs_max) {
        (asked_secs, 0) => asked_secs,
        (0, secs_max) => secs_max,
        (asked_secs, secs_max) => asked_secs.min(secs_max),
    }
}

/// The 3.1.1 return code for a reason; none where the connection is closed without CONNACK
/// [MQTT-3.2.2-6].
#[allow(clippy::wildcard_enum_match_arm)] // all other reasons mean: not now
fn return_code(reason: ReasonCode) -> Option<u8> {
    match reason {
        ReasonCode::UnsupportedProtocolVersion => Some(1),
        ReasonCode::ClientIdentifierNotValid => Some(2),
        ReasonCode::BadUserNameOrPassword => Some(4),
        ReasonCode::NotAuthorized => Some(5),
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError | ReasonCode::PacketTooLarge => {
            None
        }
        _ => Some(3),
    }
}

/// Of what nobody waits for and the log does not hear of.
const NO_TICKET: Ticket = Ticket(u64::MAX);
