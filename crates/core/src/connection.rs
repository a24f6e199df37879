//! A socket as the core sees it: its phase, its parked input, its unanswered requests.

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_codec::{Packet, PacketId, Version};
use smallvec::SmallVec;

use crate::aliases::Aliases;
use crate::auth::{Exchange, Proof};
use crate::config::{Config, Terms};
use crate::connect::Proven;
use crate::contract::Subscriber;
use crate::exclusive::Claims;
use crate::identity::{ConnectionId, ShardId, Ticket, Time};
use crate::message::Message;
use crate::permit::{Action, Verdict};
use crate::publish::Retaining;
use crate::rate::Buckets;
use crate::session::NONE;
use crate::slots::Slots;
use crate::subscription::Subscription;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// The client said DISCONNECT.
    Client,
    /// The network, or a client that left without a word.
    Lost,
    /// No packet within one and a half times the keep alive [MQTT-3.1.2-22].
    KeepAlive,
    /// Another connection with the same client identifier [MQTT-3.1.4-3].
    TakenOver,
    /// The node ended.
    Stopped,
    /// The client broke the protocol or sent bytes that are no packet.
    Protocol,
    /// The operator ended it.
    Kicked,
    /// The node's memory was exhausted, and most of it was kept for this connection.
    Memory,
    /// Something it waited for was not stored in time, or cannot be any more.
    Storage,
    /// Too many others had not been let in either, and it was the one that had waited longest.
    Crowded,
}

impl Cause {
    /// All of them, in the order of [`field@crate::Traffic::closed`].
    pub const ALL: [Self; 10] = [
        Self::Client,
        Self::Lost,
        Self::KeepAlive,
        Self::TakenOver,
        Self::Stopped,
        Self::Protocol,
        Self::Kicked,
        Self::Memory,
        Self::Storage,
        Self::Crowded,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Lost => "lost",
            Self::KeepAlive => "keep_alive",
            Self::TakenOver => "taken_over",
            Self::Stopped => "stopped",
            Self::Protocol => "protocol",
            Self::Kicked => "kicked",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Crowded => "crowded",
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// CONNECT has not come.
    Fresh,
    /// CONNECT named a method: AUTH packets follow.
    Authenticating,
    /// CONNECT was accepted; CONNACK waits for the log.
    Opening,
    /// CONNACK is out.
    Open,
    /// Nothing is read any more; the shell closes it.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    pub(crate) version: Version,
    /// PUBLISH packets of QoS 1 that are not answered.
    pub(crate) unanswered: u16,
    /// SUBSCRIBEs and UNSUBSCRIBEs whose changes of the view are under way.
    pub(crate) unapplied: u16,
    /// The number of the listener it came through.
    pub(crate) listener: u8,
    /// The settings of its beginning: what it was promised holds to its end.
    pub(crate) config: Arc<Config>,
    pub(crate) parks: Parks,
    /// Milliseconds without a packet after which it is closed; 0 never [MQTT-3.1.2-22].
    pub(crate) silence_ms_max: u32,
    pub(crate) session: u32,
    /// This publisher's queue of releases, or [`NONE`] while it has none.
    pub(crate) publisher: u32,
    pub(crate) opened_at: Time,
    pub(crate) last_seen: Time,
    /// When the wheel looks at it; earlier looks are of insertions that this one replaced.
    pub(crate) look_at: Time,
    rare: Option<Box<Rare>>,
}

/// Why a connection's input is parked; it is resumed when no reason is left.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Parks(u8);

impl Parks {
    /// CONNACK waits for the log.
    pub(crate) const CONNACK: Self = Self(1);
    /// A change of the view is under way.
    pub(crate) const APPLY: Self = Self(2);
    /// Somebody outside decides.
    pub(crate) const ASK: Self = Self(4);
    /// As many messages as Receive Maximum allows wait for the log.
    pub(crate) const STORE: Self = Self(8);
    /// The mailbox to another shard is full.
    pub(crate) const MAIL: Self = Self(16);
    /// The client does not read what it is sent.
    pub(crate) const OUTBOX: Self = Self(32);
    /// The disk is full, and so much is withheld that no more is taken.
    pub(crate) const ROOM: Self = Self(64);
    /// So much was published that nothing more is taken for a while.
    pub(crate) const RATE: Self = Self(128);

    pub(crate) fn add(&mut self, park: Self) {
        self.0 |= park.0;
    }

    pub(crate) fn remove(&mut self, park: Self) {
        self.0 &= !park.0;
    }

    pub(crate) fn contains(self, park: Self) -> bool {
        self.0 & park.0 != 0
    }

    /// Whether it waits for the log or for its pace, and would read an answer.
    pub(crate) fn is_held(self) -> bool {
        self.0 & (Self::STORE.0 | Self::ROOM.0 | Self::RATE.0) != 0 && self.0 & Self::OUTBOX.0 == 0
    }

    /// Whether a packet that was read with those before it is taken: behind a SUBSCRIBE whose
    /// change is under way only others are. Changes get into the view in their order, and their
    /// answers out; whatever else the client says is to find them there.
    pub(crate) fn let_pass(self, packet: &Packet<'_>) -> bool {
        !self.contains(Self::APPLY)
            || matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_))
            // Handed in ahead of what is held.
            || (matches!(packet, Packet::Pingreq) && self.is_held())
    }

    /// Whether it is parked for another reason than that it does not read.
    pub(crate) fn is_not_its_fault(self) -> bool {
        self.0 & !Self::OUTBOX.0 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What most connections have none of while they are idle.
#[derive(Default, Debug)]
pub(crate) struct Rare {
    pub(crate) replies: VecDeque<Reply>,
    /// The number of `replies`' front.
    pub(crate) first_reply: u64,
    /// Answers to what this connection's parked packet asked.
    pub(crate) answers: Vec<(Action, Box<str>, Verdict)>,
    /// What was asked last and is not answered.
    pub(crate) asked: Option<(Action, Box<str>)>,
    /// The outcome of CONNECT, until CONNACK is out.
    pub(crate) opening: Option<Opening>,
    /// Enhanced authentication, if CONNECT named a method.
    pub(crate) exchange: Option<Exchange>,
    /// Topic aliases, both ways.
    pub(crate) aliases: Option<Aliases>,
    /// What the transport has proven of the client, until CONNECT.
    pub(crate) proven: Option<Proven>,
    /// How much it has published of late, where that is bounded.
    pub(crate) paces: Buckets,
}

impl Rare {
    fn is_idle(&self) -> bool {
        let Self {
            replies,
            first_reply: _,
            answers,
            asked,
            opening,
            exchange,
            aliases,
            proven,
            paces,
        } = self;
        replies.is_empty()
            && answers.is_empty()
            && asked.is_none()
            && opening.is_none()
            && exchange.is_none()
            && aliases.is_none()
            && proven.is_none()
            && paces.is_untouched()
    }
}

/// CONNACK as it will be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Opening {
    pub(crate) session_present: bool,
    pub(crate) assigned_client_id: bool,
    /// Says what to announce as Session Expiry Interval if it is not what the client asked for.
    pub(crate) expiry_secs: Option<u32>,
    /// The same for Server Keep Alive.
    pub(crate) keep_alive_secs: Option<u16>,
    pub(crate) proof: Option<Proof>,
}

/// A SUBACK or UNSUBACK that waits for the view, and for the log if the session is durable.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: ReplyKind,
    pub(crate) codes: Codes,
    /// Reports that are still to come; 0 sends it.
    pub(crate) waiting: usize,
    /// Changes of the view among them; while there are any, the client's input waits but for what
    /// is like it.
    pub(crate) unapplied: usize,
    /// Walks that start when it is out.
    pub(crate) walks: Wanted,
}

/// A code for each filter; most packets have one or a few.
pub(crate) type Codes = SmallVec<[u8; 16]>;

/// Subscriptions that want the retained messages of their filters.
pub(crate) type Wanted = SmallVec<[(Arc<str>, Subscription); 1]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyKind {
    Suback(PacketId),
    Unsuback(PacketId),
    /// Nobody asked, and nobody is answered.
    Unasked,
}

impl Connection {
    fn new(id: ConnectionId, now: Time, listener: u8, config: Arc<Config>) -> Self {
        Self {
            generation: id.generation,
            phase: Phase::Fresh,
            version: Version::V311,
            unanswered: 0,
            unapplied: 0,
            listener,
            config,
            parks: Parks::default(),
            silence_ms_max: 0,
            session: NONE,
            publisher: NONE,
            opened_at: now,
            last_seen: now,
            look_at: Time(0),
            rare: None,
        }
    }

    /// Whether it has not come through CONNECT and what that began.
    pub(crate) fn is_stranger(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Authenticating)
    }

    /// What its listener offers it.
    pub(crate) fn terms(&self) -> &Terms {
        self.config.terms(self.listener)
    }

    /// The rare things, to add one.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The rare things, if it has any.
    pub(crate) fn rare_if_any(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    /// Nothing of them is wanted any more.
    pub(crate) fn forget_rare(&mut self) {
        self.rare = None;
    }

    /// Gives the memory back once there are none.
    pub(crate) fn forget_rare_if_idle(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_idle()) {
            self.rare = None;
        }
    }

    /// The answer that was given to this question for the packet at the front of the input.
    pub(crate) fn answer(&self, action: Action, subject: &str) -> Option<Verdict> {
        self.rare.as_ref()?.answers.iter().find_map(|(asked, about, verdict)| {
            (*asked == action && **about == *subject).then_some(*verdict)
        })
    }
}

/// A shard's connections, by the slots the shell gave them.
#[derive(Default, Debug)]
pub(crate) struct Connections {
    slots: Slots<Connection>,
    count: usize,
}

impl Connections {
    pub(crate) fn open(&mut self, id: ConnectionId, now: Time, listener: u8, config: Arc<Config>) {
        let former = self.slots.put(id.index, Connection::new(id, now, listener, config));
        assert!(former.is_none(), "the shell opens connections in free slots");
        self.count += 1;
    }

    pub(crate) fn close(&mut self, id: ConnectionId) -> Option<Connection> {
        self.live(id)?;
        self.count -= 1;
        self.slots.take(id.index)
    }

    /// The connection, unless its slot has been used again since.
    pub(crate) fn live(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.index)?;
        (connection.generation == id.generation).then_some(connection)
    }

    /// The connection in this slot.
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index)
    }

    pub(crate) fn id_at(&self, index: u32) -> Option<ConnectionId> {
        let generation = self.slots.get(index)?.generation;
        Some(ConnectionId { index, generation })
    }

    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        let id = |(index, found): (u32, &Connection)| ConnectionId {
            index,
            generation: found.generation,
        };
        self.slots.iter().map(id).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Names a SUBACK or UNSUBACK that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyRef {
    /// Whose.
    pub connection: ConnectionId,
    /// Counts its replies.
    pub number: u64,
}

/// What a change of the view is waited for by.
#[derive(Debug)]
pub(crate) enum AppliedFor {
    Reply(ReplyRef),
    /// A reply with exclusive subscriptions, which the view has decided about.
    Claims(Box<Claims>),
    Retaining(Box<Retaining>),
    /// A reply on another shard, or on this one.
    Group(ReplyRef, ShardId),
    System(Message),
}

/// Changes of the view under way.
#[derive(Default, Debug)]
pub(crate) struct Changes {
    next: u64,
    /// The newest that is applied; they are applied in order.
    last_applied: u64,
    /// In the order of their tickets.
    waiting: VecDeque<(Ticket, AppliedFor)>,
}

impl Changes {
    pub(crate) fn ticket(&mut self, waits: Option<AppliedFor>) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        if let Some(waits) = waits {
            self.waiting.push_back((ticket, waits));
        }
        ticket
    }

    pub(crate) fn applied(&mut self, ticket: Ticket) -> Option<AppliedFor> {
        self.last_applied = ticket.0;
        self.waiting.pop_front_if(|(first, _)| *first == ticket).map(|(_, waits)| waits)
    }

    /// Whether the view has still to decide about a claim of this session.
    pub(crate) fn is_claimed(&self, subscriber: Subscriber, filter: &str) -> bool {
        self.waiting.iter().any(|(_, waits)| match waits {
            AppliedFor::Claims(claims) => claims.speaks_of(subscriber, filter),
            AppliedFor::Reply(_)
            | AppliedFor::Retaining(_)
            | AppliedFor::Group(..)
            | AppliedFor::System(_) => false,
        })
    }

    /// Whether every shard sees this change.
    pub(crate) fn is_applied(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.last_applied
    }
}
