//! The packets of MQTT 3.1, 3.1.1 and 5.0 as one model: those before 5.0 leave properties empty and reason codes
//! at success. Each packet's folder entry holds its fields, its reader and its writer.

mod acknowledgement;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod subscribe;
mod unsubscribe;

use std::fmt;
use std::num::NonZeroU16;

pub use acknowledgement::Acknowledgement;
pub use connack::Connack;
pub use connect::{Connect, Will, peek_version};
pub use disconnect::{Auth, Disconnect};
pub use publish::{Publish, PublishFrame, PublishParts, encode_publish, publish_len};
pub use subscribe::{
    RetainHandling, Suback, Subscribe, SubscribeBuffer, SubscribeFilter, SubscribeFilters,
    SubscribeFiltersIter, SubscribeOptions,
};
pub use unsubscribe::{
    Unsuback, Unsubscribe, UnsubscribeBuffer, UnsubscribeFilters, UnsubscribeFiltersIter,
};

/// One MQTT control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client opens its connection.
    Connect(Connect<'a>),
    /// The server's answer to CONNECT.
    Connack(Connack<'a>),
    /// A message.
    Publish(Publish<'a>),
    /// The answer to a PUBLISH of QoS 1.
    Puback(Acknowledgement<'a>),
    /// The first answer to a PUBLISH of QoS 2.
    Pubrec(Acknowledgement<'a>),
    /// The answer to PUBREC.
    Pubrel(Acknowledgement<'a>),
    /// The answer to PUBREL.
    Pubcomp(Acknowledgement<'a>),
    /// A client asks for subscriptions.
    Subscribe(Subscribe<'a>),
    /// The answer to SUBSCRIBE.
    Suback(Suback<'a>),
    /// A client gives subscriptions up.
    Unsubscribe(Unsubscribe<'a>),
    /// The answer to UNSUBSCRIBE.
    Unsuback(Unsuback<'a>),
    /// A client asks for a sign of life.
    Pingreq,
    /// The answer to PINGREQ.
    Pingresp,
    /// The last packet of a connection.
    Disconnect(Disconnect<'a>),
    /// A step of enhanced authentication; MQTT 5.0 only.
    Auth(Auth<'a>),
}

/// A protocol version; newer ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, protocol level 3 and another name.
    V31,
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

impl Version {
    /// Whether packets of this version have properties and reason codes.
    #[inline]
    pub fn has_properties(self) -> bool {
        match self {
            Self::V31 | Self::V311 => false,
            Self::V5 => true,
        }
    }

    /// The protocol level in CONNECT.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

/// A quality of service; stronger ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// Sent once, without an answer.
    AtMostOnce = 0,
    /// Sent until acknowledged.
    AtLeastOnce = 1,
    /// Sent until acknowledged, and taken over once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The bits on the wire.
    #[inline]
    pub fn value(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for QoS {
    type Error = NoQoS;

    #[inline]
    fn try_from(value: u8) -> Result<Self, NoQoS> {
        match value {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(NoQoS(value)),
        }
    }
}

/// A number that is no quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQoS(pub u8);

impl fmt::Display for NoQoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no QoS {}", self.0)
    }
}

impl std::error::Error for NoQoS {}

/// Ties an acknowledgement to its packet; never 0 [MQTT-2.2.1-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// `None` if `value` is 0.
    #[inline]
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// The number on the wire.
    #[inline]
    pub fn value(self) -> u16 {
        self.0.get()
    }
}
