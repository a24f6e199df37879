//! Topic names and filters against naive readings of the specification's sections 4.7 and 4.8.2.

use bellbird_topics::{
    FILTER_LEVELS_MAX, Filter, FilterError, Namespace, PARTS, SubscriptionFilter, TEXT_BYTES_MAX,
    TopicError, TopicName, part_of_filter, part_of_topic,
};

use crate::outcome::{Outcome, rough};

/// Topic names, from bytes and from text.
pub(super) fn topic_names(bytes: &[u8]) -> Outcome {
    // Now and then a long one, which no input is.
    let long = match bytes.split_first() {
        Some((0xFE, rest)) if !rest.is_empty() => rest.repeat(TEXT_BYTES_MAX / rest.len() + 1),
        _ => bytes.to_vec(),
    };
    let parsed = TopicName::from_bytes(&long);
    let expected = match std::str::from_utf8(&long) {
        _ if long.len() > 65_535 => Err(TopicError::TooLong),
        Err(_) => Err(TopicError::NotUtf8),
        Ok("") => Err(TopicError::Empty),
        Ok(text) if text.contains('\0') => Err(TopicError::Nul),
        Ok(text) if text.contains(['+', '#']) => Err(TopicError::Wildcard),
        Ok(text) => Ok(text),
    };
    assert_eq!(parsed.map(TopicName::as_str), expected);
    let Ok(topic) = parsed else { return Outcome::of(&(parsed.is_err(), format!("{parsed:?}"))) };
    assert_eq!(TopicName::parse(topic.as_str()), Ok(topic));
    assert_eq!(topic.levels().collect::<Vec<_>>().join("/"), topic.as_str());
    assert!(part_of_topic(Namespace(0), topic) < PARTS);
    // A topic is a filter of itself, but for the bound on levels.
    match Filter::parse(topic.as_str()) {
        Ok(filter) => assert!(filter.matches(topic) && !filter.has_wildcards()),
        Err(error) => {
            assert_eq!(error, FilterError::TooManyLevels);
            assert!(topic.levels().count() > FILTER_LEVELS_MAX);
        }
    }
    let reserved = topic.as_str().starts_with('$');
    Outcome::of(&rough(topic.levels().count())).and(&reserved).and(&rough(long.len()))
}

/// Each line is a filter and a topic, if it can be; each filter is tried on each topic and beside
/// each filter.
pub(super) fn filters(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let mut filters = Vec::new();
    let mut topics = Vec::new();
    for line in text.split('\n').take(LINES_MAX) {
        let parsed = SubscriptionFilter::parse(line);
        assert_eq!(parsed.map(|it| (it.group, it.filter.as_str())).ok(), naive_subscription(line));
        let plain = Filter::parse(line);
        assert_eq!(plain.is_ok(), is_filter(line), "{line:?}: {plain:?}");
        filters.extend(plain.ok());
        filters.extend(parsed.ok().filter(|it| it.group.is_some()).map(|it| it.filter));
        topics.extend(TopicName::parse(line).ok());
    }
    let mut matched = 0;
    for filter in &filters {
        for topic in &topics {
            let matches = filter.matches(*topic);
            assert_eq!(matches, naive_matches(*filter, *topic), "{filter} on {topic}");
            matched += u32::from(matches);
            if matches {
                let part = part_of_filter(Namespace(1), *filter);
                assert!(part.is_none_or(|part| part == part_of_topic(Namespace(1), *topic)));
            }
        }
    }
    let mut relations = Vec::new();
    for (at, filter) in filters.iter().enumerate() {
        for other in &filters[at..] {
            let wild = (filter.has_wildcards(), other.has_wildcards());
            relations.push((relation(*filter, *other), wild));
        }
    }
    Outcome::of(&(filters.len(), topics.len())).and(&matched).and_each(relations)
}

/// Both relations in both directions against all topics that could tell them apart.
fn relation(one: Filter<'_>, other: Filter<'_>) -> (bool, bool) {
    assert_eq!(one.overlaps(other), other.overlaps(one), "{one} and {other}");
    assert!(one.covers(one) && one.overlaps(one), "{one} and itself");
    let (overlaps, covers) = (one.overlaps(other), one.covers(other));
    assert!(overlaps || !covers, "{one} and {other}");
    let depth = one.levels().count().max(other.levels().count());
    if depth <= DEPTH_MAX {
        let (mut both, mut beyond, mut beyond_other) = (false, false, false);
        for_each_witness(one, other, depth + 1, &mut |topic| {
            let (ours, theirs) = (one.matches(topic), other.matches(topic));
            both |= ours && theirs;
            beyond |= theirs && !ours;
            beyond_other |= ours && !theirs;
        });
        assert_eq!(overlaps, both, "{one} overlaps {other}");
        assert_eq!(covers, !beyond, "{one} covers {other}");
        assert_eq!(other.covers(one), !beyond_other, "{other} covers {one}");
    }
    (overlaps, covers)
}

/// Topics of up to `depth` levels: each level is that of one of the filters, or a name of neither.
fn for_each_witness(
    one: Filter<'_>,
    other: Filter<'_>,
    depth: usize,
    visit: &mut impl FnMut(TopicName<'_>),
) {
    let levels: [Vec<&str>; 2] = [one.levels().collect(), other.levels().collect()];
    let mut topics: Vec<String> = vec![String::new()];
    for at in 0..depth {
        let mut names: Vec<&str> =
            levels.iter().filter_map(|levels| levels.get(at).copied()).collect();
        names.push(NOBODYS);
        names.retain(|name| !matches!(*name, "+" | "#"));
        names.sort_unstable();
        names.dedup();
        topics = topics
            .iter()
            .flat_map(|topic| {
                let slash = if at == 0 { "" } else { "/" };
                names.iter().map(move |name| format!("{topic}{slash}{name}"))
            })
            .collect();
        topics.iter().filter_map(|topic| TopicName::parse(topic).ok()).for_each(&mut *visit);
    }
}

fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    let is_level = |at: usize, level: &str| match level {
        "+" => true,
        "#" => at == last,
        name => !name.contains(['+', '#', '\0']),
    };
    !text.is_empty()
        && text.len() <= 65_535
        && levels.len() <= FILTER_LEVELS_MAX
        && levels.iter().enumerate().all(|(at, level)| is_level(at, level))
}

fn naive_subscription(text: &str) -> Option<(Option<&str>, &str)> {
    let mut parts = text.splitn(3, '/');
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    if first != Some("$share") || second.is_none() {
        return is_filter(text).then_some((None, text));
    }
    let (group, filter) = (second?, third?);
    let is_group = !group.is_empty() && !group.contains(['+', '#', '\0']);
    (is_group && is_filter(filter) && text.len() <= 65_535).then_some((Some(group), filter))
}

fn naive_matches(filter: Filter<'_>, topic: TopicName<'_>) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([name, filter @ ..], [level, topic @ ..]) => name == level && levels(filter, topic),
            _ => false,
        }
    }
    let (text, name) = (filter.as_str(), topic.as_str());
    if name.starts_with('$') && !text.starts_with('$') {
        return false;
    }
    levels(&text.split('/').collect::<Vec<_>>(), &name.split('/').collect::<Vec<_>>())
}

const LINES_MAX: usize = 6;
const DEPTH_MAX: usize = 4;
/// A level that no input has: U+FFFD stands for what is not UTF-8, never behind an U+E000.
const NOBODYS: &str = "\u{E000}\u{FFFD}\u{E000}";
