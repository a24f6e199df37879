//! The real log over the medium in memory, driven like the server's committer drives it.

use std::collections::{BTreeSet, VecDeque};

use bellbird_core::identity::{Position, Ticket};
use bellbird_core::record::Record;
use bellbird_core::{Durability, Message};
use bellbird_store::{Batch, Fault, Faulty, Log, Options, StoreError};

use crate::plant::Plant;
use crate::power::{Mark, Marks, Trace};
use crate::rng::Rng;
use crate::rot::{Rot, Rotten, keep};
use crate::store::{End, Report, Work};

/// A log with what waits to be appended, synced and reported.
pub(crate) struct LogStore {
    plant: Option<Plant>,
    disk: Faulty,
    log: Option<Log<Rotten>>,
    lanes: Vec<Lane>,
    checkpoints: u64,
    /// Being appended: what was taken once is not put together with anything else.
    taken: Vec<Taken>,
    /// In the log, in this order.
    unsynced: Vec<Unsynced>,
    reports: VecDeque<Report>,
    /// The disk does not fail any more.
    is_calm: bool,
    /// What was promised, if it is written down.
    marks: Option<Marks>,
    /// Now and then nothing may grow on it.
    is_scarce: bool,
}

/// What one shard handed in.
#[derive(Default)]
struct Lane {
    orders: Vec<Order>,
    /// Tickets that are stored as their level demands.
    stored: BTreeSet<Ticket>,
}

/// An order whose position is known.
struct Taken {
    report: Report,
    durability: Durability,
    batch: Batch,
    /// What is in the batch, if that is written down.
    records: Vec<Record>,
}

/// What stands in the log, if the power holds.
struct Unsynced {
    report: Report,
    durability: Durability,
    /// A planted fault.
    is_reported: bool,
}

/// Records that wait for the same.
struct Order {
    first: Ticket,
    batch: Batch,
    /// What is in the batch, if that is written down.
    records: Vec<Record>,
    durability: Durability,
}

impl LogStore {
    pub(crate) fn new(seed: u64, plant: Option<Plant>) -> Self {
        Self {
            plant,
            disk: Faulty::new(seed),
            log: None,
            lanes: Vec::new(),
            checkpoints: 0,
            taken: Vec::new(),
            unsynced: Vec::new(),
            reports: VecDeque::new(),
            is_calm: false,
            is_scarce: false,
            marks: None,
        }
    }

    /// From now on everything is written down that happens on the disk, and what is promised.
    pub(crate) fn record(&mut self) {
        self.disk.record();
        self.marks = Some(Marks::default());
    }

    pub(crate) fn take_trace(&mut self) -> Option<Trace> {
        let marks = self.marks.take()?;
        Some(Trace::new(&self.disk, marks))
    }

    fn mark(&mut self, mark: impl FnOnce() -> Mark) {
        if let Some(marks) = &mut self.marks {
            marks.push(&self.disk, mark());
        }
    }

    fn rot(&self) -> Option<Rot> {
        match self.plant {
            Some(Plant::Store(rot)) => Some(rot),
            Some(_) | None => None,
        }
    }

    pub(crate) fn calm(&mut self) {
        self.is_calm = true;
        self.disk.bound(None);
    }

    pub(crate) fn make_scarce(&mut self) {
        self.is_scarce = true;
    }

    pub(crate) fn open(
        &mut self,
        rng: &mut Rng,
        shards: usize,
        replay: &mut dyn FnMut(Position, Record),
    ) -> Result<(), String> {
        // Whoever starts it has made room before.
        self.disk.bound(None);
        let medium = Rotten::new(self.disk.clone(), self.rot());
        let segment_bytes = *rng.pick(&[600, 4_000, 1 << 20]);
        let opened = Log::open(medium, Options { segment_bytes }, replay);
        let (log, recovery) = opened.map_err(|error| format!("the log does not open: {error}"))?;
        if recovery.damaged_places > 0 {
            return Err(format!("damage after a crash: {:?}", recovery.damaged));
        }
        let next = log.next_position();
        self.mark(|| Mark::Opened { next });
        self.log = Some(log);
        self.lanes = std::iter::repeat_with(Lane::default).take(shards).collect();
        Ok(())
    }

    pub(crate) fn put_first(&mut self, record: &Record) -> Result<(), String> {
        self.mark(|| Mark::Appending { records: vec![record.clone()] });
        let Some(log) = &mut self.log else { return Err("no log".into()) };
        let mut batch = Batch::new();
        batch.push(record);
        log.append(&[&batch], &mut Vec::new())
            .and_then(|()| log.sync())
            .map_err(|error| error.to_string())?;
        let next = log.next_position();
        self.mark(|| Mark::Stored { next });
        Ok(())
    }

    pub(crate) fn put(
        &mut self,
        shard: usize,
        ticket: Ticket,
        record: &Record,
        durability: Durability,
    ) {
        let is_written_down = self.marks.is_some();
        let orders = &mut self.lanes[shard].orders;
        if orders.last().is_none_or(|last| last.durability != durability) {
            let (batch, records) = (Batch::new(), Vec::new());
            orders.push(Order { first: ticket, batch, records, durability });
        }
        if let Some(order) = orders.last_mut() {
            order.batch.push(record);
            if is_written_down {
                order.records.push(record.clone());
            }
        }
    }

    pub(crate) fn work(&mut self, rng: &mut Rng) -> Work {
        if self.is_idle() {
            return Work::Idle;
        }
        let has_batches =
            !self.taken.is_empty() || self.lanes.iter().any(|lane| !lane.orders.is_empty());
        if !self.is_calm && rng.below(3_000) == 0 {
            let room = rng.below(300);
            let fault =
                [Fault::Sync, Fault::SyncDirectory, Fault::Space(room), Fault::ShortAppend(room)];
            self.disk.inject(*rng.pick(&fault));
        }
        if self.is_scarce && !self.is_calm && rng.below(200) == 0 {
            self.disk.bound(Some(0));
        }
        let appends = has_batches && (self.unsynced.is_empty() || rng.chance(50));
        let worked = if appends { self.append(rng) } else { self.sync() };
        self.distil(rng);
        self.preallocate(rng);
        if worked == Work::Full && rng.chance(30) {
            self.disk.bound(None);
        }
        worked
    }

    /// Now and then what is complete becomes a checkpoint. If that fails, all is as before.
    fn distil(&mut self, rng: &mut Rng) {
        let rot = self.rot();
        let Some(log) = &mut self.log else { return };
        if rng.chance(50)
            && let Some(distillation) = log.distillation()
            && let Ok(distilled) =
                distillation.run_with(log.medium(), &|| true, &mut |essence, position, record| {
                    keep(rot, essence, position, record)
                })
        {
            log.distilled(&distilled);
            self.checkpoints += 1;
            self.mark(|| Mark::Checkpoint);
        }
    }

    /// Now and then the next segment's file is made beside. A fault that waits for its moment is
    /// meant for the log itself.
    fn preallocate(&mut self, rng: &mut Rng) {
        let Some(log) = &mut self.log else { return };
        if rng.chance(30)
            && !self.disk.is_awaiting_fault()
            && let Some(preallocation) = log.preallocation()
            && let Ok(file) = preallocation.run(log.medium(), &|| true)
        {
            log.preallocated(file);
        }
    }

    /// None if some are not written yet: the reader would wait for them.
    pub(crate) fn fetch(&self, positions: &[Position]) -> Option<Vec<Option<Message>>> {
        let log = self.log.as_ref()?;
        let is_written = positions.iter().all(|position| *position < log.next_position());
        is_written.then(|| log.reader().read(positions).into_iter().map(Result::ok).collect())
    }

    pub(crate) fn take_checkpoints(&mut self) -> u64 {
        std::mem::take(&mut self.checkpoints)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.taken.is_empty()
            && self.unsynced.is_empty()
            && self.lanes.iter().all(|lane| lane.orders.is_empty())
    }

    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// One write with what some shards handed in. Each order is reported as soon as its level
    /// allows.
    fn append(&mut self, rng: &mut Rng) -> Work {
        if self.taken.is_empty() {
            self.gather(rng);
        }
        let taken = &mut self.taken;
        let records = taken.iter_mut().flat_map(|taken| std::mem::take(&mut taken.records));
        let records: Vec<_> = records.collect();
        // Nothing is new of what had no room before.
        if let Some(marks) = &mut self.marks
            && !records.is_empty()
        {
            marks.push(&self.disk, Mark::Appending { records });
        }
        let Some(log) = &mut self.log else { return Work::Failed };
        let batches: Vec<&Batch> = self.taken.iter().map(|taken| &taken.batch).collect();
        match log.append(&batches, &mut Vec::new()) {
            Ok(()) => {}
            Err(StoreError::Full { .. }) if self.plant != Some(Plant::FullForgotten) => {
                return Work::Full;
            }
            // A planted fault: it is reported all the same.
            Err(StoreError::Full { .. }) => {}
            Err(_) => return Work::Failed,
        }
        let taken = std::mem::take(&mut self.taken);
        let is_mixed = taken.iter().any(|taken| taken.durability == Durability::Written);
        let is_early = self.plant == Some(Plant::StoredBeforeSync)
            || (self.plant == Some(Plant::SyncedWithWritten) && is_mixed);
        for Taken { report, durability, .. } in taken {
            if durability == Durability::Written {
                self.stored(report);
            }
            let is_reported = durability == Durability::Synced && is_early;
            if is_reported {
                self.reports.push_back(report);
            }
            self.unsynced.push(Unsynced { report, durability, is_reported });
        }
        Work::Done
    }

    /// Takes what some shards handed in.
    fn gather(&mut self, rng: &mut Rng) {
        let some = rng.chance(50);
        let chosen: Vec<usize> = (0..self.lanes.len())
            .filter(|shard| !self.lanes[*shard].orders.is_empty() && (!some || rng.chance(70)))
            .collect();
        let Some(log) = &self.log else { return };
        let mut position = log.next_position();
        for shard in chosen {
            let orders = std::mem::take(&mut self.lanes[shard].orders);
            for Order { first, batch, records, durability } in orders {
                let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                let report = Report { shard, first, count, position };
                position.0 += u64::from(count);
                if durability == Durability::Memory {
                    self.stored(report);
                }
                self.taken.push(Taken { report, durability, batch, records });
            }
        }
    }

    fn sync(&mut self) -> Work {
        let Some(log) = &mut self.log else { return Work::Failed };
        if log.sync().is_err() {
            return Work::Failed;
        }
        let next = log.next_position();
        self.mark(|| Mark::Stored { next });
        for Unsynced { report, durability, is_reported } in self.unsynced.drain(..) {
            if durability == Durability::Synced {
                self.lanes[report.shard].stored.extend(report.tickets());
                if !is_reported {
                    self.reports.push_back(report);
                }
            }
        }
        Work::Done
    }

    /// An order is stored as its level demands.
    fn stored(&mut self, report: Report) {
        self.lanes[report.shard].stored.extend(report.tickets());
        self.reports.push_back(report);
    }

    /// The first report of some shard, or the front of it.
    pub(crate) fn report(&mut self, rng: &mut Rng) -> Option<Report> {
        let shard = rng.any(self.reports.iter().map(|report| report.shard))?;
        let index = self.reports.iter().position(|report| report.shard == shard)?;
        let report = self.reports.get_mut(index)?;
        if report.count > 1 && rng.chance(30) {
            let front = Report { count: 1, ..*report };
            report.first.0 += 1;
            report.position.0 += 1;
            report.count -= 1;
            return Some(front);
        }
        self.reports.remove(index)
    }

    pub(crate) fn is_stored(&self, shard: usize, ticket: Ticket) -> bool {
        self.lanes[shard].stored.contains(&ticket)
    }

    /// Ends the process. Returns how it really went: the disk may fail a clean end.
    pub(crate) fn end(&mut self, rng: &mut Rng, end: End) -> End {
        let mut went = end;
        self.disk.bound(None);
        while went == End::Clean {
            match self.work(rng) {
                // There is room the next time.
                Work::Done | Work::Full => {}
                Work::Idle => break,
                Work::Failed => went = End::Killed,
            }
        }
        if went == End::Clean
            && let Some(log) = self.log.take()
            && log.close().is_err()
        {
            went = End::Killed;
        }
        match went {
            End::Clean | End::Killed => self.disk.kill(),
            End::PowerLost => self.disk.crash(rng.next()),
        }
        self.log = None;
        self.taken.clear();
        self.unsynced.clear();
        self.reports.clear();
        went
    }
}
