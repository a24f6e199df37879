//! The index of subscriptions and the tree of retained values against plain maps.

use std::collections::BTreeMap;

use bellbird_topics::{Cursor, Filter, Index, Namespace, Progress, Retained, TopicName};

use crate::outcome::{Outcome, rough};

/// Each line is a step: its first byte says what, the rest is a filter or topic.
pub(super) fn index(bytes: &[u8]) -> Outcome {
    let mut index: Index<u8, u8> = Index::new();
    let mut model: BTreeMap<(Namespace, &str, u8), u8> = BTreeMap::new();
    let mut noted = Vec::new();
    for (head, text) in steps(bytes) {
        let namespace = Namespace(u32::from(head >> 2 & 1));
        let key = head >> 3 & 7;
        if let (2 | 3, Ok(topic)) = (head & 3, TopicName::parse(text)) {
            let mut found = Vec::new();
            index.matches(namespace, topic, |key, value| found.push((*key, *value)));
            found.sort_unstable();
            let mut expected: Vec<(u8, u8)> = model
                .iter()
                .filter(|((space, filter, _), _)| *space == namespace && matches(filter, topic))
                .map(|((_, _, key), value)| (*key, *value))
                .collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{topic}");
            noted.push(rough(found.len()));
        } else if let Ok(filter) = Filter::parse(text) {
            let (old, expected) = if head & 3 == 1 {
                let expected = model.remove(&(namespace, text, key));
                (index.remove(namespace, filter, key), expected)
            } else {
                let expected = model.insert((namespace, text, key), head);
                (index.insert(namespace, filter, key, head), expected)
            };
            assert_eq!(old, expected, "{filter}");
            assert_eq!(index.len(), model.len());
            noted.push(8 + u32::from(old.is_some()) + 2 * u32::from(filter.has_wildcards()));
        }
    }
    for ((namespace, filter, key), value) in model {
        let filter = Filter::parse(filter).expect("it was one above");
        assert_eq!(index.remove(namespace, filter, key), Some(value));
    }
    assert!(index.is_empty());
    outcome(&noted)
}

/// Each line is a step, as above; a walk goes on while topics change.
pub(super) fn retained(bytes: &[u8]) -> Outcome {
    let mut tree: Retained<(String, u8)> = Retained::new();
    let mut model: BTreeMap<(Namespace, &str), u8> = BTreeMap::new();
    let mut noted = Vec::new();
    // A walk that changes come between: whether its topics stayed is not looked at.
    let mut slow: Option<(Namespace, Filter<'_>, Cursor)> = None;
    for (head, text) in steps(bytes) {
        let namespace = Namespace(u32::from(head >> 2 & 1));
        if let (2 | 3, Ok(filter)) = (head & 3, Filter::parse(text)) {
            let budget = usize::from(head >> 3 & 15) + 1;
            let found = walk(&tree, namespace, filter, budget);
            let expected: Vec<(String, u8)> = model
                .iter()
                .filter(|((space, topic), _)| *space == namespace && is_matched(filter, topic))
                .map(|((_, topic), value)| ((*topic).to_owned(), *value))
                .collect();
            assert_eq!(found, expected, "{filter}");
            noted.push(rough(found.len()));
            slow = Some((namespace, filter, Cursor::new()));
        } else if let Ok(topic) = TopicName::parse(text) {
            let (old, expected) = if head & 3 == 1 {
                (tree.clear(namespace, topic), model.remove(&(namespace, text)))
            } else {
                let value = (text.to_owned(), head);
                (tree.set(namespace, topic, value), model.insert((namespace, text), head))
            };
            assert_eq!(old.as_ref().map(|(_, value)| *value), expected);
            let now = model.get(&(namespace, text));
            assert_eq!(tree.find(namespace, topic).map(|(_, value)| value), now);
            assert_eq!(tree.len(), model.len());
            noted.push(8 + u32::from(old.is_some()));
        }
        if let Some((namespace, filter, cursor)) = &mut slow {
            let progress = tree.walk(*namespace, *filter, cursor, 1, |(topic, value)| {
                assert!(is_matched(*filter, topic), "{filter} found {topic}");
                assert_eq!(model.get(&(*namespace, topic.as_str())), Some(value));
            });
            if progress == Progress::Done {
                slow = None;
            }
        }
    }
    outcome(&noted)
}

/// At rest it finds each value once.
fn walk(
    tree: &Retained<(String, u8)>,
    namespace: Namespace,
    filter: Filter<'_>,
    budget: usize,
) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    let mut cursor = Cursor::new();
    let mut slices = 0;
    while tree.walk(namespace, filter, &mut cursor, budget, |value| found.push(value.clone()))
        == Progress::More
    {
        slices += 1;
        assert!(slices < 100_000, "the walk does not end");
    }
    found.sort_unstable();
    found
}

fn steps(bytes: &[u8]) -> impl Iterator<Item = (u8, &str)> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let (head, text) = line.split_first()?;
        Some((*head, std::str::from_utf8(text).ok()?))
    })
}

/// What steps came to: which there were, which pairs in a row, and the first of them in order.
fn outcome(noted: &[u32]) -> Outcome {
    let first = &noted[..noted.len().min(4)];
    Outcome::of(&rough(noted.len())).and(&first).and_each(noted.windows(2))
}

fn matches(filter: &str, topic: TopicName<'_>) -> bool {
    Filter::parse(filter).is_ok_and(|filter| filter.matches(topic))
}

fn is_matched(filter: Filter<'_>, topic: &str) -> bool {
    TopicName::parse(topic).is_ok_and(|topic| filter.matches(topic))
}
