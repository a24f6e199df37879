//! PUBLISH from a client: gate, retained first, match, then live holders, log, acknowledgement.

use bellbird_codec::{PacketId, PropertyBuffer, Publish, QoS, ReasonCode, Version};
use bellbird_topics::{Namespace, TopicName};

use crate::aliases::Aliases;
use crate::clients::{Addressing, Clients};
use crate::connection::{AppliedFor, Cause, Parks};
use crate::contract::{Change, Flow, Output};
use crate::delaying::{Delay, NoDelay};
use crate::event::{Event, Objection};
use crate::identity::{ConnectionId, Holder, Lane, Time};
use crate::mail::{Parcel, Share};
use crate::memory::Memory;
use crate::message::{Message, MessageParts};
use crate::outgoing::{Outgoing, forwarded_properties};
use crate::permit::Action;
use crate::post::Post;
use crate::release::{Answer, AnswerKind, Place};
use crate::rewriting::Subject;
use crate::route::Route;
use crate::shard::Shard;
use crate::storage::Storage;
use crate::storing::Storing;
use crate::system::is_open;
use crate::view::View;
use crate::will::is_ordered;

/// Who publishes: what routing needs to know of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) id: ConnectionId,
    pub(crate) version: Version,
    pub(crate) namespace: Namespace,
    pub(crate) origin: Holder,
    pub(crate) lane: Lane,
    pub(crate) session: u32,
    pub(crate) is_durable: bool,
}

/// What the publisher's listener offers, as far as every PUBLISH is held to it.
#[derive(Clone, Copy)]
struct Offer {
    qos_max: QoS,
    retain: bool,
    topic_levels_max: usize,
    /// Whether there are topics that are taken for others.
    has_rewrites: bool,
}

impl Publisher {
    /// Whether the log must know that a message of this QoS was received: its packet id outlives
    /// the connection.
    pub(crate) fn records(&self, qos: QoS) -> bool {
        self.is_durable && qos == QoS::ExactlyOnce
    }

    pub(crate) fn answer(&self, qos: QoS, packet_id: PacketId, reason: ReasonCode) -> Answer {
        let kind = if qos == QoS::ExactlyOnce {
            AnswerKind::Pubrec { session: self.session, holder: self.origin }
        } else {
            AnswerKind::Puback
        };
        Answer { kind, packet_id, reason }
    }
}

/// How a refused PUBLISH ends for clients of 3.1.1, whose acknowledgement has no reason code
/// [MQTT-3.3.5-2].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OldClients {
    /// An acknowledgement would lie to them.
    AreClosed,
    /// The message is dropped and acknowledged, as Mosquitto does.
    AreAnswered,
}

/// A PUBLISH that is not taken.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) packet: &'a Publish<'a>,
    pub(crate) topic: TopicName<'a>,
    pub(crate) objection: Objection,
}

/// A retained message whose change of the view is under way.
#[derive(Debug)]
pub(crate) struct Retaining {
    pub(crate) publisher: Publisher,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) message: Message,
    pub(crate) place: Place,
}

impl Shard {
    pub(crate) fn publish(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Publish<'_>,
        view: &dyn View,
    ) -> Flow {
        let Some((publisher, offer)) = self.publisher(id) else { return Flow::Continue };
        if self.clients.has_rates
            && let Err(flow) = self.may_publish(now, id, packet)
        {
            return flow;
        }
        let known;
        let topic = if packet.topic.is_some() && packet.properties.is_empty() {
            packet.topic
        } else {
            match self.resolve_alias(id, packet) {
                Ok(topic) => known = topic,
                Err(reason) => return self.break_off(now, id, reason),
            }
            known.as_deref().map_or(packet.topic, |topic| TopicName::parse(topic).ok())
        };
        let Some(topic) = topic else {
            return self.break_off(now, id, ReasonCode::ProtocolError);
        };
        let delay = match Delay::of(topic) {
            Some(Err(NoDelay)) => {
                let refused = Refused { packet, topic, objection: Objection::NoTopic };
                return self.refuse_publish(now, id, &refused, OldClients::AreClosed);
            }
            Some(Ok(delay)) => Some(delay),
            None => None,
        };
        let topic = delay.map_or(topic, |delay| delay.topic);
        let other = if offer.has_rewrites {
            self.rewrite(id, Subject::Topic, topic.as_str())
        } else {
            None
        };
        let Ok(topic) = other.as_deref().map_or(Ok(topic), TopicName::parse) else {
            let refused = Refused { packet, topic, objection: Objection::NoTopic };
            return self.refuse_publish(now, id, &refused, OldClients::AreAnswered);
        };
        let refused = |objection| Refused { packet, topic, objection };
        // Before the gate is asked: it is ours already, whatever the gate says now.
        if packet.qos == QoS::ExactlyOnce && self.is_received(id, packet.packet_id) {
            return Flow::Continue;
        }
        if topic.is_reserved() && !is_open(topic, self.terms_of(id)) {
            let refused = refused(Objection::Reserved);
            return self.refuse_publish(now, id, &refused, OldClients::AreAnswered);
        }
        match self.permit(id, Action::Publish, topic.as_str()) {
            Some(true) => {}
            Some(false) => {
                let refused = refused(Objection::Rules);
                return self.refuse_publish(now, id, &refused, OldClients::AreClosed);
            }
            None => return Flow::Again,
        }
        if packet.qos > offer.qos_max {
            return self.break_off(now, id, ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        if packet.retain && !offer.retain {
            return self.break_off(now, id, ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        let levels_max = offer.topic_levels_max;
        if topic.as_bytes().len() >= levels_max && topic.levels().count() > levels_max {
            return self.break_off(now, id, ReasonCode::TopicNameInvalid);
        }
        let has_no_room = self.clients.memory == Memory::Exhausted
            || match (&delay, packet.retain) {
                (Some(_), _) => self.is_delayed_full(),
                (None, true) => !self.may_retain(publisher.namespace, topic, packet, view),
                (None, false) => false,
            };
        if has_no_room {
            let refused = refused(Objection::NoRoom);
            return self.refuse_publish(now, id, &refused, OldClients::AreClosed);
        }
        let mut is_retained = packet.retain;
        if self.storage != Storage::Ready {
            let refused = refused(Objection::DiskFull);
            let flow = self.without_disk(now, publisher, &refused, delay.is_some(), view);
            if let Some(flow) = flow {
                return flow;
            }
            is_retained &= packet.qos != QoS::AtMostOnce;
        }
        if packet.qos != QoS::AtMostOnce && !self.receive(id, packet) {
            return self.break_off(now, id, ReasonCode::ReceiveMaximumExceeded);
        }
        self.clients.tell(publisher.session, |client_id| Event::Published {
            client_id,
            topic: topic.as_str().into(),
            qos: packet.qos,
            retain: packet.retain,
        });
        if let Some(delay) = delay {
            return self.delay(now, publisher, Delay { topic, ..delay }, packet);
        }
        if is_retained {
            return self.publish_retained(now, publisher, topic, packet);
        }
        let mut scratch = PropertyBuffer::new();
        let mut frames = std::mem::take(&mut self.frames);
        let parts = self.parts(now, publisher, topic, packet, &mut scratch);
        // An alias means something on this connection only, and RETAIN to few of the others.
        let is_as_sent = packet.qos == QoS::AtMostOnce
            && !packet.retain
            && parts.expires_at.is_none()
            && other.is_none()
            && parts.properties.len() == packet.properties.raw().len();
        let original = is_as_sent.then_some((publisher.version, packet.frame));
        let mut out = Outgoing::from_packet(parts, original, &mut frames);
        let flow = self.route_out(now, publisher, packet.packet_id, &mut out, None, None, view);
        self.frames = frames;
        flow
    }

    /// What the topic alias of a PUBLISH stands for, if it stands for the topic; otherwise it is
    /// noted what it stands for from now on.
    fn resolve_alias(
        &mut self,
        id: ConnectionId,
        packet: &Publish<'_>,
    ) -> Result<Option<Box<str>>, ReasonCode> {
        let Some(alias) = packet.properties.topic_alias() else { return Ok(None) };
        if alias == 0 || alias > self.terms_of(id).topic_alias_max {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        let Some(connection) = self.clients.connections.live(id) else { return Ok(None) };
        let aliases = connection.rare().aliases.get_or_insert_with(|| Aliases::new(0));
        match packet.topic {
            Some(topic) => {
                aliases.note(alias, topic.as_str());
                Ok(None)
            }
            None => match aliases.resolve(alias) {
                Some(topic) => Ok(Some(topic.into())),
                None => Err(ReasonCode::ProtocolError),
            },
        }
    }

    /// The retained message is set before the match: who subscribes in between either is matched
    /// or finds it. From here on it is ours, whatever becomes of the connection.
    fn publish_retained(
        &mut self,
        now: Time,
        publisher: Publisher,
        topic: TopicName<'_>,
        packet: &Publish<'_>,
    ) -> Flow {
        let mut scratch = PropertyBuffer::new();
        let parts = self.parts(now, publisher, topic, packet, &mut scratch);
        let message = Message::new(&parts);
        let change = Change::Retain {
            namespace: publisher.namespace,
            topic: topic.as_str().into(),
            message: (!packet.payload.is_empty()).then(|| message.clone()),
        };
        let Some(place) = self.take_place(publisher.id) else { return Flow::Continue };
        let packet_id = packet.packet_id;
        let retaining = Box::new(Retaining { publisher, packet_id, message, place });
        let ticket = self.changes.ticket(Some(AppliedFor::Retaining(retaining)));
        self.clients.outputs.push_back(Output::Change { ticket, changes: [change].into() });
        if let Some(connection) = self.clients.connections.live(publisher.id) {
            connection.parks.add(Parks::APPLY);
        }
        Flow::Park
    }

    /// The view has a retained message: now it goes the way of every other.
    pub(crate) fn retained_is_set(
        &mut self,
        now: Time,
        retaining: Retaining,
        order: u64,
        view: &dyn View,
    ) {
        let Retaining { publisher, packet_id, message, place } = retaining;
        self.note_expiry(now, &message);
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(&message, &mut frames);
        let retained = Some((message.clone(), order));
        let place = Some(place);
        let _flow = self.route_out(now, publisher, packet_id, &mut out, retained, place, view);
        self.frames = frames;
        self.resume(publisher.id, Parks::APPLY);
    }

    /// Matches once, serves who need not wait, and stores for those who do. A message that has
    /// its place already is released from there, whatever it needs.
    #[allow(clippy::too_many_arguments)] // what a message is, where it stands, and where to look
    pub(crate) fn route_out(
        &mut self,
        now: Time,
        publisher: Publisher,
        packet_id: Option<PacketId>,
        out: &mut Outgoing<'_>,
        retained: Option<(Message, u64)>,
        place: Option<Place>,
        view: &dyn View,
    ) -> Flow {
        let route = self.routes.find(publisher.namespace, out.parts.topic, view);
        let qos = out.parts.qos;
        let is_ordered = is_ordered(qos);
        let is_live_only = !is_ordered || (!route.has_durable && !publisher.records(qos));
        self.clients.ledger.received += 1;
        if route.is_empty() {
            self.clients.ledger.unmatched += 1;
        }
        deliver_live(&mut self.clients, &mut self.post, now, route, publisher.origin, out);
        let reason = match publisher.version {
            Version::V5 if route.is_empty() => ReasonCode::NoMatchingSubscribers,
            Version::V5 | Version::V31 | Version::V311 => ReasonCode::Success,
        };
        let answer = |packet_id| publisher.answer(qos, packet_id, reason);
        if is_live_only && place.is_none() {
            let Some(packet_id) = packet_id else { return Flow::Continue };
            return self.answer_in_order(publisher.id, answer(packet_id));
        }
        let answer = packet_id.map(answer);
        let route = (!is_live_only).then(|| route.clone());
        let storing = Storing { route, answer, retained };
        if let Some(place) = place {
            return self.store(now, publisher, out, place, storing);
        }
        let Some(place) = self.take_place(publisher.id) else { return Flow::Continue };
        self.store(now, publisher, out, place, storing)
    }

    pub(crate) fn refuse_publish(
        &mut self,
        now: Time,
        id: ConnectionId,
        refused: &Refused<'_>,
        old_clients: OldClients,
    ) -> Flow {
        let Refused { packet, topic, objection } = *refused;
        let reason = objection.reason();
        self.clients.traffic.publishes_refused += 1;
        if let Some((index, _)) = self.session_of(id) {
            self.clients.tell_refusal(index, |client_id, user_name| {
                let topic = topic.as_str().into();
                Event::PublishRefused { client_id: Some(client_id), user_name, topic, objection }
            });
        }
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        match (connection.version, packet.packet_id) {
            (Version::V31 | Version::V311, _) if old_clients == OldClients::AreClosed => {
                self.break_off(now, id, reason)
            }
            (_, Some(packet_id)) => {
                if packet.qos == QoS::AtLeastOnce {
                    connection.unanswered = connection.unanswered.saturating_add(1);
                }
                let kind = if packet.qos == QoS::ExactlyOnce {
                    AnswerKind::Refusal
                } else {
                    AnswerKind::Puback
                };
                let answer = Answer { kind, packet_id, reason };
                self.answer_in_order(id, answer)
            }
            (_, None) => Flow::Continue,
        }
    }

    /// All that is asked of the connection for a PUBLISH, with one look at it.
    fn publisher(&mut self, id: ConnectionId) -> Option<(Publisher, Offer)> {
        let connection = self.clients.connections.live(id)?;
        let terms = connection.terms();
        let offer = Offer {
            qos_max: terms.qos_max,
            retain: terms.retain,
            topic_levels_max: terms.topic_levels_max,
            has_rewrites: !connection.config.rewrites.is_empty(),
        };
        let version = connection.version;
        let index = connection.session;
        let session = self.clients.sessions.at(index)?;
        let origin = session.holder;
        let (namespace, lane, is_durable) = (session.namespace, session.lane, session.durable);
        let publisher =
            Publisher { id, version, namespace, origin, lane, session: index, is_durable };
        Some((publisher, offer))
    }

    /// A message as it was published. Always inlined: it is put together where it stays.
    #[inline(always)]
    pub(crate) fn parts<'a>(
        &mut self,
        now: Time,
        publisher: Publisher,
        topic: TopicName<'a>,
        packet: &Publish<'a>,
        scratch: &'a mut PropertyBuffer,
    ) -> MessageParts<'a> {
        let (mut properties, mut expires_at) = (&[][..], None);
        if !packet.properties.is_empty() {
            expires_at = packet
                .properties
                .message_expiry_interval()
                .map(|secs| now.plus_secs(u64::from(secs)));
            properties = forwarded_properties(packet.properties, scratch);
        }
        MessageParts {
            id: self.ids.take(),
            namespace: publisher.namespace,
            qos: packet.qos,
            retain: packet.retain,
            expires_at,
            topic,
            properties,
            payload: packet.payload,
        }
    }

    /// Closes a connection that broke the protocol, saying why in 5.0 [MQTT-4.13.1-1].
    pub(crate) fn break_off(&mut self, now: Time, id: ConnectionId, reason: ReasonCode) -> Flow {
        self.disconnect(now, id, reason, Cause::Protocol);
        Flow::Park
    }
}

/// Serves those of a message's holders that need not wait for the log, here and elsewhere.
pub(crate) fn deliver_live(
    clients: &mut Clients,
    post: &mut Post,
    now: Time,
    route: &Route,
    origin: Holder,
    out: &mut Outgoing<'_>,
) {
    let share = is_ordered(out.parts.qos).then_some(Share::Live);
    let to = Addressing { targets: &route.local, share, origin, position: None };
    clients.deliver(now, to, out);
    for (shard, targets) in &route.remote {
        if share.is_none() || targets.iter().any(|target| Share::Live.takes(target.grant)) {
            let parcel = Parcel {
                message: out.share(),
                position: None,
                origin,
                targets: targets.clone(),
                share: Share::Live,
            };
            post.send(*shard, parcel, &mut clients.ledger);
        }
    }
}
