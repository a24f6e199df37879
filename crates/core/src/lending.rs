//! Messages of groups: offered, lent to a member, settled or returned.
//!
//! At QoS 1 a message stays the group's until the member has acknowledged it: whatever happens
//! to the member, it goes to another one. At QoS 2 the log first says that it is the member's.

use bellbird_codec::QoS;
use bellbird_topics::TopicName;

use crate::clients::{Clients, Manner};
use crate::contract::{Output, Subscriber};
use crate::errand::{Errand, Lending, Loan};
use crate::event::{Event, Telling};
use crate::group::{Member, Waiting};
use crate::identity::{DeliveryId, Holder, Position, Time};
use crate::joining::GROUP_EPOCH;
use crate::ledger::DropReason;
use crate::outgoing::Outgoing;
use crate::permit::{Action, Verdict};
use crate::record::Operation;
use crate::release::StoredFor;
use crate::session::{Lender, NONE, Queued, Session};
use crate::shard::Shard;

impl Clients {
    /// A message matched a group's filter.
    pub(crate) fn offer(
        &mut self,
        now: Time,
        at: Subscriber,
        origin: Holder,
        position: Option<Position>,
        out: &mut Outgoing<'_>,
    ) {
        let strategy = self.config.group_strategy;
        let (messages_max, bytes_max) =
            (self.config.queue_messages_max, self.config.queue_bytes_max);
        let Some(group) = self.groups.of(at) else {
            return self.ledger.drop(DropReason::SessionEnded, 1);
        };
        if out.parts.qos == QoS::AtMostOnce {
            return match group.next_at_most_once(strategy, origin) {
                Some(member) => {
                    let waiting = Waiting { message: out.share(), position: None, origin };
                    self.hand_over(&member, QoS::AtMostOnce, &waiting, None, None);
                }
                None => self.drop_of_group(at, out.parts.topic, DropReason::Offline),
            };
        }
        let message = out.share();
        if !group.has_room(message.size_bytes(), messages_max, bytes_max) {
            self.drop_of_group(at, out.parts.topic, DropReason::QueueFull);
            return self.group_is_done(at, position);
        }
        group.push(Waiting { message, position, origin });
        self.serve(now, at);
    }

    /// Counts a drop at a group that is there.
    fn drop_of_group(&mut self, at: Subscriber, topic: TopicName<'_>, reason: DropReason) {
        self.ledger.drop(reason, 1);
        if self.config.telling == Telling::Everything
            && let Some(group) = self.groups.of(at)
        {
            let whose = group.name.clone();
            let topic = Some(topic.as_str().into());
            let event = Event::Dropped { whose, topic, reason, deliveries: 1 };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Lends what waits, as long as there are members that take it.
    pub(crate) fn serve(&mut self, now: Time, at: Subscriber) {
        let strategy = self.config.group_strategy;
        loop {
            let Some(group) = self.groups.of(at) else { return };
            let Some((number, waiting, member)) = group.next(now, strategy) else { return };
            let Some(member) = member else {
                self.ledger.expired += 1;
                self.group_is_done(at, waiting.position);
                continue;
            };
            let qos = waiting.message.qos.min(member.grant.qos);
            let epoch = member.epoch.unwrap_or_default();
            let loan = Loan { group: at, number, to: member.subscriber, epoch };
            match (qos, waiting.position) {
                (QoS::AtMostOnce, position) => {
                    self.hand_over(&member, qos, &waiting, None, None);
                    self.group_is_done(at, position);
                }
                (QoS::ExactlyOnce, Some(position)) => {
                    group.lend(number, waiting, member.subscriber);
                    self.handing.push((member, loan, position));
                }
                (QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                    group.lend(number, waiting.clone(), member.subscriber);
                    self.hand_over(&member, qos, &waiting, None, Some(loan));
                }
            }
        }
    }

    pub(crate) fn hand_over(
        &mut self,
        member: &Member,
        qos: QoS,
        waiting: &Waiting,
        position: Option<Position>,
        loan: Option<Loan>,
    ) {
        let lending = Lending {
            to: member.subscriber,
            epoch: member.epoch.unwrap_or_default(),
            message: waiting.message.clone(),
            qos,
            retain: waiting.message.retain && member.grant.retain_as_published,
            ids: member.ids.clone(),
            position,
            loan,
        };
        let home = member.subscriber.slot.shard();
        self.errands.push_back((home, Errand::Lend(Box::new(lending))));
    }

    /// A member is done with a message.
    pub(crate) fn settled(&mut self, now: Time, loan: Loan) {
        let Some(group) = self.groups.of(loan.group) else { return };
        let settled = group.settle(loan.number);
        group.give_credit(loan);
        if let Some(waiting) = settled {
            self.group_is_done(loan.group, waiting.position);
        }
        self.serve(now, loan.group);
    }

    /// A member could not keep a message.
    pub(crate) fn returned(&mut self, now: Time, loan: Loan) {
        match self.groups.of(loan.group) {
            Some(group) => {
                group.take_back(loan.number);
                group.give_credit(loan);
                self.serve(now, loan.group);
            }
            None => self.ledger.drop(DropReason::SessionEnded, 1),
        }
    }

    /// The group's part in a stored message is over.
    fn group_is_done(&mut self, at: Subscriber, position: Option<Position>) {
        let Some(position) = position else { return };
        if self.groups.of(at).is_some_and(|group| group.is_durable) {
            self.group_operations
                .push((at.holder, Operation::Done { delivery: DeliveryId::own(position) }));
        }
    }

    /// Tells the group that this session is done with what it lent.
    pub(crate) fn settle(&mut self, loan: Loan) {
        self.errands.push_back((loan.group.slot.shard(), Errand::Settle(loan)));
    }

    pub(crate) fn return_loan(&mut self, loan: Loan) {
        self.errands.push_back((loan.group.slot.shard(), Errand::Return(loan)));
    }
}

impl Shard {
    /// Has the log know which members get messages of QoS 2, before they get them.
    pub(crate) fn record_handing(&mut self, now: Time) {
        for (member, loan, position) in std::mem::take(&mut self.clients.handing) {
            let Some(group) = self.clients.groups.of(loan.group) else {
                self.clients.ledger.drop(DropReason::SessionEnded, 1);
                continue;
            };
            let Some(waiting) = group.lent(loan.number) else { continue };
            let operation = Operation::Handed {
                position,
                to: member.subscriber.holder,
                retain: waiting.message.retain && member.grant.retain_as_published,
                ids: member.ids.clone(),
            };
            let holder = loan.group.holder;
            let waits = StoredFor::Handing(self.clients.handings.add((member, loan, position)));
            self.commit(now, holder, GROUP_EPOCH, vec![operation], waits);
        }
    }

    /// The log knows: the member gets it.
    pub(crate) fn handed(&mut self, number: u64) {
        let Some((member, loan, position)) = self.clients.handings.take(number) else { return };
        let Some(group) = self.clients.groups.of(loan.group) else {
            return self.clients.ledger.drop(DropReason::SessionEnded, 1);
        };
        let Some(waiting) = group.hand(loan.number) else { return };
        let qos = QoS::ExactlyOnce;
        self.clients.hand_over(&member, qos, &waiting, Some(position), Some(loan));
    }

    /// A message from a group for a session of this shard.
    pub(crate) fn borrow(&mut self, now: Time, lending: Lending) {
        let Lending { to, epoch, message, qos, retain, ids, position, loan } = lending;
        let Some((index, session)) = self.clients.sessions.of(to) else {
            return self.cannot_borrow(position, loan);
        };
        let is_here = session.connection != NONE && session.epoch == epoch;
        if !is_here && position.is_none() {
            return self.cannot_borrow(None, loan);
        }
        let name = session.name.as_client();
        let topic = message.topic();
        let verdict = self.clients.gate.permit(name, Action::Receive, topic.as_str());
        let position = position.filter(|_| session.durable);
        if verdict != Verdict::Yes {
            let of = loan.map(|loan| loan.group.holder);
            let stored = position.map(|position| DeliveryId { position, of });
            self.clients.drop(index, topic, DropReason::NotPermitted, stored);
            return loan.into_iter().for_each(|loan| self.clients.settle(loan));
        }
        if qos == QoS::AtMostOnce && message.is_expired(now) {
            // It took too long on its way [MQTT-3.3.2-5]; what waits is looked at when it is sent.
            self.clients.ledger.expired += 1;
            return;
        }
        if qos == QoS::AtMostOnce {
            let mut frames = std::mem::take(&mut self.frames);
            let mut out = Outgoing::from_message(&message, &mut frames);
            let manner = Manner { qos, retain, position: None, ids: &ids };
            self.clients.deliver_at_most_once(now, index, manner, &mut out);
            self.frames = frames;
            return;
        }
        let lender = loan.map(|loan| Box::new(Lender::Loan(loan)));
        self.clients.wait(index, Queued { message, position, qos, retain, ids, lender });
        self.clients.pump_queue(now, index);
    }

    /// The session is away, or gone: another member gets it, unless it is the session's own.
    fn cannot_borrow(&mut self, position: Option<Position>, loan: Option<Loan>) {
        match (position, loan) {
            (None, Some(loan)) => self.clients.return_loan(loan),
            (None, None) => self.clients.ledger.drop(DropReason::Offline, 1),
            (Some(_), loan) => {
                self.clients.ledger.drop(DropReason::SessionEnded, 1);
                loan.into_iter().for_each(|loan| self.clients.settle(loan));
            }
        }
    }
}

impl Session {
    /// Takes out what goes back to its group when the connection is lost: what has QoS 1, and of
    /// QoS 2 what the log does not say is the session's and has not gone out.
    pub(crate) fn take_returnable(&mut self) -> Vec<Loan> {
        let mut loans = Vec::new();
        let mut take = |delivery: &Queued, was_sent: bool| {
            let goes_back =
                delivery.qos == QoS::AtLeastOnce || (delivery.position.is_none() && !was_sent);
            let loan = delivery.loan().filter(|_| goes_back);
            loans.extend(loan);
            loan.is_none()
        };
        self.inflight.retain(|inflight| {
            inflight.delivery.as_ref().is_none_or(|delivery| take(delivery, inflight.was_sent))
        });
        self.queue.retain(|queued| take(queued, false));
        loans
    }

    /// What it still has of groups.
    pub(crate) fn loans(&self) -> Vec<Loan> {
        let inflight = self.inflight.iter().filter_map(|found| found.delivery.as_ref());
        inflight.chain(self.queue.iter_here()).filter_map(Queued::loan).collect()
    }
}
