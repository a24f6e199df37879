//! What one session is subscribed to, by the texts of its filters.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::vec;

use bellbird_codec::QoS;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::exclusive::is_exclusive;
use crate::joining::is_shared;
use crate::subscription::{Grant, Granted, Subscription, SubscriptionId};

/// A session's subscriptions: sorted by their tags while they are not many, and then in no order,
/// with a table of hashes that finds them.
///
/// The list alone takes 10 bytes less for each. But to put one into a list moves those behind it,
/// and a hundred thousand that end one after the other would move 100 GB.
#[derive(Default, Debug)]
pub(crate) struct Subscriptions {
    list: Vec<Entry>,
    /// Places in the list, by the hashes of the filters, while there are many.
    by_filter: Option<Box<HashTable<u32>>>,
    /// How many of the filters are exclusive, or shared.
    exclusive: u32,
    shared: u32,
}

/// One of a session's subscriptions: its filter, and what routing is told of what was granted.
#[derive(Debug)]
pub(crate) struct Entry {
    filter: Arc<str>,
    id: Option<SubscriptionId>,
    /// The tag above, the flags below.
    bits: u32,
}

/// The low bits of an [`Entry`], beside the two of the QoS.
const NO_LOCAL: u32 = 4;
const RETAIN_AS_PUBLISHED: u32 = 8;
const TAG_SHIFT: u32 = 8;

impl Entry {
    fn new(hash: u64, filter: Arc<str>, subscription: Subscription) -> Self {
        let mut entry = Self { filter, id: None, bits: tag_of(hash) << TAG_SHIFT };
        entry.set(subscription);
        entry
    }

    fn set(&mut self, Subscription { options, id }: Subscription) {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        self.bits = self.tag() << TAG_SHIFT
            | u32::from(options.qos.value())
            | flag(options.no_local, NO_LOCAL)
            | flag(options.retain_as_published, RETAIN_AS_PUBLISHED);
        self.id = id;
    }

    pub(crate) fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    pub(crate) fn into_filter(self) -> Arc<str> {
        self.filter
    }

    /// What a session gets by it.
    pub(crate) fn granted(&self, durable: bool) -> Granted {
        let qos = match self.bits & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let no_local = self.bits & NO_LOCAL != 0;
        let retain_as_published = self.bits & RETAIN_AS_PUBLISHED != 0;
        Granted { grant: Grant { qos, no_local, retain_as_published, durable }, id: self.id }
    }

    /// Some bits of the filter's hash, so that a search does not have to look at the texts.
    fn tag(&self) -> u32 {
        self.bits >> TAG_SHIFT
    }
}

/// Where a filter stands, or would stand; good until the subscriptions change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Of the filter.
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

    pub(crate) fn into_iter(self) -> vec::IntoIter<Entry> {
        self.list.into_iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter()
    }

    /// Those to shared filters.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Entry> {
        let list = if self.shared > 0 { &*self.list } else { &[] };
        list.iter().filter(|entry| is_shared(&entry.filter))
    }

    /// Whether any of them is exclusive.
    pub(crate) fn has_exclusive(&self) -> bool {
        self.exclusive > 0
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.place_of(filter).is_known()
    }

    pub(crate) fn place_of(&self, filter: &str) -> Place {
        let hash = hash_of(filter);
        if let Some(by_filter) = &self.by_filter {
            let found = by_filter.find(hash, |it| *self.list[*it as usize].filter == *filter);
            let index = found.map(|index| *index as usize).ok_or(self.list.len());
            return Place { hash, index };
        }
        let tag = tag_of(hash);
        let start = self.list.partition_point(|entry| entry.tag() < tag);
        let same = self.list[start..].iter().take_while(|entry| entry.tag() == tag);
        let index = same.enumerate().find(|(_, entry)| *entry.filter == *filter);
        Place { hash, index: index.map(|(nth, _)| start + nth).ok_or(start) }
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
                let known = &mut self.list[index];
                assert_eq!(*known.filter, *filter, "the place of another filter");
                known.set(subscription);
                return known.filter.clone();
            }
            Err(index) => index,
        };
        if self.list.is_empty() {
            // Most sessions have one or two.
            self.list.reserve_exact(1);
        }
        let filter: Arc<str> = filter.into();
        self.list.insert(index, Entry::new(place.hash, filter.clone(), subscription));
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
        let Entry { filter, .. } = match &mut self.by_filter {
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
            self.list.sort_by_key(Entry::tag);
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

fn table(list: &[Entry]) -> HashTable<u32> {
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

fn hash_at(list: &[Entry], place: u32) -> u64 {
    hash_of(&list[place as usize].filter)
}

/// Of subscriptions with filters that differ.
impl FromIterator<(Arc<str>, Subscription)> for Subscriptions {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Subscription)>>(all: I) -> Self {
        let entry = |(filter, it): (Arc<str>, _)| Entry::new(hash_of(&filter), filter, it);
        let mut list: Vec<_> = all.into_iter().map(entry).collect();
        let mut subscriptions = Self::default();
        for entry in &list {
            subscriptions.count(&entry.filter, |count| *count += 1);
        }
        if list.len() > SORTED_MAX {
            subscriptions.by_filter = Some(Box::new(table(&list)));
        } else {
            list.sort_by_key(Entry::tag);
        }
        subscriptions.list = list;
        subscriptions
    }
}

/// 24 bits of a hash: those that a table of hashes looks at last.
fn tag_of(hash: u64) -> u32 {
    u32::try_from(hash >> 20 & 0xFF_FFFF).expect("masked to 24 bits")
}

fn hash_of(filter: &str) -> u64 {
    STATE.hash_one(filter.as_bytes())
}

/// Fixed: the same calls, the same tables.
const STATE: FixedState = FixedState::with_seed(0x7375_6273_6372_6962);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellbird_codec::{RetainHandling, SubscribeOptions};

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
            found.iter().map(|it| (it.filter.to_string(), it.granted(true).grant.qos)).collect();
        assert_eq!(all, *model);
        let shared = model.keys().filter(|filter| is_shared(filter)).count();
        assert_eq!(found.shared().count(), shared);
        assert_eq!(found.has_exclusive(), model.keys().any(|filter| is_exclusive(filter)));
        if found.by_filter.is_none() {
            assert!(found.list.is_sorted_by_key(Entry::tag));
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
