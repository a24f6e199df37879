//! The index against a plain list and the matcher that follows the specification's letter.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use bellbird_topics::{Filter, Index, Namespace, TopicName, part_of_filter, part_of_topic};

use crate::random::Random;

mod random;

type Model = BTreeMap<(Namespace, String, u64), u32>;

#[test]
fn index_is_like_the_list() {
    for seed in 0..60 {
        println!("seed {seed}");
        let random = &mut Random::seeded(seed);
        // Few keys exercise replacement, many the long lists of subscribers.
        let keys = if seed % 3 == 0 { 400 } else { 6 };
        let (mut index, mut model) = (Index::new(), Model::new());
        for _ in 0..10 {
            // Phases of growth and of decline, so that nodes and lists vanish and return.
            let removals = random.below(11);
            for _ in 0..300 {
                change(random, keys, removals, &mut index, &mut model);
            }
            assert_eq!(index.len(), model.len());
            for _ in 0..20 {
                compare(random, &index, &model);
            }
        }
        for ((namespace, text, key), value) in &model {
            let removed = index.remove(*namespace, Filter::parse(text).unwrap(), *key);
            assert_eq!(removed, Some(*value));
        }
        assert!(index.is_empty());
    }
}

fn change(
    random: &mut Random,
    keys: u64,
    removals: u64,
    index: &mut Index<u64, u32>,
    model: &mut Model,
) {
    let namespace = Namespace(u32::try_from(random.below(2)).unwrap());
    let key = random.below(keys);
    // Now and then one filter of all, that gathers a crowd.
    let text = if random.below(3) == 0 { "a/+".to_owned() } else { random.filter() };
    let filter = Filter::parse(&text).unwrap();
    if random.below(10) < removals {
        let expected = model.remove(&(namespace, text.clone(), key));
        assert_eq!(index.remove(namespace, filter, key), expected);
    } else {
        let value = u32::try_from(random.below(1000)).unwrap();
        let expected = model.insert((namespace, text.clone(), key), value);
        assert_eq!(index.insert(namespace, filter, key, value), expected);
    }
}

fn compare(random: &mut Random, index: &Index<u64, u32>, model: &Model) {
    let namespace = Namespace(u32::try_from(random.below(2)).unwrap());
    let text = random.topic();
    let topic = TopicName::parse(&text).unwrap();
    let mut expected = Vec::new();
    for ((space, filter, key), value) in model {
        let filter = Filter::parse(filter).unwrap();
        if *space == namespace && filter.matches(topic) {
            expected.push((*key, *value));
            let part = part_of_filter(namespace, filter);
            assert!(part.is_none_or(|part| part == part_of_topic(namespace, topic)));
        }
    }
    let mut found = Vec::new();
    index.matches(namespace, topic, |key, value| found.push((*key, *value)));
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn the_same_calls_give_the_same_order() {
    let run = || {
        let random = &mut Random::seeded(11);
        let (mut index, mut model) = (Index::new(), Model::new());
        let mut found = Vec::new();
        for _ in 0..2000 {
            change(random, 50, 3, &mut index, &mut model);
            let topic = random.topic();
            let topic = TopicName::parse(&topic).unwrap();
            index.matches(Namespace(0), topic, |key, value| found.push((*key, *value)));
        }
        found
    };
    assert_eq!(run(), run());
}
