//! How space comes back: complete segments and the last checkpoint become the next checkpoint.
//!
//! It runs beside the log, on a thread of its own: it reads files that do not change any more and
//! asks nobody what they are good for, because all that is needed to know it stands in them.

use bellbird_core::identity::Position;
use bellbird_core::record::Record;
use bellbird_core::recovery::Distiller;

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

impl Distillation {
    /// Writes the checkpoint and removes what it stands for. If it fails, everything is as
    /// before, and it may be tried again. It gives up once it is not wanted any more.
    pub fn run<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
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
        for record in essence.state() {
            writer.push(Position(0), &record)?;
        }
        let mut written = Ok(());
        self.replay(&medium, is_wanted, &mut |position, record| {
            if let Some(kept) = essence.keep(position, record)
                && written.is_ok()
            {
                written = writer.push(position, &kept);
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
