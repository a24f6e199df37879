//! A shared subscription: a holder with a queue of its own, and members that take from it.
//!
//! Here is its state and the choice of the member; `lending` moves messages, `joining` members.

use std::collections::{BTreeMap, VecDeque};

use bellbird_codec::QoS;
use bellbird_topics::Namespace;

use crate::config::GroupStrategy;
use crate::contract::{Slot, Subscriber};
use crate::errand::Loan;
use crate::identity::{Holder, Position, ShardId, Ticket, Time};
use crate::message::Message;
use crate::subscription::{Grant, SubscriptionIds};

/// A group, at its home.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) holder: Holder,
    pub(crate) namespace: Namespace,
    /// The whole filter, `$share/{group}/{filter}`.
    pub(crate) name: Box<str>,
    /// What the view was last told to show, and by which change.
    pub(crate) shown: Option<Grant>,
    pub(crate) shown_by: Ticket,
    /// The log was told of it.
    pub(crate) is_durable: bool,
    /// The log knows it.
    pub(crate) is_founded: bool,
    members: Vec<Member>,
    /// Where the next round begins.
    turn: usize,
    queue: BTreeMap<u64, Waiting>,
    queue_bytes: usize,
    /// What members have and have not acknowledged.
    lent: BTreeMap<u64, Waiting>,
    next_number: u64,
}

/// A session's part in a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) subscriber: Subscriber,
    pub(crate) grant: Grant,
    pub(crate) ids: SubscriptionIds,
    /// Counts the session's connections; none while it is away.
    pub(crate) epoch: Option<u32>,
    /// How many more messages it takes.
    pub(crate) credit: u32,
}

/// A message that no member has acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Message,
    /// Where it is stored, if it is.
    pub(crate) position: Option<Position>,
    /// Who published it; nobody in particular after a restart.
    pub(crate) origin: Holder,
}

impl Group {
    pub(crate) fn new(holder: Holder, namespace: Namespace, name: &str) -> Self {
        Self {
            holder,
            namespace,
            name: name.into(),
            shown: None,
            shown_by: Ticket(0),
            is_durable: false,
            is_founded: false,
            members: Vec::new(),
            turn: 0,
            queue: BTreeMap::new(),
            queue_bytes: 0,
            lent: BTreeMap::new(),
            next_number: 1,
        }
    }

    /// The filter of which it is a share.
    pub(crate) fn filter(&self) -> &str {
        self.name.splitn(3, '/').nth(2).unwrap_or_default()
    }

    /// Takes a member in, or gives it another grant.
    pub(crate) fn join(&mut self, subscriber: Subscriber, grant: Grant, ids: SubscriptionIds) {
        match self.member(subscriber) {
            Some(member) => (member.grant, member.ids) = (grant, ids),
            None => {
                self.members.push(Member { subscriber, grant, ids, epoch: None, credit: 0 });
            }
        }
    }

    pub(crate) fn leave(&mut self, subscriber: Subscriber) {
        let Some(at) = self.members.iter().position(|found| found.subscriber == subscriber) else {
            return;
        };
        self.members.remove(at);
        if at < self.turn {
            self.turn -= 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn member(&mut self, subscriber: Subscriber) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.subscriber == subscriber)
    }

    /// What the group needs from the view: the most that any of its members has. It is never
    /// taken back while there are members.
    pub(crate) fn wanted(&self) -> Grant {
        let highest = |qos: QoS, member: &Member| qos.max(member.grant.qos);
        let shown_qos = self.shown.map_or(QoS::AtMostOnce, |grant| grant.qos);
        Grant {
            qos: self.members.iter().fold(shown_qos, highest),
            no_local: false,
            // Each member has its own say about it.
            retain_as_published: true,
            durable: self.is_durable || self.members.iter().any(|member| member.grant.durable),
        }
    }

    /// Puts a message behind those that wait.
    pub(crate) fn push(&mut self, waiting: Waiting) {
        let number = self.next_number;
        self.next_number += 1;
        self.put(number, waiting);
    }

    /// Whether one more message of this size may wait.
    pub(crate) fn has_room(&self, size: usize, messages_max: usize, bytes_max: usize) -> bool {
        self.queue.len() < messages_max
            && (self.queue_bytes + size <= bytes_max || self.queue.is_empty())
    }

    /// The first that waits, without a member if its time is over. None if nothing waits or no
    /// member can take it.
    pub(crate) fn next(
        &mut self,
        now: Time,
        strategy: GroupStrategy,
    ) -> Option<(u64, Waiting, Option<Member>)> {
        let (number, waiting) = self.queue.first_key_value()?;
        let (number, is_expired) = (*number, waiting.message.is_expired(now));
        let origin = waiting.origin;
        let member = match is_expired {
            true => None,
            false => Some(self.choose(strategy, origin, |member| member.credit > 0)?),
        };
        let waiting = self.queue.remove(&number)?;
        self.queue_bytes -= waiting.message.size_bytes();
        let member = member.map(|at| self.members[at].clone());
        Some((number, waiting, member))
    }

    /// Who gets a message of QoS 0: credit is for what has to be acknowledged.
    pub(crate) fn next_at_most_once(
        &mut self,
        strategy: GroupStrategy,
        origin: Holder,
    ) -> Option<Member> {
        let at = self.choose(strategy, origin, |_| true)?;
        Some(self.members[at].clone())
    }

    /// A member has the message: it comes back with [`Group::take_back`], or never.
    pub(crate) fn lend(&mut self, number: u64, waiting: Waiting, to: Subscriber) {
        self.lent.insert(number, waiting);
        if let Some(member) = self.member(to) {
            member.credit = member.credit.saturating_sub(1);
        }
    }

    /// What is lent under this number.
    pub(crate) fn lent(&self, number: u64) -> Option<&Waiting> {
        self.lent.get(&number)
    }

    /// The message belongs to the member from here on: what is left is to give credit back.
    pub(crate) fn hand(&mut self, number: u64) -> Option<Waiting> {
        let lent = self.lent.get_mut(&number)?;
        let whole = lent.clone();
        lent.position = None;
        Some(whole)
    }

    /// The member takes one more, if its connection is still the one that took it.
    pub(crate) fn give_credit(&mut self, loan: Loan) {
        if let Some(member) = self.member(loan.to)
            && member.epoch == Some(loan.epoch)
        {
            member.credit += 1;
        }
    }

    /// The member is done with it.
    pub(crate) fn settle(&mut self, number: u64) -> Option<Waiting> {
        self.lent.remove(&number)
    }

    /// The member could not keep it: it waits again, in its old place.
    pub(crate) fn take_back(&mut self, number: u64) {
        if let Some(waiting) = self.lent.remove(&number) {
            self.put(number, waiting);
        }
    }

    /// Messages that wait here, those that are lent not among them.
    pub(crate) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    fn put(&mut self, number: u64, waiting: Waiting) {
        self.queue_bytes += waiting.message.size_bytes();
        self.queue.insert(number, waiting);
    }

    /// The member whose turn it is among those that are here and fit.
    fn choose(
        &mut self,
        strategy: GroupStrategy,
        origin: Holder,
        fits: impl Fn(&Member) -> bool,
    ) -> Option<usize> {
        let count = self.members.len();
        let start = match strategy {
            GroupStrategy::RoundRobin | GroupStrategy::Sticky => self.turn,
            GroupStrategy::Hash => {
                // Multiplication spreads the numbers, which count up.
                let spread = origin.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                usize::try_from(spread % (count.max(1) as u64)).unwrap_or(0)
            }
        };
        let at = (0..count).map(|step| (start + step) % count).find(|at| {
            let member = &self.members[*at];
            member.epoch.is_some() && fits(member)
        })?;
        match strategy {
            GroupStrategy::RoundRobin => self.turn = (at + 1) % count,
            GroupStrategy::Sticky => self.turn = at,
            GroupStrategy::Hash => {}
        }
        Some(at)
    }
}

/// A shard's groups, by place and by name.
#[derive(Debug)]
pub(crate) struct Groups {
    me: ShardId,
    slots: Vec<Option<Group>>,
    free: VecDeque<u32>,
    by_name: BTreeMap<(Namespace, Box<str>), u32>,
}

impl Groups {
    pub(crate) fn new(me: ShardId) -> Self {
        Self { me, slots: Vec::new(), free: VecDeque::new(), by_name: BTreeMap::new() }
    }

    /// Gives a group its place; none if there are too many.
    pub(crate) fn add(&mut self, group: Group) -> Option<Subscriber> {
        let next = u32::try_from(self.slots.len()).ok()?;
        let index = self.free.pop_front().unwrap_or(next);
        let slot = Slot::of_group(self.me, index)?;
        if index == next {
            self.slots.push(None);
        }
        let holder = group.holder;
        self.by_name.insert((group.namespace, group.name.clone()), index);
        self.slots[index as usize] = Some(group);
        Some(Subscriber { slot, holder })
    }

    pub(crate) fn remove(&mut self, subscriber: Subscriber) -> Option<Group> {
        self.of(subscriber)?;
        let index = subscriber.slot.index();
        let group = self.slots[index].take()?;
        self.by_name.remove(&(group.namespace, group.name.clone()));
        self.free.extend(u32::try_from(index));
        Some(group)
    }

    pub(crate) fn find(&self, namespace: Namespace, name: &str) -> Option<Subscriber> {
        let index = *self.by_name.get(&(namespace, name.into()))?;
        let holder = self.slots[index as usize].as_ref()?.holder;
        Some(Subscriber { slot: Slot::of_group(self.me, index)?, holder })
    }

    /// The group, unless its place has been used again since.
    pub(crate) fn of(&mut self, subscriber: Subscriber) -> Option<&mut Group> {
        let group = self.slots.get_mut(subscriber.slot.index())?.as_mut()?;
        (group.holder == subscriber.holder).then_some(group)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(number: u32) -> Subscriber {
        let slot = Slot::new(ShardId(0), number).unwrap();
        Subscriber { slot, holder: Holder { number: u64::from(number), incarnation: 1 } }
    }

    fn group(members: u32) -> Group {
        let mut group = Group::new(Holder::default(), Namespace(0), "$share/g/a/b");
        let grant = Grant {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            durable: false,
        };
        for number in 0..members {
            group.join(subscriber(number), grant, SubscriptionIds::default());
            let member = group.member(subscriber(number)).unwrap();
            (member.epoch, member.credit) = (Some(1), 1);
        }
        group
    }

    fn chosen(group: &mut Group, strategy: GroupStrategy, origin: u64) -> Option<u64> {
        let origin = Holder { number: origin, incarnation: 1 };
        let at = group.choose(strategy, origin, |member| member.credit > 0)?;
        Some(group.members[at].subscriber.holder.number)
    }

    #[test]
    fn the_filter_is_what_stands_behind_the_share_name() {
        assert_eq!(group(0).filter(), "a/b");
        let slashes = Group::new(Holder::default(), Namespace(0), "$share/g//");
        assert_eq!(slashes.filter(), "/");
    }

    #[test]
    fn each_in_turn_and_never_who_is_away_or_has_no_credit() {
        let mut group = group(4);
        group.member(subscriber(1)).unwrap().epoch = None;
        group.member(subscriber(3)).unwrap().credit = 0;
        let picks: Vec<_> =
            (0..4).map(|_| chosen(&mut group, GroupStrategy::RoundRobin, 0)).collect();
        assert_eq!(picks, [Some(0), Some(2), Some(0), Some(2)]);
        group.leave(subscriber(0));
        assert_eq!(chosen(&mut group, GroupStrategy::RoundRobin, 0), Some(2));
        group.leave(subscriber(2));
        assert_eq!(chosen(&mut group, GroupStrategy::RoundRobin, 0), None);
    }

    #[test]
    fn sticky_stays_and_hash_follows_the_publisher() {
        let mut group = group(3);
        assert_eq!(chosen(&mut group, GroupStrategy::Sticky, 0), Some(0));
        group.member(subscriber(0)).unwrap().credit = 0;
        assert_eq!(chosen(&mut group, GroupStrategy::Sticky, 0), Some(1));
        group.member(subscriber(0)).unwrap().credit = 1;
        assert_eq!(chosen(&mut group, GroupStrategy::Sticky, 0), Some(1));
        let of = |group: &mut Group, origin| chosen(group, GroupStrategy::Hash, origin);
        let all: std::collections::BTreeSet<_> = (0..50).map(|o| of(&mut group, o)).collect();
        assert_eq!(all.len(), 3, "publishers spread over the members");
        assert_eq!(of(&mut group, 7), of(&mut group, 7));
    }

    #[test]
    fn what_comes_back_waits_in_its_old_place() {
        let mut group = group(1);
        for _ in 0..3 {
            let parts = crate::message::MessageParts {
                id: crate::identity::MessageId::default(),
                namespace: Namespace(0),
                qos: QoS::AtLeastOnce,
                retain: false,
                expires_at: None,
                topic: bellbird_topics::TopicName::parse("a/b").unwrap(),
                properties: &[],
                payload: b"x",
            };
            let message = Message::new(&parts);
            group.push(Waiting { message, position: None, origin: Holder::default() });
        }
        let take = |group: &mut Group| {
            let (number, waiting, member) = group.next(Time(0), GroupStrategy::RoundRobin).unwrap();
            group.lend(number, waiting, member.unwrap().subscriber);
            number
        };
        assert_eq!(take(&mut group), 1);
        assert!(group.next(Time(0), GroupStrategy::RoundRobin).is_none(), "no credit");
        group.member(subscriber(0)).unwrap().credit = 9;
        assert_eq!(take(&mut group), 2);
        group.take_back(1);
        assert_eq!(take(&mut group), 1);
        assert!(group.settle(2).is_some());
        assert!(group.settle(2).is_none());
        assert_eq!(group.queue_len(), 1);
    }
}
