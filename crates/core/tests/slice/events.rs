//! What an observer is told, and that nobody is told what was not asked for.

use bellbird_codec::QoS::{AtLeastOnce, AtMostOnce};
use bellbird_codec::Version::{V5, V31, V311};
use bellbird_codec::{Properties, Will};
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::{Config, Event, Objection, Telling, Terms};
use bellbird_topics::TopicName;

use crate::on_each;
use crate::support::{Node, Publish, connect_with_will};

/// Everything but `secret/#`.
fn gate() -> Gate {
    let deny = |action| Rule {
        action,
        who: Who::Everybody,
        filter: "secret/#".into(),
        verdict: Verdict::No,
    };
    Gate::new(vec![deny(Action::Publish), deny(Action::Receive)])
}

fn node(shards: u8, telling: Telling) -> Node {
    let terms = Terms { inflight_max: 1, ..Terms::default() };
    let listeners = vec![terms];
    let config = Config { shards, telling, queue_messages_max: 1, listeners, ..Config::default() };
    Node::with(config, gate(), &[])
}

/// The same for all levels of telling: a refusal of each kind, and a life.
fn live(node: &mut Node) {
    let client = node.connect("c", V5, false);
    node.subscribe(client, "secret/x", AtLeastOnce);
    node.subscribe(client, "a", AtLeastOnce);
    node.subscribe(client, "b", AtMostOnce);
    let publisher = node.connect("p", V5, true);
    node.publish(publisher, &Publish::new("secret/x", "x"));
    node.publish(publisher, &Publish::new("$x", "x").qos1(1));
    node.publish(publisher, &Publish::new("a", "1").qos1(2));
    node.publish(publisher, &Publish::new("a", "2").qos1(3));
    node.publish(publisher, &Publish::new("a", "3").qos1(4));
    node.publish(publisher, &Publish::new("b", "4"));
    node.puback(client, 1);
    node.unsubscribe(client, "b");
    node.cut(client);
    assert!(node.end_session("c"));
    node.leave(publisher);
}

/// Names of the events, with what is told of them.
fn names(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Connected { client_id, session_present, .. } => {
            format!("connected {client_id} {session_present}")
        }
        Event::ConnectRefused { client_id, user_name, reason, .. } => {
            format!("not let in {client_id:?} {user_name:?} {reason}")
        }
        Event::Disconnected { client_id, cause, .. } => {
            format!("disconnected {client_id} {}", cause.name())
        }
        Event::SessionEnded { client_id, deliveries } => format!("over {client_id} {deliveries}"),
        Event::Subscribed { client_id, filter, qos } => {
            format!("subscribed {client_id} {filter} {qos:?}")
        }
        Event::SubscribeRefused { client_id, filter, reason, .. } => {
            format!("no subscription {client_id} {filter} {reason}")
        }
        Event::Unsubscribed { client_id, filter } => format!("unsubscribed {client_id} {filter}"),
        Event::Published { client_id, topic, .. } => format!("published {client_id} {topic}"),
        Event::PublishRefused { client_id, topic, objection, .. } => {
            format!("no publication {client_id:?} {topic} {objection:?}")
        }
        Event::Delivered { client_id, topic, packet_id, .. } => {
            let packet_id = packet_id.map_or(0, |id| id.value());
            format!("delivered {client_id} {topic} {packet_id}")
        }
        Event::Acknowledged { client_id, packet_id, topic } => {
            format!("acknowledged {client_id} {} {topic:?}", packet_id.value())
        }
        Event::Dropped { whose, topic, reason, deliveries } => {
            format!("dropped {whose} {topic:?} {} {deliveries}", reason.name())
        }
    };
    events.iter().map(name).collect()
}

#[test]
fn nothing_is_told_unasked() {
    on_each(|shards| {
        let mut node = node(shards, Telling::Nothing);
        live(&mut node);
        assert_eq!(node.events, []);
    });
}

#[test]
fn refusals_alone() {
    on_each(|shards| {
        let mut node = node(shards, Telling::Refusals);
        live(&mut node);
        let expected = [
            "no subscription c secret/x not authorized",
            "no publication Some(\"p\") secret/x Rules",
            "no publication Some(\"p\") $x Reserved",
        ];
        assert_eq!(names(&node.events), expected);
    });
}

#[test]
fn a_life_in_events() {
    let mut node = node(1, Telling::Everything);
    live(&mut node);
    let expected = [
        "connected c false",
        "no subscription c secret/x not authorized",
        "subscribed c a AtLeastOnce",
        "subscribed c b AtMostOnce",
        "connected p false",
        "no publication Some(\"p\") secret/x Rules",
        "no publication Some(\"p\") $x Reserved",
        "published p a",
        "delivered c a 1",
        "published p a",
        "published p a",
        "dropped c Some(\"a\") queue_full 1",
        "published p b",
        "delivered c b 0",
        "acknowledged c 1 Some(\"a\")",
        "delivered c a 2",
        "unsubscribed c b",
        "disconnected c lost",
        "over c 1",
        "disconnected p client",
        "over p 0",
    ];
    assert_eq!(names(&node.events), expected);
}

#[test]
fn who_is_not_let_in() {
    on_each(|shards| {
        for telling in [Telling::Nothing, Telling::Refusals, Telling::Everything] {
            let terms = Terms { anonymous: false, ..Terms::default() };
            let config = Config { shards, telling, listeners: vec![terms], ..Config::default() };
            let mut node = Node::with(config, Gate::default(), &[]);
            node.connect("c", V311, true);
            let will = node.open(V311);
            node.send(will, &connect_with_will("w", V311, true, 0, will_to("$SYS/a")));
            node.connect("", V31, true);
            let other = node.open(V5);
            node.send(other, &[0, 0]);
            let expected: &[&str] = &[
                "not let in Some(\"c\") None not authorized",
                "not let in Some(\"w\") None topic name invalid",
                "not let in Some(\"\") None client identifier not valid",
                "not let in None None protocol error",
            ];
            let expected = if telling == Telling::Nothing { &[] } else { expected };
            assert_eq!(names(&node.events), expected);
        }
    });
}

#[test]
fn one_session_too_many() {
    let config = Config { telling: Telling::Refusals, sessions_max: 1, ..Config::default() };
    let mut node = Node::with(config, Gate::default(), &[]);
    node.connect("a", V5, true);
    node.connect("b", V5, true);
    assert_eq!(names(&node.events), ["not let in Some(\"b\") None quota exceeded"]);
}

#[test]
fn who_breaks_the_protocol() {
    on_each(|shards| {
        let mut node = node(shards, Telling::Refusals);
        let client = node.connect("c", V5, true);
        node.send(client, &[0, 0]);
        let client = node.connect("d", V311, true);
        node.publish(client, &Publish::new("secret/x", "x"));
        let expected = [
            "disconnected c protocol",
            "no publication Some(\"d\") secret/x Rules",
            "disconnected d protocol",
        ];
        assert_eq!(names(&node.events), expected);
    });
}

fn will_to(topic: &str) -> Will<'_> {
    Will {
        qos: AtMostOnce,
        retain: false,
        topic: TopicName::parse(topic).unwrap(),
        payload: b"gone",
        properties: Properties::default(),
    }
}

#[test]
fn a_will_that_the_rules_refuse() {
    on_each(|shards| {
        let mut node = node(shards, Telling::Refusals);
        let client = node.open(V5);
        node.send(client, &connect_with_will("c", V5, true, 0, will_to("secret/will")));
        node.cut(client);
        let [Event::PublishRefused { client_id, topic, objection, .. }] = &node.events[..] else {
            panic!("{:?}", node.events)
        };
        assert_eq!((client_id.as_deref(), &**topic), (Some("c"), "secret/will"));
        assert_eq!(*objection, Objection::Rules);
    });
}
