//! `$delayed/{seconds}/{topic}`: published later, whatever happens in between.

use bellbird_codec::QoS::{AtLeastOnce, ExactlyOnce};
use bellbird_codec::SubscribeOptions;
use bellbird_codec::Version::{V5, V311};
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::record::Record;
use bellbird_core::{Config, Rewrite, Time};

use crate::on_each;
use crate::support::{Answer, Client, Node, Publish, options, subscribe};

fn with_keeper(config: Config) -> (Node, Client, Client) {
    let mut node = Node::with(config, Gate::default(), &[]);
    let keeper = node.connect("keeper", V5, false);
    let writer = node.connect("w", V5, true);
    node.subscribe(keeper, "#", ExactlyOnce);
    node.forget(keeper);
    node.forget(writer);
    (node, keeper, writer)
}

#[test]
fn it_is_acknowledged_at_once_and_comes_in_its_time() {
    on_each(|shards| {
        let (mut node, keeper, writer) = with_keeper(Config { shards, ..Config::default() });
        node.publish(writer, &Publish::new("$delayed/9/b", "late").qos1(1));
        node.publish(writer, &Publish::new("$delayed/2/a", "soon").qos2(2));
        node.publish(writer, &Publish::new("$delayed/2/a", "zero"));
        node.expect(writer, &["puback 1 0", "pubrec 2 0"]);
        node.answer(writer, Answer::Pubrel, 2);
        node.expect(writer, &["pubcomp 2 0"]);
        node.wait(1);
        node.expect(keeper, &[]);
        node.wait(2);
        node.expect(keeper, &["a=zero", "a=soon id=2:1"]);
        node.wait(10);
        node.expect(keeper, &["b=late id=2"]);
        node.check_ledger();
    });
}

#[test]
fn what_is_sent_twice_waits_once() {
    let (mut node, keeper, writer) = with_keeper(Config::default());
    node.publish(writer, &Publish::new("$delayed/1/a", "x").qos2(7));
    node.publish(writer, &Publish::new("$delayed/1/a", "x").qos2(7));
    node.wait(3);
    node.expect(keeper, &["a=x id=2:1"]);
}

#[test]
fn retained_counts_from_its_time() {
    on_each(|shards| {
        let (mut node, _, writer) = with_keeper(Config { shards, ..Config::default() });
        node.publish(writer, &Publish::new("$delayed/5/a", "kept").retained().qos1(1));
        let before = node.connect("before", V311, true);
        node.subscribe(before, "a", AtLeastOnce);
        node.forget(before);
        node.wait(6);
        node.expect(before, &["a=kept id=1"]);
        let after = node.connect("after", V311, true);
        node.forget(after);
        node.subscribe(after, "a", AtLeastOnce);
        node.expect(after, &["suback 1 [1]", "a=kept id=1 retain"]);
    });
}

#[test]
fn a_wrong_one_is_refused() {
    let (mut node, keeper, writer) = with_keeper(Config::default());
    node.publish(writer, &Publish::new("$delayed/soon/a", "x").qos1(1));
    node.publish(writer, &Publish::new("$delayed/1/$SYS/a", "x").qos1(2));
    node.publish(writer, &Publish::new("$delayed/1/$delayed/1/a", "x").qos1(3));
    node.expect(writer, &["puback 1 144", "puback 2 135", "puback 3 135"]);
    let old = node.connect("old", V311, true);
    node.publish(old, &Publish::new("$delayed/-1/a", "x"));
    assert!(!node.is_open(old));
    node.wait(5);
    node.expect(keeper, &[]);
}

#[test]
fn only_so_many_wait() {
    let config = Config { delayed_messages_max: 2, ..Config::default() };
    let (mut node, keeper, writer) = with_keeper(config);
    for id in 1..=3 {
        node.publish(writer, &Publish::new("$delayed/1/a", "x").qos1(id));
    }
    node.expect(writer, &["puback 1 0", "puback 2 0", "puback 3 151"]);
    let old = node.connect("old", V311, true);
    node.publish(old, &Publish::new("$delayed/1/a", "x").qos1(1));
    assert!(!node.is_open(old), "it could not be told otherwise");
    node.wait(2);
    node.expect(keeper, &["a=x id=1", "a=x id=2"]);
    node.publish(writer, &Publish::new("$delayed/1/a", "x").qos1(4));
    node.expect(writer, &["puback 4 0"]);
}

#[test]
fn rules_and_rewrites_speak_of_the_topic_itself() {
    let rule = |filter: &str, verdict| Rule {
        action: Action::Publish,
        who: Who::Everybody,
        filter: filter.into(),
        verdict,
    };
    let gate = Gate::new(vec![rule("b", Verdict::Yes), rule("#", Verdict::No)]);
    let rewrite = Rewrite { publishes: true, subscribes: false, from: "a".into(), to: "b".into() };
    let mut node = Node::with(Config { rewrites: vec![rewrite], ..Config::default() }, gate, &[]);
    let client = node.connect("c", V5, true);
    node.subscribe(client, "#", AtLeastOnce);
    node.forget(client);
    node.publish(client, &Publish::new("$delayed/1/a", "x").qos1(1));
    node.publish(client, &Publish::new("$delayed/1/c", "x").qos1(2));
    node.wait(2);
    node.expect(client, &["puback 1 0", "puback 2 135", "b=x id=1"]);
}

/// Whatever part of the log is left, what was acknowledged comes once it is due: after one more
/// start as many times as the log says, and never again after another.
#[test]
fn it_outlives_the_node() {
    let restart = |log: &[Record], secs: u64| {
        let now = Time(1_000_000).plus_secs(secs);
        let mut node =
            Node::start(Config { shards: 2, ..Config::default() }, Gate::default(), log, now);
        let keeper = node.connect("keeper", V5, false);
        (node, keeper)
    };
    let (mut node, _, writer) = with_keeper(Config::default());
    node.publish(writer, &Publish::new("$delayed/10/a", "x").qos1(1));
    node.publish(writer, &Publish::new("$delayed/1000/b", "y").retained().qos1(2));
    for secs in [3, 10, 60] {
        let (mut next, keeper) = restart(&node.log, secs);
        next.wait(11);
        next.expect(keeper, &["connack present=true code=0", "a=x id=2049"]);
        next.puback(keeper, 2049);
        let (mut last, keeper) = restart(&next.log, 900);
        last.wait(20);
        last.expect(keeper, &["connack present=true code=0"]);
        last.wait(100);
        last.expect(keeper, &["b=y id=4097"]);
    }
    // The log knows the message, and not yet that it was published.
    node.hold_log = true;
    node.wait(12);
    let copies = |log: &[Record]| {
        let (mut next, keeper) = restart(log, 12);
        next.wait(2);
        next.seen(keeper) - 1
    };
    assert_eq!(copies(&node.log_with(0)), 1);
    assert_eq!(copies(&node.log_with(1)), 2, "rather twice than never");
    node.store(1);
    assert_eq!(copies(&node.log_with(1)), 1);
}

/// With No Local, a client does not get what it published itself, also not when a start lies in
/// between: the publisher of a message that waited was forgotten at each start.
#[test]
fn it_stays_its_publishers_own_over_a_start() {
    let config = || Config { shards: 2, ..Config::default() };
    let mut node = Node::with(config(), Gate::default(), &[]);
    let client = node.connect("c", V5, false);
    let own = SubscribeOptions { no_local: true, ..options(AtLeastOnce) };
    node.send(client, &subscribe(V5, 1, "a", own));
    node.publish(client, &Publish::new("$delayed/5/a", "x").qos1(1));
    let now = Time(1_000_000).plus_secs(10);
    let mut next = Node::start(config(), Gate::default(), &node.log, now);
    let client = next.connect("c", V5, false);
    next.wait(2);
    next.expect(client, &["connack present=true code=0"]);
    next.check_ledger();
}
