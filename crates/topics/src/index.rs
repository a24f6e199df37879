//! The subscription index: for a topic, who has a filter that matches.
//!
//! Filters without wildcards stand apart, in one table of whole texts: they are most, and for
//! them a match is one look-up. The others are a tree.

use std::sync::Arc;

use self::exact::{Exact, Text};
use self::wild::Wild;
use crate::filter::Filter;
use crate::topic::{Namespace, TopicName};

mod exact;
mod subscribers;
mod wild;

/// Subscriptions: (namespace, filter, key) to value.
/// The key names the subscriber, the value is what it asked for.
#[derive(Debug)]
pub struct Index<K, V> {
    exact: Exact<K, V>,
    wild: Wild<K, V>,
    len: usize,
}

impl<K: Copy + Eq + Ord, V: Copy> Index<K, V> {
    /// An empty index.
    pub const fn new() -> Self {
        Index { exact: Exact::new(), wild: Wild::new(), len: 0 }
    }

    /// Adds a subscription, or replaces the value of one and returns the old value.
    pub fn insert(
        &mut self,
        namespace: Namespace,
        filter: Filter<'_>,
        key: K,
        value: V,
    ) -> Option<V> {
        self.insert_text(namespace, filter, Text::Own(filter.as_str()), key, value)
    }

    /// The same where the text of the filter is kept anyway: `text` is what `filter` was read from,
    /// and the index may keep a part in it instead of a copy.
    pub fn insert_shared(
        &mut self,
        namespace: Namespace,
        filter: Filter<'_>,
        text: &Arc<str>,
        key: K,
        value: V,
    ) -> Option<V> {
        debug_assert_eq!(filter.as_str(), &**text, "the text is that of another filter");
        self.insert_text(namespace, filter, Text::Shared(text), key, value)
    }

    fn insert_text(
        &mut self,
        namespace: Namespace,
        filter: Filter<'_>,
        text: Text<'_>,
        key: K,
        value: V,
    ) -> Option<V> {
        let old = if filter.has_wildcards() {
            self.wild.insert(namespace, filter, key, value)
        } else {
            self.exact.insert(namespace, text, key, value)
        };
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes a subscription and returns its value, if there was one.
    pub fn remove(&mut self, namespace: Namespace, filter: Filter<'_>, key: K) -> Option<V> {
        let old = if filter.has_wildcards() {
            self.wild.remove(namespace, filter, key)
        } else {
            self.exact.remove(namespace, filter.as_str(), key)
        };
        self.len -= usize::from(old.is_some());
        old
    }

    /// Calls `found` once for each subscription whose filter matches the topic.
    /// A key with several matching filters is found several times.
    /// The order depends on nothing but the calls that built the index.
    ///
    /// Returns how many nodes of filters with wildcards it looked at, whoever they belong to: of a
    /// topic with `n` levels at most one for each level of each filter and the root, and at most
    /// two to the power of `k` at level `k`.
    pub fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        mut found: impl FnMut(&K, &V),
    ) -> usize {
        self.exact.matches(namespace, topic.as_bytes(), &mut found);
        self.wild.matches(namespace, topic, &mut found)
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory in use and in reserve, estimated from capacities in constant time.
    pub fn memory_bytes(&self) -> usize {
        self.exact.memory_bytes() + self.wild.memory_bytes()
    }
}

impl<K: Copy + Eq + Ord, V: Copy> Default for Index<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).unwrap()
    }

    #[track_caller]
    fn check(filters: &[&str], topic: &str, expected: &[u32]) {
        let mut index = Index::new();
        for (key, text) in (0..).zip(filters) {
            index.insert(Namespace(0), filter(text), key, ());
            index.insert(Namespace(1), filter(text), key + 100, ());
        }
        let mut found = Vec::new();
        index.matches(Namespace(0), TopicName::parse(topic).unwrap(), |key: &u32, ()| {
            found.push(*key);
        });
        found.sort_unstable();
        assert_eq!(found, expected, "{topic}");
    }

    #[test]
    fn matches_by_the_letter() {
        let filters = ["sport/#", "sport/+", "sport", "+", "#", "+/+", "/+", "$SYS/#", "sport/"];
        check(&filters, "sport", &[0, 2, 3, 4]);
        check(&filters, "sport/", &[0, 1, 4, 5, 8]);
        check(&filters, "/x", &[4, 5, 6]);
        // [MQTT-4.7.2-1]
        check(&filters, "$SYS", &[7]);
        check(&filters, "$SYS/x", &[7]);
        check(&filters, "a/b/c", &[4]);
    }

    #[test]
    fn wide_frontiers_spill() {
        // Each of the 2^7 filters over {a, +} matches.
        let texts: Vec<String> = (0..128)
            .map(|bits| {
                let level = |at: u32| if bits >> at & 1 == 0 { "a" } else { "+" };
                (0..7).map(level).collect::<Vec<_>>().join("/")
            })
            .collect();
        let filters: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(&filters, "a/a/a/a/a/a/a", &(0..128).collect::<Vec<_>>());
        check(&filters, "a/a/a/a/a/a/b", &(64..128).collect::<Vec<_>>());
    }

    /// Filters of 20 levels with `+` in all places where ten of them may stand: whatever the topic,
    /// no level has more than what its places can be combined to.
    #[test]
    fn all_combinations_of_wildcards_bound_a_match() {
        const LEVELS: usize = 20;
        const PLACES: usize = 10;
        let mut index = Index::new();
        for bits in 0_u32..1 << PLACES {
            let is_place = |at: usize| at.is_multiple_of(2) && bits >> (at / 2) & 1 == 1;
            let level = |at: usize| if is_place(at) { "+" } else { "a" };
            let text = (0..LEVELS).map(level).collect::<Vec<_>>().join("/");
            index.insert(Namespace(0), filter(&text), bits, ());
        }
        // The root, and at each level two to the power of the places so far.
        let most: usize = 1 + (0..LEVELS).map(|level| 1 << (level / 2 + 1)).sum::<usize>();
        let nodes = |topic: &[&str]| {
            let topic = topic.join("/");
            let mut hits = 0;
            let topic = TopicName::parse(&topic).unwrap();
            (index.matches(Namespace(0), topic, |_, ()| hits += 1), hits)
        };
        // The filter without wildcards stands elsewhere: it has no node behind the last place.
        assert_eq!(nodes(&["a"; LEVELS]), (most - 2, 1 << PLACES));
        // In vain down to the last level, which no filter has.
        let mut in_vain = ["a"; LEVELS];
        in_vain[LEVELS - 1] = "b";
        assert_eq!(nodes(&in_vain), (most - 2 - ((1 << PLACES) - 1), 0));
        assert_eq!(nodes(&["b"; LEVELS]), (2, 0));
    }

    #[test]
    fn a_second_insert_replaces() {
        let mut index = Index::new();
        for text in ["a/b", "a/+", "#"] {
            assert_eq!(index.insert(Namespace(0), filter(text), 1, 'x'), None);
            assert_eq!(index.insert(Namespace(0), filter(text), 1, 'y'), Some('x'));
            assert_eq!(index.len(), 1);
            assert_eq!(index.remove(Namespace(0), filter(text), 2), None);
            assert_eq!(index.remove(Namespace(1), filter(text), 1), None);
            assert_eq!(index.remove(Namespace(0), filter(text), 1), Some('y'));
            assert_eq!(index.remove(Namespace(0), filter(text), 1), None);
            assert!(index.is_empty());
        }
    }

    #[test]
    fn churn_uses_memory_again() {
        let mut index = Index::new();
        let mut texts = std::collections::VecDeque::new();
        let mut settled = None;
        for number in 0_u64..100_000 {
            let text = match number % 3 {
                0 => format!("plant/{number}/state"),
                1 => format!("plant/{number}/+"),
                _ => format!("+/{number}/{}/#", number % 7),
            };
            index.insert(Namespace(2), filter(&text), number, ());
            texts.push_back((text, number));
            if texts.len() > 50 {
                let (text, number) = texts.pop_front().unwrap();
                assert_eq!(index.remove(Namespace(2), filter(&text), number), Some(()));
            }
            if number == 1_000 {
                settled = Some((slots_len(&index), index.memory_bytes()));
            }
        }
        let (slots, bytes) = settled.unwrap();
        assert_eq!(slots_len(&index), slots);
        // The keys change, and with them how full each of the many tables is.
        assert!(index.memory_bytes() < bytes * 5 / 4);
        for (text, number) in texts {
            index.remove(Namespace(2), filter(&text), number);
        }
        assert!(index.wild.is_bare());
        assert!(index.is_empty());
    }

    fn slots_len(index: &Index<u64, ()>) -> (usize, (usize, usize)) {
        (index.exact.slots_len(), index.wild.slots_len())
    }

    #[test]
    fn a_crowd_leaves_in_reasonable_time() {
        let mut index = Index::new();
        for text in ["alarm", "alarm/#"] {
            for key in 0..100_000_u64 {
                index.insert(Namespace(0), filter(text), key * 7919 % 100_000, ());
            }
            for key in 0..100_000 {
                assert_eq!(index.remove(Namespace(0), filter(text), key), Some(()));
            }
        }
        assert!(index.is_empty());
    }
}
