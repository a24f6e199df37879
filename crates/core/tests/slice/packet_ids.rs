//! Packet ids of QoS 1 are not given again after a crash, and never before the log knows.

use bellbird_codec::QoS::{self, AtLeastOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::Config;
use bellbird_core::permit::Gate;

use crate::on_each;
use crate::support::{Client, Node, Publish};

fn config(shards: u8) -> Config {
    Config { shards, packet_ids_ahead: 4, ..Config::default() }
}

/// A publisher, and a reader with a subscription that has heard of it.
fn pair(shards: u8, clean: bool, qos: QoS) -> (Node, Client, Client) {
    let mut node = Node::with(config(shards), Gate::default(), &[]);
    let publisher = node.connect("p", V5, true);
    let reader = node.connect("r", V311, clean);
    node.subscribe(reader, "t", qos);
    node.forget(reader);
    (node, publisher, reader)
}

/// A client may acknowledge on its next connection what it had on the last one: that must not end
/// the delivery of something else.
#[test]
fn an_acknowledgement_from_before_a_crash_ends_nothing() {
    on_each(|shards| {
        let (mut node, publisher, reader) = pair(shards, false, AtLeastOnce);
        for (number, id) in [("1", 1), ("2", 2), ("3", 3)] {
            node.publish(publisher, &Publish::new("t", number).qos1(id));
        }
        node.expect(reader, &["t=1 id=1", "t=2 id=2", "t=3 id=3"]);
        node.puback(reader, 1);
        // The block behind the first one was reserved when the first came to its end.
        let mut node = Node::with(config(shards), Gate::default(), &node.log);
        let reader = node.connect("r", V311, false);
        node.expect(reader, &["connack present=true code=0", "t=2 id=9", "t=3 id=10"]);
        node.puback(reader, 2);
        node.puback(reader, 3);
        assert_eq!(node.holdings().inflight, 2);
        node.puback(reader, 9);
        node.puback(reader, 10);
        assert_eq!(node.holdings().inflight, 0);
        // Nobody came in this life: the next one begins where this one did.
        let node = Node::with(config(shards), Gate::default(), &node.log);
        let mut node = Node::with(config(shards), Gate::default(), &node.log);
        let publisher = node.connect("p", V5, true);
        let reader = node.connect("r", V311, false);
        node.publish(publisher, &Publish::new("t", "4").qos1(1));
        node.expect(reader, &["connack present=true code=0", "t=4 id=17"]);
        node.check_ledger();
    });
}

/// What stands before a delivery of QoS 2 is sent again with an id of its own: that one is given
/// to nothing else so soon either, since its client may acknowledge it twice.
#[test]
fn ids_that_a_start_gives_are_behind_those_that_follow() {
    on_each(|shards| {
        let (mut node, publisher, _reader) = pair(shards, false, ExactlyOnce);
        node.publish(publisher, &Publish::new("t", "1").qos1(1));
        node.publish(publisher, &Publish::new("t", "2").qos2(2));
        let mut node = Node::with(config(shards), Gate::default(), &node.log);
        let publisher = node.connect("p", V5, true);
        let reader = node.connect("r", V311, false);
        node.expect(reader, &["connack present=true code=0", "t=1 id=9 dup", "t=2 id=2:2 dup"]);
        node.puback(reader, 9);
        node.publish(publisher, &Publish::new("t", "3").qos1(1));
        node.expect(reader, &["t=3 id=10"]);
        node.puback(reader, 9);
        assert_eq!(node.holdings().inflight, 2);
        // What was given is reserved: the next start goes on behind it.
        let mut node = Node::with(config(shards), Gate::default(), &node.log);
        let reader = node.connect("r", V311, false);
        let again = ["connack present=true code=0", "t=2 id=2:2 dup", "t=3 id=14"];
        node.expect(reader, &again);
    });
}

#[test]
fn who_has_used_all_ids_that_the_log_knows_waits_for_it() {
    on_each(|shards| {
        let (mut node, publisher, reader) = pair(shards, false, AtLeastOnce);
        node.cut(reader);
        for number in 1..=10 {
            node.publish(publisher, &Publish::new("t", &number.to_string()).qos1(1));
        }
        node.hold_log = true;
        let reader = node.connect("r", V311, false);
        node.store(2);
        let first = ["connack present=true code=0", "t=1 id=1", "t=2 id=2", "t=3 id=3", "t=4 id=4"];
        node.expect(reader, &first);
        node.store(1);
        node.expect(reader, &["t=5 id=5", "t=6 id=6", "t=7 id=7", "t=8 id=8"]);
        // What is acknowledged makes room, and no ids.
        node.puback(reader, 1);
        node.expect(reader, &[]);
        node.store(1);
        node.expect(reader, &["t=9 id=9", "t=10 id=10"]);
        node.check_ledger();
    });
}

/// What the log does not know of the session it does not have to know of its packet ids.
#[test]
fn a_session_that_ends_with_its_connection_waits_for_nothing() {
    on_each(|shards| {
        let (mut node, publisher, reader) = pair(shards, true, AtLeastOnce);
        let records = node.log.len();
        for id in 1..=20 {
            node.publish(publisher, &Publish::new("t", "x").qos1(1));
            node.expect(reader, &[&format!("t=x id={id}")]);
        }
        assert_eq!(node.log.len(), records);
    });
}
