//! The rules of one action, found by who asks: whole topics by their text, filters one by one.

use std::collections::BTreeMap;

use bellbird_topics::{Filter, TEXT_BYTES_MAX};

use crate::permit::pattern::Pattern;
use crate::permit::{Client, Rule, Verdict, Who};

/// The rules of one action.
#[derive(Clone, Default, Debug)]
pub(super) struct Buckets {
    everybody: Bucket,
    anonymous: Bucket,
    users: BTreeMap<Box<str>, Bucket>,
    clients: BTreeMap<Box<str>, Bucket>,
}

/// The rules of one action that speak of the same clients, in their order.
#[derive(Clone, Default, Debug)]
struct Bucket {
    rules: Vec<Placed>,
    /// The first rule of each whole topic.
    exact: BTreeMap<Box<str>, usize>,
    /// Those with wildcards or names to fill in.
    wild: Vec<usize>,
}

/// A rule and its place among all.
#[derive(Clone, Debug)]
struct Placed {
    order: usize,
    pattern: Option<Pattern>,
    verdict: Verdict,
}

impl Buckets {
    pub(super) fn add(&mut self, order: usize, rule: Rule) {
        let bucket = match rule.who {
            Who::Everybody => &mut self.everybody,
            Who::Anonymous => &mut self.anonymous,
            Who::User(name) => self.users.entry(name).or_default(),
            Who::Client(id) => self.clients.entry(id).or_default(),
        };
        bucket.add(order, &rule.filter, rule.verdict);
    }

    /// What the first rule says, whatever its filter.
    pub(super) fn any(&self, client: Client<'_>) -> Option<Verdict> {
        first(self.of(client).filter_map(|bucket| bucket.rules.first()))
    }

    /// What the first rule says whose filter matches the topic.
    pub(super) fn of_topic(&self, client: Client<'_>, topic: &str) -> Option<Verdict> {
        first(self.of(client).filter_map(|bucket| bucket.of_topic(client, topic)))
    }

    /// What the first rule says whose filter covers this one.
    pub(super) fn covering(&self, client: Client<'_>, filter: Filter<'_>) -> Option<Verdict> {
        first(self.of(client).filter_map(|bucket| {
            bucket.rules.iter().find(|rule| rule.is(client, |ours| ours.covers(filter)))
        }))
    }

    /// Whether any topic of the filter is allowed: no, as soon as a rule forbids it as a whole;
    /// none if no rule decides.
    pub(super) fn some_of(&self, client: Client<'_>, filter: Filter<'_>) -> Option<Verdict> {
        first(self.of(client).filter_map(|bucket| {
            bucket.rules.iter().find(|rule| match rule.verdict {
                Verdict::Yes => rule.is(client, |ours| ours.overlaps(filter)),
                Verdict::No => rule.is(client, |ours| ours.covers(filter)),
                // A delivery cannot wait for an answer.
                Verdict::Ask => false,
            })
        }))
    }

    /// The buckets that speak of the client.
    fn of(&self, client: Client<'_>) -> impl Iterator<Item = &Bucket> {
        let user = match client.user_name {
            Some(name) => self.users.get(name),
            None => Some(&self.anonymous),
        };
        [Some(&self.everybody), user, self.clients.get(client.id)].into_iter().flatten()
    }
}

impl Bucket {
    fn add(&mut self, order: usize, filter: &str, verdict: Verdict) {
        let place = self.rules.len();
        let pattern = Pattern::parse(filter);
        match &pattern {
            Some(pattern) if pattern.is_topic() => {
                self.exact.entry(filter.into()).or_insert(place);
            }
            Some(_) => self.wild.push(place),
            None => {}
        }
        self.rules.push(Placed { order, pattern, verdict });
    }

    fn of_topic(&self, client: Client<'_>, topic: &str) -> Option<&Placed> {
        let exact = self.exact.get(topic).copied();
        let wild = self.wild.iter().copied().find(|place| {
            let rule = &self.rules[*place];
            rule.pattern.as_ref().is_some_and(|it| it.matches(client, topic, rule.verdict))
        });
        let place = exact.into_iter().chain(wild).min()?;
        self.rules.get(place)
    }
}

impl Placed {
    /// Whether it has a filter for this client of which `relation` holds.
    fn is(&self, client: Client<'_>, relation: impl FnOnce(Filter<'_>) -> bool) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        if pattern.is_everything(client, self.verdict) {
            return true;
        }
        let Some(text) = pattern.filled_in(client, self.verdict) else { return false };
        debug_assert!(text.len() > TEXT_BYTES_MAX || Filter::parse(&text).is_ok(), "{text}");
        Filter::parse(&text).is_ok_and(relation)
    }
}

fn first<'a>(rules: impl Iterator<Item = &'a Placed>) -> Option<Verdict> {
    rules.min_by_key(|rule| rule.order).map(|rule| rule.verdict)
}
