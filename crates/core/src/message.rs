//! A message as it is routed, queued and stored: immutable and shared.

use std::ops::Deref;

use bellbird_codec::QoS;
use bellbird_topics::{Namespace, TopicName};
use triomphe::{Arc, ThinArc};

use crate::identity::{MessageId, Time};

/// What a publisher said once, without anything that belongs to one delivery of it.
///
/// Head, topic, properties and payload stand in one allocation, and this is a pointer to it:
/// clones share it. The properties are the raw section of an MQTT 5.0 PUBLISH, in the publisher's
/// order [MQTT-3.3.2-18], without Message Expiry Interval, Topic Alias and Subscription
/// Identifier: those are said anew for each delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message(ThinArc<Head, u8>);

/// What a message says beside its topic, properties and payload, and how long those are.
#[derive(PartialEq, Eq, Debug)]
pub struct Head {
    /// Who it is.
    pub id: MessageId,
    /// The namespace its topic belongs to.
    pub namespace: Namespace,
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether the publisher set RETAIN.
    pub retain: bool,
    /// After this time it is not sent any more [MQTT-3.3.2-5].
    pub expires_at: Option<Time>,
    topic_len: u16,
    properties_len: u32,
}

/// Beyond it, zeros and one copy take less time than two copies.
const SCRATCH_BYTES_MAX: usize = 2048;

/// What [`Message::new`] puts together.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// See [`Head::id`].
    pub id: MessageId,
    /// See [`Head::namespace`].
    pub namespace: Namespace,
    /// See [`Head::qos`].
    pub qos: QoS,
    /// See [`Head::retain`].
    pub retain: bool,
    /// See [`Head::expires_at`].
    pub expires_at: Option<Time>,
    /// The topic.
    pub topic: TopicName<'a>,
    /// The raw properties that every delivery carries.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl Message {
    /// Copies the parts into one allocation.
    ///
    /// # Panics
    /// If the properties are longer than a packet can be (2²⁸ bytes); the codec lets none in.
    pub fn new(parts: &MessageParts<'_>) -> Self {
        Self::put_together(parts, &mut Vec::new())
    }

    /// Like [`Message::new`]. An allocation is made from a head and one slice: short parts are first
    /// put behind what `scratch` holds, and taken off again.
    pub(crate) fn put_together(parts: &MessageParts<'_>, scratch: &mut Vec<u8>) -> Self {
        let topic = parts.topic.as_bytes();
        let head = Head {
            id: parts.id,
            namespace: parts.namespace,
            qos: parts.qos,
            retain: parts.retain,
            expires_at: parts.expires_at,
            topic_len: u16::try_from(topic.len()).expect("a topic has at most 65,535 bytes"),
            properties_len: u32::try_from(parts.properties.len())
                .expect("properties fit into a packet"),
        };
        let parts = [topic, parts.properties, parts.payload];
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes > SCRATCH_BYTES_MAX {
            return Self::fill(head, bytes, &parts);
        }
        let start = scratch.len();
        parts.iter().for_each(|part| scratch.extend_from_slice(part));
        let message = Self(ThinArc::from_header_and_slice(head, &scratch[start..]));
        scratch.truncate(start);
        message
    }

    /// Long parts are not copied twice: their places are made of zeros first.
    fn fill(head: Head, bytes: usize, parts: &[&[u8]]) -> Self {
        let mut made = ThinArc::from_header_and_iter(head, std::iter::repeat_n(0, bytes));
        made.with_arc_mut(|made| {
            let mut rest = Arc::get_mut(made).expect("nobody else has it yet").slice_mut();
            for part in parts {
                let (place, behind) = rest.split_at_mut(part.len());
                place.copy_from_slice(part);
                rest = behind;
            }
        });
        Self(made)
    }

    /// The topic as text.
    pub fn topic(&self) -> TopicName<'_> {
        TopicName::of_checked(self.topic_bytes())
    }

    /// The topic's bytes, UTF-8 and free of wildcards.
    pub fn topic_bytes(&self) -> &[u8] {
        self.part(0, self.topic_end())
    }

    /// The raw MQTT 5.0 properties that every delivery carries.
    pub fn properties(&self) -> &[u8] {
        self.part(self.topic_end(), self.payload_start())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.part(self.payload_start(), self.size_bytes())
    }

    /// Logical size: what this message counts against the limits of a queue.
    pub fn size_bytes(&self) -> usize {
        self.0.slice.len()
    }

    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|deadline| deadline <= now)
    }

    fn topic_end(&self) -> usize {
        usize::from(self.topic_len)
    }

    fn payload_start(&self) -> usize {
        self.topic_end() + self.properties_len as usize
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        &self.0.slice[from..to]
    }
}

impl Deref for Message {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0.header.header
    }
}

/// Queues, mail and records are full of them.
const _: () = assert!(size_of::<Option<Message>>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_parts_whatever_the_scratch_holds() {
        let parts = MessageParts {
            id: MessageId { start: 1, shard: 2, counter: 3 },
            namespace: Namespace(4),
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: Some(Time(5)),
            topic: TopicName::parse("a/b").unwrap(),
            properties: &[6, 7, 8],
            payload: b"on",
        };
        let mut scratch = b"a frame".to_vec();
        let message = Message::put_together(&parts, &mut scratch);
        assert_eq!(scratch, b"a frame");
        assert_eq!(message.clone().0.as_ptr(), message.0.as_ptr(), "a clone shares it");
        assert_eq!(message, Message::new(&message.parts()));
        assert_eq!((message.id, message.expires_at), (parts.id, parts.expires_at));
        assert_eq!(
            (message.namespace, message.qos, message.retain),
            (Namespace(4), parts.qos, true)
        );
        assert_eq!(message.topic_bytes(), b"a/b");
        assert_eq!(message.properties(), [6, 7, 8]);
        assert_eq!(message.payload(), b"on");
        assert_eq!(message.size_bytes(), 3 + 3 + 2);

        let payload = vec![9; SCRATCH_BYTES_MAX];
        let long =
            Message::put_together(&MessageParts { payload: &payload, ..parts }, &mut scratch);
        assert_eq!(scratch, b"a frame");
        assert_eq!((long.topic_bytes(), long.properties()), (&b"a/b"[..], &[6, 7, 8][..]));
        assert_eq!((long.payload(), long.size_bytes()), (&payload[..], 3 + 3 + SCRATCH_BYTES_MAX));

        let less = Message::new(&MessageParts { properties: &[], payload: &[], ..parts });
        assert_ne!(message, less);
        assert_eq!((less.topic_bytes(), less.size_bytes()), (&b"a/b"[..], 3));
        assert!(less.properties().is_empty() && less.payload().is_empty());
    }
}
