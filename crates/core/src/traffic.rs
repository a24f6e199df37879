//! What came in and went out of one shard since its start, counted where it happens.
//!
//! [`crate::Ledger`] counts deliveries and must add up; these are the packets, bytes and
//! connections around them.

use bellbird_codec::{Packet, QoS, ReasonCode};

use crate::connection::Cause;
use crate::strict::Quirk;

/// Counters of one shard since its start, and how many clients are connected now.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Packets other than PUBLISH that were taken.
    pub others_received: u64,
    /// Packets other than PUBLISH that were put into outboxes.
    pub others_sent: u64,
    /// PUBLISH packets taken, by QoS, whatever became of them.
    pub publishes_received: [u64; 3],
    /// PUBLISH packets put into outboxes, by QoS.
    pub publishes_sent: [u64; 3],
    /// Payload bytes of the PUBLISH packets taken.
    pub payload_bytes_received: u64,
    /// Payload bytes of the PUBLISH packets put into outboxes.
    pub payload_bytes_sent: u64,
    /// Bytes that the kernel took from outboxes.
    pub bytes_sent: u64,
    /// PUBLISH packets and wills that the gate did not let in.
    pub publishes_refused: u64,
    /// Of them those that must have been stored when the log did not take messages.
    pub storage_refused: u64,
    /// Messages of QoS 0 to be retained or delayed that were not, since the log did not take
    /// messages.
    pub unstored: u64,
    /// Packets with a quirk that were let pass, by [`Quirk`].
    pub quirks: [u64; Quirk::ALL.len()],
    /// Times that a client was not read, for so much had been published.
    pub pauses: u64,
    /// Bytes that were no packet; each ended its connection.
    pub malformed: u64,
    /// Connections accepted by this shard's listeners.
    pub opened: u64,
    /// Connections that got their CONNACK, and with it a session.
    pub welcomed: u64,
    /// Connections that ended after or before CONNACK, by cause, without those refused.
    pub closed: [u64; Cause::ALL.len()],
    /// Connections refused at CONNECT, by reason code.
    pub refused: Refusals,
    /// Sessions whose time without connection was over.
    pub sessions_expired: u64,
    /// Clients that are connected now: their CONNACK is out.
    pub connected: u64,
}

impl Traffic {
    /// A packet was taken.
    pub(crate) fn received(&mut self, packet: &Packet<'_>) {
        if let Packet::Publish(publish) = packet {
            self.publishes_received[publish.qos as usize] += 1;
            self.payload_bytes_received += publish.payload.len() as u64;
        } else {
            self.others_received += 1;
        }
    }

    /// A PUBLISH was put into an outbox.
    pub(crate) fn publish_sent(&mut self, qos: QoS, payload_bytes: usize) {
        self.publishes_sent[qos as usize] += 1;
        self.payload_bytes_sent += payload_bytes as u64;
    }

    /// A connection ended.
    pub(crate) fn closed(&mut self, cause: Cause) {
        if let Some(counter) = self.closed.get_mut(cause as usize) {
            *counter += 1;
        }
    }

    /// Packets of any type that were taken.
    pub fn packets_received(&self) -> u64 {
        self.others_received + self.publishes_received.iter().sum::<u64>()
    }

    /// Packets of any type that were put into outboxes.
    pub fn packets_sent(&self) -> u64 {
        self.others_sent + self.publishes_sent.iter().sum::<u64>()
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Self) {
        self.others_received += other.others_received;
        self.others_sent += other.others_sent;
        self.payload_bytes_received += other.payload_bytes_received;
        self.payload_bytes_sent += other.payload_bytes_sent;
        self.bytes_sent += other.bytes_sent;
        self.publishes_refused += other.publishes_refused;
        self.storage_refused += other.storage_refused;
        self.unstored += other.unstored;
        self.pauses += other.pauses;
        self.malformed += other.malformed;
        self.opened += other.opened;
        self.welcomed += other.welcomed;
        self.sessions_expired += other.sessions_expired;
        self.connected += other.connected;
        add_each(&mut self.publishes_received, &other.publishes_received);
        add_each(&mut self.publishes_sent, &other.publishes_sent);
        add_each(&mut self.closed, &other.closed);
        add_each(&mut self.quirks, &other.quirks);
        for (reason, count) in other.refused.iter() {
            self.refused.add(reason, count);
        }
    }
}

fn add_each(mine: &mut [u64], theirs: &[u64]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

/// Refused connections by reason code: the few codes that a CONNACK can have.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Refusals(Vec<(ReasonCode, u64)>);

impl Refusals {
    /// Counts refusals for this reason.
    pub(crate) fn add(&mut self, reason: ReasonCode, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, counter)) => *counter += count,
            None => self.0.push((reason, count)),
        }
    }

    /// The reasons there were, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (ReasonCode, u64)> {
        self.0.iter().copied()
    }
}

/// What a shard holds at a moment. Looking takes a walk over all its sessions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Holdings {
    /// Deliveries of QoS 1 and 2 that are sent and not acknowledged.
    pub inflight: u64,
    /// Deliveries that wait for their turn or for their client to come back.
    pub queued: u64,
    /// Logical bytes of those queued; a message counts once for each of its queues.
    pub queued_bytes: u64,
    /// Of them those that are in memory; the others are in the log only. Groups are not part of it.
    pub queued_memory_bytes: u64,
    /// Messages of QoS 0 in outboxes that the kernel did not take yet.
    pub unsent: u64,
    /// Messages to `$delayed/…` that wait for their time; no deliveries yet.
    pub delayed: u64,
}

impl Holdings {
    /// All of them: what [`crate::Ledger`] calls inflight and queued together.
    pub fn waiting(&self) -> u64 {
        self.inflight + self.queued + self.unsent
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.inflight += other.inflight;
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.queued_memory_bytes += other.queued_memory_bytes;
        self.unsent += other.unsent;
        self.delayed += other.delayed;
    }
}
