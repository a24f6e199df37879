//! What one turn and one session cost at the worst: counted, not timed.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::{Packet, PacketId, Properties, Subscribe, SubscribeBuffer, Version};
use bellbird_core::limits::{WALK_NODES, WALKS_PER_TURN};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, Message, MessageId, MessageParts};
use bellbird_topics::{Namespace, TopicName};

use crate::support::{Client, Load, Node, Publish, options, subscribe};

/// Subscribes to filters by the thousand.
fn subscribe_all(node: &mut Node, client: Client, filters: impl Iterator<Item = String>) {
    let all: Vec<String> = filters.collect();
    for filters in all.chunks(1000) {
        let mut buffer = SubscribeBuffer::new();
        for filter in filters {
            buffer.push(filter, options(AtMostOnce));
        }
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).unwrap(),
            properties: Properties::default(),
            filters: buffer.as_filters(),
        });
        let mut bytes = Vec::new();
        packet.encode(Version::V311, &mut bytes);
        node.send(client, &bytes);
    }
    node.forget(client);
}

/// A million subscriptions end at once, of one session and of a thousand: a turn tells the view of
/// a thousand of them, and others are served in between.
#[test]
fn a_million_subscriptions_leave_little_by_little() {
    for sessions in [1, 1000] {
        let each = 1_000_000 / sessions;
        let config = Config { subscriptions_max: each, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let witness = node.connect("w", Version::V311, true);
        node.forget(witness);
        let clients: Vec<Client> = (0..sessions)
            .map(|number| {
                let client = node.connect(&format!("c{number}"), Version::V311, true);
                let filters = (0..each).map(|filter| match filter % 10 {
                    0 => format!("{number}/{filter}/+"),
                    _ => format!("{number}/{filter}"),
                });
                subscribe_all(&mut node, client, filters);
                client
            })
            .collect();
        assert_eq!(node.subscriptions(), 1_000_000);
        node.busiest();
        for client in clients {
            node.cut_unsettled(client);
        }
        let mut turns = 0;
        while node.subscriptions() > 0 {
            node.send_in_turn(witness, &[0xC0, 0]);
            turns += 1;
            assert_eq!(node.seen(witness), turns, "answered in the turn in which it came");
        }
        let Load { changes, .. } = node.busiest();
        assert_eq!((changes, turns), (1024, 1_000_000_usize.div_ceil(1024)));
    }
}

/// A hundred clients ask for a million retained messages and read none: each turn looks at a slice
/// for some of them, and what waits for each is bounded.
#[test]
fn everything_retained_for_a_hundred_who_do_not_read() {
    const RETAINED: u32 = 1_000_000;
    let config = Config { outbox_bytes_max: 64 * 1024, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    let payload = [b'x'; 40];
    for number in 0..RETAINED {
        let topic = format!("r/{}/{}", number / 1000, number % 1000);
        node.retain(Message::new(&MessageParts {
            topic: TopicName::parse(&topic).unwrap(),
            payload: &payload,
            id: MessageId::default(),
            namespace: Namespace::default(),
            qos: AtMostOnce,
            retain: true,
            expires_at: None,
            properties: &[],
        }));
    }
    let witness = node.connect("w", Version::V311, true);
    let clients: Vec<Client> = (0..100)
        .map(|number| {
            let client = node.connect(&format!("c{number}"), Version::V311, true);
            node.forget(client);
            node.stop_reading(client);
            client
        })
        .collect();
    node.forget(witness);
    node.busiest();
    for client in &clients {
        node.send_in_turn(*client, &subscribe(Version::V311, 1, "#", options(AtMostOnce)));
    }
    let mut pings = 0;
    while node.turn() {
        node.send_in_turn(witness, &[0xC0, 0]);
        pings += 1;
        assert_eq!(node.seen(witness), pings, "answered in the turn in which it came");
        // Until the outboxes are full.
        assert!(pings < 200, "it comes to rest");
    }
    // Those whose turn it is, and who has just come.
    assert!(node.busiest().nodes <= (WALKS_PER_TURN + 1) * WALK_NODES);
    for client in &clients {
        // Half of the outbox, then what one slice had found.
        let bytes = node.unsent_bytes(*client);
        assert!((32 * 1024..=64 * 1024).contains(&bytes), "{bytes}");
    }
    // One of them reads, and gets all of it; the others are where they were.
    node.read_again(clients[0]);
    assert_eq!(node.seen(clients[0]), 1 + RETAINED as usize);
    // Two slices meet where the first begins as it reads.
    assert!(node.busiest().nodes <= 2 * WALK_NODES);
    assert!(node.unsent_bytes(clients[1]) <= 64 * 1024);
    node.check_ledger();
}

/// One of a thousand subscribers does not keep up: what waits for it is bounded, what does not fit
/// is counted, and the others get all of it.
#[test]
fn one_slow_subscriber_among_a_thousand() {
    const MESSAGES: u16 = 150;
    for qos in [AtMostOnce, AtLeastOnce] {
        let config =
            Config { outbox_bytes_max: 16 * 1024, queue_messages_max: 50, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let publisher = node.connect("p", Version::V311, true);
        let clients: Vec<Client> = (0..1000)
            .map(|number| {
                let client = node.connect(&format!("c{number}"), Version::V311, true);
                node.subscribe(client, "t", qos);
                node.forget(client);
                client
            })
            .collect();
        let (slow, others) = clients.split_first().unwrap();
        node.stop_reading(*slow);
        let payload = "x".repeat(1000);
        for number in 1..=MESSAGES {
            let publish = Publish::new("t", &payload);
            node.publish(
                publisher,
                &if qos == AtMostOnce { publish } else { publish.qos1(number) },
            );
            assert!(node.unsent_bytes(*slow) <= 16 * 1024 + 1100);
            for client in others {
                assert_eq!(node.seen(*client), 1, "message {number}");
                node.forget(*client);
                if qos == AtLeastOnce {
                    node.puback(*client, number);
                }
            }
        }
        let dropped = usize::try_from(node.ledger().dropped_in_all()).unwrap();
        node.read_again(*slow);
        let mut acknowledged = 0;
        while qos == AtLeastOnce && acknowledged < node.seen(*slow) {
            acknowledged += 1;
            node.puback(*slow, u16::try_from(acknowledged).unwrap());
        }
        assert_eq!(node.seen(*slow) + dropped, MESSAGES.into(), "what is not there was counted");
        // What the outbox takes; at QoS 1 half of it, and what the queue takes.
        let kept = if qos == AtMostOnce { 16 } else { 67 };
        assert_eq!(node.seen(*slow), kept);
        node.check_ledger();
    }
}
