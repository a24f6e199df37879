//! Parts: a coarse division of the topic space.
//!
//! A cached match result carries the generation of its topic's part; a change to the index
//! raises the generation of its filter's part, so that results in other parts stay valid.

use crate::filter::Filter;
use crate::hash::hash_text;
use crate::topic::{Namespace, TopicName};

/// How many parts there are.
pub const PARTS: usize = 64;

/// The part of a topic, by namespace and first level.
pub fn part_of_topic(namespace: Namespace, topic: TopicName<'_>) -> usize {
    part(namespace, first_level(topic.as_str()))
}

/// The part of the topics that a filter can match; none if its first level is a wildcard,
/// for then it concerns every part.
pub fn part_of_filter(namespace: Namespace, filter: Filter<'_>) -> Option<usize> {
    match first_level(filter.as_str()) {
        "+" | "#" => None,
        literal => Some(part(namespace, literal)),
    }
}

fn first_level(text: &str) -> &str {
    // By bytes: names are short, and the general search of `str` costs more to set up.
    let end = text.bytes().position(|byte| byte == b'/').unwrap_or(text.len());
    &text[..end]
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below PARTS")]
fn part(namespace: Namespace, level: &str) -> usize {
    (hash_text(namespace.0, level.as_bytes()) % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, topic: &str, expected_same: bool) {
        let topic = part_of_topic(Namespace(3), TopicName::parse(topic).unwrap());
        let filter = part_of_filter(Namespace(3), Filter::parse(filter).unwrap());
        assert!(topic < PARTS);
        assert_eq!(filter == Some(topic), expected_same);
    }

    #[test]
    fn a_filter_shares_the_part_of_what_it_matches() {
        check("sport/#", "sport", true);
        check("sport/+", "sport/tennis", true);
        check("/a", "/b", true);
        check("+/a", "b/a", false);
        check("#", "b", false);
    }

    #[test]
    fn parts_are_all_used() {
        let mut used = [false; PARTS];
        for number in 0..1000 {
            let name = format!("level{number}/x");
            used[part_of_topic(Namespace(0), TopicName::parse(&name).unwrap())] = true;
        }
        assert_eq!(used, [true; PARTS]);
    }
}
