//! Packets with damage: decoding never panics, and what it accepts survives encoding.

use crate::vectors::{self, decode_as};
use bellbird_codec::{Decoded, Packet};

const MUTATED_PACKETS: usize = 200_000;
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

#[test]
fn damaged_packets_never_panic_and_accepted_ones_survive_encoding() {
    let vectors = vectors::all();
    let mut random = Random(SEED);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..MUTATED_PACKETS {
        let vector = &vectors[random.below(vectors.len())];
        let mut bytes = vector.bytes.to_vec();
        for _ in 0..=random.below(3) {
            damage(&mut bytes, &mut random);
        }
        match decode_as(&bytes, vector.version, vector.from) {
            Ok(Decoded::Packet { packet, len }) => {
                accepted += 1;
                assert!(len <= bytes.len());
                read_all(&packet);
                let version = match packet {
                    Packet::Connect(connect) => connect.version,
                    _ => vector.version,
                };
                let mut out = Vec::new();
                packet.encode(version, &mut out);
                let again = decode_as(&out, version, vector.from);
                let expected = Decoded::Packet { packet, len: out.len() };
                assert_eq!(again, Ok(expected), "round {round}: {bytes:02X?}");
            }
            Ok(Decoded::Incomplete { needed }) => assert!(needed > bytes.len()),
            Err(error) => {
                refused += 1;
                assert!(error.reason().is_error());
                assert!(error.to_string().contains(error.statement()));
            }
        }
    }
    // The damage must be neither too light nor too heavy to show anything.
    assert!(accepted > MUTATED_PACKETS / 20, "{accepted}");
    assert!(refused > MUTATED_PACKETS / 20, "{refused}");
}

/// Everything that is read lazily is read to its end.
fn read_all(packet: &Packet<'_>) {
    match packet {
        Packet::Connect(connect) => {
            check_properties(connect.properties);
            if let Some(will) = connect.will {
                check_properties(will.properties);
            }
        }
        Packet::Publish(publish) => check_properties(publish.properties),
        Packet::Subscribe(subscribe) => {
            assert_eq!(subscribe.filters.iter().count(), subscribe.filters.len());
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.filters.iter().count(), unsubscribe.filters.len());
        }
        _ => {}
    }
}

fn check_properties(properties: bellbird_codec::Properties<'_>) {
    let mut buffer = bellbird_codec::PropertyBuffer::new();
    for property in properties {
        buffer.push(property);
    }
    assert_eq!(buffer.as_properties(), properties);
}

/// Changes, inserts, removes or repeats a few bytes; now and then mends the length, so that the
/// damage is met behind the header.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.byte(),
        2 => bytes.insert(at, random.byte()),
        3 if bytes.len() > 2 => drop(bytes.remove(at)),
        4 => bytes.extend_from_within(at..),
        _ => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
    }
    if random.below(4) != 0 && bytes.len() > 2 && bytes.len() < 130 {
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    }
}

/// A xorshift generator: the same seed, the same packets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
