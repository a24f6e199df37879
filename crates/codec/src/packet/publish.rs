//! PUBLISH (section 3.3): reading and writing the packet everything else is there for.

use bellbird_topics::TopicName;

use super::{PacketId, QoS, Version};
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::wire::{Reader, field_len, put_variable_integer, variable_integer_len};

/// A message on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this may be a repetition.
    pub dup: bool,
    /// How it is acknowledged.
    pub qos: QoS,
    /// Whether to keep it for future subscribers, or, towards a client, that it was kept.
    pub retain: bool,
    /// `None` if only the topic alias names the topic, in 5.0.
    pub topic: Option<TopicName<'a>>,
    /// Present above QoS 0 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The whole packet as received, so that it may be forwarded as it is.
    pub frame: &'a [u8],
}

impl<'a> Publish<'a> {
    /// What the first byte says; fails before the packet is buffered.
    #[inline]
    pub(crate) fn check_header(first: u8) -> Result<(), DecodeError> {
        match (first >> 1) & 3 {
            3 => Err(DecodeError::PublishQoS), // [MQTT-3.3.1-4]
            0 if first & DUP != 0 => Err(DecodeError::PublishDup), // [MQTT-3.3.1-2]
            _ => Ok(()),
        }
    }

    /// Always inlined: the packet is built where the caller wants it instead of being moved there,
    /// which would cost as much as reading it.
    #[inline(always)]
    pub(crate) fn decode(
        first: u8,
        frame: &'a [u8],
        body: &'a [u8],
        version: Version,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        let qos = QoS::try_from((first >> 1) & 3).map_err(|_| DecodeError::PublishQoS)?;
        let mut reader = Reader::new(body);
        let name = reader.binary()?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = Properties::read(&mut reader, version, Place::Publish, sender)?;
        let topic = if name.is_empty() {
            // Only a topic alias can stand in for the name (section 3.3.2.1).
            match (version, properties.topic_alias()) {
                (Version::V5, Some(_)) => None,
                (Version::V5, None) => return Err(DecodeError::TopicEmpty),
                (Version::V31 | Version::V311, _) => return Err(DecodeError::TopicName), // [MQTT-4.7.3-1]
            }
        } else {
            Some(TopicName::from_bytes(name)?) // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
        };
        let dup = first & DUP != 0;
        let retain = first & RETAIN != 0;
        let payload = reader.finish();
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload, frame })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let parts = PublishParts {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.map_or("", TopicName::as_str),
            packet_id: self.packet_id.map_or(0, PacketId::value),
            properties: self.properties.raw(),
            payload: self.payload,
        };
        encode_publish(&parts, version, out);
    }
}

/// The parts of an outgoing PUBLISH.
#[derive(Clone, Copy, Debug)]
pub struct PublishParts<'a> {
    /// Set on a repetition only [MQTT-3.3.1-1].
    pub dup: bool,
    /// How it is acknowledged.
    pub qos: QoS,
    /// Whether the message is or was retained.
    pub retain: bool,
    /// Empty if an alias in `properties` stands in for it. At most 65,535 bytes.
    pub topic: &'a str,
    /// Ignored for QoS 0; may be 0 if it is to be patched.
    pub packet_id: u16,
    /// Raw property bytes without their length; ignored in 3.1.1.
    pub properties: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl PublishParts<'_> {
    #[inline]
    fn first_byte(&self) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        PUBLISH | dup | (self.qos.value() << 1) | u8::from(self.retain)
    }

    #[inline]
    fn remaining_len(&self, version: Version) -> usize {
        let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = match version {
            Version::V31 | Version::V311 => 0,
            Version::V5 => variable_integer_len(self.properties.len()) + self.properties.len(),
        };
        2 + self.topic.len() + packet_id + properties + self.payload.len()
    }
}

/// Where an encoded PUBLISH stands in its buffer; it ends where the buffer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishFrame {
    /// The place of the first byte, which holds the flags.
    pub start: usize,
    /// The place of the two bytes of the packet identifier; `None` at QoS 0.
    pub packet_id_at: Option<usize>,
}

/// The length of the whole packet, to compare with the peer's Maximum Packet Size.
#[inline]
pub fn publish_len(parts: &PublishParts<'_>, version: Version) -> usize {
    let remaining = parts.remaining_len(version);
    1 + variable_integer_len(remaining) + remaining
}

/// Appends a PUBLISH to `out`.
///
/// # Panics
/// If the topic has more than 65,535 bytes or the packet more than [`crate::PACKET_BYTES_MAX`]:
/// compare [`publish_len`] first.
#[inline]
pub fn encode_publish(
    parts: &PublishParts<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> PublishFrame {
    let remaining = parts.remaining_len(version);
    let start = out.len();
    // One reservation; the pushes below then never grow the buffer.
    out.reserve(remaining + 5);
    out.push(parts.first_byte());
    put_variable_integer(remaining, out);
    out.extend_from_slice(&field_len(parts.topic.as_bytes()).to_be_bytes());
    out.extend_from_slice(parts.topic.as_bytes());
    let packet_id_at = match parts.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => {
            let at = out.len();
            out.extend_from_slice(&parts.packet_id.to_be_bytes());
            Some(at)
        }
    };
    if version.has_properties() {
        // An empty set is written as length 0, not left out [MQTT-2.2.2-1].
        put_variable_integer(parts.properties.len(), out);
        out.extend_from_slice(parts.properties);
    }
    out.extend_from_slice(parts.payload);
    PublishFrame { start, packet_id_at }
}

const PUBLISH: u8 = 0x30;
const DUP: u8 = 0x08;
const RETAIN: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_where_the_packet_id_stands() {
        let check = |qos, version, expected_at| {
            let parts = PublishParts {
                dup: false,
                qos,
                retain: true,
                topic: "a/b",
                packet_id: 0x1234,
                properties: &[1, 1],
                payload: b"x",
            };
            let mut out = vec![9, 9];
            let frame = encode_publish(&parts, version, &mut out);
            assert_eq!(frame, PublishFrame { start: 2, packet_id_at: expected_at });
            assert_eq!(out.len() - 2, publish_len(&parts, version));
            if let Some(at) = expected_at {
                assert_eq!(&out[at..at + 2], [0x12, 0x34]);
            }
        };
        check(QoS::AtMostOnce, Version::V311, None);
        check(QoS::AtMostOnce, Version::V5, None);
        check(QoS::AtLeastOnce, Version::V311, Some(9));
        check(QoS::ExactlyOnce, Version::V5, Some(9));
    }

    #[test]
    fn lengths_are_right_at_every_step_of_the_header() {
        for len in [0, 120, 121, 127, 128, 16_370, 16_383, 16_384, 2_097_151, 2_097_152] {
            let payload = vec![7; len];
            for version in [Version::V311, Version::V5] {
                let parts = PublishParts {
                    dup: false,
                    qos: QoS::AtMostOnce,
                    retain: false,
                    topic: "t",
                    packet_id: 0,
                    properties: &[],
                    payload: &payload,
                };
                let mut out = Vec::new();
                encode_publish(&parts, version, &mut out);
                assert_eq!(out.len(), publish_len(&parts, version));
            }
        }
    }
}
