//! Publishers' messages between acceptance and acknowledgement, in each publisher's order.
//!
//! A message with a durable holder waits here until it is stored; whatever the same publisher
//! sends after it and that must not overtake it waits behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bellbird_codec::{PacketId, ReasonCode};

use crate::connection::ReplyRef;
use crate::contract::Subscriber;
use crate::errand::Loan;
use crate::group::Member;
use crate::identity::{ConnectionId, Holder, Lane, Position, Ticket, Time};
use crate::message::Message;
use crate::route::Route;
use crate::will::AfterWill;

/// One message of a publisher that waits.
#[derive(Debug)]
pub(crate) struct Release {
    /// Reports of the log that are still to come.
    pub(crate) waiting: u8,
    /// What the client is answered then.
    pub(crate) answer: Option<Answer>,
    /// The holders that get it then.
    pub(crate) stored: Option<StoredDelivery>,
    /// What the log is told then, if it is a will.
    pub(crate) after: Option<Box<AfterWill>>,
}

impl Release {
    /// Holds up what comes after it.
    pub(crate) fn waiting() -> Self {
        Self { waiting: 1, answer: None, stored: None, after: None }
    }

    /// Only an answer that waits for its turn.
    pub(crate) fn of(answer: Option<Answer>) -> Self {
        Self { waiting: 0, answer, ..Self::waiting() }
    }
}

/// What a publisher is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: AnswerKind,
    pub(crate) packet_id: PacketId,
    pub(crate) reason: ReasonCode,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnswerKind {
    Puback,
    /// To the session's connection at the time: the exchange belongs to the session.
    Pubrec {
        session: u32,
        holder: Holder,
    },
    /// A PUBREC that refuses: there is no exchange, only an answer to this connection.
    Refusal,
    Pubcomp,
}

/// The durable holders' share of a message.
#[derive(Debug)]
pub(crate) struct StoredDelivery {
    pub(crate) message: Message,
    pub(crate) origin: Holder,
    pub(crate) position: Option<Position>,
    pub(crate) to: StoredTo,
}

/// What becomes of a message once it is stored.
#[derive(Debug)]
pub(crate) enum StoredTo {
    /// These get it.
    Holders(Arc<Route>),
    /// Nobody before its time.
    Later { due: Time, lane: Lane },
}

/// Where a message stands among those of its publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) queue: u32,
    number: u64,
}

/// What a report of the log is waited for by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StoredFor {
    /// Nobody.
    Nothing,
    /// A message's own record, which says its position.
    Message(Place),
    /// Another record that the acknowledgement of a message speaks for.
    Beside(Place),
    /// A SUBACK or UNSUBACK.
    Reply(ReplyRef),
    /// A CONNACK.
    Connack(ConnectionId),
    /// Deliveries of QoS 2 of this session, which the log has to know of, or more packet ids.
    Session { index: u32, holder: Holder, reserved: Option<PacketId> },
    /// A group's first record: the view may show that it is durable.
    Group(Box<NewGroup>),
    /// That a message of a group is a member's, by its number in [`Handings`].
    Handing(u64),
    /// The end of a session, by its number in [`crate::ending::Endings`].
    Ending(u64),
}

/// A group that the log is to hear of, for its first durable member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NewGroup {
    pub(crate) group: Subscriber,
    pub(crate) member: Subscriber,
    pub(crate) reply: Option<ReplyRef>,
}

/// Messages of QoS 2 that a group hands to a member once the log knows.
#[derive(Default, Debug)]
pub(crate) struct Handings {
    next: u64,
    waiting: BTreeMap<u64, Handing>,
}

/// To whom, under which loan, and where it is stored.
pub(crate) type Handing = (Member, Loan, Position);

impl Handings {
    pub(crate) fn add(&mut self, handing: Handing) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, handing);
        self.next
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Handing> {
        self.waiting.remove(&number)
    }
}

/// All publishers of a shard that wait for something, and all tickets of its durable outputs.
#[derive(Default, Debug)]
pub(crate) struct Releases {
    queues: Vec<Queue>,
    free: Vec<u32>,
    tickets: VecDeque<Option<StoredFor>>,
    /// The ticket of the front of `tickets`.
    first_ticket: u64,
}

/// The waiting messages of one publisher. It outlives the connection until it is empty.
#[derive(Default, Debug)]
struct Queue {
    connection: Option<ConnectionId>,
    entries: VecDeque<Release>,
    /// The number of the front.
    first: u64,
}

impl Releases {
    /// A queue for a connection that has none.
    pub(crate) fn open(&mut self, connection: ConnectionId) -> u32 {
        let queue = match self.free.pop() {
            Some(queue) => queue,
            None => {
                self.queues.push(Queue::default());
                u32::try_from(self.queues.len() - 1).expect("fewer publishers than connections")
            }
        };
        self.queues[queue as usize].connection = Some(connection);
        queue
    }

    /// The connection is gone; what waits is still released, but not acknowledged.
    pub(crate) fn orphan(&mut self, queue: u32) {
        let orphaned = &mut self.queues[queue as usize];
        orphaned.connection = None;
        if orphaned.entries.is_empty() {
            self.free.push(queue);
        }
    }

    /// A place at the end of this queue, which holds up what comes after it until it is filled.
    pub(crate) fn take_place(&mut self, queue: u32) -> Place {
        let entries = &mut self.queues[queue as usize];
        entries.entries.push_back(Release::waiting());
        let number = entries.first + entries.entries.len() as u64 - 1;
        Place { queue, number }
    }

    pub(crate) fn fill(&mut self, place: Place, release: Release) {
        let Release { waiting, answer, stored, after } = release;
        let entry = self.entry(place);
        (entry.waiting, entry.answer, entry.stored) = (waiting, answer, stored);
        entry.after = after.or(entry.after.take());
    }

    pub(crate) fn len(&self, queue: u32) -> usize {
        self.queues[queue as usize].entries.len()
    }

    pub(crate) fn connection(&self, queue: u32) -> Option<ConnectionId> {
        self.queues[queue as usize].connection
    }

    /// Takes the front of the queue if it waits for nothing.
    pub(crate) fn pop_ready(&mut self, index: u32) -> Option<Release> {
        let queue = &mut self.queues[index as usize];
        if queue.entries.front()?.waiting > 0 {
            return None;
        }
        queue.first += 1;
        let release = queue.entries.pop_front();
        if queue.entries.is_empty() && queue.connection.is_none() {
            self.free.push(index);
        }
        release
    }

    /// A ticket for a durable output.
    pub(crate) fn ticket(&mut self, waits: StoredFor) -> Ticket {
        self.tickets.push_back(Some(waits));
        Ticket(self.first_ticket + self.tickets.len() as u64 - 1)
    }

    /// The number of the next ticket.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.first_ticket + self.tickets.len() as u64
    }

    /// Whether all tickets before this one are reported.
    pub(crate) fn are_stored_before(&self, ticket: u64) -> bool {
        self.tickets.is_empty() || self.first_ticket >= ticket
    }

    /// What waits for the tickets from one number on, up to another, that are not reported.
    pub(crate) fn waiting(&self, from: u64, to: u64) -> impl Iterator<Item = &StoredFor> {
        let place = |ticket: u64| usize::try_from(ticket.saturating_sub(self.first_ticket));
        let (skipped, end) = (place(from).unwrap_or(0), place(to).unwrap_or(0));
        self.tickets.iter().take(end).skip(skipped).filter_map(Option::as_ref)
    }

    /// A durable output is stored at this position. Returns who waited for it.
    pub(crate) fn stored(&mut self, ticket: Ticket, position: Position) -> StoredFor {
        let index = usize::try_from(ticket.0 - self.first_ticket).expect("tickets in memory");
        let waits = self
            .tickets
            .get_mut(index)
            .and_then(Option::take)
            .expect("the shell reports each ticket once, after it was given out");
        while self.tickets.front().is_some_and(Option::is_none) {
            self.tickets.pop_front();
            self.first_ticket += 1;
        }
        match waits {
            StoredFor::Message(place) => {
                let release = self.entry(place);
                release.waiting -= 1;
                if let Some(stored) = &mut release.stored {
                    stored.position = Some(position);
                }
            }
            StoredFor::Beside(place) => self.entry(place).waiting -= 1,
            StoredFor::Nothing
            | StoredFor::Reply(_)
            | StoredFor::Connack(_)
            | StoredFor::Session { .. }
            | StoredFor::Group(_)
            | StoredFor::Handing(_)
            | StoredFor::Ending(_) => {}
        }
        waits
    }

    /// Durable outputs that are not reported stored.
    pub(crate) fn tickets_open(&self) -> usize {
        self.tickets.len()
    }

    fn entry(&mut self, place: Place) -> &mut Release {
        let queue = &mut self.queues[place.queue as usize];
        let index = usize::try_from(place.number - queue.first).expect("entries in memory");
        queue.entries.get_mut(index).expect("a release stays until its reports have come")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_in_order_whatever_the_order_of_reports() {
        let mut releases = Releases::default();
        let queue = releases.open(ConnectionId { index: 1, generation: 1 });
        let tickets: Vec<Ticket> = (0..3)
            .map(|_| {
                let place = releases.take_place(queue);
                releases.ticket(StoredFor::Message(place))
            })
            .collect();
        let place = releases.take_place(queue);
        releases.fill(place, Release::of(None));
        releases.stored(tickets[2], Position(9));
        assert!(releases.pop_ready(queue).is_none());
        releases.stored(tickets[0], Position(7));
        assert!(releases.pop_ready(queue).is_some());
        assert!(releases.pop_ready(queue).is_none());
        releases.orphan(queue);
        releases.stored(tickets[1], Position(8));
        for _ in 0..3 {
            assert!(releases.pop_ready(queue).is_some());
        }
        assert_eq!(releases.tickets_open(), 0);
        assert_eq!(releases.open(ConnectionId { index: 2, generation: 1 }), queue, "used again");
    }
}
