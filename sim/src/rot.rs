//! Faults planted under the log: a medium that lies, and checkpoints that are wrong.

use std::io;
use std::path::PathBuf;

use bellbird_codec::QoS;
use bellbird_core::identity::Position;
use bellbird_core::record::{Append, Commit, Operation, Record};
use bellbird_core::recovery::Essence;
use bellbird_store::{Faulty, Medium, MediumFile};

/// A fault of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rot {
    /// The directory is never synced.
    DirectoryNotSynced,
    /// Segments are never synced.
    SegmentsNotSynced,
    /// A checkpoint gets its name before it is synced.
    CheckpointNotSynced,
    /// What a checkpoint stands for goes before its name is stable.
    RemovedTooEarly,
    /// The segment behind a checkpoint goes as well.
    OneTooMany,
    /// Not all of a checkpoint is written.
    CheckpointCutShort,
    /// A checkpoint has no messages.
    MessagesLost,
    /// A message loses one of those it is for.
    DeliveryLost,
    /// What is over is not.
    DeliveriesRevived,
    /// Messages stand at the position behind their own.
    PositionsShifted,
    /// A delivery of QoS 2 becomes one of QoS 1.
    QosLowered,
    /// The packet id a message of QoS 2 came under is forgotten.
    ReceivedForgotten,
    /// The packet id a message of QoS 2 goes out under is forgotten.
    SendingForgotten,
    /// That a client has a message of QoS 2 is forgotten.
    HadForgotten,
    /// The packet ids of retained messages are forgotten.
    HoldingForgotten,
    /// Retained messages are forgotten.
    RetainedForgotten,
    /// Of retained messages the first counts.
    RetainedReversed,
    /// A subscription of each session is forgotten.
    SubscriptionForgotten,
    /// Wills are forgotten.
    WillForgotten,
    /// Sessions are forgotten.
    SessionForgotten,
    /// Groups are forgotten.
    GroupForgotten,
    /// Whose own the messages of a group are is forgotten.
    HandedForgotten,
}

impl Rot {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::DirectoryNotSynced,
        Self::SegmentsNotSynced,
        Self::CheckpointNotSynced,
        Self::RemovedTooEarly,
        Self::OneTooMany,
        Self::CheckpointCutShort,
        Self::MessagesLost,
        Self::DeliveryLost,
        Self::DeliveriesRevived,
        Self::PositionsShifted,
        Self::QosLowered,
        Self::ReceivedForgotten,
        Self::SendingForgotten,
        Self::HadForgotten,
        Self::HoldingForgotten,
        Self::RetainedForgotten,
        Self::RetainedReversed,
        Self::SubscriptionForgotten,
        Self::WillForgotten,
        Self::SessionForgotten,
        Self::GroupForgotten,
        Self::HandedForgotten,
    ];
}

/// What a checkpoint keeps of a record, with or without a fault.
pub(crate) fn keep(
    rot: Option<Rot>,
    essence: &Essence,
    position: Position,
    record: Record,
) -> Option<(Position, Record)> {
    if position == Position(0) {
        return spoil_state(rot, record).map(|record| (position, record));
    }
    let original = record.clone();
    let kept = essence.keep(position, record);
    match (rot, original, kept) {
        (Some(Rot::DeliveriesRevived), Record::Append(whole), _) => {
            let retained = None;
            Some((position, Record::Append(Append { retained, ..whole })))
        }
        (Some(Rot::RetainedReversed), Record::Retain(mut retain), _) => {
            retain.order = 1_000_000_u64.saturating_sub(retain.order);
            Some((position, Record::Retain(retain)))
        }
        (Some(rot), _, Some(kept)) => spoil_kept(rot, position, kept),
        (_, _, kept) => kept.map(|kept| (position, kept)),
    }
}

fn spoil_kept(rot: Rot, mut position: Position, mut kept: Record) -> Option<(Position, Record)> {
    match (&mut kept, rot) {
        (Record::Append(_), Rot::MessagesLost) | (Record::Retain(_), Rot::RetainedForgotten) => {
            return None;
        }
        (Record::Append(append), Rot::RetainedForgotten) => append.retained = None,
        (Record::Append(append), Rot::DeliveryLost) => {
            append.holders.pop();
        }
        (Record::Append(append), Rot::QosLowered) => {
            append.holders.iter_mut().for_each(|found| found.qos = found.qos.min(QoS::AtLeastOnce));
        }
        (Record::Append(append), Rot::ReceivedForgotten) => append.received = None,
        (Record::Append(_), Rot::PositionsShifted) => position.0 += 1,
        _ => {}
    }
    Some((position, kept))
}

fn spoil_state(rot: Option<Rot>, mut record: Record) -> Option<Record> {
    match &mut record {
        Record::Commit(commit) => {
            if let Some(rot) = rot {
                spoil_commit(rot, commit);
            }
            (!commit.operations.is_empty()).then_some(record)
        }
        Record::Append(_) | Record::Retain(_) | Record::Settings(_) => Some(record),
    }
}

fn spoil_commit(rot: Rot, commit: &mut Commit) {
    let operations = &mut commit.operations;
    if rot == Rot::SubscriptionForgotten {
        let is_subscribe = |found: &Operation| matches!(found, Operation::Subscribe { .. });
        if let Some(at) = operations.iter().position(is_subscribe) {
            operations.remove(at);
        }
        return;
    }
    if rot == Rot::SessionForgotten && matches!(operations.first(), Some(Operation::Open { .. })) {
        operations.clear();
    }
    operations.retain(|operation| {
        !matches!(
            (rot, operation),
            (Rot::SendingForgotten, Operation::Sending { .. })
                | (Rot::HadForgotten, Operation::Had { .. })
                | (Rot::HoldingForgotten, Operation::Holding { .. })
                | (Rot::WillForgotten, Operation::Will { .. })
                | (Rot::GroupForgotten, Operation::Found { .. })
                | (Rot::HandedForgotten, Operation::Handed { .. })
        )
    });
}

/// A medium that does not always do what it says.
#[derive(Clone, Debug)]
pub(crate) struct Rotten {
    pub(crate) inner: Faulty,
    pub(crate) rot: Option<Rot>,
    /// The last thing it did was to name a checkpoint.
    pub(crate) has_renamed: bool,
}

/// A file of it.
#[derive(Debug)]
pub(crate) struct RottenFile {
    inner: <Faulty as Medium>::File,
    rot: Option<Rot>,
    is_checkpoint: bool,
}

const CHECKPOINT: &str = "checkpoint";

impl Medium for Rotten {
    type File = RottenFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.inner.read(name)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(name, offset, bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<RottenFile> {
        let is_checkpoint = name.starts_with(CHECKPOINT);
        Ok(RottenFile { inner: self.inner.create(name)?, rot: self.rot, is_checkpoint })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.has_renamed = from.starts_with(CHECKPOINT);
        self.inner.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.rot == Some(Rot::OneTooMany) && name.ends_with(".log") {
            let mut names = self.inner.list()?;
            names.sort();
            let next = names.iter().find(|other| other.ends_with(".log") && ***other > *name);
            if let Some(next) = next {
                self.inner.remove(next)?;
            }
        }
        self.inner.remove(name)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let is_of_checkpoint = std::mem::take(&mut self.has_renamed);
        match self.rot {
            Some(Rot::DirectoryNotSynced) => Ok(()),
            Some(Rot::RemovedTooEarly) if is_of_checkpoint => Ok(()),
            _ => self.inner.sync_directory(),
        }
    }

    fn nonce(&mut self) -> u64 {
        self.inner.nonce()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

impl MediumFile for RottenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let cut = self.is_checkpoint && self.rot == Some(Rot::CheckpointCutShort);
        let len = if cut { bytes.len().saturating_sub(30) } else { bytes.len() };
        self.inner.append(&bytes[..len])
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        self.inner.reserve(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let forgets = match self.rot {
            Some(Rot::CheckpointNotSynced) => self.is_checkpoint,
            Some(Rot::SegmentsNotSynced) => !self.is_checkpoint,
            _ => false,
        };
        if forgets { Ok(()) } else { self.inner.sync() }
    }
}
