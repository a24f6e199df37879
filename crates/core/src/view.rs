//! What every shard sees of the node: subscriptions and retained messages.
//!
//! The view is read during [`crate::Shard::handle`] and changed only through
//! [`crate::Output::Change`]. How shards share it is the shell's business
//! (`docs/decisions/0002-shared-view.md`).

use std::collections::BTreeMap;

use bellbird_topics::{Cursor, Filter, Index, Namespace, PARTS, Progress, Retained, TopicName};
use bellbird_topics::{part_of_filter, part_of_topic};

use crate::contract::{Change, Subscriber};
use crate::exclusive::{is_exclusive, shown};
use crate::identity::Holder;
use crate::message::Message;
use crate::subscription::Granted;
use crate::system::is_system;

/// Read access to the node-wide view.
pub trait View {
    /// Counts the changes of subscriptions that may concern topics of this part: a match result
    /// stays valid while it stands still.
    fn generation(&self, part: usize) -> u64;

    /// Adds every subscription that matches, and returns the generation of the topic's part that
    /// the result belongs to.
    fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64;

    /// Who has this exclusive subscription, by its whole filter.
    fn owner(&self, namespace: Namespace, filter: &str) -> Option<Holder>;

    /// How much is retained.
    fn retained(&self) -> RetainedSize;

    /// How much would be retained if this topic had a message of so many bytes.
    fn retained_with(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
    ) -> RetainedSize;

    /// Walks on through the retained messages that match, visiting at most `budget` nodes.
    fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Message>,
    ) -> Progress;
}

/// How much is retained in the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetainedSize {
    /// Topics with a retained message.
    pub messages: usize,
    /// Bytes of their topics, properties and payloads.
    pub bytes: usize,
    /// Topics among them that the node says itself, below `$SYS`.
    pub system_messages: usize,
    /// Bytes of these, which no limit counts.
    pub system_bytes: usize,
}

/// The view's content: one per node, or one per shard, as the shell decides.
#[derive(Default)]
pub struct Tables {
    subscriptions: Index<Subscriber, Granted>,
    /// Who has which exclusive subscription, by its whole filter.
    owners: BTreeMap<(Namespace, Box<str>), Holder>,
    retained: Retained<Message>,
    retained_bytes: usize,
    retained_system: usize,
    system_bytes: usize,
    order: u64,
}

impl Tables {
    /// Empty tables whose next change gets the order after `order`.
    pub fn new(order: u64) -> Self {
        Self {
            subscriptions: Index::new(),
            owners: BTreeMap::new(),
            retained: Retained::new(),
            retained_bytes: 0,
            retained_system: 0,
            system_bytes: 0,
            order,
        }
    }

    /// Applies a batch and returns its order. Calls `touched` with each part whose generation
    /// must move, `None` meaning all of them, before the batch becomes visible elsewhere.
    pub fn apply(&mut self, changes: &[Change], mut touched: impl FnMut(Option<usize>)) -> u64 {
        for change in changes {
            match change {
                Change::Subscribe { namespace, filter, subscriber, granted } => {
                    if !self.claim(*namespace, filter, subscriber.holder) {
                        continue;
                    }
                    let parsed = Filter::of_checked(shown(filter));
                    let (namespace, subscriber, granted) = (*namespace, *subscriber, *granted);
                    if is_exclusive(filter) {
                        self.subscriptions.insert(namespace, parsed, subscriber, granted);
                    } else {
                        let index = &mut self.subscriptions;
                        index.insert_shared(namespace, parsed, filter, subscriber, granted);
                    }
                    touched(part_of_filter(namespace, parsed));
                }
                Change::Unsubscribe { namespace, filter, subscriber } => {
                    if !self.give_up(*namespace, filter, subscriber.holder) {
                        continue;
                    }
                    let filter = Filter::of_checked(shown(filter));
                    self.subscriptions.remove(*namespace, filter, *subscriber);
                    touched(part_of_filter(*namespace, filter));
                }
                Change::Retain { namespace, topic, message } => {
                    let Ok(topic) = TopicName::parse(topic) else { continue };
                    self.retain(*namespace, topic, message.as_ref());
                }
                Change::Expire { namespace, topic, now } => {
                    let Ok(topic) = TopicName::parse(topic) else { continue };
                    let found = self.retained.find(*namespace, topic);
                    if found.is_some_and(|message| message.is_expired(*now)) {
                        self.retain(*namespace, topic, None);
                    }
                }
            }
        }
        self.order += 1;
        self.order
    }

    fn retain(&mut self, namespace: Namespace, topic: TopicName<'_>, message: Option<&Message>) {
        let old = match message {
            Some(message) => self.retained.set(namespace, topic, message.clone()),
            None => self.retained.clear(namespace, topic),
        };
        let bytes_before = old.as_ref().map_or(0, |old| old.size_bytes());
        let bytes_after = message.map_or(0, |message| message.size_bytes());
        if is_system(topic) {
            self.retained_system -= usize::from(old.is_some());
            self.retained_system += usize::from(message.is_some());
            self.system_bytes -= bytes_before;
            self.system_bytes += bytes_after;
        }
        self.retained_bytes -= bytes_before;
        self.retained_bytes += bytes_after;
    }

    /// See [`View::retained_with`].
    pub fn retained_with(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
    ) -> RetainedSize {
        let old = self.retained.find(namespace, topic);
        RetainedSize {
            messages: self.retained.len() + usize::from(old.is_none()),
            bytes: self.retained_bytes + bytes - old.map_or(0, |old| old.size_bytes()),
            system_messages: self.retained_system,
            system_bytes: self.system_bytes,
        }
    }

    /// Whether this holder may have the subscription: an exclusive one is its own from here on.
    fn claim(&mut self, namespace: Namespace, filter: &str, holder: Holder) -> bool {
        if !is_exclusive(filter) {
            return true;
        }
        *self.owners.entry((namespace, filter.into())).or_insert(holder) == holder
    }

    /// Whether this holder had the subscription: an exclusive one is free from here on.
    fn give_up(&mut self, namespace: Namespace, filter: &str, holder: Holder) -> bool {
        if !is_exclusive(filter) {
            return true;
        }
        let key = (namespace, filter.into());
        let is_owner = self.owners.get(&key) == Some(&holder);
        if is_owner {
            self.owners.remove(&key);
        }
        is_owner
    }

    /// See [`View::owner`].
    pub fn owner(&self, namespace: Namespace, filter: &str) -> Option<Holder> {
        self.owners.get(&(namespace, filter.into())).copied()
    }

    /// Every subscription that matches.
    pub fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) {
        self.subscriptions.matches(namespace, topic, |key, granted| found.push((*key, *granted)));
    }

    /// See [`View::walk`].
    pub fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Message>,
    ) -> Progress {
        self.retained.walk(namespace, filter, cursor, budget, |m| found.push(m.clone()))
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// How much is retained.
    pub fn retained(&self) -> RetainedSize {
        RetainedSize {
            messages: self.retained.len(),
            bytes: self.retained_bytes,
            system_messages: self.retained_system,
            system_bytes: self.system_bytes,
        }
    }

    /// Estimated bytes of memory of both tables, without the retained messages' bodies.
    pub fn memory_bytes(&self) -> usize {
        self.subscriptions.memory_bytes() + self.retained.memory_bytes()
    }
}

/// Tables with their generations, for one owner: the simulation, tests, or a shard's own copy.
pub struct OwnView {
    tables: Tables,
    generations: Box<[u64; PARTS]>,
}

impl OwnView {
    /// An empty view whose next change gets the order after `order`.
    pub fn new(order: u64) -> Self {
        Self { tables: Tables::new(order), generations: Box::new([0; PARTS]) }
    }

    /// Applies a batch and returns its order.
    pub fn apply(&mut self, changes: &[Change]) -> u64 {
        let generations = &mut self.generations;
        self.tables.apply(changes, |part| match part {
            Some(part) => generations[part] += 1,
            None => generations.iter_mut().for_each(|generation| *generation += 1),
        })
    }

    /// The tables themselves.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

impl View for OwnView {
    fn generation(&self, part: usize) -> u64 {
        self.generations[part]
    }

    fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64 {
        self.tables.matches(namespace, topic, found);
        self.generations[part_of_topic(namespace, topic)]
    }

    fn owner(&self, namespace: Namespace, filter: &str) -> Option<Holder> {
        self.tables.owner(namespace, filter)
    }

    fn retained(&self) -> RetainedSize {
        self.tables.retained()
    }

    fn retained_with(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
    ) -> RetainedSize {
        self.tables.retained_with(namespace, topic, bytes)
    }

    fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Message>,
    ) -> Progress {
        self.tables.walk(namespace, filter, cursor, budget, found)
    }
}
