//! Wills: said once, at their time, over takeovers, expiry and restarts; or not at all.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{
    Disconnect, Packet, Properties, Property, PropertyBuffer, QoS, ReasonCode, Version, Will,
};
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::{Config, Time};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::{Client, Node, Publish, connect, connect_with_will, options, subscribe};

fn will(qos: QoS, retain: bool, properties: &PropertyBuffer) -> Will<'_> {
    let topic = TopicName::parse("will").unwrap();
    Will { qos, retain, topic, payload: b"gone", properties: properties.as_properties() }
}

fn delayed(secs: u32) -> PropertyBuffer {
    let mut properties = PropertyBuffer::new();
    if secs > 0 {
        properties.push(Property::WillDelayInterval(secs));
    }
    properties
}

/// A client with a will of QoS 1 and this delay.
fn mortal(node: &mut Node, version: Version, expiry_secs: u32, delay_secs: u32) -> Client {
    let client = node.open(version);
    let properties = delayed(if version == V5 { delay_secs } else { 0 });
    let will = will(AtLeastOnce, false, &properties);
    node.send(client, &connect_with_will("m", version, expiry_secs == 0, expiry_secs, will));
    node.forget(client);
    client
}

fn witness(node: &mut Node) -> Client {
    let witness = node.connect("w", V5, true);
    node.subscribe(witness, "will", AtMostOnce);
    node.forget(witness);
    witness
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.14.4-3].
#[test]
fn said_when_the_connection_is_lost_and_not_after_goodbye() {
    on_each(|shards| {
        for (version, expiry_secs) in [(V311, 0), (V311, 1), (V5, 0), (V5, 100)] {
            let mut node = Node::new(shards);
            let witness = witness(&mut node);
            let client = mortal(&mut node, version, expiry_secs, 0);
            node.cut(client);
            node.expect(witness, &["will=gone"]);
            let client = mortal(&mut node, version, expiry_secs, 0);
            node.leave(client);
            node.wait(200);
            node.expect(witness, &[]);
            // DISCONNECT with will message, and a protocol error.
            let client = mortal(&mut node, version, expiry_secs, 0);
            if version == V5 {
                let (reason, properties) = (ReasonCode::DisconnectWithWill, Properties::default());
                let mut bytes = Vec::new();
                Packet::Disconnect(Disconnect { reason, properties }).encode(V5, &mut bytes);
                node.send(client, &bytes);
            } else {
                node.send(client, &[0xF3, 0]);
            }
            node.expect(witness, &["will=gone"]);
            node.check_ledger();
        }
    });
}

/// [MQTT-3.1.3-9], and the earlier of delay and session expiry.
#[test]
fn a_delay_waits_for_the_client_to_come_back() {
    let mut node = Node::new(1);
    let witness = witness(&mut node);
    for (expiry_secs, delay_secs, due_secs) in [(100, 10, 10), (10, 100, 10), (0, 50, 0)] {
        let client = mortal(&mut node, V5, expiry_secs, delay_secs);
        node.cut(client);
        if due_secs > 0 {
            node.wait(due_secs - 1);
            node.expect(witness, &[]);
            node.wait(2);
        }
        node.expect(witness, &["will=gone"]);
        node.wait(300);
        node.expect(witness, &[]);
    }
    let client = mortal(&mut node, V5, 100, 10);
    node.cut(client);
    node.wait(5);
    let again = node.connect("m", V5, false);
    node.expect(again, &["connack present=true code=0"]);
    node.wait(50);
    node.cut(again);
    node.wait(500);
    node.expect(witness, &[]);
}

/// Hard cases 1 and 2: on takeover a will is said if it has no delay, or if the session ends.
#[test]
fn on_takeover() {
    for (expiry_secs, delay_secs, clean, is_said) in [
        (100, 0, false, true),
        (100, 10, false, false),
        (100, 10, true, true),
        (0, 10, false, true),
        (0, 0, true, true),
    ] {
        let mut node = Node::new(1);
        let witness = witness(&mut node);
        let first = mortal(&mut node, V5, expiry_secs, delay_secs);
        let second = node.open(V5);
        node.send(second, &connect("m", V5, clean, 100));
        node.expect(first, &["disconnect 0x8e"]);
        let expected: &[&str] = if is_said { &["will=gone"] } else { &[] };
        node.expect(witness, expected);
        node.wait(50);
        node.expect(witness, &[]);
        assert!(node.is_open(second));
    }
}

/// [MQTT-3.1.2-14], [MQTT-3.1.2-15]; the delay is not a property of the message, its expiry is.
#[test]
fn retained_and_with_its_properties() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let witness = witness(&mut node);
        let mut properties = delayed(2);
        properties.push(Property::MessageExpiryInterval(60));
        properties.push(Property::UserProperty("k", "v"));
        let client = node.open(V5);
        let will = will(AtLeastOnce, true, &properties);
        node.send(client, &connect_with_will("m", V5, true, 100, will));
        node.cut(client);
        node.wait(30);
        node.expect(witness, &["will=gone expiry=60"]);
        let late = node.open(V5);
        node.send(late, &connect("late", V5, true, 0));
        node.send(late, &subscribe(V5, 1, "#", options(AtMostOnce)));
        let connack = "connack present=false code=0";
        node.expect(late, &[connack, "suback 1 [0]", "will=gone retain expiry=32"]);
    });
}

/// DESIGN: every will is logged at CONNECT and published after a crash.
#[test]
fn a_will_survives_the_broker() {
    on_each(|shards| {
        for (version, expiry_secs, delay_secs) in
            [(V311, 0, 0), (V311, 1, 0), (V5, 0, 0), (V5, 0, 9), (V5, 100, 0), (V5, 100, 9)]
        {
            let mut node = Node::new(shards);
            let keeper = node.connect("keeper", V5, false);
            node.subscribe(keeper, "will", AtLeastOnce);
            mortal(&mut node, version, expiry_secs, delay_secs);
            let config = Config { shards, ..Config::default() };
            let now = Time(node.now.0 + 5_000);
            let mut node = Node::start(config.clone(), Gate::default(), &node.log, now);
            let keeper = node.connect("keeper", V5, false);
            node.wait(12);
            node.expect(keeper, &["connack present=true code=0", "will=gone id=2049"]);
            node.puback(keeper, 2049);
            // Once: the next start has nothing to say.
            let mut node = Node::with(config, Gate::default(), &node.log);
            let keeper = node.connect("keeper", V5, false);
            node.wait(200);
            node.expect(keeper, &["connack present=true code=0"]);
            node.check_ledger();
        }
    });
}

/// A client that comes back right after the start is too late for a will without delay: its
/// connection ended with the node. In time for one with a delay [MQTT-3.1.3-9].
#[test]
fn who_comes_back_at_once_after_a_crash_cancels_only_a_delayed_will() {
    on_each(|shards| {
        for (version, delay_secs) in [(V311, 0), (V5, 0), (V5, 9)] {
            let mut node = Node::new(shards);
            let keeper = node.connect("keeper", V5, false);
            node.subscribe(keeper, "will", AtLeastOnce);
            mortal(&mut node, version, 100, delay_secs);
            let config = Config { shards, ..Config::default() };
            let mut node = Node::with(config, Gate::default(), &node.log);
            node.connect("m", version, false);
            let keeper = node.connect("keeper", V5, false);
            node.wait(12);
            let present = "connack present=true code=0";
            let said =
                if delay_secs == 0 { &[present, "will=gone id=2049"][..] } else { &[present] };
            node.expect(keeper, said);
        }
    });
}

/// [MQTT 5.0, 3.1.2.5]: a stop may leave wills to the next start, which says them once.
#[test]
fn a_stop_leaves_wills_to_the_next_start() {
    for (expiry_secs, delay_secs) in [(0, 0), (0, 9), (100, 0), (100, 9)] {
        let mut node = Node::new(1);
        let keeper = node.connect("keeper", V5, false);
        node.subscribe(keeper, "will", AtLeastOnce);
        let client = mortal(&mut node, V5, expiry_secs, delay_secs);
        node.stop();
        assert!(!node.is_open(client));
        for expected in [
            &["connack present=true code=0", "will=gone id=2049"][..],
            &["connack present=true code=0"],
        ] {
            node = Node::with(Config::default(), Gate::default(), &node.log);
            let keeper = node.connect("keeper", V5, false);
            node.wait(30);
            node.expect(keeper, expected);
            if expected.len() > 1 {
                node.puback(keeper, 2049);
            }
        }
    }
}

/// After goodbye there is nothing to say, also not after a crash; nor twice for one that was said.
#[test]
fn a_restart_says_nothing_that_is_over() {
    for expiry_secs in [0, 100] {
        for goodbye in [true, false] {
            let mut node = Node::new(1);
            let keeper = node.connect("keeper", V5, false);
            node.subscribe(keeper, "will", AtLeastOnce);
            node.forget(keeper);
            let client = mortal(&mut node, V5, expiry_secs, 0);
            if goodbye {
                node.leave(client);
            } else {
                node.cut(client);
                node.expect(keeper, &["will=gone id=1"]);
                node.puback(keeper, 1);
            }
            let mut node = Node::with(Config::default(), Gate::default(), &node.log);
            let keeper = node.connect("keeper", V5, false);
            node.wait(200);
            node.expect(keeper, &["connack present=true code=0"]);
        }
    }
}

/// The log is told that a will is over only after the will itself is stored.
#[test]
fn a_crash_in_between_says_it_again_rather_than_not_at_all() {
    let mut node = Node::new(1);
    let keeper = node.connect("keeper", V5, false);
    node.subscribe(keeper, "will", AtLeastOnce);
    for expiry_secs in [0, 100] {
        let client = mortal(&mut node, V5, expiry_secs, 0);
        node.hold_log = true;
        node.cut(client);
        // Whatever part of it is stored, the will is in the log as message or as will.
        let waiting = node.unstored();
        for stored in 0..=waiting {
            let log = node.log_with(stored);
            let mut after = Node::with(Config::default(), Gate::default(), &log);
            let keeper = after.connect("keeper", V5, false);
            after.wait(2);
            assert!(after.seen(keeper) >= 2, "stored {stored} of {waiting}");
        }
        node.hold_log = false;
        node.store(usize::MAX);
        node.forget(keeper);
    }
}

/// A will that its client may not publish is not; asked when it is said.
#[test]
fn the_gate_is_asked_when_it_is_said() {
    let rule = Rule {
        action: Action::Publish,
        who: Who::Client("m".into()),
        filter: "will".into(),
        verdict: Verdict::No,
    };
    let mut node = Node::with(Config::default(), Gate::new(vec![rule]), &[]);
    let witness = witness(&mut node);
    let client = mortal(&mut node, V5, 0, 0);
    node.cut(client);
    node.expect(witness, &[]);
    node.publish(witness, &Publish::new("will", "mine"));
    node.expect(witness, &["will=mine"]);
}

/// A clean start takes the session over whose will it brings about. The end of the session was once
/// in the log before the will was, and a crash in between lost it.
#[test]
fn a_crash_loses_no_will_to_a_clean_start() {
    let mut node = Node::new(1);
    let keeper = node.connect("keeper", V5, false);
    node.subscribe(keeper, "#", AtLeastOnce);
    node.cut(keeper);
    let client = node.open(V5);
    let properties = delayed(0);
    let will = will(AtLeastOnce, true, &properties);
    node.send(client, &connect_with_will("m", V5, false, 100, will));
    node.hold_log = true;
    node.hold_applied = true;
    let next = node.open(V5);
    node.send(next, &connect("m", V5, true, 0));
    assert!(node.unstored() > 0);
    for stored in 0..=node.unstored() {
        let log = node.log_with(stored);
        let mut next = Node::start(Config::default(), Gate::default(), &log, Time(2_000_000));
        next.wait(2);
        let keeper = next.connect("keeper", V5, false);
        next.expect(keeper, &["connack present=true code=0", "will=gone id=2049"]);
    }
    node.hold_log = false;
    node.hold_applied = false;
    node.report_applied();
    node.store(9);
    node.expect(next, &["connack present=false code=0"]);
}
