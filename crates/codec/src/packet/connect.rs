//! CONNECT (section 3.1): protocol version, session options, will, credentials.

use std::fmt;

use bellbird_topics::TopicName;

use super::{QoS, Version};
use crate::decode::{Sender, kind};
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::wire::{Reader, VariableInteger, put_binary, put_two_bytes};

/// A client opens its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version of this packet and of all that follow.
    pub version: Version,
    /// The highest bit of the protocol level is set: Mosquitto's bridges say with it that they
    /// are one.
    pub is_bridge: bool,
    /// Whether earlier session state is dropped; `CleanSession` in 3.1.1.
    pub clean_start: bool,
    /// Seconds between two packets of the client at most; 0 for no bound.
    pub keep_alive_secs: u16,
    /// May be empty: whether that is accepted is for the session to say.
    pub client_id: &'a str,
    /// The message to publish when the connection ends.
    pub will: Option<Will<'a>>,
    /// Who the client claims to be.
    pub user_name: Option<&'a str>,
    /// A password or another credential.
    pub password: Option<&'a [u8]>,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    /// Reads everything after the fixed header.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (version, is_bridge) = read_version(&mut reader)?;
        let flags = Flags::read(&mut reader, version)?;
        let keep_alive_secs = reader.two_bytes()?;
        let properties = Properties::read(&mut reader, version, Place::Connect, Sender::Client)?;
        // The order of the payload is fixed [MQTT-3.1.3-1].
        let client_id = reader.string()?;
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::read(&mut reader, version, qos, retain)?),
            None => None,
        };
        let user_name = if flags.user_name { Some(reader.string()?) } else { None };
        let password = if flags.password { Some(reader.binary()?) } else { None };
        reader.expect_end()?;
        let clean_start = flags.clean_start;
        Ok(Self {
            version,
            is_bridge,
            clean_start,
            keep_alive_secs,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        put_binary(if self.version == Version::V31 { NAME_31 } else { NAME }, out);
        out.push(self.version.level() | if self.is_bridge { BRIDGE } else { 0 });
        out.push(Flags::of(self).bits());
        put_two_bytes(self.keep_alive_secs, out);
        self.properties.put(self.version, out);
        put_binary(self.client_id.as_bytes(), out);
        if let Some(will) = &self.will {
            will.properties.put(self.version, out);
            put_binary(will.topic.as_str().as_bytes(), out);
            put_binary(will.payload, out);
        }
        if let Some(user_name) = self.user_name {
            put_binary(user_name.as_bytes(), out);
        }
        if let Some(password) = self.password {
            put_binary(password, out);
        }
    }
}

/// Leaves the password out, so that it cannot reach a log.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(|_| "hidden"))
            .finish_non_exhaustive()
    }
}

/// The message to publish when the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The QoS to publish with.
    pub qos: QoS,
    /// Whether to publish retained.
    pub retain: bool,
    /// Where to publish.
    pub topic: TopicName<'a>,
    /// What to publish.
    pub payload: &'a [u8],
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Will<'a> {
    fn read(
        reader: &mut Reader<'a>,
        version: Version,
        qos: QoS,
        retain: bool,
    ) -> Result<Self, DecodeError> {
        let properties = Properties::read(reader, version, Place::Will, Sender::Client)?;
        let topic = TopicName::from_bytes(reader.binary()?)?;
        Ok(Self { qos, retain, topic, payload: reader.binary()?, properties })
    }
}

/// The connect flags (section 3.1.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flags {
    user_name: bool,
    password: bool,
    will: Option<(QoS, bool)>,
    clean_start: bool,
}

impl Flags {
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let bits = reader.byte()?;
        if bits & RESERVED != 0 {
            return Err(DecodeError::ConnectFlags); // [MQTT-3.1.2-3]
        }
        let qos = QoS::try_from((bits & WILL_QOS) >> 3).map_err(|_| DecodeError::WillQoS)?;
        let retain = bits & WILL_RETAIN != 0;
        let has_will = bits & WILL != 0;
        if !has_will && (qos != QoS::AtMostOnce || retain) {
            return Err(DecodeError::WillFlags); // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
        }
        let user_name = bits & USER_NAME != 0;
        let password = bits & PASSWORD != 0;
        // MQTT 5.0 lifted this rule [MQTT-3.1.2-22 of 3.1.1].
        if !version.has_properties() && password && !user_name {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        let will = has_will.then_some((qos, retain));
        Ok(Self { user_name, password, will, clean_start: bits & CLEAN_START != 0 })
    }

    fn of(connect: &Connect<'_>) -> Self {
        Self {
            user_name: connect.user_name.is_some(),
            password: connect.password.is_some(),
            will: connect.will.map(|will| (will.qos, will.retain)),
            clean_start: connect.clean_start,
        }
    }

    fn bits(self) -> u8 {
        let set = |bit: u8, on: bool| if on { bit } else { 0 };
        let will = match self.will {
            Some((qos, retain)) => WILL | (qos.value() << 3) | set(WILL_RETAIN, retain),
            None => 0,
        };
        set(USER_NAME, self.user_name)
            | set(PASSWORD, self.password)
            | set(CLEAN_START, self.clean_start)
            | will
    }
}

/// Protocol name and level. A foreign name is refused like a foreign level [MQTT-3.1.2-1].
fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
    let name = reader.binary()?;
    let level = reader.byte()?;
    match (name, level) {
        (NAME_31, 3) => Ok((Version::V31, false)),
        (NAME_31, BRIDGE_31) => Ok((Version::V31, true)),
        (NAME, 4) => Ok((Version::V311, false)),
        (NAME, BRIDGE_311) => Ok((Version::V311, true)),
        (NAME, 5) => Ok((Version::V5, false)),
        _ => Err(DecodeError::UnsupportedVersion { level }), // [MQTT-3.1.2-2]
    }
}

/// The version in which to refuse a CONNECT that cannot be read, as far as its protocol level
/// tells: a client of a version after 5.0 is answered in 5.0.
pub fn peek_version(bytes: &[u8]) -> Option<Version> {
    let (first, rest) = bytes.split_first()?;
    let VariableInteger::Value { len, .. } = VariableInteger::read(rest) else { return None };
    let mut reader = Reader::new(rest.get(len..)?);
    reader.binary().ok()?;
    let level = reader.byte().ok()?;
    let is_connect = first >> 4 == kind::CONNECT;
    is_connect.then_some(match level {
        3 | BRIDGE_31 => Version::V31,
        5..BRIDGE => Version::V5,
        _ => Version::V311,
    })
}

const NAME: &[u8] = b"MQTT";
const NAME_31: &[u8] = b"MQIsdp";
const BRIDGE: u8 = 0x80;
const BRIDGE_31: u8 = BRIDGE | 3;
const BRIDGE_311: u8 = BRIDGE | 4;
const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_their_byte_or_are_refused() {
        for bits in 0..=255_u8 {
            for version in [Version::V311, Version::V5] {
                let expected = expected(bits, version);
                let flags = Flags::read(&mut Reader::new(&[bits]), version);
                assert_eq!(flags.map(Flags::bits), expected.map_or(Ok(bits), Err), "{bits:08b}");
            }
        }
    }

    fn expected(bits: u8, version: Version) -> Option<DecodeError> {
        if bits & 1 != 0 {
            Some(DecodeError::ConnectFlags)
        } else if bits & 0x18 == 0x18 {
            Some(DecodeError::WillQoS)
        } else if bits & 4 == 0 && bits & 0x38 != 0 {
            Some(DecodeError::WillFlags)
        } else if bits & 0xC0 == 0x40 && version == Version::V311 {
            Some(DecodeError::PasswordWithoutUserName)
        } else {
            None
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let bytes = b"\0\x04MQTT\x04\xC2\0\0\0\0\0\x01u\0\x06secret";
        let text = format!("{:?}", Connect::decode(bytes).unwrap());
        assert!(!text.contains("secret"));
        assert!(!text.contains("115"));
        assert!(text.contains("hidden"));
    }
}
