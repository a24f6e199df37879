//! What is done without while memory is short, and that all of it comes back.

use std::sync::Arc;

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::Memory::{Ample, Exhausted, Short, Tight};
use bellbird_core::permit::Gate;
use bellbird_core::{Cause, Config, DropReason};

use crate::on_each;
use crate::support::{Node, Publish, connect};

const QUOTA_EXCEEDED: &str = "disconnect 0x97";

#[test]
fn slow_clients_get_less_of_qos_0_while_it_is_tight() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V5, true);
        let slow = node.connect("slow", V5, true);
        node.subscribe(slow, "t", AtMostOnce);
        node.stop_reading(slow);
        node.memory_is(Tight);
        let large = "x".repeat(60_000);
        node.publish(publisher, &Publish::new("t", &large));
        node.publish(publisher, &Publish::new("t", &large));
        assert_eq!(
            node.ledger().dropped[DropReason::OutboxFull as usize],
            1,
            "64 KiB are left to it"
        );
        node.memory_is(Ample);
        node.publish(publisher, &Publish::new("t", &large));
        assert_eq!(node.ledger().dropped[DropReason::OutboxFull as usize], 1);
        node.read_again(slow);
        node.check_ledger();
        assert_eq!(node.ledger().done, 2);
    });
}

#[test]
fn nothing_of_qos_0_waits_for_those_away_while_it_is_tight() {
    on_each(|shards| {
        let config = Config { shards, queues_at_most_once: true, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let publisher = node.connect("p", V5, true);
        let away = node.connect("away", V5, false);
        node.subscribe(away, "t", AtMostOnce);
        node.cut(away);
        node.publish(publisher, &Publish::new("t", "kept"));
        node.memory_is(Tight);
        node.publish(publisher, &Publish::new("t", "gone"));
        assert_eq!(node.ledger().dropped[DropReason::Offline as usize], 1);
        let back = node.connect("away", V5, false);
        node.expect(back, &["connack present=true code=0", "t=kept"]);
    });
}

#[test]
fn nothing_new_stays_while_it_is_short() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let client = node.connect("c", V5, false);
        let away = node.connect("away", V311, false);
        node.subscribe(client, "known/#", AtLeastOnce);
        node.cut(away);
        node.forget(client);
        node.memory_is(Short);
        let new = node.connect("new", V5, true);
        let old = node.connect("old", V311, true);
        node.expect(new, &["connack present=false code=137"]);
        node.expect(old, &["connack present=false code=3"]);
        assert!(!node.is_open(new) && !node.is_open(old));
        let back = node.connect("away", V311, false);
        node.expect(back, &["connack present=true code=0"]);
        node.subscribe(client, "other", AtLeastOnce);
        node.subscribe(client, "known/#", AtMostOnce);
        node.expect(client, &["suback 1 [151]", "suback 1 [0]"]);
        node.publish(client, &Publish::new("known/t", "stays").qos1(1).retained());
        node.publish(client, &Publish::new("$delayed/9/known/t", "later").qos1(2));
        node.publish(client, &Publish::new("known/t", "passes").qos1(3));
        node.publish(client, &Publish::new("known/t", "").qos1(4).retained());
        node.expect_in_any_order(
            client,
            &[
                "puback 1 151",
                "puback 2 151",
                "puback 3 0",
                "puback 4 0",
                "known/t=passes",
                "known/t=",
            ],
        );
        node.memory_is(Tight);
        let new = node.connect("new", V5, true);
        node.expect(new, &["connack present=false code=0"]);
        node.subscribe(new, "other", AtLeastOnce);
        node.expect(new, &["suback 1 [1]"]);
    });
}

#[test]
fn no_message_is_taken_in_while_it_is_exhausted() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let new = node.connect("new", V5, true);
        let old = node.connect("old", V311, true);
        let durable = node.connect("durable", V311, false);
        node.subscribe(durable, "t", AtLeastOnce);
        node.cut(durable);
        node.publish(new, &Publish::new("t", "before").qos1(1));
        node.forget(new);
        node.forget(old);
        node.memory_is(Exhausted);
        node.publish(new, &Publish::new("t", "no").qos1(2));
        node.publish(new, &Publish::new("t", "no").qos2(3));
        node.publish(new, &Publish::new("t", "no"));
        node.expect(new, &["puback 2 151", "pubrec 3 151"]);
        node.publish(old, &Publish::new("t", "no").qos1(2));
        node.expect(old, &[]);
        assert!(node.is_open(new) && !node.is_open(old), "an acknowledgement would lie to it");
        // Who is there is served, and what it acknowledges makes room.
        let back = node.connect("durable", V311, false);
        node.expect(back, &["connack present=true code=0", "t=before id=1"]);
        node.puback(back, 1);
        node.memory_is(Ample);
        node.publish(new, &Publish::new("t", "after").qos1(4));
        node.expect(new, &["puback 4 0"]);
        node.expect(back, &["t=after id=2"]);
        node.check_ledger();
        assert_eq!((node.ledger().routed, node.traffic().publishes_refused), (2, 4));
    });
}

#[test]
fn a_connection_that_is_ended_for_memory_keeps_its_session() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V5, true);
        let slow = node.connect("slow", V5, false);
        node.subscribe(slow, "t", AtLeastOnce);
        node.stop_reading(slow);
        node.publish(publisher, &Publish::new("t", "one").qos1(1));
        node.memory_is(Exhausted);
        node.shed(slow);
        assert!(!node.is_open(slow));
        assert_eq!(node.traffic().closed[Cause::Memory as usize], 1);
        node.shed(publisher);
        node.forget(publisher);
        let back = node.connect("slow", V5, false);
        node.expect(back, &["connack present=true code=0", "t=one id=1 dup"]);
        let unknown = node.open(V5);
        node.shed(unknown);
        assert!(!node.is_open(unknown), "one that has not said CONNECT is ended without a word");
        node.expect(unknown, &[]);
    });
}

#[test]
fn a_client_hears_why_its_connection_ends() {
    let mut node = Node::new(1);
    let client = node.connect("c", V5, true);
    node.forget(client);
    node.shed(client);
    node.expect(client, &[QUOTA_EXCEEDED]);
}

#[test]
fn sessions_are_bounded_and_those_that_are_there_come_back() {
    let config = Config { sessions_max: 2, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    let stays = node.connect("stays", V311, false);
    node.cut(stays);
    let leaves = node.connect("leaves", V5, true);
    for (version, code) in [(V311, 3), (V5, 151)] {
        let third = node.connect("third", version, true);
        node.expect(third, &[&*format!("connack present=false code={code}")]);
        assert!(!node.is_open(third));
    }
    let again = node.connect("stays", V311, false);
    node.expect(again, &["connack present=true code=0"]);
    // The place of a session that ends is free, and so is that of one that begins anew.
    node.leave(leaves);
    let third = node.connect("third", V5, true);
    node.expect(third, &["connack present=false code=0"]);
    let anew = node.open(V5);
    node.send(anew, &connect("stays", V5, true, 3600));
    node.expect(anew, &["connack present=false code=0"]);
    node.reload(&Arc::new(Config { sessions_max: 3, ..Config::default() }));
    let fourth = node.connect("fourth", V5, true);
    node.expect(fourth, &["connack present=false code=0"]);
}
