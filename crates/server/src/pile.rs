//! What a shard has for the log and has not handed in: one order after the other, so that each
//! write and each sync serves as many records as there are ([0018](../../../docs/decisions/0018-one-order-after-the-other.md)).

use bellbird_core::record::Record;
use bellbird_core::{Durability, ShardId, Ticket};
use bellbird_store::Batch;

use crate::committer::Order;

/// Records of one level of durability, in the order of their tickets, and when they are due.
#[derive(Default)]
pub(crate) struct Pile {
    batch: Batch,
    first: Option<Ticket>,
    durability: Durability,
    spare: Vec<Batch>,
    /// Orders handed in and not reported stored.
    under_way: usize,
    /// Turns that what is here may still wait for what can be read now.
    patience: u8,
}

impl Pile {
    /// Adds a record. Returns what must be handed in first, or now.
    pub(crate) fn add(
        &mut self,
        from: ShardId,
        ticket: Ticket,
        record: &Record,
        durability: Durability,
    ) -> [Option<Order>; 2] {
        let before = if durability == self.durability { None } else { self.take(from) };
        self.durability = durability;
        self.batch.push(record);
        self.first.get_or_insert(ticket);
        let is_full = self.batch.bytes_len() >= BATCH_BYTES;
        [before, if is_full { self.take(from) } else { None }]
    }

    /// What is here, whether it is due or not.
    pub(crate) fn take(&mut self, from: ShardId) -> Option<Order> {
        let first = self.first.take()?;
        let next = self.spare.pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.under_way += 1;
        self.patience = 0;
        Some(Order { from, first, batch, durability: self.durability })
    }

    /// Whether what is here is to be handed in at the end of this turn.
    pub(crate) fn is_due(&self) -> bool {
        self.first.is_some() && self.under_way == 0 && self.patience == 0
    }

    /// Whether what is here waits only for what can be read now: the next turn must not sleep.
    pub(crate) fn is_waiting_for_more(&self) -> bool {
        self.first.is_some() && self.under_way == 0 && self.patience > 0
    }

    /// A turn begins; whether there was anything to read.
    pub(crate) fn begin_turn(&mut self, has_more: bool) {
        let goes_on = has_more && self.is_waiting_for_more();
        self.patience = if goes_on { self.patience - 1 } else { 0 };
    }

    /// An order is stored; its batch may be used again.
    pub(crate) fn note_stored(&mut self, batch: Option<Batch>) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            self.patience = TURNS;
        }
        if self.spare.len() < SPARE_BATCHES {
            self.spare.extend(batch);
        }
    }

    /// The log has failed: it reports nothing any more.
    pub(crate) fn give_up(&mut self) {
        self.under_way = 0;
    }
}

/// After an order is stored, the next one takes along what can be read in so many turns.
const TURNS: u8 = 3;
/// A batch beyond this is handed in before the turn ends.
const BATCH_BYTES: usize = 1 << 20;
/// Batches kept to be filled again.
const SPARE_BATCHES: usize = 8;

#[cfg(test)]
mod tests {
    use bellbird_core::record::Settings;

    use super::Durability::{Memory, Synced};
    use super::*;

    struct Desk {
        pile: Pile,
        next: u64,
    }

    impl Desk {
        fn new() -> Self {
            Self { pile: Pile::default(), next: 1 }
        }

        /// Adds a record of so many bytes; the first tickets of what is handed in.
        fn add(&mut self, durability: Durability, bytes: usize) -> Vec<u64> {
            let (key, value) = ("k".into(), vec![0; bytes].into());
            let record = Record::Settings(Settings { key, value });
            let orders = self.pile.add(ShardId(0), Ticket(self.next), &record, durability);
            self.next += 1;
            orders.into_iter().flatten().map(|order| order.first.0).collect()
        }

        /// The end of a turn: the first ticket of what is due.
        fn settle(&mut self) -> Option<u64> {
            self.pile.is_due().then(|| self.pile.take(ShardId(0)).unwrap().first.0)
        }
    }

    #[test]
    fn the_first_is_due_at_once_and_the_next_when_it_is_stored() {
        let mut desk = Desk::new();
        assert_eq!(desk.settle(), None);
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(1));
        desk.add(Synced, 1);
        desk.pile.begin_turn(true);
        assert_eq!((desk.settle(), desk.pile.is_waiting_for_more()), (None, false));
        desk.pile.note_stored(None);
        desk.add(Synced, 1);
        assert_eq!((desk.settle(), desk.pile.is_waiting_for_more()), (None, true));
        // Nothing more to read.
        desk.pile.begin_turn(false);
        assert_eq!(desk.settle(), Some(2));
    }

    #[test]
    fn patience_has_an_end() {
        let mut desk = Desk::new();
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(1));
        desk.add(Synced, 1);
        desk.pile.note_stored(None);
        for _ in 1..TURNS {
            desk.pile.begin_turn(true);
            assert_eq!(desk.settle(), None);
        }
        desk.pile.begin_turn(true);
        assert_eq!(desk.settle(), Some(2));
    }

    #[test]
    fn who_comes_after_a_rest_does_not_wait() {
        let mut desk = Desk::new();
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(1));
        desk.pile.note_stored(None);
        desk.pile.begin_turn(true);
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(2));
    }

    #[test]
    fn levels_keep_their_order_and_large_batches_do_not_wait() {
        let mut desk = Desk::new();
        assert_eq!(desk.add(Synced, 1), []);
        assert_eq!(desk.add(Memory, 1), [1]);
        assert_eq!(desk.add(Memory, 1), []);
        assert_eq!(desk.add(Synced, 2 * BATCH_BYTES), [2, 4]);
        desk.add(Synced, 1);
        desk.pile.note_stored(None);
        desk.pile.note_stored(None);
        assert_eq!(desk.settle(), None);
        desk.pile.note_stored(None);
        desk.pile.begin_turn(false);
        assert_eq!(desk.settle(), Some(5));
    }

    #[test]
    fn a_log_that_has_failed_is_not_waited_for() {
        let mut desk = Desk::new();
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(1));
        desk.pile.give_up();
        desk.add(Synced, 1);
        assert_eq!(desk.settle(), Some(2));
        desk.pile.note_stored(None);
        desk.pile.note_stored(None);
    }
}
