//! The contract of the project: what goes into a shard and what comes out.
//!
//! Effects leave as [`Output`]; their results come back as [`Input`]. The server, the simulation
//! and later the gateways plug in here and nowhere else.

use std::sync::Arc;

use bellbird_codec::{DecodeError, Packet, Version};
use bellbird_topics::Namespace;
use smallvec::SmallVec;

use crate::auth::{AuthOutcome, AuthStep};
use crate::config::Config;
use crate::connect::{Hello, Proven};
use crate::durability::Durability;
pub use crate::event::Event;
use crate::identity::{ConnectionId, Holder, Position, ShardId, Ticket, Time};
use crate::mail::Mail;
use crate::memory::Memory;
use crate::message::Message;
use crate::permit::{Gate, Question, Verdict};
use crate::record::Record;
use crate::storage::Storage;
use crate::subscription::Granted;

/// Something happened that the shard must know.
#[derive(Debug)]
pub enum Input<'a> {
    /// The listener accepted a connection; it says CONNECT next. This shard is its lobby.
    Opened {
        /// Chosen by the shell; its slot is free.
        connection: ConnectionId,
        /// Which listener: the place of its terms in [`crate::Config::listeners`].
        listener: u8,
    },
    /// The transport has proven who is at the other end of a connection that has said nothing yet.
    Proven {
        /// Whose.
        connection: ConnectionId,
        /// Who it is.
        proven: Proven,
    },
    /// A connection moved in from its lobby; this shard is its home.
    Arrived {
        /// Chosen by the shell; its slot is free.
        connection: ConnectionId,
        /// What it said in CONNECT.
        hello: Box<Hello>,
    },
    /// A packet of a connection.
    Packet {
        /// Whose.
        connection: ConnectionId,
        /// What it says.
        packet: &'a Packet<'a>,
    },
    /// Bytes of a connection that are no packet.
    Malformed {
        /// Whose.
        connection: ConnectionId,
        /// What is wrong with them.
        error: DecodeError,
        /// The version in which to refuse a CONNECT, as far as it could be read.
        version: Option<Version>,
    },
    /// The shell handed bytes of the connection's outbox to the kernel.
    Sent {
        /// Whose.
        connection: ConnectionId,
        /// How many, from the front.
        bytes: usize,
    },
    /// The connection is gone; its slot is free after this.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A letter from another shard; those of one sender arrive in the order they were sent.
    Mail {
        /// The sender.
        from: ShardId,
        /// What it says.
        mail: Mail,
    },
    /// A batch of changes is visible to every shard.
    Applied {
        /// The ticket of the [`Output::Change`].
        ticket: Ticket,
        /// Grows with each batch applied anywhere in the node: the order of retained messages.
        order: u64,
    },
    /// Consecutive durable outputs are stored as their levels of durability demand. Those of one
    /// level are reported in their order; what waits for less may be reported before others that
    /// were handed out earlier.
    Stored {
        /// The first of them.
        first: Ticket,
        /// How many.
        count: u32,
        /// The position of the first one; the others follow it.
        position: Position,
    },
    /// The answer to [`Output::Fetch`].
    Fetched {
        /// Whose queue it is.
        of: Subscriber,
        /// The messages, in the order of the positions; none for one that cannot be read.
        messages: Vec<Option<Message>>,
    },
    /// The answer to [`Output::Authenticate`].
    Authenticated {
        /// Whose input was parked.
        connection: ConnectionId,
        /// What the mechanism says.
        outcome: AuthOutcome,
    },
    /// Other rules are in force from now on.
    Gate(Arc<Gate>),
    /// The node says something about itself, to be retained and sent, but never logged.
    System {
        /// A topic under `$SYS/`.
        topic: &'a str,
        /// What it says; nothing takes back what was said before.
        payload: &'a [u8],
    },
    /// The operator ends a client's connection. Its home is this shard.
    Kick {
        /// The client's namespace.
        namespace: Namespace,
        /// Its identifier.
        client_id: &'a str,
    },
    /// The operator ends a client's session, and its connection if it has one. Its home is this
    /// shard. It is over for good as soon as [`crate::Shard::is_ending`] does not name it any more.
    EndSession {
        /// The client's namespace.
        namespace: Namespace,
        /// Its identifier.
        client_id: &'a str,
    },
    /// The node's memory is as short as this from here on.
    Memory(Memory),
    /// The log takes what must be stored, or not, from here on. After [`Storage::Failed`] nothing
    /// is reported stored any more.
    Storage(Storage),
    /// The node's memory is exhausted, and this connection is to end for it.
    Shed {
        /// Which.
        connection: ConnectionId,
    },
    /// The operator changed settings: they count from here on, but for the terms of connections
    /// that are open. Shards, mailboxes and the number of listeners are as they were.
    Config(Arc<Config>),
    /// The node ends: every client is told, and every session put down.
    Stop,
    /// The answer to [`Output::Ask`].
    Decided {
        /// Whose input was parked.
        connection: ConnectionId,
        /// Yes or no. `Ask` says that nobody had the time to look: to a user name, that the server is
        /// busy, and no to everything else.
        verdict: Verdict,
    },
}

/// Something the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this connection's outbox to its socket, and report [`Input::Sent`].
    Send(ConnectionId),
    /// Close this connection after its outbox has been written, and report [`Input::Closed`].
    Close(ConnectionId),
    /// This connection's parked packets may be handed in again.
    Resume(ConnectionId),
    /// Take this connection's socket and unread bytes to its home shard, and report
    /// [`Input::Arrived`] there. It exists no longer here.
    Move {
        /// Which.
        connection: ConnectionId,
        /// Its home.
        to: ShardId,
        /// What it said in CONNECT.
        hello: Box<Hello>,
    },
    /// Deliver a letter to another shard.
    Mail {
        /// The recipient.
        to: ShardId,
        /// What it says.
        mail: Mail,
    },
    /// Change the view for every shard, then report [`Input::Applied`].
    Change {
        /// Names the batch in the report.
        ticket: Ticket,
        /// In this order.
        changes: ChangeBatch,
    },
    /// Make a record durable, then report [`Input::Stored`]. Tickets are consecutive.
    Store {
        /// Names the record in the report.
        ticket: Ticket,
        /// One of the four durable outputs.
        record: Record,
        /// What the report waits for.
        durability: Durability,
    },
    /// Read messages that were reported stored, then report [`Input::Fetched`]. There is one
    /// question of a holder at a time.
    Fetch {
        /// Whose queue they wait in.
        of: Subscriber,
        /// Where they stand; not empty, and in no order.
        positions: Vec<Position>,
    },
    /// Ask outside whether a client may do something, and report [`Input::Decided`].
    Ask {
        /// Whose input is parked meanwhile.
        connection: ConnectionId,
        /// What it wants.
        question: Question,
    },
    /// Have a mechanism take a step of enhanced authentication, and report
    /// [`Input::Authenticated`].
    Authenticate {
        /// Whose input is parked meanwhile.
        connection: ConnectionId,
        /// What it says.
        step: AuthStep,
    },
    /// Something worth telling an observer, as far as [`crate::Telling`] wants it.
    Event(Event),
}

/// What the shell does with the packets that follow the one just handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Flow {
    /// Hand in the next.
    Continue,
    /// The packet was taken; keep the following ones until [`Output::Resume`] or the end.
    Park,
    /// The packet was not taken; hand it in again after [`Output::Resume`].
    Again,
}

/// What is applied together; most often one change.
pub type ChangeBatch = SmallVec<[Change; 1]>;

/// One change of the node-wide view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A subscription begins or is replaced.
    Subscribe {
        /// The filter's namespace.
        namespace: Namespace,
        /// The filter.
        filter: Arc<str>,
        /// Who.
        subscriber: Subscriber,
        /// With what.
        granted: Granted,
    },
    /// A subscription ends.
    Unsubscribe {
        /// The filter's namespace.
        namespace: Namespace,
        /// The filter.
        filter: Arc<str>,
        /// Who.
        subscriber: Subscriber,
    },
    /// The retained message of a topic is replaced or cleared.
    Retain {
        /// The topic's namespace.
        namespace: Namespace,
        /// The topic.
        topic: Box<str>,
        /// None clears.
        message: Option<Message>,
    },
    /// The retained message of a topic goes if its time is over.
    Expire {
        /// The topic's namespace.
        namespace: Namespace,
        /// The topic.
        topic: Box<str>,
        /// What is over by then.
        now: Time,
    },
}

/// Who a subscription in the view belongs to: the holder and where it lives just now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subscriber {
    /// The holder's home shard and its place there.
    pub slot: Slot,
    /// The holder; tells uses of the slot apart.
    pub holder: Holder,
}

/// A place of a holder in memory: the shard in the upper 8 bits, then a bit that tells groups
/// from sessions, and the index in the lower 23.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u32);

impl Slot {
    /// The slot of the session with this index on this shard; none beyond 2²³ slots.
    pub fn new(shard: ShardId, index: u32) -> Option<Self> {
        (index < GROUP).then_some(Self(u32::from(shard.0) << 24 | index))
    }

    /// The same for a group.
    pub fn of_group(shard: ShardId, index: u32) -> Option<Self> {
        (index < GROUP).then_some(Self(u32::from(shard.0) << 24 | GROUP | index))
    }

    /// Whether it is a group's.
    pub fn is_group(self) -> bool {
        self.0 & GROUP != 0
    }

    /// The home shard.
    pub fn shard(self) -> ShardId {
        ShardId(self.0.to_be_bytes()[0])
    }

    /// The place on that shard.
    pub fn index(self) -> usize {
        (self.0 & (GROUP - 1)) as usize
    }
}

/// The bit that tells groups from sessions.
const GROUP: u32 = 1 << 23;
