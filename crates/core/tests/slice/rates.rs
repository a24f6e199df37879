//! How much may be published in a second, and what becomes of whoever publishes more.

use bellbird_codec::QoS::AtMostOnce;
use bellbird_codec::Version::{V5, V311};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, OverRate, Rates, Terms};

use crate::on_each;
use crate::support::{Client, Node, Publish};

fn messages(messages_per_sec: u32) -> Rates {
    Rates { messages_per_sec, ..Rates::default() }
}

fn bytes(bytes_per_sec: u32) -> Rates {
    Rates { bytes_per_sec, ..Rates::default() }
}

fn node(shards: u8, terms: Terms, rates: Rates) -> Node {
    let config = Config { shards, listeners: vec![terms], rates, ..Config::default() };
    Node::with(config, Gate::default(), &[])
}

/// Publishes so many at once, with packet ids from 1 on.
fn publish(node: &mut Node, client: Client, count: u16) {
    for id in 1..=count {
        node.publish(client, &Publish::new("t", &id.to_string()).qos1(id));
    }
}

fn acknowledged(from: u16, to: u16) -> Vec<String> {
    (from..=to).map(|id| format!("puback {id} 16")).collect()
}

fn expect(node: &mut Node, client: Client, expected: &[String]) {
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    node.expect(client, &expected);
}

#[test]
fn a_client_waits_and_loses_nothing() {
    on_each(|shards| {
        let terms = Terms { client_rates: messages(5), ..Terms::default() };
        let mut node = node(shards, terms, Rates::default());
        let (hasty, other) = (node.connect("h", V5, true), node.connect("o", V5, true));
        node.forget(hasty);
        node.forget(other);
        publish(&mut node, hasty, 14);
        expect(&mut node, hasty, &acknowledged(1, 6));
        publish(&mut node, other, 3);
        expect(&mut node, other, &acknowledged(1, 3));
        node.wait(1);
        expect(&mut node, hasty, &acknowledged(7, 11));
        node.wait(5);
        expect(&mut node, hasty, &acknowledged(12, 14));
        assert!(node.traffic().pauses > 0);
        node.check_ledger();
    });
}

#[test]
fn bytes_are_counted_as_well() {
    let terms = Terms { client_rates: bytes(100), ..Terms::default() };
    let mut node = node(1, terms, Rates::default());
    let client = node.connect("c", V5, true);
    node.forget(client);
    let large = "x".repeat(499);
    node.publish(client, &Publish::new("t", &large).qos1(1));
    node.publish(client, &Publish::new("t", "small").qos1(2));
    expect(&mut node, client, &acknowledged(1, 1));
    node.wait(3);
    node.expect(client, &[]);
    node.wait(2);
    expect(&mut node, client, &acknowledged(2, 2));
}

#[test]
fn a_listener_and_the_node_have_rates_of_all() {
    for is_node in [false, true] {
        let rates = messages(4);
        let of_listener = if is_node { Rates::default() } else { rates };
        let terms = Terms { listener_rates: of_listener, ..Terms::default() };
        let mut node = node(1, terms, if is_node { rates } else { Rates::default() });
        let (one, two) = (node.connect("1", V5, true), node.connect("2", V5, true));
        node.forget(one);
        node.forget(two);
        publish(&mut node, one, 3);
        publish(&mut node, two, 3);
        expect(&mut node, one, &acknowledged(1, 3));
        expect(&mut node, two, &acknowledged(1, 2));
        node.wait(2);
        expect(&mut node, two, &acknowledged(3, 3));
    }
}

#[test]
fn who_is_not_to_wait_is_disconnected() {
    let check = |client_rates: Rates, version, expected: &[&str]| {
        let over_rate = OverRate::Disconnect;
        let terms = Terms { client_rates, over_rate, ..Terms::default() };
        let mut node = node(1, terms, Rates::default());
        let client = node.connect("c", version, true);
        node.forget(client);
        for _ in 0..3 {
            node.publish(client, &Publish::new("t", "0123456789"));
        }
        node.expect(client, expected);
        assert!(!node.is_open(client));
    };
    check(messages(1), V5, &["disconnect 0x96"]);
    check(messages(1), V311, &[]);
    check(bytes(11), V5, &["disconnect 0x97"]);
}

/// A client that waits for its pace is alive, and may say so.
#[test]
fn a_ping_is_answered_meanwhile() {
    let terms = Terms { client_rates: messages(1), ..Terms::default() };
    let mut node = node(1, terms, Rates::default());
    let client = node.connect("c", V311, true);
    node.subscribe(client, "t", AtMostOnce);
    node.forget(client);
    for payload in ["1", "2", "3"] {
        node.publish(client, &Publish::new("t", payload));
    }
    node.expect(client, &["t=1", "t=2"]);
    assert!(node.is_held(client));
    node.ping_ahead(client);
    node.expect(client, &["pingresp"]);
    node.wait(2);
    node.expect(client, &["t=3"]);
}
