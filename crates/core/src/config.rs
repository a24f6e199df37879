//! What the operator may set; the shell reads it from its configuration file.

use bellbird_codec::{QoS, SubscribeOptions, Version};

use crate::durability::{Durability, TopicDurability};
use crate::event::Telling;
use crate::limits;

/// Settings of the core, the same for every shard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many shards the node has, 1 to [`limits::SHARDS_MAX`].
    pub shards: u8,
    /// What each listener offers its clients, by the listener's number; never empty.
    pub listeners: Vec<Terms>,
    /// See [`limits::OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// See [`limits::PACKET_IDS_AHEAD`]; 1 or more.
    pub packet_ids_ahead: u16,
    /// See [`limits::QUEUE_MESSAGES_MAX`].
    pub queue_messages_max: usize,
    /// See [`limits::QUEUE_BYTES_MAX`].
    pub queue_bytes_max: usize,
    /// See [`limits::QUEUE_MEMORY_BYTES`].
    pub queue_memory_bytes: usize,
    /// Whether messages of QoS 0 wait in the queue of a durable session whose client is away, in
    /// memory only.
    pub queues_at_most_once: bool,
    /// See [`limits::SESSIONS_MAX`].
    pub sessions_max: usize,
    /// See [`limits::SUBSCRIPTIONS_MAX`].
    pub subscriptions_max: usize,
    /// Topics with a retained message in the node at most.
    pub retained_messages_max: usize,
    /// Bytes of retained messages in the node at most.
    pub retained_bytes_max: usize,
    /// Messages to `$delayed/…` that wait for their time at most.
    pub delayed_messages_max: usize,
    /// How a shared subscription chooses the member that gets the next message.
    pub group_strategy: GroupStrategy,
    /// See [`limits::HANDSHAKE_SECS`].
    pub handshake_secs: u16,
    /// See [`limits::STRANGERS_MAX`].
    pub strangers_max: usize,
    /// Bytes of parcels between two shards that wait at most.
    pub mailbox_bytes_max: usize,
    /// What may be published in the node.
    pub rates: Rates,
    /// What something durable waits for where neither listener nor topic says so.
    pub durability: Durability,
    /// See [`limits::HOLD_SECS`].
    pub hold_secs: u32,
    /// What messages wait for by their topics.
    pub topic_durability: Vec<TopicDurability>,
    /// Topics and filters that are taken for others; the first that fits counts.
    pub rewrites: Vec<Rewrite>,
    /// Subscriptions that every client has from CONNECT on.
    pub auto_subscriptions: Vec<AutoSubscription>,
    /// How much [`crate::Output::Event`] tells.
    pub telling: Telling,
}

/// What a listener offers its clients, and announces to those of 5.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether clients without a user name are let in.
    pub anonymous: bool,
    /// Versions of the protocol that it speaks.
    pub versions: Versions,
    /// Largest packet that is accepted: Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// See [`limits::INFLIGHT_MAX`].
    pub inflight_max: u16,
    /// See [`limits::RECEIVE_MAX`].
    pub receive_max: u16,
    /// Topic aliases that a client may use: Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Topic aliases that are used toward a client that allows them.
    pub topic_alias_out_max: u16,
    /// Longest Keep Alive in seconds: a client that asks for a longer one, or for none, gets this
    /// one as Server Keep Alive. 0 lets it choose.
    pub keep_alive_secs_max: u16,
    /// Seconds a session without connection is kept at most; `u32::MAX` for ever.
    pub session_expiry_secs_max: u32,
    /// The highest QoS that a client may publish with, and is granted: Maximum QoS.
    pub qos_max: QoS,
    /// Whether clients may publish retained messages.
    pub retain: bool,
    /// Whether filters may have wildcards.
    pub wildcards: bool,
    /// Whether shared subscriptions are granted.
    pub shared: bool,
    /// Whether subscription identifiers are.
    pub subscription_ids: bool,
    /// Whether clients may publish to topics that begin with `$`, but for `$SYS`.
    pub reserved_topics: bool,
    /// See [`limits::TOPIC_LEVELS_MAX`].
    pub topic_levels_max: usize,
    /// See [`limits::FILTER_PLUS_MAX`].
    pub filter_plus_max: usize,
    /// How exactly clients must keep to the letter.
    pub profile: Profile,
    /// What something durable waits for that came through this listener, if it says so.
    pub durability: Option<Durability>,
    /// What one client may publish.
    pub client_rates: Rates,
    /// What may be published through this listener.
    pub listener_rates: Rates,
    /// What becomes of a client that publishes more.
    pub over_rate: OverRate,
}

/// How much may be published in a second, and at most at once; 0 for no bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rates {
    /// Messages.
    pub messages_per_sec: u32,
    /// Bytes of topics and payloads.
    pub bytes_per_sec: u32,
}

/// What becomes of a client that publishes more than its rates, its listener's or the node's allow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OverRate {
    /// It is not read until it may go on.
    #[default]
    Wait,
    /// It is disconnected: in 5.0 with 0x96 for messages, 0x97 for bytes.
    Disconnect,
}

/// Versions of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions(u8);

impl Versions {
    /// All of them.
    pub const ALL: Self = Self(0b111);

    /// Whether this one is among them.
    pub fn contains(self, version: Version) -> bool {
        self.0 & (1 << version as u8) != 0
    }
}

impl FromIterator<Version> for Versions {
    fn from_iter<I: IntoIterator<Item = Version>>(versions: I) -> Self {
        Self(versions.into_iter().fold(0, |all, version| all | 1 << version as u8))
    }
}

/// How exactly clients must keep to the letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// To the letter.
    Strict,
    /// But for quirks of real devices that do no harm, which are let pass and reported.
    #[default]
    Tolerant,
}

/// Who gets the next message of a shared subscription, among the members that can take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GroupStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The same as the last time, as long as it can.
    Sticky,
    /// The same for messages of one publisher.
    Hash,
}

/// One topic rewrite: what fits `from` becomes `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Whether topics of PUBLISH are rewritten, wills included.
    pub publishes: bool,
    /// Whether filters of SUBSCRIBE and UNSUBSCRIBE are.
    pub subscribes: bool,
    /// A filter; a topic it matches, or a filter of which it matches the text, is rewritten.
    pub from: Box<str>,
    /// The new text: `$1` … `$9` stand for what the wildcards of `from` took, in order, `%c` for
    /// the client identifier and `%u` for the user name.
    pub to: Box<str>,
}

/// A subscription that every client has from CONNECT on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSubscription {
    /// The filter; `%c` and `%u` stand for client identifier and user name. A client without user
    /// name does not get one with `%u`.
    pub filter: Box<str>,
    /// As if the client had said so.
    pub options: SubscribeOptions,
}

impl Config {
    /// Whether what is published is bounded in time at all.
    pub(crate) fn has_rates(&self) -> bool {
        let none = Rates::default();
        let is_bounded = |terms: &Terms| terms.client_rates != none || terms.listener_rates != none;
        self.rates != none || self.listeners.iter().any(is_bounded)
    }

    /// What the listener of this number offers; an unknown number is the first one.
    pub fn terms(&self, listener: u8) -> &Terms {
        self.listeners.get(usize::from(listener)).unwrap_or(&self.listeners[0])
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 1,
            listeners: vec![Terms::default()],
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            packet_ids_ahead: limits::PACKET_IDS_AHEAD,
            queue_messages_max: limits::QUEUE_MESSAGES_MAX,
            queue_bytes_max: limits::QUEUE_BYTES_MAX,
            queue_memory_bytes: limits::QUEUE_MEMORY_BYTES,
            queues_at_most_once: false,
            sessions_max: limits::SESSIONS_MAX,
            subscriptions_max: limits::SUBSCRIPTIONS_MAX,
            retained_messages_max: limits::RETAINED_MESSAGES_MAX,
            retained_bytes_max: limits::RETAINED_BYTES_MAX,
            delayed_messages_max: limits::DELAYED_MESSAGES_MAX,
            group_strategy: GroupStrategy::default(),
            handshake_secs: limits::HANDSHAKE_SECS,
            strangers_max: limits::STRANGERS_MAX,
            mailbox_bytes_max: limits::MAILBOX_BYTES_MAX,
            rates: Rates::default(),
            durability: Durability::default(),
            hold_secs: limits::HOLD_SECS,
            topic_durability: Vec::new(),
            rewrites: Vec::new(),
            auto_subscriptions: Vec::new(),
            telling: Telling::Nothing,
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            anonymous: true,
            versions: Versions::ALL,
            packet_bytes_max: limits::PACKET_BYTES_MAX,
            inflight_max: limits::INFLIGHT_MAX,
            receive_max: limits::RECEIVE_MAX,
            topic_alias_max: limits::TOPIC_ALIASES_MAX,
            topic_alias_out_max: limits::TOPIC_ALIASES_OUT_MAX,
            keep_alive_secs_max: 0,
            session_expiry_secs_max: u32::MAX,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            wildcards: true,
            shared: true,
            subscription_ids: true,
            reserved_topics: false,
            topic_levels_max: limits::TOPIC_LEVELS_MAX,
            filter_plus_max: limits::FILTER_PLUS_MAX,
            profile: Profile::default(),
            durability: None,
            client_rates: Rates::default(),
            listener_rates: Rates::default(),
            over_rate: OverRate::default(),
        }
    }
}
