//! From a byte stream to packets: framing, the rules of the fixed header, and the way to each
//! packet's own reader.

use crate::error::DecodeError;
use crate::packet::{
    Acknowledgement, Auth, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe,
    Unsuback, Unsubscribe, Version,
};
use crate::reason::Carrier;
use crate::wire::{Reader, VariableInteger};

/// One step of decoding a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole packet stood at the front.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// Its bytes, after which the next packet begins.
        len: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// The length of the whole packet if that is known, else one more than there are.
        needed: usize,
    },
}

/// Which side sent the bytes: it decides which packets, properties and reason codes are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// Reads the first packet a client sent in `bytes`.
///
/// Until a CONNECT told the version, nothing but CONNECT is read; afterwards a CONNECT is refused
/// [MQTT-3.1.0-1] [MQTT-3.1.0-2]. A packet of more than `max_packet_bytes` is refused by its
/// header, before it is buffered.
///
/// # Errors
/// If the bytes break the protocol, whatever may follow them.
#[inline]
pub fn decode(
    bytes: &[u8],
    version: Option<Version>,
    max_packet_bytes: u32,
) -> Result<Decoded<'_>, DecodeError> {
    step(bytes, version, Sender::Client, max_packet_bytes)
}

/// Reads the first packet a server sent in `bytes`, in the version of the client's CONNECT.
///
/// # Errors
/// If the bytes break the protocol, whatever may follow them.
#[inline]
pub fn decode_from_server(
    bytes: &[u8],
    version: Version,
    max_packet_bytes: u32,
) -> Result<Decoded<'_>, DecodeError> {
    step(bytes, Some(version), Sender::Server, max_packet_bytes)
}

#[inline]
fn step(
    bytes: &[u8],
    version: Option<Version>,
    sender: Sender,
    max_packet_bytes: u32,
) -> Result<Decoded<'_>, DecodeError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Decoded::Incomplete { needed: 1 });
    };
    let publish_version = if first >> 4 == kind::PUBLISH { version } else { None };
    if publish_version.is_some() {
        Publish::check_header(first)?;
    } else {
        check_header(first, version, sender)?;
    }
    let (remaining, header) = match VariableInteger::read(rest) {
        VariableInteger::Value { value, len } => (value, len + 1),
        VariableInteger::Incomplete => {
            return Ok(Decoded::Incomplete { needed: bytes.len() + 1 });
        }
        VariableInteger::Malformed => return Err(DecodeError::VariableInteger),
    };
    // Neither sum can overflow: both operands have less than 29 bits.
    let len = remaining as usize + header;
    if len > max_packet_bytes as usize {
        let bytes = u32::try_from(len).unwrap_or(u32::MAX);
        return Err(DecodeError::PacketTooLarge { bytes });
    }
    let Some(frame) = bytes.get(..len) else {
        return Ok(Decoded::Incomplete { needed: len });
    };
    let mut reader = Reader::new(frame);
    reader.take(header)?;
    let body = reader.finish();
    match publish_version {
        Some(version) => {
            let publish = Publish::decode(first, frame, body, version, sender)?;
            Ok(Decoded::Packet { packet: Packet::Publish(publish), len })
        }
        None => decode_body(first, body, version, sender, len),
    }
}

/// Which packet may stand here, and with which flags, as far as its first byte tells.
fn check_header(first: u8, version: Option<Version>, sender: Sender) -> Result<(), DecodeError> {
    let kind = first >> 4;
    let expected_sender = match (kind, version) {
        (kind::CONNECT, None) => Some(Sender::Client),
        (_, None) => return Err(DecodeError::NotConnect),
        (kind::CONNECT, Some(_)) if sender == Sender::Client => {
            return Err(DecodeError::SecondConnect);
        }
        (kind::RESERVED, _) | (kind::AUTH, Some(Version::V31 | Version::V311)) => {
            return Err(DecodeError::PacketType);
        }
        (kind::DISCONNECT, Some(Version::V31 | Version::V311)) => Some(Sender::Client),
        (kind::CONNECT | kind::SUBSCRIBE | kind::UNSUBSCRIBE | kind::PINGREQ, _) => {
            Some(Sender::Client)
        }
        (kind::CONNACK | kind::SUBACK | kind::UNSUBACK | kind::PINGRESP, _) => Some(Sender::Server),
        _ => None,
    };
    if expected_sender.is_some_and(|expected| expected != sender) {
        return Err(DecodeError::WrongDirection);
    }
    // 3.1 has a DUP flag where later versions have a fixed 0 (its section 2.1).
    let may_repeat = version == Some(Version::V31) && kind::flags(kind) != 0;
    let ignored = if may_repeat { DUP } else { 0 };
    if first & 0x0F & !ignored != kind::flags(kind) {
        return Err(DecodeError::FixedHeaderFlags); // [MQTT-2.1.3-1]
    }
    Ok(())
}

/// Kept out of line, so that the way of a PUBLISH stays short. Each arm builds the whole result,
/// for moving a finished packet costs more than reading a small one.
#[inline(never)]
fn decode_body(
    first: u8,
    body: &[u8],
    version: Option<Version>,
    sender: Sender,
    len: usize,
) -> Result<Decoded<'_>, DecodeError> {
    let done = |packet| Ok(Decoded::Packet { packet, len });
    let Some(version) = version else {
        return done(Packet::Connect(Connect::decode(body)?));
    };
    let acknowledgement = |carrier| Acknowledgement::decode(body, version, carrier, sender);
    match first >> 4 {
        kind::CONNACK => done(Packet::Connack(Connack::decode(body, version)?)),
        kind::PUBACK => done(Packet::Puback(acknowledgement(Carrier::Acknowledge)?)),
        kind::PUBREC => done(Packet::Pubrec(acknowledgement(Carrier::Acknowledge)?)),
        kind::PUBREL => done(Packet::Pubrel(acknowledgement(Carrier::Release)?)),
        kind::PUBCOMP => done(Packet::Pubcomp(acknowledgement(Carrier::Release)?)),
        kind::SUBSCRIBE => done(Packet::Subscribe(Subscribe::decode(body, version)?)),
        kind::SUBACK => done(Packet::Suback(Suback::decode(body, version)?)),
        kind::UNSUBSCRIBE => done(Packet::Unsubscribe(Unsubscribe::decode(body, version)?)),
        kind::UNSUBACK => done(Packet::Unsuback(Unsuback::decode(body, version)?)),
        kind::PINGREQ => Reader::new(body).expect_end().and_then(|()| done(Packet::Pingreq)),
        kind::PINGRESP => Reader::new(body).expect_end().and_then(|()| done(Packet::Pingresp)),
        kind::DISCONNECT => done(Packet::Disconnect(Disconnect::decode(body, version, sender)?)),
        kind::AUTH => done(Packet::Auth(Auth::decode(body, sender)?)),
        _ => Err(DecodeError::PacketType),
    }
}

/// Set on what is sent once more.
const DUP: u8 = 0b1000;

/// The packet types (section 2.1.2): the upper half of the first byte.
pub(crate) mod kind {
    pub(crate) const RESERVED: u8 = 0;
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;

    /// The lower half of the first byte, which all packets but PUBLISH have fixed
    /// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1].
    pub(crate) fn flags(kind: u8) -> u8 {
        match kind {
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => 0b0010,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_much_is_needed() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(decode(bytes, Some(Version::V5), 1000), expected, "{bytes:02x?}");
        };
        let incomplete = |needed| Ok(Decoded::Incomplete { needed });
        check(&[], incomplete(1));
        check(&[0x30], incomplete(2));
        check(&[0x30, 0x05], incomplete(7));
        check(&[0x30, 0x80], incomplete(3));
        check(&[0x30, 0x80, 0x01], incomplete(131));
        check(&[0x30, 0xE5, 0x07], incomplete(1000));
        check(&[0x30, 0xE6, 0x07], Err(DecodeError::PacketTooLarge { bytes: 1001 }));
        let bytes = 268_435_460;
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], Err(DecodeError::PacketTooLarge { bytes }));
        check(&[0x36], Err(DecodeError::PublishQoS));
        check(&[0xC1], Err(DecodeError::FixedHeaderFlags));
    }
}
