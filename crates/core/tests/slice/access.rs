//! Users that somebody outside knows, and rules that change while clients are connected.

use std::sync::Arc;

use bellbird_codec::QoS::{AtMostOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::permit::{Action, Gate, Password, Rule, Verdict, Who};
use bellbird_core::{Config, Proven};

use crate::on_each;
use crate::support::{Node, Publish};

/// CONNECT of 3.1.1 with a user name, and a password if one is given.
fn connect_as(client_id: &str, user_name: &str, password: Option<&str>) -> Vec<u8> {
    let flags = 0x82 | if password.is_some() { 0x40 } else { 0 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
    for text in [Some(client_id), Some(user_name), password].into_iter().flatten() {
        body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

fn receive(who: Who, filter: &str) -> Rule {
    Rule { action: Action::Receive, who, filter: filter.into(), verdict: Verdict::Yes }
}

fn with_gate(shards: u8, gate: Gate) -> Node {
    Node::with(Config { shards, ..Config::default() }, gate, &[])
}

#[test]
fn whoever_names_a_user_is_asked_for() {
    on_each(|shards| {
        let mut node = with_gate(shards, Gate::default().with_users());
        for (verdict, expected) in [
            (Verdict::Yes, "connack present=false code=0"),
            (Verdict::No, "connack present=false code=4"),
        ] {
            let client = node.open(V311);
            node.send(client, &connect_as("c", "u", Some("secret")));
            node.expect(client, &[]);
            let (_, _, question) = node.questions[0].clone();
            assert_eq!(question.action, Action::Connect);
            assert_eq!(question.user_name.as_deref(), Some("u"));
            assert_eq!(question.password, Some(Password((*b"secret").into())));
            assert!(!format!("{question:?}").contains("secret"));
            node.decide(verdict);
            node.expect(client, &[expected]);
            assert_eq!(node.is_open(client), verdict == Verdict::Yes);
        }
    });
}

#[test]
fn what_the_transport_has_proven_beats_what_is_said() {
    on_each(|shards| {
        let check = |proven: (Option<&str>, Option<&str>), said: &str, expected: &str| {
            let mut node = with_gate(shards, Gate::default().with_users());
            let client = node.open(V311);
            let (user_name, client_id) = proven;
            let (user_name, client_id) = (user_name.map(Into::into), client_id.map(Into::into));
            node.prove(client, Proven { user_name, client_id });
            node.send(client, &connect_as(said, "somebody", Some("wrong")));
            let is_asked = !node.questions.is_empty();
            assert_eq!(is_asked, proven.0.is_none() && expected.ends_with("code=0"), "{said}");
            if is_asked {
                node.decide(Verdict::Yes);
            }
            node.expect(client, &[expected]);
            let known = node.clients().into_iter();
            known.map(|it| (it.client_id, it.user_name)).collect::<Vec<_>>()
        };
        let welcome = "connack present=false code=0";
        let name =
            |client_id: &str, user_name: &str| vec![(client_id.into(), Some(user_name.into()))];
        assert_eq!(check((Some("u"), None), "c", welcome), name("c", "u"));
        assert_eq!(check((None, Some("c")), "c", welcome), name("c", "somebody"));
        assert_eq!(check((Some("u"), Some("c")), "", welcome), name("c", "u"));
        check((Some("u"), Some("c")), "other", "connack present=false code=2");
    });
}

#[test]
fn an_answer_is_for_the_connection_that_asked() {
    on_each(|shards| {
        let mut node = with_gate(shards, Gate::default().with_users());
        let gone = node.open(V311);
        node.send(gone, &connect_as("c", "u", None));
        node.cut(gone);
        let successor = node.open(V311);
        node.send(successor, &connect_as("c", "u", None));
        let pending = node.questions.split_off(1);
        node.decide(Verdict::Yes);
        node.expect(successor, &[]);
        node.questions = pending;
        node.decide(Verdict::No);
        node.expect(successor, &["connack present=false code=4"]);
    });
}

#[test]
fn other_rules_count_from_the_next_message_on() {
    on_each(|shards| {
        let mut node = with_gate(shards, Gate::default());
        let subscriber = node.connect("s", V5, true);
        node.subscribe(subscriber, "#", AtMostOnce);
        node.forget(subscriber);
        let publisher = node.connect("p", V5, true);
        let closed = Gate::new(vec![receive(Who::Client("s".into()), "b")]).otherwise(Verdict::No);
        let publish = Rule { action: Action::Publish, ..receive(Who::Everybody, "#") };
        let narrow =
            Gate::new(vec![receive(Who::Client("s".into()), "b"), publish]).otherwise(Verdict::No);
        for (gate, expected) in
            [(narrow, &["b=1"][..]), (closed, &[]), (Gate::default(), &["a=1", "b=1"])]
        {
            node.set_gate(&Arc::new(gate));
            node.publish(publisher, &Publish::new("a", "1"));
            node.publish(publisher, &Publish::new("b", "1"));
            node.expect(subscriber, expected);
        }
    });
}

/// Without anybody who knows the users, rules about users speak of nobody.
#[test]
fn a_name_that_nobody_can_check_says_nothing() {
    let gate = Gate::new(vec![receive(Who::User("u".into()), "own"), receive(Who::Anonymous, "x")])
        .otherwise(Verdict::No);
    let mut node = with_gate(1, gate);
    let client = node.open(V311);
    node.send(client, &connect_as("c", "u", None));
    node.forget(client);
    node.subscribe(client, "own", AtMostOnce);
    node.expect(client, &["suback 1 [128]"]);
    node.subscribe(client, "x", AtMostOnce);
    node.expect(client, &["suback 1 [0]"]);
}

/// A delivery of QoS 2 waits for the log to know its packet id; it was once sent then, whatever rules
/// had come into force in between.
#[test]
fn rules_count_for_what_waits_for_the_log() {
    let mut node = with_gate(1, Gate::default());
    let reader = node.connect("r", V5, false);
    let writer = node.connect("w", V5, true);
    node.subscribe(reader, "a", ExactlyOnce);
    node.forget(reader);
    node.hold_log = true;
    node.publish(writer, &Publish::new("a", "x").qos2(1));
    node.store(1);
    assert_eq!(node.unstored(), 1, "the packet id");
    node.set_gate(&Arc::new(Gate::default().otherwise(Verdict::No)));
    node.hold_log = false;
    node.store(1);
    node.expect(reader, &[]);
    node.check_ledger();
}
