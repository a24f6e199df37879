//! Faults planted by the harness, to prove that the checks would see them.

use bellbird_codec::PacketId;
use bellbird_core::errand::Errand;
use bellbird_core::permit::{Action, Rule, Verdict};
use bellbird_core::record::{Append, Operation, Record};
use bellbird_core::{Change, Config, Message, MessageParts, Subscriber, Time, View};
use bellbird_topics::TopicName;

use crate::delayed::{is_delayed, makes_wait};
use crate::exclusive::EXCLUSIVE;
use crate::rot::Rot;
use crate::world::World;

/// A fault at the contract or under the store; production code stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plant {
    /// Records are reported stored before they are synced.
    StoredBeforeSync,
    /// What waits for a sync is reported with what only waits for the write beside it.
    SyncedWithWritten,
    /// A durable holder is left out of a message's record.
    HolderMissing,
    /// A subscription is reported applied before the view shows it.
    AppliedBeforeView,
    /// At a takeover, somebody acknowledges in the client's name what it had not acknowledged.
    AcknowledgedAtTakeover,
    /// Two parcels of a letter change places.
    ParcelsSwapped,
    /// A new life of a session is recorded under the number of the one before.
    OldIncarnation,
    /// A delivery that is over is recorded for the message behind it.
    DoneForAnother,
    /// The end of a session never reaches the log.
    EndLost,
    /// A letter is delivered twice.
    MailTwice,
    /// A letter gets lost.
    MailLost,
    /// Recovery takes the oldest retained message for the newest.
    RetainedReversed,
    /// The end of a subscription never reaches the view.
    UnsubscribeLost,
    /// Packets are handed in although the connection is parked.
    ParkIgnored,
    /// Records are reported stored at the position behind their own.
    WrongPosition,
    /// A subscription never reaches the log, though it is reported stored.
    SubscriptionLost,
    /// The packet id of a delivery of QoS 2 never reaches the log.
    SendingLost,
    /// The log is told another packet id than the client.
    SendingChanged,
    /// PUBREC from a client never reaches the log.
    HadLost,
    /// PUBREL from a client never reaches the log.
    ReleasedLost,
    /// A message of QoS 2 is stored without the packet id it came under.
    ReceivedLost,
    /// A message of QoS 2 is stored with another packet id.
    ReceivedChanged,
    /// The packet id of a retained message never reaches the log.
    HoldingLost,
    /// An alias of a client is taken for another one.
    AliasMixed,
    /// The identifier of a subscription never reaches the view.
    IdentifierLost,
    /// The identifiers of a delivery never reach the log.
    IdentifiersForgotten,
    /// What a member acknowledged goes back to its group.
    SettledReturned,
    /// What a member that went away had not acknowledged counts as acknowledged.
    ReturnedSettled,
    /// A group never hears that a member is back.
    ReadyLost,
    /// A message of a group goes out without the identifier of the member's subscription.
    LentWithoutIdentifier,
    /// Whose own a message of a group is never reaches the log.
    HandedLost,
    /// Which group handed a delivery over never reaches the log.
    GroupForgotten,
    /// A group never reaches the log.
    FoundLost,
    /// A message that a group is done with stays the group's in the log.
    GroupDoneLost,
    /// A message reaches the log without its expiry.
    ExpiryLost,
    /// A message of a group lives a second longer than it was to.
    LentTooLong,
    /// A will never reaches the log.
    WillLost,
    /// That a will is not wanted any more, or was said, never reaches the log.
    WillOverLost,
    /// A will reaches the log without its delay.
    DelayLost,
    /// An exclusive subscription is granted to the second as well.
    TwoOwners,
    /// An exclusive subscription never reaches the log.
    ClaimLost,
    /// Who gives an exclusive subscription up stays its owner.
    OwnerKept,
    /// One shard never hears of changes that the operator makes.
    ReloadLost,
    /// Filters are not taken for others.
    FilterNotRewritten,
    /// An automatic subscription never reaches the view.
    GreetingLost,
    /// Who is refused by the mechanism is let in.
    RefusalIgnored,
    /// A challenge reaches the client as another.
    ChallengeMixed,
    /// A message that is to wait reaches the log as one of nobody's.
    DelayedLost,
    /// A message that is to wait reaches the log without its seconds.
    DelayedSecsLost,
    /// That a message that waited was published never reaches the log.
    DelayedDoneLost,
    /// The will that is to be retained is not.
    RetainedWillLost,
    /// The gate lets pass what somebody has to be asked about, so that such wills are said.
    RefusedWillSaid,
    /// The log does not hear which packet ids may be given.
    ReservedLost,
    /// Two messages that come back from the store change places.
    FetchedSwapped,
    /// A message that comes back from the store is taken for lost.
    FetchedLost,
    /// What had no room is reported stored all the same.
    FullForgotten,
    /// No shard hears that there is room again.
    RoomUnheard,
    /// A fault of the store, which only a log in files can have.
    Store(Rot),
}

impl Plant {
    /// Those that only a log in files can have, beside those of [`Rot`].
    pub const OF_LOG: [Self; 2] = [Self::SyncedWithWritten, Self::FullForgotten];

    /// All but those of the store.
    pub const ALL: [Self; 55] = [
        Self::ReservedLost,
        Self::FetchedSwapped,
        Self::FetchedLost,
        Self::StoredBeforeSync,
        Self::HolderMissing,
        Self::AppliedBeforeView,
        Self::AcknowledgedAtTakeover,
        Self::ParcelsSwapped,
        Self::OldIncarnation,
        Self::DoneForAnother,
        Self::EndLost,
        Self::MailTwice,
        Self::MailLost,
        Self::RetainedReversed,
        Self::UnsubscribeLost,
        Self::ParkIgnored,
        Self::WrongPosition,
        Self::SubscriptionLost,
        Self::SendingLost,
        Self::SendingChanged,
        Self::HadLost,
        Self::ReleasedLost,
        Self::ReceivedLost,
        Self::ReceivedChanged,
        Self::HoldingLost,
        Self::AliasMixed,
        Self::IdentifierLost,
        Self::IdentifiersForgotten,
        Self::SettledReturned,
        Self::ReturnedSettled,
        Self::ReadyLost,
        Self::LentWithoutIdentifier,
        Self::HandedLost,
        Self::GroupForgotten,
        Self::FoundLost,
        Self::GroupDoneLost,
        Self::ExpiryLost,
        Self::LentTooLong,
        Self::WillLost,
        Self::WillOverLost,
        Self::DelayLost,
        Self::TwoOwners,
        Self::ClaimLost,
        Self::OwnerKept,
        Self::ReloadLost,
        Self::FilterNotRewritten,
        Self::GreetingLost,
        Self::RefusalIgnored,
        Self::ChallengeMixed,
        Self::DelayedLost,
        Self::DelayedSecsLost,
        Self::DelayedDoneLost,
        Self::RetainedWillLost,
        Self::RefusedWillSaid,
        Self::RoomUnheard,
    ];
}

impl World {
    /// What a planted fault makes of a record.
    pub(crate) fn spoil(&mut self, record: &mut Record) {
        let Some(plant) = self.plant else { return };
        if let Record::Append(append) = record
            && plant == Plant::HolderMissing
            && self.rng.chance(20)
        {
            append.holders.pop();
        }
        if let Record::Append(append) = record
            && makes_wait(append)
        {
            spoil_delayed(append, plant);
        }
        if let Record::Append(append) = record
            && plant == Plant::ExpiryLost
        {
            append.message = expiring(&append.message, None);
        }
        if let Record::Append(append) = record
            && plant == Plant::IdentifiersForgotten
        {
            append.holders.iter_mut().for_each(|delivery| delivery.ids = [].into_iter().collect());
        }
        if let Record::Append(append) = record
            && self.rng.chance(20)
        {
            if plant == Plant::ReceivedLost {
                append.received = None;
            }
            if let Some(received) = &mut append.received
                && plant == Plant::ReceivedChanged
            {
                received.packet_id = next(received.packet_id);
            }
        }
        let Record::Commit(commit) = record else { return };
        let operations = &mut commit.operations;
        let opens = matches!(operations.first(), Some(Operation::Open { .. }));
        if plant == Plant::OldIncarnation && opens && commit.holder.incarnation > 1 {
            commit.holder.incarnation -= 1;
        }
        if plant == Plant::EndLost {
            operations.retain(|operation| !matches!(operation, Operation::End));
        }
        if plant == Plant::DelayedDoneLost && is_delayed(commit.holder) {
            operations.clear();
        }
        let is_group = self.founded.contains_key(&commit.holder);
        if plant == Plant::GroupDoneLost && is_group && self.rng.chance(60) {
            operations.retain(|operation| !matches!(operation, Operation::Done { .. }));
        }
        // What rarely matters is there each time.
        let rare = [Plant::HoldingLost, Plant::ReservedLost, Plant::WillLost, Plant::WillOverLost];
        if rare.contains(&plant) || self.rng.chance(60) {
            operations.retain(|operation| !is_lost(operation, plant));
        }
        for operation in operations {
            if let (Operation::Will { delay_secs, .. }, Plant::DelayLost) = (&mut *operation, plant)
            {
                *delay_secs = 0;
            }
            if let (
                Operation::Sending { delivery, .. }
                | Operation::Had { delivery }
                | Operation::Done { delivery },
                Plant::GroupForgotten,
            ) = (&mut *operation, plant)
            {
                delivery.of = None;
            }
            if let (Operation::Done { delivery }, Plant::DoneForAnother) = (&mut *operation, plant)
            {
                delivery.position.0 += 1;
            }
            if let (Operation::Sending { packet_id, .. }, Plant::SendingChanged) =
                (operation, plant)
            {
                *packet_id = next(*packet_id);
            }
        }
    }
}

impl World {
    /// What a planted fault makes of the gate's rules.
    pub(crate) fn spoil_rules(&self, rules: &mut Vec<Rule>) {
        if self.plant == Some(Plant::RefusedWillSaid) {
            let is_asked =
                |rule: &Rule| rule.action == Action::Publish && rule.verdict == Verdict::Ask;
            rules.retain(|rule| !is_asked(rule));
        }
    }

    /// What a planted fault makes of the configuration.
    pub(crate) fn spoil_config(&self, config: &mut Config) {
        if self.plant == Some(Plant::FilterNotRewritten) {
            config.rewrites.iter_mut().for_each(|rewrite| rewrite.subscribes = false);
        }
    }

    /// What a planted fault makes of a change of the view.
    pub(crate) fn spoil_changes(&mut self, changes: &mut Vec<Change>) {
        if self.plant == Some(Plant::GreetingLost) {
            let is_inbox = |change: &Change| matches!(change, Change::Subscribe { filter, .. } if filter.starts_with("inbox/"));
            changes.retain(|change| !is_inbox(change));
        }
        if self.plant == Some(Plant::OwnerKept) {
            let is_exclusive = |change: &Change| matches!(change, Change::Unsubscribe { filter, .. } if filter.starts_with(EXCLUSIVE));
            changes.retain(|change| !is_exclusive(change));
        }
        if self.plant == Some(Plant::RetainedWillLost) && self.unasked_in(changes).is_some() {
            changes.retain(|change| !matches!(change, Change::Retain { .. }));
        }
        if self.plant == Some(Plant::IdentifierLost) && self.rng.chance(30) {
            for change in &mut *changes {
                if let Change::Subscribe { granted, .. } = change {
                    granted.id = None;
                }
            }
        }
        if self.plant == Some(Plant::UnsubscribeLost) && self.rng.chance(30) {
            changes.retain(|change| !matches!(change, Change::Unsubscribe { .. }));
        }
    }

    /// A planted fault: whoever has what is claimed loses it, and is not told.
    pub(crate) fn spoil_claims(&mut self, changes: &[Change]) {
        if self.plant != Some(Plant::TwoOwners) {
            return;
        }
        for change in changes {
            let Change::Subscribe { namespace, filter, subscriber, .. } = change else { continue };
            let Some(holder) = self.node.view.owner(*namespace, filter) else { continue };
            let (namespace, filter) = (*namespace, filter.clone());
            let subscriber = Subscriber { holder, ..*subscriber };
            self.node.view.apply(&[Change::Unsubscribe { namespace, filter, subscriber }]);
        }
    }

    /// What a planted fault makes of the errands of a letter.
    pub(crate) fn spoil_errands(&mut self, errands: &mut Vec<Errand>) {
        let Some(plant) = self.plant.filter(|_| self.rng.chance(30)) else { return };
        for errand in errands.iter_mut() {
            match (&mut *errand, plant) {
                (Errand::Settle(loan), Plant::SettledReturned) => *errand = Errand::Return(*loan),
                (Errand::Return(loan), Plant::ReturnedSettled) => *errand = Errand::Settle(*loan),
                (Errand::Lend(lending), Plant::LentWithoutIdentifier) => {
                    lending.ids = [].into_iter().collect();
                }
                (Errand::Lend(lending), Plant::LentTooLong) => {
                    let expires_at = lending.message.expires_at.map(|at| at.plus_secs(1));
                    lending.message = expiring(&lending.message, expires_at);
                }
                (_, _) => {}
            }
        }
        if plant == Plant::ReadyLost {
            errands.retain(|errand| !matches!(errand, Errand::Ready { .. }));
        }
    }
}

/// Whether a fault keeps an operation from the log.
fn is_lost(operation: &Operation, plant: Plant) -> bool {
    matches!(
        (operation, plant),
        (Operation::Subscribe { .. }, Plant::SubscriptionLost)
            | (Operation::Sending { .. }, Plant::SendingLost)
            | (Operation::Had { .. }, Plant::HadLost)
            | (Operation::Released { .. }, Plant::ReleasedLost)
            | (Operation::Holding { .. }, Plant::HoldingLost)
            | (Operation::Reserved { .. }, Plant::ReservedLost)
            | (Operation::Handed { .. }, Plant::HandedLost)
            | (Operation::Found { .. }, Plant::FoundLost)
            | (Operation::Will { .. }, Plant::WillLost)
            | (Operation::WillOver, Plant::WillOverLost)
    ) || matches!(
        (operation, plant),
        (Operation::Subscribe { filter, .. }, Plant::ClaimLost) if filter.starts_with(EXCLUSIVE)
    )
}

/// What a fault makes of the record of a message that waits for its time.
fn spoil_delayed(append: &mut Append, plant: Plant) {
    let topic = append.message.topic().as_str();
    let behind = topic.splitn(3, '/').nth(2).unwrap_or_default();
    if plant == Plant::DelayedLost {
        append.holders.clear();
    }
    if plant == Plant::DelayedSecsLost {
        let at_once = format!("$delayed/0/{behind}");
        let Ok(topic) = TopicName::parse(&at_once) else { return };
        append.message = Message::new(&MessageParts { topic, ..append.message.parts() });
    }
}

/// The same message with another end.
fn expiring(message: &Message, expires_at: Option<Time>) -> Message {
    Message::new(&MessageParts { expires_at, ..message.parts() })
}

fn next(id: PacketId) -> PacketId {
    PacketId::new(id.value().wrapping_add(1)).unwrap_or(id)
}
