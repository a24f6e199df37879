//! The subscribers of one filter, in the order of their keys.

use std::collections::BTreeMap;

use crate::arena::block_bytes;

/// Most filters have one subscriber, so one costs no allocation.
#[derive(Debug, Default)]
pub(crate) enum Subscribers<K, V> {
    #[default]
    None,
    One(K, V),
    /// Two to `FEW_MAX`, in the order of their keys.
    Few(Vec<(K, V)>),
    Many(Box<Crowd<K, V>>),
}

/// A map, because 100,000 removals from one sorted list move 10^10 entries.
/// It stands in a box to keep `Subscribers` at three words.
#[derive(Debug)]
pub(crate) struct Crowd<K, V>(BTreeMap<K, V>);

/// Up to here moving entries up and down costs no more than a map does.
const FEW_MAX: usize = 128;
/// From here down the list is back. Half of `FEW_MAX`, so that one subscriber who comes and goes
/// does not rebuild the list each time.
const MANY_MIN: usize = 64;

impl<K: Copy + Ord, V: Copy> Subscribers<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Subscribers::None => *self = Subscribers::One(key, value),
            Subscribers::One(other, old) if *other == key => {
                return Some(std::mem::replace(old, value));
            }
            Subscribers::One(other, old) => {
                let mut list = vec![(*other, *old), (key, value)];
                list.sort_unstable_by_key(|entry| entry.0);
                *self = Subscribers::Few(list);
            }
            Subscribers::Few(list) => match list.binary_search_by_key(&key, |entry| entry.0) {
                Ok(at) => return Some(std::mem::replace(&mut list[at].1, value)),
                Err(at) if list.len() < FEW_MAX => list.insert(at, (key, value)),
                Err(_) => {
                    let mut crowd: BTreeMap<K, V> = list.drain(..).collect();
                    crowd.insert(key, value);
                    *self = Subscribers::Many(Box::new(Crowd(crowd)));
                }
            },
            Subscribers::Many(crowd) => return crowd.0.insert(key, value),
        }
        None
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Subscribers::One(other, value) if *other == key => {
                let value = *value;
                *self = Subscribers::None;
                Some(value)
            }
            Subscribers::None | Subscribers::One(..) => None,
            Subscribers::Few(list) => {
                let at = list.binary_search_by_key(&key, |entry| entry.0).ok()?;
                let (_, value) = list.remove(at);
                if let [(key, value)] = list[..] {
                    *self = Subscribers::One(key, value);
                } else if list.len() * 4 < list.capacity() {
                    list.shrink_to(list.len() * 2);
                }
                Some(value)
            }
            Subscribers::Many(crowd) => {
                let value = crowd.0.remove(&key)?;
                if crowd.0.len() < MANY_MIN {
                    let list = crowd.0.iter().map(|(key, value)| (*key, *value)).collect();
                    *self = Subscribers::Few(list);
                }
                Some(value)
            }
        }
    }

    pub(crate) fn visit(&self, found: &mut impl FnMut(&K, &V)) {
        match self {
            Subscribers::None => {}
            Subscribers::One(key, value) => found(key, value),
            Subscribers::Few(list) => list.iter().for_each(|(key, value)| found(key, value)),
            Subscribers::Many(crowd) => crowd.0.iter().for_each(|(key, value)| found(key, value)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Subscribers::None)
    }

    /// The memory behind the list, in constant time.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Subscribers::None | Subscribers::One(..) => 0,
            Subscribers::Few(list) => block_bytes(list.capacity() * size_of::<(K, V)>()),
            // The nodes of a map are two thirds full, and have a header and a parent.
            Subscribers::Many(crowd) => crowd.0.len() * (size_of::<(K, V)>() * 3 / 2 + 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_through_all_forms() {
        let mut subscribers = Subscribers::None;
        for count in 1..=300_u64 {
            // Neither ascending nor descending: 97 and 301 have no common factor.
            assert_eq!(subscribers.insert(count * 97 % 301, 0), None);
            assert_eq!(subscribers.insert(count * 97 % 301, count), Some(0));
        }
        assert!(matches!(subscribers, Subscribers::Many(_)));
        let mut keys = Vec::new();
        subscribers.visit(&mut |key, _| keys.push(*key));
        assert_eq!(keys, (1..=300).collect::<Vec<_>>());
        for count in 1..=300_u64 {
            assert_eq!(subscribers.remove(count * 97 % 301), Some(count));
            assert_eq!(subscribers.remove(count * 97 % 301), None);
        }
        assert!(subscribers.is_empty());
        assert_eq!(subscribers.heap_bytes(), 0);
    }

    #[test]
    fn three_words() {
        assert_eq!(size_of::<Option<Subscribers<u64, u32>>>(), 24);
    }
}
