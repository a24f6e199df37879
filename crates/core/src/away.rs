//! A delivery that waits while its message is in the log only.

use bellbird_codec::QoS;

use crate::identity::{DeliveryId, Position};
use crate::message::Message;
use crate::session::{Lender, Queued};
use crate::subscription::SubscriptionIds;

/// A reference to a stored message, or what cannot be one.
#[derive(Clone, Debug)]
pub(crate) enum Away {
    /// There is nothing more to say of it.
    Plain { position: Position, bytes: u32, qos: QoS, retain: bool },
    /// It answers subscriptions with identifiers, or comes from a group.
    Particular(Box<Particular>),
    /// The log does not have it, or its group has it in memory anyway.
    Here(Box<Queued>),
}

/// A reference with all that a delivery may have.
#[derive(Clone, Debug)]
pub(crate) struct Particular {
    pub(crate) position: Position,
    pub(crate) bytes: u32,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
    pub(crate) lender: Option<Box<Lender>>,
}

impl Away {
    /// Where its message is to be read; none if it is here.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Plain { position, .. } => Some(*position),
            Self::Particular(particular) => Some(particular.position),
            Self::Here(_) => None,
        }
    }

    /// The delivery, if its message is here.
    pub(crate) fn here(&self) -> Option<&Queued> {
        match self {
            Self::Here(delivery) => Some(delivery),
            Self::Plain { .. } | Self::Particular(_) => None,
        }
    }

    /// The bytes of its message.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Plain { bytes, .. } => *bytes as usize,
            Self::Particular(particular) => particular.bytes as usize,
            Self::Here(delivery) => delivery.message.size_bytes(),
        }
    }

    /// The delivery with its message, unless that is lost.
    pub(crate) fn back(self, message: Option<Message>) -> Result<Queued, DeliveryId> {
        match self {
            Self::Plain { position, qos, retain, .. } => {
                let message = message.ok_or_else(|| DeliveryId::own(position))?;
                let (position, ids) = (Some(position), SubscriptionIds::default());
                Ok(Queued { message, position, qos, retain, ids, lender: None })
            }
            Self::Particular(particular) => particular.back(message),
            Self::Here(delivery) => Ok(*delivery),
        }
    }
}

impl From<Queued> for Away {
    fn from(delivery: Queued) -> Self {
        let bytes = u32::try_from(delivery.message.size_bytes());
        let (Some(position), Ok(bytes), None) = (delivery.position, bytes, delivery.loan()) else {
            return Self::Here(Box::new(delivery));
        };
        let Queued { qos, retain, ids, lender, message: _, position: _ } = delivery;
        Particular { position, bytes, qos, retain, ids, lender }.into()
    }
}

impl From<Particular> for Away {
    fn from(particular: Particular) -> Self {
        let Particular { position, bytes, qos, retain, ref ids, ref lender } = particular;
        if ids.is_empty() && lender.is_none() {
            Self::Plain { position, bytes, qos, retain }
        } else {
            Self::Particular(Box::new(particular))
        }
    }
}

impl Particular {
    /// The delivery with its message, unless that is lost.
    pub(crate) fn back(self, message: Option<Message>) -> Result<Queued, DeliveryId> {
        let Self { position, qos, retain, ids, lender, bytes: _ } = self;
        let of = lender.as_deref().map(Lender::group);
        let message = message.ok_or(DeliveryId { position, of })?;
        Ok(Queued { message, position: Some(position), qos, retain, ids, lender })
    }
}

/// A queue of a million is a few megabytes.
const _: () = assert!(size_of::<Away>() == 16);
