//! Packets as clients write them and as tests read them.

use bellbird_codec::{
    Connect, Packet, PacketId, Properties, Property, PropertyBuffer, PublishParts, QoS,
    RetainHandling, SubscribeBuffer, SubscribeOptions, Unsubscribe, UnsubscribeBuffer, Version,
    Will, encode_publish,
};

use super::Seen;

/// A PUBLISH of a client.
#[derive(Clone, Copy)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) properties: Properties<'a>,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(topic: &'a str, payload: &'a str) -> Self {
        let properties = Properties::default();
        Self { topic, payload, qos: QoS::AtMostOnce, retain: false, dup: false, id: 0, properties }
    }

    pub(crate) fn qos1(self, id: u16) -> Self {
        Self { qos: QoS::AtLeastOnce, id, ..self }
    }

    pub(crate) fn qos2(self, id: u16) -> Self {
        Self { qos: QoS::ExactlyOnce, id, ..self }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        let mut bytes = Vec::new();
        let parts = PublishParts {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id: self.id,
            properties: self.properties.raw(),
            payload: self.payload.as_bytes(),
        };
        encode_publish(&parts, version, &mut bytes);
        bytes
    }
}

pub(crate) fn connect(
    name: &str,
    version: Version,
    clean_start: bool,
    expiry_secs: u32,
) -> Vec<u8> {
    let mut properties = PropertyBuffer::new();
    if version == Version::V5 && expiry_secs > 0 {
        properties.push(Property::SessionExpiryInterval(expiry_secs));
    }
    connect_with(name, version, clean_start, 0, &properties)
}

pub(crate) fn connect_with(
    name: &str,
    version: Version,
    clean_start: bool,
    keep_alive_secs: u16,
    properties: &PropertyBuffer,
) -> Vec<u8> {
    let properties = properties.as_properties();
    encode_connect(Connect { keep_alive_secs, ..plain(name, version, clean_start, properties) })
}

/// A CONNECT with a will; the expiry counts in 5.0 only.
pub(crate) fn connect_with_will(
    name: &str,
    version: Version,
    clean_start: bool,
    expiry_secs: u32,
    will: Will<'_>,
) -> Vec<u8> {
    let mut properties = PropertyBuffer::new();
    if version == Version::V5 {
        properties.push(Property::SessionExpiryInterval(expiry_secs));
    }
    let properties = properties.as_properties();
    encode_connect(Connect { will: Some(will), ..plain(name, version, clean_start, properties) })
}

fn plain<'a>(
    client_id: &'a str,
    version: Version,
    clean_start: bool,
    properties: Properties<'a>,
) -> Connect<'a> {
    Connect {
        is_bridge: false,
        version,
        clean_start,
        keep_alive_secs: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties,
    }
}

fn encode_connect(connect: Connect<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let version = connect.version;
    Packet::Connect(connect).encode(version, &mut bytes);
    bytes
}

pub(crate) fn options(qos: QoS) -> SubscribeOptions {
    let retain_handling = RetainHandling::SendAlways;
    SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling }
}

pub(crate) fn subscribe(
    version: Version,
    id: u16,
    filter: &str,
    options: SubscribeOptions,
) -> Vec<u8> {
    let mut filters = SubscribeBuffer::new();
    filters.push(filter, options);
    let packet = Packet::Subscribe(bellbird_codec::Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        properties: Properties::default(),
        filters: filters.as_filters(),
    });
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

pub(crate) fn unsubscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let mut filters = UnsubscribeBuffer::new();
    filters.push(filter);
    let packet = Packet::Unsubscribe(Unsubscribe {
        packet_id: PacketId::new(id).unwrap(),
        properties: Properties::default(),
        filters: filters.as_filters(),
    });
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

/// The packet in the words of the tests.
#[allow(clippy::wildcard_enum_match_arm)] // what no test expects is shown as it is
pub(super) fn show(packet: &Packet<'_>) -> Seen {
    match packet {
        Packet::Connack(connack) => {
            format!("connack present={} code={}", connack.session_present, connack.code)
        }
        Packet::Publish(publish) => {
            let topic = publish.topic.map_or("", |topic| topic.as_str());
            let payload = String::from_utf8_lossy(publish.payload);
            let qos = if publish.qos == QoS::ExactlyOnce { "2:" } else { "" };
            let id =
                publish.packet_id.map_or(String::new(), |id| format!(" id={qos}{}", id.value()));
            let dup = if publish.dup { " dup" } else { "" };
            let retain = if publish.retain { " retain" } else { "" };
            let expiry = publish
                .properties
                .message_expiry_interval()
                .map_or(String::new(), |secs| format!(" expiry={secs}"));
            format!("{topic}={payload}{id}{dup}{retain}{expiry}")
        }
        Packet::Puback(ack) => format!("puback {} {}", ack.packet_id.value(), ack.reason.value()),
        Packet::Pubrec(ack) => format!("pubrec {} {}", ack.packet_id.value(), ack.reason.value()),
        Packet::Pubrel(ack) => format!("pubrel {} {}", ack.packet_id.value(), ack.reason.value()),
        Packet::Pubcomp(ack) => format!("pubcomp {} {}", ack.packet_id.value(), ack.reason.value()),
        Packet::Suback(ack) => format!("suback {} {:?}", ack.packet_id.value(), ack.codes),
        Packet::Unsuback(ack) => format!("unsuback {} {:?}", ack.packet_id.value(), ack.codes),
        Packet::Disconnect(disconnect) => format!("disconnect {:#x}", disconnect.reason.value()),
        Packet::Pingresp => "pingresp".into(),
        other => format!("{other:?}"),
    }
}
