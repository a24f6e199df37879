//! Shared subscriptions: who has which message of a group, and who may get it next.

use std::collections::BTreeMap;

use bellbird_codec::{Properties, Property, Publish, QoS, Version};
use bellbird_core::errand::Errand;
use bellbird_core::identity::{Holder, Position, Ticket};
use bellbird_core::mail::Mail;

use crate::delivery::qos_of;
use crate::life::{Delivery, Life, Period, covers};
use crate::shape::{SHARED, SHARED_TOPICS, SHARED_WITHOUT_ID};
use crate::store::Report;
use crate::world::{Message, World};

/// One shared subscription, whatever lives it has.
pub(crate) struct Group {
    filter: &'static str,
    id: u32,
    /// Messages that a member was given.
    lent: BTreeMap<usize, Lent>,
    /// Whose own a message of QoS 2 is, as the records say; nobody that is known any more.
    handed: BTreeMap<usize, Option<usize>>,
    /// When a member came to lose what it had.
    disturbed: u64,
}

/// The last member that was given a message, and how.
#[derive(Clone, Copy)]
struct Lent {
    life: usize,
    link: usize,
    /// The life of the node.
    node: usize,
    qos: QoS,
    /// The member's last word was handed in during this life of the node.
    is_acknowledged: bool,
    /// The log has that it is over.
    is_over: bool,
    /// Some member was once done with it.
    is_settled: bool,
}

/// What keeps its order on one connection: messages of one group, from one publisher's connection,
/// published with QoS 0 or not, sent with one QoS.
pub(crate) type Stream = (usize, usize, bool, QoS);

impl Group {
    pub(crate) fn new(filter: &'static str, id: u32) -> Self {
        let (lent, handed) = (BTreeMap::new(), BTreeMap::new());
        Self { filter, id, lent, handed, disturbed: 0 }
    }

    /// The filter of which it is a share.
    fn topics(&self) -> &'static str {
        self.filter.splitn(3, '/').nth(2).unwrap_or_default()
    }
}

impl World {
    /// The group of a filter that a client subscribes to next, if it is to be one.
    pub(crate) fn draw_group(&mut self, client: usize) -> Option<usize> {
        if !self.rng.chance(self.shape.shared) {
            return None;
        }
        Some(match self.clients[client].version {
            Version::V31 | Version::V311 => client % SHARED_WITHOUT_ID,
            Version::V5 => self.rng.below(SHARED.len()),
        })
    }

    pub(crate) fn draw_granted(&mut self, group: Option<usize>) -> QoS {
        let qos = self.shape.qos(&mut self.rng);
        match group {
            Some(_) if !self.shape.has_careless_members => qos.max(QoS::AtLeastOnce),
            Some(_) | None => qos,
        }
    }

    /// The group through which a client gets a message.
    pub(crate) fn group_of(
        &self,
        client: usize,
        topic: Option<&str>,
        properties: Properties<'_>,
    ) -> Option<usize> {
        let by_id = properties.iter().find_map(|property| {
            let Property::SubscriptionIdentifier(id) = property else { return None };
            self.groups.iter().position(|group| group.id == id)
        });
        let is_by_topic = topic.is_some_and(|topic| topic.starts_with(SHARED_TOPICS))
            && self.clients[client].retained.is_none();
        by_id.or(is_by_topic.then_some(client % SHARED_WITHOUT_ID))
    }

    /// The broker wrote a message of a group to a member.
    pub(crate) fn check_shared(
        &mut self,
        link: usize,
        life: usize,
        delivery: Delivery,
        publish: &Publish<'_>,
        is_again: bool,
    ) {
        let Delivery { number, group: Some(group) } = delivery else { return };
        self.stats.shared += 1;
        self.check_membership(link, life, number, group, publish);
        let before = self.groups[group].lent.get(&number).copied();
        // What is flushed to a connection that was let go of was there before it was returned.
        let was_returned = self.links[link].watch.detached
            && publish.qos == QoS::AtLeastOnce
            && before.is_some_and(|it| it.link != link && it.node == self.node_ends.len());
        if was_returned {
            return;
        }
        match before {
            Some(before) => {
                self.stats.shared_again += u64::from(!is_again);
                self.check_lent(link, life, delivery, publish, before, is_again);
            }
            None => self.check_shared_order(link, number, group, publish.qos),
        }
        let lent = Lent {
            life,
            link,
            node: self.node_ends.len(),
            qos: publish.qos,
            is_acknowledged: false,
            is_over: false,
            is_settled: before.is_some_and(|before| before.is_settled)
                || publish.qos == QoS::AtMostOnce,
        };
        self.groups[group].lent.insert(number, lent);
    }

    /// The message matched the group when somebody was in it, and this session is, or was then.
    fn check_membership(
        &mut self,
        link: usize,
        life: usize,
        number: usize,
        group: usize,
        publish: &Publish<'_>,
    ) {
        let (found, message) = (&self.groups[group], &self.messages[number]);
        let tick = self.tick;
        let published = qos_of(message.qos);
        let mut wrong = None;
        let is_matched = covers(found.topics(), message.topic)
            && self.lives.iter().any(|life| life.may_be_in(found.filter, message));
        if !is_matched {
            wrong = Some("nobody was in the group");
        }
        let periods = self.lives[life].periods_in(found.filter, message, tick);
        let grants = || periods.iter().map(|period| period.options.qos.min(published));
        let is_fitting = grants().min() <= Some(publish.qos) && grants().max() >= Some(publish.qos);
        if periods.is_empty() {
            wrong = Some("the session is not in the group");
        } else if !is_fitting {
            wrong = Some("the QoS was granted to nobody");
        }
        let keeps = periods.iter().any(|period| period.options.retain_as_published);
        if publish.retain && !keeps {
            wrong = Some("RETAIN is kept for nobody");
        }
        let mut ids = publish.properties.iter().filter_map(|property| {
            let Property::SubscriptionIdentifier(id) = property else { return None };
            Some(id)
        });
        let is_v5 = self.links[link].asked.version == Version::V5;
        if is_v5 && (ids.next(), ids.next()) != (Some(found.id), None) {
            wrong = Some("the identifiers are not the group's");
        }
        if let Some(wrong) = wrong {
            self.fail(format!("link {link}: message {number} of group {group}: {wrong}"));
        }
    }

    /// A message that some member was given already goes to the next only if that one is away and
    /// has not acknowledged it, and with QoS 2 to nobody else [MQTT-4.8.2-4], [MQTT-4.8.2-5].
    fn check_lent(
        &mut self,
        link: usize,
        life: usize,
        delivery: Delivery,
        publish: &Publish<'_>,
        before: Lent,
        is_again: bool,
    ) {
        let (number, group) = (delivery.number, delivery.group.unwrap_or_default());
        let node = self.node_ends.len();
        let (one, other) = (&self.lives[before.life], &self.lives[life]);
        let is_vague = one.client == other.client && (one.is_vague || other.is_vague);
        let is_same = before.life == life || is_vague;
        let refused = self.lives[life].got.get(&delivery).is_some_and(|got| got.is_refused);
        let wrong = match before.qos {
            _ if self.may_repeat(number) => return,
            _ if before.is_over => "again though it is over",
            QoS::AtMostOnce if self.messages[number].qos == 0 => "of QoS 0 twice",
            QoS::ExactlyOnce if is_same && (is_again || is_vague || refused) => return,
            QoS::ExactlyOnce if is_same => "of QoS 2 as another delivery",
            // It was published twice: nobody had acknowledged it before the node ended.
            QoS::ExactlyOnce if before.node < node && self.messages[number].is_vague => return,
            QoS::ExactlyOnce => "of QoS 2 to two members",
            QoS::AtMostOnce | QoS::AtLeastOnce if before.node < node => return,
            QoS::AtMostOnce => "again after it was sent with QoS 0",
            QoS::AtLeastOnce if before.is_acknowledged => "again after PUBACK",
            QoS::AtLeastOnce if !self.links[before.link].watch.detached => {
                "to two members that are both here"
            }
            QoS::AtLeastOnce => return,
        };
        let qos = publish.qos.value();
        let had_by = before.link;
        self.fail(format!(
            "link {link}: message {number} of group {group} q{qos} {wrong}; link {had_by} had it"
        ));
    }

    /// In order per member, as long as nothing comes back to the group.
    fn check_shared_order(&mut self, link: usize, number: usize, group: usize, qos: QoS) {
        let message = &self.messages[number];
        let key = (group, message.link, message.qos == 0, qos);
        let (place, is_retained) = (message.place, message.retain);
        // What was refused before came late.
        let is_unasked = message.is_unasked() || message.is_late;
        let is_quiet = !is_unasked && message.matched > Some(self.groups[group].disturbed);
        let before = self.links[link].watch.shared_order.insert(key, place);
        if before.is_some_and(|before| before > place) && is_quiet && !is_retained {
            self.fail(format!(
                "link {link}: message {number} of group {group} behind a younger one"
            ));
        }
    }

    /// A member is done with a message.
    pub(crate) fn member_is_done(&mut self, life: usize, delivery: Delivery) {
        let Some(group) = delivery.group else { return };
        let lent = self.groups[group].lent.get_mut(&delivery.number);
        if let Some(lent) = lent.filter(|lent| lent.life == life) {
            (lent.is_acknowledged, lent.is_settled) = (true, true);
        }
    }

    /// A session lets go of its connection: what it has of groups with QoS 1 goes back.
    pub(crate) fn member_is_away(&mut self, life: usize) {
        let found = &mut self.lives[life];
        found.outstanding.retain(|_, known| known.group.is_none() || known.is_exact);
        self.disturb_groups();
    }

    fn disturb_groups(&mut self) {
        let tick = self.next_tick();
        self.groups.iter_mut().for_each(|group| group.disturbed = tick);
    }

    /// A letter is about to be handed in: messages may come back with it.
    pub(crate) fn note_errands(&mut self, mail: &Mail) {
        let Mail::Errands(errands) = mail else { return };
        let gives_back = |errand: &Errand| {
            matches!(errand, Errand::Return(_) | Errand::Gone { .. } | Errand::Leave { .. })
        };
        if errands.iter().any(gives_back) {
            self.disturb_groups();
        }
    }

    /// Where the messages of a report stand.
    pub(crate) fn note_positions(&mut self, report: &Report) {
        for offset in 0..u64::from(report.count) {
            let ticket = Ticket(report.first.0 + offset);
            if let Some(number) = self.appends.remove(&(report.shard, ticket)) {
                self.positions.insert(Position(report.position.0 + offset), number);
                self.will_is_stored(number);
            }
        }
    }

    /// A record says that a message of a group is from here on a session's own.
    pub(crate) fn note_handed(&mut self, group: Holder, position: Position, to: Holder) {
        let name = self.founded.get(&group);
        let group = self.groups.iter_mut().find(|found| Some(&found.filter) == name);
        let (Some(group), Some(number)) = (group, self.positions.get(&position)) else { return };
        let client = self.clients.iter().find(|client| client.holder == Some(to));
        // A session that ends with its connection has no number that is known here.
        let life = client.and_then(|client| client.life).filter(|life| self.lives[*life].durable);
        group.handed.insert(*number, life);
    }

    pub(crate) fn note_found(&mut self, holder: Holder, name: &str) {
        if let Some(group) = self.groups.iter().find(|group| group.filter == name) {
            self.founded.insert(holder, group.filter);
        }
    }

    /// What is left of the groups when the node has ended.
    pub(crate) fn groups_after_end(&mut self, clean: bool) {
        // Who is done tells the group by mail.
        let is_told = clean && self.node.mail.iter().all(|lane| lane.is_empty());
        let node = self.node_ends.len() - 1;
        for lent in self.groups.iter_mut().flat_map(|group| group.lent.values_mut()) {
            let is_done = lent.is_acknowledged || lent.qos == QoS::AtMostOnce;
            lent.is_over |= is_told && is_done && lent.node == node;
            lent.is_acknowledged &= lent.is_over;
        }
        self.appends.clear();
        self.disturb_groups();
    }

    /// Whatever a group kept for a member that stayed has reached some member, who was done with
    /// it.
    pub(crate) fn check_owed_to_groups(&mut self) {
        let mut missing = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            let is_careless = self.lives.iter().any(|life| life.is_careless_in(group.filter));
            for (number, message) in self.messages.iter().enumerate() {
                let is_owed = message.acknowledged.is_some()
                    && !self.may_expire(number)
                    && self.must_have_come(number)
                    && !message.payload.is_empty()
                    && !is_careless
                    && covers(group.topics(), message.topic);
                let is_kept = self.clients.iter().filter(|client| client.connected).any(|client| {
                    let life = client.life.map(|life| &self.lives[life]);
                    life.is_some_and(|life| life.is_surely_in(group.filter, message))
                });
                let handed = group.handed.get(&number);
                let is_gone = handed.is_some_and(|life| {
                    // Or it may be another session by now.
                    if life.is_some_and(|life| self.lives[life].is_vague) {
                        return true;
                    }
                    let client = life.map(|life| &self.clients[self.lives[life].client]);
                    client.is_none_or(|client| client.life != *life || !client.connected)
                });
                if !is_owed || !is_kept || is_gone {
                    continue;
                }
                self.stats.owed_to_groups += 1;
                let is_done = group.lent.get(&number).is_some_and(|lent| {
                    // Of a session that nobody was sure of, what the client has is all there is.
                    let delivery = Delivery { number, group: Some(index) };
                    let life = &self.lives[lent.life];
                    let has_it = life.got.get(&delivery).is_some_and(|got| got.by_client);
                    lent.is_settled || (life.is_vague && has_it)
                });
                if !is_done {
                    missing.push((number, index));
                }
            }
        }
        let dropped = self.dropped_by_limits();
        if missing.len() as u64 > dropped + self.given_up {
            self.fail(format!(
                "acknowledged and nobody's, as (message, group): {missing:?}; {dropped} were \
                 dropped by limits"
            ));
        }
    }
}

impl Life {
    /// Its subscriptions to this filter by which it may get the message now.
    fn periods_in(&self, filter: &str, message: &Message, tick: u64) -> Vec<&Period> {
        let may = |period: &&Period| {
            period.filter == filter
                && !period.refused
                && period.requested <= tick
                && period.ended.is_none_or(|end| Some(end) >= message.handed)
        };
        self.periods.iter().filter(may).collect()
    }

    /// Whether it may have been a member when the message was matched.
    fn may_be_in(&self, filter: &str, message: &Message) -> bool {
        let until = message.matched.unwrap_or_default();
        !self.periods_in(filter, message, until).is_empty()
    }

    /// Whether it was a member when the message came, and has been one since.
    fn is_surely_in(&self, filter: &str, message: &Message) -> bool {
        self.durable
            && self.periods.iter().any(|period| {
                period.filter == filter
                    && period.acknowledged.is_some_and(|at| Some(at) < message.handed)
                    && period.end_requested.is_none()
            })
    }

    /// Whether it ever took QoS 0 only: then the group's messages may end with it.
    fn is_careless_in(&self, filter: &str) -> bool {
        let is_careless = |period: &Period| {
            period.filter == filter && !period.refused && period.options.qos == QoS::AtMostOnce
        };
        self.periods.iter().any(is_careless)
    }
}
