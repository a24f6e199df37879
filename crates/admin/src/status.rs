//! The node in numbers, as the API tells it.

use std::collections::BTreeMap;

use bellbird_core::DropReason;
use bellbird_server::{Status, Trouble};
use serde::{Deserialize, Serialize};

/// What `GET /v1/status` answers.
#[derive(Serialize, Deserialize, Debug)]
pub struct StatusReport {
    /// The broker's version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// Why it does not serve; none if it does.
    pub trouble: Option<String>,
    /// Seconds since its start.
    pub uptime_secs: u64,
    /// Event loops.
    pub shards: usize,
    /// Clients that are connected.
    pub clients_connected: u64,
    /// Sessions that wait for their clients.
    pub clients_away: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Topics with a retained message, but for those of `$SYS`.
    pub retained: usize,
    /// Topics of `$SYS`, each with what the broker said last.
    pub retained_system: usize,
    /// Bytes that are allocated.
    pub memory_bytes: usize,
    /// Bytes that may be.
    pub memory_bytes_max: usize,
    /// `ample`, `tight`, `short` or `exhausted`.
    pub memory: String,
    /// `ready`, `full` or `failed`: whether the log takes what must be stored.
    pub storage: String,
    /// What the log's volume had free at the last look.
    pub storage_free_bytes: u64,
    /// What became of all deliveries.
    pub deliveries: Deliveries,
    /// What was refused.
    pub refused: Refused,
    /// PUBLISH packets from clients.
    pub publishes_received: u64,
    /// PUBLISH packets to clients.
    pub publishes_sent: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
}

/// What was refused since the start.
#[derive(Serialize, Deserialize, Debug)]
pub struct Refused {
    /// Publications and wills.
    pub publishes: u64,
    /// Connections at CONNECT, by reason code of MQTT 5.0; codes that never came up are left out.
    pub connections: BTreeMap<String, u64>,
}

/// `routed = done + inflight + queued + unsent + expired + dropped`.
#[derive(Serialize, Deserialize, Debug)]
pub struct Deliveries {
    /// Decided on.
    pub routed: u64,
    /// Acknowledged, or for QoS 0 handed to the kernel.
    pub done: u64,
    /// Sent and not acknowledged.
    pub inflight: u64,
    /// Waiting.
    pub queued: u64,
    /// Of QoS 0, not yet taken by the kernel.
    pub unsent: u64,
    /// Too late.
    pub expired: u64,
    /// Dropped, by reason; reasons that never came up are left out.
    pub dropped: BTreeMap<String, u64>,
    /// Messages that came in.
    pub messages: u64,
    /// Of these, the ones nobody was subscribed to.
    pub unmatched: u64,
}

impl StatusReport {
    pub(crate) fn of(status: &Status, trouble: Option<Trouble>) -> Self {
        let (counts, traffic) = (&status.counts, &status.counts.traffic);
        let (ledger, holdings) = (&counts.ledger, counts.holdings.unwrap_or_default());
        let dropped = DropReason::ALL
            .iter()
            .zip(ledger.dropped)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect();
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            process: std::process::id(),
            trouble: trouble.map(|trouble| trouble.to_string()),
            uptime_secs: status.uptime.as_secs(),
            shards: status.shards,
            clients_connected: traffic.connected,
            clients_away: counts.sessions.saturating_sub(traffic.connected),
            subscriptions: status.subscriptions,
            retained: status.retained.messages.saturating_sub(status.retained.system_messages),
            retained_system: status.retained.system_messages,
            memory_bytes: status.memory.bytes,
            memory_bytes_max: status.memory.bytes_max,
            memory: status.memory.memory.name().into(),
            storage: status.log.storage.name().into(),
            storage_free_bytes: status.log.free_bytes,
            deliveries: Deliveries {
                routed: ledger.routed,
                done: ledger.done,
                inflight: holdings.inflight,
                queued: holdings.queued,
                unsent: holdings.unsent,
                expired: ledger.expired,
                dropped,
                messages: ledger.received,
                unmatched: ledger.unmatched,
            },
            refused: Refused {
                publishes: traffic.publishes_refused,
                connections: traffic
                    .refused
                    .iter()
                    .map(|(reason, count)| (format!("0x{:02x}", reason.value()), count))
                    .collect(),
            },
            publishes_received: traffic.publishes_received.iter().sum(),
            publishes_sent: traffic.publishes_sent.iter().sum(),
            bytes_received: counts.bytes_received,
            bytes_sent: traffic.bytes_sent,
        }
    }
}
