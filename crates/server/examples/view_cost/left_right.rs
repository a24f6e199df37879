//! Two copies for the node: readers are on one, a batch is applied to the other, then they
//! change places. What the one that was left lacks is applied to it before the next batch.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bellbird_core::{Change, Granted, Subscriber, Tables};
use bellbird_topics::{Namespace, PARTS, TopicName, part_of_topic};

use crate::one_lock::touch;

pub(crate) struct LeftRight {
    /// The last batch, which the side without readers lacks.
    lacking: Mutex<Vec<Change>>,
    /// On which side readers are.
    side: AtomicUsize,
    sides: [Stripes; 2],
    generations: [AtomicU64; PARTS],
}

impl LeftRight {
    pub(crate) fn new(readers: usize) -> Self {
        Self {
            lacking: Mutex::new(Vec::new()),
            side: AtomicUsize::new(0),
            sides: [Stripes::new(readers), Stripes::new(readers)],
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn apply(&self, changes: &[Change]) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let other = 1 - self.side.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        self.sides[other].write(|tables| {
            tables.apply(&lacking, |_| {});
            tables.apply(changes, |part| parts.push(part));
        });
        self.side.store(other, Ordering::Release);
        // After the change of sides: a reader that sees the new generation goes to the new side.
        for part in parts {
            touch(&self.generations, part);
        }
        lacking.clear();
        lacking.extend_from_slice(changes);
    }

    pub(crate) fn generation(&self, part: usize) -> u64 {
        self.generations[part].load(Ordering::Acquire)
    }

    pub(crate) fn matches(
        &self,
        reader: usize,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64 {
        loop {
            // Before the side is chosen: a result may be better than its generation, never worse.
            let generation = self.generation(part_of_topic(Namespace(0), topic));
            let side = &self.sides[self.side.load(Ordering::Acquire)];
            let look = |tables: &Tables| tables.matches(Namespace(0), topic, found);
            // A writer is on a side only after it has sent readers to the other.
            if side.try_read(reader, look).is_some() {
                return generation;
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.sides.iter().filter_map(|side| side.try_read(0, Tables::memory_bytes)).sum()
    }
}

/// Handles of one `Tables`, each behind its reader's lock.
struct Stripes(Box<[Stripe]>);

#[repr(align(128))]
struct Stripe(RwLock<Option<Arc<Tables>>>);

impl Stripes {
    fn new(readers: usize) -> Self {
        let tables = Arc::new(Tables::new(0));
        Self((0..readers).map(|_| Stripe(RwLock::new(Some(tables.clone())))).collect())
    }

    fn write(&self, change: impl FnOnce(&mut Tables)) {
        let mut locks = Vec::with_capacity(self.0.len());
        for Stripe(handle) in &self.0 {
            locks.push(handle.write().unwrap_or_else(PoisonError::into_inner));
        }
        let mut tables = None;
        for lock in &mut locks {
            tables = lock.take();
        }
        let mut tables = tables.expect(PRESENT);
        change(Arc::get_mut(&mut tables).expect("the others were just dropped"));
        for lock in &mut locks {
            **lock = Some(tables.clone());
        }
    }

    /// None while a writer is here.
    fn try_read<T>(&self, reader: usize, look: impl FnOnce(&Tables) -> T) -> Option<T> {
        let tables = self.0[reader].0.try_read().ok()?;
        Some(look(tables.as_ref().expect(PRESENT)))
    }
}

const PRESENT: &str = "every stripe has a handle between writes";
