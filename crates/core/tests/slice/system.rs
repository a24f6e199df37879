//! What the node says of itself, and what the operator asks and does.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{Properties, Will};
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::{Cause, Config};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::{Answer, Node, Publish, connect_with_will};

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

/// A bridge of Mosquitto says there whether it is connected, by default; see its documentation of
/// `notifications`.
#[test]
fn but_bridges_say_that_they_are_there() {
    on_each(|shards| {
        let gate = Gate::new(vec![Rule {
            action: Action::Publish,
            who: Who::Everybody,
            filter: "$SYS/broker/connection/evil/state".into(),
            verdict: Verdict::No,
        }]);
        let mut node = Node::with(Config { shards, ..Config::default() }, gate, &[]);
        let reader = node.connect("r", V5, true);
        node.subscribe(reader, "$SYS/#", AtMostOnce);
        node.forget(reader);
        let state = "$SYS/broker/connection/host.name/state";
        for version in [V311, V5] {
            let bridge = node.open(version);
            let will = will(state, b"0");
            node.send(bridge, &connect_with_will("host.name", version, true, 0, will));
            node.forget(bridge);
            node.publish(bridge, &Publish::new(state, "1").qos1(1).retained());
            node.expect(bridge, &["puback 1 0"]);
            node.expect(reader, &[&format!("{state}=1")]);
            assert_eq!((node.retained().messages, node.retained().system_messages), (1, 0));
            node.cut(bridge);
            node.expect(reader, &[&format!("{state}=0")]);
        }
        let client = node.connect("c", V5, true);
        node.forget(client);
        for (id, name) in (1..).zip(["evil/state", "a/b/state", "a", "a/states", "state"]) {
            let topic = format!("$SYS/broker/connection/{name}");
            node.publish(client, &Publish::new(&topic, "1").qos1(id));
            node.expect(client, &[&format!("puback {id} 135")]);
        }
        let refused = node.open(V5);
        let will = will("$SYS/broker/uptime", b"0");
        node.send(refused, &connect_with_will("x", V5, true, 0, will));
        node.expect(refused, &["connack present=false code=144"]);
        node.expect(reader, &[]);
    });
}

fn will<'a>(topic: &'a str, payload: &'a [u8]) -> Will<'a> {
    let topic = TopicName::parse(topic).unwrap();
    Will { qos: AtMostOnce, retain: true, topic, payload, properties: Properties::default() }
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
fn the_end_of_a_session_by_the_operator_outlives_the_node() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let away = node.connect("away", V5, false);
        let here = node.connect("here", V311, false);
        let brief = node.connect("brief", V5, true);
        for client in [away, here, brief] {
            node.subscribe(client, "a", AtLeastOnce);
            node.subscribe(client, "$share/g/b", AtLeastOnce);
            node.subscribe(client, "$exclusive/c", AtLeastOnce);
            node.forget(client);
        }
        node.cut(away);
        let publisher = node.connect("p", V5, true);
        node.forget(publisher);
        node.publish(publisher, &Publish::new("a", "x").qos1(1));
        node.hold_log = true;
        assert!(node.end_session("away"));
        assert!(node.is_ending("away"));
        node.hold_log = false;
        node.store(usize::MAX);
        assert!(!node.is_ending("away"));
        assert!(!node.end_session("away"));
        assert!(!node.end_session("nobody"));
        assert!(node.end_session("here"));
        assert!(node.end_session("brief"));
        for client in [here, brief] {
            assert!(!node.is_open(client));
        }
        node.forget(publisher);
        for (topic, id) in [("a", 2), ("b", 3), ("c", 4)] {
            node.publish(publisher, &Publish::new(topic, "y").qos1(id));
        }
        node.expect(publisher, &["puback 2 16", "puback 3 16", "puback 4 16"]);
        node.check_ledger();
        let config = Config { shards, ..Config::default() };
        let mut again = Node::with(config, Gate::default(), &node.log);
        for name in ["away", "here"] {
            let client = again.connect(name, V5, false);
            again.expect(client, &["connack present=false code=0"]);
        }
    });
}

#[test]
fn what_the_node_says_is_counted_apart() {
    let mut node = Node::new(1);
    let client = node.connect("c", V5, true);
    node.publish(client, &Publish::new("a", "x").retained());
    node.say("$SYS/broker/uptime", "1");
    node.say("$SYS/broker/uptime", "2");
    node.say("$SYS/broker/version", "3");
    assert_eq!((node.retained().messages, node.retained().system_messages), (3, 2));
    node.say("$SYS/broker/version", "");
    assert_eq!((node.retained().messages, node.retained().system_messages), (2, 1));
    node.say("$SYS/broker/uptime", "");
    assert_eq!((node.retained().system_messages, node.retained().system_bytes), (0, 0));
}

#[test]
fn what_the_node_says_takes_no_room_from_clients() {
    let config = Config { retained_messages_max: 1, retained_bytes_max: 10, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    node.say("$SYS/broker/uptime", "1");
    let client = node.connect("c", V5, true);
    node.forget(client);
    node.publish(client, &Publish::new("a", "x").qos1(1).retained());
    node.publish(client, &Publish::new("b", "y").qos1(2).retained());
    node.expect(client, &["puback 1 16", "puback 2 151"]);
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

#[test]
fn what_a_client_spoke_is_not_known_after_a_restart() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let away = node.connect("away", V5, false);
        node.cut(away);
        assert_eq!(node.clients()[0].version, Some(V5));
        let config = Config { shards, ..Config::default() };
        let mut again = Node::with(config, Gate::default(), &node.log);
        assert_eq!(again.clients()[0].version, None);
        again.connect("away", V311, false);
        assert_eq!(again.clients()[0].version, Some(V311));
    });
}

#[test]
fn who_loses_for_a_limit_is_named() {
    on_each(|shards| {
        let config = Config { shards, queue_messages_max: 1, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let away = node.connect("away", V5, false);
        node.subscribe(away, "a", AtLeastOnce);
        node.cut(away);
        let publisher = node.connect("p", V5, true);
        node.publish(publisher, &Publish::new("a", "1").qos1(1));
        assert!(node.losers().is_empty());
        node.publish(publisher, &Publish::new("a", "2").qos1(2));
        assert_eq!(node.losers(), ["away".into()]);
        assert!(node.end_session("away"));
        assert!(node.losers().is_empty());
    });
}
