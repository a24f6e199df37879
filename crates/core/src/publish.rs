//! PUBLISH from a client: gate, retained first, match, then live holders, log, acknowledgement.

use std::sync::Arc;

use bellbird_codec::{PacketId, PropertyBuffer, Publish, QoS, ReasonCode, Version};
use bellbird_topics::{Namespace, TopicName};

use crate::clients::Addressing;
use crate::connection::{AppliedFor, Cause, Parks};
use crate::contract::{Change, Flow, Output};
use crate::identity::{ConnectionId, Holder, Lane, Time};
use crate::limits::TOPIC_LEVELS_MAX;
use crate::mail::{Parcel, Share};
use crate::message::{Message, MessageParts};
use crate::outgoing::{Outgoing, forwarded_properties};
use crate::permit::Action;
use crate::release::Place;
use crate::shard::Shard;
use crate::storing::Storing;
use crate::view::View;

/// Who publishes: what routing needs to know of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) id: ConnectionId,
    pub(crate) version: Version,
    pub(crate) namespace: Namespace,
    pub(crate) origin: Holder,
    pub(crate) lane: Lane,
}

/// A retained message whose change of the view is under way.
#[derive(Debug)]
pub(crate) struct Retaining {
    publisher: Publisher,
    packet_id: Option<PacketId>,
    message: Arc<Message>,
    place: Place,
}

impl Shard {
    pub(crate) fn publish(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Publish<'_>,
        view: &dyn View,
    ) -> Flow {
        let Some(topic) = packet.topic else {
            // We announce no Topic Alias Maximum, so none can be known [MQTT-3.2.2-18].
            return self.break_off(now, id, ReasonCode::TopicAliasInvalid);
        };
        if packet.qos == QoS::ExactlyOnce {
            return self.break_off(now, id, ReasonCode::QoSNotSupported);
        }
        if !packet.properties.is_empty() && packet.properties.topic_alias().is_some() {
            return self.break_off(now, id, ReasonCode::TopicAliasInvalid);
        }
        match self.permit(id, Action::Publish, topic.as_str()) {
            Some(true) => {}
            Some(false) => return self.refuse_publish(now, id, packet),
            None => return Flow::Again,
        }
        let Some(publisher) = self.publisher(id) else { return Flow::Continue };
        if packet.retain {
            if topic.levels().count() > TOPIC_LEVELS_MAX {
                return self.break_off(now, id, ReasonCode::TopicNameInvalid);
            }
            return self.publish_retained(now, publisher, topic, packet);
        }
        let mut scratch = PropertyBuffer::new();
        let mut frames = std::mem::take(&mut self.frames);
        let parts = self.parts(now, publisher, topic, packet, &mut scratch);
        let is_as_sent = packet.qos == QoS::AtMostOnce && parts.expires_at.is_none();
        let original = is_as_sent.then_some((publisher.version, packet.frame));
        let mut out = Outgoing::from_packet(parts, original, &mut frames);
        let flow = self.route_out(now, publisher, packet.packet_id, &mut out, None, view);
        self.frames = frames;
        flow
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
        let message = Arc::new(Message::new(&parts));
        let change = Change::Retain {
            namespace: publisher.namespace,
            topic: topic.as_str().into(),
            message: (!packet.payload.is_empty()).then(|| message.clone()),
        };
        let Some(place) = self.take_place(publisher.id) else { return Flow::Continue };
        let packet_id = packet.packet_id;
        let retaining = Box::new(Retaining { publisher, packet_id, message, place });
        let ticket = self.changes.ticket(Some(AppliedFor::Retaining(retaining)));
        self.clients.outputs.push_back(Output::Change { ticket, changes: vec![change] });
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
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(&message, &mut frames);
        let retained = Some((message.clone(), order, place));
        let _flow = self.route_out(now, publisher, packet_id, &mut out, retained, view);
        self.frames = frames;
        self.resume(publisher.id, Parks::APPLY);
    }

    /// Matches once, serves who need not wait, and stores for those who do.
    fn route_out(
        &mut self,
        now: Time,
        publisher: Publisher,
        packet_id: Option<PacketId>,
        out: &mut Outgoing<'_>,
        retained: Option<(Arc<Message>, u64, Place)>,
        view: &dyn View,
    ) -> Flow {
        let route = self.routes.find(publisher.namespace, out.parts.topic, view);
        let is_live_only = packet_id.is_none() || !route.has_durable;
        self.clients.ledger.received += 1;
        if route.is_empty() {
            self.clients.ledger.unmatched += 1;
        }
        let share = packet_id.map(|_| Share::Live);
        let to =
            Addressing { targets: &route.local, share, origin: publisher.origin, position: None };
        self.clients.deliver(now, to, out);
        for (shard, targets) in &route.remote {
            if share.is_none() || targets.iter().any(|target| Share::Live.takes(target.grant)) {
                let parcel = Parcel {
                    message: out.share(),
                    position: None,
                    origin: publisher.origin,
                    targets: targets.clone(),
                    share: Share::Live,
                };
                self.post.send(*shard, parcel, &mut self.clients.ledger);
            }
        }
        let reason = match publisher.version {
            Version::V5 if route.is_empty() => ReasonCode::NoMatchingSubscribers,
            Version::V5 | Version::V311 => ReasonCode::Success,
        };
        let acknowledgement = packet_id.map(|packet_id| (packet_id, reason));
        if is_live_only && retained.is_none() {
            return self.acknowledge_in_order(publisher.id, acknowledgement);
        }
        let route = (!is_live_only).then(|| route.clone());
        let (retained, place) = match retained {
            Some((message, order, place)) => (Some((message, order)), Some(place)),
            None => (None, self.take_place(publisher.id)),
        };
        let Some(place) = place else { return Flow::Continue };
        let storing = Storing { route, acknowledgement, retained };
        self.store(now, publisher, out, place, storing)
    }

    fn refuse_publish(&mut self, now: Time, id: ConnectionId, packet: &Publish<'_>) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        match (connection.version, packet.packet_id) {
            (Version::V5, Some(packet_id)) => {
                self.acknowledge_in_order(id, Some((packet_id, ReasonCode::NotAuthorized)))
            }
            (Version::V5, None) => Flow::Continue,
            // Closing tells the client; an acknowledgement would lie to it [MQTT-3.3.5-2].
            (Version::V311, _) => self.break_off(now, id, ReasonCode::NotAuthorized),
        }
    }

    fn publisher(&mut self, id: ConnectionId) -> Option<Publisher> {
        let connection = self.clients.connections.live(id)?;
        let version = connection.version;
        let index = connection.session;
        let session = self.clients.sessions.at(index)?;
        let origin = session.holder;
        Some(Publisher { id, version, namespace: session.namespace, origin, lane: session.lane })
    }

    fn parts<'a>(
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
