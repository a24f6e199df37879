//! The node's view, shared by all shards: one copy, read under a lock only where a match result
//! is not cached.
//!
//! A cached result needs one atomic read: the generation of its part. The lock is in pieces, one
//! per shard: a reader touches its own, a writer takes them all for a slice of changes. Why this
//! way: `docs/decisions/0002-shared-view.md`.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bellbird_core::{Change, Granted, Holder, Message, RetainedSize, Subscriber, Tables, View};
use bellbird_topics::{Cursor, Filter, Namespace, PARTS, Progress, TopicName, part_of_topic};

/// The view as one reader has it. A clone shows the same view to another reader: each thread
/// that reads much should have its own.
pub struct SharedView {
    shared: Arc<Shared>,
    stripe: Arc<Stripe>,
}

impl SharedView {
    /// An empty view whose next change gets the order after `order`.
    pub fn new(order: u64) -> Self {
        let stripe = Stripe::new(Arc::new(Tables::new(order)));
        let shared = Shared {
            stripes: Mutex::new(vec![stripe.clone()]),
            is_wanted: AtomicBool::new(false),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self { shared: Arc::new(shared), stripe }
    }

    /// Applies a batch, visible to every reader when it returns, and returns its order.
    pub fn apply(&self, changes: &[Change]) -> u64 {
        let stripes = self.shared.stripes();
        let mut order = 0;
        for (index, slice) in changes.chunks(SLICE_CHANGES).enumerate() {
            if index > 0 {
                // Readers that wait see that the lock is free, and come in.
                (0..PAUSE).for_each(|_| spin_loop());
            }
            order = self.shared.apply_slice(&stripes, slice);
        }
        order
    }

    /// How many subscriptions there are, and how much is retained.
    pub fn sizes(&self) -> (usize, RetainedSize) {
        self.read(|tables| (tables.subscriptions(), tables.retained()))
    }

    /// Estimated bytes of memory, without the retained messages' bodies.
    pub fn memory_bytes(&self) -> usize {
        self.read(Tables::memory_bytes)
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        let mut tries = TRIES;
        while self.shared.is_wanted.load(Ordering::Relaxed) && tries > 0 {
            spin_loop();
            tries -= 1;
        }
        look(self.stripe.read().as_ref().expect(PRESENT))
    }
}

impl View for SharedView {
    fn generation(&self, part: usize) -> u64 {
        self.shared.generations[part].load(Ordering::Acquire)
    }

    fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64 {
        self.read(|tables| {
            tables.matches(namespace, topic, found);
            self.generation(part_of_topic(namespace, topic))
        })
    }

    fn owner(&self, namespace: Namespace, filter: &str) -> Option<Holder> {
        self.read(|tables| tables.owner(namespace, filter))
    }

    fn retained(&self) -> RetainedSize {
        self.read(Tables::retained)
    }

    fn retained_with(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
    ) -> RetainedSize {
        self.read(|tables| tables.retained_with(namespace, topic, bytes))
    }

    fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Message>,
    ) -> Progress {
        self.read(|tables| tables.walk(namespace, filter, cursor, budget, found))
    }
}

impl Clone for SharedView {
    fn clone(&self) -> Self {
        // No writer is at work while this is held.
        let mut stripes = self.shared.stripes();
        let tables = self.stripe.read().as_ref().expect(PRESENT).clone();
        let stripe = Stripe::new(tables);
        stripes.push(stripe.clone());
        Self { shared: self.shared.clone(), stripe }
    }
}

impl Drop for SharedView {
    fn drop(&mut self) {
        // The handle goes while the list is held: a writer that does not find the stripe there
        // must not find the tables in use either.
        let mut stripes = self.shared.stripes();
        stripes.retain(|stripe| !Arc::ptr_eq(stripe, &self.stripe));
        let handle = self.stripe.write().take();
        drop(handle);
    }
}

/// What all readers have in common.
struct Shared {
    /// The pieces of the lock. Writers wait for each other here, where they keep no reader
    /// waiting, and one at a time takes the pieces, so that their order does not matter.
    stripes: Mutex<Vec<Arc<Stripe>>>,
    /// Set by a writer that wants in: readers then stay out of its way. Otherwise it would find
    /// one in each time and sleep, and to wake takes ten times as long as a match.
    is_wanted: AtomicBool,
    generations: [AtomicU64; PARTS],
}

impl Shared {
    fn apply_slice(&self, stripes: &[Arc<Stripe>], changes: &[Change]) -> u64 {
        self.is_wanted.store(true, Ordering::Relaxed);
        let mut pieces: Vec<_> = stripes.iter().map(|stripe| stripe.write()).collect();
        let mut tables = None;
        for piece in &mut pieces {
            tables = piece.take();
        }
        let mut tables = tables.expect(PRESENT);
        let sole = Arc::get_mut(&mut tables).expect("the other handles have just been dropped");
        // Generations move while readers are out, so that one that sees the new generation finds
        // the new tables.
        let order = sole.apply(changes, |part| match part {
            Some(part) => self.touch(part),
            None => (0..PARTS).for_each(|part| self.touch(part)),
        });
        for piece in &mut pieces {
            **piece = Some(tables.clone());
        }
        drop(pieces);
        self.is_wanted.store(false, Ordering::Relaxed);
        order
    }

    fn touch(&self, part: usize) {
        self.generations[part].fetch_add(1, Ordering::Release);
    }

    fn stripes(&self) -> MutexGuard<'_, Vec<Arc<Stripe>>> {
        self.stripes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader's piece of the lock, and its handle of the one copy. Alone on its cache lines: two,
/// for processors fetch them in pairs.
#[repr(align(128))]
struct Stripe(RwLock<Option<Arc<Tables>>>);

impl Stripe {
    fn new(tables: Arc<Tables>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Some(tables))))
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Arc<Tables>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Arc<Tables>>> {
        for _ in 0..TRIES {
            if let Ok(piece) = self.0.try_write() {
                return piece;
            }
            spin_loop();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

const PRESENT: &str = "every stripe has its handle but while a writer holds it";
/// Changes applied under one hold of the lock: at about 1 µs each, readers wait for a few tens
/// of microseconds.
const SLICE_CHANGES: usize = 16;
/// Looks at the lock before sleeping: longer than a slice takes.
const TRIES: u32 = 2_000;
/// A look or two of those who wait, about 1 µs.
const PAUSE: u32 = 50;

#[cfg(test)]
mod tests {
    use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
    use bellbird_core::{ShardId, Slot, Subscription};

    use super::*;

    fn change(number: u64) -> Change {
        let options = SubscribeOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        };
        let subscriber = Subscriber {
            slot: Slot::new(ShardId(0), 0).unwrap(),
            holder: Holder { number, incarnation: 1 },
        };
        let subscription = Subscription { options, id: None };
        let granted = Granted::new(subscription, false);
        Change::Subscribe { namespace: Namespace(0), filter: "a/b".into(), subscriber, granted }
    }

    fn count(view: &SharedView) -> (usize, u64) {
        let mut found = Vec::new();
        let topic = TopicName::parse("a/b").unwrap();
        let generation = view.matches(Namespace(0), topic, &mut found);
        (found.len(), generation)
    }

    #[test]
    fn every_reader_sees_what_any_applied() {
        let view = SharedView::new(7);
        let other = view.clone();
        assert_eq!(view.apply(&[change(1)]), 8);
        assert_eq!(other.apply(&[change(2)]), 9);
        assert_eq!((count(&view), count(&other)), ((2, 2), (2, 2)));
        drop(view);
        let third = other.clone();
        other.apply(&(3..100).map(change).collect::<Vec<_>>());
        assert_eq!((count(&other).0, count(&third).0), (99, 99));
    }

    #[test]
    fn readers_come_and_go_while_others_write() {
        let shared = SharedView::new(0);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let view = shared.clone();
                scope.spawn(move || {
                    for number in 0..2_000 {
                        view.apply(&[change(writer * 2_000 + number)]);
                    }
                });
            }
            for _ in 0..2 {
                let view = shared.clone();
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        drop(view.clone());
                    }
                });
            }
        });
        assert_eq!(count(&shared).0, 4_000);
    }

    #[test]
    fn a_result_is_never_older_than_its_generation() {
        let shared = SharedView::new(0);
        let (writers, each) = (2, 300);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let view = shared.clone();
                scope.spawn(move || {
                    for number in 0..each {
                        view.apply(&[change(writer * each + number)]);
                    }
                });
            }
            for _ in 0..2 {
                let view = shared.clone();
                scope.spawn(move || {
                    while count(&view).0 < 600 {
                        let (found, generation) = count(&view);
                        // One change is one step of the generation here.
                        assert_eq!(found as u64, generation);
                    }
                });
            }
        });
    }
}
