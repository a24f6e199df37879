//! The committer: one thread that owns the log. The next batch is all that arrived during the
//! running sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle};

use bellbird_core::{Position, ShardId, Ticket};
use bellbird_store::{Batch, Log, Medium, StoreError};

use crate::distillery::Distillery;
use crate::guard::guard;
use crate::mailbox::{Letter, Slit};

/// What an acknowledgement of something durable waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Stable storage: it survives the loss of power.
    #[default]
    Synced,
    /// The operating system: it survives the end of the process.
    Written,
    /// Nothing: the log follows behind.
    Memory,
}

/// Records of one shard's turn.
pub(crate) struct Order {
    pub(crate) from: ShardId,
    pub(crate) first: Ticket,
    pub(crate) batch: Batch,
}

/// The committer's thread; it ends when every shard has dropped its sender.
pub(crate) struct Committer {
    thread: JoinHandle<Result<(), StoreError>>,
    watch: Watch,
}

/// How the log is, for whoever watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Gauges>);

#[derive(Debug, Default)]
struct Gauges {
    has_failed: AtomicBool,
    bytes: AtomicU64,
    bytes_written: AtomicU64,
    records: AtomicU64,
    checkpoints: AtomicU64,
}

/// The log in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogReport {
    /// What its files take, but for zeros written ahead.
    pub bytes: u64,
    /// Written since the start, checkpoints included.
    pub bytes_written: u64,
    /// Records written since the start.
    pub records: u64,
    /// Checkpoints made since the start.
    pub checkpoints: u64,
}

impl Watch {
    /// Whether the log has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    pub(crate) fn report(&self) -> LogReport {
        let Gauges { has_failed: _, bytes, bytes_written, records, checkpoints } = &*self.0;
        LogReport {
            bytes: bytes.load(Ordering::Relaxed),
            bytes_written: bytes_written.load(Ordering::Relaxed),
            records: records.load(Ordering::Relaxed),
            checkpoints: checkpoints.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count_checkpoint(&self) {
        self.0.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    fn note<M: Medium>(&self, log: &Log<M>, first: Position) {
        let Gauges { bytes, bytes_written, records, .. } = &*self.0;
        bytes.store(log.bytes(), Ordering::Relaxed);
        bytes_written.store(log.bytes_written(), Ordering::Relaxed);
        records.store(log.next_position().0 - first.0, Ordering::Relaxed);
    }
}

pub(crate) type Orders = Sender<Order>;

impl Committer {
    /// Starts the thread. `on_failure` runs on it if the log fails, after which nothing is
    /// reported stored any more.
    pub(crate) fn start<M>(
        log: Log<M>,
        durability: Durability,
        orders: Receiver<Order>,
        slits: Vec<Slit>,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self>
    where
        M: Medium + Send + 'static,
        M::File: Send,
    {
        let watch = Watch::default();
        let gauges = watch.clone();
        let run = move || {
            let result = guard(|| commit_all(log, durability, &orders, &slits, &gauges));
            if result.is_err() {
                gauges.0.has_failed.store(true, Ordering::Release);
                on_failure();
                // Shards still hand in what they have; none of it is acknowledged.
                orders.iter().for_each(drop);
            }
            result
        };
        let thread = thread::Builder::new().name("committer".into()).spawn(run)?;
        Ok(Self { thread, watch })
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Waits for the end: everything handed in is on stable storage.
    pub(crate) fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn commit_all<M: Medium + Send + 'static>(
    mut log: Log<M>,
    durability: Durability,
    orders: &Receiver<Order>,
    slits: &[Slit],
    watch: &Watch,
) -> Result<(), StoreError> {
    let first = log.next_position();
    watch.note(&log, first);
    let mut distillery = Distillery::default();
    distillery.tend(&mut log, watch);
    let mut waiting: Vec<Order> = Vec::new();
    let mut positions = Vec::new();
    while let Ok(order) = orders.recv() {
        let mut bytes = order.batch.bytes_len();
        waiting.push(order);
        while bytes < COMMIT_BYTES
            && let Ok(order) = orders.try_recv()
        {
            bytes += order.batch.bytes_len();
            waiting.push(order);
        }
        if durability == Durability::Memory {
            let batches: Vec<Batch> = waiting.iter().map(|order| order.batch.clone()).collect();
            let mut next = log.next_position();
            positions.clear();
            for batch in &batches {
                positions.push(next);
                next = Position(next.0 + batch.len() as u64);
            }
            report(&mut waiting, &positions, slits);
            log.append(&batches.iter().collect::<Vec<_>>(), &mut positions)?;
            distillery.tend(&mut log, watch);
            watch.note(&log, first);
            continue;
        }
        let batches: Vec<&Batch> = waiting.iter().map(|order| &order.batch).collect();
        log.append(&batches, &mut positions)?;
        if durability == Durability::Synced {
            log.sync()?;
        }
        report(&mut waiting, &positions, slits);
        distillery.tend(&mut log, watch);
        watch.note(&log, first);
    }
    distillery.end(&mut log, watch);
    log.sync()
}

fn report(waiting: &mut Vec<Order>, positions: &[Position], slits: &[Slit]) {
    for (order, position) in waiting.drain(..).zip(positions) {
        let Order { from, first, mut batch } = order;
        let count = u32::try_from(batch.len()).expect("a batch counts its records in 32 bits");
        batch.clear();
        slits[from.index()].drop_in(Letter::Stored { first, count, position: *position, batch });
    }
}

/// Bytes of one commit, or one order if that is larger: what one write puts together.
const COMMIT_BYTES: usize = 16 << 20;
