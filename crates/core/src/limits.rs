//! Bounds, each with its reason. The configurable ones are in [`crate::Config`] with these
//! defaults.

/// A slot keeps its shard in 8 bits; more loops than cores only cost time.
pub const SHARDS_MAX: usize = 64;

/// Packet size that is accepted: large enough for what devices send, small enough that a few
/// thousand of them fit into memory. The protocol's own limit is 256 MiB.
pub const PACKET_BYTES_MAX: u32 = 1 << 20;

/// Size of a CONNECT that is accepted: nobody is known before it.
pub const FIRST_PACKET_BYTES_MAX: u32 = 100_000;

/// Bytes that wait in one connection's outbox before messages of QoS 0 are dropped for it and
/// those of QoS 1 and 2 wait in the queue.
pub const OUTBOX_BYTES_MAX: usize = 1 << 20;

/// Messages of QoS 1 and 2 that wait for one session, beside those inflight.
pub const QUEUE_MESSAGES_MAX: usize = 1000;

/// Bytes of messages that wait for one session.
pub const QUEUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one session's waiting messages that stay in memory: what a client takes in a second or
/// two when it comes back, until the rest is read from the log.
pub const QUEUE_MEMORY_BYTES: usize = 256 * 1024;

/// Messages sent to a client and not acknowledged, if the client sets no lower limit: enough to
/// fill the pipe at a few ms of round trip and 10,000 messages per second.
pub const INFLIGHT_MAX: u16 = 100;

/// Packet ids of a session that the log knows of before they are given: enough that nobody waits
/// for the next of them, and few beside all there are, since a start goes on behind them.
pub const PACKET_IDS_AHEAD: u16 = 2048;

/// Messages of QoS 1 and 2 that a client of 5.0 may have open: announced as Receive Maximum. In 3.1
/// and 3.1.1, where nothing is announced, its input waits while so many wait for the log; open
/// packet ids of QoS 2 have no other bound than their number, since whoever stops reading does
/// not see the PUBRELs behind.
pub const RECEIVE_MAX: u16 = 100;

/// Bytes of messages that one shard withholds while the disk is full: what a few thousand devices
/// have under way.
pub const WITHHELD_BYTES_MAX: usize = 16 << 20;

/// Seconds that somebody waits for the log: longer than disks stall, and about what devices wait
/// for an acknowledgement.
pub const HOLD_SECS: u32 = 60;

/// Sessions of the node, with and without connection: a few hundred bytes each, besides what waits
/// in them. Each shard takes its part of them.
pub const SESSIONS_MAX: usize = 1_000_000;

/// Subscriptions of one session: one client is to have a part of the memory only.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Levels of a topic: of a retained one, each is a node of the tree.
pub const TOPIC_LEVELS_MAX: usize = 128;

/// `+` in one filter: a match may visit two to their power of nodes.
pub const FILTER_PLUS_MAX: usize = 10;

/// Topic aliases of one connection, announced to 5.0 clients: each keeps a topic in memory.
pub const TOPIC_ALIASES_MAX: u16 = 16;

/// Topic aliases toward one client, if it allows so many: the same.
pub const TOPIC_ALIASES_OUT_MAX: u16 = 16;

/// Topics with a retained message: at about 300 bytes each besides the message.
pub const RETAINED_MESSAGES_MAX: usize = 1_000_000;

/// Bytes of retained messages: topics, properties and payloads.
pub const RETAINED_BYTES_MAX: usize = 1 << 30;

/// Messages to `$delayed/…` that wait for their time.
pub const DELAYED_MESSAGES_MAX: usize = 100_000;

/// Bytes of parcels between two shards that the receiver has not dealt with.
pub const MAILBOX_BYTES_MAX: usize = 8 << 20;

/// Sets of the cache of match results; each holds 4 topics.
pub const ROUTE_SETS: usize = 2048;

/// Topics longer than this are matched each time: the cache stays within a few MiB.
pub const ROUTE_TOPIC_BYTES_MAX: usize = 512;

/// Nodes of the retained tree that one slice of a walk visits: about 50 µs.
pub const WALK_NODES: usize = 256;

/// Sessions whose walks go on in one turn; the others have the next one.
pub const WALKS_PER_TURN: usize = 16;

/// Seconds in which a new connection must have said CONNECT.
pub const HANDSHAKE_SECS: u16 = 10;

/// Connections of the node that have not come through CONNECT: each takes one to three kilobytes,
/// with TLS some twenty. Each shard takes its part of them.
pub const STRANGERS_MAX: usize = 4096;

/// Subscriptions of ended sessions that leave the view in one turn: in about a millisecond.
pub(crate) const REMOVALS_PER_TURN: usize = 1024;

/// Sessions whose expiry is handled in one turn: a restart after a long time down must not stall
/// the clients that come back.
pub const EXPIRIES_PER_TURN: usize = 256;
