//! Golden vectors: for every packet and both versions, its bytes written by hand from the
//! specification, and the packet they mean.

use bellbird_codec::{
    Acknowledgement, Auth, Connack, Connect, DecodeError, Decoded, Disconnect, Packet, PacketId,
    Properties, Property, PropertyBuffer, Publish, QoS, ReasonCode, RetainHandling, Suback,
    Subscribe, SubscribeBuffer, SubscribeFilters, SubscribeOptions, Unsuback, Unsubscribe,
    UnsubscribeBuffer, UnsubscribeFilters, Version, Will, decode, decode_from_server,
};
use bellbird_topics::TopicName;

/// Who sends a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// As the first packet of a client.
    Stranger,
    /// After CONNECT.
    Client,
    /// Any packet of a server.
    Server,
}

/// One vector.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) version: Version,
    pub(crate) from: From,
    pub(crate) bytes: &'static [u8],
    pub(crate) packet: Packet<'static>,
}

/// Decodes with the function the sender asks for.
pub(crate) fn decode_as(
    bytes: &[u8],
    version: Version,
    from: From,
) -> Result<Decoded<'_>, DecodeError> {
    match from {
        From::Stranger => decode(bytes, None, u32::MAX),
        From::Client => decode(bytes, Some(version), u32::MAX),
        From::Server => decode_from_server(bytes, version, u32::MAX),
    }
}

/// The bytes of a text of hexadecimal digits and spaces; `'` begins a word of plain text.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('\'') {
            Some(plain) => bytes.extend_from_slice(plain.as_bytes()),
            None => bytes.push(u8::from_str_radix(word, 16).unwrap()),
        }
    }
    bytes
}

/// All vectors.
pub(crate) fn all() -> Vec<Vector> {
    let mut vectors = connects();
    vectors.extend(connacks());
    vectors.extend(publishes());
    vectors.extend(acknowledgements());
    vectors.extend(subscribes());
    vectors.extend(unsubscribes());
    vectors.extend(farewells());
    vectors
}

fn vector(version: Version, from: From, text: &str, packet: Packet<'static>) -> Vector {
    Vector { version, from, bytes: bytes(text).leak(), packet }
}

fn properties(list: &[Property<'_>]) -> Properties<'static> {
    let mut buffer = PropertyBuffer::new();
    for &property in list {
        buffer.push(property);
    }
    Box::leak(Box::new(buffer)).as_properties()
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn topic(text: &str) -> TopicName<'_> {
    TopicName::parse(text).unwrap()
}

fn connects() -> Vec<Vector> {
    let small = Connect {
        is_bridge: false,
        version: V311,
        clean_start: true,
        keep_alive_secs: 60,
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
        properties: NONE,
    };
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: topic("w"),
        payload: b"bye",
        properties: NONE,
    };
    let large = Connect {
        clean_start: false,
        will: Some(will),
        user_name: Some("u"),
        password: Some(b"p"),
        ..small
    };
    let large_v5 = Connect {
        is_bridge: false,
        version: V5,
        will: Some(Will {
            properties: properties(&[
                Property::WillDelayInterval(5),
                Property::PayloadFormatIndicator(true),
                Property::ContentType("t"),
            ]),
            ..will
        }),
        user_name: None,
        properties: properties(&[
            Property::SessionExpiryInterval(10),
            Property::ReceiveMaximum(20),
            Property::MaximumPacketSize(256),
            Property::TopicAliasMaximum(3),
            Property::RequestResponseInformation(true),
            Property::RequestProblemInformation(false),
            Property::AuthenticationMethod("m"),
            Property::AuthenticationData(&[0xFF]),
            Property::UserProperty("k", "v"),
        ]),
        ..large
    };
    let small_v5 = Connect { version: V5, client_id: "", ..small };
    let connect =
        |version, text, connect| vector(version, From::Stranger, text, Packet::Connect(connect));
    vec![
        connect(V311, "10 0D 00 04 'MQTT 04 02 00 3C 00 01 'c", small),
        connect(
            V311,
            "10 1B 00 04 'MQTT 04 EC 00 3C 00 01 'c 00 01 'w 00 03 'bye 00 01 'u 00 01 'p",
            large,
        ),
        connect(V5, "10 0D 00 04 'MQTT 05 02 00 3C 00 00 00", small_v5),
        connect(
            V5,
            "10 48 00 04 'MQTT 05 6C 00 3C 23 11 00 00 00 0A 21 00 14 27 00 00 01 00 22 00 03 \
             19 01 17 00 15 00 01 'm 16 00 01 FF 26 00 01 'k 00 01 'v 00 01 'c \
             0B 18 00 00 00 05 01 01 03 00 01 't 00 01 'w 00 03 'bye 00 01 'p",
            large_v5,
        ),
    ]
}

fn connacks() -> Vec<Vector> {
    let connack = |version, text, session_present, code, properties| {
        let packet = Packet::Connack(Connack { session_present, code, properties });
        vector(version, From::Server, text, packet)
    };
    let everything = properties(&[
        Property::SessionExpiryInterval(1),
        Property::AssignedClientIdentifier("x"),
        Property::ServerKeepAlive(30),
        Property::ResponseInformation("r"),
        Property::ServerReference("s"),
        Property::ReasonString("why"),
        Property::MaximumQoS(QoS::AtLeastOnce),
        Property::RetainAvailable(false),
        Property::WildcardSubscriptionAvailable(true),
        Property::SubscriptionIdentifierAvailable(true),
        Property::SharedSubscriptionAvailable(false),
    ]);
    vec![
        connack(V311, "20 02 01 00", true, 0, NONE),
        connack(V311, "20 02 00 05", false, 5, NONE),
        connack(V5, "20 03 00 00 00", false, 0, NONE),
        connack(
            V5,
            "20 27 00 87 24 11 00 00 00 01 12 00 01 'x 13 00 1E 1A 00 01 'r 1C 00 01 's \
             1F 00 03 'why 24 01 25 00 28 01 29 01 2A 00",
            false,
            0x87,
            everything,
        ),
    ]
}

fn publishes() -> Vec<Vector> {
    let publish = |version, from, text, publish: Publish<'static>| {
        let bytes = bytes(text).leak();
        let packet = Packet::Publish(Publish { frame: bytes, ..publish });
        Vector { version, from, bytes, packet }
    };
    let small = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Some(topic("a/b")),
        packet_id: None,
        properties: NONE,
        payload: b"hi",
        frame: &[],
    };
    let twice = Publish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        packet_id: Some(id(0x0102)),
        ..small
    };
    let once = Publish { qos: QoS::AtLeastOnce, packet_id: Some(id(7)), payload: b"", ..small };
    let request = Publish {
        properties: properties(&[
            Property::MessageExpiryInterval(9),
            Property::ResponseTopic("r"),
            Property::CorrelationData(&[0, 1]),
            Property::UserProperty("", "é"),
        ]),
        ..twice
    };
    let alias =
        Publish { topic: None, properties: properties(&[Property::TopicAlias(1)]), ..small };
    let matched = Publish {
        properties: properties(&[
            Property::SubscriptionIdentifier(1),
            Property::SubscriptionIdentifier(268_435_455),
        ]),
        ..small
    };
    vec![
        publish(V311, From::Client, "30 07 00 03 'a/b 'hi", small),
        publish(V311, From::Server, "3D 09 00 03 'a/b 01 02 'hi", twice),
        publish(V311, From::Client, "32 07 00 03 'a/b 00 07", once),
        publish(V5, From::Client, "30 08 00 03 'a/b 00 'hi", small),
        publish(V5, From::Client, "32 08 00 03 'a/b 00 07 00", once),
        publish(
            V5,
            From::Client,
            "3D 1F 00 03 'a/b 01 02 15 02 00 00 00 09 08 00 01 'r 09 00 02 00 01 26 00 00 00 02 \
             C3 A9 'hi",
            request,
        ),
        publish(V5, From::Client, "30 08 00 00 03 23 00 01 'hi", alias),
        publish(V5, From::Server, "30 0F 00 03 'a/b 07 0B 01 0B FF FF FF 7F 'hi", matched),
    ]
}

fn acknowledgements() -> Vec<Vector> {
    type Wrap = fn(Acknowledgement<'static>) -> Packet<'static>;
    let why = properties(&[Property::ReasonString("no")]);
    let plain =
        Acknowledgement { packet_id: id(0x0A0B), reason: ReasonCode::Success, properties: NONE };
    let kinds: [(&str, Wrap, ReasonCode); 4] = [
        ("40", Packet::Puback, ReasonCode::NotAuthorized),
        ("50", Packet::Pubrec, ReasonCode::NotAuthorized),
        ("62", Packet::Pubrel, ReasonCode::PacketIdentifierNotFound),
        ("70", Packet::Pubcomp, ReasonCode::PacketIdentifierNotFound),
    ];
    let mut vectors = Vec::new();
    for from in [From::Client, From::Server] {
        for (first, wrap, reason) in kinds {
            let code = reason.value();
            let short = format!("{first} 02 0A 0B");
            vectors.push(vector(V311, from, &short, wrap(plain)));
            vectors.push(vector(V5, from, &short, wrap(plain)));
            let failed = Acknowledgement { reason, ..plain };
            let text = format!("{first} 03 0A 0B {code:02X}");
            vectors.push(vector(V5, from, &text, wrap(failed)));
            let text = format!("{first} 09 0A 0B {code:02X} 05 1F 00 02 'no");
            let packet = wrap(Acknowledgement { properties: why, ..failed });
            vectors.push(vector(V5, from, &text, packet));
        }
    }
    vectors
}

fn subscribes() -> Vec<Vector> {
    let options = |qos| SubscribeOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendAlways,
    };
    let filters = |list: &[(&str, SubscribeOptions)]| -> SubscribeFilters<'static> {
        let mut buffer = SubscribeBuffer::new();
        for &(filter, options) in list {
            buffer.push(filter, options);
        }
        Box::leak(Box::new(buffer)).as_filters()
    };
    let small = Subscribe {
        packet_id: id(10),
        properties: NONE,
        filters: filters(&[("a/b", options(QoS::AtLeastOnce)), ("c", options(QoS::ExactlyOnce))]),
    };
    let rich = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let large = Subscribe {
        packet_id: id(11),
        properties: properties(&[Property::SubscriptionIdentifier(128)]),
        filters: filters(&[("$share/g/+", options(QoS::AtMostOnce)), ("#", rich)]),
    };
    let suback =
        |codes, properties| Packet::Suback(Suback { packet_id: id(10), properties, codes });
    let why = properties(&[Property::ReasonString("no")]);
    let subscribe = Packet::Subscribe;
    vec![
        vector(V311, From::Client, "82 0C 00 0A 00 03 'a/b 01 00 01 'c 02", subscribe(small)),
        vector(V5, From::Client, "82 0D 00 0A 00 00 03 'a/b 01 00 01 'c 02", subscribe(small)),
        vector(
            V5,
            From::Client,
            "82 17 00 0B 03 0B 80 01 00 0A '$share/g/+ 00 00 01 '# 2E",
            subscribe(large),
        ),
        vector(V311, From::Server, "90 06 00 0A 00 01 02 80", suback(&[0, 1, 2, 0x80], NONE)),
        vector(V5, From::Server, "90 05 00 0A 00 02 A2", suback(&[2, 0xA2], NONE)),
        vector(V5, From::Server, "90 09 00 0A 05 1F 00 02 'no 87", suback(&[0x87], why)),
    ]
}

fn unsubscribes() -> Vec<Vector> {
    let filters = |list: &[&str]| -> UnsubscribeFilters<'static> {
        let mut buffer = UnsubscribeBuffer::new();
        for filter in list {
            buffer.push(filter);
        }
        Box::leak(Box::new(buffer)).as_filters()
    };
    let small =
        Unsubscribe { packet_id: id(12), properties: NONE, filters: filters(&["a/b", "#"]) };
    let large = Unsubscribe { properties: properties(&[Property::UserProperty("k", "")]), ..small };
    let unsuback =
        |properties, codes| Packet::Unsuback(Unsuback { packet_id: id(12), properties, codes });
    let why = properties(&[Property::ReasonString("no")]);
    let unsubscribe = Packet::Unsubscribe;
    vec![
        vector(V311, From::Client, "A2 0A 00 0C 00 03 'a/b 00 01 '#", unsubscribe(small)),
        vector(V5, From::Client, "A2 0B 00 0C 00 00 03 'a/b 00 01 '#", unsubscribe(small)),
        vector(
            V5,
            From::Client,
            "A2 11 00 0C 06 26 00 01 'k 00 00 00 03 'a/b 00 01 '#",
            unsubscribe(large),
        ),
        vector(V311, From::Server, "B0 02 00 0C", unsuback(NONE, &[])),
        vector(V5, From::Server, "B0 05 00 0C 00 00 11", unsuback(NONE, &[0, 0x11])),
        vector(V5, From::Server, "B0 09 00 0C 05 1F 00 02 'no 87", unsuback(why, &[0x87])),
    ]
}

fn farewells() -> Vec<Vector> {
    let bye = |reason, properties| Packet::Disconnect(Disconnect { reason, properties });
    let auth =
        |reason, list: &[Property<'_>]| Packet::Auth(Auth { reason, properties: properties(list) });
    let method = Property::AuthenticationMethod("m");
    let data = Property::AuthenticationData(&[1, 2]);
    let expiry = properties(&[Property::SessionExpiryInterval(7)]);
    let reference = properties(&[Property::ServerReference("s")]);
    let normal = bye(ReasonCode::Success, NONE);
    let with_will = bye(ReasonCode::DisconnectWithWill, NONE);
    let moved = bye(ReasonCode::ServerMoved, reference);
    let (again, go_on) = (ReasonCode::Reauthenticate, ReasonCode::ContinueAuthentication);
    let mut vectors = Vec::new();
    for version in [V311, V5] {
        vectors.push(vector(version, From::Client, "C0 00", Packet::Pingreq));
        vectors.push(vector(version, From::Server, "D0 00", Packet::Pingresp));
        vectors.push(vector(version, From::Client, "E0 00", normal));
    }
    vectors.extend([
        vector(V5, From::Server, "E0 00", normal),
        vector(V5, From::Client, "E0 01 04", with_will),
        vector(V5, From::Client, "E0 07 00 05 11 00 00 00 07", bye(ReasonCode::Success, expiry)),
        vector(V5, From::Server, "E0 06 9D 04 1C 00 01 's", moved),
        vector(V5, From::Client, "F0 06 19 04 15 00 01 'm", auth(again, &[method])),
        vector(
            V5,
            From::Server,
            "F0 0B 18 09 15 00 01 'm 16 00 02 01 02",
            auth(go_on, &[method, data]),
        ),
        vector(V5, From::Server, "F0 00", auth(ReasonCode::Success, &[])),
    ]);
    vectors
}

const V311: Version = Version::V311;
const V5: Version = Version::V5;
const NONE: Properties<'static> = Properties::EMPTY;

#[test]
fn names_and_levels_tell_the_version() {
    let check = |name: &str, level: u8, version: Version, is_bridge: bool| {
        let body = [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[level, 2, 0, 60]];
        let body = [&body.concat()[..], b"\0\x01c"].concat();
        let bytes = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let Decoded::Packet { packet: Packet::Connect(connect), .. } =
            decode(&bytes, None, 1000).unwrap()
        else {
            panic!("a CONNECT")
        };
        assert_eq!((connect.version, connect.is_bridge), (version, is_bridge));
        let mut again = Vec::new();
        Packet::Connect(connect).encode(version, &mut again);
        assert_eq!(again, bytes);
    };
    check("MQIsdp", 3, Version::V31, false);
    check("MQIsdp", 0x83, Version::V31, true);
    check("MQTT", 4, Version::V311, false);
    check("MQTT", 0x84, Version::V311, true);
    // 3.1 has a DUP flag in the fixed header of these.
    for bytes in [&b"\x8a\x06\0\x01\0\x01a\0"[..], b"\xaa\x05\0\x01\0\x01a", b"\x6a\x02\0\x01"] {
        assert!(decode(bytes, Some(Version::V31), 1000).is_ok());
        assert!(decode(bytes, Some(Version::V311), 1000).is_err());
    }
}
