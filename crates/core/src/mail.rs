//! Letters between shards: batches of deliveries, and the credit that bounds them.

use std::sync::Arc;

use crate::contract::Subscriber;
use crate::errand::Errand;
use crate::identity::{Holder, Position};
use crate::message::Message;
use crate::subscription::{Grant, SubscriptionIds};

/// A letter from one shard to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mail {
    /// Messages for holders that live on the receiving shard, in order.
    Deliver(Vec<Parcel>),
    /// Errands between the homes of sessions and of groups, in order.
    Errands(Vec<Errand>),
    /// The receiver has dealt with so many bytes: the sender may send as many more.
    Credit(usize),
}

/// One message for some holders of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// The message.
    pub message: Message,
    /// Where it is stored, if a durable holder waited for that.
    pub position: Option<Position>,
    /// The publishing session, for No Local.
    pub origin: Holder,
    /// The holders that matched.
    pub targets: Arc<[Target]>,
    /// Which of them this parcel is for.
    pub share: Share,
}

impl Parcel {
    /// What it counts against the credit between two shards.
    pub fn size_bytes(&self) -> usize {
        self.message.size_bytes() + PARCEL_BYTES + self.targets.len() * TARGET_BYTES
    }
}

/// One holder that a message matched, with its overlapping subscriptions merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Who.
    pub subscriber: Subscriber,
    /// The highest granted QoS [MQTT-3.3.4-2], and the flags that any of them has.
    pub grant: Grant,
    /// The identifiers of those that have one [MQTT-3.3.4-4].
    pub ids: SubscriptionIds,
}

/// Which part of a message's holders is served: each message may be served in two steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Those that need not wait for the log.
    Live,
    /// Those that get it after it was stored, in the publisher's order.
    Stored,
}

impl Share {
    /// Whether `grant` belongs to this share of a message published with QoS 1 or 2.
    ///
    /// A durable session gets all that was published with QoS 1 or 2 in one order, so also what
    /// it was granted at QoS 0 only: that belongs to [`Share::Stored`] but is never recorded.
    pub fn takes(self, grant: Grant) -> bool {
        grant.durable == (self == Self::Stored)
    }
}

/// Fixed part of a parcel's size, and what each target adds, for [`Parcel::size_bytes`].
const PARCEL_BYTES: usize = 64;
const TARGET_BYTES: usize = 8;
