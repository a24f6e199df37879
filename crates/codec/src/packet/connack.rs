//! CONNACK (section 3.2): the server's answer to CONNECT.

use super::Version;
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::reason::Carrier;
use crate::wire::Reader;

/// The server's answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether earlier session state is resumed; never with a non-zero code [MQTT-3.2.2-6].
    pub session_present: bool,
    /// A reason code in 5.0, a return code of 0 to 5 in 3.1.1; written as it is.
    pub code: u8,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        let code = reader.byte()?;
        let properties = Properties::read(&mut reader, version, Place::Connack, Sender::Server)?;
        reader.expect_end()?;
        if flags > 1 {
            return Err(DecodeError::ConnackFlags); // [MQTT-3.2.2-1]
        }
        match version {
            Version::V31 | Version::V311 if code > RETURN_CODE_MAX => {
                return Err(DecodeError::Reason { code });
            }
            Version::V31 | Version::V311 => {}
            Version::V5 => {
                Carrier::Connack.check(code, Sender::Server)?; // [MQTT-3.2.2-8]
            }
        }
        if flags == 1 && code != 0 {
            return Err(DecodeError::SessionPresent); // [MQTT-3.2.2-6]
        }
        Ok(Self { session_present: flags == 1, code, properties })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        out.push(u8::from(self.session_present));
        out.push(self.code);
        self.properties.put(version, out);
    }
}

/// The last of the return codes of 3.1.1: not authorized.
const RETURN_CODE_MAX: u8 = 5;
