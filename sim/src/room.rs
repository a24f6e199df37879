//! A disk that is full now and then: each shard hears of it in its own time.

use std::collections::VecDeque;

use bellbird_core::Storage;
use bellbird_core::contract::Input;

use crate::plant::Plant;
use crate::world::World;

/// What the committer knows, and what it has told.
pub(crate) struct Room {
    storage: Storage,
    /// What each shard has heard.
    heard: Vec<Storage>,
    /// What the shards are still to hear.
    news: Vec<VecDeque<Storage>>,
}

impl Room {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            storage: Storage::Ready,
            heard: vec![Storage::Ready; shards],
            news: vec![VecDeque::new(); shards],
        }
    }

    /// Whether some shard has not heard that there is room.
    pub(crate) fn is_short(&self) -> bool {
        self.heard.contains(&Storage::Full)
    }
}

impl World {
    /// The committer finds that there is room, or that there is none.
    pub(crate) fn storage_is(&mut self, storage: Storage) {
        if self.node.room.storage == storage {
            return;
        }
        self.node.room.storage = storage;
        self.line(format_args!("storage: {storage:?}"));
        self.node.room.news.iter_mut().for_each(|waiting| waiting.push_back(storage));
    }

    /// Somebody fills the volume, or clears it.
    pub(crate) fn step_room(&mut self) -> bool {
        let is_full = self.node.room.storage == Storage::Full;
        let chance = if is_full { 30 } else { self.shape.full };
        if !self.rng.chance(chance) {
            return false;
        }
        self.stats.full += u64::from(!is_full);
        self.storage_is(if is_full { Storage::Ready } else { Storage::Full });
        true
    }

    /// A shard hears of it.
    pub(crate) fn step_storage(&mut self) -> bool {
        let news = self.node.room.news.iter().enumerate();
        let waiting = news.filter(|(_, news)| !news.is_empty()).map(|(shard, _)| shard);
        let Some(shard) = self.rng.any(waiting) else { return false };
        let Some(storage) = self.node.room.news[shard].pop_front() else { return false };
        self.line(format_args!("{shard}> storage {storage:?}"));
        self.node.room.heard[shard] = storage;
        if self.plant == Some(Plant::RoomUnheard) && storage == Storage::Ready {
            // Everybody but the shard believes that it heard.
            return true;
        }
        let _flow = self.feed(shard, Input::Storage(storage));
        self.settle(shard);
        true
    }

    /// Whether what a connection publishes may be refused, or not be kept, for want of room.
    pub(crate) fn lacks_room(&self, link: usize) -> bool {
        let place = self.links[link].place;
        place.is_some_and(|(shard, _)| self.node.room.heard[shard] == Storage::Full)
    }
}
