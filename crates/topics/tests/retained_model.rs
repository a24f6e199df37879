//! Retained values against a plain map, with walks whose slices are mixed with changes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use bellbird_topics::{Cursor, Filter, Namespace, Progress, Retained, TopicName};

use crate::random::Random;

mod random;

/// Topic to value; the values in the tree name their topics.
type Model = BTreeMap<String, u64>;

const HOME: Namespace = Namespace(0);

#[test]
fn retained_is_like_the_map() {
    for seed in 0..60 {
        println!("seed {seed}");
        let random = &mut Random::seeded(seed);
        let (mut retained, mut model) = (Retained::new(), Model::new());
        for _ in 0..20 {
            let clears = 2 + random.below(7);
            for _ in 0..50 {
                change(random, clears, &mut retained, &mut model);
            }
            walk_at_rest(random, &retained, &model);
            walk_amid_changes(random, &mut retained, &mut model);
        }
        for (text, value) in &model {
            let topic = TopicName::parse(text).unwrap();
            assert_eq!(retained.find(HOME, topic), Some(&(text.clone(), *value)));
            assert_eq!(retained.clear(HOME, topic), Some((text.clone(), *value)));
        }
        assert!(retained.is_empty());
    }
}

/// Sets or clears one topic; returns its name.
fn change(
    random: &mut Random,
    clears: u64,
    retained: &mut Retained<(String, u64)>,
    model: &mut Model,
) -> String {
    let text = random.topic();
    let topic = TopicName::parse(&text).unwrap();
    let old = if random.below(10) < clears {
        assert_eq!(retained.clear(Namespace(1), topic), None);
        (retained.clear(HOME, topic), model.remove(&text))
    } else {
        let value = random.below(1000);
        (retained.set(HOME, topic, (text.clone(), value)), model.insert(text.clone(), value))
    };
    assert_eq!(old.0.map(|(_, value)| value), old.1);
    assert_eq!(retained.len(), model.len());
    text
}

/// Without changes a walk finds each value once.
fn walk_at_rest(random: &mut Random, retained: &Retained<(String, u64)>, model: &Model) {
    let text = random.filter();
    let filter = Filter::parse(&text).unwrap();
    let mut found = Vec::new();
    let mut cursor = Cursor::new();
    let budget = usize::try_from(random.below(50)).unwrap();
    while retained.walk(HOME, filter, &mut cursor, budget, |value| found.push(value.clone()))
        == Progress::More
    {}
    found.sort_unstable();
    let expected: Vec<_> = model
        .iter()
        .filter(|(topic, _)| filter.matches(TopicName::parse(topic).unwrap()))
        .map(|(topic, value)| (topic.clone(), *value))
        .collect();
    assert_eq!(found, expected, "{text}");
    // What is done stays done.
    let again = retained.walk(HOME, filter, &mut cursor, 9, |_| panic!("found after the end"));
    assert_eq!(again, Progress::Done);
}

/// With changes it finds at least the values whose topics were never cleared, and only matches.
fn walk_amid_changes(
    random: &mut Random,
    retained: &mut Retained<(String, u64)>,
    model: &mut Model,
) {
    let text = random.filter();
    let filter = Filter::parse(&text).unwrap();
    let mut staying: BTreeSet<String> = model.keys().cloned().collect();
    let mut found = BTreeSet::new();
    let mut cursor = Cursor::new();
    for slice in 0.. {
        assert!(slice < 10_000, "the walk does not end");
        let budget = usize::try_from(1 + random.below(5)).unwrap();
        let mut calls = 0;
        let progress = retained.walk(HOME, filter, &mut cursor, budget, |(topic, value)| {
            calls += 1;
            assert!(filter.matches(TopicName::parse(topic).unwrap()), "{text} found {topic}");
            assert_eq!(model.get(topic), Some(value));
            found.insert(topic.clone());
        });
        assert!(calls <= budget);
        if progress == Progress::Done {
            break;
        }
        for _ in 0..random.below(6) {
            let changed = change(random, 5, retained, model);
            if !model.contains_key(&changed) {
                staying.remove(&changed);
            }
        }
    }
    for topic in &staying {
        let matched = filter.matches(TopicName::parse(topic).unwrap());
        assert_eq!(matched, found.contains(topic) && matched, "gap at {topic}, {text}");
    }
}
