//! What the homes of sessions and of groups tell each other, on the same shard or by mail.
//!
//! Errands from one shard to another keep their order, and none is ever lost but for messages of
//! QoS 0: those use the credit between the two shards, as parcels do, and are dropped without it.
//! What a group lends is bounded by its members' credit, and the others are as rare as connections
//! and subscriptions.

use bellbird_codec::QoS;
use bellbird_topics::Namespace;

use crate::connection::ReplyRef;
use crate::contract::Subscriber;
use crate::identity::Position;
use crate::message::Message;
use crate::subscription::{Grant, SubscriptionIds};

/// One errand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// To a group's home: a session subscribes, or changes its subscription.
    Join {
        /// Which group.
        group: GroupName,
        /// Which session.
        subscriber: Subscriber,
        /// What it was granted.
        grant: Grant,
        /// The identifier of its subscription.
        ids: SubscriptionIds,
        /// The SUBACK that waits for it; none after a restart.
        reply: Option<ReplyRef>,
    },
    /// To a group's home: a session unsubscribes, or ends.
    Leave {
        /// Which group.
        group: GroupName,
        /// Which session.
        subscriber: Subscriber,
        /// The UNSUBACK that waits for it.
        reply: Option<ReplyRef>,
    },
    /// Back to the session's home: the view shows it.
    Shown(ReplyRef),
    /// To a group's home: a member is connected.
    Ready {
        /// Which group.
        group: GroupName,
        /// Which member.
        subscriber: Subscriber,
        /// Counts its connections.
        epoch: u32,
        /// How many messages it takes before it acknowledges one.
        credit: u32,
    },
    /// To a group's home: a member has lost its connection.
    Gone {
        /// Which group.
        group: GroupName,
        /// Which member.
        subscriber: Subscriber,
    },
    /// To a member's home: here is a message.
    Lend(Box<Lending>),
    /// To a group's home: a member is done with a message.
    Settle(Loan),
    /// To a group's home: a member could not keep a message.
    Return(Loan),
}

impl Errand {
    /// What it counts against the credit between two shards: none for errands that need none.
    pub fn size_bytes(&self) -> Option<usize> {
        match self {
            Self::Lend(lending) if lending.loan.is_none() => {
                Some(lending.message.size_bytes() + LENDING_BYTES)
            }
            Self::Lend(_)
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Shown(_)
            | Self::Ready { .. }
            | Self::Gone { .. }
            | Self::Settle(_)
            | Self::Return(_) => None,
        }
    }
}

/// How a group is known: it is a queue for one share name and filter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupName {
    /// Its namespace.
    pub namespace: Namespace,
    /// The whole filter, `$share/{group}/{filter}`.
    pub name: Box<str>,
}

/// A message on its way from a group to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lending {
    /// Who gets it.
    pub to: Subscriber,
    /// On which connection.
    pub epoch: u32,
    /// The message.
    pub message: Message,
    /// The lower of the published and the granted QoS.
    pub qos: QoS,
    /// The RETAIN flag it is sent with.
    pub retain: bool,
    /// The identifiers of the member's subscription.
    pub ids: SubscriptionIds,
    /// Where it is stored, if it is the session's own from here on: at QoS 2.
    pub position: Option<Position>,
    /// What to tell the group afterwards; nothing at QoS 0.
    pub loan: Option<Loan>,
}

/// Names a message that a group has lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loan {
    /// The group.
    pub group: Subscriber,
    /// Its number for the message.
    pub number: u64,
    /// The member.
    pub to: Subscriber,
    /// The member's connection, whose credit it used.
    pub epoch: u32,
}

/// Fixed part of what a message of QoS 0 counts, for [`Errand::size_bytes`].
const LENDING_BYTES: usize = 128;
