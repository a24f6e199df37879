//! What the reference knows of one session: its subscriptions over time and what it was sent.

use std::collections::BTreeMap;

use bellbird_codec::{QoS, SubscribeOptions};
use bellbird_core::identity::Time;

use crate::exact::Progress;
use crate::exclusive::EXCLUSIVE;
use crate::world::Message;

/// One life of a client's session, from a CONNACK without session present to its end.
pub(crate) struct Life {
    pub(crate) client: usize,
    pub(crate) durable: bool,
    pub(crate) presence: Presence,
    /// CONNACK told the client that it exists.
    pub(crate) confirmed: bool,
    /// From when on it may be gone.
    pub(crate) deadline: Option<Time>,
    pub(crate) expiry_secs: u32,
    /// The shortest expiry that the log may have: a newer one may be on its way.
    pub(crate) expiry_floor_secs: u32,
    /// When the last connection that had its CONNACK ended: an attempt without one may be
    /// forgotten by a crash.
    pub(crate) left_at: Time,
    pub(crate) periods: Vec<Period>,
    pub(crate) got: BTreeMap<Delivery, Got>,
    /// Deliveries not over, by packet id: in this life of the node, or stored with QoS 2.
    pub(crate) outstanding: BTreeMap<u16, Outstanding>,
    /// Packet ids of QoS 1 that were under way when a node ended, and for which message: the
    /// client may acknowledge them yet. Message and group.
    pub(crate) stale: BTreeMap<u16, (Option<usize>, Option<usize>)>,
    /// The highest place per publisher's connection and class that was ever sent.
    pub(crate) order: BTreeMap<(usize, bool), usize>,
    /// What the client published last with QoS 2 under each packet id.
    pub(crate) published: BTreeMap<u16, usize>,
    /// Nobody can tell which session it is.
    pub(crate) is_vague: bool,
    /// The client forgot exchanges that the broker may know.
    pub(crate) forgot: bool,
    /// When it ended, or made way for the client's next one.
    pub(crate) over: Option<u64>,
    /// The life of the node in which it began.
    pub(crate) node: usize,
}

/// Whether a session is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Yes,
    No,
    Maybe,
}

/// A subscription from one SUBSCRIBE to its replacement or end. Times are ticks.
pub(crate) struct Period {
    pub(crate) filter: String,
    pub(crate) options: SubscribeOptions,
    /// Its identifier.
    pub(crate) id: Option<u32>,
    pub(crate) link: usize,
    pub(crate) requested: u64,
    pub(crate) acknowledged: Option<u64>,
    pub(crate) refused: bool,
    /// UNSUBSCRIBE was taken.
    pub(crate) end_requested: Option<u64>,
    /// Another SUBSCRIBE to the same filter was taken.
    pub(crate) replaced: Option<(u64, SubscribeOptions)>,
    /// UNSUBACK, or the other SUBACK, was said.
    pub(crate) ended: Option<u64>,
}

/// A message on its way to a session, by a subscription of its own or as a member of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Delivery {
    pub(crate) number: usize,
    /// Which group.
    pub(crate) group: Option<usize>,
}

/// What became of one message in one life.
#[derive(Clone, Copy, Default)]
pub(crate) struct Got {
    /// The connection of the last delivery, and the node's life.
    pub(crate) link: usize,
    pub(crate) node: usize,
    pub(crate) by_client: bool,
    /// The client's acknowledgement was handed in during this life of the node.
    pub(crate) acknowledged: bool,
    /// It is in the log that the delivery is over.
    pub(crate) over: bool,
    /// How often the client took it with QoS 2 as a new one.
    pub(crate) exactly: u32,
    /// An exchange of QoS 2 came as far as PUBREL and ended.
    pub(crate) is_released: bool,
    /// The client refused it with PUBREC.
    pub(crate) is_refused: bool,
}

/// A delivery of QoS 1 or 2 that was sent and is not over.
#[derive(Clone, Copy)]
pub(crate) struct Outstanding {
    pub(crate) message: Option<usize>,
    pub(crate) group: Option<usize>,
    pub(crate) link: usize,
    pub(crate) place: u64,
    /// The life of the node that sent it last.
    pub(crate) node: usize,
    pub(crate) is_exact: bool,
    pub(crate) progress: Progress,
}

impl Outstanding {
    pub(crate) fn delivery(&self) -> Option<Delivery> {
        let group = self.group;
        self.message.map(|number| Delivery { number, group })
    }
}

/// What may be delivered to a session of one live message.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Allowed {
    pub(crate) lowest: Option<QoS>,
    pub(crate) highest: Option<QoS>,
    /// Some subscription keeps RETAIN.
    pub(crate) may_retain: bool,
    /// Some subscription is not barred from the client's own messages.
    pub(crate) any: bool,
}

impl Life {
    pub(crate) fn new(client: usize, durable: bool, expiry_secs: u32, node: usize) -> Self {
        Self {
            client,
            durable,
            presence: Presence::Yes,
            confirmed: false,
            deadline: None,
            expiry_secs,
            expiry_floor_secs: expiry_secs,
            left_at: Time(0),
            periods: Vec::new(),
            got: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            stale: BTreeMap::new(),
            order: BTreeMap::new(),
            published: BTreeMap::new(),
            is_vague: false,
            forgot: false,
            over: None,
            node,
        }
    }

    /// Whether it is there at `now`: after its deadline it may be gone, never before.
    pub(crate) fn presence_at(&self, now: Time) -> Presence {
        match (self.presence, self.deadline) {
            (Presence::Yes, Some(deadline)) if deadline <= now => Presence::Maybe,
            (presence, _) => presence,
        }
    }

    /// The reference cannot know any more what it holds: nothing is owed for what it asked for so
    /// far, and all of that may come.
    pub(crate) fn void(&mut self) {
        self.presence = Presence::Maybe;
        self.is_vague = true;
        self.over = None;
        self.outstanding.clear();
        self.stale.clear();
        for period in &mut self.periods {
            period.acknowledged = None;
            period.ended = None;
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        id: Option<u32>,
        link: usize,
        tick: u64,
    ) {
        for period in self.periods.iter_mut().filter(|period| period.filter == filter) {
            if period.ended.is_some() || period.refused {
                continue;
            }
            period.replaced = Some(weaker(period.replaced, (tick, options)));
        }
        self.periods.push(Period {
            filter: filter.to_owned(),
            options,
            id,
            link,
            requested: tick,
            acknowledged: None,
            refused: false,
            end_requested: None,
            replaced: None,
            ended: None,
        });
    }

    /// It may have another subscription from here on, and nobody can tell.
    pub(crate) fn may_subscribe(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        link: usize,
        tick: u64,
    ) {
        let known = self.periods.len();
        self.subscribe(filter, options, None, link, tick);
        for period in &mut self.periods[..known] {
            if period.filter == filter && period.replaced.is_some_and(|(at, _)| at == tick) {
                period.acknowledged = None;
            }
        }
        // No SUBACK speaks of it.
        self.periods[known].link = usize::MAX;
    }

    /// When the filter was asked for that the next SUBACK on this connection answers.
    pub(crate) fn requested_at(&self, filter: &str, link: usize) -> u64 {
        let waits = |p: &&Period| {
            p.filter == filter && p.link == link && p.acknowledged.is_none() && !p.refused
        };
        self.periods.iter().find(waits).map_or(0, |period| period.requested)
    }

    /// SUBACK for the last SUBSCRIBE with this filter on this connection.
    pub(crate) fn subscribed(&mut self, filter: &str, link: usize, granted: bool, tick: u64) {
        let Some(index) = self.periods.iter().position(|p| {
            p.filter == filter && p.link == link && p.acknowledged.is_none() && !p.refused
        }) else {
            return;
        };
        let requested = self.periods[index].requested;
        // After a refusal, what was asked for since may still replace it.
        let since = self.periods[index + 1..].iter();
        let next = since
            .filter(|period| period.filter == filter && !period.refused)
            .map(|period| (period.requested, period.options))
            .fold(None, |all, one| Some(weaker(all, one)));
        for period in self.periods[..index].iter_mut().filter(|period| period.filter == filter) {
            let is_replaced = period.replaced.is_some_and(|(at, _)| at == requested);
            match (is_replaced, granted) {
                (true, false) => period.replaced = next,
                (_, true) => _ = period.ended.get_or_insert(tick),
                (false, false) => {}
            }
        }
        let period = &mut self.periods[index];
        if granted { period.acknowledged = Some(tick) } else { period.refused = true }
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str, tick: u64) {
        for period in self.periods.iter_mut().filter(|period| period.filter == filter) {
            period.end_requested.get_or_insert(tick);
        }
    }

    /// UNSUBACK: what was asked for before the UNSUBSCRIBE, which was taken at `since`, is over.
    pub(crate) fn unsubscribed(&mut self, filter: &str, since: u64, tick: u64) {
        for period in self.periods.iter_mut().filter(|period| period.filter == filter) {
            if period.end_requested.is_some_and(|at| at <= since) {
                period.ended.get_or_insert(tick);
            }
        }
    }

    /// The QoS that is owed for sure, if any.
    pub(crate) fn owed(&self, message: &Message, own: bool) -> Option<QoS> {
        let until = message.matched?;
        let owed = |period: &Period| {
            if !period.covers_surely(message) || (own && period.options.no_local) {
                return None;
            }
            match period.replaced {
                Some((at, other)) if at <= until => {
                    let is_barred = own && other.no_local;
                    (!is_barred).then_some(period.options.qos.min(other.qos))
                }
                Some(_) | None => Some(period.options.qos),
            }
        };
        self.periods.iter().filter_map(owed).max()
    }

    /// What may be delivered of a message.
    pub(crate) fn allowed(&self, message: &Message, own: bool) -> Allowed {
        let mut allowed = Allowed::default();
        for period in &self.periods {
            if period.may_cover(message) {
                let qos = period.options.qos;
                allowed.highest = allowed.highest.max(Some(qos));
                allowed.may_retain |= period.options.retain_as_published;
                allowed.any |= !(own && period.options.no_local);
            }
        }
        allowed
    }

    /// Whether some subscription may have asked for the retained message of a topic.
    pub(crate) fn may_walk(&self, topic: &str, qos: QoS, published: QoS) -> bool {
        self.periods.iter().any(|period| {
            let granted = period.options.qos;
            !period.refused
                && period.options.retain_handling != bellbird_codec::RetainHandling::DoNotSend
                && qos == granted.min(published)
                && covers(&period.filter, topic)
        })
    }
}

impl Period {
    /// Whether it stood all the time in which the message may have been matched, unless another
    /// SUBSCRIBE replaced it.
    pub(crate) fn covers_surely(&self, message: &Message) -> bool {
        let (Some(from), Some(until)) = (message.handed, message.matched) else { return false };
        let is_active = self.acknowledged.is_some_and(|acknowledged| {
            let is_behind = self.link == message.link && !message.is_unasked();
            acknowledged < from || (is_behind && self.requested < from)
        });
        is_active
            && self.end_requested.is_none_or(|end| end > until)
            && self.ended.is_none_or(|end| end > until)
            && covers(&self.filter, message.topic)
    }

    /// Whether the message may have been matched while it stood.
    pub(crate) fn may_cover(&self, message: &Message) -> bool {
        let (Some(from), Some(until)) = (message.handed, message.matched) else { return false };
        self.requested <= until
            && !self.refused
            && self.ended.is_none_or(|end| end >= from)
            && covers(&self.filter, message.topic)
    }
}

/// Of several replacements under way, the first in time and the weakest in what it grants.
fn weaker(
    all: Option<(u64, SubscribeOptions)>,
    one: (u64, SubscribeOptions),
) -> (u64, SubscribeOptions) {
    let (at, mut options) = all.unwrap_or(one);
    options.qos = options.qos.min(one.1.qos);
    options.no_local |= one.1.no_local;
    (at, options)
}

/// Whether a filter matches a topic, level by level as the specification tells it.
pub(crate) fn covers(filter: &str, topic: &str) -> bool {
    let filter = filter.strip_prefix(EXCLUSIVE).unwrap_or(filter);
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_cover_topics() {
        let check = |filter, topic, expected| {
            assert_eq!(covers(filter, topic), expected, "{filter} {topic}")
        };
        check("#", "a/b", true);
        check("a/#", "a", true);
        check("a/+", "a", false);
        check("a/+", "a/b", true);
        check("+/b", "a/b", true);
        check("a", "a/b", false);
        check("#", "$x/y", false);
        check("$x/#", "$x/y", true);
    }
}
