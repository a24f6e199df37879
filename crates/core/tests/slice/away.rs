//! Messages of long queues leave memory and are back when their turn comes.

use bellbird_codec::QoS::{AtLeastOnce, ExactlyOnce};
use bellbird_codec::Version::{V5, V311};
use bellbird_core::Memory::{Ample, Tight};
use bellbird_core::permit::Gate;
use bellbird_core::{Config, DropReason};

use crate::on_each;
use crate::support::{Node, Publish};

/// A queue of which so many bytes stay in memory.
fn config(shards: u8, queue_memory_bytes: usize) -> Config {
    Config { shards, queue_memory_bytes, queue_messages_max: 5_000, ..Config::default() }
}

#[test]
fn a_long_queue_comes_back_in_order_from_memory_and_log() {
    on_each(|shards| {
        for queue_memory_bytes in [0, 10, 1_000, 1 << 20] {
            let mut node = Node::with(config(shards, queue_memory_bytes), Gate::default(), &[]);
            let publisher = node.connect("p", V5, true);
            let reader = node.connect("s", V311, false);
            node.subscribe(reader, "t", AtLeastOnce);
            node.cut(reader);
            for number in 1..=1_000 {
                node.publish(publisher, &Publish::new("t", &number.to_string()).qos1(1));
            }
            let waiting = node.holdings();
            assert_eq!(waiting.queued, 1_000);
            assert!(waiting.queued_memory_bytes <= queue_memory_bytes as u64, "{waiting:?}");
            let again = node.connect("s", V311, false);
            node.forget(again);
            for id in 1..=1_000 {
                let ahead = id + 100;
                node.puback(again, id);
                if ahead <= 1_000 {
                    node.expect(again, &[&format!("t={ahead} id={ahead}")]);
                }
            }
            assert_eq!(node.fetched > 0, queue_memory_bytes < 1 << 20);
            assert_eq!(node.holdings().queued, 0);
            node.check_ledger();
        }
    });
}

/// A start leaves everything in the log but what may have been sent already.
#[test]
fn a_start_reads_what_is_due_and_leaves_the_rest() {
    on_each(|shards| {
        let mut node = Node::with(config(shards, 1 << 20), Gate::default(), &[]);
        let publisher = node.connect("p", V5, true);
        let reader = node.connect("s", V5, false);
        node.subscribe(reader, "t", ExactlyOnce);
        for number in 1..=500 {
            node.publish(publisher, &Publish::new("t", &number.to_string()).qos1(1));
        }
        assert_eq!(node.fetched, 0);
        let mut node = Node::with(config(shards, 1 << 20), Gate::default(), &node.log);
        let waiting = node.holdings();
        assert_eq!((waiting.inflight + waiting.queued, waiting.queued_memory_bytes), (500, 0));
        assert_eq!(node.fetched, 0);
        let again = node.connect("s", V5, false);
        assert!(node.fetched > 0);
        for id in 2049..=2548 {
            node.puback(again, id);
        }
        assert_eq!(node.ledger().done, 500);
        node.check_ledger();
    });
}

#[test]
fn all_queues_leave_memory_when_it_gets_tight() {
    on_each(|shards| {
        let mut node = Node::with(config(shards, 3_200), Gate::default(), &[]);
        let publisher = node.connect("p", V5, true);
        for number in 0..400 {
            let away = node.connect(&format!("s{number}"), V5, false);
            node.subscribe(away, "t", AtLeastOnce);
            node.cut(away);
        }
        let payload = "x".repeat(299);
        for _ in 0..10 {
            node.publish(publisher, &Publish::new("t", &payload).qos1(1));
        }
        assert_eq!(node.holdings().queued_memory_bytes, 400 * 10 * 300);
        node.memory_is(Tight);
        node.wait(2);
        assert_eq!(node.holdings().queued_memory_bytes, 0, "200 bytes would have stayed");
        node.publish(publisher, &Publish::new("t", "small").qos1(1));
        assert_eq!(node.holdings().queued_memory_bytes, 400 * 6);
        node.memory_is(Ample);
        let again = node.connect("s7", V5, false);
        assert_eq!(node.seen(again), 12);
        node.check_ledger();
    });
}

#[test]
fn a_message_that_cannot_be_read_is_counted_and_the_others_go_on() {
    let mut node = Node::with(config(1, 0), Gate::default(), &[]);
    let publisher = node.connect("p", V5, true);
    let reader = node.connect("s", V5, false);
    node.subscribe(reader, "t", AtLeastOnce);
    node.cut(reader);
    for number in 1..=3 {
        node.publish(publisher, &Publish::new("t", &number.to_string()).qos1(1));
    }
    let mut node = Node::with(config(1, 0), Gate::default(), &node.log);
    node.unreadable = Some(b"2");
    let again = node.connect("s", V5, false);
    node.expect(again, &["connack present=true code=0", "t=1 id=2049", "t=3 id=2050"]);
    assert_eq!(node.ledger().dropped[DropReason::Unreadable as usize], 1);
    node.check_ledger();
}
