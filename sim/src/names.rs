//! What a delivery is called: topic aliases both ways, and subscription identifiers.

use std::collections::BTreeSet;

use bellbird_codec::{Packet, Property, PropertyBuffer, Publish, Version};

use crate::life::{Life, Period, covers};
use crate::plant::Plant;
use crate::world::{Message, World};

impl World {
    /// The topic of a PUBLISH that the broker wrote, by its name or by an alias.
    pub(crate) fn named(&mut self, link: usize, publish: &Publish<'_>) -> Option<String> {
        let name = publish.topic.map(|topic| topic.as_str().to_owned());
        let Some(alias) = publish.properties.topic_alias() else {
            if name.is_none() {
                self.fail(format!("link {link}: neither topic nor alias"));
            }
            return name;
        };
        let max = self.links[link].asked.topic_alias_max;
        if alias == 0 || alias > max {
            self.fail(format!("link {link}: alias {alias}, and it allows {max}"));
        }
        self.stats.aliases += 1;
        let aliases = &mut self.links[link].watch.aliases;
        if let Some(name) = name {
            aliases.insert(alias, name.clone());
            return Some(name);
        }
        let known = aliases.get(&alias).cloned();
        if known.is_none() {
            self.fail(format!("link {link}: alias {alias} stands for nothing"));
        }
        known
    }

    /// The topic of a message as its publisher writes it.
    pub(crate) fn said(&self, number: usize) -> String {
        let message = &self.messages[number];
        match message.later {
            Some(later) => format!("$delayed/{}/{}", self.later[later].secs, message.said),
            None => message.said.to_owned(),
        }
    }

    /// How a client says a topic: none by its name, else the alias, and whether it is known.
    pub(crate) fn choose_alias(
        &mut self,
        client: usize,
        link: usize,
        topic: &str,
    ) -> Option<(u16, bool)> {
        let max = self.links[link].alias_max.min(ALIASES);
        if max == 0 || self.clients[client].version != Version::V5 || !self.rng.chance(50) {
            return None;
        }
        let aliases = &mut self.links[link].aliases;
        if let Some((alias, _)) = aliases.iter().find(|(_, known)| *known == topic) {
            self.stats.aliases += 1;
            return Some((*alias, true));
        }
        let alias = 1 + u16::try_from(self.rng.below(usize::from(max))).unwrap_or(0);
        self.links[link].aliases.insert(alias, topic.to_owned());
        Some((alias, false))
    }

    /// A planted fault: an alias that stands for another topic.
    pub(crate) fn mix_aliases(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let Packet::Publish(publish) = packet else { return None };
        let is_chosen = self.plant == Some(Plant::AliasMixed) && publish.topic.is_none();
        if !is_chosen || !self.rng.chance(10) {
            return None;
        }
        let mut properties = PropertyBuffer::new();
        for property in publish.properties.iter() {
            properties.push(if let Property::TopicAlias(alias) = property {
                Property::TopicAlias(alias % ALIASES + 1)
            } else {
                property
            });
        }
        let mut bytes = Vec::new();
        let other = Publish { properties: properties.as_properties(), ..*publish };
        Packet::Publish(other).encode(Version::V5, &mut bytes);
        Some(bytes)
    }

    /// The identifiers of all subscriptions that a delivery answers, and no others
    /// [MQTT-3.3.4-3], [MQTT-3.3.4-4].
    pub(crate) fn check_identifiers(
        &mut self,
        link: usize,
        life: usize,
        number: usize,
        publish: &Publish<'_>,
    ) {
        if self.links[link].asked.version != Version::V5 {
            return;
        }
        let said: BTreeSet<u32> = publish
            .properties
            .iter()
            .filter_map(|property| {
                let Property::SubscriptionIdentifier(id) = property else { return None };
                Some(id)
            })
            .collect();
        self.stats.identifiers += said.len() as u64;
        let (found, message) = (&self.lives[life], &self.messages[number]);
        let own = self.may_be_own(number, life);
        let (sure, possible) = found.identifiers(message, own);
        let is_live = sure.is_subset(&said) && said.is_subset(&possible);
        let is_walk = publish.retain && message.retain && found.may_walk_as(message.topic, &said);
        if !is_live && !is_walk {
            self.fail(format!(
                "link {link}: message {number} with identifiers {said:?}, expected {sure:?} of \
                 {possible:?}"
            ));
        }
    }
}

impl Life {
    /// The identifiers that a live message must carry, and those that it may.
    fn identifiers(&self, message: &Message, own: bool) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (mut sure, mut possible) = (BTreeSet::new(), BTreeSet::new());
        for period in &self.periods {
            let Some(id) = period.id else { continue };
            if period.may_cover(message) {
                possible.insert(id);
            }
            let is_sure = period.covers_surely(message)
                && period.replaced.is_none_or(|(at, _)| Some(at) > message.matched)
                && !(own && period.options.no_local);
            if is_sure {
                sure.insert(id);
            }
        }
        (sure, possible)
    }

    /// Whether some subscription with these identifiers, one or none, may have asked for the
    /// retained message of a topic.
    fn may_walk_as(&self, topic: &str, said: &BTreeSet<u32>) -> bool {
        let asks = |period: &&Period| !period.refused && covers(&period.filter, topic);
        said.len() < 2
            && self.periods.iter().filter(asks).any(|period| period.id == said.first().copied())
    }
}

/// More than clients use, so that they are used again.
const ALIASES: u16 = 3;
