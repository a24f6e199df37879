//! QoS 2, both ways, through reconnections and restarts at each step.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{Property, PropertyBuffer};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, Terms};

use crate::on_each;
use crate::support::Answer::{Pubcomp, Pubrec, Pubrel, Refused};
use crate::support::{Client, Node, Publish, connect_with};

/// A subscriber with QoS 2 and a publisher, both forgotten what they were told so far.
fn pair(node: &mut Node, keep: bool) -> (Client, Client) {
    let publisher = node.connect("p", V5, !keep);
    let reader = node.connect("r", V5, !keep);
    node.subscribe(reader, "t", ExactlyOnce);
    node.forget(publisher);
    node.forget(reader);
    (publisher, reader)
}

/// [MQTT-4.3.3-1] to -12, for sessions that end with their connection and for those that do not.
#[test]
fn a_message_goes_once_in_and_once_out() {
    on_each(|shards| {
        for keep in [false, true] {
            let mut node = Node::new(shards);
            let (publisher, reader) = pair(&mut node, keep);
            let publish = Publish::new("t", "x").qos2(7);
            node.publish(publisher, &publish);
            node.expect(publisher, &["pubrec 7 0"]);
            node.expect(reader, &["t=x id=2:1"]);
            // Again before PUBREL, any number of times: PUBREC, and no second delivery
            // [MQTT-4.3.3-10].
            for _ in 0..2 {
                node.publish(publisher, &Publish { dup: true, ..publish });
                node.expect(publisher, &["pubrec 7 0"]);
            }
            node.answer(publisher, Pubrel, 7);
            node.expect(publisher, &["pubcomp 7 0"]);
            // Nothing waits for it any more [MQTT-4.3.3-11].
            node.answer(publisher, Pubrel, 7);
            node.expect(publisher, &["pubcomp 7 146"]);
            node.expect(reader, &[]);
            node.answer(reader, Pubrec, 1);
            node.expect(reader, &["pubrel 1 0"]);
            node.answer(reader, Pubrec, 1);
            node.expect(reader, &["pubrel 1 0"]);
            assert_eq!(node.ledger().done, 0);
            node.answer(reader, Pubcomp, 1);
            node.answer(reader, Pubrec, 1);
            node.expect(reader, &["pubrel 1 146"]);
            assert_eq!(node.ledger().done, 1);
            // The same id is a new message now [MQTT-4.3.3-12], whatever DUP says.
            node.publish(publisher, &Publish { dup: true, payload: "y", ..publish });
            node.expect(publisher, &["pubrec 7 0"]);
            node.expect(reader, &["t=y id=2:2"]);
            node.check_ledger();
        }
    });
}

/// [MQTT-3.8.4-8]: the lower of published and granted.
#[test]
fn every_qos_meets_every_other() {
    for version in [V311, V5] {
        let mut node = Node::new(1);
        let publisher = node.connect("p", version, true);
        let granted = [AtMostOnce, AtLeastOnce, ExactlyOnce];
        let readers: Vec<Client> = granted
            .iter()
            .map(|qos| {
                let reader = node.connect(&format!("{qos:?}"), version, true);
                node.subscribe(reader, "t", *qos);
                node.expect(
                    reader,
                    &["connack present=false code=0", &format!("suback 1 [{}]", *qos as u8)],
                );
                reader
            })
            .collect();
        node.publish(publisher, &Publish::new("t", "0"));
        node.publish(publisher, &Publish::new("t", "1").qos1(1));
        node.publish(publisher, &Publish::new("t", "2").qos2(2));
        node.expect(readers[0], &["t=0", "t=1", "t=2"]);
        node.expect(readers[1], &["t=0", "t=1 id=1", "t=2 id=2"]);
        node.expect(readers[2], &["t=0", "t=1 id=1", "t=2 id=2:2"]);
        // The last of them is of QoS 2: PUBACK does not end it, PUBREC does not end QoS 1.
        node.puback(readers[2], 2);
        node.answer(readers[2], Pubrec, 2);
        node.expect(readers[2], &["pubrel 2 0"]);
        node.answer(readers[1], Pubcomp, 2);
        node.puback(readers[1], 2);
        node.check_ledger();
    }
}

/// DESIGN: packet id ↔ position is stored before the first send, *released* before PUBREL; the
/// message before PUBREC, its release before PUBCOMP.
#[test]
fn each_step_waits_for_the_log() {
    let mut node = Node::new(1);
    let (publisher, reader) = pair(&mut node, true);
    node.hold_log = true;
    node.publish(publisher, &Publish::new("t", "x").qos2(7));
    // A second one before the first is stored is answered when it is.
    node.publish(publisher, &Publish { dup: true, ..Publish::new("t", "x").qos2(7) });
    node.expect(publisher, &[]);
    node.store(1);
    node.expect(publisher, &["pubrec 7 0"]);
    node.expect(reader, &[]);
    // What comes behind keeps its place, though QoS 1 needs no record of its packet id.
    node.publish(publisher, &Publish::new("t", "y").qos1(8));
    node.answer(publisher, Pubrel, 7);
    node.store(1);
    node.expect(reader, &["t=x id=2:1"]);
    node.expect(publisher, &[]);
    node.store(1);
    node.expect(reader, &["t=y id=2"]);
    node.expect(publisher, &["puback 8 0"]);
    node.store(1);
    node.expect(publisher, &["pubcomp 7 0"]);
    node.answer(reader, Pubrec, 1);
    node.expect(reader, &[]);
    node.store(1);
    node.expect(reader, &["pubrel 1 0"]);
    node.check_ledger();
}

/// [MQTT-4.4.0-1]: PUBLISH with DUP before PUBREC, PUBREL after it, with the same packet id; over
/// a reconnection and over a restart.
#[test]
fn the_exchange_goes_on_where_it_was() {
    on_each(|shards| {
        for restart in [false, true] {
            let mut node = Node::new(shards);
            let (publisher, mut reader) = pair(&mut node, true);
            let again = |node: &mut Node, old: Client| {
                if restart {
                    let config = Config { shards, ..Config::default() };
                    *node = Node::with(config, Gate::default(), &node.log);
                } else {
                    node.cut(old);
                }
                node.connect("r", V5, false)
            };
            node.publish(publisher, &Publish::new("t", "0").qos1(1));
            node.publish(publisher, &Publish::new("t", "x").qos2(2));
            node.publish(publisher, &Publish::new("t", "y").qos2(3));
            node.expect(reader, &["t=0 id=1", "t=x id=2:2", "t=y id=2:3"]);
            node.answer(reader, Pubrec, 2);
            reader = again(&mut node, reader);
            let connack = "connack present=true code=0";
            let id = if restart { 2049 } else { 1 };
            let first = format!("t=0 id={id} dup");
            node.expect(reader, &[connack, &first, "pubrel 2 0", "t=y id=2:3 dup"]);
            node.puback(reader, id);
            node.answer(reader, Pubcomp, 2);
            node.answer(reader, Pubrec, 3);
            node.expect(reader, &["pubrel 3 0"]);
            reader = again(&mut node, reader);
            node.expect(reader, &[connack, "pubrel 3 0"]);
            node.answer(reader, Pubcomp, 3);
            reader = again(&mut node, reader);
            node.expect(reader, &[connack]);
            node.check_ledger();
        }
    });
}

/// [MQTT-4.3.3-10] over a reconnection and over a restart of the publisher's session.
#[test]
fn what_was_received_is_not_received_again() {
    on_each(|shards| {
        for restart in [false, true] {
            let mut node = Node::new(shards);
            let (publisher, reader) = pair(&mut node, true);
            let publish = Publish::new("t", "x").qos2(7);
            node.publish(publisher, &publish);
            node.publish(publisher, &Publish { id: 8, payload: "y", ..publish });
            node.answer(publisher, Pubrel, 8);
            node.answer(reader, Refused, 1);
            node.answer(reader, Refused, 2);
            if restart {
                let config = Config { shards, ..Config::default() };
                node = Node::with(config, Gate::default(), &node.log);
            } else {
                node.cut(publisher);
                node.cut(reader);
            }
            let publisher = node.connect("p", V5, false);
            let reader = node.connect("r", V5, false);
            node.forget(publisher);
            node.publish(publisher, &Publish { dup: true, ..publish });
            node.publish(publisher, &Publish { id: 8, payload: "z", ..publish });
            node.expect(publisher, &["pubrec 7 0", "pubrec 8 0"]);
            node.answer(publisher, Pubrel, 7);
            node.expect(publisher, &["pubcomp 7 0"]);
            let last = if restart { "t=z id=2:2049" } else { "t=z id=2:3" };
            node.expect(reader, &["connack present=true code=0", last]);
        }
    });
}

/// [MQTT-4.4.0-2]: refused is acknowledged. [MQTT-4.3.3-4]: PUBREC does not give a place back.
#[test]
fn the_window_counts_what_is_not_complete() {
    let mut node = Node::new(1);
    let publisher = node.connect("p", V5, true);
    let mut properties = PropertyBuffer::new();
    properties.push(Property::ReceiveMaximum(1));
    let reader = node.open(V5);
    node.send(reader, &connect_with("r", V5, true, 0, &properties));
    node.subscribe(reader, "t", ExactlyOnce);
    node.forget(reader);
    for id in 1..=3 {
        node.publish(publisher, &Publish::new("t", &id.to_string()).qos2(id));
    }
    node.expect(reader, &["t=1 id=2:1"]);
    node.answer(reader, Pubrec, 1);
    node.expect(reader, &["pubrel 1 0"]);
    node.answer(reader, Pubcomp, 1);
    node.expect(reader, &["t=2 id=2:2"]);
    node.answer(reader, Refused, 2);
    node.expect(reader, &["t=3 id=2:3"]);
    node.check_ledger();
}

/// As many open packet ids as Receive Maximum says, and not one more.
#[test]
fn open_receipts_are_bounded() {
    let config = Config {
        listeners: vec![Terms { receive_max: 3, ..Terms::default() }],
        ..Config::default()
    };
    let mut node = Node::with(config, Gate::default(), &[]);
    let publisher = node.connect("p", V5, true);
    node.forget(publisher);
    for id in 1..=4 {
        node.publish(publisher, &Publish::new("t", "x").qos2(id));
    }
    let expected = ["pubrec 1 16", "pubrec 2 16", "pubrec 3 16", "disconnect 0x93"];
    node.expect(publisher, &expected);
}

/// 3.1.1 knows no Receive Maximum: whoever has many packet ids open is read on, for the PUBRELs
/// are behind.
#[test]
fn an_old_client_may_have_any_number_open() {
    let mut node = Node::new(1);
    let mut config = Config::default();
    config.listeners[0].receive_max = 2;
    node.reload(&std::sync::Arc::new(config));
    for version in [V311, V5] {
        let client = node.connect("c", version, true);
        for id in (1..=40).rev() {
            node.publish(client, &Publish::new("a", "x").qos2(id));
        }
        assert_eq!(node.is_open(client), version == V311);
        node.forget(client);
        if version == V311 {
            for id in 1..=40 {
                node.answer(client, Pubrel, id);
                node.expect(client, &[&*format!("pubcomp {id} 0")]);
            }
        }
    }
}
