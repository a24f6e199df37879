//! Members of groups: they join, leave, come and go.

use crate::config::Config;
use crate::connection::{AppliedFor, ReplyRef};
use crate::contract::{Change, Output, Subscriber};
use crate::errand::{Errand, GroupName};
use crate::group::Group;
use crate::identity::{Holder, ShardId, Time};
use crate::ledger::DropReason;
use crate::record::Operation;
use crate::release::{NewGroup, StoredFor};
use crate::session::Session;
use crate::sessions::home_of;
use crate::shard::Shard;
use crate::subscription::{Grant, Granted, SubscriptionIds};
use crate::view::View;

/// Whether the text of a filter names a group.
pub(crate) fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARED)
}

/// In front of a share name.
const SHARED: &str = "$share/";

impl GroupName {
    /// The shard on which the group lives.
    pub(crate) fn home(&self, config: &Config) -> ShardId {
        home_of(self.namespace, &self.name, config.shards)
    }
}

impl Session {
    /// The groups this session is a member of.
    pub(crate) fn groups(&self) -> Vec<GroupName> {
        self.memberships().map(|(group, _)| group).collect()
    }

    /// The same with what it was granted in each.
    pub(crate) fn memberships(&self) -> impl Iterator<Item = (GroupName, Granted)> {
        self.subscriptions.shared().map(|entry| {
            let group = GroupName { namespace: self.namespace, name: (&**entry.filter()).into() };
            (group, entry.granted(self.durable))
        })
    }
}

impl Shard {
    /// Sends an errand to the home of a group.
    pub(crate) fn send_to_group(&mut self, group: &GroupName, errand: Errand) {
        let home = group.home(&self.clients.config);
        self.clients.errands.push_back((home, errand));
    }

    /// Runs the errands of this shard, and hands those for others to the post.
    pub(crate) fn run_errands(&mut self, now: Time, view: &dyn View) {
        while let Some((to, errand)) = self.clients.errands.pop_front() {
            if to == self.id {
                self.run_errand(now, errand, view);
            } else {
                self.post.send_errand(to, errand, &mut self.clients.ledger);
            }
        }
    }

    fn run_errand(&mut self, now: Time, errand: Errand, view: &dyn View) {
        match errand {
            Errand::Join { group, subscriber, grant, ids, reply } => {
                self.join(now, &group, subscriber, grant, ids, reply);
            }
            Errand::Leave { group, subscriber, reply } => {
                self.leave(now, &group, subscriber, reply);
            }
            Errand::Shown(reply) => self.reply_shown(now, reply, view),
            Errand::Ready { group, subscriber, epoch, credit } => {
                self.set_presence(now, &group, subscriber, Some(epoch), credit);
            }
            Errand::Gone { group, subscriber } => {
                self.set_presence(now, &group, subscriber, None, 0);
            }
            Errand::Lend(lending) => self.borrow(now, *lending),
            Errand::Settle(loan) => self.clients.settled(now, loan),
            Errand::Return(loan) => self.clients.returned(now, loan),
        }
    }

    fn join(
        &mut self,
        now: Time,
        name: &GroupName,
        subscriber: Subscriber,
        grant: Grant,
        ids: SubscriptionIds,
        reply: Option<ReplyRef>,
    ) {
        let Some(at) = self.find_or_found(name) else { return };
        let Some(group) = self.clients.groups.of(at) else { return };
        group.join(subscriber, grant, ids);
        let wanted = group.wanted();
        if group.shown == Some(wanted) && self.changes.is_applied(group.shown_by) {
            return self.show_done(reply, subscriber);
        }
        if wanted.durable && !group.is_founded {
            group.is_durable = true;
            // Nothing may name this holder in the log before the log knows whose it is. Whoever
            // joins meanwhile says it again, and waits as well.
            let holder = group.holder;
            let found = Operation::Found { namespace: name.namespace, name: name.name.clone() };
            let waits =
                StoredFor::Group(Box::new(NewGroup { group: at, member: subscriber, reply }));
            self.commit(now, holder, GROUP_EPOCH, vec![found], waits);
            return;
        }
        self.show_group(at, subscriber, reply);
    }

    /// Has the view show what the group wants now.
    pub(crate) fn show_group(
        &mut self,
        at: Subscriber,
        member: Subscriber,
        reply: Option<ReplyRef>,
    ) {
        let Some(group) = self.clients.groups.of(at) else {
            return self.show_done(reply, member);
        };
        let grant = group.wanted();
        group.shown = Some(grant);
        let change = Change::Subscribe {
            namespace: group.namespace,
            filter: group.filter().into(),
            subscriber: at,
            granted: Granted { grant, id: None },
        };
        let waits = reply.map(|reply| AppliedFor::Group(reply, member.slot.shard()));
        let ticket = self.changes.ticket(waits);
        group.shown_by = ticket;
        self.clients.outputs.push_back(Output::Change { ticket, changes: [change].into() });
    }

    fn leave(
        &mut self,
        now: Time,
        name: &GroupName,
        subscriber: Subscriber,
        reply: Option<ReplyRef>,
    ) {
        let Some(at) = self.clients.groups.find(name.namespace, &name.name) else {
            return self.show_done(reply, subscriber);
        };
        let Some(group) = self.clients.groups.of(at) else { return };
        group.leave(subscriber);
        if !group.is_empty() {
            return self.show_done(reply, subscriber);
        }
        let Some(group) = self.clients.groups.remove(at) else { return };
        self.clients.ledger.drop(DropReason::SessionEnded, group.queue_len() as u64);
        if group.is_durable {
            let operations = vec![Operation::End];
            self.commit(now, group.holder, GROUP_EPOCH, operations, StoredFor::Nothing);
        }
        let change = Change::Unsubscribe {
            namespace: group.namespace,
            filter: group.filter().into(),
            subscriber: at,
        };
        let waits = reply.map(|reply| AppliedFor::Group(reply, subscriber.slot.shard()));
        let ticket = self.changes.ticket(waits);
        self.clients.outputs.push_back(Output::Change { ticket, changes: [change].into() });
    }

    fn find_or_found(&mut self, name: &GroupName) -> Option<Subscriber> {
        if let Some(found) = self.clients.groups.find(name.namespace, &name.name) {
            return Some(found);
        }
        let holder = Holder { number: self.clients.sessions.take_number(), incarnation: 1 };
        self.clients.groups.add(Group::new(holder, name.namespace, &name.name))
    }

    fn set_presence(
        &mut self,
        now: Time,
        name: &GroupName,
        subscriber: Subscriber,
        epoch: Option<u32>,
        credit: u32,
    ) {
        let Some(at) = self.clients.groups.find(name.namespace, &name.name) else { return };
        let Some(group) = self.clients.groups.of(at) else { return };
        if let Some(member) = group.member(subscriber) {
            (member.epoch, member.credit) = (epoch, credit);
        }
        self.clients.serve(now, at);
    }

    /// A change of the view for a group is applied: the session's home is told.
    pub(crate) fn show_done(&mut self, reply: Option<ReplyRef>, member: Subscriber) {
        if let Some(reply) = reply {
            self.clients.errands.push_back((member.slot.shard(), Errand::Shown(reply)));
        }
    }

    /// The groups of a session hear that its client is here.
    pub(crate) fn tell_groups_ready(&mut self, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        let (holder, epoch) = (session.holder, session.epoch);
        let credit = u32::from(session.inflight_max);
        let groups = session.groups();
        let subscriber = self.clients.sessions.subscriber(index, holder);
        for group in groups {
            let name = group.clone();
            self.send_to_group(&name, Errand::Ready { group, subscriber, epoch, credit });
        }
    }

    /// After a restart: a session is a member again of the groups it had joined, also of those
    /// that the log does not know.
    pub(crate) fn rejoin_groups(&mut self, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        let holder = session.holder;
        let joined: Vec<_> = session.memberships().collect();
        let subscriber = self.clients.sessions.subscriber(index, holder);
        for (group, Granted { grant, id }) in joined {
            let (name, ids) = (group.clone(), id.into_iter().collect());
            let reply = None;
            self.send_to_group(&name, Errand::Join { group, subscriber, grant, ids, reply });
        }
    }

    /// The groups of a session hear that its client is away. What it has of QoS 1 goes back, what
    /// it has of QoS 2 stays [MQTT-4.8.2-4].
    pub(crate) fn tell_groups_gone(&mut self, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        let loans = session.take_returnable();
        let (holder, groups) = (session.holder, session.groups());
        let subscriber = self.clients.sessions.subscriber(index, holder);
        for loan in loans {
            self.clients.return_loan(loan);
        }
        for group in groups {
            let name = group.clone();
            self.send_to_group(&name, Errand::Gone { group, subscriber });
        }
    }

    /// A session ends: it leaves its groups.
    pub(crate) fn leave_groups(&mut self, session: &mut Session, subscriber: Subscriber) {
        for loan in session.take_returnable() {
            self.clients.return_loan(loan);
        }
        // What has begun is not sent to anybody else [MQTT-4.8.2-5].
        for loan in session.loans() {
            self.clients.settle(loan);
        }
        for group in session.groups() {
            let name = group.clone();
            self.send_to_group(&name, Errand::Leave { group, subscriber, reply: None });
        }
    }
}

/// Groups have one life and no connections.
pub(crate) const GROUP_EPOCH: u32 = 0;
