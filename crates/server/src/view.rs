//! The node's view, shared by all shards: one copy, read under a lock only where a match result
//! is not cached.
//!
//! A cached result needs one atomic read: the generation of its part. A writer holds the lock for
//! a slice of changes at most. Why this way: `docs/decisions/0002-shared-view.md`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bellbird_core::{Change, Grant, Message, Subscriber, Tables, View};
use bellbird_topics::{Cursor, Filter, Namespace, PARTS, Progress, TopicName, part_of_topic};

/// One view for all shards.
pub struct SharedView {
    tables: RwLock<Tables>,
    generations: [AtomicU64; PARTS],
}

impl SharedView {
    /// An empty view whose next change gets the order after `order`.
    pub fn new(order: u64) -> Self {
        Self {
            tables: RwLock::new(Tables::new(order)),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Applies a batch, visible to every shard when it returns, and returns its order.
    pub fn apply(&self, changes: &[Change]) -> u64 {
        let mut order = 0;
        for slice in changes.chunks(SLICE_CHANGES) {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            order = tables.apply(slice, |part| match part {
                Some(part) => self.touch(part),
                None => (0..PARTS).for_each(|part| self.touch(part)),
            });
        }
        order
    }

    /// How many subscriptions and retained messages there are.
    pub fn sizes(&self) -> (usize, usize) {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        (tables.subscriptions(), tables.retained())
    }

    /// Estimated bytes of memory, without the retained messages' bodies.
    pub fn memory_bytes(&self) -> usize {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).memory_bytes()
    }

    /// Moved while the write lock is held, so that a reader which sees the new generation finds
    /// the new tables.
    fn touch(&self, part: usize) {
        self.generations[part].fetch_add(1, Ordering::Release);
    }
}

impl View for SharedView {
    fn generation(&self, part: usize) -> u64 {
        self.generations[part].load(Ordering::Acquire)
    }

    fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Grant)>,
    ) -> u64 {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.matches(namespace, topic, found);
        self.generation(part_of_topic(namespace, topic))
    }

    fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Arc<Message>>,
    ) -> Progress {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.walk(namespace, filter, cursor, budget, found)
    }
}

/// Changes applied under one hold of the lock: at about 1 µs each, readers wait 0.1 ms at most.
const SLICE_CHANGES: usize = 128;
