//! The slice through everything, statement by statement, on one and on three shards.

#![allow(clippy::unwrap_used)] // a test that unwraps in vain says where

mod access;
mod away;
mod bounds;
mod configured;
mod delayed;
mod events;
mod exactly_once;
mod exclusive;
mod groups;
mod memory;
mod packet_ids;
mod rates;
mod reload;
mod retained;
mod storage;
mod support;
mod system;
mod wills;

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{Property, PropertyBuffer, RetainHandling, SubscribeOptions};
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::record::{Operation, Record, Settings};
use bellbird_core::{Cause, Config, DropReason, Time};
use support::{Node, Publish, connect, connect_with, options, subscribe, unsubscribe};

pub(crate) fn on_each(test: impl Fn(u8)) {
    for shards in [1, 3] {
        test(shards);
    }
}

#[test]
fn publishes_reach_subscribers_of_both_versions() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V311, true);
        let old = node.connect("old", V311, true);
        let new = node.connect("new", V5, true);
        for client in [old, new] {
            node.expect(client, &["connack present=false code=0"]);
            node.subscribe(client, "a/+", AtLeastOnce);
            node.expect(client, &["suback 1 [1]"]);
        }
        node.forget(publisher);
        node.publish(publisher, &Publish::new("a/b", "zero"));
        node.publish(publisher, &Publish::new("a/b", "one").qos1(7));
        node.publish(publisher, &Publish::new("b", "nobody").qos1(8));
        node.expect(publisher, &["puback 7 0", "puback 8 0"]);
        for client in [old, new] {
            node.expect(client, &["a/b=zero", "a/b=one id=1"]);
            node.puback(client, 1);
        }
        node.check_ledger();
        assert_eq!(node.ledger().done, 4);
        assert_eq!(node.ledger().unmatched, 1);
    });
}

/// [MQTT-3.3.4-2]: one copy, with the highest QoS. [MQTT-4.7.2-1]: no `$` under a wildcard.
#[test]
fn overlapping_filters_give_one_copy() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let client = node.connect("c", V5, true);
        node.subscribe(client, "#", AtMostOnce);
        node.subscribe(client, "a/b", AtLeastOnce);
        node.forget(client);
        node.publish(client, &Publish::new("a/b", "x").qos1(1));
        node.publish(client, &Publish::new("$x/b", "not for clients").qos1(2));
        node.expect(client, &["a/b=x id=1", "puback 1 0", "puback 2 135"]);
    });
}

/// [MQTT-4.3.2-4]: ownership is taken before PUBACK; here that means stored.
#[test]
fn an_acknowledgement_waits_for_the_log() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        node.hold_log = true;
        let keeper = node.connect("keeper", V5, false);
        node.expect(keeper, &[]);
        node.store(1);
        node.expect(keeper, &["connack present=false code=0"]);
        node.subscribe(keeper, "a", AtLeastOnce);
        node.expect(keeper, &[]);
        node.store(1);
        node.expect(keeper, &["suback 1 [1]"]);
        let publisher = node.connect("p", V311, true);
        node.forget(publisher);
        node.publish(publisher, &Publish::new("a", "1").qos1(1));
        // Not durable for anybody, but its acknowledgement keeps its turn [MQTT-4.6.0-2].
        node.publish(publisher, &Publish::new("b", "2").qos1(2));
        node.publish(publisher, &Publish::new("a", "3").qos1(3));
        node.expect(publisher, &[]);
        node.expect(keeper, &[]);
        node.store(1);
        node.expect(publisher, &["puback 1 0", "puback 2 0"]);
        node.expect(keeper, &["a=1 id=1"]);
        node.store(1);
        node.expect(publisher, &["puback 3 0"]);
        node.expect(keeper, &["a=3 id=2"]);
        node.check_ledger();
    });
}

/// DESIGN: SUBACK waits for the view, and the same client's later packets are parked until then.
#[test]
fn subscribe_and_publish_in_one_segment() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        node.hold_applied = true;
        let client = node.open(V311);
        let mut bytes = connect("c", V311, true, 0);
        bytes.extend(subscribe(V311, 9, "a", options(AtMostOnce)));
        bytes.extend(Publish::new("a", "x").bytes(V311));
        node.send(client, &bytes);
        node.expect(client, &["connack present=false code=0"]);
        node.report_applied();
        node.expect(client, &["suback 9 [0]", "a=x"]);
    });
}

/// Subscriptions that follow each other wait together, and are answered in their order; the first
/// packet of another kind waits for all of them, and so does what is no packet.
#[test]
fn subscriptions_follow_each_other() {
    let others: [(&[u8], &[&str]); 3] = [
        (&Publish::new("a", "x").bytes(V311), &["a=x"]),
        (&[0xC0, 0, 0xC0, 0], &["pingresp", "pingresp"]),
        (&[0xF3, 0x00], &[]),
    ];
    for (other, answer) in others {
        on_each(|shards| {
            let mut node = Node::new(shards);
            node.hold_applied = true;
            let client = node.connect("c", V311, true);
            node.forget(client);
            let mut bytes = subscribe(V311, 9, "a", options(AtMostOnce));
            bytes.extend(unsubscribe(V311, 8, "a"));
            bytes.extend(subscribe(V311, 7, "b/+", options(AtLeastOnce)));
            bytes.extend(unsubscribe(V311, 6, "none"));
            bytes.extend(subscribe(V311, 5, "a", options(AtMostOnce)));
            bytes.extend(other);
            node.send(client, &bytes);
            node.expect(client, &[]);
            assert!(node.is_open(client));
            // All but the one that ended nothing.
            assert_eq!(node.unapplied(), 4);
            node.report_applied();
            let answers =
                ["suback 9 [0]", "unsuback 8 []", "suback 7 [1]", "unsuback 6 []", "suback 5 [0]"];
            node.expect(client, &[&answers[..], answer].concat());
            assert_eq!(node.is_open(client), !answer.is_empty());
        });
    }
}

/// So many subscriptions wait together, and no more.
#[test]
fn subscriptions_that_wait_are_bounded() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        node.hold_applied = true;
        let client = node.connect("c", V311, true);
        node.forget(client);
        let filter =
            |number: u16| subscribe(V311, number, &number.to_string(), options(AtMostOnce));
        node.send(client, &(1..=1000).flat_map(filter).collect::<Vec<u8>>());
        assert_eq!(node.unapplied(), 256);
        node.hold_applied = false;
        node.report_applied();
        assert_eq!(node.seen(client), 1000);
    });
}

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1]: the same packet id with DUP, in order; then what waited.
#[test]
fn a_session_survives_reconnection_and_takeover() {
    on_each(|shards| {
        for takeover in [false, true] {
            let mut node = Node::new(shards);
            let publisher = node.connect("p", V5, true);
            let first = node.connect("s", V5, false);
            node.subscribe(first, "t", AtLeastOnce);
            node.forget(first);
            for id in 1..=3 {
                node.publish(publisher, &Publish::new("t", &id.to_string()).qos1(id));
            }
            node.expect(first, &["t=1 id=1", "t=2 id=2", "t=3 id=3"]);
            node.puback(first, 2);
            if !takeover {
                node.cut(first);
                node.publish(publisher, &Publish::new("t", "4").qos1(4));
            }
            let second = node.connect("s", V5, false);
            if takeover {
                node.expect(first, &["disconnect 0x8e"]);
                assert!(!node.is_open(first));
                node.publish(publisher, &Publish::new("t", "4").qos1(4));
            }
            let again = ["connack present=true code=0", "t=1 id=1 dup", "t=3 id=3 dup", "t=4 id=4"];
            node.expect(second, &again);
            node.check_ledger();
        }
    });
}

#[test]
fn a_restart_finds_what_was_stored_on_any_number_of_shards() {
    let mut node = Node::new(2);
    let publisher = node.connect("p", V5, true);
    for name in ["s1", "s2", "s3"] {
        let client = node.connect(name, V5, false);
        node.subscribe(client, "t/#", AtLeastOnce);
        if name == "s1" {
            node.publish(publisher, &Publish::new("t/early", "done").qos1(1));
            node.puback(client, 1);
        }
        node.cut(client);
    }
    node.publish(publisher, &Publish::new("t/a", "1").qos1(1));
    node.publish(publisher, &Publish::new("t/b", "kept").qos1(2).retained());
    for shards in [1, 2, 5] {
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        for name in ["s1", "s2", "s3"] {
            let client = node.connect(name, V5, false);
            node.expect(
                client,
                &["connack present=true code=0", "t/a=1 id=2049", "t/b=kept id=2050"],
            );
        }
        let late = node.connect("late", V311, true);
        node.subscribe(late, "#", AtMostOnce);
        node.expect(late, &["connack present=false code=0", "suback 1 [0]", "t/b=kept retain"]);
        node.check_ledger();
    }
}

/// [MQTT-3.1.2-4]: Clean Start drops the old session; also what the log says of it.
#[test]
fn a_clean_start_begins_a_new_incarnation() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V5, true);
        let old = node.connect("s", V5, false);
        node.subscribe(old, "t", AtLeastOnce);
        node.cut(old);
        node.publish(publisher, &Publish::new("t", "old").qos1(1));
        let new = node.open(V5);
        node.send(new, &connect("s", V5, true, 3600));
        node.expect(new, &["connack present=false code=0"]);
        node.publish(publisher, &Publish::new("t", "nobody").qos1(2));
        node.cut(new);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let again = node.connect("s", V5, false);
        node.expect(again, &["connack present=true code=0"]);
        node.check_ledger();
    });
}

/// A CONNACK that says "no session" leaves after the old session's end is stored.
#[test]
fn the_end_of_a_session_is_stored_before_it_is_told() {
    let mut node = Node::new(1);
    let old = node.connect("s", V5, false);
    node.cut(old);
    node.hold_log = true;
    let new = node.open(V5);
    node.send(new, &connect("s", V5, true, 0));
    node.expect(new, &[]);
    let waiting = node.unstored();
    node.store(waiting);
    node.expect(new, &["connack present=false code=0"]);
    let is_end = |record: &Record| matches!(record, Record::Commit(commit) if commit.operations == [Operation::End]);
    assert!(node.log.iter().any(is_end));
}

/// [MQTT-3.3.1-5] to -8.
#[test]
fn retained_messages_are_replaced_and_cleared() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V311, true);
        node.forget(publisher);
        node.publish(publisher, &Publish::new("r/1", "a").retained());
        node.publish(publisher, &Publish::new("r/1", "b").qos1(1).retained());
        node.publish(publisher, &Publish::new("r/2", "c").retained());
        node.publish(publisher, &Publish::new("r/2", "not kept"));
        node.expect(publisher, &["puback 1 0"]);
        let reader = node.connect("x", V311, true);
        node.forget(reader);
        node.subscribe(reader, "r/#", AtLeastOnce);
        node.expect(reader, &["suback 1 [1]", "r/1=b id=1 retain", "r/2=c retain"]);
        node.publish(publisher, &Publish::new("r/1", "").retained());
        node.expect(reader, &["r/1="]);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let late = node.connect("late", V5, true);
        node.forget(late);
        node.subscribe(late, "r/#", AtMostOnce);
        node.expect(late, &["suback 1 [0]", "r/2=c retain"]);
    });
}

/// [MQTT-3.3.1-9] to -13, No Local, and the codes for filters that are refused.
#[test]
fn subscription_options() {
    let mut node = Node::new(1);
    let client = node.connect("c", V5, true);
    node.publish(client, &Publish::new("r", "kept").retained());
    node.forget(client);
    let asking = |retain_handling| SubscribeOptions { retain_handling, ..options(AtMostOnce) };
    let mut check = |options, expected: &[&str]| {
        let bytes = subscribe(V5, 1, "r", options);
        node.send(client, &bytes);
        node.expect(client, expected);
    };
    check(asking(RetainHandling::DoNotSend), &["suback 1 [0]"]);
    check(asking(RetainHandling::SendIfNew), &["suback 1 [0]"]);
    check(asking(RetainHandling::SendAlways), &["suback 1 [0]", "r=kept retain"]);
    let local = SubscribeOptions { no_local: true, ..asking(RetainHandling::DoNotSend) };
    check(local, &["suback 1 [0]"]);
    node.publish(client, &Publish::new("r", "own"));
    node.expect(client, &[]);
    let published =
        SubscribeOptions { retain_as_published: true, ..asking(RetainHandling::DoNotSend) };
    let bytes = subscribe(V5, 1, "r", published);
    node.send(client, &bytes);
    node.publish(client, &Publish::new("r", "new").retained());
    node.expect(client, &["suback 1 [0]", "r=new retain"]);
    for (filter, expected) in [("a#", "suback 1 [143]"), ("$share//a", "suback 1 [143]")] {
        let bytes = subscribe(V5, 1, filter, options(AtMostOnce));
        node.send(client, &bytes);
        node.expect(client, &[expected]);
    }
    let old = node.connect("old", V311, true);
    node.forget(old);
    node.subscribe(old, "a#", AtMostOnce);
    node.expect(old, &["suback 1 [128]"]);
}

/// [MQTT-3.3.2-5], [MQTT-3.3.2-6].
#[test]
fn message_expiry_counts_down_and_ends() {
    let mut node = Node::new(1);
    let publisher = node.connect("p", V5, true);
    let reader = node.connect("s", V5, false);
    node.subscribe(reader, "t", AtLeastOnce);
    node.cut(reader);
    for (secs, id) in [(10, 1), (100, 2)] {
        let mut properties = PropertyBuffer::new();
        properties.push(Property::MessageExpiryInterval(secs));
        properties.push(Property::UserProperty("k", "v"));
        let publish =
            Publish { properties: properties.as_properties(), ..Publish::new("t", "x").qos1(id) };
        node.publish(publisher, &publish);
    }
    node.wait(30);
    let again = node.connect("s", V5, false);
    node.expect(again, &["connack present=true code=0", "t=x id=1 expiry=70"]);
    assert_eq!(node.ledger().expired, 1);
    node.check_ledger();
}

/// [MQTT-4.1.0-2]: the expiry interval counts from the end of the connection, also over a restart.
#[test]
fn sessions_expire_late_never_early() {
    let expiring = |node: &mut Node| {
        let client = node.open(V5);
        node.send(client, &connect("s", V5, false, 20));
        node.forget(client);
        client
    };
    for (wait, present) in [(19, true), (22, false)] {
        let mut node = Node::new(1);
        let client = expiring(&mut node);
        node.wait(60);
        node.cut(client);
        node.wait(wait);
        let again = node.connect("s", V5, false);
        node.expect(again, &[&format!("connack present={present} code=0")]);
    }
    for (down_ms, present) in [(18_000, true), (25_000, false)] {
        let mut node = Node::new(1);
        let client = expiring(&mut node);
        node.leave(client);
        assert!(!node.is_open(client));
        let now = Time(node.now.0 + down_ms);
        let mut node = Node::start(Config::default(), Gate::default(), &node.log, now);
        node.wait(1);
        let again = node.connect("s", V5, false);
        node.expect(again, &[&format!("connack present={present} code=0")]);
    }
}

/// [MQTT-3.1.2-22]; and a client that never says CONNECT.
#[test]
fn silence_closes_a_connection() {
    let mut node = Node::new(1);
    let fresh = node.open(V5);
    let alive = node.open(V5);
    node.send(alive, &connect_with("a", V5, true, 4, &PropertyBuffer::new()));
    let for_ever = node.connect("z", V5, true);
    node.forget(alive);
    node.wait(5);
    node.send(alive, &[0xC0, 0]);
    node.expect(alive, &["pingresp"]);
    node.wait(5);
    assert!(node.is_open(alive));
    node.wait(3);
    node.expect(alive, &["disconnect 0x8d"]);
    assert!(!node.is_open(alive) && !node.is_open(fresh));
    node.wait(600);
    assert!(node.is_open(for_ever), "keep alive 0 is legal");
}

/// Each has its own ten seconds, whoever came before it and whatever became of them.
#[test]
fn strangers_go_when_their_own_time_is_over() {
    let mut node = Node::new(1);
    let first = node.open(V5);
    let _guest = node.connect("a", V5, true);
    node.wait(5);
    let second = node.open(V5);
    let gone = node.open(V5);
    node.cut(gone);
    node.wait(4);
    assert!(node.is_open(first));
    node.wait(2);
    assert!(!node.is_open(first) && node.is_open(second));
    let third = node.open(V5);
    node.wait(5);
    assert!(!node.is_open(second) && node.is_open(third));
    node.send(third, &connect_with("b", V5, true, 0, &PropertyBuffer::new()));
    node.wait(600);
    assert!(node.is_open(third));
}

/// Whoever says nothing cannot keep out who does.
#[test]
fn the_stranger_who_waited_longest_makes_room() {
    let mut node =
        Node::with(Config { strangers_max: 2, ..Config::default() }, Gate::default(), &[]);
    let guest = node.connect("a", V5, true);
    let strangers = [node.open(V5), node.open(V5), node.open(V5), node.open(V5)];
    node.wait(1);
    assert_eq!(strangers.map(|id| node.is_open(id)), [false, false, true, true]);
    assert!(node.is_open(guest), "who was let in is no stranger");
    assert_eq!(node.traffic().closed[Cause::Crowded as usize], 2);
    node.send(strangers[3], &connect_with("b", V5, true, 0, &PropertyBuffer::new()));
    let (fifth, sixth) = (node.open(V5), node.open(V5));
    node.wait(1);
    assert_eq!(
        [strangers[2], strangers[3], fifth, sixth].map(|id| node.is_open(id)),
        [false, true, true, true]
    );
}

/// Receive Maximum and Maximum Packet Size of a client [MQTT-4.9.0-2] [MQTT-3.1.2-24].
#[test]
fn a_client_sets_its_own_limits() {
    let mut node = Node::new(1);
    let mut properties = PropertyBuffer::new();
    properties.push(Property::ReceiveMaximum(2));
    properties.push(Property::MaximumPacketSize(20));
    let client = node.open(V5);
    node.send(client, &connect_with("c", V5, true, 0, &properties));
    node.subscribe(client, "t", AtLeastOnce);
    node.forget(client);
    let publisher = node.connect("p", V5, true);
    for (id, payload) in [(1, "1"), (2, "far too long for twenty"), (3, "3"), (4, "4"), (5, "5")] {
        node.publish(publisher, &Publish::new("t", payload).qos1(id));
    }
    node.expect(client, &["t=1 id=1", "t=3 id=2"]);
    node.puback(client, 2);
    node.expect(client, &["t=4 id=3"]);
    node.puback(client, 1);
    node.expect(client, &["t=5 id=4"]);
    let too_large = DropReason::ALL.iter().position(|reason| *reason == DropReason::TooLarge);
    assert_eq!(node.ledger().dropped[too_large.unwrap()], 1);
    node.check_ledger();
}

#[test]
fn a_full_queue_drops_and_says_so_also_after_a_restart() {
    let config = Config { queue_messages_max: 2, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    let publisher = node.connect("p", V5, true);
    let reader = node.connect("s", V5, false);
    node.subscribe(reader, "t", AtLeastOnce);
    node.cut(reader);
    for id in 1..=4 {
        node.publish(publisher, &Publish::new("t", &id.to_string()).qos1(id));
    }
    let queue_full = DropReason::ALL.iter().position(|reason| *reason == DropReason::QueueFull);
    assert_eq!(node.ledger().dropped[queue_full.unwrap()], 2);
    node.check_ledger();
    let mut node = Node::with(Config::default(), Gate::default(), &node.log);
    let again = node.connect("s", V5, false);
    node.expect(again, &["connack present=true code=0", "t=1 id=2049", "t=2 id=2050"]);
}

/// The gate's third answer parks that client and nobody else.
#[test]
fn a_question_parks_only_its_client() {
    let rule =
        |action, verdict| Rule { action, who: Who::Everybody, filter: "ask/#".into(), verdict };
    let gate = Gate::new(vec![
        rule(Action::Publish, Verdict::Ask),
        Rule { filter: "no/#".into(), ..rule(Action::Publish, Verdict::No) },
        Rule { filter: "secret".into(), ..rule(Action::Receive, Verdict::No) },
    ]);
    let mut node = Node::with(Config::default(), gate, &[]);
    let client = node.connect("c", V5, true);
    let other = node.connect("o", V5, true);
    node.subscribe(other, "#", AtMostOnce);
    node.forget(client);
    node.forget(other);
    for (verdict, answer, delivered) in
        [(Verdict::Yes, "puback 1 0", &["ask/x=1"][..]), (Verdict::No, "puback 1 135", &[][..])]
    {
        node.publish(client, &Publish::new("ask/x", "1").qos1(1));
        node.publish(client, &Publish::new("y", "2").qos1(2));
        node.publish(other, &Publish::new("z", "3").qos1(3));
        node.expect(client, &[]);
        node.expect(other, &["z=3", "puback 3 0"]);
        assert_eq!(node.questions.len(), 1);
        node.decide(verdict);
        node.expect(client, &[answer, "puback 2 0"]);
        let mut expected = delivered.to_vec();
        expected.push("y=2");
        node.expect(other, &expected);
    }
    node.publish(client, &Publish::new("no/x", "1").qos1(1));
    node.publish(client, &Publish::new("secret", "1").qos1(2));
    node.expect(client, &["puback 1 135", "puback 2 0"]);
    node.expect(other, &[]);
    node.check_ledger();
}

#[test]
fn what_breaks_the_protocol_ends_that_connection_only() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let witness = node.connect("w", V5, true);
        node.forget(witness);
        let cases: [(&[u8], &str); 4] = [
            (&[0xF3, 0x00], "disconnect 0x81"),
            // A second CONNECT [MQTT-3.1.0-2].
            (&connect("x", V5, true, 0), "disconnect 0x82"),
            // A topic alias above the announced maximum [MQTT-3.2.2-17].
            (&[0x30, 0x08, 0, 1, b'a', 3, 0x23, 0, 17, b'x'], "disconnect 0x94"),
            // An alias that stands for nothing.
            (&[0x30, 0x07, 0, 0, 3, 0x23, 0, 1, b'x'], "disconnect 0x82"),
        ];
        for (bytes, expected) in cases {
            let client = node.connect("x", V5, true);
            node.forget(client);
            node.send(client, bytes);
            node.expect(client, &[expected]);
            assert!(!node.is_open(client));
        }
        node.send(witness, &[0xC0, 0]);
        node.expect(witness, &["pingresp"]);
    });
}

/// A client that asks and never reads is not heard any more, and holds up nobody else.
#[test]
fn who_does_not_read_is_not_heard() {
    let config = Config { outbox_bytes_max: 1024, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    let deaf = node.connect("deaf", V5, true);
    let other = node.connect("other", V5, true);
    node.forget(deaf);
    node.forget(other);
    node.stop_reading(deaf);
    for _ in 0..2000 {
        node.send(deaf, &[0xC0, 0]);
    }
    assert!(node.unsent_bytes(deaf) <= 1024 + 2);
    node.send(other, &[0xC0, 0]);
    node.send(other, &[0xC0, 0]);
    node.expect(other, &["pingresp", "pingresp"]);
    node.read_again(deaf);
    assert_eq!(node.seen(deaf), 2000);
}

/// A retained message is in view and log alike, whatever becomes of its publisher meanwhile.
#[test]
fn a_retained_message_outlives_its_publishers_connection() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let publisher = node.connect("p", V5, true);
        let reader = node.connect("r", V5, true);
        node.subscribe(reader, "#", AtMostOnce);
        node.forget(reader);
        node.hold_applied = true;
        node.publish(publisher, &Publish::new("r", "x").qos1(1).retained());
        node.cut(publisher);
        node.report_applied();
        node.expect(reader, &["r=x"]);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let late = node.connect("late", V5, true);
        node.forget(late);
        node.subscribe(late, "#", AtMostOnce);
        node.expect(late, &["suback 1 [0]", "r=x retain"]);
    });
}

/// [MQTT-3.3.2-12], and 3.3.4: an alias may be bound anew; none is passed on; each connection and
/// each reconnection begins without [MQTT-3.3.2-7].
#[test]
fn topic_aliases_of_a_client() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let reader = node.connect("r", V5, true);
        node.subscribe(reader, "#", AtMostOnce);
        let publisher = node.connect("p", V5, false);
        node.forget(reader);
        node.forget(publisher);
        let publish = |node: &mut Node, topic: &str, alias: u16, id: u16| {
            let mut properties = PropertyBuffer::new();
            properties.push(Property::TopicAlias(alias));
            let properties = properties.as_properties();
            let publish = Publish { properties, ..Publish::new(topic, "x") };
            node.publish(publisher, &if id > 0 { publish.qos1(id) } else { publish });
        };
        publish(&mut node, "a/1", 16, 0);
        publish(&mut node, "", 16, 0);
        publish(&mut node, "a/2", 1, 5);
        publish(&mut node, "", 1, 6);
        publish(&mut node, "a/3", 16, 0);
        publish(&mut node, "", 16, 0);
        node.expect(reader, &["a/1=x", "a/1=x", "a/2=x", "a/2=x", "a/3=x", "a/3=x"]);
        node.expect(publisher, &["puback 5 0", "puback 6 0"]);
        let mut properties = PropertyBuffer::new();
        properties.push(Property::TopicAlias(1));
        let again = node.connect("p", V5, false);
        node.forget(again);
        let properties = properties.as_properties();
        node.publish(again, &Publish { properties, ..Publish::new("", "x") });
        node.expect(again, &["disconnect 0x82"]);
    });
}

#[test]
fn the_count_of_starts_has_an_end() {
    let settings = Settings { key: "node.starts".into(), value: [0xFF; 4].into() };
    let node = Node::with(Config::default(), Gate::default(), &[Record::Settings(settings)]);
    assert_eq!(node.log[0], node.log[1]);
}
