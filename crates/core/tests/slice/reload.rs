//! Other settings while the node runs.

use std::sync::Arc;

use bellbird_codec::Version::{V5, V311};
use bellbird_core::{Config, Terms};

use crate::on_each;
use crate::support::{Node, Publish};

#[test]
fn connections_keep_the_terms_they_were_promised() {
    on_each(|shards| {
        for version in [V311, V5] {
            let mut node = Node::new(shards);
            let before = node.connect("before", version, true);
            let terms = Terms { topic_levels_max: 1, ..Terms::default() };
            node.reload(&Arc::new(Config { shards, listeners: vec![terms], ..Config::default() }));
            let after = node.connect("after", version, true);
            for client in [before, after] {
                node.publish(client, &Publish::new("two/levels", "x"));
            }
            assert!(node.is_open(before));
            assert!(!node.is_open(after));
        }
    });
}
