//! How many messages of the log may be alive, at most: what is not needed any more is given back
//! when that is much more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellbird_core::{Ledger, ShardId};

use crate::view::SharedView;

/// What all shards and the view know of it together. A clone is about the same.
#[derive(Clone)]
pub(crate) struct Alive {
    /// By shard. A delivery may begin on one and be over on another, so only the sum counts.
    waiting: Arc<[AtomicU64]>,
    /// Not one of its own: each view has a piece of the lock that every change takes.
    view: Arc<SharedView>,
}

impl Alive {
    pub(crate) fn new(shards: u8, view: Arc<SharedView>) -> Self {
        Self { waiting: (0..shards).map(|_| AtomicU64::new(0)).collect(), view }
    }

    /// A shard's ledger is this now.
    pub(crate) fn note(&self, shard: ShardId, ledger: &Ledger) {
        let over = ledger.done + ledger.expired + ledger.dropped_in_all();
        let waiting = ledger.routed.wrapping_sub(over);
        self.waiting[shard.index()].store(waiting, Ordering::Relaxed);
    }

    /// Deliveries that wait, of which several may be of one message, and retained messages.
    pub(crate) fn messages(&self) -> u64 {
        let waiting = self.waiting.iter().map(|waiting| waiting.load(Ordering::Relaxed));
        let (_, retained) = self.view.sizes();
        // What is on its way between two shards may be counted as over before it has begun.
        let waiting = waiting.fold(0, u64::wrapping_add).cast_signed().max(0).cast_unsigned();
        waiting + retained.messages as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_on_one_shard_may_be_over_on_another() {
        let alive = Alive::new(2, Arc::new(SharedView::new(0)));
        alive.note(ShardId(1), &Ledger { done: 7, ..Ledger::default() });
        assert_eq!(alive.messages(), 0);
        alive.note(ShardId(0), &Ledger { routed: 10, expired: 1, ..Ledger::default() });
        assert_eq!(alive.messages(), 2);
    }
}
