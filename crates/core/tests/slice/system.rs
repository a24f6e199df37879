//! What the node says of itself, and what the operator asks and does.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::permit::Gate;
use bellbird_core::{Cause, Config};

use crate::on_each;
use crate::support::{Answer, Node, Publish};

#[test]
fn what_the_node_says_is_retained_and_never_logged() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let (early, keeper) = (node.connect("early", V311, true), node.connect("k", V5, false));
        for client in [early, keeper] {
            node.subscribe(client, "$SYS/#", ExactlyOnce);
            node.forget(client);
        }
        let everything = node.connect("all", V5, true);
        node.subscribe(everything, "#", AtMostOnce);
        node.forget(everything);
        let logged = node.log.len();
        node.say("$SYS/broker/uptime", "10 seconds");
        node.say("$SYS/broker/uptime", "20 seconds");
        assert_eq!(node.log.len(), logged);
        for client in [early, keeper] {
            node.expect(
                client,
                &["$SYS/broker/uptime=10 seconds", "$SYS/broker/uptime=20 seconds"],
            );
        }
        node.expect(everything, &[]);
        let late = node.connect("late", V311, true);
        node.forget(late);
        node.subscribe(late, "$SYS/broker/#", AtMostOnce);
        node.expect(late, &["suback 1 [0]", "$SYS/broker/uptime=20 seconds retain"]);
        assert_eq!(node.ledger().received, 0);
        node.check_ledger();
    });
}

#[test]
fn nobody_else_says_it() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let reader = node.connect("r", V5, true);
        node.subscribe(reader, "$SYS/#", AtMostOnce);
        node.forget(reader);
        for (version, reason) in [(V5, 135), (V311, 0)] {
            let client = node.connect("liar", version, true);
            node.forget(client);
            node.publish(client, &Publish::new("$SYS/broker/uptime", "0"));
            node.publish(client, &Publish::new("$SYS/broker/uptime", "1").qos1(1).retained());
            node.publish(client, &Publish::new("$SYS", "2").qos2(2));
            let (puback, pubrec) = (format!("puback 1 {reason}"), format!("pubrec 2 {reason}"));
            node.expect(client, &[puback.as_str(), pubrec.as_str()]);
            if version == V311 {
                node.answer(client, Answer::Pubrel, 2);
                node.expect(client, &["pubcomp 2 0"]);
            }
            node.cut(client);
        }
        assert_eq!(node.traffic().publishes_refused, 6);
        node.expect(reader, &[]);
    });
}

/// [MQTT-4.7.2-1], and what a listener may say otherwise; `$SYS` stays the broker's own.
#[test]
fn other_topics_with_a_dollar_are_free_if_so_configured() {
    for reserved_topics in [false, true] {
        let mut config = Config::default();
        config.listeners[0].reserved_topics = reserved_topics;
        let mut node = Node::with(config, Gate::default(), &[]);
        let client = node.connect("c", V5, true);
        node.subscribe(client, "$SYSTEM/#", AtMostOnce);
        node.forget(client);
        node.publish(client, &Publish::new("$SYSTEM/a", "x").qos1(1));
        node.publish(client, &Publish::new("$SYS/a", "y").qos1(2));
        let answers: &[&str] = if reserved_topics {
            &["$SYSTEM/a=x", "puback 1 0", "puback 2 135"]
        } else {
            &["puback 1 135", "puback 2 135"]
        };
        node.expect(client, answers);
    }
}

#[test]
fn a_kick_ends_the_connection_and_keeps_the_session() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let (new, old) = (node.connect("new", V5, false), node.connect("old", V311, true));
        node.subscribe(new, "a", AtLeastOnce);
        node.forget(new);
        assert_eq!(node.traffic().connected, 2);
        for name in ["new", "old", "nobody"] {
            node.kick(name);
        }
        node.expect(new, &["disconnect 0x98"]);
        assert!(!node.is_open(new));
        assert!(!node.is_open(old));
        let traffic = node.traffic();
        assert_eq!(traffic.closed[Cause::Kicked as usize], 2);
        assert_eq!((traffic.opened, traffic.connected), (2, 0));
        let again = node.connect("new", V5, false);
        node.expect(again, &["connack present=true code=0"]);
    });
}

#[test]
fn clients_are_listed_once_each() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V311, true);
        let away = node.connect("away", V5, false);
        node.subscribe(away, "a", AtLeastOnce);
        node.cut(away);
        node.publish(publisher, &Publish::new("a", "xy").qos1(1));
        let mut clients = node.clients();
        clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        let [away, publisher] = &clients[..] else { panic!("{clients:?}") };
        assert_eq!((&*away.client_id, away.connection), ("away", None));
        assert_eq!((away.queued, away.queued_bytes, away.subscriptions), (1, 3, 1));
        assert!(publisher.connection.is_some());
        let traffic = node.traffic();
        assert_eq!((traffic.publishes_received, traffic.payload_bytes_received), ([0, 1, 0], 2));
        assert_eq!((traffic.packets_received(), traffic.packets_sent()), (4, 4));
    });
}
