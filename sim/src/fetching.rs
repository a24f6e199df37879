//! Messages that left the node's memory and come back from the store.

use bellbird_core::contract::{Input, Subscriber};
use bellbird_core::identity::Position;
use bellbird_core::{DropReason, Message};

use crate::plant::Plant;
use crate::world::World;

/// What a shard asked for and has not got.
pub(crate) struct Fetch {
    pub(crate) shard: usize,
    pub(crate) of: Subscriber,
    pub(crate) positions: Vec<Position>,
}

impl World {
    pub(crate) fn take_fetch(&mut self, shard: usize, of: Subscriber, positions: Vec<Position>) {
        self.line(format_args!("{shard}< fetch for {} {positions:?}", of.holder));
        if positions.is_empty() || self.node.fetches.iter().any(|fetch| fetch.of == of) {
            self.fail(format!("shard {shard} asks for {of:?} {positions:?} out of turn"));
        }
        self.node.fetches.push(Fetch { shard, of, positions });
    }

    /// Answers one of the questions, whichever.
    pub(crate) fn step_fetched(&mut self) -> bool {
        if self.node.fetches.is_empty() {
            return false;
        }
        let index = self.rng.below(self.node.fetches.len());
        let Some(mut messages) = self.store.fetch(&self.node.fetches[index].positions) else {
            return false;
        };
        let Fetch { shard, of, positions } = self.node.fetches.remove(index);
        // A session that ended meanwhile may have taken its messages with it.
        self.stats.fetched += messages.len() as u64;
        self.spoil_fetched(&mut messages);
        self.line(format_args!("{shard}> fetched for {}", of.holder));
        let _flow = self.feed(shard, Input::Fetched { of, messages });
        self.settle(shard);
        if self.node.shards[shard].ledger().dropped[DropReason::Unreadable as usize] > 0 {
            self.fail(format!("of {positions:?} some are not to be found"));
        }
        true
    }

    fn spoil_fetched(&mut self, messages: &mut [Option<Message>]) {
        match self.plant {
            Some(Plant::FetchedSwapped) if messages.len() > 1 => messages.swap(0, 1),
            Some(Plant::FetchedLost) if self.rng.chance(30) => messages[0] = None,
            Some(_) | None => {}
        }
    }
}
