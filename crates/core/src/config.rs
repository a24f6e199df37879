//! What the operator may set; the shell reads it from its configuration file.

use crate::limits;

/// Settings of the core, the same for every shard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many shards the node has, 1 to [`limits::SHARDS_MAX`].
    pub shards: u8,
    /// Largest packet that is accepted, announced to 5.0 clients as Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// See [`limits::OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// See [`limits::QUEUE_MESSAGES_MAX`].
    pub queue_messages_max: usize,
    /// See [`limits::QUEUE_BYTES_MAX`].
    pub queue_bytes_max: usize,
    /// See [`limits::INFLIGHT_MAX`].
    pub inflight_max: u16,
    /// See [`limits::RECEIVE_MAX`].
    pub receive_max: u16,
    /// Seconds a session without connection is kept at most; `u32::MAX` for ever.
    pub session_expiry_secs_max: u32,
    /// See [`limits::HANDSHAKE_SECS`].
    pub handshake_secs: u16,
    /// Bytes of parcels between two shards that wait at most.
    pub mailbox_bytes_max: usize,
    /// Whether [`crate::Output::Event`] is emitted.
    pub events: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 1,
            packet_bytes_max: limits::PACKET_BYTES_MAX,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            queue_messages_max: limits::QUEUE_MESSAGES_MAX,
            queue_bytes_max: limits::QUEUE_BYTES_MAX,
            inflight_max: limits::INFLIGHT_MAX,
            receive_max: limits::RECEIVE_MAX,
            session_expiry_secs_max: u32::MAX,
            handshake_secs: limits::HANDSHAKE_SECS,
            mailbox_bytes_max: limits::MAILBOX_BYTES_MAX,
            events: false,
        }
    }
}
