//! What one session is subscribed to, by the texts of its filters.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::vec;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::exclusive::is_exclusive;
use crate::joining::is_shared;
use crate::subscription::Subscription;

/// A session's subscriptions: sorted by filter while they are not many, and then in no order, with
/// a table of hashes that finds them.
///
/// The list alone takes 10 bytes less for each. But to put one into a list moves those behind it,
/// and a hundred thousand that end one after the other would move 100 GB.
#[derive(Default, Debug)]
pub(crate) struct Subscriptions {
    list: Vec<(Arc<str>, Subscription)>,
    /// Places in the list, by the hashes of the filters, while there are many.
    by_filter: Option<Box<HashTable<u32>>>,
    /// How many of the filters are exclusive, or shared.
    exclusive: u32,
    shared: u32,
}

/// Where a filter stands, or would stand; good until the subscriptions change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Of the filter, where there is a table.
    hash: u64,
    index: Result<usize, usize>,
}

impl Place {
    /// Whether there is a subscription with this filter.
    pub(crate) fn is_known(self) -> bool {
        self.index.is_ok()
    }
}

/// Up to so many are sorted: to move half of them, 24 kB, takes half a microsecond.
const SORTED_MAX: usize = 2048;

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_iter(self) -> vec::IntoIter<(Arc<str>, Subscription)> {
        self.list.into_iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Subscription)> {
        self.list.iter()
    }

    /// Those to shared filters.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &(Arc<str>, Subscription)> {
        let list = if self.shared > 0 { &*self.list } else { &[] };
        list.iter().filter(|(filter, _)| is_shared(filter))
    }

    /// Whether any of them is exclusive.
    pub(crate) fn has_exclusive(&self) -> bool {
        self.exclusive > 0
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.place_of(filter).is_known()
    }

    pub(crate) fn place_of(&self, filter: &str) -> Place {
        let Some(by_filter) = &self.by_filter else {
            let index = self.list.binary_search_by(|(known, _)| (**known).cmp(filter));
            return Place { hash: 0, index };
        };
        let hash = hash_of(filter);
        let found = by_filter.find(hash, |index| *self.list[*index as usize].0 == *filter);
        Place { hash, index: found.map(|index| *index as usize).ok_or(self.list.len()) }
    }

    /// Adds a subscription, or replaces the one there is. Returns its filter, to be shared.
    ///
    /// # Panics
    /// If `place` is that of another filter, which is known.
    pub(crate) fn set(
        &mut self,
        place: Place,
        filter: &str,
        subscription: Subscription,
    ) -> Arc<str> {
        let index = match place.index {
            Ok(index) => {
                let (known, old) = &mut self.list[index];
                assert_eq!(**known, *filter, "the place of another filter");
                *old = subscription;
                return known.clone();
            }
            Err(index) => index,
        };
        if self.list.is_empty() {
            // Most sessions have one or two.
            self.list.reserve_exact(1);
        }
        let filter: Arc<str> = filter.into();
        self.list.insert(index, (filter.clone(), subscription));
        self.count(&filter, |count| *count += 1);
        if let Some(by_filter) = &mut self.by_filter {
            let list = &self.list;
            by_filter.insert_unique(place.hash, place_of(index), |it| hash_at(list, *it));
        } else if self.list.len() > SORTED_MAX {
            self.by_filter = Some(Box::new(table(&self.list)));
        }
        filter
    }

    /// Takes a subscription out. Returns its filter, if there was one.
    pub(crate) fn remove(&mut self, filter: &str) -> Option<Arc<str>> {
        let Place { hash, index } = self.place_of(filter);
        let index = index.ok()?;
        let (filter, _) = match &mut self.by_filter {
            None => self.list.remove(index),
            Some(by_filter) => {
                let place = place_of(index);
                by_filter.find_entry(hash, |known| *known == place).expect(LISTED).remove();
                let removed = self.list.swap_remove(index);
                if index < self.list.len() {
                    let (moved, last) = (hash_at(&self.list, place), place_of(self.list.len()));
                    *by_filter.find_mut(moved, |known| *known == last).expect(LISTED) = place;
                }
                removed
            }
        };
        self.count(&filter, |count| *count -= 1);
        let len = self.list.len();
        // Half of where it began, so that one that comes and goes does not make it each time.
        if len <= SORTED_MAX / 2 && self.by_filter.take().is_some() {
            self.list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        if len * 4 <= self.list.capacity() {
            self.list.shrink_to(len * 2);
        }
        Some(filter)
    }

    fn count(&mut self, filter: &str, change: impl Fn(&mut u32)) {
        if is_exclusive(filter) {
            change(&mut self.exclusive);
        }
        if is_shared(filter) {
            change(&mut self.shared);
        }
    }
}

const LISTED: &str = "each place in the list is in the table";

fn table(list: &[(Arc<str>, Subscription)]) -> HashTable<u32> {
    let mut table = HashTable::with_capacity(list.len());
    for index in 0..list.len() {
        let place = place_of(index);
        table.insert_unique(hash_at(list, place), place, |it| hash_at(list, *it));
    }
    table
}

fn place_of(index: usize) -> u32 {
    u32::try_from(index).expect("a session has fewer than 2³² subscriptions")
}

fn hash_at(list: &[(Arc<str>, Subscription)], place: u32) -> u64 {
    hash_of(&list[place as usize].0)
}

/// Of subscriptions with filters that differ, in their order.
impl FromIterator<(Arc<str>, Subscription)> for Subscriptions {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Subscription)>>(all: I) -> Self {
        let list: Vec<_> = all.into_iter().collect();
        debug_assert!(list.is_sorted_by(|(one, _), (other, _)| one < other), "sorted, each once");
        let mut subscriptions = Self::default();
        for (filter, _) in &list {
            subscriptions.count(filter, |count| *count += 1);
        }
        subscriptions.by_filter = (list.len() > SORTED_MAX).then(|| Box::new(table(&list)));
        subscriptions.list = list;
        subscriptions
    }
}

fn hash_of(filter: &str) -> u64 {
    STATE.hash_one(filter.as_bytes())
}

/// Fixed: the same calls, the same tables.
const STATE: FixedState = FixedState::with_seed(0x7375_6273_6372_6962);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};

    use super::*;

    fn subscription(qos: QoS) -> Subscription {
        let options = SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        };
        Subscription { options, id: None }
    }

    fn filter(number: usize) -> String {
        match number % 10 {
            3 => format!("$share/g/{number}"),
            7 => format!("$exclusive/{number}"),
            _ => format!("plant/{number}"),
        }
    }

    fn check(found: &Subscriptions, model: &BTreeMap<String, QoS>) {
        assert_eq!((found.len(), found.is_empty()), (model.len(), model.is_empty()));
        let all: BTreeMap<String, QoS> =
            found.iter().map(|(filter, it)| (filter.to_string(), it.options.qos)).collect();
        assert_eq!(all, *model);
        let shared = model.keys().filter(|filter| is_shared(filter)).count();
        assert_eq!(found.shared().count(), shared);
        assert_eq!(found.has_exclusive(), model.keys().any(|filter| is_exclusive(filter)));
        if found.by_filter.is_none() {
            assert!(found.list.is_sorted_by(|(one, _), (other, _)| one < other));
        }
    }

    /// Up past the table's beginning and down past its end, against a map.
    #[test]
    fn they_come_and_go_like_those_of_a_map() {
        const COUNT: usize = 2 * SORTED_MAX + 7;
        let (mut found, mut model) = (Subscriptions::default(), BTreeMap::new());
        for round in 0..2 {
            // 4,103 is a prime: each number once, and not in their order.
            for nth in 0..COUNT {
                let filter = filter(nth * 17 % COUNT);
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                    let place = found.place_of(&filter);
                    assert_eq!(place.is_known(), model.contains_key(&filter), "{round}");
                    assert_eq!(*found.set(place, &filter, subscription(qos)), *filter);
                    model.insert(filter.clone(), qos);
                }
                if nth % 100 == 0 || nth.abs_diff(SORTED_MAX) < 3 {
                    check(&found, &model);
                }
            }
            assert!(found.by_filter.is_some());
            let again: Subscriptions = model
                .iter()
                .map(|(filter, qos)| ((&**filter).into(), subscription(*qos)))
                .collect();
            check(&again, &model);
            assert!(again.contains(&filter(5)) && !again.contains("plant"));
            for nth in 0..COUNT {
                let filter = filter(nth * 5 % COUNT);
                assert!(found.contains(&filter));
                model.remove(&filter);
                assert_eq!(found.remove(&filter).as_deref(), Some(&*filter));
                assert_eq!(found.remove(&filter), None);
                if nth % 100 == 0 || (COUNT - nth).abs_diff(SORTED_MAX / 2) < 3 {
                    check(&found, &model);
                }
            }
            assert!(found.by_filter.is_none() && found.list.capacity() <= 4);
        }
    }

    #[test]
    fn one_takes_one_place_and_no_table() {
        let mut one = Subscriptions::default();
        one.set(one.place_of("a"), "a", subscription(QoS::AtMostOnce));
        assert_eq!((one.list.capacity(), one.by_filter.is_none()), (1, true));
    }
}
