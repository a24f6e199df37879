//! What the shards have counted: told by a shard when it is asked, and left behind at its end.

use std::sync::{Mutex, PoisonError};

use bellbird_core::{Holdings, Ledger, Traffic};

/// The counters of one shard at one moment, or the sum over shards.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// What became of the deliveries.
    pub ledger: Ledger,
    /// What came in and went out.
    pub traffic: Traffic,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Sessions, with and without connection.
    pub sessions: u64,
    /// What waits; only if it was asked for.
    pub holdings: Option<Holdings>,
}

/// What the shards that have ended left behind.
#[derive(Debug, Default)]
pub(crate) struct Census(Mutex<Counts>);

impl Counts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        self.traffic.add(&other.traffic);
        self.bytes_received += other.bytes_received;
        self.sessions += other.sessions;
        if let Some(holdings) = &other.holdings {
            self.holdings.get_or_insert_default().add(holdings);
        }
    }
}

impl Census {
    /// A shard ends with these.
    pub(crate) fn leave(&self, counts: &Counts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(counts);
    }

    /// The sum of what was left.
    pub(crate) fn sum(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
