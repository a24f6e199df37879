//! What happened in a run, in numbers: proof that the interesting things did happen.

use std::fmt;

macro_rules! stats {
    ($($name:ident $doc:literal,)*) => {
        /// Counts of one or many runs.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
        pub struct Stats {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl Stats {
            /// Adds another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Stats {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(write!(f, "{} {}  ", stringify!($name).replace('_', " "), self.$name)?;)*
                Ok(())
            }
        }
    };
}

stats! {
    steps "Steps of the scheduler.",
    connects "Connections that got a CONNACK.",
    resumed "Sessions resumed.",
    publishes "Messages taken.",
    acknowledged "Messages of QoS 1 acknowledged.",
    deliveries "Messages sent to clients.",
    redeliveries "Of them sent again.",
    received_once "Messages of QoS 2 acknowledged by PUBREC.",
    resent "Messages of QoS 2 published again after a reconnection.",
    exactly_once "Messages that clients took with QoS 2.",
    repetitions "Messages of QoS 2 that clients knew already.",
    refused_deliveries "Messages of QoS 2 that clients refused.",
    owed "Pairs of message and session that were checked at the end.",
    subscribes "SUBACK packets.",
    refused_claims "Of their filters those that others had.",
    unsubscribes "UNSUBACK packets.",
    aliases "Topics said by an alias.",
    identifiers "Subscription identifiers in deliveries.",
    expiring "Messages sent with what is left of their expiry.",
    delayed "Messages taken to be published later.",
    delayed_owed "Of them those that must have been published at the end.",
    proofs "Steps of enhanced authentication.",
    reloads "Changes of configuration and rules.",
    full "Times that the disk was full.",
    without_room "Writes that had no room.",
    refused_for_room "Messages refused for it.",
    held "Connections of 5.0 that waited for the log too long.",
    greeted "Automatic subscriptions.",
    wills "Wills sent to subscribers.",
    wills_owed "Wills that must have been said at the end.",
    shared "Messages of groups sent to members.",
    shared_again "Of them those that another member had.",
    owed_to_groups "Pairs of message and group that were checked at the end.",
    letters "Letters between shards.",
    moves "Connections moved to their home.",
    takeovers "Connections taken over.",
    parks "Connections parked.",
    passed "Packets taken behind others whose changes were under way.",
    asks "Questions asked outside.",
    fetched "Messages that came back from the store.",
    cuts "Connections cut.",
    garbled "Connections whose client sent no packet.",
    expired_sessions "Sessions gone after their expiry.",
    timeouts "Connections closed for their silence.",
    stored "Records reported stored.",
    checkpoints "Checkpoints made of complete segments.",
    poisoned "Nodes ended by a failing disk.",
    crashes "Nodes killed or without power.",
    restarts "Clean restarts.",
    dropped "Deliveries dropped by limits.",
    retained "Retained messages compared at the end.",
}
