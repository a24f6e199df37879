//! The paths, each by its name.

use std::hint::black_box;

use bellbird_codec::{Decoded, Packet, PublishParts, QoS, Version, decode, encode_publish};
use bellbird_core::ConnectionId;
use bellbird_topics::{Filter, Index, Namespace, TopicName};

use crate::node::Node;

/// Its name, and the path: it returns for how many messages it was gone.
type Path = (&'static str, fn() -> u64);

pub(crate) const ALL: [Path; 9] = [
    ("decode a PUBLISH of QoS 1", decode_publish),
    ("encode a PUBLISH of QoS 1", encode),
    ("match among 10,000 filters", match_cold),
    ("1:1 of QoS 0", || pairs(QoS::AtMostOnce, true)),
    ("1:1 of QoS 1", || pairs(QoS::AtLeastOnce, true)),
    ("1:1 of QoS 2", || pairs(QoS::ExactlyOnce, true)),
    ("1:1 of QoS 1, durable", || pairs(QoS::AtLeastOnce, false)),
    ("1:100 of QoS 0", || fan_out(100)),
    ("+ filters among 1,000, QoS 0", wild),
];

const PAYLOAD: [u8; 64] = [0x62; 64];
const TURNS: u64 = 50;
const CLIENTS: usize = 10;
/// Messages of one publisher in a turn; what a client may have under way.
const AT_ONCE: u16 = 20;

/// So many PUBLISH packets, with packet ids from 1 on.
fn publishes(topic: &str, qos: QoS, messages: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in 1..=messages {
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { id };
        let parts = PublishParts {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: 0,
            properties: &[],
            payload: &PAYLOAD,
        };
        let frame = encode_publish(&parts, Version::V311, &mut bytes);
        if let Some(at) = frame.packet_id_at {
            bytes[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
    }
    bytes
}

fn decode_publish() -> u64 {
    let bytes = publishes("site/7/line/3/state", QoS::AtLeastOnce, 1000);
    counted_decode(&bytes)
}

#[inline(never)]
fn counted_decode(mut bytes: &[u8]) -> u64 {
    let mut packets = 0;
    while let Ok(Decoded::Packet { packet, len }) = decode(bytes, Some(Version::V311), 1 << 20) {
        assert!(matches!(black_box(&packet), Packet::Publish(_)));
        bytes = &bytes[len..];
        packets += 1;
    }
    packets
}

fn encode() -> u64 {
    let mut out = Vec::with_capacity(1 << 20);
    counted_encode(&mut out)
}

#[inline(never)]
fn counted_encode(out: &mut Vec<u8>) -> u64 {
    for _ in 0..1000 {
        let parts = PublishParts {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: black_box("site/7/line/3/state"),
            packet_id: 0,
            properties: &[],
            payload: black_box(&PAYLOAD),
        };
        let _frame = encode_publish(&parts, Version::V311, out);
    }
    1000
}

fn match_cold() -> u64 {
    let mut index = Index::new();
    for number in 0..10_000_u32 {
        let (site, line) = (number % 100, number / 100);
        let filter = match number % 3 {
            0 => format!("site/{site}/line/{line}/state"),
            1 => format!("site/{site}/+/{line}/state"),
            _ => format!("site/+/line/{line}/{site}"),
        };
        let filter = Filter::parse(&filter).expect("a filter");
        index.insert(Namespace::default(), filter, number, ());
    }
    let topics: Vec<String> = (0..1000)
        .map(|number| format!("site/{}/line/{}/state", number % 97, number % 89))
        .collect();
    assert!(counted_matches(&index, &topics) > 500);
    1000
}

#[inline(never)]
fn counted_matches(index: &Index<u32, ()>, topics: &[String]) -> usize {
    let mut found = 0;
    for topic in topics {
        let topic = TopicName::parse(topic).expect("a topic");
        index.matches(Namespace::default(), topic, |_, ()| found += 1);
    }
    found
}

/// As many publishers as subscribers, a topic each.
fn pairs(qos: QoS, clean: bool) -> u64 {
    let mut node = Node::new();
    let publishers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let topic = format!("line/{number}/state");
            let subscriber = node.connect(&format!("s{number}"), clean);
            node.subscribe(subscriber, &topic, qos);
            let publisher = node.connect(&format!("p{number}"), true);
            (publisher, publishes(&topic, qos, AT_ONCE))
        })
        .collect();
    go(&mut node, &publishers, 1)
}

fn fan_out(subscribers: usize) -> u64 {
    let mut node = Node::new();
    for number in 0..subscribers {
        let subscriber = node.connect(&format!("s{number}"), true);
        node.subscribe(subscriber, "line/state", QoS::AtMostOnce);
    }
    let publisher = node.connect("p", true);
    let publishes = publishes("line/state", QoS::AtMostOnce, AT_ONCE);
    go(&mut node, &[(publisher, publishes)], subscribers)
}

/// Ten groups of publishers and subscribers, and filters that nearly match.
fn wild() -> u64 {
    let mut node = Node::new();
    let subscribers: Vec<_> =
        (0..50).map(|number| node.connect(&format!("s{number}"), true)).collect();
    for (number, subscriber) in subscribers.iter().enumerate() {
        node.subscribe(*subscriber, &format!("{}/+/+", number % 10), QoS::AtMostOnce);
    }
    for number in 0..1000 {
        let filter = format!("{}/+/other{number}", number % 10);
        node.subscribe(subscribers[number % 50], &filter, QoS::AtMostOnce);
    }
    let publishers: Vec<_> = (0..50)
        .map(|number| {
            let id = node.connect(&format!("p{number}"), true);
            let to =
                |topic| publishes(&format!("{}/{number}/{topic}", number % 10), QoS::AtMostOnce, 2);
            (id, (0..10).flat_map(to).collect())
        })
        .collect();
    go(&mut node, &publishers, 5)
}

/// Turns in which each publisher says what it has; the first of them makes what the others use
/// again.
fn go(node: &mut Node, publishers: &[(ConnectionId, Vec<u8>)], receivers: usize) -> u64 {
    node.delivered = 0;
    for _ in 0..TURNS {
        for (publisher, bytes) in publishers {
            node.counted_bytes(*publisher, bytes);
        }
        node.counted_turn();
        node.let_clients_answer();
    }
    let receivers = u64::try_from(receivers).unwrap_or(u64::MAX);
    let published = TURNS * u64::from(AT_ONCE) * publishers.len() as u64;
    assert_eq!(node.delivered, published * receivers, "each message comes to each receiver");
    node.delivered
}
