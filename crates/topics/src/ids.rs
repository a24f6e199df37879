//! A hash table that keeps ids only; the keys stand where the ids point.

use hashbrown::HashTable;

/// Ids by the hashes of their keys.
///
/// Many small tables instead of a large one: a table that grows hashes all its keys again, and a
/// million of them, each out of the cache, would hold up its shard for a tenth of a second.
#[derive(Debug)]
pub(crate) struct Ids {
    tables: [HashTable<u32>; TABLES],
}

/// At a million keys one table has 16,000, and grows in a millisecond or two.
const TABLES: usize = 64;

impl Ids {
    pub(crate) const fn new() -> Self {
        Ids { tables: [const { HashTable::new() }; TABLES] }
    }

    /// Adds an id that is not there; `hash_of` is asked for others when the table grows.
    pub(crate) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        self.tables[table_of(hash)].insert_unique(hash, id, |id| hash_of(*id));
    }

    /// Removes an id that is there.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        self.tables[table_of(hash)]
            .find_entry(hash, |other| *other == id)
            .expect("an id is in the table as long as its value lives")
            .remove();
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.tables[table_of(hash)].find(hash, |id| is_it(*id)).copied()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.tables.iter().map(HashTable::allocation_size).sum()
    }
}

/// From the middle of the hash: the tables themselves use both its ends.
fn table_of(hash: u64) -> usize {
    ((hash >> 40) % TABLES as u64) as usize
}
