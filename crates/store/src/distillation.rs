//! How space comes back: complete segments and the last checkpoint become the next checkpoint.
//!
//! It runs beside the log, on a thread of its own: it reads files that do not change any more and
//! asks nobody what they are good for, because all that is needed to know it stands in them.

use bellbird_core::identity::Position;
use bellbird_core::record::Record;
use bellbird_core::recovery::{Distiller, Essence};

use crate::checkpoint::Writer;
use crate::error::StoreError;
use crate::format::CheckpointHeader;
use crate::medium::Medium;
use crate::recovery::{FileOf, Layout, Recovery, replay_finished};

/// What is to become a checkpoint. Files only: it may be carried to another thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distillation {
    pub(crate) key: u64,
    pub(crate) layout: Layout,
    /// The first position that is not part of it.
    pub(crate) bound: u64,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distilled {
    pub(crate) bound: u64,
    /// The bytes of the files that went in.
    pub read_bytes: u64,
    /// The bytes of the checkpoint.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// What of the files could not be read. They are kept under other names.
    pub read: Recovery,
    /// Files that could not be removed, and why; the next start tries again.
    pub left: Vec<String>,
}

/// What becomes of a record, and of its position.
pub type Keep<'k> = dyn FnMut(&Essence, Position, Record) -> Option<(Position, Record)> + 'k;

impl Distillation {
    /// Writes the checkpoint and removes what it stands for. If it fails, everything is as
    /// before, and it may be tried again. It gives up once it is not wanted any more.
    pub fn run<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Distilled, StoreError> {
        self.run_with(medium, is_wanted, &mut |essence, position, record| {
            let kept =
                if position == STATE { Some(record) } else { essence.keep(position, record) };
            kept.map(|record| (position, record))
        })
    }

    /// The same with another opinion of what is kept: of each record of the essence's state, at
    /// position 0, and of each that was read. For those who want to see a wrong one noticed.
    pub fn run_with<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
        keep: &mut Keep<'_>,
    ) -> Result<Distilled, StoreError> {
        let mut medium = medium.clone();
        let recent = self.layout.segments.last().map_or(0, |segment| segment.position);
        let mut distiller = Distiller::new(Position(recent));
        let read = self.replay(&medium, is_wanted, &mut |position, record| {
            distiller.note(position, record);
        })?;
        let essence = distiller.distil();
        let header = CheckpointHeader { key: self.key, bound: self.bound };
        let mut writer = Writer::begin(medium.clone(), header)?;
        let mut written = Ok(());
        let mut write = |position, record| {
            if written.is_ok()
                && let Some((position, kept)) = keep(&essence, position, record)
            {
                written = writer.push(position, &kept);
            }
        };
        essence.state().for_each(|record| write(STATE, record));
        self.replay(&medium, is_wanted, &mut |position, record| {
            if position != STATE {
                write(position, record);
            }
        })?;
        written?;
        let records = writer.records();
        let bytes = writer.finish()?;
        let left = self.remove(&mut medium, &read);
        Ok(Distilled { bound: self.bound, read_bytes: read.bytes, bytes, records, read, left })
    }

    fn replay<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
        replay: &mut dyn FnMut(Position, Record),
    ) -> Result<Recovery, StoreError> {
        replay_finished(medium, &self.layout, self.bound, is_wanted, replay)
    }

    /// The checkpoint has its name for good: what it stands for may go. What is damaged stays, for
    /// whoever wants to have a look at it.
    fn remove<M: Medium>(&self, medium: &mut M, read: &Recovery) -> Vec<String> {
        let same = |file: &&FileOf| file.position != self.bound;
        let checkpoint = self.layout.checkpoint.iter().filter(same);
        let mut left = Vec::new();
        for FileOf { name, .. } in self.layout.segments.iter().chain(checkpoint) {
            let path = medium.path(name);
            let is_damaged = read.damaged.iter().any(|damage| damage.segment == path);
            let removed = if is_damaged {
                medium.rename(name, &format!("{name}.damaged"))
            } else {
                medium.remove(name)
            };
            if let Err(error) = removed {
                left.push(format!("{}: {error}", path.display()));
            }
        }
        left
    }
}

/// Of records that only count in their order.
const STATE: Position = Position(0);
