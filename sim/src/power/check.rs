//! One state of the disk: what a start makes of it, and whether the log goes on from there.

use std::collections::BTreeMap;
use std::rc::Rc;

use bellbird_core::identity::Position;
use bellbird_core::record::{Record, Settings};
use bellbird_store::{Batch, Fault, Faulty, Log, Medium, Options, Recovery, Survivors};

use super::meaning::Meaning;
use super::trace::Truth;
use crate::layout::{BATCH, BATCH_HEADER, CHECKPOINT, HEADER, RECORD_HEADER, SEGMENT, u32_at};
use crate::rng::Rng;
use crate::rot::{Rot, Rotten, keep};

/// Checks states of one trace, in the order of their moments.
pub(crate) struct Checker {
    rot: Option<Rot>,
    /// What the first so many records mean, in this life.
    meanings: BTreeMap<usize, Rc<Meaning>>,
    lives: u64,
}

/// What a state was like.
pub(crate) struct Seen {
    pub(crate) is_torn: bool,
    pub(crate) was_interrupted: bool,
    pub(crate) has_checkpoint: bool,
}

/// A log with what its start said.
struct Opened {
    log: Log<Rotten>,
    recovery: Recovery,
    replayed: Vec<(Position, Record)>,
}

/// What lies there before a start.
struct Before {
    /// Of the checkpoint.
    bound: Option<u64>,
    /// The youngest segment: its position and its bytes.
    youngest: Option<(u64, Vec<u8>)>,
}

impl Checker {
    pub(crate) fn new(rot: Option<Rot>) -> Self {
        Self { rot, meanings: BTreeMap::new(), lives: 0 }
    }

    pub(crate) fn check(
        &mut self,
        mut disk: Faulty,
        truth: &Truth,
        rng: &mut Rng,
    ) -> Result<Seen, String> {
        if std::mem::replace(&mut self.lives, truth.lives) != truth.lives {
            self.meanings.clear();
        }
        let was_interrupted = rng.chance(20) && self.interrupt(&mut disk, rng);
        let before = Before::of(&disk)?;
        let first = self.open(&disk, rng)?;
        let len = self.check_start(&before, &first, truth)?;
        self.check_files(&disk)?;
        let has_checkpoint = newest(&disk, CHECKPOINT).is_some();
        if truth.has_checkpoint && !has_checkpoint {
            return Err("a checkpoint was complete, and is gone".into());
        }
        let Opened { log, recovery, replayed } = first;
        drop(log);
        let again = self.open(&disk, rng)?;
        if again.replayed != replayed {
            return Err("a second start finds something else".into());
        }
        if again.recovery.torn_bytes > 0 || again.recovery.damaged_places > 0 {
            return Err(format!("a second start finds: {}", again.recovery));
        }
        self.go_on(disk, again.log, &truth.records[..len], rng)?;
        Ok(Seen { is_torn: recovery.torn_bytes > 0, was_interrupted, has_checkpoint })
    }

    /// The power fails a second time while the start is at work. Returns whether it was not over.
    fn interrupt(&self, disk: &mut Faulty, rng: &mut Rng) -> bool {
        disk.inject(Fault::Death(rng.below(8)));
        let is_over = self.open(disk, rng).is_ok();
        let survivors = [Survivors::Nothing, Survivors::Everything, Survivors::Some];
        disk.crash_leaving(*rng.pick(&survivors), rng.next());
        !is_over
    }

    fn open(&self, disk: &Faulty, rng: &mut Rng) -> Result<Opened, String> {
        let segment_bytes = *rng.pick(&[600, 4_000, 30_000]);
        let mut replayed = Vec::new();
        let medium = Rotten::new(disk.clone(), self.rot);
        let mut take = |position, record| replayed.push((position, record));
        let opened = Log::open(medium, Options { segment_bytes }, &mut take);
        let (log, recovery) = opened.map_err(|error| format!("it does not open: {error}"))?;
        Ok(Opened { log, recovery, replayed })
    }

    /// What was stored is there, and what is there was written. Returns how many records.
    fn check_start(
        &mut self,
        before: &Before,
        opened: &Opened,
        truth: &Truth,
    ) -> Result<usize, String> {
        let Opened { log, recovery, replayed } = opened;
        if recovery.damaged_places > 0 || recovery.damaged_records > 0 {
            return Err(format!("a loss of power is not damage: {recovery}"));
        }
        let next = log.next_position();
        let len = usize::try_from(next.0 - 1).map_err(|error| error.to_string())?;
        if len < truth.stored {
            return Err(format!("it goes on at {}, and more was reported stored", next.0));
        }
        if len > truth.records.len() {
            return Err(format!("it goes on at {}, and not so much was written", next.0));
        }
        let bound = before.bound.unwrap_or(1);
        check_exact(replayed, &truth.records[..len], bound)?;
        check_reader(log, replayed)?;
        if recovery.records != replayed.len() as u64 {
            return Err(format!("{} records were replayed: {recovery}", replayed.len()));
        }
        let torn = before.torn_bytes(next.0);
        if torn.is_some_and(|torn| torn != recovery.torn_bytes) {
            return Err(format!("{torn:?} bytes were torn: {recovery}"));
        }
        // Without a checkpoint it was compared record by record.
        if bound > 1 {
            self.check_meaning(replayed, &truth.records[..len])?;
        }
        Ok(len)
    }

    fn check_meaning(
        &mut self,
        replayed: &[(Position, Record)],
        truth: &[Record],
    ) -> Result<(), String> {
        let expected = self.meanings.entry(truth.len()).or_insert_with(|| {
            let records: Vec<_> = (1..).map(Position).zip(truth.iter().cloned()).collect();
            Rc::new(Meaning::of(&records))
        });
        let found = Meaning::of(replayed);
        if found == **expected {
            Ok(())
        } else {
            Err(format!("it means something else: {}", found.difference(expected)))
        }
    }

    /// What is superfluous went with the start.
    fn check_files(&self, disk: &Faulty) -> Result<(), String> {
        let names = disk.list().map_err(|error| error.to_string())?;
        let count = |suffix: &str| names.iter().filter(|name| name.ends_with(suffix)).count();
        let oldest = names.iter().filter_map(|name| position_of(name, SEGMENT)).min();
        let bound = newest(disk, CHECKPOINT);
        if count(".tmp") > 0 || count(CHECKPOINT) > 1 || (bound.is_some() && oldest < bound) {
            return Err(format!("something superfluous is left: {names:?}"));
        }
        Ok(())
    }

    /// More is written, becomes a checkpoint, more is written, and the power fails again.
    fn go_on(
        &mut self,
        mut disk: Faulty,
        mut log: Log<Rotten>,
        known: &[Record],
        rng: &mut Rng,
    ) -> Result<(), String> {
        let mut added = Vec::new();
        for round in 0..2 {
            let record = Record::Settings(Settings {
                key: format!("after.{round}").into(),
                value: vec![round; rng.below(1_200)].into(),
            });
            let mut batch = Batch::new();
            batch.push(&record);
            log.append(&[&batch], &mut Vec::new())
                .and_then(|()| log.sync())
                .map_err(|error| format!("the log does not go on: {error}"))?;
            added.push(record);
            if round == 0 {
                let rot = self.rot;
                let distilled = log.distillation_of_all().run_with(
                    log.medium(),
                    &|| true,
                    &mut |essence, position, record| keep(rot, essence, position, record),
                );
                log.distilled(&distilled.map_err(|error| format!("no checkpoint: {error}"))?);
            }
        }
        drop(log);
        disk.crash_leaving(*rng.pick(&[Survivors::Nothing, Survivors::Some]), rng.next());
        let bound = newest(&disk, CHECKPOINT).ok_or("the checkpoint is gone")?;
        let last = self.open(&disk, rng)?;
        if last.recovery.damaged_places > 0 {
            return Err(format!("damage after having gone on: {}", last.recovery));
        }
        let records: Vec<Record> = known.iter().chain(&added).cloned().collect();
        if last.log.next_position() != Position(records.len() as u64 + 1) {
            return Err("what was written after the start is gone".into());
        }
        check_exact(&last.replayed, &records, bound)?;
        check_reader(&last.log, &last.replayed)?;
        let found = Meaning::of(&without_added(&last.replayed));
        let expected = self.meanings.entry(known.len()).or_insert_with(|| {
            let records: Vec<_> = (1..).map(Position).zip(known.iter().cloned()).collect();
            Rc::new(Meaning::of(&records))
        });
        if found == **expected {
            Ok(())
        } else {
            Err(format!(
                "after a checkpoint it means something else: {}",
                found.difference(expected)
            ))
        }
    }
}

fn without_added(replayed: &[(Position, Record)]) -> Vec<(Position, Record)> {
    let is_added = |record: &Record| matches!(record, Record::Settings(settings) if settings.key.starts_with("after."));
    replayed.iter().filter(|(_, record)| !is_added(record)).cloned().collect()
}

/// Each message that was replayed is found by its position.
fn check_reader(log: &Log<Rotten>, replayed: &[(Position, Record)]) -> Result<(), String> {
    let messages =
        replayed.iter().filter_map(|(position, record)| Some((*position, record.message()?)));
    let (positions, messages): (Vec<_>, Vec<_>) = messages.unzip();
    for (found, expected) in log.reader().read(&positions).into_iter().zip(messages) {
        let found = found.map_err(|unread| unread.to_string())?;
        if found != *expected {
            return Err(format!("another message is read: {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// From the bound on each record is the one that was written there, and none is missing.
fn check_exact(
    replayed: &[(Position, Record)],
    written: &[Record],
    bound: u64,
) -> Result<(), String> {
    let from = replayed.partition_point(|(position, _)| position.0 < bound);
    let skipped = usize::try_from(bound - 1).map_err(|error| error.to_string())?;
    let expected = written.get(skipped..).ok_or("a checkpoint stands for more than was written")?;
    if replayed.len() - from != expected.len() {
        let (found, expected) = (replayed.len() - from, expected.len());
        return Err(format!("{found} records from {bound} on instead of {expected}"));
    }
    for ((position, record), (at, expected)) in replayed[from..].iter().zip((bound..).zip(expected))
    {
        if position.0 != at {
            return Err(format!("position {} stands where {at} should", position.0));
        }
        if record != expected {
            return Err(format!("the record at {at} is not the one that was written"));
        }
    }
    Ok(())
}

impl Before {
    fn of(disk: &Faulty) -> Result<Self, String> {
        let youngest = newest(disk, SEGMENT).map(|first| {
            let bytes = disk.read(&format!("{first:020}{SEGMENT}"));
            bytes.map(|bytes| (first, bytes)).map_err(|error| error.to_string())
        });
        Ok(Self { bound: newest(disk, CHECKPOINT), youngest: youngest.transpose()? })
    }

    /// How many bytes of the youngest segment stand behind the last record before this position,
    /// but for zeros; by lengths alone, without a checksum.
    fn torn_bytes(&self, next: u64) -> Option<u64> {
        let (first, bytes) = self.youngest.as_ref()?;
        let (mut at, mut end, mut position) = (HEADER, HEADER, *first);
        while position < next {
            let length = u32_at(bytes, at)?;
            if length == BATCH {
                at += BATCH_HEADER;
            } else {
                at += RECORD_HEADER + length as usize;
                (end, position) = (at, position + 1);
            }
        }
        let last = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(last.saturating_sub(end) as u64)
    }
}

/// The highest position in a name of this kind.
fn newest(disk: &Faulty, suffix: &str) -> Option<u64> {
    let names = disk.list().ok()?;
    names.iter().filter_map(|name| position_of(name, suffix)).max()
}

fn position_of(name: &str, suffix: &str) -> Option<u64> {
    name.strip_suffix(suffix)?.parse().ok()
}
