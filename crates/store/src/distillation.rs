//! How space comes back: complete segments and the last checkpoint become the next checkpoint.
//!
//! It runs beside the log, on a thread of its own: it reads files that do not change any more and
//! asks nobody what they are good for, because all that is needed to know it stands in them.

use std::io;

use bellbird_core::identity::{Position, Time};
use bellbird_core::record::Record;
use bellbird_core::recovery::{Distiller, Essence};

use crate::body::{self, KIND_APPEND, KIND_COMMIT};
use crate::checkpoint::Writer;
use crate::error::StoreError;
use crate::format::{CheckpointHeader, UNFINISHED_CHECKPOINT};
use crate::index::Index;
use crate::limits::CHUNK_BYTES;
use crate::medium::{Medium, MediumFile};
use crate::recovery::{FileOf, Layout, Reason, Recovery, Take, read_finished, time_of};
use crate::settled::Settled;

/// What is to become a checkpoint. Files only: it may be carried to another thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distillation {
    pub(crate) key: u64,
    pub(crate) layout: Layout,
    /// The first position that is not part of it.
    pub(crate) bound: u64,
    /// Readers learn from it where to look from then on.
    pub(crate) index: Index,
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
    /// The messages among them.
    pub messages: u64,
    /// What of the files could not be read. They are kept under other names.
    pub read: Recovery,
    /// The names that damaged files have now.
    pub set_aside: Vec<String>,
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
        let made = self.make(medium, is_wanted, keep);
        if made.is_err() {
            // The room that it took is for others. If it is not there, it takes none.
            drop(medium.clone().remove(UNFINISHED_CHECKPOINT));
        }
        made
    }

    fn make<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
        keep: &mut Keep<'_>,
    ) -> Result<Distilled, StoreError> {
        let mut medium = medium.clone();
        let settled = self.find_settled(&medium, is_wanted)?;
        let (essence, candidates, read) = self.distil(&medium, settled, is_wanted)?;
        let header = CheckpointHeader { key: self.key, bound: self.bound };
        let mut writer = Writer::begin(medium.clone(), header)?;
        let (mut written, mut messages) = (Ok(()), 0);
        let mut write = |position, record| {
            if written.is_ok()
                && let Some((position, kept)) = keep(&essence, position, record)
            {
                messages += u64::from(position != STATE);
                written = writer.push(position, &kept);
            }
        };
        essence.state().for_each(|record| write(STATE, record));
        let mut rest = &candidates[..];
        self.read(&medium, Some(&candidates), is_wanted, &mut |position, kind, body| {
            if let Some((first, others)) = rest.split_first()
                && *first == position
            {
                rest = others;
                write(Position(position), body::decode(kind, body)?);
            }
            Ok(Time::default())
        })?;
        written?;
        let mut set_aside = Vec::new();
        // The new checkpoint takes the place of one with the same bound.
        if let Some(old) = self.layout.checkpoint.as_ref().filter(|old| old.position == self.bound)
            && is_damaged(&medium, &read, &old.name)
        {
            set_aside.push(copy(&mut medium, &old.name)?);
        }
        let records = writer.records();
        let (bytes, marks) = writer.finish()?;
        self.index.distilled(self.bound, marks);
        let mut distilled = Distilled {
            bound: self.bound,
            read_bytes: read.bytes,
            bytes,
            records,
            messages,
            read,
            set_aside,
            left: Vec::new(),
        };
        self.remove(&mut medium, &mut distilled);
        Ok(distilled)
    }

    /// Which deliveries are over, by the commits that say so.
    fn find_settled<M: Medium>(
        &self,
        medium: &M,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Settled, StoreError> {
        let first = self.layout.segments.first().map_or(self.bound, |segment| segment.position);
        let mut settled = Settled::new(first, self.bound);
        self.read(medium, None, is_wanted, &mut |_, kind, body| {
            if kind == KIND_COMMIT
                && let Record::Commit(commit) = body::decode(kind, body)?
            {
                settled.note(&commit);
            }
            Ok(Time::default())
        })?;
        Ok(settled)
    }

    /// The state at the bound, the positions of messages that may be left, and what reading was
    /// like. Most messages are over: they are not even taken apart.
    fn distil<M: Medium>(
        &self,
        medium: &M,
        mut settled: Settled,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(Essence, Vec<u64>, Recovery), StoreError> {
        let mut distiller = Distiller::new();
        let mut candidates = Vec::new();
        let read = self.read(medium, None, is_wanted, &mut |position, kind, body| {
            if kind == KIND_APPEND
                && let Some((at, number)) = settled.pass(Position(position), body)?
            {
                distiller.pass_over(at, number);
                return Ok(at);
            }
            let mut record = body::decode(kind, body)?;
            let time = time_of(&record);
            match &mut record {
                Record::Commit(commit) => settled.forget_passed(commit),
                Record::Append(_) | Record::Retain(_) => candidates.push(position),
                Record::Settings(_) => {}
            }
            distiller.note(Position(position), record);
            Ok(time)
        })?;
        Ok((distiller.distil(), candidates, read))
    }

    fn read<M: Medium>(
        &self,
        medium: &M,
        wanted: Option<&[u64]>,
        is_wanted: &dyn Fn() -> bool,
        take: &mut Take<'_>,
    ) -> Result<Recovery, StoreError> {
        read_finished(medium, &self.layout, self.bound, wanted, is_wanted, take)
    }

    /// The checkpoint has its name for good: what it stands for may go. What is damaged stays, for
    /// whoever wants to have a look at it.
    fn remove<M: Medium>(&self, medium: &mut M, distilled: &mut Distilled) {
        let same = |file: &&FileOf| file.position != self.bound;
        let checkpoint = self.layout.checkpoint.iter().filter(same);
        for FileOf { name, .. } in self.layout.segments.iter().chain(checkpoint) {
            let removed = if is_damaged(medium, &distilled.read, name) {
                let other = name_of_damaged(name);
                medium.rename(name, &other).map(|()| distilled.set_aside.push(other))
            } else {
                medium.remove(name)
            };
            if let Err(error) = removed {
                distilled.left.push(format!("{}: {error}", medium.path(name).display()));
            }
        }
    }
}

pub(crate) fn is_damaged<M: Medium>(medium: &M, read: &Recovery, name: &str) -> bool {
    let path = medium.path(name);
    // A file before which others are gone is itself sound.
    read.damaged.iter().any(|damage| damage.segment == path && damage.reason != Reason::Before)
}

fn name_of_damaged(name: &str) -> String {
    format!("{name}.damaged")
}

/// Keeps a copy of a damaged file. Returns its name.
pub(crate) fn copy<M: Medium>(medium: &mut M, name: &str) -> Result<String, StoreError> {
    let other = name_of_damaged(name);
    let copied = medium.create(&other).and_then(|mut file| {
        let mut offset = 0;
        loop {
            let chunk = medium.read_at(name, offset, CHUNK_BYTES)?;
            if chunk.is_empty() {
                return file.sync();
            }
            file.append(&chunk)?;
            offset += chunk.len() as u64;
        }
    });
    match copied {
        // One of an earlier time is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(other),
        Err(source) => Err(StoreError::Io { operation: "copy", path: medium.path(name), source }),
        Ok(()) => Ok(other),
    }
}

/// Of records that only count in their order.
pub(crate) const STATE: Position = Position(0);
