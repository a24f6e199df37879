//! The real log over the medium in memory, driven like the server's committer drives it.

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_core::Message;
use bellbird_core::identity::{Position, Ticket};
use bellbird_core::record::Record;
use bellbird_store::{Batch, Fault, Faulty, Log, Options};

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
    unsynced: Vec<Report>,
    reports: VecDeque<Report>,
    /// The disk does not fail any more.
    is_calm: bool,
    /// What was promised, if it is written down.
    marks: Option<Marks>,
}

/// What one shard handed in.
#[derive(Default)]
struct Lane {
    batch: Batch,
    /// What is in the batch, if that is written down.
    records: Vec<Record>,
    first: Option<Ticket>,
    /// Every ticket below is on stable storage.
    stored_below: u64,
}

impl LogStore {
    pub(crate) fn new(seed: u64, plant: Option<Plant>) -> Self {
        Self {
            plant,
            disk: Faulty::new(seed),
            log: None,
            lanes: Vec::new(),
            checkpoints: 0,
            unsynced: Vec::new(),
            reports: VecDeque::new(),
            is_calm: false,
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
    }

    pub(crate) fn open(
        &mut self,
        rng: &mut Rng,
        shards: usize,
        replay: &mut dyn FnMut(Position, Record),
    ) -> Result<(), String> {
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

    pub(crate) fn put(&mut self, shard: usize, ticket: Ticket, record: &Record) {
        let lane = &mut self.lanes[shard];
        lane.first.get_or_insert(ticket);
        lane.batch.push(record);
        if self.marks.is_some() {
            lane.records.push(record.clone());
        }
    }

    pub(crate) fn work(&mut self, rng: &mut Rng) -> Work {
        if self.is_idle() {
            return Work::Idle;
        }
        let has_batches = self.lanes.iter().any(|lane| !lane.batch.is_empty());
        if !self.is_calm && rng.below(3_000) == 0 {
            let room = rng.below(300);
            let fault =
                [Fault::Sync, Fault::SyncDirectory, Fault::Space(room), Fault::ShortAppend(room)];
            self.disk.inject(*rng.pick(&fault));
        }
        let appends = has_batches && (self.unsynced.is_empty() || rng.chance(50));
        let worked = if appends { self.append(rng) } else { self.sync() };
        self.distil(rng);
        if worked { Work::Done } else { Work::Failed }
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

    pub(crate) fn fetch(&self, positions: &[Position]) -> Vec<Option<Arc<Message>>> {
        let Some(log) = &self.log else { return vec![None; positions.len()] };
        // The reader would wait for what is not written yet.
        let is_written = positions.iter().all(|position| *position < log.next_position());
        if !is_written {
            return vec![None; positions.len()];
        }
        log.reader().read(positions).into_iter().map(Result::ok).collect()
    }

    pub(crate) fn take_checkpoints(&mut self) -> u64 {
        std::mem::take(&mut self.checkpoints)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.unsynced.is_empty() && self.lanes.iter().all(|lane| lane.batch.is_empty())
    }

    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// One write with the batches of some shards.
    fn append(&mut self, rng: &mut Rng) -> bool {
        let some = rng.chance(50);
        let chosen: Vec<usize> = (0..self.lanes.len())
            .filter(|shard| !self.lanes[*shard].batch.is_empty() && (!some || rng.chance(70)))
            .collect();
        let records = |lanes: &mut Vec<Lane>| {
            chosen.iter().flat_map(|shard| std::mem::take(&mut lanes[*shard].records)).collect()
        };
        if let Some(marks) = &mut self.marks {
            marks.push(&self.disk, Mark::Appending { records: records(&mut self.lanes) });
        }
        let Some(log) = &mut self.log else { return false };
        let batches: Vec<&Batch> = chosen.iter().map(|shard| &self.lanes[*shard].batch).collect();
        let mut firsts = Vec::new();
        if log.append(&batches, &mut firsts).is_err() {
            return false;
        }
        for (shard, position) in chosen.into_iter().zip(firsts) {
            let lane = &mut self.lanes[shard];
            let Some(first) = lane.first.take() else { continue };
            let count = u32::try_from(lane.batch.len()).unwrap_or(u32::MAX);
            lane.batch.clear();
            let report = Report { shard, first, count, position };
            self.unsynced.push(report);
            if self.plant == Some(Plant::StoredBeforeSync) {
                self.reports.push_back(report);
            }
        }
        true
    }

    fn sync(&mut self) -> bool {
        let Some(log) = &mut self.log else { return false };
        if log.sync().is_err() {
            return false;
        }
        let next = log.next_position();
        self.mark(|| Mark::Stored { next });
        for report in self.unsynced.drain(..) {
            self.lanes[report.shard].stored_below = report.first.0 + u64::from(report.count);
            if self.plant != Some(Plant::StoredBeforeSync) {
                self.reports.push_back(report);
            }
        }
        true
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
        ticket.0 < self.lanes[shard].stored_below
    }

    /// Ends the process. Returns how it really went: the disk may fail a clean end.
    pub(crate) fn end(&mut self, rng: &mut Rng, end: End) -> End {
        let mut went = end;
        while went == End::Clean {
            match self.work(rng) {
                Work::Done => {}
                Work::Idle => break,
                Work::Failed => went = End::Killed,
            }
        }
        match went {
            End::Clean | End::Killed => self.disk.kill(),
            End::PowerLost => self.disk.crash(rng.next()),
        }
        self.log = None;
        self.unsynced.clear();
        self.reports.clear();
        went
    }
}
