//! What became of every delivery: `routed = done + inflight + queued + expired + dropped`.

/// Why a delivery was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DropReason {
    /// The connection's outbox was full and the message had QoS 0.
    OutboxFull,
    /// The session's queue was full.
    QueueFull,
    /// A message of QoS 0 for a session without a connection.
    Offline,
    /// The packet would have been larger than the client takes [MQTT-3.1.2-25].
    TooLarge,
    /// The connection ended before the kernel took the bytes of a message of QoS 0.
    ConnectionLost,
    /// The session ended while the message was queued or inflight.
    SessionEnded,
    /// The mailbox between two shards was full and the delivery was not durable.
    MailboxFull,
    /// The gate does not let the client receive it.
    NotPermitted,
    /// The log cannot read the message any more: it is damaged.
    Unreadable,
    /// It was to be stored for a durable session, nobody waited for that, and the log did not take
    /// it.
    NotStored,
}

impl DropReason {
    /// All of them, in the order of [`Ledger::dropped`].
    pub const ALL: [Self; 10] = [
        Self::OutboxFull,
        Self::QueueFull,
        Self::Offline,
        Self::TooLarge,
        Self::ConnectionLost,
        Self::SessionEnded,
        Self::MailboxFull,
        Self::NotPermitted,
        Self::Unreadable,
        Self::NotStored,
    ];

    /// Whether a limit made it so, which the operator may want to raise, and not the way of the
    /// client or the rules.
    pub fn is_of_limit(self) -> bool {
        match self {
            Self::OutboxFull | Self::QueueFull | Self::TooLarge | Self::MailboxFull => true,
            Self::Offline
            | Self::ConnectionLost
            | Self::SessionEnded
            | Self::NotPermitted
            | Self::Unreadable
            | Self::NotStored => false,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutboxFull => "outbox_full",
            Self::QueueFull => "queue_full",
            Self::Offline => "offline_qos0",
            Self::TooLarge => "too_large",
            Self::ConnectionLost => "connection_lost",
            Self::SessionEnded => "session_ended",
            Self::MailboxFull => "mailbox_full",
            Self::NotPermitted => "not_permitted",
            Self::Unreadable => "unreadable",
            Self::NotStored => "not_stored",
        }
    }
}

/// Counters of one shard since its start. The unit is the delivery.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Deliveries decided on, those found at recovery included.
    pub routed: u64,
    /// Acknowledged, or for QoS 0 handed to the kernel.
    pub done: u64,
    /// Message expiry came first.
    pub expired: u64,
    /// Dropped, by reason.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Messages received from publishers.
    pub received: u64,
    /// Messages nobody was subscribed to.
    pub unmatched: u64,
}

impl Ledger {
    /// Counts a drop.
    pub(crate) fn drop(&mut self, reason: DropReason, deliveries: u64) {
        if let Some(counter) = self.dropped.get_mut(reason as usize) {
            *counter += deliveries;
        }
    }

    /// All drops whatever the reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// What the others leave of those routed: inflight or queued.
    pub fn waiting(&self) -> u64 {
        self.routed.saturating_sub(self.done + self.expired + self.dropped_in_all())
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Self) {
        self.routed += other.routed;
        self.done += other.done;
        self.expired += other.expired;
        self.received += other.received;
        self.unmatched += other.unmatched;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
    }
}
