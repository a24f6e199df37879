//! What was recorded: what happened on the disk, and what was promised meanwhile.

use std::fmt;

use bellbird_core::identity::Position;
use bellbird_core::record::Record;
use bellbird_store::{Event, Faulty};

/// A recorded run.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    /// Each with how many events had happened by then, in order.
    pub(crate) marks: Vec<(usize, Mark)>,
}

/// What is to be known beside what happens on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// These records are about to be written behind all others.
    Appending { records: Vec<Record> },
    /// Everything below is reported stored.
    Stored { next: Position },
    /// A start found what is below; what had been written beyond is void.
    Opened { next: Position },
    /// A checkpoint is complete.
    Checkpoint,
}

/// Marks as they come.
#[derive(Default)]
pub(crate) struct Marks(Vec<(usize, Mark)>);

/// What must be there after a loss of power, and what may be.
#[derive(Clone, Default, Debug)]
pub(crate) struct Truth {
    /// All that was written, from position 1 on.
    pub(crate) records: Vec<Record>,
    /// So many of them were reported stored.
    pub(crate) stored: usize,
    /// Changes whenever written records become void.
    pub(crate) lives: u64,
    pub(crate) has_checkpoint: bool,
}

impl Marks {
    pub(crate) fn push(&mut self, disk: &Faulty, mark: Mark) {
        self.0.push((disk.journal_len(), mark));
    }
}

impl Trace {
    pub(crate) fn new(disk: &Faulty, marks: Marks) -> Self {
        Self { events: disk.journal(), marks: marks.0 }
    }
}

impl Truth {
    pub(crate) fn note(&mut self, mark: &Mark) {
        match mark {
            Mark::Appending { records } => self.records.extend(records.iter().cloned()),
            Mark::Stored { next } => self.stored = count_below(*next),
            Mark::Opened { next } => {
                self.lives += 1;
                self.stored = count_below(*next);
                self.records.truncate(self.stored);
            }
            Mark::Checkpoint => self.has_checkpoint = true,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, stored, lives, .. } = self;
        let written = records.len();
        write!(f, "{stored} records stored, {written} written, start {lives}")
    }
}

fn count_below(next: Position) -> usize {
    usize::try_from(next.0.saturating_sub(1)).expect("records in memory are fewer")
}
