//! `$exclusive/{filter}`: one session has it, the others are told so.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, Time};

use crate::on_each;
use crate::support::{Node, Publish};

#[test]
fn the_second_is_refused_until_the_first_gives_it_up() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let first = node.connect("first", V5, true);
        let second = node.connect("second", V5, true);
        let old = node.connect("old", V311, true);
        let plain = node.connect("plain", V311, true);
        node.publish(plain, &Publish::new("a/b", "kept").retained());
        node.subscribe(first, "$exclusive/a/+", AtLeastOnce);
        node.subscribe(plain, "a/+", AtMostOnce);
        for client in [first, second, old, plain] {
            node.forget(client);
        }
        node.subscribe(second, "$exclusive/a/+", AtLeastOnce);
        node.subscribe(old, "$exclusive/a/+", AtLeastOnce);
        node.expect(second, &["suback 1 [151]"]);
        node.expect(old, &["suback 1 [128]"]);
        // It is its own, and may be replaced.
        node.subscribe(first, "$exclusive/a/+", AtMostOnce);
        node.expect(first, &["suback 1 [0]", "a/b=kept retain"]);
        node.publish(plain, &Publish::new("a/c", "x"));
        node.expect(first, &["a/c=x"]);
        node.expect(second, &[]);
        node.expect(plain, &["a/c=x"]);
        // Who was refused has nothing to give up.
        node.unsubscribe(second, "$exclusive/a/+");
        node.expect(second, &["unsuback 2 [17]"]);
        node.unsubscribe(first, "$exclusive/a/+");
        node.subscribe(second, "$exclusive/a/+", AtLeastOnce);
        node.publish(plain, &Publish::new("a/c", "y"));
        node.expect(second, &["suback 1 [1]", "a/b=kept retain", "a/c=y"]);
        node.expect(first, &["unsuback 2 [0]"]);
        node.check_ledger();
    });
}

#[test]
fn it_ends_with_its_session_and_not_with_a_connection() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        for (name, clean, code) in [("short", true, 1), ("long", false, 151)] {
            let owner = node.connect(name, V311, clean);
            node.subscribe(owner, "$exclusive/a", AtLeastOnce);
            node.cut(owner);
            let next = node.connect("next", V5, true);
            node.forget(next);
            node.subscribe(next, "$exclusive/a", AtLeastOnce);
            node.expect(next, &[&*format!("suback 1 [{code}]")]);
            node.cut(next);
        }
    });
}

/// The log hears of it only once it is decided; then it stands over restarts.
#[test]
fn it_outlives_the_node() {
    let mut node = Node::new(1);
    let owner = node.connect("owner", V5, false);
    let other = node.connect("other", V5, false);
    node.subscribe(owner, "$exclusive/a", AtLeastOnce);
    node.subscribe(other, "$exclusive/a", AtLeastOnce);
    node.forget(owner);
    for shards in [1, 2] {
        let config = Config { shards, ..Config::default() };
        let mut next = Node::start(config, Gate::default(), &node.log, Time(1_000_000));
        let other = next.connect("other", V5, false);
        next.expect(other, &["connack present=true code=0"]);
        next.subscribe(other, "$exclusive/a", AtLeastOnce);
        next.expect(other, &["suback 1 [151]"]);
        next.publish(other, &Publish::new("a", "x").qos1(1));
        next.expect(other, &["puback 1 0"]);
        let owner = next.connect("owner", V5, false);
        next.expect(owner, &["connack present=true code=0", "a=x id=2049"]);
        next.check_ledger();
    }
}

/// Both ask before the view has answered either.
#[test]
fn two_at_once() {
    let mut node = Node::new(2);
    let clients = ["c0", "c1"].map(|name| node.connect(name, V5, false));
    for client in clients {
        node.forget(client);
    }
    node.hold_applied = true;
    for client in clients {
        node.subscribe(client, "$exclusive/a", AtLeastOnce);
        node.expect(client, &[]);
    }
    node.hold_applied = false;
    node.report_applied();
    node.expect(clients[0], &["suback 1 [1]"]);
    node.expect(clients[1], &["suback 1 [151]"]);
}

/// The view has one place for a filter of a session.
#[test]
fn one_session_has_it_this_way_or_that() {
    let mut node = Node::new(1);
    let client = node.connect("c", V5, true);
    node.forget(client);
    for (first, second) in [("a/+", "$exclusive/a/+"), ("$exclusive/b", "b")] {
        node.subscribe(client, first, AtLeastOnce);
        node.subscribe(client, second, AtLeastOnce);
        node.unsubscribe(client, first);
        node.subscribe(client, second, AtLeastOnce);
        node.expect(client, &["suback 1 [1]", "suback 1 [131]", "unsuback 2 [0]", "suback 1 [1]"]);
    }
}

/// Who came second and left before it was told has nothing of it.
#[test]
fn a_loser_that_is_gone_has_lost_all_the_same() {
    let mut node = Node::new(1);
    let [winner, loser] = ["winner", "loser"].map(|name| node.connect(name, V5, false));
    node.hold_applied = true;
    for client in [winner, loser] {
        node.subscribe(client, "$exclusive/a", AtLeastOnce);
    }
    node.cut(loser);
    node.hold_applied = false;
    node.report_applied();
    let loser = node.connect("loser", V5, false);
    node.forget(loser);
    node.unsubscribe(loser, "$exclusive/a");
    node.expect(loser, &["unsuback 2 [17]"]);
}

/// Whatever part of the log a crash leaves, nobody who was granted it has to share it: the view once
/// let the next one in before the log knew that the last one had given it up.
#[test]
fn a_crash_leaves_one_owner() {
    for is_goodbye in [false, true] {
        let mut node = Node::new(1);
        let [first, second] = ["first", "second"].map(|name| node.connect(name, V5, false));
        node.subscribe(first, "$exclusive/a", AtLeastOnce);
        node.forget(second);
        node.hold_log = true;
        let mut first = first;
        if is_goodbye {
            first = node.connect("first", V5, true);
        } else {
            node.unsubscribe(first, "$exclusive/a");
        }
        node.subscribe(second, "$exclusive/a", AtLeastOnce);
        node.hold_log = false;
        node.store(9);
        node.expect(second, &["suback 1 [151]"]);
        node.subscribe(second, "$exclusive/a", AtLeastOnce);
        node.expect(second, &["suback 1 [1]"]);
        node.cut(first);
        let mut next = Node::start(Config::default(), Gate::default(), &node.log, Time(1_000_000));
        let second = next.connect("second", V5, false);
        next.publish(second, &Publish::new("a", "x").qos1(1));
        next.expect(second, &["connack present=true code=0", "a=x id=2049", "puback 1 0"]);
    }
}

/// The connection that claimed it is gone, and the next one of the session gives it up before the
/// view's answer is there: the log must not hear of the claim behind its end.
#[test]
fn what_is_given_up_is_not_claimed_behind_it() {
    let mut node = Node::new(1);
    let client = node.connect("c", V5, false);
    node.hold_applied = true;
    node.subscribe(client, "$exclusive/a", AtLeastOnce);
    let client = node.connect("c", V5, false);
    node.hold_log = true;
    node.unsubscribe(client, "$exclusive/a");
    node.hold_applied = false;
    node.report_applied();
    node.hold_log = false;
    node.store(9);
    let mut next = Node::start(Config::default(), Gate::default(), &node.log, Time(1_000_000));
    let other = next.connect("other", V5, true);
    next.forget(other);
    next.subscribe(other, "$exclusive/a", AtLeastOnce);
    next.expect(other, &["suback 1 [1]"]);
}
