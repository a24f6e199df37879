//! Whole nodes under scripts of packets, cuts, waits, held reports and crashes.

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
use bellbird_core::{AutoSubscription, Config, GroupStrategy, Memory, Profile, Rewrite, Terms};

use super::node::Node;
use super::segment::NOW;
use crate::allocation::measure;
use crate::outcome::{Outcome, rough};

/// A script: the first byte chooses the node, then each step is a byte and what belongs to it.
/// Every client is sent whole packets of its version, every delivery is somewhere, and a start
/// from what was stored succeeds on any number of shards.
pub(super) fn shard(bytes: &[u8]) -> Outcome {
    let Some((head, mut rest)) = bytes.split_first() else { return Outcome::NONE };
    let config = config(*head);
    let mut node = Node::start(config.clone(), has_users(*head), Vec::new(), NOW);
    let mut places: [Option<usize>; CLIENTS] = [None; CLIENTS];
    let mut crashes = 0;
    while let Some((step, behind)) = rest.split_first() {
        rest = behind;
        let place = &mut places[usize::from(step % 8) % CLIENTS];
        match step >> 3 {
            0 => {
                let len = packet_len(rest);
                let (packet, behind) = rest.split_at(len);
                rest = behind;
                let number = *place.get_or_insert_with(|| node.open());
                let (_, allocated) = measure(|| node.send(number, packet));
                assert!(allocated.largest <= ALLOCATION_BYTES_MAX, "{allocated:?}");
            }
            1 => {
                if let Some(number) = place.take() {
                    node.cut(number);
                }
            }
            2 => node.wait(1 << (step % 8)),
            3 => match step % 8 {
                0 => node.hold_log = true,
                1 => {
                    node.hold_log = false;
                    node.store(usize::MAX);
                }
                2 => node.store(1),
                3 => node.hold_applied = true,
                4 => {
                    node.hold_applied = false;
                    node.report_applied();
                }
                5 => node.kick("c"),
                6 => node.say(b"up"),
                _ => node.reload(|config| config.queue_messages_max = 2),
            },
            4 | 5 => {
                if let Some(number) = place {
                    node.set_deaf(*number, step >> 3 == 4);
                }
            }
            6 => {
                if crashes < CRASHES_MAX {
                    node = node.crash();
                    places = [None; CLIENTS];
                    crashes += 1;
                }
            }
            7 if step % 8 < 4 => node.memory_is(Memory::ALL[usize::from(step % 8)]),
            7 => {
                if let Some(number) = place {
                    node.shed(*number);
                }
            }
            31 => node.end_session("c"),
            _ => node.wait(u64::from(*step) << 12),
        }
        node.check_ledger();
    }
    let ledger = node.ledger();
    let seen = node.seen;
    restart(node, &config);
    let dropped = ledger.dropped.map(|count| count.min(1));
    let routed = rough(ledger.routed as usize);
    Outcome::of(&dropped).and(&(routed, ledger.expired.min(1))).and(&crashes).and_bits(seen)
}

/// What one node left is found by others with other numbers of shards, the same each time.
fn restart(mut node: Node, config: &Config) {
    node.hold_log = false;
    node.hold_applied = false;
    node.store(usize::MAX);
    node.report_applied();
    node.stop();
    node.check_ledger();
    let [one, three] = [1, 3].map(|shards| {
        let config = Config { shards, ..config.clone() };
        let node = Node::start(config, false, node.log.clone(), NOW);
        node.check_ledger();
        node.found
    });
    assert_eq!(one, three, "on one shard and on three");
}

/// A node with users also has rewrites and automatic subscriptions.
fn has_users(head: u8) -> bool {
    head & 0x40 != 0
}

fn config(head: u8) -> Config {
    let is_small = head & 8 != 0;
    let small = Terms {
        inflight_max: 2,
        receive_max: 2,
        topic_alias_max: 2,
        packet_bytes_max: 256,
        session_expiry_secs_max: 100,
        profile: Profile::Strict,
        ..Terms::default()
    };
    Config {
        shards: 1 + head % 3,
        listeners: vec![if is_small { small } else { Terms::default() }],
        queue_messages_max: if is_small { 3 } else { 1000 },
        outbox_bytes_max: if is_small { 1024 } else { 1 << 20 },
        retained_messages_max: if is_small { 3 } else { 1000 },
        delayed_messages_max: if is_small { 2 } else { 1000 },
        mailbox_bytes_max: if is_small { 2048 } else { 1 << 20 },
        group_strategy: match head >> 4 & 3 {
            0 | 1 => GroupStrategy::RoundRobin,
            2 => GroupStrategy::Sticky,
            _ => GroupStrategy::Hash,
        },
        queues_at_most_once: head & 0x80 != 0,
        rewrites: if has_users(head) { rewrites() } else { Vec::new() },
        auto_subscriptions: if has_users(head) { auto_subscriptions() } else { Vec::new() },
        ..Config::default()
    }
}

fn rewrites() -> Vec<Rewrite> {
    let rewrite = |from: &str, to: &str| Rewrite {
        publishes: true,
        subscribes: true,
        from: from.into(),
        to: to.into(),
    };
    vec![rewrite("r/+", "a/$1"), rewrite("own/#", "own/%u/%c/$1")]
}

fn auto_subscriptions() -> Vec<AutoSubscription> {
    let subscription = |filter: &str, qos, retain_handling| AutoSubscription {
        filter: filter.into(),
        options: SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: true,
            retain_handling,
        },
    };
    vec![
        subscription("in/%c", QoS::ExactlyOnce, RetainHandling::SendAlways),
        subscription("$share/%u/a/b", QoS::AtLeastOnce, RetainHandling::SendIfNew),
    ]
}

/// How much of the bytes is one packet, by its header; all of them if it says more.
fn packet_len(bytes: &[u8]) -> usize {
    let header = bytes.iter().skip(1).take(4);
    let mut remaining = 0;
    for (at, byte) in header.enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.len().min(2 + at + remaining);
        }
    }
    bytes.len()
}

const CLIENTS: usize = 5;
const CRASHES_MAX: usize = 3;
/// An outbox, and what its growth takes: no packet of an input comes near it.
const ALLOCATION_BYTES_MAX: usize = 1 << 18;
