//! Faults planted by the harness, to prove that the checks would see them.

/// A fault at the contract or under the store; production code stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plant {
    /// Records are reported stored before they are synced.
    StoredBeforeSync,
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
    /// The directory is never synced.
    DirectoryNotSynced,
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
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::StoredBeforeSync,
        Self::HolderMissing,
        Self::AppliedBeforeView,
        Self::AcknowledgedAtTakeover,
        Self::ParcelsSwapped,
        Self::OldIncarnation,
        Self::DirectoryNotSynced,
        Self::DoneForAnother,
        Self::EndLost,
        Self::MailTwice,
        Self::MailLost,
        Self::RetainedReversed,
        Self::UnsubscribeLost,
        Self::ParkIgnored,
        Self::WrongPosition,
        Self::SubscriptionLost,
    ];
}
