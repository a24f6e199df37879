//! The numbers by which shards, connections, holders and messages are known.
//!
//! None of them says where a thing lives on disk, and none on disk says which shard it lives in:
//! the number of shards may change at a restart.

use std::fmt;

/// One event loop with its share of the sessions. At most [`crate::limits::SHARDS_MAX`] of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The shard's place in an array of shards.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A socket as a shard knows it: a slot that is used again, and the generation that tells uses
/// apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    /// The slot, dense from 0.
    pub index: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// Whatever owns a queue: a session today; groups, connectors and rules later.
///
/// `number` is never given to another client while any record names it; `incarnation` grows when the same client begins anew, so that a
/// record written for the old life is not read as one for the new.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Holder {
    /// The node-wide number.
    pub number: u64,
    /// The life of that number, from 1.
    pub incarnation: u32,
}

/// Where a stored message stands in the log: an identity for ever, not an offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

/// One stored delivery among all of its holder: a session may get one message from each group it
/// is a member of, and once more by its own subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryId {
    /// Which message.
    pub position: Position,
    /// The group that handed it over; none for what the message's record says.
    pub of: Option<Holder>,
}

impl DeliveryId {
    /// The delivery that the message's record names the holder for.
    pub fn own(position: Position) -> Self {
        Self { position, of: None }
    }
}

/// Names a durable output until it is reported stored. Counts up per shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// The publisher's lane: hash of namespace and client identifier. The log keeps the order within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lane(pub u32);

/// Every message, logged or not, has one: the node's start, the shard and a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MessageId {
    /// How often the node had been started on its data before.
    pub start: u32,
    /// The shard that received it.
    pub shard: u8,
    /// Counts the shard's messages of this start.
    pub counter: u64,
}

/// Milliseconds since the Unix epoch, as the shell's one clock tells them: at start the later of
/// the wall clock and the last time in the log, then monotonic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// This time and `secs` seconds more; saturates at the end of time.
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this time, 0 if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.incarnation)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.start, self.shard, self.counter)
    }
}
