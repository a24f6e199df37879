//! One copy under one lock of the standard library, which all readers take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use bellbird_core::{Change, Granted, Subscriber, Tables};
use bellbird_topics::{Namespace, PARTS, TopicName, part_of_topic};

pub(crate) struct OneLock {
    tables: RwLock<Tables>,
    generations: [AtomicU64; PARTS],
}

impl OneLock {
    pub(crate) fn new() -> Self {
        Self {
            tables: RwLock::new(Tables::new(0)),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn apply(&self, changes: &[Change]) {
        for slice in changes.chunks(SLICE_CHANGES) {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            tables.apply(slice, |part| touch(&self.generations, part));
        }
    }

    pub(crate) fn generation(&self, part: usize) -> u64 {
        self.generations[part].load(Ordering::Acquire)
    }

    pub(crate) fn matches(
        &self,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64 {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.matches(Namespace(0), topic, found);
        self.generation(part_of_topic(Namespace(0), topic))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).memory_bytes()
    }
}

pub(crate) fn touch(generations: &[AtomicU64; PARTS], part: Option<usize>) {
    match part {
        Some(part) => _ = generations[part].fetch_add(1, Ordering::Release),
        None => generations.iter().for_each(|part| _ = part.fetch_add(1, Ordering::Release)),
    }
}

const SLICE_CHANGES: usize = 128;
