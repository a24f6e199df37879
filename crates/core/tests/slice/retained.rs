//! Retained messages: how much is kept, and for how long.

use bellbird_codec::QoS::AtLeastOnce;
use bellbird_codec::Version::{V5, V311};
use bellbird_codec::{Property, PropertyBuffer};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, Time};

use crate::on_each;
use crate::support::{Node, Publish};

#[test]
fn only_so_many_topics_and_bytes() {
    // "t1", "four": 6 bytes each, and none for properties.
    for config in [
        Config { retained_messages_max: 2, ..Config::default() },
        Config { retained_bytes_max: 15, ..Config::default() },
    ] {
        let mut node = Node::with(config, Gate::default(), &[]);
        let client = node.connect("c", V5, true);
        node.forget(client);
        for id in 1..=3 {
            let topic = format!("t{id}");
            node.publish(client, &Publish::new(&topic, "four").retained().qos1(id));
        }
        node.expect(client, &["puback 1 16", "puback 2 16", "puback 3 151"]);
        // What is there may be replaced and cleared, and then there is room.
        node.publish(client, &Publish::new("t1", "more").retained().qos1(4));
        node.publish(client, &Publish::new("t2", "").retained().qos1(5));
        node.publish(client, &Publish::new("t3", "four").retained().qos1(6));
        node.expect(client, &["puback 4 16", "puback 5 16", "puback 6 16"]);
        let old = node.connect("old", V311, true);
        node.publish(old, &Publish::new("t4", "four").retained());
        assert!(!node.is_open(old), "it could not be told otherwise");
        assert_eq!(node.traffic().publishes_refused, 2);
        assert_eq!(node.retained().messages, 2);
        assert_eq!(node.retained().bytes, 12);
    }
}

#[test]
fn what_is_over_leaves_the_node() {
    on_each(|shards| {
        let mut node = Node::new(shards);
        let client = node.connect("c", V5, true);
        node.subscribe(client, "#", AtLeastOnce);
        let mut expiry = PropertyBuffer::new();
        expiry.push(Property::MessageExpiryInterval(5));
        let properties = expiry.as_properties();
        for topic in ["a", "b"] {
            node.publish(client, &Publish { properties, ..Publish::new(topic, "x").retained() });
        }
        node.wait(3);
        // This one takes the place of the message that would be over.
        node.publish(client, &Publish::new("b", "stays").retained());
        let log = node.log.clone();
        node.wait(4);
        assert_eq!(node.retained().messages, 1);
        // The same after a restart, from the log.
        let mut next = Node::start(
            Config { shards, ..Config::default() },
            Gate::default(),
            &log,
            Time(1_000_000).plus_secs(3),
        );
        assert_eq!(next.retained().messages, 2);
        next.wait(4);
        assert_eq!(next.retained().messages, 1);
    });
}
