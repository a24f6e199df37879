//! A million filters, topics that are new each time, and subscriptions that come and go.

use std::sync::Arc;

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
use bellbird_core::{Change, Granted, Holder, ShardId, Slot, Subscriber, Subscription};
use bellbird_topics::Namespace;

/// What every way is measured with.
pub(crate) struct Load {
    pub(crate) topics: Vec<Box<str>>,
    /// Batches of one change: each subscribes, and its neighbour takes that back.
    pub(crate) churn: Vec<Arc<[Change]>>,
    /// The same in two batches: all begin, all end.
    pub(crate) bursts: Vec<Arc<[Change]>>,
}

impl Load {
    pub(crate) fn new() -> Self {
        let topics = (0..TOPICS).map(|number| topic(mix(number * 5)).into()).collect();
        let comers = FILTERS..FILTERS + COMERS;
        let churn = comers.clone().flat_map(|n| [[begin(n)].into(), [end(n)].into()]).collect();
        let bursts =
            vec![comers.clone().map(begin).collect(), comers.map(end).collect::<Arc<[_]>>()];
        Self { topics, churn, bursts }
    }
}

/// The standing filters, a chunk at a time: 70 % exact, 20 % with one `+`, 10 % with `#`.
pub(crate) fn standing(filters: u64) -> impl Iterator<Item = Vec<Change>> {
    (0..filters).step_by(10_000).map(|first| (first..first + 10_000).map(begin).collect())
}

fn begin(number: u64) -> Change {
    let options = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendAlways,
    };
    let (filter, subscriber) = (filter(number), subscriber(number));
    let granted = Granted::new(Subscription { options, id: None }, false);
    Change::Subscribe { namespace: Namespace(0), filter, subscriber, granted }
}

fn end(number: u64) -> Change {
    let (filter, subscriber) = (filter(number), subscriber(number));
    Change::Unsubscribe { namespace: Namespace(0), filter, subscriber }
}

fn subscriber(number: u64) -> Subscriber {
    let shard = ShardId(u8::from(number % 2 == 1));
    let index = u32::try_from(number / 2).expect("a few million fit");
    Subscriber {
        slot: Slot::new(shard, index).expect("a few million fit"),
        holder: Holder { number, incarnation: 1 },
    }
}

fn filter(number: u64) -> Arc<str> {
    let bits = mix(number);
    let text = topic(bits);
    let mut levels: Vec<&str> = text.split('/').collect();
    match number % 10 {
        0..7 => {}
        7 | 8 => levels[usize::try_from(bits >> 60).expect("four bits") % 4] = "+",
        _ => levels[3] = "#",
    }
    levels.join("/").into()
}

/// Four levels of a hundred words each.
fn topic(bits: u64) -> String {
    let word = |shift: u32| (bits >> shift) % 100;
    format!("plant{}/line{}/cell{}/value{}", word(0), word(13), word(26), word(39))
}

fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

pub(crate) const FILTERS: u64 = 1_000_000;
/// Each is the text of an exact filter.
const TOPICS: u64 = 200_000;
const COMERS: u64 = 10_000;
