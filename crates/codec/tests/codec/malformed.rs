//! What is refused, with which reason code, and by which statement.

use bellbird_codec::ReasonCode::{
    MalformedPacket as Malformed, ProtocolError as Protocol, TopicAliasInvalid, TopicNameInvalid,
    UnsupportedProtocolVersion as Unsupported,
};
use bellbird_codec::{Decoded, ReasonCode, Version, decode};

use crate::vectors::From::{Client, Server, Stranger};
use crate::vectors::{From, all, bytes, decode_as};

/// Every refusal of the specification that does not depend on a session.
#[test]
fn broken_packets_are_refused_for_their_reason() {
    for (versions, from, text, reason, statement) in ROWS {
        for &version in *versions {
            check(version, *from, &bytes(text), *reason, statement);
        }
    }
}

fn check(version: Version, from: From, bytes: &[u8], reason: ReasonCode, statement: &str) {
    let error = decode_as(bytes, version, from).expect_err(&format!("{bytes:02X?}"));
    assert_eq!(error.reason(), reason, "{version:?} {bytes:02X?} {error}");
    assert_eq!(error.statement(), statement, "{version:?} {bytes:02X?} {error}");
}

/// [MQTT-2.1.3-1]: sixteen values of the flags for each packet but PUBLISH, one of them right.
#[test]
fn all_wrong_header_flags_are_malformed() {
    for kind in (1..=15_u8).filter(|kind| *kind != 3) {
        let right = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        let from = match kind {
            1 => Stranger,
            2 | 9 | 11 | 13 => Server,
            _ => Client,
        };
        for flags in (0..16).filter(|flags| *flags != right) {
            let header = [(kind << 4) | flags];
            check(V5, from, &header, Malformed, "MQTT-2.1.3-1");
            if kind != 15 {
                check(V311, from, &header, Malformed, "MQTT-2.1.3-1");
            }
        }
    }
}

/// [MQTT-3.1.0-1]: refused by the first byte alone.
#[test]
fn nothing_but_connect_comes_first() {
    for kind in (0..16_u8).filter(|kind| *kind != 1) {
        for flags in 0..16 {
            check(V5, Stranger, &[(kind << 4) | flags], Protocol, "MQTT-3.1.0-1");
        }
    }
}

#[test]
fn each_side_sends_its_own_packets() {
    for version in [V311, V5] {
        for first in [0x20, 0x90, 0xB0, 0xD0] {
            check(version, Client, &[first, 0], Protocol, "2.1.2");
        }
        for first in [0x10, 0x82, 0xA2, 0xC0] {
            check(version, Server, &[first, 0], Protocol, "2.1.2");
        }
    }
    check(V311, Server, &[0xE0, 0], Protocol, "2.1.2");
}

/// The last field of each packet is cut off and the length mended.
#[test]
fn packets_without_their_last_byte_are_malformed() {
    for vector in all() {
        let len = vector.bytes.len();
        // The end of a payload or of a list of codes cannot be missed, nor can a short form that
        // ends after the identifier or the reason.
        let has_open_end = matches!(vector.bytes[0] >> 4, 3 | 9 | 11) || len < 6;
        if has_open_end {
            continue;
        }
        let mut bytes = vector.bytes[..len - 1].to_vec();
        bytes[1] -= 1;
        check(vector.version, vector.from, &bytes, Malformed, "4.13.1");
    }
}

#[test]
fn packets_with_a_surplus_byte_are_malformed() {
    for vector in all() {
        let is_list = matches!(vector.bytes[0] >> 4, 3 | 8 | 9 | 10);
        let is_unsuback_5 = vector.bytes[0] == 0xB0 && vector.version == V5;
        let is_short_form = vector.version == V5 && vector.bytes.len() < 6;
        if is_list || is_unsuback_5 || is_short_form && vector.bytes[0] >> 4 != 12 {
            continue;
        }
        let mut bytes = vector.bytes.to_vec();
        bytes.push(0);
        bytes[1] += 1;
        check(vector.version, vector.from, &bytes, Malformed, "4.13.1");
    }
}

/// Every unlisted code of every packet that has one, apart from CONNACK and the lists of codes.
#[test]
fn reason_codes_are_those_listed() {
    let disconnect_client =
        [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    let acknowledge = [0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    for code in 0..=255_u8 {
        let is_accepted = |from, bytes: &[u8]| match decode_as(bytes, V5, from) {
            Ok(Decoded::Packet { .. }) => true,
            Ok(Decoded::Incomplete { .. }) => panic!("{bytes:02X?}"),
            Err(error) => {
                assert_eq!((error.reason(), error.statement()), (Protocol, "2.4"));
                false
            }
        };
        let client = |bytes: &[u8]| is_accepted(Client, bytes);
        let server = |bytes: &[u8]| is_accepted(Server, bytes);
        assert_eq!(client(&[0xE0, 1, code]), disconnect_client.contains(&code));
        for first in [0x40, 0x50] {
            assert_eq!(client(&[first, 3, 0, 1, code]), acknowledge.contains(&code));
            let by_server = code == 0x10 || acknowledge.contains(&code);
            assert_eq!(server(&[first, 3, 0, 1, code]), by_server);
        }
        for first in [0x62, 0x70] {
            assert_eq!(client(&[first, 3, 0, 1, code]), matches!(code, 0 | 0x92));
            assert_eq!(server(&[first, 3, 0, 1, code]), matches!(code, 0 | 0x92));
        }
        assert_eq!(client(&[0xF0, 2, code, 0]), matches!(code, 0x18 | 0x19));
        assert_eq!(server(&[0xF0, 2, code, 0]), matches!(code, 0 | 0x18));
    }
}

/// What a server must take although it looks odd.
#[test]
fn odd_packets_are_accepted() {
    for (version, text) in [
        (V5, "40 04 00 01 00 00"), // Everything may be written out.
        (V5, "E0 02 00 00"),
        (V5, "10 11 00 04 'MQTT 05 42 00 3C 00 00 01 'c 00 01 'p"), // Password alone.
        (V5, "30 0B 00 03 'a/b 00 'hi EF BB BF"),                   // Payloads are bytes.
        (V311, "30 06 00 04 '/ EF BB BF"),                          // [MQTT-1.5.3-3]
        (V5, "82 07 00 01 00 00 01 '# 2E"),
        (V5, "82 06 00 01 00 00 00 00"), // An empty filter is the SUBACK's affair.
        (V311, "3A 05 00 01 'a 00 01"),
    ] {
        let bytes = bytes(text);
        let from_stranger = bytes[0] == 0x10;
        let version = if from_stranger { None } else { Some(version) };
        let decoded = decode(&bytes, version, u32::MAX);
        assert!(matches!(decoded, Ok(Decoded::Packet { .. })), "{text} {decoded:?}");
    }
}

type Row = (&'static [Version], From, &'static str, ReasonCode, &'static str);

const V311: Version = Version::V311;
const V5: Version = Version::V5;
const BOTH: &[Version] = &[V311, V5];
const OLD: &[Version] = &[V311];
const NEW: &[Version] = &[V5];

const ROWS: &[Row] = &[
    // Remaining Length.
    (BOTH, Client, "30 80 00", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Client, "30 85 00 00 01 'a 'xx", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Client, "30 FF FF FF FF", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Client, "30 80 80 80 80 01", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Client, "C0 80 80 80 00", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Stranger, "10 80 80 00", Malformed, "MQTT-1.5.5-1"),
    // Packet types.
    (BOTH, Client, "00 00", Malformed, "2.1.2"),
    (BOTH, Server, "00 00", Malformed, "2.1.2"),
    (OLD, Client, "F0 00", Malformed, "2.1.2"),
    (OLD, Server, "F0 00", Malformed, "2.1.2"),
    (BOTH, Client, "10 00", Protocol, "MQTT-3.1.0-2"),
    // CONNECT: name and level.
    (BOTH, Stranger, "10 0C 00 04 'MQTT 03 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 06 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 00 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 85 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0C 00 04 'mqtt 04 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0C 00 04 'MQTx 05 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 0E 00 06 'MQIsdp 04 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 08 00 00 04 02 00 3C 00 00", Unsupported, "MQTT-3.1.2-2"),
    (BOTH, Stranger, "10 00", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 06 00 04 'MQTT", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 07 00 04 'MQTT 04", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 07 00 FF 'MQTT 04", Malformed, "4.13.1"),
    // CONNECT: flags.
    (BOTH, Stranger, "10 0C 00 04 'MQTT 04 03 00 3C 00 00", Malformed, "MQTT-3.1.2-3"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 05 01 00 3C 00 00 00", Malformed, "MQTT-3.1.2-3"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 04 0A 00 3C 00 00", Malformed, "MQTT-3.1.2-11"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 05 12 00 3C 00 00 00", Malformed, "MQTT-3.1.2-11"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 05 22 00 3C 00 00 00", Malformed, "MQTT-3.1.2-11"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 04 1E 00 3C 00 00", Malformed, "MQTT-3.1.2-12"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 05 1E 00 3C 00 00 00", Malformed, "MQTT-3.1.2-12"),
    (
        BOTH,
        Stranger,
        "10 0F 00 04 'MQTT 04 42 00 3C 00 00 00 01 'p",
        Malformed,
        "MQTT-3.1.2-22 of 3.1.1",
    ),
    // CONNECT: fields that are missing, surplus or no text.
    (BOTH, Stranger, "10 0A 00 04 'MQTT 04 02 00 3C", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 04 82 00 3C 00 00", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0F 00 04 'MQTT 04 C2 00 3C 00 00 00 01 'u", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0F 00 04 'MQTT 04 02 00 3C 00 00 00 01 'u", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 04 06 00 3C 00 00", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0F 00 04 'MQTT 04 06 00 3C 00 00 00 01 'w", Malformed, "4.13.1"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 04 02 00 3C 00 01 00", Malformed, "MQTT-1.5.4-2"),
    (BOTH, Stranger, "10 0D 00 04 'MQTT 04 02 00 3C 00 01 C0", Malformed, "MQTT-1.5.4-1"),
    (BOTH, Stranger, "10 0F 00 04 'MQTT 04 82 00 3C 00 00 00 01 FF", Malformed, "MQTT-1.5.4-1"),
    (BOTH, Stranger, "10 0F 00 04 'MQTT 04 82 00 3C 00 00 00 01 00", Malformed, "MQTT-1.5.4-2"),
    (BOTH, Stranger, "10 0C 00 04 'MQTT 05 02 00 3C 00 00", Malformed, "4.13.1"),
    // CONNECT: will topics.
    (BOTH, Stranger, "10 11 00 04 'MQTT 04 06 00 3C 00 00 00 01 '+ 00 00", TopicNameInvalid, TOPIC),
    (BOTH, Stranger, "10 11 00 04 'MQTT 04 06 00 3C 00 00 00 01 '# 00 00", TopicNameInvalid, TOPIC),
    (BOTH, Stranger, "10 10 00 04 'MQTT 04 06 00 3C 00 00 00 00 00 00", TopicNameInvalid, TOPIC),
    (
        BOTH,
        Stranger,
        "10 11 00 04 'MQTT 04 06 00 3C 00 00 00 01 FF 00 00",
        Malformed,
        "MQTT-1.5.4-1",
    ),
    (
        BOTH,
        Stranger,
        "10 11 00 04 'MQTT 04 06 00 3C 00 00 00 01 00 00 00",
        Malformed,
        "MQTT-1.5.4-2",
    ),
    // CONNACK.
    (OLD, Server, "20 02 02 00", Malformed, "MQTT-3.2.2-1"),
    (NEW, Server, "20 03 80 00 00", Malformed, "MQTT-3.2.2-1"),
    (OLD, Server, "20 02 01 05", Protocol, "MQTT-3.2.2-6"),
    (NEW, Server, "20 03 01 87 00", Protocol, "MQTT-3.2.2-6"),
    (OLD, Server, "20 02 00 06", Protocol, "2.4"),
    (NEW, Server, "20 03 00 01 00", Protocol, "2.4"),
    (NEW, Server, "20 03 00 8B 00", Protocol, "2.4"),
    (NEW, Server, "20 02 00 00", Malformed, "4.13.1"),
    // PUBLISH.
    (BOTH, Client, "36 00", Malformed, "MQTT-3.3.1-4"),
    (BOTH, Client, "37 00", Malformed, "MQTT-3.3.1-4"),
    (BOTH, Client, "3E", Malformed, "MQTT-3.3.1-4"),
    (BOTH, Server, "3F", Malformed, "MQTT-3.3.1-4"),
    (BOTH, Client, "38", Protocol, "MQTT-3.3.1-2"),
    (BOTH, Server, "39 00", Protocol, "MQTT-3.3.1-2"),
    (BOTH, Client, "30 00", Malformed, "4.13.1"),
    (BOTH, Client, "30 01 00", Malformed, "4.13.1"),
    (BOTH, Client, "30 03 00 02 'a", Malformed, "4.13.1"),
    (NEW, Client, "30 03 00 01 'a", Malformed, "4.13.1"),
    (NEW, Client, "30 05 00 01 'a 02 01", Malformed, "4.13.1"),
    (NEW, Client, "30 05 00 01 'a 80 00", Malformed, "MQTT-1.5.5-1"),
    (NEW, Client, "30 08 00 01 'a FF FF FF FF 7F", Malformed, "MQTT-1.5.5-1"),
    (BOTH, Client, "32 03 00 01 'a", Malformed, "4.13.1"),
    (BOTH, Client, "34 04 00 01 'a 01", Malformed, "4.13.1"),
    (BOTH, Client, "32 06 00 01 'a 00 00 00", Protocol, "MQTT-2.2.1-3"),
    (BOTH, Server, "3C 06 00 01 'a 00 00 00", Protocol, "MQTT-2.2.1-3"),
    (BOTH, Client, "30 04 00 01 '+ 00", TopicNameInvalid, TOPIC),
    (BOTH, Client, "30 06 00 03 'a/# 00", TopicNameInvalid, TOPIC),
    (BOTH, Client, "30 06 00 03 'a+b 00", TopicNameInvalid, TOPIC),
    (BOTH, Client, "30 04 00 01 00 00", Malformed, "MQTT-1.5.4-2"),
    (BOTH, Client, "30 04 00 01 FF 00", Malformed, "MQTT-1.5.4-1"),
    (BOTH, Client, "30 06 00 03 ED A0 80 00", Malformed, "MQTT-1.5.4-1"),
    (BOTH, Client, "30 05 00 02 C0 80 00", Malformed, "MQTT-1.5.4-1"),
    (OLD, Client, "30 02 00 00", TopicNameInvalid, TOPIC),
    (NEW, Client, "30 03 00 00 00", Protocol, "3.3.2.1"),
    (NEW, Server, "30 05 00 00 02 01 00", Protocol, "3.3.2.1"),
    (NEW, Client, "30 07 00 01 'a 03 23 00 00", TopicAliasInvalid, "MQTT-3.3.2-8"),
    (NEW, Client, "30 06 00 01 'a 02 0B 01", Protocol, "MQTT-3.3.4-6"),
    (NEW, Server, "30 06 00 01 'a 02 0B 00", Protocol, "2.2.2.2"),
    (NEW, Client, "30 08 00 01 'a 04 08 00 01 '+", Protocol, "MQTT-3.3.2-14"),
    (NEW, Client, "30 09 00 01 'a 05 08 00 02 'a# ", Protocol, "MQTT-3.3.2-14"),
    (NEW, Client, "30 06 00 01 'a 02 01 02", Protocol, "2.2.2.2"),
    (NEW, Client, "30 06 00 01 'a 02 04 02", Malformed, "2.2.2.2"),
    (NEW, Client, "30 07 00 01 'a 03 80 01 00", Malformed, "2.2.2.2"),
    (NEW, Client, "30 07 00 01 'a 03 81 00 00", Malformed, "MQTT-1.5.5-1"),
    (NEW, Client, "30 07 00 01 'a 03 81 02 00", Malformed, "2.2.2.2"),
    (NEW, Client, "30 08 00 01 'a 04 03 00 01 00", Malformed, "MQTT-1.5.4-2"),
    (NEW, Client, "30 09 00 01 'a 05 26 00 00 00 01", Malformed, "4.13.1"),
    (NEW, Client, "30 0A 00 01 'a 06 26 00 00 00 01 FF", Malformed, "MQTT-1.5.4-1"),
    // Acknowledgements.
    (BOTH, Client, "40 00", Malformed, "4.13.1"),
    (BOTH, Client, "50 01 00", Malformed, "4.13.1"),
    (BOTH, Client, "40 02 00 00", Protocol, "MQTT-2.2.1-3"),
    (BOTH, Client, "62 02 00 00", Protocol, "MQTT-2.2.1-3"),
    (BOTH, Server, "70 02 00 00", Protocol, "MQTT-2.2.1-3"),
    (OLD, Client, "40 03 00 01 00", Malformed, "4.13.1"),
    (NEW, Client, "40 05 00 01 00 00 00", Malformed, "4.13.1"),
    (NEW, Client, "40 04 00 01 00 01", Malformed, "4.13.1"),
    (NEW, Client, "40 06 00 01 00 02 01 00", Malformed, "2.2.2.2"),
    // SUBSCRIBE.
    (OLD, Client, "82 02 00 01", Protocol, "MQTT-3.8.3-2"),
    (NEW, Client, "82 03 00 01 00", Protocol, "MQTT-3.8.3-2"),
    (OLD, Client, "82 06 00 00 00 01 'a 00", Protocol, "MQTT-2.2.1-3"),
    (NEW, Client, "82 07 00 00 00 00 01 'a 00", Protocol, "MQTT-2.2.1-3"),
    (OLD, Client, "82 05 00 01 00 01 'a", Malformed, "4.13.1"),
    (NEW, Client, "82 06 00 01 00 00 01 'a", Malformed, "4.13.1"),
    (OLD, Client, "82 06 00 01 00 01 'a 03", Protocol, "3.8.3.1"),
    (OLD, Client, "82 06 00 01 00 01 'a 04", Malformed, "MQTT-3.8.3-5"),
    (OLD, Client, "82 06 00 01 00 01 'a 80", Malformed, "MQTT-3.8.3-5"),
    (NEW, Client, "82 07 00 01 00 00 01 'a 03", Protocol, "3.8.3.1"),
    (NEW, Client, "82 07 00 01 00 00 01 'a 30", Protocol, "3.8.3.1"),
    (NEW, Client, "82 07 00 01 00 00 01 'a 40", Malformed, "MQTT-3.8.3-5"),
    (NEW, Client, "82 07 00 01 00 00 01 'a 80", Malformed, "MQTT-3.8.3-5"),
    (NEW, Client, "82 10 00 01 00 00 0A '$share/g/a 04", Protocol, "MQTT-3.8.3-4"),
    (OLD, Client, "82 06 00 01 00 01 00 00", Malformed, "MQTT-1.5.4-2"),
    (NEW, Client, "82 07 00 01 00 00 01 FF 00", Malformed, "MQTT-1.5.4-1"),
    (NEW, Client, "82 09 00 01 02 0B 00 00 01 'a 00", Protocol, "2.2.2.2"),
    (NEW, Client, "82 0B 00 01 04 0B 01 0B 02 00 01 'a 00", Protocol, "2.2.2.2"),
    (NEW, Client, "82 0A 00 01 03 0B 80 00 00 01 'a 00", Malformed, "MQTT-1.5.5-1"),
    // SUBACK and UNSUBACK.
    (OLD, Server, "90 02 00 01", Malformed, "4.13.1"),
    (NEW, Server, "90 03 00 01 00", Malformed, "4.13.1"),
    (OLD, Server, "90 03 00 00 00", Protocol, "MQTT-2.2.1-3"),
    (OLD, Server, "90 03 00 01 03", Protocol, "2.4"),
    (OLD, Server, "90 03 00 01 87", Protocol, "2.4"),
    (NEW, Server, "90 04 00 01 00 03", Protocol, "2.4"),
    (NEW, Server, "90 05 00 01 00 00 11", Protocol, "2.4"),
    (OLD, Server, "B0 03 00 01 00", Malformed, "4.13.1"),
    (NEW, Server, "B0 03 00 01 00", Malformed, "4.13.1"),
    (NEW, Server, "B0 04 00 01 00 02", Protocol, "2.4"),
    // UNSUBSCRIBE.
    (OLD, Client, "A2 02 00 01", Protocol, "MQTT-3.10.3-2"),
    (NEW, Client, "A2 03 00 01 00", Protocol, "MQTT-3.10.3-2"),
    (OLD, Client, "A2 05 00 00 00 01 'a", Protocol, "MQTT-2.2.1-3"),
    (OLD, Client, "A2 04 00 01 00 01", Malformed, "4.13.1"),
    (OLD, Client, "A2 05 00 01 00 01 FF", Malformed, "MQTT-1.5.4-1"),
    (NEW, Client, "A2 06 00 01 00 00 01 00", Malformed, "MQTT-1.5.4-2"),
    // PINGREQ, PINGRESP, DISCONNECT, AUTH.
    (BOTH, Client, "C0 01 00", Malformed, "4.13.1"),
    (BOTH, Server, "D0 01 00", Malformed, "4.13.1"),
    (OLD, Client, "E0 01 00", Malformed, "4.13.1"),
    (NEW, Client, "E0 03 00 00 00", Malformed, "4.13.1"),
    (NEW, Server, "E0 07 00 05 11 00 00 00 01", Protocol, "MQTT-3.14.2-2"),
    (NEW, Client, "E0 05 00 03 1C 00 00", Malformed, "2.2.2.2"),
    (NEW, Client, "F0 00", Protocol, "2.4"),
    (NEW, Client, "F0 03 18 00 00", Malformed, "4.13.1"),
];

const TOPIC: &str = "MQTT-4.7.0-1";
