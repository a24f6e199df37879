//! What the clients do: they dial, talk, answer late, and leave without a word.

use bellbird_codec::{
    Connect, Decoded, Disconnect, PINGREQ, Packet, PacketId, Properties, Property, PropertyBuffer,
    QoS, ReasonCode, RetainHandling, Subscribe, SubscribeBuffer, SubscribeOptions, Unsubscribe,
    UnsubscribeBuffer, Version, decode_from_server,
};

use crate::link::{Asked, Link};
use crate::rewrites::{SAID_FILTERS, SAID_TOPICS};
use crate::shape::{EXCLUSIVES, FILTERS, INBOXES, MESSAGE_SECS, SHARED, TOPICS};
use crate::world::{Message, World};

impl World {
    /// Something a client does of its own accord.
    pub(crate) fn act(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else {
            let asked = self.draw_connect(client);
            return self.dial(client, asked);
        };
        let is_early = !self.clients[client].connected;
        // What is sent again goes first.
        let has_open = !self.clients[client].exchanges.open.is_empty();
        if is_early && (has_open || self.links[link].asked.proves || !self.rng.chance(10)) {
            return;
        }
        match self.rng.below(100) {
            0..60 => {
                for _ in 0..self.rng.between(1, 4) {
                    self.publish(client, link);
                }
            }
            60..78 => self.subscribe_some(client, link),
            78..87 => self.unsubscribe_one(client, link),
            87..90 => self.prove_again(client, link),
            90..92 => {
                self.links[link].up.extend_from_slice(&PINGREQ);
            }
            92..95 => self.say_goodbye(client, link),
            95..97 => self.leave(client),
            97 => {
                // A reserved packet type.
                self.links[link].watch.is_garbled = true;
                self.links[link].up.extend_from_slice(&[0, 0]);
                self.stats.garbled += 1;
            }
            _ => {
                // A takeover: the old connection is still there.
                self.leave(client);
                let asked = self.draw_connect(client);
                self.dial(client, asked);
            }
        }
    }

    fn draw_connect(&mut self, client: usize) -> Asked {
        let version = self.clients[client].version;
        let clean_start = self.rng.chance(self.shape.clean);
        let small = self.shape.has_small_clients;
        let expiry_secs = match version {
            Version::V31 | Version::V311 if clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
            Version::V5 => *self.rng.pick(&[0, 60, 400, 100_000, u32::MAX, u32::MAX]),
        };
        let is_v5 = version == Version::V5;
        Asked {
            version,
            clean_start,
            expiry_secs,
            keep_alive_secs: *self.rng.pick(&[0, 0, 0, 20, 300]),
            receive_max: if is_v5 && small { *self.rng.pick(&[1, 3]) } else { u16::MAX },
            max_packet_bytes: if is_v5 && small { *self.rng.pick(&[90, 300]) } else { u32::MAX },
            topic_alias_max: if is_v5 { *self.rng.pick(&[0, 0, 2, 9]) } else { 0 },
            proves: is_v5 && self.rng.chance(self.shape.proofs),
            will: self.draw_will(client),
        }
    }

    /// Opens a connection and says CONNECT.
    pub(crate) fn dial(&mut self, client: usize, asked: Asked) {
        let mut properties = PropertyBuffer::new();
        if asked.version == Version::V5 {
            if asked.expiry_secs > 0 {
                properties.push(Property::SessionExpiryInterval(asked.expiry_secs));
            }
            if asked.receive_max < u16::MAX {
                properties.push(Property::ReceiveMaximum(asked.receive_max));
            }
            if asked.topic_alias_max > 0 {
                properties.push(Property::TopicAliasMaximum(asked.topic_alias_max));
            }
            if asked.max_packet_bytes < u32::MAX {
                properties.push(Property::MaximumPacketSize(asked.max_packet_bytes));
            }
        }
        self.links.push(Link::new(client, asked));
        let link = self.links.len() - 1;
        if asked.proves {
            self.begin_proving(link, &mut properties);
        }
        let name = self.clients[client].name.clone();
        let mut up = Vec::new();
        self.with_will(asked.will, link, |will| {
            let connect = Packet::Connect(Connect {
                is_bridge: false,
                version: asked.version,
                clean_start: asked.clean_start,
                keep_alive_secs: asked.keep_alive_secs,
                client_id: &name,
                will,
                user_name: None,
                password: None,
                properties: properties.as_properties(),
            });
            connect.encode(asked.version, &mut up);
        });
        self.links[link].up = up;
        self.line(format_args!("client {client} dials link {link} {asked:?}"));
        let found = &mut self.clients[client];
        found.link = Some(link);
        found.connected = false;
        found.inbox.clear();
        found.acks.clear();
        if asked.clean_start {
            found.exchanges.forget();
        }
        self.accept(link);
    }

    fn publish(&mut self, client: usize, link: usize) {
        let version = self.clients[client].version;
        let (mut qos, topic) = (self.shape.qos(&mut self.rng), self.draw_topic());
        let found = &self.clients[client];
        let receive_max = usize::from(self.node.config.terms(0).receive_max);
        let open = found.exchanges.held();
        if qos == QoS::ExactlyOnce && (!found.connected || open >= receive_max) {
            qos = QoS::AtLeastOnce;
        }
        if version == Version::V5 && open + self.links[link].unanswered >= receive_max {
            qos = QoS::AtMostOnce;
        }
        if qos == QoS::ExactlyOnce && self.shape.reloads > 0 && SAID_TOPICS.contains(&topic) {
            // It may be sent again when the topic means another.
            qos = QoS::AtLeastOnce;
        }
        let retain = self.rng.chance(self.shape.retain);
        let number = self.messages.len();
        let delay = self.draw_delay();
        let is_clear = retain && delay.is_none() && self.rng.chance(25);
        let mut payload = Vec::new();
        if !is_clear {
            let filler = *self.rng.pick(&[0, 3, 20, 60, 250]);
            payload = format!("{number}:").into_bytes();
            payload.resize(payload.len() + filler, b'x');
        }
        let expires = version == Version::V5 && self.rng.chance(10);
        let expiry_secs = expires.then(|| *self.rng.pick(&MESSAGE_SECS));
        let packet_id = match qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => self.clients[client].packet_id(),
            QoS::ExactlyOnce => self.clients[client].exchanges.begin(number),
        };
        self.messages.push(Message {
            link,
            said: topic,
            topic,
            qos: qos.value(),
            retain,
            payload,
            expiry_secs,
            packet_id,
            ..Message::new(client, number, self.now)
        });
        if let Some(secs) = delay {
            self.note_delay(number, secs);
        }
        self.send_message(client, link, number, false);
    }

    fn subscribe_some(&mut self, client: usize, link: usize) {
        let is_v5 = self.clients[client].version == Version::V5;
        let mut filters: Vec<(&str, SubscribeOptions)> = Vec::new();
        let mut id = (is_v5 && self.rng.chance(50)).then(|| *self.rng.pick(&IDS));
        for _ in 0..self.rng.between(1, 2) {
            let group = self.draw_group(client);
            if is_v5 && (group.is_some() && !filters.is_empty()) {
                // The identifier speaks for the whole packet.
                break;
            }
            let filter = group.map_or_else(|| self.draw_filter(), |group| SHARED[group].0);
            let handling =
                [RetainHandling::SendAlways, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            let options = SubscribeOptions {
                qos: self.draw_granted(group),
                // [MQTT-3.8.3-4]
                no_local: is_v5 && group.is_none() && self.rng.chance(15),
                retain_as_published: is_v5 && self.rng.chance(30),
                retain_handling: if is_v5 { *self.rng.pick(&handling) } else { handling[0] },
            };
            if filters.iter().all(|(known, _)| *known != filter) {
                filters.push((filter, options));
            }
            if SAID_FILTERS.contains(&filter) {
                // Two of one packet may mean the same.
                filters = vec![(filter, options)];
                break;
            }
            if let Some(group) = group.filter(|_| is_v5) {
                id = Some(SHARED[group].1);
                break;
            }
        }
        self.subscribe(client, link, &filters, id);
    }

    fn draw_filter(&mut self) -> &'static str {
        let is_exclusive = self.rng.chance(self.shape.exclusive);
        let filters: &[&str] = if is_exclusive {
            &EXCLUSIVES
        } else if self.shape.has_rewrites && self.rng.chance(30) {
            &SAID_FILTERS
        } else {
            &FILTERS
        };
        filters[self.rng.below(filters.len())]
    }

    pub(crate) fn draw_topic(&mut self) -> &'static str {
        let topics: &[&str] = if self.shape.has_rewrites && self.rng.chance(30) {
            &SAID_TOPICS
        } else if self.shape.has_greetings && self.rng.chance(20) {
            &INBOXES
        } else {
            &TOPICS
        };
        topics[self.rng.below(topics.len())]
    }

    pub(crate) fn subscribe(
        &mut self,
        client: usize,
        link: usize,
        filters: &[(&str, SubscribeOptions)],
        id: Option<u32>,
    ) {
        let mut properties = PropertyBuffer::new();
        if let Some(id) = id {
            properties.push(Property::SubscriptionIdentifier(id));
        }
        let properties = properties.as_properties();
        let mut buffer = SubscribeBuffer::new();
        for (filter, options) in filters {
            buffer.push(filter, *options);
        }
        let Some(packet_id) = PacketId::new(self.clients[client].packet_id()) else { return };
        let filters = buffer.as_filters();
        let packet = Packet::Subscribe(Subscribe { packet_id, properties, filters });
        packet.encode(self.clients[client].version, &mut self.links[link].up);
    }

    fn unsubscribe_one(&mut self, client: usize, link: usize) {
        let mut buffer = UnsubscribeBuffer::new();
        let group = self.draw_group(client);
        let filter = group.map_or_else(|| self.draw_filter(), |group| SHARED[group].0);
        buffer.push(filter);
        let Some(packet_id) = PacketId::new(self.clients[client].packet_id()) else { return };
        let filters = buffer.as_filters();
        let packet =
            Packet::Unsubscribe(Unsubscribe { packet_id, properties: Properties::EMPTY, filters });
        packet.encode(self.clients[client].version, &mut self.links[link].up);
    }

    fn say_goodbye(&mut self, client: usize, link: usize) {
        let mut properties = PropertyBuffer::new();
        let version = self.clients[client].version;
        if version == Version::V5 && self.rng.chance(30) {
            properties.push(Property::SessionExpiryInterval(0));
        }
        let has_regrets = version == Version::V5 && self.rng.chance(20);
        let reason = if has_regrets { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
        let packet =
            Packet::Disconnect(Disconnect { reason, properties: properties.as_properties() });
        packet.encode(version, &mut self.links[link].up);
        self.leave(client);
    }

    /// The client turns away; what it has said is still on its way.
    pub(crate) fn leave(&mut self, client: usize) {
        let Some(link) = self.clients[client].link.take() else { return };
        self.line(format_args!("client {client} leaves link {link}"));
        self.clients[client].connected = false;
        self.links[link].client_open = false;
        self.links[link].down.clear();
    }

    /// Acknowledges one delivery, the first one unless the client is careless.
    pub(crate) fn acknowledge(&mut self, client: usize) {
        let count = self.clients[client].acks.len();
        let Some(link) = self.clients[client].link else { return };
        let index = if self.shape.lazy && count > 0 { self.rng.below(count) } else { 0 };
        let Some(answer) = self.clients[client].acks.remove(index) else { return };
        self.answer(client, link, answer);
    }

    /// Bytes reach a client.
    pub(crate) fn receive(&mut self, link: usize, bytes_max: usize) {
        let client = self.links[link].client;
        let count = self.links[link].down.len().min(bytes_max);
        let bytes: Vec<u8> = self.links[link].down.drain(..count).collect();
        if self.clients[client].link != Some(link) {
            return;
        }
        let mut inbox = std::mem::take(&mut self.clients[client].inbox);
        inbox.extend_from_slice(&bytes);
        let version = self.clients[client].version;
        let mut at = 0;
        while self.clients[client].link == Some(link) {
            match decode_from_server(&inbox[at..], version, u32::MAX) {
                Ok(Decoded::Packet { packet, len }) => {
                    self.understand(client, link, &packet);
                    at += len;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => {
                    self.fail(format!("client {client} received {error:?}"));
                    break;
                }
            }
        }
        self.clients[client].inbox = inbox[at..].to_vec();
    }

    fn understand(&mut self, client: usize, link: usize, packet: &Packet<'_>) {
        match packet {
            Packet::Connack(connack) if connack.code == 0 => {
                self.clients[client].connected = true;
                self.links[link].alias_max = connack.properties.topic_alias_maximum().unwrap_or(0);
                let is_present = match self.clients[client].version {
                    // It keeps its sessions, and knows without being told.
                    Version::V31 => self.links[link].watch.is_resumed,
                    Version::V311 | Version::V5 => connack.session_present,
                };
                self.resume_exchanges(client, link, is_present);
            }
            Packet::Connack(_) | Packet::Disconnect(_) => self.leave(client),
            Packet::Publish(publish) => self.understand_publish(client, link, publish),
            Packet::Pubrec(ack) => {
                self.understand_pubrec(client, ack.packet_id.value(), ack.reason);
            }
            Packet::Pubrel(ack) => self.understand_pubrel(client, ack.packet_id.value()),
            Packet::Pubcomp(ack) => self.understand_pubcomp(client, ack.packet_id.value()),
            Packet::Puback(_) => self.links[link].unanswered -= 1,
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Suback(_)
            | Packet::Unsubscribe(_)
            | Packet::Unsuback(_)
            | Packet::Pingreq
            | Packet::Pingresp => {}
            Packet::Auth(auth) => self.understand_auth(link, auth),
        }
    }

    /// A client notices that the broker closed the connection.
    pub(crate) fn notice_end(&mut self, link: usize) {
        let client = self.links[link].client;
        self.links[link].client_open = false;
        if self.clients[client].link == Some(link) {
            self.leave(client);
        }
    }
}

/// Subscription identifiers: the least, the greatest, and some that take two bytes or are shared.
const IDS: [u32; 5] = [1, 2, 3, 200, 268_435_455];
