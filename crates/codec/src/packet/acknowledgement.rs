//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which have one layout.

use super::{PacketId, Version};
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::reason::{Carrier, ReasonCode};
use crate::wire::{Reader, put_two_bytes};

/// A step of the handshake that follows a PUBLISH of QoS 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// The identifier of the PUBLISH [MQTT-2.2.1-5].
    pub packet_id: PacketId,
    /// How it went; always success in 3.1.1.
    pub reason: ReasonCode,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Acknowledgement<'a> {
    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        carrier: Carrier,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut reason = ReasonCode::Success;
        let mut properties = Properties::default();
        // Reason code and property length may be left out (section 3.4.2.1).
        if version.has_properties() && !reader.is_empty() {
            reason = carrier.check(reader.byte()?, sender)?;
            if !reader.is_empty() {
                properties = Properties::read(&mut reader, version, Place::Answer, sender)?;
            }
        }
        reader.expect_end()?;
        Ok(Self { packet_id, reason, properties })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        put_two_bytes(self.packet_id.value(), out);
        if !version.has_properties() {
            return;
        }
        if !self.properties.is_empty() {
            out.push(self.reason.value());
            self.properties.put(version, out);
        } else if self.reason != ReasonCode::Success {
            out.push(self.reason.value());
        }
    }
}
