//! Prints what decoding and encoding a small PUBLISH costs, in nanoseconds per packet.

use std::hint::black_box;
use std::time::Instant;

use bellbird_codec::{
    Decoded, Packet, PacketId, PublishParts, QoS, ReasonCode, Version, decode, encode_puback,
    encode_publish,
};

const ROUNDS: u32 = 5_000_000;
const RUNS: u32 = 7;

fn main() {
    for version in [Version::V311, Version::V5] {
        for (name, qos, topic, properties) in [
            ("qos 0, topic of 12", QoS::AtMostOnce, "sensors/0042", &[][..]),
            ("qos 0, topic of 20", QoS::AtMostOnce, "plant/7/line/3/speed", &[][..]),
            ("qos 1, topic of 12", QoS::AtLeastOnce, "sensors/0042", &[][..]),
            ("qos 0, expiry 60 s", QoS::AtMostOnce, "sensors/0042", &[2, 0, 0, 0, 60][..]),
        ] {
            let parts = PublishParts {
                dup: false,
                qos,
                retain: false,
                topic,
                packet_id: 7,
                properties,
                payload: b"sixteen bytes...",
            };
            let mut packet = Vec::new();
            encode_publish(&parts, version, &mut packet);
            let decoding = cost(|| decode_one(&packet, version));
            let mut out = Vec::with_capacity(1 << 10);
            let encoding = cost(|| {
                out.clear();
                encode_publish(black_box(&parts), version, &mut out);
                black_box(&mut out).len()
            });
            println!("{version:?} {name}: decode {decoding:.1} ns, encode {encoding:.1} ns");
        }
        let mut out = Vec::with_capacity(1 << 10);
        let id = PacketId::new(7).expect("not zero");
        let puback = cost(|| {
            out.clear();
            encode_puback(&mut out, version, black_box(id), ReasonCode::Success);
            black_box(&mut out).len()
        });
        let answer = out.clone();
        let decoding = cost(|| decode_one(&answer, version));
        println!("{version:?} puback: decode {decoding:.1} ns, encode {puback:.1} ns");
    }
}

/// Looks at what a broker looks at, so that nothing is optimised away.
fn decode_one(bytes: &[u8], version: Version) -> usize {
    match &decode(black_box(bytes), Some(version), 1 << 20) {
        Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) => {
            len + black_box(publish).payload.len()
        }
        Ok(Decoded::Packet { packet, len }) => {
            black_box(packet);
            *len
        }
        Ok(Decoded::Incomplete { needed }) => *needed,
        Err(error) => usize::from(error.reason().value()),
    }
}

/// The best of some runs: what the machine can do when left alone.
fn cost(mut step: impl FnMut() -> usize) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut sum = 0_usize;
        for _ in 0..ROUNDS {
            sum = sum.wrapping_add(step());
        }
        black_box(sum);
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    best
}
