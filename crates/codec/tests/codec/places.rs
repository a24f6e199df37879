//! Every property in every packet: accepted where the specification lists it, refused elsewhere,
//! and refused when it stands there twice.

use bellbird_codec::{Decoded, Property, PropertyBuffer, QoS, ReasonCode, Version};

use crate::vectors::{From, bytes, decode_as};

/// The packets of table 2-4; `{}` stands for the property section.
const PACKETS: [(&str, From, &str, &str); 17] = [
    ("CONNECT", From::Stranger, "10", "00 04 'MQTT 05 02 00 00 {} 00 00"),
    ("WILL", From::Stranger, "10", "00 04 'MQTT 05 06 00 00 00 00 00 {} 00 01 'w 00 00"),
    ("CONNACK", From::Server, "20", "00 00 {}"),
    ("PUBLISH>", From::Client, "30", "00 01 'a {}"),
    ("PUBLISH<", From::Server, "30", "00 01 'a {}"),
    ("ANSWER", From::Client, "40", "00 01 00 {}"),
    ("ANSWER", From::Client, "50", "00 01 00 {}"),
    ("ANSWER", From::Client, "62", "00 01 00 {}"),
    ("ANSWER", From::Client, "70", "00 01 00 {}"),
    ("SUBSCRIBE", From::Client, "82", "00 01 {} 00 01 'a 00"),
    ("ANSWER", From::Server, "90", "00 01 {} 00"),
    ("UNSUBSCRIBE", From::Client, "A2", "00 01 {} 00 01 'a"),
    ("ANSWER", From::Server, "B0", "00 01 {} 00"),
    ("DISCONNECT>", From::Client, "E0", "00 {}"),
    ("DISCONNECT<", From::Server, "E0", "00 {}"),
    ("AUTH", From::Client, "F0", "18 {}"),
    ("AUTH", From::Server, "F0", "18 {}"),
];

/// The properties and where they may stand, as `mqtt5-properties.tsv` has them.
const PROPERTIES: [(Property<'static>, &str); 27] = [
    (Property::PayloadFormatIndicator(true), "PUBLISH> PUBLISH< WILL"),
    (Property::MessageExpiryInterval(1), "PUBLISH> PUBLISH< WILL"),
    (Property::ContentType("t"), "PUBLISH> PUBLISH< WILL"),
    (Property::ResponseTopic("r"), "PUBLISH> PUBLISH< WILL"),
    (Property::CorrelationData(b"d"), "PUBLISH> PUBLISH< WILL"),
    (Property::SubscriptionIdentifier(1), "PUBLISH< SUBSCRIBE"),
    (Property::SessionExpiryInterval(0), "CONNECT CONNACK DISCONNECT>"),
    (Property::AssignedClientIdentifier("c"), "CONNACK"),
    (Property::ServerKeepAlive(0), "CONNACK"),
    (Property::AuthenticationMethod("m"), "CONNECT CONNACK AUTH"),
    (Property::AuthenticationData(b""), "CONNACK AUTH"), // In CONNECT not without a method.
    (Property::RequestProblemInformation(false), "CONNECT"),
    (Property::WillDelayInterval(0), "WILL"),
    (Property::RequestResponseInformation(true), "CONNECT"),
    (Property::ResponseInformation("i"), "CONNACK"),
    (Property::ServerReference("s"), "CONNACK DISCONNECT<"),
    (Property::ReasonString("r"), "CONNACK ANSWER DISCONNECT> DISCONNECT< AUTH"),
    (Property::ReceiveMaximum(1), "CONNECT CONNACK"),
    (Property::TopicAliasMaximum(0), "CONNECT CONNACK"),
    (Property::TopicAlias(1), "PUBLISH> PUBLISH<"),
    (Property::MaximumQoS(QoS::AtMostOnce), "CONNACK"),
    (Property::RetainAvailable(true), "CONNACK"),
    (Property::UserProperty("k", "v"), EVERYWHERE),
    (Property::MaximumPacketSize(1), "CONNECT CONNACK"),
    (Property::WildcardSubscriptionAvailable(true), "CONNACK"),
    (Property::SubscriptionIdentifierAvailable(true), "CONNACK"),
    (Property::SharedSubscriptionAvailable(true), "CONNACK"),
];

const EVERYWHERE: &str = "CONNECT WILL CONNACK PUBLISH> PUBLISH< ANSWER SUBSCRIBE UNSUBSCRIBE \
                          DISCONNECT> DISCONNECT< AUTH";

#[test]
fn properties_stand_where_they_are_listed() {
    for (packet, from, first, body) in PACKETS {
        for (property, places) in PROPERTIES {
            let is_listed = places.split(' ').any(|place| place == packet);
            let mut section = PropertyBuffer::new();
            section.push(property);
            let once = outcome(from, first, body, section.as_properties().raw());
            let expected_refusal = match (property, packet) {
                (Property::SubscriptionIdentifier(_), "PUBLISH>")
                | (Property::SessionExpiryInterval(_), "DISCONNECT<")
                | (Property::AuthenticationData(_), "CONNECT") => ReasonCode::ProtocolError,
                _ => ReasonCode::MalformedPacket,
            };
            let expected = if is_listed { Ok(()) } else { Err(expected_refusal) };
            assert_eq!(once, expected, "{property:?} in {packet}");
            if !is_listed {
                continue;
            }
            section.push(property);
            let twice = outcome(from, first, body, section.as_properties().raw());
            let expected = match (property, packet) {
                (Property::UserProperty(..), _)
                | (Property::SubscriptionIdentifier(_), "PUBLISH<") => Ok(()),
                _ => Err(ReasonCode::ProtocolError),
            };
            assert_eq!(twice, expected, "{property:?} twice in {packet}");
        }
    }
}

#[test]
fn values_outside_their_range_are_protocol_errors() {
    for (first, body, section) in [
        (0x10, "00 04 'MQTT 05 02 00 00 {} 00 00", "21 00 00"),
        (0x10, "00 04 'MQTT 05 02 00 00 {} 00 00", "27 00 00 00 00"),
        (0x10, "00 04 'MQTT 05 02 00 00 {} 00 00", "17 02"),
        (0x10, "00 04 'MQTT 05 02 00 00 {} 00 00", "19 FF"),
        (0x10, "00 04 'MQTT 05 06 00 00 00 00 00 {} 00 01 'w 00 00", "01 02"),
        (0x10, "00 04 'MQTT 05 06 00 00 00 00 00 {} 00 01 'w 00 00", "08 00 01 '#"),
        (0x20, "00 00 {}", "21 00 00"),
        (0x20, "00 00 {}", "27 00 00 00 00"),
        (0x20, "00 00 {}", "24 02"),
        (0x20, "00 00 {}", "25 02"),
        (0x20, "00 00 {}", "28 02"),
        (0x20, "00 00 {}", "29 02"),
        (0x20, "00 00 {}", "2A 02"),
    ] {
        let from = if first == 0x10 { From::Stranger } else { From::Server };
        let refused = outcome(from, &format!("{first:02X}"), body, &bytes(section));
        assert_eq!(refused, Err(ReasonCode::ProtocolError), "{section}");
    }
}

/// Every identifier that is none, in every packet.
#[test]
fn unknown_properties_are_malformed() {
    let known = PROPERTIES.map(|(property, _)| {
        let mut section = PropertyBuffer::new();
        section.push(property);
        section.as_properties().raw()[0]
    });
    for (packet, from, first, body) in PACKETS {
        for id in (0..0x80_u8).filter(|id| !known.contains(id)) {
            let refused = outcome(from, first, body, &[id, 0, 0, 0, 0]);
            assert_eq!(refused, Err(ReasonCode::MalformedPacket), "0x{id:02X} in {packet}");
        }
    }
}

/// Getters find each property behind all others.
#[test]
fn getters_find_properties_behind_others() {
    let mut section = PropertyBuffer::new();
    for (property, _) in PROPERTIES {
        section.push(property);
    }
    section.push(Property::UserProperty("a", "b"));
    let properties = section.as_properties();
    assert_eq!(properties.iter().count(), PROPERTIES.len() + 1);
    assert_eq!(properties.payload_format_indicator(), Some(true));
    assert_eq!(properties.session_expiry_interval(), Some(0));
    assert_eq!(properties.authentication_data(), Some(&b""[..]));
    assert_eq!(properties.topic_alias(), Some(1));
    assert_eq!(properties.maximum_qos(), Some(QoS::AtMostOnce));
    assert_eq!(properties.maximum_packet_size(), Some(1));
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("k", "v"), ("a", "b")]);
    section.clear();
    assert_eq!(section.as_properties().receive_maximum(), None);
}

fn outcome(from: From, first: &str, body: &str, section: &[u8]) -> Result<(), ReasonCode> {
    let (before, after) = body.split_once("{}").unwrap();
    let mut body = bytes(before);
    body.push(u8::try_from(section.len()).unwrap());
    body.extend_from_slice(section);
    body.extend_from_slice(&bytes(after));
    let mut packet = bytes(first);
    packet.push(u8::try_from(body.len()).unwrap());
    packet.extend_from_slice(&body);
    match decode_as(&packet, Version::V5, from) {
        Ok(Decoded::Packet { .. }) => Ok(()),
        Ok(Decoded::Incomplete { .. }) => panic!("{packet:02X?}"),
        Err(error) => Err(error.reason()),
    }
}
