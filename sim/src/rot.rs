//! Faults planted under the log: a medium that lies, and checkpoints that are wrong.

mod medium;

use bellbird_codec::QoS;
use bellbird_core::identity::Position;
use bellbird_core::record::{Append, Commit, Operation, Record};
use bellbird_core::recovery::Essence;

pub(crate) use medium::Rotten;

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
    /// Of a segment that is not the first only what it began with is synced, as if the one before
    /// were meant.
    WrongFileSynced,
    /// A segment gets its name before it is synced.
    NamedBeforeSync,
    /// Every second sync of a segment is left out.
    EverySecondSync,
    /// A sync that failed is tried again, and believed.
    SyncTriedAgain,
    /// A write that failed halfway is believed.
    ShortWriteBelieved,
    /// The directory is synced before a file gets its name instead of after.
    DirectorySyncedTooEarly,
    /// A new segment does not take the place of an old one of its name.
    OldNameKept,
    /// A batch says that what was written before it was synced, too.
    MarkTooHigh,
    /// A start does not write anew what may not be synced.
    TailForgotten,
    /// A start cuts more than what was torn.
    CutTooFar,
    /// A start does not look at checksums of records.
    ChecksumsIgnored,
    /// What an interrupted creation left stays.
    UnfinishedKept,
    /// What a checkpoint stands for stays.
    SuperfluousKept,
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
    /// What the medium does wrong, or the log where it meets it.
    pub const OF_THE_MEDIUM: [Self; 19] = [
        Self::DirectoryNotSynced,
        Self::SegmentsNotSynced,
        Self::CheckpointNotSynced,
        Self::RemovedTooEarly,
        Self::OneTooMany,
        Self::CheckpointCutShort,
        Self::WrongFileSynced,
        Self::NamedBeforeSync,
        Self::EverySecondSync,
        Self::SyncTriedAgain,
        Self::ShortWriteBelieved,
        Self::DirectorySyncedTooEarly,
        Self::OldNameKept,
        Self::MarkTooHigh,
        Self::TailForgotten,
        Self::CutTooFar,
        Self::ChecksumsIgnored,
        Self::UnfinishedKept,
        Self::SuperfluousKept,
    ];

    /// What a checkpoint does not say as it should.
    pub const OF_CHECKPOINTS: [Self; 16] = [
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
