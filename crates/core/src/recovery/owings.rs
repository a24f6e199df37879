//! The deliveries that a holder is owed, while the log is read.

use bellbird_codec::QoS;

use crate::away::Particular;
use crate::identity::{DeliveryId, Holder, Lane, Position};
use crate::session::Lender;
use crate::subscription::SubscriptionIds;

/// Deliveries by their ids. There may be millions, and they come and go nearly in order: a sorted
/// list with holes takes a third of what a tree does.
#[derive(Default)]
pub(super) struct Owings {
    /// Sorted by id; those that are over are holes.
    list: Vec<Owed>,
    holes: usize,
}

/// A delivery that the log says is still owed. Its message stays in the log.
pub(super) struct Owed {
    position: Position,
    more: Option<Box<More>>,
    /// By which the message came.
    pub(super) lane: Lane,
    bytes: u32,
    pub(super) qos: QoS,
    retain: bool,
    is_over: bool,
}

/// What few deliveries have.
struct More {
    ids: SubscriptionIds,
    /// The group that handed it over.
    of: Option<Holder>,
}

impl Owed {
    pub(super) fn new(id: DeliveryId, lane: Lane, bytes: u32, manner: Manner) -> Self {
        let DeliveryId { position, of } = id;
        let Manner { qos, retain, ids } = manner;
        let is_plain = ids.is_empty() && of.is_none();
        let more = (!is_plain).then(|| Box::new(More { ids, of }));
        Self { position, more, lane, bytes, qos, retain, is_over: false }
    }

    pub(super) fn id(&self) -> DeliveryId {
        DeliveryId { position: self.position, of: self.more.as_ref().and_then(|more| more.of) }
    }

    /// The same delivery as a group handed it to a member.
    pub(super) fn handed(&self, group: Holder, manner: Manner) -> Self {
        let id = DeliveryId { position: self.position, of: Some(group) };
        Self::new(id, self.lane, self.bytes, manner)
    }

    /// As it stands in a queue.
    pub(super) fn away(self) -> Particular {
        let Self { position, more, lane: _, bytes, qos, retain, is_over: _ } = self;
        let (ids, of) = more.map_or_else(Default::default, |more| (more.ids, more.of));
        let lender = of.map(|group| Box::new(Lender::Handed(group)));
        Particular { position, bytes, qos, retain, ids, lender }
    }
}

/// How a delivery is to be sent.
pub(super) struct Manner {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) ids: SubscriptionIds,
}

impl Owings {
    pub(super) fn len(&self) -> usize {
        self.list.len() - self.holes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn get(&self, id: &DeliveryId) -> Option<&Owed> {
        let index = self.find(id).ok()?;
        Some(&self.list[index]).filter(|owed| !owed.is_over)
    }

    pub(super) fn contains(&self, id: &DeliveryId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, owed: Owed) {
        let id = owed.id();
        if self.list.last().is_none_or(|last| last.id() < id) {
            return self.list.push(owed);
        }
        match self.find(&id) {
            Ok(index) => {
                self.holes -= usize::from(self.list[index].is_over);
                self.list[index] = owed;
            }
            Err(index) => self.list.insert(index, owed),
        }
    }

    /// Returns whether it was owed.
    pub(super) fn remove(&mut self, id: &DeliveryId) -> bool {
        self.take(id).is_some()
    }

    pub(super) fn take(&mut self, id: &DeliveryId) -> Option<Owed> {
        let index = self.find(id).ok().filter(|index| !self.list[*index].is_over)?;
        let found = &mut self.list[index];
        // The hole keeps its id, or the list would not be sorted.
        let of = found.more.as_ref().and_then(|more| more.of);
        let more =
            of.map(|group| Box::new(More { ids: SubscriptionIds::default(), of: Some(group) }));
        let hole = Owed { more, is_over: true, ..*found };
        let taken = std::mem::replace(found, hole);
        self.holes += 1;
        if self.holes > self.list.len() / 2 && self.holes > HOLES_KEPT {
            self.list.retain(|owed| !owed.is_over);
            self.list.shrink_to(self.list.len() * 2);
            self.holes = 0;
        }
        Some(taken)
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(&DeliveryId) -> bool) {
        self.list.retain(|owed| !owed.is_over && keeps(&owed.id()));
        self.holes = 0;
    }

    /// In the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Owed> {
        self.list.iter().filter(|owed| !owed.is_over)
    }

    /// The same, to be kept.
    pub(super) fn into_iter(self) -> impl Iterator<Item = Owed> {
        self.list.into_iter().filter(|owed| !owed.is_over)
    }

    fn find(&self, id: &DeliveryId) -> Result<usize, usize> {
        self.list.binary_search_by(|owed| owed.id().cmp(id))
    }
}

/// Fewer are not worth the walk.
const HOLES_KEPT: usize = 64;

const _: () = assert!(size_of::<Owed>() == 32);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_list_with_holes_is_a_map() {
        let mut state: u64 = 3;
        let mut random = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let group = Holder { number: 1, incarnation: 1 };
        for _ in 0..200 {
            let (mut owings, mut model) = (Owings::default(), BTreeMap::new());
            let mut next = 0;
            for step in 0..500 {
                let near = Position(next + 1 - random(20).min(next));
                let of = random(5).eq(&0).then_some(group);
                let id = DeliveryId { position: near, of };
                if random(5) < 3 {
                    next += 1;
                    let manner = Manner {
                        qos: QoS::AtLeastOnce,
                        retain: false,
                        ids: SubscriptionIds::default(),
                    };
                    owings.insert(Owed::new(id, Lane(step), 1, manner));
                    model.insert(id, step);
                } else {
                    let taken = owings.take(&id).map(|owed| (owed.id(), owed.lane.0));
                    assert_eq!(taken, model.remove(&id).map(|lane| (id, lane)));
                }
                assert_eq!(owings.contains(&id), model.contains_key(&id));
                assert_eq!(owings.len(), model.len());
            }
            let listed: Vec<_> = owings.iter().map(|owed| (owed.id(), owed.lane.0)).collect();
            assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        }
    }
}
