//! What a subscription was granted, and the identifiers that its deliveries carry.

use std::num::NonZeroU32;
use std::sync::Arc;

use bellbird_codec::{Properties, Property, PropertyBuffer, QoS, SubscribeOptions};

/// What a client asked for with one filter, as it was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The granted QoS and the flags.
    pub options: SubscribeOptions,
    /// The identifier that its deliveries carry.
    pub id: Option<SubscriptionId>,
}

/// What a holder was granted with one filter: the part of a subscription that routing needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The granted QoS.
    pub qos: QoS,
    /// Not what the holder's own client publishes [MQTT-3.8.3-3].
    pub no_local: bool,
    /// With the RETAIN flag as it was published [MQTT-3.3.1-13].
    pub retain_as_published: bool,
    /// Whether the holder outlives its connection: its deliveries of QoS 1 and 2 are stored first.
    pub durable: bool,
}

/// A grant as the view keeps it: with the identifier of its subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The grant.
    pub grant: Grant,
    /// The identifier.
    pub id: Option<SubscriptionId>,
}

impl Granted {
    /// What a session gets by a subscription.
    pub fn new(subscription: Subscription, durable: bool) -> Self {
        let Subscription { options, id } = subscription;
        let grant = Grant {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            durable,
        };
        Self { grant, id }
    }
}

/// A Subscription Identifier: 1 to 268,435,455 [MQTT 5.0, 3.8.2.1.2].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// None if the value is out of range.
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).filter(|value| value.get() <= ID_MAX).map(Self)
    }

    /// The number on the wire.
    pub fn value(self) -> u32 {
        self.0.get()
    }
}

/// The largest variable byte integer.
const ID_MAX: u32 = 268_435_455;

/// The identifiers of all subscriptions that one delivery answers, ready to be sent.
///
/// Most deliveries have none, and then it is a null pointer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SubscriptionIds(Option<Arc<Box<[u8]>>>);

impl SubscriptionIds {
    /// As raw properties of a PUBLISH.
    pub fn as_properties(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| &***bytes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The identifiers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionId> {
        let properties = Properties::from_raw(self.as_properties());
        properties.iter().filter_map(|property| {
            let Property::SubscriptionIdentifier(value) = property else { return None };
            SubscriptionId::new(value)
        })
    }
}

impl FromIterator<SubscriptionId> for SubscriptionIds {
    fn from_iter<I: IntoIterator<Item = SubscriptionId>>(ids: I) -> Self {
        let mut ids: Vec<SubscriptionId> = ids.into_iter().collect();
        if ids.is_empty() {
            return Self::default();
        }
        ids.sort_unstable();
        ids.dedup();
        let mut buffer = PropertyBuffer::new();
        for id in ids {
            buffer.push(Property::SubscriptionIdentifier(id.value()));
        }
        Self(Some(Arc::new(buffer.as_properties().raw().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_back_in_order_and_once() {
        let ids = [300, 1, 300, ID_MAX].map(|value| SubscriptionId::new(value).unwrap());
        let together: SubscriptionIds = ids.into_iter().collect();
        let values: Vec<u32> = together.iter().map(SubscriptionId::value).collect();
        assert_eq!(values, [1, 300, ID_MAX]);
        assert!(SubscriptionIds::default().is_empty());
        assert_eq!(SubscriptionIds::default().iter().count(), 0);
        assert_eq!(SubscriptionId::new(0), None);
        assert_eq!(SubscriptionId::new(ID_MAX + 1), None);
    }

    #[test]
    fn the_view_keeps_eight_bytes_a_grant() {
        assert_eq!(size_of::<Granted>(), 8);
        assert_eq!(size_of::<SubscriptionIds>(), 8);
    }
}
