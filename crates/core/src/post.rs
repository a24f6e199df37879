//! Letters to the other shards: batched per turn, bounded by the receivers' credit.

use std::collections::VecDeque;

use crate::contract::Output;
use crate::errand::Errand;
use crate::identity::{ConnectionId, ShardId};
use crate::ledger::{DropReason, Ledger};
use crate::mail::{Mail, Parcel, Share};

/// What this shard has for the others.
pub(crate) struct Post {
    lanes: Vec<Lane>,
    bytes_max: usize,
}

/// The way to one other shard.
#[derive(Default)]
struct Lane {
    batch: Vec<Parcel>,
    errands: Vec<Errand>,
    /// Bytes sent that the receiver has not credited.
    uncredited: usize,
    /// Durable parcels that wait for credit; their publishers are parked.
    held: VecDeque<Parcel>,
    parked: Vec<ConnectionId>,
    /// Bytes received from that shard and not yet credited to it.
    to_credit: usize,
}

impl Post {
    pub(crate) fn new(shards: u8, bytes_max: usize) -> Self {
        let lanes = std::iter::repeat_with(Lane::default).take(usize::from(shards)).collect();
        Self { lanes, bytes_max }
    }

    /// Whether durable parcels for that shard have to wait just now.
    pub(crate) fn is_full(&self, to: ShardId) -> bool {
        self.lanes[to.index()].uncredited >= self.bytes_max
    }

    /// Has the connection reported by [`Post::credited`] when there is room again.
    pub(crate) fn park(&mut self, to: ShardId, connection: ConnectionId) {
        self.lanes[to.index()].parked.push(connection);
    }

    /// Sends a parcel with this turn's letter. Without credit, one that is durable waits and one
    /// that is not is dropped.
    pub(crate) fn send(&mut self, to: ShardId, parcel: Parcel, ledger: &mut Ledger) {
        let is_full = self.is_full(to);
        let lane = &mut self.lanes[to.index()];
        if is_full || !lane.held.is_empty() {
            match parcel.share {
                Share::Stored => lane.held.push_back(parcel),
                Share::Live => {
                    let deliveries = parcel.live_targets();
                    ledger.routed += deliveries;
                    ledger.drop(DropReason::MailboxFull, deliveries);
                }
            }
            return;
        }
        lane.uncredited += parcel.size_bytes();
        lane.batch.push(parcel);
    }

    /// Sends an errand with this turn's letter. Without credit, a message of QoS 0 is dropped.
    pub(crate) fn send_errand(&mut self, to: ShardId, errand: Errand, ledger: &mut Ledger) {
        let is_full = self.is_full(to);
        let lane = &mut self.lanes[to.index()];
        if let Some(bytes) = errand.size_bytes() {
            if is_full || !lane.held.is_empty() {
                return ledger.drop(DropReason::MailboxFull, 1);
            }
            lane.uncredited += bytes;
        }
        lane.errands.push(errand);
    }

    /// The receiver gave credit back. Returns the connections that may go on.
    pub(crate) fn credited(&mut self, from: ShardId, bytes: usize) -> Vec<ConnectionId> {
        let bytes_max = self.bytes_max;
        let lane = &mut self.lanes[from.index()];
        lane.uncredited = lane.uncredited.saturating_sub(bytes);
        while lane.uncredited < bytes_max {
            let Some(parcel) = lane.held.pop_front() else { break };
            lane.uncredited += parcel.size_bytes();
            lane.batch.push(parcel);
        }
        if lane.uncredited < bytes_max { std::mem::take(&mut lane.parked) } else { Vec::new() }
    }

    /// Parcels and errands of `from` were dealt with.
    pub(crate) fn received(&mut self, from: ShardId, bytes: usize) {
        self.lanes[from.index()].to_credit += bytes;
    }

    /// This turn's letters.
    pub(crate) fn flush(&mut self, outputs: &mut VecDeque<Output>) {
        for (to, lane) in (0..).map(ShardId).zip(&mut self.lanes) {
            if !lane.batch.is_empty() {
                let mail = Mail::Deliver(std::mem::take(&mut lane.batch));
                outputs.push_back(Output::Mail { to, mail });
            }
            if !lane.errands.is_empty() {
                let mail = Mail::Errands(std::mem::take(&mut lane.errands));
                outputs.push_back(Output::Mail { to, mail });
            }
            // Letters of credit are rare: one per quarter of the mailbox.
            if lane.to_credit >= (self.bytes_max / 4).max(1) {
                let mail = Mail::Credit(std::mem::take(&mut lane.to_credit));
                outputs.push_back(Output::Mail { to, mail });
            }
        }
    }
}

impl Parcel {
    fn live_targets(&self) -> u64 {
        let live = |target: &&crate::mail::Target| {
            self.share.takes(target.grant) || self.message.qos == bellbird_codec::QoS::AtMostOnce
        };
        self.targets.iter().filter(live).count() as u64
    }
}
