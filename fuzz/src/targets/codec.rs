//! Packets: whatever decodes is encoded again and means the same, in whatever pieces it came.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use bellbird_codec::{
    DecodeError, Decoded, PACKET_BYTES_MAX, Packet, Properties, PropertyBuffer, Version, decode,
    decode_from_server, peek_version,
};

use crate::allocation::{Allocated, measure};
use crate::outcome::Outcome;
use crate::random::Random;

/// Who sends, and what is known of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sender {
    /// Before CONNECT.
    Stranger,
    Client(Version),
    Server(Version),
}

/// The first packet of a client.
pub(super) fn connect(bytes: &[u8]) -> Outcome {
    let peeked = peek_version(bytes);
    let outcome = one(bytes, Sender::Stranger, u32::MAX);
    if let Ok(Decoded::Packet { packet: Packet::Connect(connect), .. }) =
        decode(bytes, None, u32::MAX)
    {
        assert_eq!(peeked, Some(connect.version));
    }
    outcome.and(&peeked)
}

/// A packet of a client behind CONNECT. The first byte chooses the version and the largest packet.
pub(super) fn client(bytes: &[u8]) -> Outcome {
    let Some((head, rest)) = bytes.split_first() else { return Outcome::NONE };
    one(rest, Sender::Client(version(*head)), packet_bytes_max(*head))
}

/// A packet of a server. The first byte is as in [`client`].
pub(super) fn server(bytes: &[u8]) -> Outcome {
    let Some((head, rest)) = bytes.split_first() else { return Outcome::NONE };
    one(rest, Sender::Server(version(*head)), packet_bytes_max(*head))
}

/// A connection from its first byte on, or that of a server: the same in any segmentation. The
/// first byte chooses the sender, the second one the segments.
pub(super) fn stream(bytes: &[u8]) -> Outcome {
    let [head, seed, rest @ ..] = bytes else { return Outcome::NONE };
    let sender = if head & 4 == 0 { Sender::Stranger } else { Sender::Server(version(*head)) };
    let max = packet_bytes_max(*head);
    let whole = feed(rest, sender, max, |left| left);
    let bytewise = feed(rest, sender, max, |_| 1);
    assert_eq!(whole, bytewise, "byte by byte");
    let mut random = Random::new(u64::from(*seed));
    let segmented = feed(rest, sender, max, |_| 1 + random.below(64));
    assert_eq!(whole, segmented, "in segments");
    let kinds: Vec<u8> = whole.packets.iter().take(6).map(|packet| packet[0] >> 4).collect();
    let end = whole.end.map(|error| discriminant(&error));
    Outcome::of(&(sender, end)).and(&kinds.len()).and_each(kinds.windows(2))
}

fn version(head: u8) -> Version {
    match head & 3 {
        0 => Version::V31,
        1 => Version::V311,
        _ => Version::V5,
    }
}

fn packet_bytes_max(head: u8) -> u32 {
    match head >> 6 {
        0 | 1 => u32::MAX,
        2 => 1 << 20,
        _ => 64,
    }
}

fn step(bytes: &[u8], sender: Sender, max: u32) -> Result<Decoded<'_>, DecodeError> {
    match sender {
        Sender::Stranger => decode(bytes, None, max),
        Sender::Client(version) => decode(bytes, Some(version), max),
        Sender::Server(version) => decode_from_server(bytes, version, max),
    }
}

/// All properties of the first packet.
fn one(bytes: &[u8], sender: Sender, max: u32) -> Outcome {
    let (decoded, allocated) = measure(|| {
        let decoded = step(bytes, sender, max);
        if let Ok(Decoded::Packet { packet, .. }) = &decoded {
            read_lazy(packet);
        }
        decoded
    });
    assert_eq!(allocated, Allocated::default(), "decoding allocates nothing");
    let declared = declared_len(bytes);
    match decoded {
        Ok(Decoded::Packet { packet, len }) => {
            assert_eq!(declared, Some(len));
            assert!(len <= bytes.len() && len <= max as usize);
            // What follows has no say, and a part of it is never enough.
            assert_eq!(step(&bytes[..len], sender, max), decoded);
            let part = &bytes[..len - 1];
            let needed = if declared_len(part).is_some() { len } else { part.len() + 1 };
            assert_eq!(step(part, sender, max), Ok(Decoded::Incomplete { needed }));
            again(&packet, sender);
            Outcome::of(&(sender, 0, features(&packet)))
        }
        Ok(Decoded::Incomplete { needed }) => {
            assert_eq!(needed, declared.unwrap_or(bytes.len() + 1));
            assert!(needed > bytes.len() && needed <= (max as usize).max(5));
            Outcome::of(&(sender, 1, bytes.first().map(|first| first >> 4), declared.is_some()))
        }
        Err(error) => {
            assert!(error.reason().is_error());
            assert!(error.to_string().contains(error.statement()));
            if let DecodeError::PacketTooLarge { bytes } = error {
                assert_eq!(declared, Some(bytes as usize));
                assert!(bytes > max);
            }
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(&[0; 3]);
            if declared.is_some_and(|len| len <= bytes.len()) {
                assert_eq!(step(&longer, sender, max), Err(error), "what follows has no say");
            }
            Outcome::of(&(sender, 2, bytes.first().map(|first| first >> 4), error.statement()))
        }
    }
}

/// Encoded in its version it is the same packet.
fn again(packet: &Packet<'_>, sender: Sender) {
    let version = match (packet, sender) {
        (Packet::Connect(connect), _) => connect.version,
        (_, Sender::Client(version) | Sender::Server(version)) => version,
        (_, Sender::Stranger) => panic!("before CONNECT nothing else is read"),
    };
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    let expected = Decoded::Packet { packet: *packet, len: out.len() };
    assert_eq!(step(&out, sender, u32::MAX), Ok(expected));
    let mut once_more = Vec::new();
    packet.encode(version, &mut once_more);
    assert_eq!(out, once_more);
}

/// The length that the header declares, read in another way than the codec does.
fn declared_len(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for at in 0..4 {
        let byte = *bytes.get(1 + at)?;
        remaining += usize::from(byte & 0x7F) * 128_usize.pow(at as u32);
        if byte < 0x80 {
            assert!(remaining <= PACKET_BYTES_MAX);
            return Some(2 + at + remaining);
        }
    }
    None
}

/// Reads to its end what is read lazily.
fn read_lazy(packet: &Packet<'_>) {
    if let Packet::Subscribe(subscribe) = packet {
        assert_eq!(subscribe.filters.iter().count(), subscribe.filters.len());
    }
    if let Packet::Unsubscribe(unsubscribe) = packet {
        assert_eq!(unsubscribe.filters.iter().count(), unsubscribe.filters.len());
    }
    assert!(properties(packet).into_iter().flatten().count() < PACKET_BYTES_MAX);
}

/// A hash of what kind of packet it is.
fn features(packet: &Packet<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    discriminant(packet).hash(&mut hasher);
    let properties = properties(packet);
    for list in properties {
        let mut buffer = PropertyBuffer::new();
        let mut kinds = 0;
        for property in list {
            buffer.push(property);
            kinds += 1;
        }
        assert_eq!(buffer.as_properties(), list, "properties written one by one");
        let mut ends = list.iter().map(|property| discriminant(&property));
        (kinds.min(3), ends.next(), ends.last()).hash(&mut hasher);
    }
    if let Packet::Connect(connect) = packet {
        (connect.version, connect.will.map(|will| will.qos)).hash(&mut hasher);
        (connect.user_name.is_some(), connect.password.is_some()).hash(&mut hasher);
    }
    if let Packet::Publish(publish) = packet {
        (publish.qos, publish.retain, publish.dup, publish.topic.is_some()).hash(&mut hasher);
    }
    if let Packet::Subscribe(subscribe) = packet {
        subscribe.filters.len().min(3).hash(&mut hasher);
    }
    hasher.finish()
}

fn properties<'a>(packet: &Packet<'a>) -> [Properties<'a>; 2] {
    let none = Properties::default();
    match packet {
        Packet::Connect(connect) => {
            [connect.properties, connect.will.map_or(none, |will| will.properties)]
        }
        Packet::Connack(connack) => [connack.properties, none],
        Packet::Publish(publish) => [publish.properties, none],
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            [ack.properties, none]
        }
        Packet::Subscribe(subscribe) => [subscribe.properties, none],
        Packet::Suback(suback) => [suback.properties, none],
        Packet::Unsubscribe(unsubscribe) => [unsubscribe.properties, none],
        Packet::Unsuback(unsuback) => [unsuback.properties, none],
        Packet::Pingreq | Packet::Pingresp => [none, none],
        Packet::Disconnect(disconnect) => [disconnect.properties, none],
        Packet::Auth(auth) => [auth.properties, none],
    }
}

/// What a stream came to.
#[derive(PartialEq, Eq, Debug)]
struct Read {
    packets: Vec<Vec<u8>>,
    end: Option<DecodeError>,
    left: usize,
}

/// Reads a stream that comes in segments, as a connection does: it tries again only when there is
/// as much as was needed.
fn feed(
    mut bytes: &[u8],
    mut sender: Sender,
    max: u32,
    mut segment: impl FnMut(usize) -> usize,
) -> Read {
    let mut read = Read { packets: Vec::new(), end: None, left: 0 };
    let mut buffer: Vec<u8> = Vec::new();
    let mut needed = 1;
    while !bytes.is_empty() && read.end.is_none() {
        let (now, later) = bytes.split_at(segment(bytes.len()).clamp(1, bytes.len()));
        bytes = later;
        buffer.extend_from_slice(now);
        while buffer.len() >= needed {
            match step(&buffer, sender, max) {
                Ok(Decoded::Packet { packet, len }) => {
                    if let Packet::Connect(connect) = packet {
                        sender = Sender::Client(connect.version);
                    }
                    read.packets.push(buffer.drain(..len).collect());
                    needed = 1;
                }
                Ok(Decoded::Incomplete { needed: more }) => needed = more,
                Err(error) => {
                    read.end = Some(error);
                    return read;
                }
            }
        }
    }
    read.left = buffer.len();
    read
}
