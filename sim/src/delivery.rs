//! Each PUBLISH the broker writes, held against what was published and subscribed.

use bellbird_codec::{Publish, QoS, Version};
use bellbird_topics::TopicName;

use crate::exact::Progress;
use crate::life::{Delivery, Outstanding};
use crate::world::World;

impl World {
    /// The message that a payload names.
    pub(crate) fn number_in(&self, payload: &[u8]) -> Option<usize> {
        number_in(payload, self.messages.len())
    }

    /// The broker wrote a PUBLISH to a client.
    pub(crate) fn delivered(&mut self, link: usize, publish: &Publish<'_>) {
        let Some(topic) = self.named(link, publish) else { return };
        let publish = &Publish { topic: TopicName::parse(&topic).ok(), ..*publish };
        self.stats.deliveries += 1;
        let number = self.number_in(publish.payload);
        let group = self.group_of(self.links[link].client, Some(&topic), publish.properties);
        let id = publish.packet_id.map(|id| id.value());
        self.line(format_args!(
            "  link {link} < publish {number:?} of {group:?} q{} id {id:?} dup {} retain {}",
            publish.qos.value(),
            publish.dup,
            publish.retain
        ));
        let Some(life) = self.links[link].watch.life else {
            return self.fail(format!("link {link}: a message before CONNACK"));
        };
        if !self.links[link].watch.open {
            self.fail(format!("link {link}: a message before CONNACK"));
        }
        if let Some(topic) = publish.topic
            && self.shape.is_barred(self.rules_at(link), self.lives[life].client, topic.as_str())
        {
            self.fail(format!("link {link}: a message the gate bars"));
        }
        let is_again = self.check_packet_id(link, life, number, group, publish);
        match (number, group) {
            (Some(number), Some(group)) => {
                if self.check_content(link, number, publish) {
                    self.check_will(link, number);
                    self.check_shared(
                        link,
                        life,
                        Delivery { number, group: Some(group) },
                        publish,
                        is_again,
                    );
                }
            }
            (Some(number), None) => {
                if self.check_content(link, number, publish) {
                    self.check_will(link, number);
                    self.check_right(link, life, number, publish);
                    self.check_identifiers(link, life, number, publish);
                    let delivery = Delivery { number, group };
                    let is_first = !self.lives[life].got.contains_key(&delivery);
                    self.check_doubles(link, life, number, publish, is_again);
                    self.check_order(link, life, number, publish, is_first);
                }
            }
            (None, _) => self.check_cleared(link, publish),
        }
    }

    /// Packet ids are unique among the unacknowledged, and the same when sent again.
    fn check_packet_id(
        &mut self,
        link: usize,
        life: usize,
        number: Option<usize>,
        group: Option<usize>,
        publish: &Publish<'_>,
    ) -> bool {
        let Some(id) = publish.packet_id.map(|id| id.value()) else { return false };
        let stale = self.lives[life].stale.get(&id).filter(|stale| **stale != (number, group));
        if let Some(stale) = stale {
            self.fail(format!("link {link}: packet id {id} may be acknowledged yet for {stale:?}"));
        }
        let place = self.next_tick();
        // What may not be sent again on another connection gives its packet id back.
        let is_given_up = |known: &Outstanding| {
            (known.message, known.group) != (number, group)
                && known.link != link
                && !known.is_exact
                && self.may_be_given_up(link, known.message)
        };
        let known = self.lives[life].outstanding.get(&id).copied();
        let known = known.filter(|known| !is_given_up(known));
        let watch = &mut self.links[link].watch;
        watch.inflight.insert(id);
        let inflight = watch.inflight.len();
        let max = self.inflight_max(link);
        if inflight > usize::from(max) {
            self.fail(format!("link {link}: {inflight} inflight are more than {max}"));
        }
        let node = self.node_ends.len();
        let (is_exact, again) = (publish.qos == QoS::ExactlyOnce, known.is_some());
        if let Some(known) = known {
            self.stats.redeliveries += 1;
            if (known.message, known.group) != (number, group)
                || known.link == link
                || known.is_exact != is_exact
            {
                self.fail(format!("link {link}: packet id {id} is in use"));
            }
            if known.progress != Progress::Sent {
                self.fail(format!("link {link}: packet id {id} is sent again after PUBREC"));
            }
            if known.node == node {
                if known.place < self.links[link].watch.resent {
                    self.fail(format!("link {link}: packet id {id} is sent again out of order"));
                }
                self.links[link].watch.resent = known.place;
            }
        }
        // After a restart it may have been sent before and may not; and so if nobody could tell for
        // a while whether the session goes on.
        let found = &self.lives[life];
        let may_be_dup = found.durable && (found.node < node || found.is_vague);
        let is_old = again || (found.is_vague && publish.dup);
        if again != publish.dup && (again || !may_be_dup) {
            self.fail(format!("link {link}: packet id {id} with DUP {}", publish.dup));
        }
        if is_exact && let Some(number) = number {
            self.check_sending(link, life, number, id);
        }
        let place = known.filter(|known| known.node == node).map_or(place, |known| known.place);
        let progress = Progress::Sent;
        let message = number;
        let outstanding = Outstanding { message, group, link, place, node, is_exact, progress };
        self.lives[life].outstanding.insert(id, outstanding);
        is_old
    }

    /// How many deliveries may be under way on a connection.
    fn inflight_max(&self, link: usize) -> u16 {
        let found = &self.links[link];
        found.asked.receive_max.min(self.shape.inflight_max(found.home_settings))
    }

    /// Topic, payload and flags are the publisher's.
    fn check_content(&mut self, link: usize, number: usize, publish: &Publish<'_>) -> bool {
        let message = &self.messages[number];
        let topic = publish.topic.map(|topic| topic.as_str());
        let mut wrong = Vec::new();
        if topic != Some(message.topic) {
            wrong.push("topic");
        }
        if publish.payload != message.payload {
            wrong.push("payload");
        }
        if message.handed.is_none() {
            wrong.push("time: it was not published yet");
        }
        if message.refused {
            wrong.push("permission: it was refused");
        }
        if publish.qos.value() > message.qos {
            wrong.push("QoS");
        }
        if publish.retain && !message.retain {
            wrong.push("RETAIN");
        }
        let both_v5 = self.clients[message.client].version == Version::V5
            && self.links[link].asked.version == Version::V5;
        if both_v5 {
            let said = publish.properties.user_properties().next();
            let number = number.to_string();
            if said != Some(("n", &*number)) {
                wrong.push("user property");
            }
        }
        let left_ms = self.expires_at(number).map(|at| at.millis_since(self.now));
        if left_ms == Some(0) && !publish.dup && !message.is_vague {
            wrong.push("time: it had expired");
        }
        if self.links[link].asked.version == Version::V5 && !message.is_vague {
            let said = publish.properties.message_expiry_interval().map(u64::from);
            self.stats.expiring += u64::from(said.is_some());
            if said != left_ms.map(|left_ms| left_ms.div_ceil(1000)) {
                wrong.push("message expiry");
            }
        }
        for what in &wrong {
            self.fail(format!("link {link}: message {number} has the wrong {what}"));
        }
        wrong.is_empty()
    }

    /// A subscription covers it, with this QoS.
    fn check_right(&mut self, link: usize, life: usize, number: usize, publish: &Publish<'_>) {
        let message = &self.messages[number];
        let published = qos_of(message.qos);
        let found = &self.lives[life];
        let may_walk = publish.retain
            && message.retain
            && found.may_walk(message.topic, publish.qos, published);
        let mut allowed = found.allowed(message, message.life == Some(life));
        let owed = found.owed(message, self.may_be_own(number, life));
        allowed.lowest = owed.map(|lowest| lowest.min(published));
        let may_live = allowed.any
            && (!publish.retain || allowed.may_retain)
            && allowed.highest.is_some_and(|highest| publish.qos <= highest.min(published))
            && allowed.lowest.is_none_or(|lowest| publish.qos >= lowest);
        if !may_walk && !may_live {
            self.fail(format!(
                "link {link}: message {number} without a fitting subscription, {allowed:?}"
            ));
        }
    }

    /// QoS 0 never twice, QoS 1 only as the same delivery or after a crash.
    fn check_doubles(
        &mut self,
        link: usize,
        life: usize,
        number: usize,
        publish: &Publish<'_>,
        is_again: bool,
    ) {
        let node = self.node_ends.len();
        let is_walk = publish.retain && self.messages[number].retain;
        let delivery = Delivery { number, group: None };
        let got = self.lives[life].got.get(&delivery).copied();
        if let Some(got) = got
            && !is_walk
            && !is_again
            && !self.messages[number].retain
            && !self.may_repeat(number)
        {
            let is_vague = self.lives[life].is_vague;
            if publish.qos == QoS::AtMostOnce {
                self.fail(format!("link {link}: message {number} of QoS 0 twice"));
            } else if got.is_released && !is_vague {
                self.fail(format!("link {link}: message {number} of QoS 2 again after PUBCOMP"));
            } else if publish.qos == QoS::ExactlyOnce && !got.is_refused && !is_vague {
                self.fail(format!("link {link}: message {number} of QoS 2 as another delivery"));
            } else if got.node == node {
                self.fail(format!("link {link}: message {number} twice in one life of the node"));
            } else if got.over {
                self.fail(format!("link {link}: message {number} again though it is over"));
            }
        }
        let got = self.lives[life].got.entry(delivery).or_default();
        got.link = link;
        got.node = node;
        got.acknowledged &= is_walk;
    }

    /// Per publisher's connection, subscriber and class of published QoS, in order.
    fn check_order(
        &mut self,
        link: usize,
        life: usize,
        number: usize,
        publish: &Publish<'_>,
        is_first: bool,
    ) {
        let message = &self.messages[number];
        // What is said later stands in no order with what the client publishes, and so does what
        // was refused before.
        if (message.retain && publish.retain) || message.is_unasked() || message.is_late {
            return;
        }
        let (key, place) = ((message.link, message.qos > 0), message.place);
        let on_link = self.links[link].watch.order.insert(key, place);
        if let Some(before) = on_link
            && before >= place
            && !message.retain
        {
            self.fail(format!(
                "link {link}: message {number} of link {} behind a younger one",
                key.0
            ));
        }
        if !is_first {
            return;
        }
        let in_life = self.lives[life].order.insert(key, place);
        // What a limit dropped, what the rules kept from the client at the time, or what expired
        // after its packet id was recorded, may come back after a crash, behind what was delivered
        // then.
        let client = self.lives[life].client;
        let may_come_back = self.dropped_by_limits() > 0
            || self.shape.may_be_barred(client, self.messages[number].topic)
            || self.may_expire(number);
        if in_life.is_some_and(|before| before > place) && !may_come_back {
            self.fail(format!(
                "link {link}: message {number} of link {} first after a younger one",
                key.0
            ));
        }
    }

    /// A message without payload cannot say which one it is; some such message must be there.
    fn check_cleared(&mut self, link: usize, publish: &Publish<'_>) {
        let topic = publish.topic.map(|topic| topic.as_str());
        let is_known = self.messages.iter().any(|message| {
            message.payload.is_empty()
                && Some(message.topic) == topic
                && message.handed.is_some()
                && message.qos >= publish.qos.value()
        });
        if !is_known || !publish.payload.is_empty() {
            self.fail(format!("link {link}: nobody published this: {publish:?}"));
        }
    }
}

/// The message that a payload names, of so many.
pub(crate) fn number_in(payload: &[u8], count: usize) -> Option<usize> {
    let digits = payload.split(|byte| *byte == b':').next()?;
    let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number < count).then_some(number)
}

pub(crate) fn qos_of(value: u8) -> QoS {
    QoS::try_from(value).unwrap_or(QoS::AtMostOnce)
}
