//! The packets at a connection's beginning and end, and their answers read one by one.

use std::io::{self, Read};

use bellbird_codec::{
    Connect, Decoded, Disconnect, Packet, PacketId, Properties, Property, PropertyBuffer, QoS,
    ReasonCode, RetainHandling, Subscribe, SubscribeBuffer, SubscribeOptions, Unsubscribe,
    UnsubscribeBuffer, Version, decode_from_server,
};

use super::failure::Failure;

/// How a client presents itself.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) client_id: String,
    pub(super) session: Session,
    /// 0 for none.
    pub(super) keep_alive_secs: u16,
}

/// What becomes of a client's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Session {
    /// Begins anew and ends with the connection.
    Clean,
    /// Is resumed and outlives the connection.
    Persistent,
}

/// What the broker said when it let a client in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Welcome {
    /// Messages of QoS 1 it takes before it has acknowledged the first; 3.1.1 has no bound.
    pub(super) receive_maximum: u16,
}

/// A persistent session of MQTT 5.0 is kept for so long after its connection.
const SESSION_EXPIRY_SECS: u32 = 3600;
/// More than any answer to a packet of the set-up.
const ANSWER_BYTES_MAX: u32 = 4096;

/// A CONNECT.
pub(super) fn connect(version: Version, introduction: &Introduction) -> Vec<u8> {
    let mut properties = PropertyBuffer::new();
    if introduction.session == Session::Persistent {
        properties.push(Property::SessionExpiryInterval(SESSION_EXPIRY_SECS));
    }
    let packet = Packet::Connect(Connect {
        is_bridge: false,
        version,
        clean_start: introduction.session == Session::Clean,
        keep_alive_secs: introduction.keep_alive_secs,
        client_id: &introduction.client_id,
        will: None,
        user_name: None,
        password: None,
        properties: properties.as_properties(),
    });
    encoded(&packet, version)
}

/// A SUBSCRIBE to these filters.
pub(super) fn subscribe(version: Version, id: PacketId, filters: &[String], qos: QoS) -> Vec<u8> {
    let mut buffer = SubscribeBuffer::new();
    let retain_handling = RetainHandling::SendAlways;
    let options =
        SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling };
    for filter in filters {
        buffer.push(filter, options);
    }
    let packet = Packet::Subscribe(Subscribe {
        packet_id: id,
        properties: Properties::EMPTY,
        filters: buffer.as_filters(),
    });
    encoded(&packet, version)
}

/// An UNSUBSCRIBE from one filter.
pub(super) fn unsubscribe(version: Version, id: PacketId, filter: &str) -> Vec<u8> {
    let mut buffer = UnsubscribeBuffer::new();
    buffer.push(filter);
    let packet = Packet::Unsubscribe(Unsubscribe {
        packet_id: id,
        properties: Properties::EMPTY,
        filters: buffer.as_filters(),
    });
    encoded(&packet, version)
}

/// A DISCONNECT with normal intent.
pub(super) fn disconnect(version: Version) -> Vec<u8> {
    let (reason, properties) = (ReasonCode::Success, Properties::EMPTY);
    encoded(&Packet::Disconnect(Disconnect { reason, properties }), version)
}

/// Reads exactly one packet, so that what follows it stays in the socket.
pub(super) fn read_packet(version: Version, stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match decode_from_server(&bytes, version, ANSWER_BYTES_MAX) {
            Ok(Decoded::Packet { .. }) => return Ok(bytes),
            Ok(Decoded::Incomplete { needed }) => {
                let have = bytes.len();
                bytes.resize(needed, 0);
                stream.read_exact(&mut bytes[have..])?;
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Whether a CONNACK lets the client in.
pub(super) fn accepted(version: Version, answer: &[u8]) -> Result<Welcome, Failure> {
    let Some(Packet::Connack(connack)) = decoded(version, answer) else {
        return Err(Failure::Broker("the broker answered CONNECT with another packet".to_owned()));
    };
    if connack.code != 0 {
        return Err(refusal(connack.code));
    }
    Ok(Welcome { receive_maximum: connack.properties.receive_maximum().unwrap_or(u16::MAX) })
}

/// What a code in a CONNACK means.
pub(super) fn refusal(code: u8) -> Failure {
    let meaning = match code {
        1 | 0x84 => "it does not speak this version: try the other --mqtt",
        2 | 0x85 => "it does not like the client id",
        3 | 0x88 | 0x89 => "it is unavailable or busy",
        4 | 5 | 0x86 | 0x87 => {
            "it lets nobody in without a name: allow anonymous clients for the run"
        }
        0x97 | 0x9f => "a quota or rate is exceeded",
        _ => "the code says why",
    };
    Failure::Broker(format!("the broker refused a connection with code {code}: {meaning}"))
}

/// Whether a SUBACK grants what was asked for: so many filters with this QoS.
pub(super) fn granted(
    version: Version,
    answer: &[u8],
    filters: usize,
    qos: QoS,
) -> Result<(), Failure> {
    let Some(Packet::Suback(suback)) = decoded(version, answer) else {
        return Err(Failure::Broker(
            "the broker answered SUBSCRIBE with another packet".to_owned(),
        ));
    };
    if suback.codes.len() == filters && suback.codes.iter().all(|code| *code == qos.value()) {
        return Ok(());
    }
    Err(Failure::Broker(format!(
        "the broker answered a SUBSCRIBE for {filters} filters and QoS {} with codes {:?}",
        qos.value(),
        suback.codes
    )))
}

fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

fn decoded(version: Version, answer: &[u8]) -> Option<Packet<'_>> {
    match decode_from_server(answer, version, ANSWER_BYTES_MAX) {
        Ok(Decoded::Packet { packet, .. }) => Some(packet),
        Ok(Decoded::Incomplete { .. }) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_by_the_book() {
        let clean = Introduction {
            client_id: "ab".to_owned(),
            session: Session::Clean,
            keep_alive_secs: 0,
        };
        assert_eq!(connect(Version::V311, &clean), b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab");
        let kept = Introduction { session: Session::Persistent, keep_alive_secs: 258, ..clean };
        assert_eq!(
            connect(Version::V5, &kept),
            b"\x10\x14\0\x04MQTT\x05\0\x01\x02\x05\x11\0\0\x0e\x10\0\x02ab"
        );
        let at_least_once = QoS::AtLeastOnce;
        let filters = ["a/#".to_owned(), "b".to_owned()];
        let id = PacketId::new(1).unwrap();
        let one = subscribe(Version::V311, id, &filters[..1], at_least_once);
        assert_eq!(one, b"\x82\x08\0\x01\0\x03a/#\x01");
        let two = subscribe(Version::V5, id, &filters, QoS::AtMostOnce);
        assert_eq!(two, b"\x82\x0d\0\x01\0\0\x03a/#\0\0\x01b\0");
        assert_eq!(unsubscribe(Version::V311, id, "b"), b"\xa2\x05\0\x01\0\x01b");
        assert_eq!(disconnect(Version::V311), b"\xe0\0");
    }

    #[test]
    fn one_packet_is_read_and_no_more() {
        let mut stream: &[u8] = b"\x20\x02\x01\0\x30\x05";
        let answer = read_packet(Version::V311, &mut stream).unwrap();
        assert!(accepted(Version::V311, &answer).is_ok());
        assert_eq!(stream, b"\x30\x05");
        for bytes in [&b"HTTP/1.1 400"[..], &[0x20, 0xff, 0xff, 0xff, 0x7f], &[0x20, 2, 0]] {
            let mut stream = bytes;
            assert!(read_packet(Version::V311, &mut stream).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_receive_maximum_is_heard() {
        let welcome = |answer| accepted(Version::V5, answer).unwrap().receive_maximum;
        assert_eq!(welcome(b"\x20\x06\0\0\x03\x21\0\x14"), 20);
        assert_eq!(welcome(b"\x20\x03\0\0\0"), u16::MAX);
    }

    #[test]
    fn refusals_are_told() {
        let told = |failure: Failure| failure.to_string();
        assert!(told(accepted(Version::V311, &[0x20, 2, 0, 5]).unwrap_err()).contains("code 5"));
        let version = accepted(Version::V5, &[0x20, 3, 0, 0x84, 0]).unwrap_err();
        assert!(told(version).contains("--mqtt"));
        assert!(accepted(Version::V311, &[0xd0, 0]).is_err());
        let granted = |answer| granted(Version::V311, answer, 1, QoS::AtLeastOnce);
        assert!(granted(&[0x90, 4, 0, 1, 1, 1]).is_err());
        assert!(told(granted(&[0x90, 3, 0, 1, 0x80]).unwrap_err()).contains("128"));
        assert!(granted(&[0x90, 3, 0, 1, 1]).is_ok());
        assert!(granted(&[0x30, 0]).is_err());
    }
}
