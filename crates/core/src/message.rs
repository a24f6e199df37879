//! A message as it is routed, queued and stored: immutable and shared.

use bellbird_codec::QoS;
use bellbird_topics::{Namespace, TopicName};

use crate::identity::{MessageId, Time};

/// What a publisher said once, without anything that belongs to one delivery of it.
///
/// Topic, properties and payload stand in one allocation. The properties are the raw section of
/// an MQTT 5.0 PUBLISH, in the publisher's order [MQTT-3.3.2-18], without Message Expiry
/// Interval, Topic Alias and Subscription Identifier: those are said anew for each delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
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
    bytes: Box<[u8]>,
}

/// What [`Message::new`] puts together.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// See [`Message::id`].
    pub id: MessageId,
    /// See [`Message::namespace`].
    pub namespace: Namespace,
    /// See [`Message::qos`].
    pub qos: QoS,
    /// See [`Message::retain`].
    pub retain: bool,
    /// See [`Message::expires_at`].
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
        let topic = parts.topic.as_bytes();
        let mut bytes =
            Vec::with_capacity(topic.len() + parts.properties.len() + parts.payload.len());
        bytes.extend_from_slice(topic);
        bytes.extend_from_slice(parts.properties);
        bytes.extend_from_slice(parts.payload);
        Self {
            id: parts.id,
            namespace: parts.namespace,
            qos: parts.qos,
            retain: parts.retain,
            expires_at: parts.expires_at,
            topic_len: u16::try_from(topic.len()).expect("a topic has at most 65,535 bytes"),
            properties_len: u32::try_from(parts.properties.len())
                .expect("properties fit into a packet"),
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// The topic as text.
    pub fn topic(&self) -> TopicName<'_> {
        TopicName::from_bytes(self.part(0, self.topic_end()))
            .expect("the topic was a topic name when the message was made")
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
        self.part(self.payload_start(), self.bytes.len())
    }

    /// Logical size: what this message counts against the limits of a queue.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
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
        &self.bytes[from..to]
    }
}
