//! The committer: one thread that owns the log. The next batch is all that arrived during the
//! running sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle};

use bellbird_core::{Durability, Position, ShardId, Ticket};
use bellbird_store::{Batch, Log, Medium, StoreError};

use crate::distillery::Distillery;
use crate::guard::guard;
use crate::mailbox::{Letter, Slit};

/// Records of one shard's turn that wait for the same.
pub(crate) struct Order {
    pub(crate) from: ShardId,
    pub(crate) first: Ticket,
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
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
            let result = guard(|| commit_all(log, &orders, &slits, &gauges));
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
    orders: &Receiver<Order>,
    slits: &[Slit],
    watch: &Watch,
) -> Result<(), StoreError> {
    let first = log.next_position();
    watch.note(&log, first);
    let mut distillery = Distillery::default();
    distillery.tend(&mut log, watch);
    let mut commit = Commit::default();
    while commit.gather(orders) {
        commit.write(&mut log, &mut |report| report.drop_in(slits))?;
        distillery.tend(&mut log, watch);
        watch.note(&log, first);
    }
    distillery.end(&mut log, watch);
    log.sync()
}

/// What is written at once: all that arrived during the last write and sync.
#[derive(Default)]
struct Commit {
    orders: Vec<Order>,
    /// Of the first record of each order.
    firsts: Vec<Position>,
}

/// An order is stored as its level demands.
struct Report {
    from: ShardId,
    first: Ticket,
    count: u32,
    position: Position,
    /// To be used again.
    batch: Option<Batch>,
}

impl Commit {
    /// Waits for an order and takes all that are there. False if no other will come.
    fn gather(&mut self, orders: &Receiver<Order>) -> bool {
        let Ok(order) = orders.recv() else { return false };
        let mut bytes = order.batch.bytes_len();
        self.orders.push(order);
        while bytes < COMMIT_BYTES
            && let Ok(order) = orders.try_recv()
        {
            bytes += order.batch.bytes_len();
            self.orders.push(order);
        }
        true
    }

    /// Writes all orders, in their order, and reports each as soon as its level allows: with one
    /// write for all of them, and one sync if any waits for it.
    fn write<M: Medium>(
        &mut self,
        log: &mut Log<M>,
        report: &mut dyn FnMut(Report),
    ) -> Result<(), StoreError> {
        self.report_followed(log.next_position(), report);
        let batches: Vec<&Batch> = self.orders.iter().map(|order| &order.batch).collect();
        log.append(&batches, &mut self.firsts)?;
        if self.orders.iter().all(|order| order.durability == Durability::Synced) {
            log.sync()?;
            self.report(Durability::Synced, report);
        } else {
            self.report(Durability::Written, report);
            if self.orders.iter().any(|order| order.durability == Durability::Synced) {
                log.sync()?;
                self.report(Durability::Synced, report);
            }
        }
        self.orders.clear();
        Ok(())
    }

    /// Reports those that the log only follows: their batches are still needed.
    fn report_followed(&self, next: Position, report: &mut dyn FnMut(Report)) {
        let mut position = next;
        for order in &self.orders {
            let count = order.count();
            if order.durability == Durability::Memory {
                let Order { from, first, .. } = *order;
                report(Report { from, first, count, position, batch: None });
            }
            position.0 += u64::from(count);
        }
    }

    fn report(&mut self, durability: Durability, report: &mut dyn FnMut(Report)) {
        for (order, position) in self.orders.iter_mut().zip(&self.firsts) {
            if order.durability == durability {
                let count = order.count();
                let mut batch = std::mem::take(&mut order.batch);
                batch.clear();
                let Order { from, first, .. } = *order;
                report(Report { from, first, count, position: *position, batch: Some(batch) });
            }
        }
    }
}

impl Order {
    fn count(&self) -> u32 {
        u32::try_from(self.batch.len()).expect("a batch counts its records in 32 bits")
    }
}

impl Report {
    fn drop_in(self, slits: &[Slit]) {
        let Self { from, first, count, position, batch } = self;
        slits[from.index()].drop_in(Letter::Stored { first, count, position, batch });
    }
}

/// Bytes of one commit, or one order if that is larger: what one write puts together.
const COMMIT_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use bellbird_core::record::{Record, Settings};
    use bellbird_store::{Fault, Faulty, Options};

    use super::Durability::{Memory, Synced, Written};
    use super::*;

    fn log(medium: &Faulty) -> Log<Faulty> {
        Log::open(medium.clone(), Options::default(), &mut |_, _| {}).unwrap().0
    }

    /// Orders of so many records each, with tickets that go on.
    fn commit(levels: &[(Durability, usize)]) -> Commit {
        let mut commit = Commit::default();
        let mut next = 1;
        for (durability, records) in levels {
            let mut batch = Batch::new();
            for _ in 0..*records {
                let (key, value) = ("k".into(), vec![0; 40].into());
                batch.push(&Record::Settings(Settings { key, value }));
            }
            let (from, first) = (ShardId(0), Ticket(next));
            commit.orders.push(Order { from, first, batch, durability: *durability });
            next += *records as u64;
        }
        commit
    }

    #[test]
    fn each_level_is_reported_as_soon_as_it_may_be() {
        let check = |levels: &[(Durability, usize)], fault: Option<Fault>, expected: &[u64]| {
            let mut medium = Faulty::new(1);
            let mut log = log(&medium);
            medium.inject(fault.unwrap_or(Fault::Space(1 << 30)));
            let mut reported = Vec::new();
            let written = commit(levels).write(&mut log, &mut |report| {
                // One record after the other, in the order of the tickets.
                assert_eq!(report.position.0, report.first.0);
                reported.push(report.first.0);
            });
            assert_eq!(written.is_err(), fault.is_some(), "{levels:?} {fault:?}");
            assert_eq!(reported, expected, "{levels:?} {fault:?}");
        };
        let mixed = [(Synced, 2), (Memory, 1), (Written, 3), (Synced, 1), (Memory, 1)];
        check(&mixed, None, &[3, 8, 4, 1, 7]);
        check(&mixed, Some(Fault::Sync), &[3, 8, 4]);
        check(&mixed, Some(Fault::ShortAppend(1)), &[3, 8]);
        check(&[(Synced, 1), (Synced, 1)], Some(Fault::Sync), &[]);
        check(&[(Synced, 1), (Synced, 1)], None, &[1, 2]);
    }

    #[test]
    fn nothing_is_synced_that_nobody_waits_for() {
        let mut medium = Faulty::new(1);
        let mut log = log(&medium);
        // The next sync would fail.
        medium.inject(Fault::Sync);
        commit(&[(Written, 2), (Memory, 1)]).write(&mut log, &mut |_| {}).unwrap();
        commit(&[(Synced, 1)]).write(&mut log, &mut |_| {}).unwrap_err();
    }
}
