//! The committer: one thread that owns the log. The next batch is all that arrived during the
//! running sync.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bellbird_core::{Durability, Position, ShardId, Storage, Ticket};
use bellbird_store::{Batch, Log, Medium, StoreError};

use crate::distillery::Distillery;
use crate::guard::guard;
use crate::mailbox::{Letter, Slit};
use crate::preallocator::Preallocator;
use crate::room::{RETRY, Room};

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
    record_bytes: AtomicU64,
    records: AtomicU64,
    checkpoints: AtomicU64,
    /// The place of the state in [`Storage::ALL`].
    storage: AtomicUsize,
    free_bytes: AtomicU64,
    free_bytes_min: AtomicU64,
}

/// The log in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogReport {
    /// What its files take, but for zeros written ahead.
    pub bytes: u64,
    /// Written since the start: headers, checkpoints and zeros included.
    pub bytes_written: u64,
    /// What the records took that were written since the start, each counted once.
    pub record_bytes: u64,
    /// Records written since the start.
    pub records: u64,
    /// Checkpoints made since the start.
    pub checkpoints: u64,
    /// Whether it takes what must be stored.
    pub storage: Storage,
    /// What the volume had free at the last look; looks come with what is written.
    pub free_bytes: u64,
}

impl Watch {
    /// Whether the log has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    pub(crate) fn report(&self) -> LogReport {
        let Gauges { bytes, bytes_written, record_bytes, records, checkpoints, .. } = &*self.0;
        LogReport {
            storage: self.storage(),
            free_bytes: self.free_bytes(),
            bytes: bytes.load(Ordering::Relaxed),
            bytes_written: bytes_written.load(Ordering::Relaxed),
            record_bytes: record_bytes.load(Ordering::Relaxed),
            records: records.load(Ordering::Relaxed),
            checkpoints: checkpoints.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn storage(&self) -> Storage {
        let place = self.0.storage.load(Ordering::Relaxed);
        Storage::ALL.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn note_storage(&self, storage: Storage) {
        self.0.storage.store(storage as usize, Ordering::Relaxed);
    }

    pub(crate) fn note_free_bytes(&self, bytes: u64) {
        self.0.free_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.0.free_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn free_bytes_min(&self) -> u64 {
        self.0.free_bytes_min.load(Ordering::Relaxed)
    }

    pub(crate) fn set_free_bytes_min(&self, bytes: u64) {
        self.0.free_bytes_min.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_checkpoint(&self) {
        self.0.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    fn note<M: Medium>(&self, log: &Log<M>, first: Position) {
        let Gauges { bytes, bytes_written, record_bytes, records, .. } = &*self.0;
        bytes.store(log.bytes(), Ordering::Relaxed);
        bytes_written.store(log.bytes_written(), Ordering::Relaxed);
        record_bytes.store(log.record_bytes(), Ordering::Relaxed);
        records.store(log.next_position().0 - first.0, Ordering::Relaxed);
    }
}

/// What the committer is told.
pub(crate) enum Task {
    /// Something is to be stored.
    Commit(Order),
    /// The operator has changed what counts as room.
    Look,
}

pub(crate) type Orders = Sender<Task>;

impl Committer {
    /// Starts the thread. `on_failure` runs on it if the log fails, after which nothing is
    /// reported stored any more.
    pub(crate) fn start<M>(
        log: Log<M>,
        tasks: Receiver<Task>,
        slits: Vec<Slit>,
        distillery: Distillery,
        free_bytes_min: u64,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self>
    where
        M: Medium + Send + 'static,
        M::File: Send,
    {
        let watch = Watch::default();
        watch.set_free_bytes_min(free_bytes_min);
        let gauges = watch.clone();
        let run = move || {
            let result = guard(|| commit_all(log, distillery, &tasks, &slits, &gauges));
            if let Err(error) = &result {
                gauges.0.has_failed.store(true, Ordering::Release);
                gauges.note_storage(Storage::Failed);
                log::error!(
                    "the log has failed: {error}; nothing that must be stored is promised any more: \
                     such messages and persistent sessions are refused, and what needs no disk goes on"
                );
                slits.iter().for_each(|slit| slit.drop_in(Letter::Storage(Storage::Failed)));
                on_failure();
                // Shards still hand in what they have; none of it is acknowledged.
                tasks.iter().for_each(drop);
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

fn commit_all<M>(
    mut log: Log<M>,
    mut distillery: Distillery,
    tasks: &Receiver<Task>,
    slits: &[Slit],
    watch: &Watch,
) -> Result<(), StoreError>
where
    M: Medium + Send + 'static,
    M::File: Send,
{
    let first = log.next_position();
    let (mut room, mut commit) = (Room::new(), Commit::default());
    let mut preallocator = Preallocator::new();
    loop {
        distillery.tend(&mut log, watch)?;
        if std::mem::take(&mut commit.must_look) {
            room.look_again();
        }
        room.look(&log, watch, slits);
        room.make(&mut log, &mut distillery, watch)?;
        preallocator.tend(&mut log, room.spare_bytes(watch));
        watch.note(&log, first);
        match commit.gather(tasks, room.patience().or(distillery.patience())) {
            Gathered::Orders => {}
            Gathered::Nothing => continue,
            Gathered::End => break,
        }
        commit.report_followed(log.next_position(), &mut |report| report.drop_in(slits));
        let mut tries_left = LAST_TRIES;
        loop {
            match commit.write(&mut log, &mut |report| report.drop_in(slits)) {
                Ok(()) => break,
                Err(error @ StoreError::Full { .. }) => {
                    room.is_out(&log, &error, watch, slits);
                    if !commit.pause(tasks) {
                        tries_left -= 1;
                    }
                    if tries_left == 0 {
                        return Err(error);
                    }
                    distillery.tend(&mut log, watch)?;
                    preallocator.tend(&mut log, 0);
                    room.make(&mut log, &mut distillery, watch)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    distillery.end(&mut log, watch);
    preallocator.end(&mut log);
    log.close()
}

/// What is written at once: all that arrived during the last write and sync.
#[derive(Default)]
struct Commit {
    orders: Vec<Order>,
    /// Of the first record of each order.
    firsts: Vec<Position>,
    /// Came while the others had no room.
    later: VecDeque<Order>,
    /// What counts as room has changed.
    must_look: bool,
}

/// What waiting for orders came to.
enum Gathered {
    Orders,
    /// None came in time, or something else has happened.
    Nothing,
    /// No other will come.
    End,
}

impl Commit {
    /// Waits for an order, so long at most, and takes all that are there.
    fn gather(&mut self, tasks: &Receiver<Task>, patience: Option<Duration>) -> Gathered {
        let mut bytes = 0;
        while bytes < COMMIT_BYTES {
            let task = match (self.later.pop_front(), self.orders.is_empty(), patience) {
                (Some(order), _, _) => Ok(Task::Commit(order)),
                (None, true, None) => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (None, true, Some(patience)) => tasks.recv_timeout(patience),
                (None, false, _) => tasks.try_recv().map_err(|_| RecvTimeoutError::Timeout),
            };
            match task {
                Ok(Task::Commit(order)) => {
                    bytes += order.batch.bytes_len();
                    self.orders.push(order);
                }
                Ok(Task::Look) => {
                    self.must_look = true;
                    break;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Gathered::End,
            }
        }
        if self.orders.is_empty() { Gathered::Nothing } else { Gathered::Orders }
    }

    /// Waits until what had no room is tried again. False if nobody is there any more to hand in
    /// something else.
    fn pause(&mut self, tasks: &Receiver<Task>) -> bool {
        let until = Instant::now() + RETRY;
        loop {
            match tasks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Task::Commit(order)) => self.later.push_back(order),
                Ok(Task::Look) => {
                    self.must_look = true;
                    return true;
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                    return false;
                }
            }
        }
    }

    /// Writes all orders, in their order, and reports each as soon as its level allows: with one
    /// write for all of them, and one sync if any waits for it. If there is no room, all is as
    /// before, and it may be called again.
    fn write<M: Medium>(
        &mut self,
        log: &mut Log<M>,
        report: &mut dyn FnMut(Report),
    ) -> Result<(), StoreError> {
        let batches: Vec<&Batch> = self.orders.iter().map(|order| &order.batch).collect();
        if self.orders.iter().all(|order| order.durability != Durability::Synced) {
            log.append(&batches, &mut self.firsts)?;
            self.report(Durability::Written, report);
        } else {
            log.append_before_sync(&batches, &mut self.firsts)?;
            self.report(Durability::Written, report);
            log.sync()?;
            self.report(Durability::Synced, report);
        }
        self.orders.clear();
        Ok(())
    }

    /// Reports those that the log only follows, before anything is written: their batches are
    /// still needed.
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

/// An order is stored as its level demands.
struct Report {
    from: ShardId,
    first: Ticket,
    count: u32,
    position: Position,
    /// To be used again.
    batch: Option<Batch>,
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
/// How often what has no room is tried again when the node ends.
const LAST_TRIES: u32 = 10;

#[cfg(test)]
mod tests {
    use bellbird_core::record::{Record, Settings};
    use bellbird_store::{Fault, Faulty, Options};

    use std::sync::mpsc::channel;

    use super::Durability::{Memory, Synced, Written};
    use super::*;
    use crate::alive::Alive;
    use crate::mailbox::{Mailbox, mailbox};
    use crate::view::SharedView;

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
            let mut report = |report: Report| {
                // One record after the other, in the order of the tickets.
                assert_eq!(report.position.0, report.first.0);
                reported.push(report.first.0);
            };
            let mut commit = commit(levels);
            commit.report_followed(log.next_position(), &mut report);
            let written = commit.write(&mut log, &mut report);
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

    #[test]
    fn what_had_no_room_is_written_once_there_is() {
        let mut medium = Faulty::new(1);
        let mut log = log(&medium);
        let mut commit = commit(&[(Synced, 2), (Memory, 1), (Written, 1)]);
        let mut reported = Vec::new();
        let mut report = |report: Report| reported.push((report.first.0, report.position.0));
        commit.report_followed(log.next_position(), &mut report);
        medium.bound(Some(0));
        for _ in 0..3 {
            let error = commit.write(&mut log, &mut report).unwrap_err();
            assert!(matches!(error, StoreError::Full { .. }), "{error}");
        }
        medium.bound(None);
        commit.write(&mut log, &mut report).unwrap();
        assert_eq!(reported, [(3, 3), (4, 4), (1, 1)]);
    }

    /// A committer with one shard.
    struct Desk {
        committer: Committer,
        orders: Orders,
        poll: mio::Poll,
        mailbox: Mailbox,
        has_failed: Receiver<()>,
    }

    impl Desk {
        fn new(medium: &Faulty) -> Self {
            let poll = mio::Poll::new().unwrap();
            let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
            let (slit, mailbox) = mailbox(waker);
            let (orders, tasks) = channel();
            let (fails, has_failed) = channel();
            let on_failure = move || fails.send(()).unwrap();
            let alive = Alive::new(1, Arc::new(SharedView::new(0)));
            let distillery = Distillery::new(alive);
            let committer =
                Committer::start(log(medium), tasks, vec![slit], distillery, 0, on_failure)
                    .unwrap();
            Self { committer, orders, poll, mailbox, has_failed }
        }

        fn hand_in(&self, first: u64) {
            let mut order = commit(&[(Synced, 1)]).orders.remove(0);
            order.first = Ticket(first);
            self.orders.send(Task::Commit(order)).unwrap();
        }

        /// The next letter in a word.
        fn hear(&mut self) -> String {
            let mut events = mio::Events::with_capacity(1);
            loop {
                self.mailbox.look();
                match self.mailbox.next() {
                    Some(Letter::Storage(storage)) => return storage.name().into(),
                    Some(Letter::Stored { first, .. }) => return format!("stored {}", first.0),
                    Some(_) => return "something else".into(),
                    None => {}
                }
                self.poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
                assert!(!events.is_empty(), "no letter has come");
            }
        }
    }

    #[test]
    fn a_full_volume_is_told_and_recovers_by_itself() {
        let mut medium = Faulty::new(1);
        let mut desk = Desk::new(&medium);
        medium.bound(Some(0));
        desk.hand_in(1);
        assert_eq!(desk.hear(), "full");
        desk.hand_in(2);
        assert_eq!(desk.committer.watch().storage(), Storage::Full);
        medium.bound(None);
        for expected in ["stored 1", "stored 2", "ready"] {
            assert_eq!(desk.hear(), expected);
        }
        drop(desk.orders);
        desk.committer.join().unwrap();
    }

    /// A disk that hangs holds back what waits for it, for as long as it takes, and nothing else.
    #[test]
    fn a_slow_sync_holds_back_what_waits_for_it_and_loses_nothing() {
        let mut medium = Faulty::new(1);
        let mut desk = Desk::new(&medium);
        medium.stall(true);
        let written = commit(&[(Written, 1)]).orders.remove(0);
        desk.orders.send(Task::Commit(written)).unwrap();
        assert_eq!(desk.hear(), "stored 1");
        for first in [2, 3, 4] {
            desk.hand_in(first);
        }
        medium.wait_for_stalled();
        desk.mailbox.look();
        assert!(desk.mailbox.next().is_none());
        medium.stall(false);
        for expected in ["stored 2", "stored 3", "stored 4"] {
            assert_eq!(desk.hear(), expected);
        }
        drop(desk.orders);
        desk.committer.join().unwrap();
        medium.crash(3);
        let mut records = 0;
        Log::open(medium, Options::default(), &mut |_, _| records += 1).unwrap();
        assert_eq!(records, 4);
    }

    #[test]
    fn a_failed_sync_is_told_and_nothing_is_reported_after() {
        let mut medium = Faulty::new(1);
        let mut desk = Desk::new(&medium);
        medium.inject(Fault::Sync);
        desk.hand_in(1);
        assert_eq!(desk.hear(), "failed");
        desk.has_failed.recv().unwrap();
        desk.hand_in(2);
        assert!(desk.committer.watch().has_failed());
        drop(desk.orders);
        desk.committer.join().unwrap_err();
        assert!(desk.mailbox.next().is_none());
    }

    #[test]
    fn an_end_does_not_wait_for_room_without_end() {
        let mut medium = Faulty::new(1);
        let desk = Desk::new(&medium);
        medium.bound(Some(0));
        desk.hand_in(1);
        drop(desk.orders);
        let error = desk.committer.join().unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    }
}
