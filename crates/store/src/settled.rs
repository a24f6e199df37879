//! Deliveries that are over, and whose message stands in the same files: nothing of them is left.

use std::hash::BuildHasher;

use bellbird_core::identity::{DeliveryId, Holder, Position, Time};
use bellbird_core::record::{Commit, Operation};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::body::{Glance, glance};
use crate::bytes::Malformed;

/// What the commits say is done, of all that some segments hold.
///
/// For each position there is one number: the sum of what its holders that are done hash to. It is
/// that of all holders of the message if and only if each of them is done with it once.
pub(crate) struct Settled {
    first: u64,
    sums: Vec<u64>,
    /// Of messages that are older than the segments.
    older: HashSet<(Position, Holder), FixedState>,
    /// The newest epoch of each holder: commits of an older one are void.
    epochs: HashMap<Holder, u32, FixedState>,
    hasher: FixedState,
}

impl Settled {
    /// For positions from `first` on and below `bound`.
    pub(crate) fn new(first: u64, bound: u64) -> Self {
        let places = usize::try_from(bound.saturating_sub(first)).unwrap_or(0);
        Self {
            first,
            sums: vec![0; places],
            older: HashSet::default(),
            epochs: HashMap::default(),
            hasher: FixedState::default(),
        }
    }

    /// Takes the next commit.
    pub(crate) fn note(&mut self, commit: &Commit) {
        let holder = commit.holder;
        let epoch = self.epochs.entry(holder).or_default();
        if commit.epoch < *epoch {
            return;
        }
        *epoch = commit.epoch;
        let hash = self.hasher.hash_one(holder);
        for position in commit.operations.iter().filter_map(done) {
            match self.sum(position) {
                Some(sum) => *sum = sum.wrapping_add(hash),
                None => {
                    self.older.insert((position, holder));
                }
            }
        }
    }

    /// Whether nothing is left of a message. Then it may be passed over; its time and the highest
    /// number of its holders are all that is to be known of it.
    pub(crate) fn pass(
        &mut self,
        position: Position,
        body: &[u8],
    ) -> Result<Option<(Time, u64)>, Malformed> {
        let (mut of_all, mut highest, mut are_all_done) = (0_u64, 0, true);
        let Glance { at, is_received, is_retained } = glance(body, |holder| {
            of_all = of_all.wrapping_add(self.hasher.hash_one(holder));
            highest = highest.max(holder.number);
            are_all_done &= position.0 >= self.first || self.older.contains(&(position, holder));
        })?;
        let sum = self.sum(position);
        let is_over = are_all_done && sum.as_ref().is_none_or(|sum| **sum == of_all);
        if is_received || is_retained || !is_over {
            // What is said of it counts, then.
            let older = &mut self.older;
            if position.0 < self.first && !older.is_empty() {
                glance(body, |holder| {
                    older.remove(&(position, holder));
                })?;
            }
            return Ok(None);
        }
        if let Some(sum) = sum {
            *sum = PASSED;
        }
        Ok(Some((at, highest)))
    }

    /// Takes out what a commit says of messages that were passed over.
    pub(crate) fn forget_passed(&mut self, commit: &mut Commit) {
        let holder = commit.holder;
        commit.operations.retain(|operation| match done(operation) {
            Some(position) => match self.sum(position) {
                Some(sum) => *sum != PASSED,
                None => !self.older.contains(&(position, holder)),
            },
            None => true,
        });
    }

    fn sum(&mut self, position: Position) -> Option<&mut u64> {
        let place = usize::try_from(position.0.checked_sub(self.first)?).ok()?;
        self.sums.get_mut(place)
    }
}

/// Which message of its own a holder is done with.
fn done(operation: &Operation) -> Option<Position> {
    let Operation::Done { delivery: DeliveryId { position, of: None } } = operation else {
        return None;
    };
    Some(*position)
}

/// Nothing is left of the message at this position.
const PASSED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use bellbird_codec::{PacketId, QoS};
    use bellbird_core::identity::{Lane, MessageId};
    use bellbird_core::message::{Message, MessageParts};
    use bellbird_core::record::{Append, Delivery, Received, Record};
    use bellbird_core::subscription::SubscriptionIds;
    use bellbird_topics::{Namespace, TopicName};

    use super::*;

    fn holder(number: u64) -> Holder {
        Holder { number, incarnation: 1 }
    }

    fn append(holders: &[u64], is_received: bool, retained: Option<u64>) -> Vec<u8> {
        let message = Message::new(&MessageParts {
            id: MessageId { start: 1, shard: 0, counter: 1 },
            namespace: Namespace(0),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            topic: TopicName::parse("t").expect("a topic name"),
            properties: &[],
            payload: b"p",
        });
        let deliver = |number: &u64| Delivery {
            holder: holder(*number),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIds::default(),
        };
        let packet_id = PacketId::new(1).expect("not 0");
        let mut body = Vec::new();
        crate::body::encode(
            &Record::Append(Append {
                lane: Lane(0),
                at: Time(7),
                message,
                holders: holders.iter().map(deliver).collect(),
                received: is_received.then(|| Received { holder: holder(9), packet_id }),
                retained,
            }),
            &mut body,
        );
        body
    }

    fn commit(number: u64, epoch: u32, positions: &[u64]) -> Commit {
        let done = |at: &u64| Operation::Done { delivery: DeliveryId::own(Position(*at)) };
        let operations = positions.iter().map(done).collect();
        Commit { holder: holder(number), epoch, at: Time(8), operations }
    }

    /// Position 3 is older than the segments, 12 stands in them.
    #[test]
    fn only_what_all_are_done_with_is_passed_over() {
        for at in [3, 12] {
            let passed = |commits: &[Commit], body: &[u8]| {
                let mut settled = Settled::new(10, 20);
                commits.iter().for_each(|commit| settled.note(commit));
                let passed = settled.pass(Position(at), body).expect("it is an append");
                let mut left = commits.to_vec();
                left.iter_mut().for_each(|commit| settled.forget_passed(commit));
                let left: usize = left.iter().map(|commit| commit.operations.len()).sum();
                (passed, left)
            };
            let (one, two) = (commit(1, 1, &[at]), commit(2, 1, &[at]));
            let both = append(&[1, 2], false, None);
            assert_eq!(passed(&[one.clone(), two.clone()], &both), (Some((Time(7), 2)), 0));
            assert_eq!(passed(std::slice::from_ref(&two), &both), (None, 1), "one still waits");
            assert_eq!(passed(&[two.clone(), two.clone()], &both), (None, 2), "one, twice");
            let stranger = commit(3, 1, &[at]);
            assert_eq!(passed(&[one.clone(), stranger], &both).0, None, "another is done");
            let void = [commit(1, 2, &[]), one.clone(), two.clone()];
            assert_eq!(passed(&void, &both), (None, 2), "a commit of an older epoch is void");
            let only = append(&[1], false, None);
            assert_eq!(passed(std::slice::from_ref(&one), &append(&[1], true, None)), (None, 1));
            assert_eq!(
                passed(std::slice::from_ref(&one), &append(&[1], false, Some(4))),
                (None, 1)
            );
            assert_eq!(passed(&[one], &only), (Some((Time(7), 1)), 0));
            assert_eq!(passed(&[], &only), (None, 0));
        }
    }
}
