//! `$delayed/{seconds}/{topic}`: messages that are published later.
//!
//! Each is stored with one holder that stands for all that wait, acknowledged, and when its time
//! has come it goes the way of a will: published by nobody's connection, and forgotten by the log
//! only after it is stored with its real holders.

use bellbird_codec::{PropertyBuffer, Publish};
use bellbird_topics::TopicName;
use smallvec::smallvec;

use crate::agenda::Agenda;
use crate::contract::Flow;
use crate::identity::{DeliveryId, Holder, Lane, Position, Time};
use crate::joining::GROUP_EPOCH;
use crate::limits::EXPIRIES_PER_TURN;
use crate::memory::Memory;
use crate::message::{Message, MessageParts};
use crate::publish::Publisher;
use crate::record::{Append, Delivery, Operation, Received, Record};
use crate::release::{Release, StoredDelivery, StoredFor, StoredTo};
use crate::shard::Shard;
use crate::storage::Told;
use crate::subscription::SubscriptionIds;
use crate::timer::Timer;
use crate::will::{AfterWill, DueWill, Will};

/// A topic with the seconds in front of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delay<'a> {
    pub(crate) secs: u32,
    pub(crate) topic: TopicName<'a>,
}

impl<'a> Delay<'a> {
    /// None if the topic speaks of no delay, an error if it does so in a wrong way.
    #[inline]
    pub(crate) fn of(topic: TopicName<'a>) -> Option<Result<Self, NoDelay>> {
        if topic.is_reserved() { Self::read(topic) } else { None }
    }

    #[cold]
    fn read(topic: TopicName<'a>) -> Option<Result<Self, NoDelay>> {
        let rest = topic.as_str().strip_prefix("$delayed/")?;
        let delay = || {
            let (secs, topic) = rest.split_once('/')?;
            let are_digits = secs.bytes().all(|byte| byte.is_ascii_digit());
            let secs = secs.parse().ok().filter(|secs| are_digits && *secs <= DELAY_SECS_MAX)?;
            Some(Self { secs, topic: TopicName::parse(topic).ok()? })
        };
        Some(delay().ok_or(NoDelay))
    }
}

/// Not `$delayed/{seconds}/{topic}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoDelay;

/// The messages of a shard that wait for their time.
#[derive(Default, Debug)]
pub(crate) struct Delayed {
    waiting: Agenda<Position, Later>,
    /// Acknowledged to nobody yet, since they are not stored.
    pub(crate) storing: usize,
}

/// A message that waits, its topic without the delay.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    pub(crate) message: Message,
    pub(crate) origin: Holder,
    pub(crate) lane: Lane,
}

impl Delayed {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.storing
    }
}

impl Shard {
    /// Whether no more messages may wait here.
    pub(crate) fn is_delayed_full(&self) -> bool {
        let config = &self.clients.config;
        self.clients.memory >= Memory::Short
            || self.delayed.len()
                >= config.delayed_messages_max.div_ceil(usize::from(config.shards))
    }

    /// Stores a message that is published after `delay`, and answers the publisher.
    pub(crate) fn delay(
        &mut self,
        now: Time,
        publisher: Publisher,
        delay: Delay<'_>,
        packet: &Publish<'_>,
    ) -> Flow {
        let mut scratch = PropertyBuffer::new();
        let due = now.plus_secs(u64::from(delay.secs));
        let parts = self.parts(now, publisher, delay.topic, packet, &mut scratch);
        // What it may wait for its reader counts from its publication.
        let expires_at = parts.expires_at.map(|at| at.plus_secs(u64::from(delay.secs)));
        let written = format!("$delayed/{}/{}", delay.secs, delay.topic.as_str());
        let as_written = TopicName::parse(&written).unwrap_or(delay.topic);
        let for_log = Message::new(&MessageParts { topic: as_written, expires_at, ..parts });
        let message = Message::new(&MessageParts { expires_at, ..parts });
        let answer = packet.packet_id.map(|id| publisher.answer(packet.qos, id, SUCCESS));
        let received = answer
            .filter(|_| publisher.records(packet.qos))
            .map(|answer| Received { holder: publisher.origin, packet_id: answer.packet_id });
        let Some(place) = self.take_place(publisher.id) else { return Flow::Continue };
        let durability = self.durability_of_message(publisher.id, delay.topic);
        let record = Record::Append(Append {
            lane: publisher.lane,
            at: now,
            message: for_log,
            holders: smallvec![Delivery {
                holder: DELAYED,
                qos: packet.qos,
                retain: packet.retain,
                ids: SubscriptionIds::default(),
            }],
            received,
            retained: None,
        });
        let told = if answer.is_some() { Told::Somebody } else { Told::Nobody };
        if !self.store_message(StoredFor::Message(place), record, durability, told) {
            self.releases.fill(place, Release::of(None));
            self.release(now, place.queue);
            return Flow::Continue;
        }
        self.delayed.storing += 1;
        let stored = StoredDelivery {
            message,
            origin: publisher.origin,
            position: None,
            to: StoredTo::Later { due, lane: publisher.lane },
        };
        let release = Release { answer, stored: Some(stored), ..Release::waiting() };
        self.releases.fill(place, release);
        self.bound_releases(publisher.id, place.queue)
    }

    /// It is stored, and waits for its time.
    pub(crate) fn wait_until(
        &mut self,
        now: Time,
        due: Time,
        position: Option<Position>,
        later: Later,
    ) {
        self.delayed.storing -= 1;
        let Some(position) = position else { return };
        self.add_delayed(now, due, position, later);
    }

    pub(crate) fn add_delayed(&mut self, now: Time, due: Time, position: Position, later: Later) {
        let (wheel, timer) = (&mut self.timers, Timer::Delayed);
        self.delayed.waiting.add(now, (due, position), later, wheel, timer);
    }

    /// Publishes what is due, so much that a turn stays short.
    pub(crate) fn check_delayed(&mut self, now: Time) {
        for _ in 0..EXPIRIES_PER_TURN {
            let due = self.delayed.waiting.take_due(now, &mut self.timers, Timer::Delayed);
            let Some((position, Later { message, origin, lane })) = due else { return };
            let after = AfterWill {
                holder: DELAYED,
                epoch: GROUP_EPOCH,
                operation: Operation::Done { delivery: DeliveryId::own(position) },
                waits: StoredFor::Nothing,
                given_up: Vec::new(),
            };
            // The gate let it pass when it came.
            self.wills.push_back(DueWill {
                will: Will { message, expiry_secs: None, delay_secs: 0 },
                name: None,
                origin,
                lane,
                after: Some(after),
            });
        }
        self.look_again(Timer::Delayed);
    }
}

/// What recovery found: when it is due, and what is published then.
pub(crate) fn recovered(message: &Message, at: Time, lane: Lane) -> Option<(Time, Later)> {
    let delay = Delay::of(message.topic())?.ok()?;
    let parts = MessageParts { topic: delay.topic, ..message.parts() };
    let message = Message::new(&parts);
    let later = Later { message, origin: Holder::default(), lane };
    Some((at.plus_secs(u64::from(delay.secs)), later))
}

/// Stands in the log for all messages that wait for their time. No client gets this number.
pub(crate) const DELAYED: Holder = Holder { number: 0, incarnation: 1 };

const SUCCESS: bellbird_codec::ReasonCode = bellbird_codec::ReasonCode::Success;
/// The longest delay: 49 days, as in EMQX.
const DELAY_SECS_MAX: u32 = 4_294_967;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_delay() {
        let check = |text: &str, expected: Option<Result<(u32, &str), NoDelay>>| {
            let found = Delay::of(TopicName::parse(text).unwrap());
            let found = found.map(|delay| delay.map(|delay| (delay.secs, delay.topic.as_str())));
            assert_eq!(found, expected, "{text}");
        };
        check("a", None);
        check("$delayed", None);
        check("$delayed/5/a/b", Some(Ok((5, "a/b"))));
        check("$delayed/0//", Some(Ok((0, "/"))));
        check("$delayed/4294967/a", Some(Ok((DELAY_SECS_MAX, "a"))));
        for wrong in ["", "5", "5/", "4294968/a", "-5/a", "x/a", "/a", "5.0/a"] {
            check(&format!("$delayed/{wrong}"), Some(Err(NoDelay)));
        }
    }
}
