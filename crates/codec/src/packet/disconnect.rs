//! DISCONNECT and AUTH (sections 3.14 and 3.15): a reason, perhaps properties, no identifier.

use super::Version;
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::reason::{Carrier, ReasonCode};
use crate::wire::Reader;

/// The last packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why; always a normal disconnection (success) in 3.1.1.
    pub reason: ReasonCode,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut reason = ReasonCode::Success;
        let mut properties = Properties::default();
        if version.has_properties() && !reader.is_empty() {
            reason = Carrier::Disconnect.check(reader.byte()?, sender)?; // [MQTT-3.14.2-1]
            if !reader.is_empty() {
                properties = Properties::read(&mut reader, version, Place::Disconnect, sender)?;
            }
        }
        reader.expect_end()?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
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

/// A step of enhanced authentication; MQTT 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// What the step is.
    pub reason: ReasonCode,
    /// Method and data. That the method is CONNECT's is for the session to check.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(crate) fn decode(body: &'a [u8], sender: Sender) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let code = if reader.is_empty() { 0 } else { reader.byte()? };
        let reason = Carrier::Auth.check(code, sender)?; // [MQTT-3.15.2-1]
        // Whether a method may be missing is for the session to say: it knows if there is one.
        if reader.is_empty() {
            return Ok(Self { reason, properties: Properties::default() });
        }
        let properties = Properties::read(&mut reader, Version::V5, Place::Auth, sender)?;
        reader.expect_end()?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        if self.reason == ReasonCode::Success && self.properties.is_empty() {
            return;
        }
        out.push(self.reason.value());
        self.properties.put(Version::V5, out);
    }
}
