//! Wills: when each may be said, when it must be, and when it must not.

use std::collections::BTreeSet;

use bellbird_codec::{Property, PropertyBuffer, ReasonCode, Version};
use bellbird_core::contract::Change;
use bellbird_core::identity::Time;
use bellbird_core::permit::Verdict;
use bellbird_core::record::Append;
use bellbird_topics::TopicName;

use crate::delayed::makes_wait;
use crate::life::Presence;
use crate::world::{Message, World};

/// The will of one connection.
pub(crate) struct Will {
    client: usize,
    link: usize,
    /// What it says.
    number: usize,
    delay_secs: u32,
    /// The rules in force since it was due.
    rules: BTreeSet<usize>,
    fate: Fate,
    /// The connection had its CONNACK, so that the broker knows it for sure.
    is_sure: bool,
    /// Some record of it is stored: it was said, whatever comes after.
    is_stored: bool,
    /// The node ended when it may have been said, and may not have known it any more: it is said
    /// again rather than not at all.
    may_repeat: bool,
}

/// What becomes of a will.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The connection is there, or was never made.
    Kept,
    /// It may be said from the one time on, and is said at the other.
    Due { from: Time, until: Time },
    /// The client said goodbye, in this life of the node.
    Goodbye(usize),
    /// The client came back with this connection before it was due.
    Cancelled { by: usize, from: Time },
}

impl World {
    /// The will of the next CONNECT, if it is to have one.
    pub(crate) fn draw_will(&mut self, client: usize) -> Option<usize> {
        if !self.rng.chance(self.shape.wills) {
            return None;
        }
        let is_v5 = self.clients[client].version == Version::V5;
        let delay_secs = if is_v5 { *self.rng.pick(&[0, 0, 1, 30, 100_000]) } else { 0 };
        let (topic, retain) = (self.draw_topic(), self.rng.chance(self.shape.retain));
        let number = self.messages.len();
        let filler = *self.rng.pick(&[3, 60]);
        let mut payload = format!("{number}:").into_bytes();
        payload.resize(payload.len() + filler, b'w');
        let qos = self.shape.qos(&mut self.rng).value();
        let will = Some(self.wills.len());
        // It stands in no order with what the client publishes.
        let link = usize::MAX - number;
        self.messages.push(Message {
            link,
            said: topic,
            topic,
            qos,
            retain,
            payload,
            will,
            ..Message::new(client, number, self.now)
        });
        let (link, fate) = (usize::MAX, Fate::Kept);
        let (is_sure, is_stored, may_repeat) = (false, false, false);
        self.wills.push(Will {
            client,
            link,
            number,
            delay_secs,
            rules: BTreeSet::new(),
            fate,
            is_sure,
            is_stored,
            may_repeat,
        });
        will
    }

    /// Gives what CONNECT says about a will.
    pub(crate) fn with_will<R>(
        &mut self,
        will: Option<usize>,
        link: usize,
        act: impl FnOnce(Option<bellbird_codec::Will<'_>>) -> R,
    ) -> R {
        let Some(will) = will else { return act(None) };
        let will = &mut self.wills[will];
        will.link = link;
        let message = &self.messages[will.number];
        let number = will.number.to_string();
        let mut properties = PropertyBuffer::new();
        if self.clients[will.client].version == Version::V5 {
            if will.delay_secs > 0 {
                properties.push(Property::WillDelayInterval(will.delay_secs));
            }
            properties.push(Property::UserProperty("n", &number));
        }
        let Ok(topic) = TopicName::parse(message.said) else { return act(None) };
        act(Some(bellbird_codec::Will {
            qos: crate::delivery::qos_of(message.qos),
            retain: message.retain,
            topic,
            payload: &message.payload,
            properties: properties.as_properties(),
        }))
    }

    /// A connection reached its session's home: it takes over what becomes of the wills before it
    /// [MQTT-3.1.3-9].
    pub(crate) fn wills_before(&mut self, link: usize, expected: Presence) {
        let (client, now) = (self.links[link].client, self.now);
        for will in self.wills.iter_mut().filter(|will| will.client == client) {
            let Fate::Due { from, until } = will.fate else { continue };
            match expected {
                Presence::No => {
                    let (from, until) = (from.min(now), until.min(now));
                    will.fate = Fate::Due { from, until };
                }
                Presence::Yes if now < from => will.fate = Fate::Cancelled { by: link, from },
                // The broker may have looked in between, or not.
                Presence::Yes => {
                    let has_looked = until.plus_secs(LATE_SECS) <= self.quiet_at;
                    will.is_sure &= will.is_stored || has_looked;
                }
                Presence::Maybe => will.is_sure = false,
            }
        }
        let life = self.links[link].watch.life;
        if let Some(will) = self.links[link].asked.will {
            self.messages[self.wills[will].number].life = life;
        }
    }

    /// DISCONNECT was taken: with its first reason the will is not wanted [MQTT-3.14.4-3].
    pub(crate) fn goodbye_taken(&mut self, link: usize, reason: ReasonCode) {
        let node = self.node_ends.len();
        if let Some(will) = self.links[link].asked.will
            && reason == ReasonCode::Success
            && self.wills[will].fate == Fate::Kept
        {
            self.wills[will].fate = Fate::Goodbye(node);
        }
    }

    /// A session let go of a connection: its will is due, at once or later [MQTT-3.1.2-8].
    pub(crate) fn will_is_left(&mut self, link: usize) {
        let Some(will) = self.links[link].asked.will else { return };
        let watch = &self.links[link].watch;
        let expiry_secs = watch.life.map_or(0, |life| self.lives[life].expiry_secs);
        let was_open = watch.open;
        let tick = self.next_tick();
        let rules = self.rules_in_force();
        let will = &mut self.wills[will];
        if will.fate != Fate::Kept {
            return;
        }
        let at = self.now.plus_secs(u64::from(will.delay_secs.min(expiry_secs)));
        will.fate = Fate::Due { from: at, until: at };
        will.is_sure = was_open;
        will.rules = rules;
        let number = will.number;
        self.message_may_come(number, tick);
    }

    /// From here on it may be matched, nobody knows when.
    pub(crate) fn message_may_come(&mut self, number: usize, tick: u64) {
        let message = &mut self.messages[number];
        message.handed.get_or_insert(tick);
        message.matched = Some(u64::MAX);
    }

    /// A record says that such a message was matched just now.
    pub(crate) fn note_matched(&mut self, number: Option<usize>, append: &Append) {
        let Some(number) = number else { return };
        let tick = self.next_tick();
        let message = &mut self.messages[number];
        if message.is_unasked() && !makes_wait(append) && message.matched == Some(u64::MAX) {
            message.matched = Some(tick);
        }
    }

    /// The message of this kind that is retained by a change of the view.
    pub(crate) fn unasked_in(&self, changes: &[Change]) -> Option<usize> {
        changes.iter().find_map(|change| {
            let Change::Retain { message: Some(message), .. } = change else { return None };
            let number = self.number_in(message.payload())?;
            self.messages[number].is_unasked().then_some(number)
        })
    }

    /// CONNECT is taken under these settings, which say what its topics mean.
    pub(crate) fn will_means(&mut self, link: usize, settings: usize) {
        let Some(will) = self.links[link].asked.will else { return };
        let number = self.wills[will].number;
        let (client, said) = (self.messages[number].client, self.messages[number].said);
        self.messages[number].topic = self.topic_meant(settings, client, said);
    }

    /// Other rules are in force somewhere: wills that are not said may be judged by them.
    pub(crate) fn note_rules_for_wills(&mut self) {
        let rules = self.rules_in_force();
        for will in &mut self.wills {
            will.rules.extend(&rules);
        }
    }

    /// What the log still knows of wills when the node has ended.
    pub(crate) fn wills_after_end(&mut self, clean: bool) {
        let (node, now) = (self.node_ends.len() - 1, self.now);
        let mut may_come = Vec::new();
        for will in &mut self.wills {
            let asked = self.links.get(will.link).map(|link| link.asked);
            let durable = asked.is_some_and(|asked| asked.expiry_secs > 0);
            // The delay counts from the start for who was connected, as far as the log knows.
            let later = now.plus_secs(u64::from(will.delay_secs));
            match will.fate {
                Fate::Kept => {}
                Fate::Due { from, until } => {
                    will.fate = Fate::Due { from, until: until.max(later) };
                    will.is_sure &= durable;
                    will.may_repeat |= from <= now;
                    if from <= now {
                        // Where it was matched before says nothing of the next time.
                        self.messages[will.number].matched = Some(u64::MAX);
                    }
                }
                Fate::Goodbye(said) if said == node && !clean => {
                    // The log may never have heard of it.
                    (will.fate, will.is_sure) = (Fate::Due { from: now, until: later }, false);
                    may_come.push(will.number);
                }
                Fate::Goodbye(_) => {}
                Fate::Cancelled { by, from } => {
                    // Whoever had no CONNACK may never have come back as far as the log knows.
                    if !self.links[by].watch.open {
                        (will.fate, will.is_sure) = (Fate::Due { from, until: later }, false);
                    }
                }
            }
        }
        let tick = self.next_tick();
        may_come.into_iter().for_each(|number| self.message_may_come(number, tick));
    }

    /// A will went out: it must be its time.
    pub(crate) fn check_will(&mut self, link: usize, number: usize) {
        let Some(will) = self.messages[number].will else { return };
        self.stats.wills += 1;
        let (fate, now) = (self.wills[will].fate, self.now);
        let is_time = matches!(fate, Fate::Due { from, .. } if from <= now);
        let message = &self.messages[number];
        let may = |rules: &usize| self.shape.may_publish(*rules, message.client, message.topic);
        if !self.wills[will].rules.iter().any(|rules| may(rules) == Verdict::Yes) {
            self.fail(format!("link {link}: will {number} is said though the gate forbids it"));
        }
        if !is_time {
            let now = now.0;
            self.fail(format!("link {link}: will {number} is said at {now}, and it is {fate:?}"));
        }
    }

    /// A record of a message is stored.
    pub(crate) fn will_is_stored(&mut self, number: usize) {
        if let Some(will) = self.messages[number].will {
            self.wills[will].is_stored = true;
        }
    }

    /// Whether a message may be published more than once.
    pub(crate) fn may_repeat(&self, number: usize) -> bool {
        let is_will = self.messages[number].will.is_some_and(|will| self.wills[will].may_repeat);
        is_will || self.may_come_again(number)
    }

    /// Wills that must have been said by now count like messages that were acknowledged.
    pub(crate) fn note_wills_said(&mut self) {
        let (tick, now) = (self.next_tick(), self.now);
        for will in self.wills.iter().filter(|will| will.is_sure) {
            let Fate::Due { until, .. } = will.fate else { continue };
            let message = &self.messages[will.number];
            // Nobody is asked about a will: where that is needed it is not said.
            let may = |rules: &usize| self.shape.may_publish(*rules, message.client, message.topic);
            let is_said = until.plus_secs(LATE_SECS) <= now
                && will.rules.iter().all(|rules| may(rules) == Verdict::Yes);
            if is_said && message.qos > 0 {
                self.stats.wills_owed += 1;
                self.messages[will.number].acknowledged.get_or_insert(tick);
            }
        }
    }
}

/// The broker looks once a second.
const LATE_SECS: u64 = 2;
