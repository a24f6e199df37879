//! Every golden vector means its packet, and its packet has those bytes, however they arrive.

use crate::vectors::{self, From, decode_as};
use bellbird_codec::{DecodeError, Decoded, decode, decode_from_server};

#[test]
fn vectors_decode_to_their_packets() {
    for vector in vectors::all() {
        let expected = Decoded::Packet { packet: vector.packet, len: vector.bytes.len() };
        let decoded = decode_as(vector.bytes, vector.version, vector.from);
        assert_eq!(decoded, Ok(expected), "{:02X?}", vector.bytes);
    }
}

#[test]
fn packets_encode_to_their_vectors() {
    for vector in vectors::all() {
        let mut out = vec![0xAA];
        vector.packet.encode(vector.version, &mut out);
        assert_eq!(&out[1..], vector.bytes, "{:?}", vector.packet);
    }
}

#[test]
fn whatever_follows_a_packet_is_left_alone() {
    for vector in vectors::all() {
        let mut bytes = vector.bytes.to_vec();
        bytes.extend_from_slice(&[0xFF; 9]);
        let expected = Decoded::Packet { packet: vector.packet, len: vector.bytes.len() };
        assert_eq!(decode_as(&bytes, vector.version, vector.from), Ok(expected));
    }
}

#[test]
fn a_part_of_a_packet_is_incomplete_and_says_how_much_is_needed() {
    for vector in vectors::all() {
        for len in 0..vector.bytes.len() {
            let part = &vector.bytes[..len];
            let needed = if len < 2 { len + 1 } else { vector.bytes.len() };
            let decoded = decode_as(part, vector.version, vector.from);
            assert_eq!(decoded, Ok(Decoded::Incomplete { needed }), "{part:02X?}");
        }
    }
}

#[test]
fn a_packet_above_the_maximum_is_refused_by_its_header() {
    for vector in vectors::all() {
        let len = u32::try_from(vector.bytes.len()).unwrap();
        let decode_with = |bytes, max| match vector.from {
            From::Stranger => decode(bytes, None, max),
            From::Client => decode(bytes, Some(vector.version), max),
            From::Server => decode_from_server(bytes, vector.version, max),
        };
        let header = &vector.bytes[..2];
        let expected = Err(DecodeError::PacketTooLarge { bytes: len });
        assert_eq!(decode_with(header, len - 1), expected);
        assert_eq!(decode_with(vector.bytes, len - 1), expected);
        assert!(decode_with(vector.bytes, len).is_ok());
    }
}

/// MQTT 3.1.1 leaves properties and reason codes out, and what it writes it also reads.
#[test]
fn packets_of_5_0_can_be_written_for_3_1_1() {
    use bellbird_codec::{Packet, Version};

    for vector in vectors::all() {
        if matches!(vector.packet, Packet::Connect(_)) {
            continue; // It has a version of its own.
        }
        let mut out = Vec::new();
        vector.packet.encode(Version::V311, &mut out);
        let server_disconnects =
            matches!(vector.packet, Packet::Disconnect(_)) && vector.from == From::Server;
        let has_v5_meaning = match vector.packet {
            Packet::Publish(publish) => publish.topic.is_none(),
            Packet::Connack(connack) => connack.code > 5,
            Packet::Suback(suback) => suback.codes.iter().any(|&code| code > 0x80),
            Packet::Auth(_) => {
                assert!(out.is_empty());
                true
            }
            _ => server_disconnects,
        };
        if !has_v5_meaning {
            let decoded = decode_as(&out, Version::V311, vector.from);
            let is_whole = matches!(decoded, Ok(Decoded::Packet { len, .. }) if len == out.len());
            assert!(is_whole, "{:?} {decoded:?}", vector.packet);
        }
    }
}
