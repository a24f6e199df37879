//! A shard's sessions: places that are used again, found by client.

use std::hash::{BuildHasher, Hasher};

use bellbird_topics::Namespace;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::contract::{Slot, Subscriber};
use crate::identity::{Holder, Lane, ShardId};
use crate::session::Session;
use crate::slots::Slots;

/// The sessions whose home is this shard.
pub(crate) struct Sessions {
    me: ShardId,
    slots: Slots<Session>,
    /// Slots that are or were in use.
    places: u32,
    free: Vec<u32>,
    by_client: HashTable<u32>,
    hasher: FixedState,
    next_number: u64,
    shards: u64,
}

/// The lane of a publisher: the same over reconnections and restarts.
pub(crate) fn lane_of(namespace: Namespace, client_id: &str) -> Lane {
    let hash = hash_of(&FixedState::with_seed(HOME_SEED), namespace, client_id);
    Lane(u32::try_from(hash & 0xFFFF_FFFF).expect("masked to 32 bits"))
}

/// The home of a session.
pub fn home_of(namespace: Namespace, client_id: &str, shards: u8) -> ShardId {
    let hash = hash_of(&FixedState::with_seed(HOME_SEED), namespace, client_id);
    let home = (hash >> 32) % u64::from(shards.max(1));
    ShardId(u8::try_from(home).expect("a remainder of a u8"))
}

impl Sessions {
    /// `first_number` is above every number in the log; the shards share out what follows.
    pub(crate) fn new(me: ShardId, shards: u8, first_number: u64) -> Self {
        let shards = u64::from(shards);
        Self {
            me,
            slots: Slots::new(),
            places: 0,
            free: Vec::new(),
            by_client: HashTable::new(),
            hasher: FixedState::with_seed(TABLE_SEED),
            next_number: first_number + u64::from(me.0),
            shards,
        }
    }

    /// A number that no holder had before.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += self.shards;
        number
    }

    /// Adds a session; none if the shard is full (2²⁴ sessions).
    pub(crate) fn add(&mut self, session: Session) -> Option<u32> {
        let hash = hash_of(&self.hasher, session.namespace, session.name.client_id());
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = self.places;
                Slot::new(self.me, index)?;
                self.places += 1;
                index
            }
        };
        self.slots.put(index, session);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_client.insert_unique(hash, index, |index| {
            let session = &slots[*index];
            hash_of(hasher, session.namespace, session.name.client_id())
        });
        Some(index)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Session> {
        let session = self.slots.take(index)?;
        let hash = hash_of(&self.hasher, session.namespace, session.name.client_id());
        if let Ok(entry) = self.by_client.find_entry(hash, |found| *found == index) {
            entry.remove();
        }
        self.free.push(index);
        Some(session)
    }

    pub(crate) fn find(&self, namespace: Namespace, client_id: &str) -> Option<u32> {
        let hash = hash_of(&self.hasher, namespace, client_id);
        let is_it = |index: &u32| {
            let session = &self.slots[*index];
            session.namespace == namespace && session.name.client_id() == client_id
        };
        self.by_client.find(hash, is_it).copied()
    }

    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Session> {
        self.slots.get_mut(index)
    }

    /// The session of this subscriber, unless its place has been used again since.
    pub(crate) fn of(&mut self, subscriber: Subscriber) -> Option<(u32, &mut Session)> {
        let index = u32::try_from(subscriber.slot.index()).ok()?;
        let session = self.slots.get_mut(index)?;
        (session.holder == subscriber.holder).then_some((index, session))
    }

    /// How the view knows the session in this place.
    pub(crate) fn subscriber(&self, index: u32, holder: Holder) -> Subscriber {
        let slot = Slot::new(self.me, index).expect("sessions are only added within the bound");
        Subscriber { slot, holder }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().map(|(_, session)| session)
    }

    /// Places that sessions have or had: their indices are below this.
    pub(crate) fn places(&self) -> u32 {
        self.places
    }

    pub(crate) fn len(&self) -> usize {
        self.by_client.len()
    }
}

fn hash_of(hasher: &FixedState, namespace: Namespace, client_id: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(namespace.0);
    hasher.write(client_id.as_bytes());
    hasher.finish()
}

/// The home must not follow the place in a shard's own table, so the two hash differently.
const HOME_SEED: u64 = 0x0068_6f6d_6531;
const TABLE_SEED: u64 = 0x7461_626c_6532;
