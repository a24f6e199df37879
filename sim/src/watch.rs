//! What goes into a connection and what the broker writes to it, packet by packet.

use bellbird_codec::{Decoded, Packet, QoS, ReasonCode, Version, decode_from_server};

use bellbird_core::permit::Verdict;

use crate::driver::Turn;
use crate::link::Kind;
use crate::world::World;

impl World {
    /// A packet of a client is about to be handed in.
    pub(crate) fn handing_in(&mut self, link: usize, packet: &Packet<'_>) {
        let tick = self.next_tick();
        self.links[link].watch.last_packet = self.now;
        self.greeting_is_shown(link);
        self.turn = match packet {
            Packet::Connect(_) => {
                self.plant_acknowledgements(link);
                let settings = self.settings_at(link);
                self.links[link].hello_settings = settings;
                self.will_means(link, settings);
                Some(Turn { link, kind: Kind::Connect, packet_id: 0, message: None })
            }
            Packet::Publish(publish) => {
                let message = self.links[link].watch.sent.front().copied();
                if let Some(number) = message {
                    self.handing_message(link, number, tick);
                }
                let packet_id = publish.packet_id.map_or(0, |id| id.value());
                Some(Turn { link, kind: Kind::Publish, packet_id, message })
            }
            Packet::Subscribe(subscribe) => {
                let packet_id = subscribe.packet_id.value();
                Some(Turn { link, kind: Kind::Subscribe, packet_id, message: None })
            }
            Packet::Unsubscribe(unsubscribe) => {
                let packet_id = unsubscribe.packet_id.value();
                Some(Turn { link, kind: Kind::Unsubscribe, packet_id, message: None })
            }
            Packet::Pubrel(ack) => {
                let packet_id = ack.packet_id.value();
                self.links[link].watch.releasing.push(packet_id);
                Some(Turn { link, kind: Kind::Release, packet_id, message: None })
            }
            Packet::Connack(_)
            | Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => None,
        };
    }

    fn settings_at(&self, link: usize) -> usize {
        let place = self.links[link].place;
        place.map_or(self.files.settings, |(shard, _)| self.node.in_force.settings[shard])
    }

    /// A message is about to be handed in, for the first time or again.
    fn handing_message(&mut self, link: usize, number: usize, tick: u64) {
        let life = self.links[link].watch.life;
        let node = self.node_ends.len();
        // Who forgot exchanges may have been closed for the many that are still open.
        let is_forgetful = life.is_some_and(|life| self.lives[life].forgot);
        let (client, said) = (self.messages[number].client, self.messages[number].said);
        let (rules, settings) = (self.rules_at(link), self.links[link].settings);
        let topic = self.topic_meant(settings, client, said);
        let lacks_room = self.lacks_room(link);
        let is_v5 = self.clients[client].version == Version::V5;
        let message = &mut self.messages[number];
        let is_known = message.taken == Some(node) && !is_forgetful && !message.is_doubtful;
        if message.acknowledged.is_some() || is_known {
            return;
        }
        message.is_vague |= message.taken.is_some();
        if message.is_doubtful {
            // Refused it is nobody's, until it is taken again and not only handed in.
            message.taken = message.taken.map(|_| NOBODY);
        }
        message.is_late |= message.lacked_room && is_v5;
        message.lacked_room = lacks_room;
        message.life = life;
        message.at = self.now;
        (message.rules, message.topic) = (rules, topic);
        // What the broker has already is not asked about again: then only the answer tells.
        let is_new = message.taken.is_none();
        let is_forbidden = match self.shape.may_publish(rules, message.client, topic) {
            Verdict::Yes => false,
            Verdict::No => true,
            Verdict::Ask => message.is_denied,
        };
        message.refused = is_forbidden && is_new;
        // Who is not told in words is held instead, and the broker has it.
        message.is_doubtful = (is_forbidden && !is_new) || (lacks_room && is_v5);
        if message.later.is_some() {
            return;
        }
        if message.handed.is_none() {
            message.link = link;
        }
        message.handed.get_or_insert(tick);
        // Where there is no room it is retained at no QoS, or held.
        if !message.retain || (lacks_room && message.qos == 0) {
            message.matched = Some(tick);
        }
    }

    /// The packet was taken, so that it will not be handed in again.
    pub(crate) fn taken(&mut self, link: usize, packet: &Packet<'_>) {
        let tick = self.tick;
        let life = self.links[link].watch.life;
        let (settings, client) = (self.links[link].settings, self.links[link].client);
        match packet {
            Packet::Connect(_) => self.links[link].watch.has_connect = true,
            Packet::Publish(publish) => {
                let Some(number) = self.links[link].watch.sent.pop_front() else { return };
                self.stats.publishes += 1;
                self.messages[number].taken = Some(self.node_ends.len());
                self.delay_begins(number);
                match (publish.qos, publish.packet_id, life) {
                    (QoS::ExactlyOnce, Some(id), Some(life)) => {
                        self.lives[life].published.insert(id.value(), number);
                    }
                    (QoS::AtLeastOnce, Some(id), _) => {
                        self.links[link].watch.unanswered.push_back((id.value(), number));
                    }
                    (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _, _) => {}
                }
            }
            Packet::Puback(ack) => {
                if let Some(life) = life {
                    self.delivery_is_over(link, life, ack.packet_id.value());
                }
            }
            Packet::Pubrec(ack) => {
                if let Some(life) = life {
                    self.pubrec_taken(link, life, ack.packet_id.value(), ack.reason);
                }
            }
            Packet::Pubcomp(ack) => {
                if let Some(life) = life {
                    self.delivery_is_over(link, life, ack.packet_id.value());
                }
            }
            Packet::Subscribe(subscribe) => {
                let items: Vec<_> = subscribe
                    .filters
                    .iter()
                    .map(|item| (self.filter_meant(settings, client, item.text), item.options))
                    .collect();
                if let Some(life) = life {
                    let id = subscribe.properties.subscription_identifier();
                    for (filter, options) in &items {
                        self.lives[life].subscribe(filter, *options, id, link, tick);
                    }
                }
                let id = subscribe.packet_id.value();
                let rules = self.rules_at(link);
                self.links[link].watch.subscribing.insert(id, (rules, items));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let items: Vec<_> = unsubscribe
                    .filters
                    .iter()
                    .map(|(text, _)| self.filter_meant(settings, client, text))
                    .collect();
                if let Some(life) = life {
                    items.iter().for_each(|filter| self.lives[life].unsubscribe(filter, tick));
                }
                let id = unsubscribe.packet_id.value();
                self.links[link].watch.unsubscribing.insert(id, (tick, items));
            }
            Packet::Pingreq => self.links[link].watch.pings += 1,
            Packet::Disconnect(disconnect) => {
                self.goodbye_taken(link, disconnect.reason);
                if let Some(secs) = disconnect.properties.session_expiry_interval()
                    && let Some(life) = life
                {
                    self.lives[life].expiry_secs = secs;
                }
            }
            Packet::Connack(_)
            | Packet::Pubrel(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp
            | Packet::Auth(_) => {}
        }
    }

    /// Looks at what a shard has written since the last look.
    pub(crate) fn scan(&mut self, shard: usize) {
        let places = self.node.places.range((shard, 0)..=(shard, u32::MAX));
        let links: Vec<usize> = places.map(|(_, link)| *link).collect();
        for link in links {
            let Some((_, id)) = self.links[link].place else { continue };
            let outbox = self.node.shards[shard].outbox(id);
            let seen = self.links[link].seen;
            if outbox.len() <= seen {
                continue;
            }
            let bytes = outbox[seen..].to_vec();
            self.links[link].seen = outbox.len();
            if !self.links[link].announced {
                self.fail(format!("link {link} has {} bytes and no Send", bytes.len()));
            }
            self.scan_bytes(link, &bytes);
        }
    }

    fn scan_bytes(&mut self, link: usize, bytes: &[u8]) {
        let version = self.links[link].asked.version;
        let mut at = 0;
        while at < bytes.len() {
            match decode_from_server(&bytes[at..], version, u32::MAX) {
                Ok(Decoded::Packet { packet, len }) => {
                    self.written(link, &packet, len);
                    at += len;
                }
                Ok(Decoded::Incomplete { .. }) => {
                    return self.fail(format!("link {link}: a part of a packet in the outbox"));
                }
                Err(error) => {
                    return self.fail(format!("link {link}: the broker wrote {error:?}"));
                }
            }
        }
    }

    fn written(&mut self, link: usize, packet: &Packet<'_>, len: usize) {
        self.tick += 1;
        if len > self.links[link].asked.max_packet_bytes as usize {
            self.fail(format!("link {link}: {len} bytes are more than its Maximum Packet Size"));
        }
        match packet {
            Packet::Connack(connack) => {
                self.line(format_args!("  link {link} < connack {}", connack.code));
                if connack.code == 0 {
                    self.check_promise(link, Kind::Connect, 0);
                    self.check_accepted(link, connack.properties);
                    self.welcomed(link, connack.session_present);
                }
            }
            Packet::Publish(publish) => self.delivered(link, publish),
            Packet::Puback(ack) => self.answered(link, ack.packet_id.value(), ack.reason),
            Packet::Suback(suback) => self.subscribed(link, suback.packet_id.value(), suback.codes),
            Packet::Unsuback(unsuback) => self.unsubscribed(link, unsuback.packet_id.value()),
            Packet::Pingresp => match self.links[link].watch.pings.checked_sub(1) {
                Some(pings) => self.links[link].watch.pings = pings,
                None => self.fail(format!("link {link}: PINGRESP for nothing")),
            },
            Packet::Disconnect(disconnect) => self.said_goodbye(link, disconnect.reason),
            Packet::Auth(auth) => self.auth_written(link, auth),
            Packet::Pubrec(ack) => self.pubrec_written(link, ack.packet_id.value(), ack.reason),
            Packet::Pubrel(ack) => self.pubrel_written(link, ack.packet_id.value(), ack.reason),
            Packet::Pubcomp(ack) => self.pubcomp_written(link, ack.packet_id.value(), ack.reason),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => self.fail(format!("link {link}: the broker wrote {packet:?}")),
        }
    }

    /// PUBACK, in the order of the PUBLISH packets [MQTT-4.6.0-2].
    fn answered(&mut self, link: usize, packet_id: u16, reason: ReasonCode) {
        let tick = self.tick;
        self.line(format_args!("  link {link} < puback {packet_id} {reason:?}"));
        self.check_promise(link, Kind::Publish, packet_id);
        let watch = &mut self.links[link].watch;
        match watch.unanswered.pop_front() {
            Some((id, number)) if id == packet_id => {
                let message = &mut self.messages[number];
                if reason.value() < 0x80 {
                    message.acknowledged = Some(tick);
                    self.stats.acknowledged += 1;
                    self.delay_is_answered(number);
                } else {
                    self.refused(number, reason);
                }
            }
            other => self.fail(format!("link {link}: PUBACK {packet_id} instead of {other:?}")),
        }
    }

    /// PUBACK or PUBREC refuses a message: for one of two reasons.
    pub(crate) fn refused(&mut self, number: usize, reason: ReasonCode) {
        let message = &mut self.messages[number];
        let may = self.shape.may_publish(message.rules, message.client, message.topic);
        message.refused = true;
        let lacked_room = message.lacked_room;
        let is_right = (reason == ReasonCode::NotAuthorized && may != Verdict::Yes)
            || (reason == ReasonCode::QuotaExceeded
                && (lacked_room || self.is_quota_reached(number)));
        self.stats.refused_for_room += u64::from(lacked_room);
        if !is_right {
            self.fail(format!("message {number} is refused with {reason:?}"));
        }
    }

    fn subscribed(&mut self, link: usize, packet_id: u16, codes: &[u8]) {
        self.line(format_args!("  link {link} < suback {packet_id} {codes:?}"));
        self.stats.subscribes += 1;
        self.check_promise(link, Kind::Subscribe, packet_id);
        let asked = self.links[link].watch.subscribing.remove(&packet_id);
        let (Some((rules, asked)), Some(life)) = (asked, self.links[link].watch.life) else {
            return self.fail(format!("link {link}: SUBACK {packet_id} for nothing"));
        };
        if asked.len() != codes.len() {
            return self.fail(format!("link {link}: SUBACK with {} codes", codes.len()));
        }
        let tick = self.tick;
        // All of them first: one may have been refused for another that was refused since.
        for ((filter, _), code) in asked.iter().zip(codes) {
            let requested = self.lives[life].requested_at(filter, link);
            self.check_code(link, rules, filter, requested, *code);
        }
        for ((filter, options), code) in asked.iter().zip(codes) {
            let granted = *code < 0x80;
            if granted && *code != options.qos.value() {
                self.fail(format!("link {link}: {filter} was granted {code}"));
            }
            self.lives[life].subscribed(filter, link, granted, tick);
        }
    }

    fn unsubscribed(&mut self, link: usize, packet_id: u16) {
        self.line(format_args!("  link {link} < unsuback {packet_id}"));
        self.stats.unsubscribes += 1;
        self.check_promise(link, Kind::Unsubscribe, packet_id);
        let asked = self.links[link].watch.unsubscribing.remove(&packet_id);
        let (Some((since, asked)), Some(life)) = (asked, self.links[link].watch.life) else {
            return self.fail(format!("link {link}: UNSUBACK {packet_id} for nothing"));
        };
        let tick = self.tick;
        asked.iter().for_each(|filter| self.lives[life].unsubscribed(filter, since, tick));
    }

    fn said_goodbye(&mut self, link: usize, reason: ReasonCode) {
        self.line(format_args!("  link {link} < disconnect {reason:?}"));
        let silence_ms = self.now.millis_since(self.links[link].watch.last_packet);
        let asked = self.links[link].asked;
        self.links[link].watch.goodbye = Some(reason.value());
        let is_early = silence_ms < u64::from(asked.keep_alive_secs) * 1500;
        if reason == ReasonCode::KeepAliveTimeout {
            self.stats.timeouts += 1;
            if is_early || asked.keep_alive_secs == 0 {
                self.fail(format!("link {link} was closed after {silence_ms} ms of silence"));
            }
            return;
        }
        let held = if self.lacks_room(link) {
            ReasonCode::QuotaExceeded
        } else {
            ReasonCode::ImplementationSpecificError
        };
        self.stats.held += u64::from(reason == held);
        let life = self.links[link].watch.life;
        let has_forgotten = life.is_some_and(|life| self.lives[life].forgot);
        let is_protocol = matches!(reason, ReasonCode::ProtocolError | ReasonCode::MalformedPacket);
        let is_due =
            matches!(reason, ReasonCode::SessionTakenOver | ReasonCode::ServerShuttingDown)
                || self.is_refused_for(link, reason)
                || (self.shape.holds && reason == held)
                || (is_protocol && self.links[link].watch.is_garbled)
                || (reason == ReasonCode::ReceiveMaximumExceeded && has_forgotten);
        if !is_due {
            self.fail(format!("link {link} was closed with {reason:?}"));
        }
    }

    /// An acknowledgement is out: whatever it speaks for must be stored and shown.
    pub(crate) fn check_promise(&mut self, link: usize, kind: Kind, packet_id: u16) {
        let Some(promise) = self.links[link].watch.promises.remove(&(kind, packet_id)) else {
            return;
        };
        for (shard, ticket) in promise.tickets {
            if !self.store.is_stored(shard, ticket) {
                let number = ticket.0;
                self.fail(format!(
                    "link {link}: {kind:?} {packet_id} acknowledged before record {number} of \
                     shard {shard} is stored"
                ));
            }
        }
        for (shard, ticket) in promise.changes {
            if ticket.0 > self.node.shown[shard] {
                self.fail(format!(
                    "link {link}: {kind:?} {packet_id} acknowledged before the view shows it"
                ));
            }
        }
    }
}

/// No life of the node.
const NOBODY: usize = usize::MAX;
