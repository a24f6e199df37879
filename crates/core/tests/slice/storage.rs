//! A disk that is full or has failed, and a log that nobody waits for without end.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{QoS, Will};
use bellbird_core::Storage::{Failed, Full, Ready};
use bellbird_core::permit::Gate;
use bellbird_core::{Cause, Config, DropReason};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::{Node, Publish, connect, connect_with_will};

/// A node where somebody with a persistent session is away who wants all of `t`.
fn node(shards: u8) -> Node {
    let mut node = Node::new(shards);
    let away = node.connect("away", V311, false);
    node.subscribe(away, "t", ExactlyOnce);
    node.cut(away);
    node
}

fn will(qos: QoS) -> Will<'static> {
    let topic = TopicName::parse("t").unwrap();
    let properties = bellbird_codec::Properties::default();
    Will { topic, payload: b"will", qos, retain: false, properties }
}

#[test]
fn acknowledgements_are_held_and_come_in_their_order() {
    on_each(|shards| {
        let mut node = node(shards);
        let (publisher, live) = (node.connect("p", V311, true), node.connect("live", V5, true));
        node.subscribe(live, "#", AtMostOnce);
        node.forget(publisher);
        node.forget(live);
        node.storage_is(Full);
        node.hold_log = true;
        node.publish(publisher, &Publish::new("t", "1").qos1(1));
        node.publish(publisher, &Publish::new("t", "2").qos2(2));
        // It needs no disk, and waits for its turn.
        node.publish(publisher, &Publish::new("else", "3").qos1(3));
        node.publish(publisher, &Publish::new("t", "4"));
        node.expect(publisher, &[]);
        node.expect(live, &["t=1", "t=2", "else=3", "t=4"]);
        assert_eq!(node.unstored(), 0, "nothing is handed out");
        node.storage_is(Ready);
        assert_eq!(node.unstored(), 2);
        node.expect(publisher, &[]);
        node.store(2);
        node.expect(publisher, &["puback 1 0", "pubrec 2 0", "puback 3 0"]);
        node.hold_log = false;
        let back = node.connect("away", V311, false);
        node.expect(back, &["connack present=true code=0", "t=1 id=1", "t=2 id=2:2"]);
        node.check_ledger();
    });
}

#[test]
fn clients_of_5_0_are_refused_before_anybody_has_the_message() {
    on_each(|shards| {
        let mut node = node(shards);
        let (publisher, live) = (node.connect("p", V5, true), node.connect("live", V5, true));
        node.subscribe(live, "#", AtMostOnce);
        node.forget(publisher);
        node.forget(live);
        node.storage_is(Full);
        node.publish(publisher, &Publish::new("t", "1").qos1(1));
        node.publish(publisher, &Publish::new("t", "2").qos2(2));
        node.publish(publisher, &Publish::new("r", "3").qos1(3).retained());
        node.publish(publisher, &Publish::new("$delayed/1/x", "4").qos1(4));
        node.publish(publisher, &Publish::new("$delayed/1/x", "5"));
        node.publish(publisher, &Publish::new("r", "6").retained());
        let refused = ["puback 1 151", "pubrec 2 151", "puback 3 151", "puback 4 151"];
        node.expect(publisher, &refused);
        node.expect(live, &["r=6"]);
        assert_eq!(node.retained().messages, 0);
        let traffic = node.traffic();
        assert_eq!((traffic.storage_refused, traffic.unstored), (4, 2));
        node.storage_is(Ready);
        node.publish(publisher, &Publish::new("t", "7").qos2(2));
        node.expect(publisher, &["pubrec 2 0"]);
        node.expect(live, &["t=7"]);
    });
}

#[test]
fn what_is_withheld_is_bounded() {
    let mut node = node(1);
    let publisher = node.connect("p", V311, true);
    node.forget(publisher);
    node.storage_is(Full);
    let large = "x".repeat(1_000_000);
    for id in 1..=20 {
        node.publish(publisher, &Publish::new("t", &large).qos1(id));
    }
    let pings = |node: &mut Node| node.send(publisher, &bellbird_codec::PINGREQ);
    pings(&mut node);
    // The eighteenth is not taken, and what is behind it is not read.
    node.expect(publisher, &[]);
    node.hold_log = true;
    node.storage_is(Ready);
    assert_eq!(node.unstored(), 20);
    node.store(20);
    let mut expected: Vec<String> = (1..=20).map(|id| format!("puback {id} 0")).collect();
    expected.insert(0, "pingresp".into());
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    node.expect_in_any_order(publisher, &expected);
}

#[test]
fn wills_wait_for_room() {
    on_each(|shards| {
        let mut node = node(shards);
        let mortal = node.open(V5);
        node.send(mortal, &connect_with_will("m", V5, true, 0, will(AtLeastOnce)));
        node.storage_is(Full);
        node.hold_log = true;
        node.cut(mortal);
        assert_eq!(node.unstored(), 0);
        node.storage_is(Ready);
        // Its end is told after it.
        assert_eq!(node.unstored(), 1);
        node.hold_log = false;
        node.store(9);
        let back = node.connect("away", V311, false);
        node.expect(back, &["connack present=true code=0", "t=will id=1"]);
    });
}

#[test]
fn nobody_waits_for_ever_nor_too_short() {
    on_each(|shards| {
        let config = Config { shards, hold_secs: 30, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let away = node.connect("away", V311, false);
        node.subscribe(away, "t", AtLeastOnce);
        node.cut(away);
        let first = node.connect("a", V5, false);
        let (second, other) = (node.connect("b", V311, true), node.connect("c", V5, true));
        for client in [first, second, other] {
            node.forget(client);
        }
        node.hold_log = true;
        node.publish(first, &Publish::new("t", "1").qos1(1));
        node.wait(20);
        node.publish(second, &Publish::new("t", "2").qos1(1));
        let late = node.open(V5);
        node.send(late, &connect("late", V5, false, 100));
        node.wait(9);
        assert!(node.is_open(first));
        node.wait(3);
        node.expect(first, &["disconnect 0x83"]);
        assert!(!node.is_open(first));
        assert!(node.is_open(second) && node.is_open(late));
        node.wait(20);
        assert!(!node.is_open(second) && !node.is_open(late));
        assert!(node.is_open(other), "who waits for nothing stays");
        assert_eq!(node.traffic().closed[Cause::Storage as usize], 3);
        for (version, code) in [(V5, 0x88), (V311, 3)] {
            let next = node.open(version);
            node.send(next, &connect("late", version, false, 100));
            node.expect(next, &[&format!("connack present=false code={code}")]);
        }
        let unkept = node.connect("unkept", V5, true);
        node.expect(unkept, &["connack present=false code=0"]);
        // What was taken is stored all the same.
        node.hold_log = false;
        node.store(99);
        let late = node.connect("late", V5, false);
        node.expect(late, &["connack present=true code=0"]);
        let back = node.connect("away", V311, false);
        node.expect(back, &["connack present=true code=0", "t=1 id=1", "t=2 id=2"]);
        let again = node.connect("a", V5, false);
        node.expect(again, &["connack present=true code=0"]);
    });
}

#[test]
fn whoever_is_held_for_want_of_room_is_told_so() {
    let config = Config { hold_secs: 5, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    let away = node.connect("away", V311, false);
    node.subscribe(away, "t", AtLeastOnce);
    node.cut(away);
    let (old, new) = (node.connect("old", V311, true), node.connect("new", V5, true));
    for client in [old, new] {
        node.forget(client);
    }
    node.hold_log = true;
    node.publish(new, &Publish::new("t", "1").qos1(1));
    node.storage_is(Full);
    node.publish(old, &Publish::new("t", "2").qos1(1));
    node.wait(7);
    node.expect(new, &["disconnect 0x97"]);
    assert!(!node.is_open(old));
    node.storage_is(Ready);
    node.hold_log = false;
    node.store(99);
    let back = node.connect("away", V311, false);
    node.expect(back, &["connack present=true code=0", "t=1 id=1", "t=2 id=2"]);
}

#[test]
fn what_needs_no_disk_goes_on_after_a_failure() {
    on_each(|shards| {
        let mut node = node(shards);
        let (live, kept) = (node.connect("live", V5, true), node.connect("kept", V5, false));
        node.subscribe(live, "#", AtMostOnce);
        node.subscribe(kept, "u", AtLeastOnce);
        let (new, old) = (node.connect("new", V5, true), node.connect("old", V311, true));
        let mortal = node.open(V5);
        node.send(mortal, &connect_with_will("m", V5, true, 0, will(AtLeastOnce)));
        for client in [live, kept, new, old] {
            node.forget(client);
        }
        node.hold_log = true;
        node.storage_is(Failed);
        node.publish(new, &Publish::new("t", "1").qos1(1));
        node.publish(new, &Publish::new("t", "2").qos2(2));
        node.publish(new, &Publish::new("else", "3").qos1(3));
        node.publish(new, &Publish::new("u", "4"));
        node.expect(new, &["puback 1 131", "pubrec 2 131", "puback 3 0"]);
        node.expect(live, &["else=3", "u=4"]);
        node.expect(kept, &["u=4"]);
        node.publish(old, &Publish::new("t", "5").qos1(1));
        assert!(!node.is_open(old));
        node.subscribe(kept, "v", AtLeastOnce);
        node.unsubscribe(kept, "u");
        node.expect(kept, &["suback 1 [131]", "unsuback 2 [131]"]);
        for (version, code) in [(V5, 0x88), (V311, 3)] {
            let late = node.open(version);
            node.send(late, &connect("late", version, false, 100));
            node.expect(late, &[&format!("connack present=false code={code}")]);
        }
        // A will is said to those who are there.
        node.cut(mortal);
        node.expect(live, &["t=will"]);
        assert_eq!(node.ledger().dropped[DropReason::NotStored as usize], 1);
        node.check_ledger();
        assert_eq!(node.unstored(), 0, "the log hears of nothing");
    });
}
