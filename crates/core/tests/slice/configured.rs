//! What the operator's configuration does to packets: rewrites, automatic subscriptions, profiles.

use std::sync::Arc;

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V31, V311};
use bellbird_codec::{Properties, QoS, RetainHandling, SubscribeOptions, Version, Will};
use bellbird_core::permit::Gate;
use bellbird_core::{AutoSubscription, Config, Profile, Quirk, Rewrite, Terms};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::{Node, Publish, connect, connect_with_will};

fn rewrite(from: &str, to: &str) -> Rewrite {
    Rewrite { publishes: true, subscribes: true, from: from.into(), to: to.into() }
}

fn auto(filter: &str, qos: QoS, retain_handling: RetainHandling) -> AutoSubscription {
    let options =
        SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling };
    AutoSubscription { filter: filter.into(), options }
}

fn node(config: Config) -> Node {
    Node::with(config, Gate::default(), &[])
}

#[test]
fn topics_and_filters_are_taken_for_others() {
    on_each(|shards| {
        let rewrites = vec![rewrite("old/+", "new/$1"), rewrite("mine/#", "of/%c/$1")];
        let mut node = node(Config { shards, rewrites, ..Config::default() });
        let client = node.connect("c", V5, true);
        let other = node.connect("o", V311, true);
        node.subscribe(client, "old/a", AtLeastOnce);
        node.subscribe(other, "new/+", AtMostOnce);
        node.subscribe(other, "of/#", AtMostOnce);
        node.forget(client);
        node.forget(other);
        node.publish(client, &Publish::new("old/a", "1"));
        node.publish(client, &Publish::new("mine/x/y", "2").qos1(1));
        node.expect(client, &["new/a=1", "puback 1 0"]);
        node.expect(other, &["new/a=1", "of/c/x/y=2"]);
        node.unsubscribe(client, "new/a");
        node.publish(other, &Publish::new("old/a", "3"));
        node.expect(client, &["unsuback 2 [0]"]);
        node.check_ledger();
    });
}

#[test]
fn a_name_that_is_no_level_is_not_filled_in() {
    let rewrites = vec![rewrite("mine/#", "of/%c/$1")];
    let mut node = node(Config { rewrites, ..Config::default() });
    let client = node.connect("a/b", V5, true);
    node.subscribe(client, "#", AtMostOnce);
    node.forget(client);
    node.publish(client, &Publish::new("mine/x", "1"));
    node.expect(client, &["mine/x=1"]);
}

/// [MQTT-3.1.2-2], and of 3.1.1 the same.
#[test]
fn a_listener_speaks_the_versions_that_it_is_to() {
    let check = |spoken: &[Version], asked: Version, expected: &str| {
        let versions = spoken.iter().copied().collect();
        let terms = Terms { versions, ..Terms::default() };
        let mut node = node(Config { listeners: vec![terms], ..Config::default() });
        let client = node.open(asked);
        node.send(client, &connect("c", asked, true, 0));
        node.expect(client, &[expected]);
        assert_eq!(node.is_open(client), expected.ends_with("code=0"));
    };
    check(&[V31, V311, V5], V31, "connack present=false code=0");
    check(&[V311], V311, "connack present=false code=0");
    check(&[V5], V5, "connack present=false code=0");
    check(&[V311, V5], V31, "connack present=false code=1");
    check(&[V5], V311, "connack present=false code=1");
    check(&[V31, V311], V5, "connack present=false code=132");
}

#[test]
fn a_will_is_taken_for_another_too() {
    on_each(|shards| {
        let rewrites = vec![rewrite("old/+", "new/$1")];
        let mut node = node(Config { shards, rewrites, ..Config::default() });
        let reader = node.connect("r", V311, true);
        node.subscribe(reader, "new/a", AtMostOnce);
        node.forget(reader);
        let client = node.open(V311);
        let topic = TopicName::parse("old/a").unwrap();
        let properties = Properties::default();
        let will = Will { qos: AtMostOnce, retain: false, topic, properties, payload: b"gone" };
        node.send(client, &connect_with_will("c", V311, true, 0, will));
        node.cut(client);
        node.expect(reader, &["new/a=gone"]);
    });
}

#[test]
fn subscriptions_that_nobody_asked_for() {
    on_each(|shards| {
        let auto_subscriptions = vec![
            auto("to/%c", AtLeastOnce, RetainHandling::SendAlways),
            auto("user/%u", AtLeastOnce, RetainHandling::SendAlways),
            auto("news", AtMostOnce, RetainHandling::SendIfNew),
        ];
        let mut node = node(Config { shards, auto_subscriptions, ..Config::default() });
        let writer = node.connect("w", V5, true);
        node.forget(writer);
        node.publish(writer, &Publish::new("to/c", "kept").retained());
        node.publish(writer, &Publish::new("news", "old").retained());
        let client = node.connect("c", V5, false);
        node.expect(
            client,
            &["connack present=false code=0", "to/c=kept retain", "news=old retain"],
        );
        node.publish(writer, &Publish::new("to/c", "now").qos1(1));
        node.expect(client, &["to/c=now id=1"]);
        node.puback(client, 1);
        node.cut(client);
        let again = node.connect("c", V5, false);
        node.expect(again, &["connack present=true code=0", "to/c=kept retain"]);
        node.check_ledger();
    });
}

#[test]
fn a_client_may_leave_what_it_did_not_ask_for() {
    let auto_subscriptions = vec![auto("news", AtMostOnce, RetainHandling::DoNotSend)];
    let mut node = node(Config { auto_subscriptions, ..Config::default() });
    let client = node.connect("c", V311, true);
    node.forget(client);
    node.publish(client, &Publish::new("news", "1"));
    node.unsubscribe(client, "news");
    node.publish(client, &Publish::new("news", "2"));
    node.expect(client, &["news=1", "unsuback 2 []"]);
}

#[test]
fn quirks_are_counted_or_end_the_connection() {
    for profile in [Profile::Tolerant, Profile::Strict] {
        let is_let_pass = profile == Profile::Tolerant;
        let mut config = Config::default();
        config.listeners[0].profile = profile;
        let mut node = node(config);
        let odd = node.connect("odd", V5, true);
        node.forget(odd);
        node.publish(odd, &Publish::new("a\u{1}b", "x"));
        assert_eq!(node.is_open(odd), is_let_pass);
        node.expect(odd, if is_let_pass { &[] } else { &["disconnect 0x81"] });
        let long = node.open(V31);
        node.send(long, &connect("a_name_of_twenty_four__x", V31, true, 0));
        assert_eq!(node.is_open(long), is_let_pass);
        node.expect(
            long,
            &[&*format!("connack present=false code={}", if is_let_pass { 0 } else { 2 })],
        );
        let expected = if is_let_pass { [1, 1] } else { [0, 0] };
        assert_eq!(node.traffic().quirks, expected, "{:?}", Quirk::ALL);
    }
}

#[test]
fn settings_count_for_those_who_come_after() {
    let mut node = node(Config::default());
    let before = node.connect("before", V311, true);
    node.reload(&Arc::new(Config { rewrites: vec![rewrite("a", "b")], ..Config::default() }));
    let after = node.connect("after", V311, true);
    node.subscribe(before, "#", AtMostOnce);
    node.forget(before);
    node.publish(before, &Publish::new("a", "1"));
    node.publish(after, &Publish::new("a", "2"));
    node.expect(before, &["a=1", "b=2"]);
}
