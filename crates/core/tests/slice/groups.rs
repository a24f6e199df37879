//! Shared subscriptions: who gets what, on one shard and over several, through lost connections
//! and restarts.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{Property, PropertyBuffer, Will};
use bellbird_core::permit::Gate;
use bellbird_core::record::{Operation, Record};
use bellbird_core::{Config, DropReason};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::Answer::{Pubcomp, Pubrec};
use crate::support::{Client, Node, Publish, connect_with_will};

const SHARE: &str = "$share/g/t/#";

fn member(node: &mut Node, name: &str, keep: bool) -> Client {
    let member = node.connect(name, V5, !keep);
    node.subscribe(member, SHARE, ExactlyOnce);
    node.expect(member, &["connack present=false code=0", "suback 1 [2]"]);
    member
}

/// [MQTT-4.8.2-3] and U5-49: one copy for the whole group, each member in turn.
#[test]
fn each_message_goes_to_one_member() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let members = [member(&mut node, "a", false), member(&mut node, "b", false)];
        let plain = node.connect("plain", V311, true);
        node.subscribe(plain, "t/#", AtLeastOnce);
        node.forget(plain);
        let publisher = node.connect("p", V311, true);
        for (qos, id) in [(AtMostOnce, 0), (AtLeastOnce, 1), (ExactlyOnce, 2)] {
            for _ in 0..2 {
                node.publish(publisher, &Publish { qos, id, ..Publish::new("t/x", "m") });
                if qos == ExactlyOnce {
                    node.answer(publisher, crate::support::Answer::Pubrel, id);
                }
            }
        }
        assert_eq!(members.map(|member| node.seen(member)), [3, 3]);
        assert_eq!(node.seen(plain), 6);
        node.check_ledger();
    });
}

/// What a member has not acknowledged at QoS 1 goes to another one when its connection is lost.
#[test]
fn qos_1_goes_back_to_the_group() {
    on_each(|shards| {
        for keep in [false, true] {
            let mut node = Node::new(shards);
            let first = member(&mut node, "a", keep);
            let publisher = node.connect("p", V311, true);
            for id in 1..=3 {
                node.publish(publisher, &Publish::new("t", "m").qos1(id));
            }
            node.expect(first, &["t=m id=1", "t=m id=2", "t=m id=3"]);
            node.puback(first, 2);
            let second = member(&mut node, "b", keep);
            node.cut(first);
            node.expect(second, &["t=m id=1", "t=m id=2"]);
            node.puback(second, 1);
            node.puback(second, 2);
            node.check_ledger();
            assert_eq!(node.ledger().done, 3);
        }
    });
}

/// [MQTT-4.8.2-4]: QoS 2 that has begun stays with the session.
#[test]
fn qos_2_stays_with_its_member() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let publisher = node.connect("p", V311, true);
        node.publish(publisher, &Publish::new("t", "m").qos2(1));
        node.expect(first, &["t=m id=2:1"]);
        let second = member(&mut node, "b", true);
        node.cut(first);
        node.expect(second, &[]);
        let again = node.connect("a", V5, false);
        node.expect(again, &["connack present=true code=0", "t=m id=2:1 dup"]);
        node.answer(again, Pubrec, 1);
        node.answer(again, Pubcomp, 1);
        node.check_ledger();
        assert_eq!(node.ledger().done, 1);
        // [MQTT-4.8.2-5]: nobody else gets it, even if the session ends.
        node.publish(publisher, &Publish::new("t", "n").qos2(2));
        node.publish(publisher, &Publish::new("t", "n").qos2(3));
        node.forget(again);
        node.forget(second);
        node.cut(again);
        let fresh = node.connect("a", V5, true);
        assert_eq!(node.seen(second), 0);
        node.cut(fresh);
        node.check_ledger();
    });
}

/// A group with a durable member keeps messages while everybody is away, over a restart.
#[test]
fn a_durable_group_outlives_everything() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let second = member(&mut node, "b", true);
        let publisher = node.connect("p", V311, true);
        node.publish(publisher, &Publish::new("t", "one").qos2(1));
        node.publish(publisher, &Publish::new("t", "two").qos1(2));
        assert_eq!(node.seen(first) + node.seen(second), 2);
        node.cut(first);
        node.cut(second);
        node.publish(publisher, &Publish::new("t", "three").qos1(3));
        for restart_shards in [shards, shards + 1] {
            let config = Config { shards: restart_shards, ..Config::default() };
            let mut node = Node::with(config, Gate::default(), &node.log);
            // The one handed over at QoS 2 is its member's; the others are anybody's.
            let first = node.connect("a", V5, false);
            node.expect(
                first,
                &[
                    "connack present=true code=0",
                    "t=one id=2:1 dup",
                    "t=two id=2049",
                    "t=three id=2050",
                ],
            );
            node.answer(first, Pubrec, 1);
            node.answer(first, Pubcomp, 1);
            node.puback(first, 2);
            node.puback(first, 3);
            node.check_ledger();
            let second = node.connect("b", V5, false);
            node.expect(second, &["connack present=true code=0"]);
            let publisher = node.connect("p", V311, true);
            node.publish(publisher, &Publish::new("t", "four").qos1(4));
            assert_eq!(node.seen(second) + node.seen(first), 2, "pubrel and one message");
        }
    });
}

/// Messages wait in the group as long as its members have as much as they take.
#[test]
fn a_group_lends_against_credit() {
    on_each(|shards| {
        let mut config = Config { shards, ..Config::default() };
        config.listeners[0].inflight_max = 2;
        let mut node = Node::with(config, Gate::default(), &[]);
        let first = member(&mut node, "a", false);
        let publisher = node.connect("p", V311, true);
        for id in 1..=5 {
            node.publish(publisher, &Publish::new("t", "m").qos1(id));
        }
        assert_eq!(node.seen(first), 2);
        let second = node.connect("b", V5, true);
        node.subscribe(second, SHARE, AtLeastOnce);
        // Begun before the SUBACK, as the specification allows (U5-37).
        node.expect(
            second,
            &["connack present=false code=0", "suback 1 [1]", "t=m id=1", "t=m id=2"],
        );
        node.check_ledger();
        node.puback(second, 1);
        node.expect(second, &["t=m id=3"]);
        node.check_ledger();
    });
}

/// [U5-40] Who unsubscribes leaves; with the last member the group and what it keeps are gone.
#[test]
fn a_group_ends_with_its_last_member() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let second = member(&mut node, "b", true);
        let publisher = node.connect("p", V5, true);
        node.forget(publisher);
        node.unsubscribe(first, SHARE);
        node.expect(first, &["unsuback 2 [0]"]);
        for id in 1..=2 {
            node.publish(publisher, &Publish::new("t", "m").qos1(id));
        }
        node.expect(second, &["t=m id=1", "t=m id=2"]);
        node.expect(first, &[]);
        node.puback(second, 1);
        node.puback(second, 2);
        node.unsubscribe(second, SHARE);
        node.publish(publisher, &Publish::new("t", "m").qos1(3));
        node.expect(publisher, &["puback 1 0", "puback 2 0", "puback 3 16"]);
        node.check_ledger();
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let publisher = node.connect("p", V5, true);
        node.forget(publisher);
        node.publish(publisher, &Publish::new("t", "m").qos1(1));
        node.expect(publisher, &["puback 1 16"]);
    });
}

/// [MQTT-3.3.2-5]: what expired on its way to the group goes to nobody.
#[test]
fn at_qos_0_expiry_counts_as_well() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", false);
        let publisher = node.connect("p", V5, true);
        let mut properties = PropertyBuffer::new();
        properties.push(Property::MessageExpiryInterval(0));
        let properties = properties.as_properties();
        node.publish(publisher, &Publish { properties, ..Publish::new("t", "m") });
        assert_eq!(node.seen(first), 0);
        node.check_ledger();
        assert_eq!(node.ledger().expired, 1);
    });
}

/// Without credit between the shards, QoS 0 is dropped and counted; with the credit it goes on.
#[test]
fn at_qos_0_the_way_to_a_member_is_bounded() {
    const COUNT: usize = 20;
    let seen_by = |name: &str, publisher: &str| {
        let config = Config { shards: 2, mailbox_bytes_max: 1, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &[]);
        let first = member(&mut node, name, false);
        let publisher = node.connect(publisher, V311, true);
        let one = Publish::new("t", "m").bytes(V311);
        node.send(publisher, &one.repeat(COUNT));
        let seen = node.seen(first);
        node.check_ledger();
        let dropped = node.ledger().dropped[DropReason::MailboxFull as usize];
        assert_eq!(seen as u64 + dropped, COUNT as u64);
        node.send(publisher, &one);
        assert_eq!(node.seen(first), seen + 1, "the credit has come back");
        seen
    };
    let publishers = ["p", "q", "r", "s", "t", "u"];
    // Some members are on another shard than the group: wherever the publisher is, one passes.
    let is_bounded = |name: &&str| publishers.iter().all(|publisher| seen_by(name, publisher) == 1);
    let bounded = ["a", "b", "c", "d", "e", "f"].iter().filter(|name| is_bounded(name)).count();
    assert!((1..6).contains(&bounded), "{bounded}");
}

/// A message that the log was still to be told of is counted when its group ends meanwhile.
#[test]
fn a_group_may_end_before_a_message_is_handed_over() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let publisher = node.connect("p", V311, true);
        node.hold_log = true;
        node.publish(publisher, &Publish::new("t", "m").qos2(1));
        node.store(1);
        assert!(node.unstored() > 0, "it is to be handed over");
        node.unsubscribe(first, SHARE);
        node.store(9);
        assert_eq!(node.seen(first), 1, "unsuback");
        node.check_ledger();
    });
}

/// [MQTT-4.4.0-1]: the exchange of a message that a member was handed goes on after a restart,
/// though the group is gone.
#[test]
fn what_was_handed_over_outlives_its_group() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let publisher = node.connect("p", V311, true);
        node.publish(publisher, &Publish::new("t", "m").qos2(1));
        node.publish(publisher, &Publish::new("t", "n").qos2(2));
        node.expect(first, &["t=m id=2:1", "t=n id=2:2"]);
        node.answer(first, Pubrec, 1);
        node.expect(first, &["pubrel 1 0"]);
        node.unsubscribe(first, SHARE);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let again = node.connect("a", V5, false);
        node.expect(again, &["connack present=true code=0", "pubrel 1 0", "t=n id=2:2 dup"]);
        node.answer(again, Pubcomp, 1);
        node.answer(again, Pubrec, 2);
        node.answer(again, Pubcomp, 2);
        node.check_ledger();
        assert_eq!(node.ledger().done, 2);
    });
}

/// A member whose session ends with the restart does not end the group of the others.
#[test]
fn a_restart_ends_no_group_that_has_members() {
    on_each(|shards| {
        for name in ["b", "c", "d", "e"] {
            let mut node = Node::new(shards);
            let first = member(&mut node, "a", true);
            let second = member(&mut node, name, true);
            node.cut(first);
            node.cut(second);
            let publisher = node.connect("p", V311, true);
            node.publish(publisher, &Publish::new("t", "m").qos1(1));
            // From here on this session ends with its connection.
            let bytes = crate::support::connect(name, V5, false, 0);
            let second = node.open(V5);
            node.send(second, &bytes);
            let config = Config { shards, ..Config::default() };
            let mut node = Node::with(config, Gate::default(), &node.log);
            let first = node.connect("a", V5, false);
            node.expect(first, &["connack present=true code=0", "t=m id=2049"]);
            node.check_ledger();
        }
    });
}

/// [MQTT-4.6.0-5]: what a group hands over late, though it was published first, does not come
/// between the session's own messages after a restart.
#[test]
fn what_was_handed_over_late_moves_no_other_message() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        node.subscribe(first, "own", ExactlyOnce);
        node.cut(first);
        let publisher = node.connect("p", V311, true);
        node.publish(publisher, &Publish::new("t", "of the group").qos2(1));
        node.publish(publisher, &Publish::new("own", "one").qos1(2));
        node.publish(publisher, &Publish::new("own", "two").qos2(3));
        node.hold_log = true;
        let again = node.connect("a", V5, false);
        while node.seen(again) < 3 {
            node.store(1);
        }
        let all = ["connack present=true code=0", "own=one id=1", "own=two id=2:2"];
        node.expect(again, &all);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log_with(1));
        let again = node.connect("a", V5, false);
        let all = ["connack present=true code=0", "own=one id=2049 dup", "own=two id=2:2 dup"];
        let all: Vec<&str> = all.into_iter().chain(["t=of the group id=2:2050"]).collect();
        node.expect(again, &all);
    });
}

/// Who joins a group that the log or the view is still to be told of waits as well [MQTT-3.8.4-1].
#[test]
fn who_joins_second_waits_for_the_same() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let [first, second] = ["a", "b"].map(|name| node.connect(name, V5, false));
        (node.hold_log, node.hold_applied) = (true, true);
        node.subscribe(first, SHARE, AtLeastOnce);
        node.subscribe(second, SHARE, AtLeastOnce);
        node.report_applied();
        assert_eq!((node.seen(first), node.seen(second)), (1, 1), "the log knows no group");
        node.store(9);
        assert_eq!((node.seen(first), node.seen(second)), (1, 1), "the view shows no group");
        node.report_applied();
        assert_eq!((node.seen(first), node.seen(second)), (2, 2));
    });
}

/// [MQTT-4.8.2-5]: what a member was handed whose session is gone with the restart is nobody's, also
/// not of a later session.
#[test]
fn nobody_inherits_what_a_member_had() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        let publisher = node.connect("p", V311, true);
        node.cut(first);
        let second = member(&mut node, "b", false);
        node.publish(publisher, &Publish::new("t", "m").qos2(1));
        node.expect(second, &["t=m id=2:1"]);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config.clone(), Gate::default(), &node.log);
        let heirs = ["c", "d", "e", "f", "g", "h"];
        for name in heirs {
            let heir = node.connect(name, V5, false);
            node.expect(heir, &["connack present=false code=0"]);
        }
        let mut node = Node::with(config, Gate::default(), &node.log);
        for name in heirs {
            let heir = node.connect(name, V5, false);
            node.expect(heir, &["connack present=true code=0"]);
        }
    });
}

/// What was matched when the group took QoS 0 only is not in the log for it, and is not looked for
/// there: after a restart its exchange is completed.
#[test]
fn a_grant_that_came_after_the_match() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = node.connect("a", V5, false);
        node.subscribe(first, SHARE, AtMostOnce);
        let publisher = node.connect("p", V311, false);
        node.forget(first);
        node.hold_log = true;
        node.publish(publisher, &Publish::new("t", "m").qos2(1));
        node.subscribe(first, SHARE, ExactlyOnce);
        node.store(99);
        while node.unstored() > 0 {
            node.store(1);
        }
        node.expect(first, &["suback 1 [2]", "t=m id=2:1"]);
        node.answer(first, Pubrec, 1);
        node.store(9);
        node.expect(first, &["pubrel 1 0"]);
        let config = Config { shards, ..Config::default() };
        let mut node = Node::with(config, Gate::default(), &node.log);
        let again = node.connect("a", V5, false);
        node.expect(again, &["connack present=true code=0", "pubrel 1 0"]);
        node.answer(again, Pubcomp, 1);
        node.check_ledger();
    });
}

/// A group that came after another of its name is the only one, though the end of the first is lost.
#[test]
fn the_last_group_of_a_name_is_the_only_one() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = member(&mut node, "a", true);
        node.unsubscribe(first, SHARE);
        node.subscribe(first, SHARE, AtLeastOnce);
        let is_end = |record: &Record| matches!(record, Record::Commit(commit) if commit.operations == [Operation::End]);
        let log: Vec<Record> = node.log.into_iter().filter(|record| !is_end(record)).collect();
        let mut node = Node::with(Config { shards, ..Config::default() }, Gate::default(), &log);
        let publisher = node.connect("p", V311, true);
        node.publish(publisher, &Publish::new("t", "m").qos1(1));
        let again = node.connect("a", V5, false);
        node.expect(again, &["connack present=true code=0", "t=m id=2049"]);
        node.puback(again, 2049);
        node.check_ledger();
        assert_eq!(node.ledger().done, 1);
    });
}

/// [MQTT-4.3.3-10]: a message that a session gets by its own subscription and from two groups is
/// three deliveries, each with an exchange of its own, after a restart as well.
#[test]
fn one_message_in_three_ways() {
    on_each(|shards| {
        for (over, had, sent) in [(1, 2, 3), (2, 3, 1), (3, 1, 2)] {
            let mut node = Node::new(shards);
            let first = member(&mut node, "a", true);
            node.subscribe(first, "$share/h/t/#", ExactlyOnce);
            node.subscribe(first, "t/#", ExactlyOnce);
            node.forget(first);
            let publisher = node.connect("p", V311, true);
            node.publish(publisher, &Publish::new("t", "m").qos2(1));
            node.expect(first, &["t=m id=2:1", "t=m id=2:2", "t=m id=2:3"]);
            node.answer(first, Pubrec, over);
            node.answer(first, Pubcomp, over);
            node.answer(first, Pubrec, had);
            let pubrel = format!("pubrel {had} 0");
            node.expect(first, &[&format!("pubrel {over} 0"), &pubrel]);
            let mut log = node.log;
            for _ in 0..2 {
                let config = Config { shards, ..Config::default() };
                let mut node = Node::with(config, Gate::default(), &log);
                let again = node.connect("a", V5, false);
                let publish = format!("t=m id=2:{sent} dup");
                node.expect_in_any_order(
                    again,
                    &["connack present=true code=0", &pubrel, &publish],
                );
                node.check_ledger();
                log = node.log;
            }
            let mut node =
                Node::with(Config { shards, ..Config::default() }, Gate::default(), &log);
            let again = node.connect("a", V5, false);
            node.answer(again, Pubcomp, had);
            node.answer(again, Pubrec, sent);
            node.answer(again, Pubcomp, sent);
            node.check_ledger();
            assert_eq!(node.ledger().done, 2);
            let config = Config { shards, ..Config::default() };
            let mut node = Node::with(config, Gate::default(), &node.log);
            let again = node.connect("a", V5, false);
            node.expect(again, &["connack present=true code=0"]);
        }
    });
}

/// At a stop, a session that ends with its connection is kept for its will. Its groups did not hear
/// that the client was gone, lent to it and got everything back, without end.
#[test]
fn a_stop_ends_with_a_will_in_the_group() {
    let mut node = Node::new(1);
    let properties = PropertyBuffer::new();
    let will = Will {
        qos: AtMostOnce,
        retain: false,
        topic: TopicName::parse("will").unwrap(),
        payload: b"gone",
        properties: properties.as_properties(),
    };
    let mortal = node.open(V5);
    node.send(mortal, &connect_with_will("m", V5, true, 0, will));
    let other = node.connect("o", V5, true);
    let writer = node.connect("w", V5, true);
    for client in [mortal, other] {
        node.subscribe(client, "$share/g/a", AtLeastOnce);
    }
    for id in 1..=2 {
        node.publish(writer, &Publish::new("a", "x").qos1(id));
    }
    node.stop();
    assert!(!node.is_open(mortal) && !node.is_open(other));
}
