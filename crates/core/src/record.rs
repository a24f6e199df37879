//! The four durable outputs: all that a node needs in order to be itself again.
//!
//! Core relies on the order within a lane and on the atomicity of one commit, and on nothing
//! across them: files put all four into one log, a cluster into four streams without order
//! between them. `bellbird-store` says how the records look as bytes.

use std::sync::Arc;

use bellbird_codec::{PacketId, QoS};
use bellbird_topics::Namespace;
use smallvec::SmallVec;

use crate::identity::{DeliveryId, Holder, Lane, Position, Time};
use crate::message::Message;
use crate::subscription::{Subscription, SubscriptionIds};

/// One durable output, and one step of recovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A message with the durable holders it was matched to.
    Append(Append),
    /// A change of one holder, atomic and fenced.
    Commit(Commit),
    /// The retained message of one topic.
    Retain(Retain),
    /// A setting of the node.
    Settings(Settings),
}

impl Record {
    /// The message that this record stores, whoever waits for it.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Append(append) => Some(&append.message),
            Self::Commit(_) | Self::Retain(_) | Self::Settings(_) => None,
        }
    }
}

/// A message with the durable holders it was matched to, so that recovery never matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// Keeps the order of one publisher.
    pub lane: Lane,
    /// When it was accepted.
    pub at: Time,
    /// The body, stored once whatever the fan-out.
    pub message: Message,
    /// Who holds a delivery of it.
    pub holders: Holders,
    /// Whose QoS 2 receive state it begins: packet id and message are one record.
    pub received: Option<Received>,
    /// Its order if it was retained: whoever has this record needs no [`Retain`] for it. A client
    /// that was received once never sends the message again.
    pub retained: Option<u64>,
}

/// The durable holders of a message; most have one, which takes no allocation.
pub type Holders = SmallVec<[Delivery; 1]>;

/// A PUBLISH of QoS 2 whose PUBREL has not come: the same packet id is the same message
/// [MQTT-4.3.3-10].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The publishing session.
    pub holder: Holder,
    /// The packet id it was published under.
    pub packet_id: PacketId,
}

/// One durable holder's delivery of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Who gets it, and in which life.
    pub holder: Holder,
    /// The lower of the published and the granted QoS [MQTT-3.8.4-8].
    pub qos: QoS,
    /// The RETAIN flag it is sent with [MQTT-3.3.1-13].
    pub retain: bool,
    /// The identifiers it carries.
    pub ids: SubscriptionIds,
}

/// A change of one holder: all of its operations or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Whose.
    pub holder: Holder,
    /// Counts the connections of this incarnation: a commit of an older epoch than the newest
    /// seen is void.
    pub epoch: u32,
    /// When it was decided.
    pub at: Time,
    /// What happens, in this order.
    pub operations: Vec<Operation>,
}

/// One step of a [`Commit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The holder begins its life as this client's session. Any older incarnation of the same
    /// client ends with it.
    Open {
        /// The client's namespace.
        namespace: Namespace,
        /// The client identifier, the key of the session [MQTT-3.1.3-2].
        client_id: Box<str>,
        /// The user name it proved.
        user_name: Option<Box<str>>,
        /// Session Expiry Interval in seconds; `u32::MAX` never expires.
        expiry_secs: u32,
    },
    /// A connection resumed the session, with this expiry from now on.
    Resume {
        /// The user name that this connection proved.
        user_name: Option<Box<str>>,
        /// Session Expiry Interval in seconds.
        expiry_secs: u32,
    },
    /// The connection ended: the expiry interval counts from the commit's time.
    Leave {
        /// Session Expiry Interval in seconds, as DISCONNECT may have changed it.
        expiry_secs: u32,
    },
    /// A subscription begins or is replaced.
    Subscribe {
        /// As the client wrote it.
        filter: Arc<str>,
        /// What was granted.
        subscription: Subscription,
    },
    /// A subscription ends.
    Unsubscribe {
        /// As the client wrote it.
        filter: Arc<str>,
    },
    /// A delivery of QoS 2 is about to be sent under this packet id for the first time.
    Sending {
        /// Which delivery.
        delivery: DeliveryId,
        /// Its id until the exchange is over [MQTT-4.4.0-1].
        packet_id: PacketId,
    },
    /// The client has a delivery of QoS 2: from here on PUBREL, never PUBLISH [MQTT-4.3.3-6].
    Had {
        /// Which delivery.
        delivery: DeliveryId,
    },
    /// A delivery of QoS 2 that the log does not have is about to be sent under this packet id: a
    /// retained message. After a restart only its exchange is completed.
    Holding {
        /// Its id until the exchange is over.
        packet_id: PacketId,
    },
    /// Packet ids up to this one, counted on from the last that was reserved, may be given to what
    /// the session is sent. After a restart they begin behind it.
    Reserved {
        /// The last of them.
        through: PacketId,
    },
    /// The exchange under this packet id is over.
    Freed {
        /// As in `Holding`.
        packet_id: PacketId,
    },
    /// PUBREL came for a message that the client published with QoS 2: its packet id is free.
    Released {
        /// Which message.
        position: Position,
    },
    /// A delivery of a stored message is over.
    Done {
        /// Which delivery.
        delivery: DeliveryId,
    },
    /// The connection that begins with this commit has a will.
    Will {
        /// As it will be published, but for its id and expiry.
        message: Message,
        /// Message Expiry Interval in seconds, from its publication.
        expiry_secs: Option<u32>,
        /// Will Delay Interval in seconds.
        delay_secs: u32,
    },
    /// The will was published, or is not wanted any more.
    WillOver,
    /// The holder begins its life as this shared subscription.
    Found {
        /// Its namespace.
        namespace: Namespace,
        /// The whole filter, `$share/{group}/{filter}`.
        name: Box<str>,
    },
    /// A message of this group is from here on a member's own, at QoS 2: nobody else gets it.
    Handed {
        /// Which message.
        position: Position,
        /// Which member, and in which life.
        to: Holder,
        /// The RETAIN flag it is sent with.
        retain: bool,
        /// The identifiers it carries.
        ids: SubscriptionIds,
    },
    /// The holder's life is over; what it held is gone.
    End,
}

/// The retained message of one topic: the highest order wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retain {
    /// The place among all sets of retained messages, as the view gave it.
    pub order: u64,
    /// When it was accepted.
    pub at: Time,
    /// The topic's namespace.
    pub namespace: Namespace,
    /// The topic.
    pub topic: Box<str>,
    /// The message; none clears the topic [MQTT-3.3.1-6].
    pub message: Option<Message>,
}

/// A setting of the node: the last value of a key counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The setting's name, with dots.
    pub key: Box<str>,
    /// Its value.
    pub value: Box<[u8]>,
}
