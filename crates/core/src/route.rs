//! From a topic to the holders that match, with a small cache of whole results.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use bellbird_topics::{Namespace, TopicName, part_of_topic};
use foldhash::fast::FixedState;

use crate::contract::Subscriber;
use crate::identity::ShardId;
use crate::limits::{ROUTE_SETS, ROUTE_TOPIC_BYTES_MAX};
use crate::mail::Target;
use crate::subscription::{Grant, Granted};
use crate::view::View;

/// The holders that one topic matches, those of this shard apart.
#[derive(Debug)]
pub(crate) struct Route {
    generation: u64,
    part: usize,
    namespace: Namespace,
    topic: Box<str>,
    pub(crate) local: Arc<[Target]>,
    pub(crate) remote: Box<[(ShardId, Arc<[Target]>)]>,
    /// Whether any holder is durable at all.
    pub(crate) has_durable: bool,
    /// Whether any holder is durable and was granted QoS 1 or 2.
    pub(crate) is_stored: bool,
}

impl Route {
    pub(crate) fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty()
    }

    /// All holders, wherever they live.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.local.iter().chain(self.remote.iter().flat_map(|(_, targets)| targets.iter()))
    }
}

/// Results of whole topics, each valid while the generation of its part stands still.
///
/// Set-associative and of fixed size: a topic has [`WAYS`] places, and the one written longest
/// ago gives way.
pub(crate) struct Routes {
    me: ShardId,
    sets: Vec<[Option<Arc<Route>>; WAYS]>,
    hasher: FixedState,
    found: Vec<(Subscriber, Granted)>,
    /// Most topics have nobody on most shards.
    nobody: Arc<[Target]>,
    uncached: Option<Arc<Route>>,
}

/// Places of one topic in the cache.
pub(crate) const WAYS: usize = 4;

impl Routes {
    pub(crate) fn new(me: ShardId) -> Self {
        let sets = std::iter::repeat_with(Default::default).take(ROUTE_SETS).collect();
        let hasher = FixedState::with_seed(SEED);
        Self { me, sets, hasher, found: Vec::new(), nobody: Arc::from([]), uncached: None }
    }

    /// The holders of a topic, as the view shows them now.
    pub(crate) fn find(
        &mut self,
        namespace: Namespace,
        topic: TopicName<'_>,
        view: &dyn View,
    ) -> &Arc<Route> {
        if topic.as_bytes().len() > ROUTE_TOPIC_BYTES_MAX {
            let route = self.resolve(namespace, topic, view);
            return self.uncached.insert(route);
        }
        let set = self.set_of(namespace, topic);
        match self.way_of(set, namespace, topic) {
            Some(way) => {
                let is_valid = self.sets[set][way]
                    .as_ref()
                    .is_some_and(|route| view.generation(route.part) == route.generation);
                if !is_valid {
                    let route = self.resolve(namespace, topic, view);
                    self.sets[set][way] = Some(route);
                }
                self.sets[set][way].as_ref().expect("the way was found or just filled")
            }
            None => {
                let route = self.resolve(namespace, topic, view);
                self.sets[set].rotate_right(1);
                self.sets[set][0].insert(route)
            }
        }
    }

    fn way_of(&self, set: usize, namespace: Namespace, topic: TopicName<'_>) -> Option<usize> {
        self.sets[set].iter().position(|way| {
            way.as_ref().is_some_and(|route| {
                *route.topic == *topic.as_str() && route.namespace == namespace
            })
        })
    }

    fn set_of(&self, namespace: Namespace, topic: TopicName<'_>) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(topic.as_bytes());
        hasher.write_u32(namespace.0);
        let hash = usize::try_from(hasher.finish() >> 32).expect("32 bits fit an address");
        hash % ROUTE_SETS
    }

    #[cold]
    fn resolve(
        &mut self,
        namespace: Namespace,
        topic: TopicName<'_>,
        view: &dyn View,
    ) -> Arc<Route> {
        self.found.clear();
        let generation = view.matches(namespace, topic, &mut self.found);
        // Sorted by home shard, then place: one pass merges and groups.
        self.found.sort_unstable_by_key(|(subscriber, _)| *subscriber);
        let mut targets: Vec<Target> = Vec::with_capacity(self.found.len());
        for of_one in self.found.chunk_by(|a, b| a.0 == b.0) {
            let (subscriber, Granted { mut grant, .. }) = of_one[0];
            of_one[1..].iter().for_each(|(_, other)| merge(&mut grant, other.grant));
            let ids = of_one.iter().filter_map(|(_, granted)| granted.id).collect();
            targets.push(Target { subscriber, grant, ids });
        }
        self.found.clear();
        let mut remote = Vec::new();
        let mut local = self.nobody.clone();
        for group in targets.chunk_by(|a, b| a.subscriber.slot.shard() == b.subscriber.slot.shard())
        {
            let shard = group[0].subscriber.slot.shard();
            if shard == self.me {
                local = Arc::from(group);
            } else {
                remote.push((shard, Arc::from(group)));
            }
        }
        Arc::new(Route {
            generation,
            part: part_of_topic(namespace, topic),
            namespace,
            topic: topic.as_str().into(),
            has_durable: targets.iter().any(|target| target.grant.durable),
            is_stored: targets.iter().any(|target| target.grant.is_stored()),
            local,
            remote: remote.into_boxed_slice(),
        })
    }
}

impl Grant {
    /// Whether a message of QoS 1 or 2 must be stored for this holder.
    pub(crate) fn is_stored(self) -> bool {
        self.durable && self.qos != bellbird_codec::QoS::AtMostOnce
    }
}

/// One copy for overlapping subscriptions, with the highest QoS of them [MQTT-3.3.4-2].
fn merge(into: &mut Grant, other: Grant) {
    into.qos = into.qos.max(other.qos);
    into.no_local &= other.no_local;
    into.retain_as_published |= other.retain_as_published;
}

/// Any constant: the trace of a seed must not depend on the process.
const SEED: u64 = 0x0062_656c_6c62_6972;
