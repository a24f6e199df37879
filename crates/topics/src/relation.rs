//! How two filters lie to each other, by the topics they match: what permissions are judged by.
//!
//! Both follow the letter of [`Filter::matches`], `$` in the first level included [MQTT-4.7.2-1].

use crate::filter::Filter;

impl Filter<'_> {
    /// Whether some topic is matched by both.
    pub fn overlaps(self, other: Filter<'_>) -> bool {
        if self.passes_by(other) || other.passes_by(self) {
            return false;
        }
        let (mut ours, mut theirs) = (self.spelled_out(), other.spelled_out());
        loop {
            match (ours.next(), theirs.next()) {
                // `#` stands for what is left, and for nothing.
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(_), None) | (None, Some(_)) => return false,
                (Some(our), Some(their)) => {
                    if our != "+" && their != "+" && our != their {
                        return false;
                    }
                }
            }
        }
    }

    /// Whether every topic that `other` matches is matched by this filter.
    pub fn covers(self, other: Filter<'_>) -> bool {
        if self.passes_by(other) {
            return false;
        }
        let (mut ours, mut theirs) = (self.spelled_out(), other.spelled_out());
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some(_), None | Some("#")) | (None, Some(_)) => return false,
                (Some(our), Some(their)) => {
                    if our != "+" && our != their {
                        return false;
                    }
                }
            }
        }
    }

    /// The levels, with one more where `#` cannot stand for nothing: the empty topic is none.
    fn spelled_out(&self) -> impl Iterator<Item = &str> {
        match self.as_str() {
            "#" => "+/#",
            "/#" => "/+/#",
            text => text,
        }
        .split('/')
    }

    /// Whether a wildcard in our first level meets a `$` in theirs.
    fn passes_by(self, other: Filter<'_>) -> bool {
        self.as_str().starts_with(['+', '#']) && other.as_str().starts_with('$')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicName;

    /// All sequences of these levels, up to a length.
    fn texts(levels: &[&str], length_max: usize) -> Vec<String> {
        let mut all: Vec<String> = levels.iter().map(|level| (*level).into()).collect();
        let mut longest = all.clone();
        for _ in 1..length_max {
            longest = longest
                .iter()
                .flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}")))
                .collect();
            all.extend_from_slice(&longest);
        }
        all
    }

    #[test]
    fn as_the_topics_say() {
        // Topics have a level more than filters, and a name that no filter has.
        let topics = texts(&["", "a", "$", "other"], 4);
        let topics: Vec<TopicName<'_>> =
            topics.iter().filter_map(|text| TopicName::parse(text).ok()).collect();
        let filters = texts(&["", "a", "$", "+", "#"], 3);
        let filters: Vec<Filter<'_>> =
            filters.iter().filter_map(|text| Filter::parse(text).ok()).collect();
        let matched: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| topics.iter().map(|topic| filter.matches(*topic)).collect())
            .collect();
        for (filter, ours) in filters.iter().zip(&matched) {
            for (other, theirs) in filters.iter().zip(&matched) {
                let mut pairs = ours.iter().zip(theirs);
                let overlaps = pairs.clone().any(|(our, their)| *our && *their);
                let covers = pairs.all(|(our, their)| *our || !their);
                assert_eq!(filter.overlaps(*other), overlaps, "{filter} overlaps {other}");
                assert_eq!(filter.covers(*other), covers, "{filter} covers {other}");
            }
        }
    }

    #[test]
    fn by_example() {
        let filter = |text| Filter::parse(text).unwrap();
        assert!(filter("a/#").covers(filter("a")));
        assert!(filter("+/#").covers(filter("#")));
        assert!(!filter("#").covers(filter("$SYS/#")));
        assert!(!filter("a/+").covers(filter("a/#")));
        assert!(filter("a/+/c").overlaps(filter("+/b/#")));
        assert!(!filter("+/x").overlaps(filter("$SYS/x")));
    }
}
