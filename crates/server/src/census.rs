//! Counters of all shards, published at the end of each turn for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use bellbird_core::{DropReason, Ledger, ShardId};

/// Where the shards publish their ledgers.
pub(crate) struct Census {
    shards: Vec<Counters>,
    /// Deliveries that wait; counted only at the end, for it takes a look at every session.
    waiting: AtomicU64,
}

/// One shard's ledger. A reader may see a turn half published: counters, not accounts.
type Counters = [AtomicU64; 5 + DropReason::ALL.len()];

impl Census {
    pub(crate) fn new(shards: usize) -> Self {
        let shards = std::iter::repeat_with(Counters::default).take(shards).collect();
        Self { shards, waiting: AtomicU64::new(0) }
    }

    /// A shard that ends leaves so many deliveries waiting.
    pub(crate) fn leave(&self, waiting: u64) {
        self.waiting.fetch_add(waiting, Ordering::Relaxed);
    }

    /// What the shards that have ended left waiting.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn publish(&self, shard: ShardId, ledger: &Ledger) {
        let Some(slot) = self.shards.get(shard.index()) else { return };
        let values =
            [ledger.received, ledger.unmatched, ledger.routed, ledger.done, ledger.expired];
        for (counter, value) in slot.iter().zip(values.into_iter().chain(ledger.dropped)) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    /// All shards together.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        for shard in &self.shards {
            let read = |index: usize| shard[index].load(Ordering::Relaxed);
            sum.add(&Ledger {
                received: read(0),
                unmatched: read(1),
                routed: read(2),
                done: read(3),
                expired: read(4),
                dropped: std::array::from_fn(|reason| read(5 + reason)),
            });
        }
        sum
    }
}
