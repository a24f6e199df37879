//! One connection, both of its ends: what is on its way, and what the broker said on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bellbird_codec::{SubscribeOptions, Version};
use bellbird_core::Hello;
use bellbird_core::identity::{ConnectionId, ShardId, Ticket, Time};

use crate::auth::Proving;
use crate::life::Presence;

/// A connection from the client's dial to the end of both sides.
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) asked: Asked,
    /// The settings when it was accepted where it is, when CONNECT was taken, and when it came
    /// home.
    pub(crate) settings: usize,
    pub(crate) hello_settings: usize,
    pub(crate) home_settings: usize,
    /// Bytes on their way to the broker, and to the client.
    pub(crate) up: Vec<u8>,
    pub(crate) down: Vec<u8>,
    pub(crate) client_open: bool,
    pub(crate) server_open: bool,
    /// Where the broker has it; none while it moves.
    pub(crate) place: Option<(usize, ConnectionId)>,
    pub(crate) moving: Option<(ShardId, Box<Hello>)>,
    /// Bytes the broker's driver has read and not handed in.
    pub(crate) unread: Vec<u8>,
    /// There may be a packet to hand in.
    pub(crate) runnable: bool,
    /// The shard said that there is something to send.
    pub(crate) announced: bool,
    pub(crate) closing: bool,
    /// Bytes of the outbox that were looked at.
    pub(crate) seen: usize,
    /// Topics that the client's aliases stand for, and how many it may use.
    pub(crate) aliases: BTreeMap<u16, String>,
    pub(crate) alias_max: u16,
    /// The driver's count of what it handed in.
    /// Messages of QoS 1 that the client sent on it and has no PUBACK for.
    pub(crate) unanswered: usize,
    pub(crate) proving: Proving,
    pub(crate) watch: Watch,
}

/// What the checks know of a connection.
#[derive(Default)]
pub(crate) struct Watch {
    /// CONNECT was taken, by the lobby or the home.
    pub(crate) has_connect: bool,
    /// CONNECT was taken by the session's home.
    pub(crate) arrived: bool,
    /// CONNACK said yes.
    pub(crate) open: bool,
    /// The session let go of the connection.
    pub(crate) detached: bool,
    /// It let go because another connection came.
    pub(crate) taken_over: bool,
    pub(crate) expected: Option<Presence>,
    pub(crate) life: Option<usize>,
    /// Messages the client sent and that are not taken, in order.
    pub(crate) sent: VecDeque<usize>,
    /// Messages of QoS 1 that were taken and not answered, in order.
    pub(crate) unanswered: VecDeque<(u16, usize)>,
    pub(crate) promises: BTreeMap<(Kind, u16), Promise>,
    /// SUBSCRIBE packets taken and not answered, each with the rules by which it was judged.
    pub(crate) subscribing: BTreeMap<u16, (usize, Vec<(String, SubscribeOptions)>)>,
    /// Automatic subscriptions under way.
    pub(crate) greeting: Option<crate::greeting::Greeting>,
    /// Topics that the broker's aliases stand for.
    pub(crate) aliases: BTreeMap<u16, String>,
    /// What the log was told about the session, for a client that is not told: 3.1 has no
    /// "session present".
    pub(crate) is_resumed: bool,
    /// UNSUBSCRIBE packets taken and not answered, with when they were taken.
    pub(crate) unsubscribing: BTreeMap<u16, (u64, Vec<String>)>,
    /// PUBREL packets taken and not answered.
    pub(crate) releasing: Vec<u16>,
    /// Packet ids sent to the client on this connection and not acknowledged.
    pub(crate) inflight: BTreeSet<u16>,
    /// The highest place per publisher's connection and class that was sent on this one.
    pub(crate) order: BTreeMap<(usize, bool), usize>,
    /// The same for groups.
    pub(crate) shared_order: BTreeMap<crate::group::Stream, usize>,
    /// The place of the last delivery that was sent again.
    pub(crate) resent: u64,
    pub(crate) goodbye: Option<u8>,
    /// The client sent what is no packet.
    pub(crate) is_garbled: bool,
    pub(crate) last_packet: Time,
    pub(crate) pings: usize,
}

/// What an acknowledgement speaks for.
#[derive(Default)]
pub(crate) struct Promise {
    pub(crate) tickets: Vec<(usize, Ticket)>,
    pub(crate) changes: Vec<(usize, Ticket)>,
}

/// What is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Connect,
    Publish,
    Release,
    Subscribe,
    Unsubscribe,
}

/// What the client said in CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    pub(crate) expiry_secs: u32,
    pub(crate) keep_alive_secs: u16,
    pub(crate) receive_max: u16,
    pub(crate) max_packet_bytes: u32,
    pub(crate) topic_alias_max: u16,
    /// Whether the client proves who it is.
    pub(crate) proves: bool,
    /// Which will.
    pub(crate) will: Option<usize>,
}

impl Link {
    pub(crate) fn new(client: usize, asked: Asked) -> Self {
        Self {
            client,
            asked,
            settings: 0,
            hello_settings: 0,
            home_settings: 0,
            up: Vec::new(),
            down: Vec::new(),
            client_open: true,
            server_open: true,
            place: None,
            moving: None,
            unread: Vec::new(),
            runnable: false,
            announced: false,
            closing: false,
            seen: 0,
            aliases: BTreeMap::new(),
            alias_max: 0,
            unanswered: 0,
            proving: Proving::default(),
            watch: Watch::default(),
        }
    }
}
