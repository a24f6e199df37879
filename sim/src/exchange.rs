//! The client's half of QoS 2: what it published and what it received, until each exchange is over.

use std::collections::BTreeMap;

use bellbird_codec::{
    Acknowledgement, Packet, PacketId, Properties, PropertyBuffer, Publish, PublishParts, QoS,
    ReasonCode, Version, encode_publish,
};

use crate::life::Delivery;
use crate::world::World;

/// The state of QoS 2 that a client keeps as long as its session.
#[derive(Default)]
pub(crate) struct Exchanges {
    /// Published and not complete, in order.
    pub(crate) open: Vec<Exchange>,
    /// Received and not released, by packet id.
    pub(crate) received: BTreeMap<u16, Option<Delivery>>,
    /// The life that this state belongs to.
    life: Option<usize>,
    /// Something was forgotten that the broker may still know.
    forgot: bool,
    /// Messages among it that the broker may still count as open.
    forgotten: usize,
    /// Packet ids below may be in use for what was forgotten.
    first_id: u16,
    last_id: u16,
}

/// One message that a client publishes with QoS 2.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    packet_id: u16,
    number: usize,
    /// PUBREC has come: from here on PUBREL.
    is_had: bool,
}

/// What a client has to answer.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Puback(u16),
    Pubrec(u16, ReasonCode),
    Pubrel(u16),
    Pubcomp(u16),
}

impl Exchanges {
    /// Opens an exchange under the lowest free packet id.
    pub(crate) fn begin(&mut self, number: usize) -> u16 {
        let is_free = |id: &u16| self.open.iter().all(|exchange| exchange.packet_id != *id);
        let packet_id = (self.first_id + 1..u16::MAX).find(is_free).unwrap_or(u16::MAX);
        self.last_id = self.last_id.max(packet_id);
        self.open.push(Exchange { packet_id, number, is_had: false });
        packet_id
    }

    /// Messages that the broker may count as open.
    pub(crate) fn held(&self) -> usize {
        self.open.len() + self.forgotten
    }

    /// The client begins anew; the broker may not learn of it.
    pub(crate) fn forget(&mut self) {
        self.forgot |= !self.open.is_empty() || !self.received.is_empty();
        self.forgotten += self.open.len();
        self.open.clear();
        self.received.clear();
        self.first_id = self.last_id;
    }
}

impl World {
    /// CONNACK tells whether the session and its exchanges go on.
    pub(crate) fn resume_exchanges(&mut self, client: usize, link: usize, is_present: bool) {
        let life = self.links[link].watch.life;
        let is_vague = life.is_some_and(|life| self.lives[life].is_vague);
        let found = &mut self.clients[client].exchanges;
        if !is_present {
            *found = Exchanges { life, ..Exchanges::default() };
            return;
        }
        if found.life != life || is_vague {
            // The broker began another session that it never told of: no client could know.
            found.forget();
        }
        found.life = life;
        if let Some(life) = life {
            self.lives[life].forgot |= found.forgot;
        }
        let open = found.open.clone();
        for Exchange { packet_id, number, is_had } in open {
            if is_had {
                self.answer(client, link, Answer::Pubrel(packet_id));
            } else {
                self.stats.resent += 1;
                self.send_message(client, link, number, true);
            }
        }
    }

    /// Puts a PUBLISH on its way.
    pub(crate) fn send_message(&mut self, client: usize, link: usize, number: usize, dup: bool) {
        let version = self.clients[client].version;
        let topic = self.said(number);
        let alias = self.choose_alias(client, link, &topic);
        let message = &mut self.messages[number];
        if dup {
            // Whoever was asked before is asked again.
            message.is_denied = false;
        }
        if dup && message.refused {
            // The client never heard of the refusal; it may be taken now.
            (message.refused, message.taken, message.handed) = (false, None, None);
            self.delay_is_void(number);
        }
        let message = &self.messages[number];
        let mut properties = PropertyBuffer::new();
        let text = number.to_string();
        if version == Version::V5 {
            if let Some(secs) = message.expiry_secs {
                properties.push(bellbird_codec::Property::MessageExpiryInterval(secs));
            }
            if let Some((alias, _)) = alias {
                properties.push(bellbird_codec::Property::TopicAlias(alias));
            }
            properties.push(bellbird_codec::Property::UserProperty("n", &text));
        }
        let parts = PublishParts {
            dup,
            qos: crate::delivery::qos_of(message.qos),
            retain: message.retain,
            topic: if alias.is_some_and(|(_, is_known)| is_known) { "" } else { &topic },
            packet_id: message.packet_id,
            properties: properties.as_properties().raw(),
            payload: &message.payload,
        };
        encode_publish(&parts, version, &mut self.links[link].up);
        self.links[link].unanswered += usize::from(message.qos == QoS::AtLeastOnce.value());
        self.links[link].watch.sent.push_back(number);
    }

    /// A client was sent a PUBLISH.
    pub(crate) fn understand_publish(&mut self, client: usize, link: usize, publish: &Publish<'_>) {
        let number = self.number_in(publish.payload);
        let topic = publish.topic.map(|topic| topic.as_str());
        let group = self.group_of(client, topic, publish.properties);
        let delivery = number.map(|number| Delivery { number, group });
        let id = publish.packet_id.map(|id| id.value());
        let mut is_taken = true;
        match (publish.qos, id) {
            (QoS::AtLeastOnce, Some(id)) => self.clients[client].acks.push_back(Answer::Puback(id)),
            (QoS::ExactlyOnce, Some(id)) => is_taken = self.take_once(client, link, id, delivery),
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {}
        }
        let (Some(number), Some(life)) = (number, self.links[link].watch.life) else { return };
        let delivery = Delivery { number, group };
        self.lives[life].got.entry(delivery).or_default().by_client = true;
        if is_taken
            && publish.retain
            && let Some(topic) = publish.topic
            && let Some(retained) = &mut self.clients[client].retained
        {
            retained.insert(topic.as_str().to_owned(), number);
        }
    }

    /// The same packet id is the same message until PUBREL. Returns whether it is a new one.
    fn take_once(
        &mut self,
        client: usize,
        link: usize,
        id: u16,
        delivery: Option<Delivery>,
    ) -> bool {
        let known = self.clients[client].exchanges.received.get(&id).copied();
        let is_v5 = self.clients[client].version == Version::V5;
        if known.is_none() && is_v5 && self.clients[client].retained.is_none() && self.rng.chance(5)
        {
            self.stats.refused_deliveries += 1;
            let answer = Answer::Pubrec(id, ReasonCode::ImplementationSpecificError);
            self.clients[client].acks.push_back(answer);
            return false;
        }
        self.clients[client].acks.push_back(Answer::Pubrec(id, ReasonCode::Success));
        if let Some(known) = known {
            self.stats.repetitions += 1;
            if known != delivery {
                self.fail(format!(
                    "client {client} has {known:?} under packet id {id} and takes {delivery:?} for a \
                     repetition"
                ));
            }
            return false;
        }
        self.clients[client].exchanges.received.insert(id, delivery);
        let (Some(delivery), Some(life)) = (delivery, self.links[link].watch.life) else {
            return true;
        };
        let number = delivery.number;
        let is_sure = !self.lives[life].forgot && !self.lives[life].is_vague;
        let got = self.lives[life].got.entry(delivery).or_default();
        got.exactly += 1;
        self.stats.exactly_once += 1;
        let is_double = got.exactly > 1 && is_sure && !self.messages[number].retain;
        if is_double && !self.may_repeat(number) {
            self.fail(format!("client {client} has message {number} of QoS 2 twice"));
        }
        true
    }

    pub(crate) fn understand_pubrec(&mut self, client: usize, id: u16, reason: ReasonCode) {
        let found = &mut self.clients[client];
        let open = &mut found.exchanges.open;
        let index = open.iter().position(|exchange| exchange.packet_id == id);
        if reason.is_error() {
            if let Some(index) = index.filter(|index| !open[*index].is_had) {
                open.remove(index);
            }
            return;
        }
        if let Some(index) = index
            && std::mem::replace(&mut open[index].is_had, true)
        {
            // A second PUBREL could reach the broker when the id stands for another message.
            return;
        }
        found.acks.push_back(Answer::Pubrel(id));
    }

    pub(crate) fn understand_pubrel(&mut self, client: usize, id: u16) {
        self.clients[client].exchanges.received.remove(&id);
        self.clients[client].acks.push_back(Answer::Pubcomp(id));
    }

    pub(crate) fn understand_pubcomp(&mut self, client: usize, id: u16) {
        let open = &mut self.clients[client].exchanges.open;
        open.retain(|exchange| exchange.packet_id != id || !exchange.is_had);
    }

    /// Says one of the answers that a client owes.
    pub(crate) fn answer(&mut self, client: usize, link: usize, answer: Answer) {
        let (Answer::Puback(id) | Answer::Pubrec(id, _) | Answer::Pubrel(id) | Answer::Pubcomp(id)) =
            answer;
        let Some(packet_id) = PacketId::new(id) else { return };
        let mut ack = Acknowledgement {
            packet_id,
            reason: ReasonCode::Success,
            properties: Properties::EMPTY,
        };
        let packet = match answer {
            Answer::Puback(_) => Packet::Puback(ack),
            Answer::Pubrec(_, reason) => {
                ack.reason = reason;
                Packet::Pubrec(ack)
            }
            Answer::Pubrel(_) => Packet::Pubrel(ack),
            Answer::Pubcomp(_) => Packet::Pubcomp(ack),
        };
        packet.encode(self.clients[client].version, &mut self.links[link].up);
    }
}
