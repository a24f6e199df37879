//! Filters: what a SUBSCRIBE names. They may have wildcards, and a share name in front.

use std::fmt;

use crate::limits::{FILTER_LEVELS_MAX, TEXT_BYTES_MAX};
use crate::topic::TopicName;

/// A filter without share name; its wildcards stand alone in their levels
/// [MQTT-4.7.1-1, MQTT-4.7.1-2].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Filter<'a>(&'a str);

impl<'a> Filter<'a> {
    /// Takes a filter as it stands, `$share` being a level like any other.
    pub fn parse(text: &'a str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        if text.bytes().any(|byte| byte == 0) {
            return Err(FilterError::Nul);
        }
        let mut levels = text.split('/');
        let mut count = 0;
        while let Some(level) = levels.next() {
            count += 1;
            if count > FILTER_LEVELS_MAX {
                return Err(FilterError::TooManyLevels);
            }
            if level.len() > 1 && level.contains(['+', '#']) {
                return Err(FilterError::WildcardNotAlone);
            }
            if level == "#" && levels.next().is_some() {
                return Err(FilterError::HashNotLast);
            }
        }
        Ok(Filter(text))
    }

    /// Takes a text that was a filter when somebody looked at it: it is not looked at again.
    pub fn of_checked(text: &'a str) -> Self {
        debug_assert!(Self::parse(text).is_ok(), "{text:?} was a filter before");
        Self(text)
    }

    /// The whole filter.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The texts between the slashes, at least one; they may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Whether a level is `+` or `#`.
    pub fn has_wildcards(self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether the filter matches a topic, by the letter of the specification.
    /// The index answers the same for a million filters at once and is tested against this.
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        // [MQTT-4.7.2-1]
        if topic.is_reserved() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            // `#` also stands for the level above it: "sport/#" matches "sport".
            if level == "#" {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE names: a filter, `$share/{group}/{filter}`, or
/// `$exclusive/{filter}`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscriptionFilter<'a> {
    /// The share name, if the subscription is shared.
    pub group: Option<&'a str>,
    /// Whether only one session may have it.
    pub is_exclusive: bool,
    /// The filter, without prefix.
    pub filter: Filter<'a>,
}

impl<'a> SubscriptionFilter<'a> {
    /// Splits off the share name: at least one character, none of `/`, `+`, `#`
    /// [MQTT-4.8.2-1], with a filter behind it [MQTT-4.8.2-2].
    pub fn parse(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        // A bare "$share" or "$shared/a" is a filter like any other.
        let Some(rest) = text.strip_prefix("$share/") else {
            let exclusive = text.strip_prefix(EXCLUSIVE);
            return Ok(SubscriptionFilter {
                group: None,
                is_exclusive: exclusive.is_some(),
                filter: Filter::parse(exclusive.unwrap_or(text))?,
            });
        };
        let (group, filter) = match rest.split_once('/') {
            Some((group, filter)) => (group, Some(filter)),
            None => (rest, None),
        };
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(FilterError::ShareNameInvalid);
        }
        if group.contains('\0') {
            return Err(FilterError::Nul);
        }
        let filter = Filter::parse(filter.ok_or(FilterError::NothingShared)?)?;
        Ok(SubscriptionFilter { group: Some(group), is_exclusive: false, filter })
    }
}

/// In front of the filter of an exclusive subscription.
pub const EXCLUSIVE: &str = "$exclusive/";

/// Why a text is not a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilterError {
    /// No bytes at all [MQTT-4.7.3-1], or none behind a share name [MQTT-4.8.2-2].
    Empty,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// U+0000 inside [MQTT-4.7.3-2].
    Nul,
    /// `+` or `#` with other characters in its level [MQTT-4.7.1-1, MQTT-4.7.1-2].
    WildcardNotAlone,
    /// A level behind `#` [MQTT-4.7.1-1].
    HashNotLast,
    /// A share name that is empty or has a wildcard [MQTT-4.8.2-1].
    ShareNameInvalid,
    /// A share name without a filter behind it [MQTT-4.8.2-2].
    NothingShared,
    /// More than [`FILTER_LEVELS_MAX`] levels.
    TooManyLevels,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FilterError::Empty => "filter is empty",
            FilterError::TooLong => "filter is longer than 65535 bytes",
            FilterError::Nul => "filter contains a null character",
            FilterError::WildcardNotAlone => "a wildcard shares its level with other characters",
            FilterError::HashNotLast => "the wildcard # is not the last level",
            FilterError::ShareNameInvalid => "share name is missing, empty or has a wildcard",
            FilterError::NothingShared => {
                "the filter behind the share name is missing: $share/{group}/{filter}"
            }
            FilterError::TooManyLevels => "filter has more than 128 levels",
        })
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_match(filter: &str, topic: &str, expected: bool) {
        let matched = Filter::parse(filter).unwrap().matches(TopicName::parse(topic).unwrap());
        assert_eq!(matched, expected, "{filter} on {topic}");
    }

    #[test]
    fn hash_stands_for_any_levels_and_the_one_above() {
        // Section 4.7.1.2.
        check_match("sport/tennis/player1/#", "sport/tennis/player1", true);
        check_match("sport/tennis/player1/#", "sport/tennis/player1/ranking", true);
        check_match("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true);
        check_match("sport/#", "sport", true);
        check_match("sport/#", "sports", false);
        check_match("#", "a/b/c", true);
        check_match("#", "/", true);
        check_match("a/#", "b/a", false);
        check_match("a/#", "a/", true);
        check_match("a/b/#", "a", false);
    }

    #[test]
    fn plus_stands_for_one_level() {
        // Section 4.7.1.3.
        check_match("sport/tennis/+", "sport/tennis/player1", true);
        check_match("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check_match("sport/+", "sport", false);
        check_match("sport/+", "sport/", true);
        check_match("+", "finance", true);
        check_match("+", "/finance", false);
        check_match("+/+", "/finance", true);
        check_match("/+", "/finance", true);
        check_match("+/tennis/#", "sport/tennis/x/y", true);
        check_match("+/+/#", "a", false);
        check_match("+/+/#", "a/b", true);
    }

    #[test]
    fn a_dollar_is_passed_by_wildcards_in_the_first_level() {
        // [MQTT-4.7.2-1]
        check_match("#", "$SYS/broker", false);
        check_match("+/monitor/Clients", "$SYS/monitor/Clients", false);
        check_match("$SYS/#", "$SYS/monitor", true);
        check_match("$SYS/monitor/+", "$SYS/monitor/Clients", true);
        check_match("a/#", "a/$b", true);
        check_match("a/+", "a/$b", true);
    }

    #[test]
    fn literal_levels_are_compared_byte_by_byte() {
        // [MQTT-4.7.3-4]: no normalisation, case and empty levels count.
        check_match("ACCOUNTS", "Accounts", false);
        check_match("a//b", "a//b", true);
        check_match("a//b", "a/b", false);
        check_match("/finance", "finance", false);
        check_match("\u{c5}", "A\u{30a}", false);
    }

    #[track_caller]
    fn check(input: &str, expected: Result<(Option<&str>, &str), FilterError>) {
        let parsed = SubscriptionFilter::parse(input).map(|it| (it.group, it.filter.as_str()));
        assert_eq!(parsed, expected, "{input}");
    }

    #[test]
    fn filters_that_stand() {
        for filter in ["a", "/", "#", "+", "+/+", "a/#", "/#", "+/a/#", "$SYS/#", "$share", "a b"] {
            check(filter, Ok((None, filter)));
        }
        assert!(Filter::parse("a/+/b").unwrap().has_wildcards());
        assert!(Filter::parse("a/#").unwrap().has_wildcards());
        assert!(!Filter::parse("a/b").unwrap().has_wildcards());
    }

    #[test]
    fn filters_that_fall() {
        // [MQTT-4.7.3-1]
        check("", Err(FilterError::Empty));
        // [MQTT-4.7.3-2]
        check("a\0", Err(FilterError::Nul));
        // [MQTT-4.7.3-3]
        check(&"a".repeat(65_536), Err(FilterError::TooLong));
        check(&"/".repeat(FILTER_LEVELS_MAX), Err(FilterError::TooManyLevels));
        assert!(Filter::parse(&"/".repeat(FILTER_LEVELS_MAX - 1)).is_ok());
        // [MQTT-4.7.1-1]
        check("sport/tennis#", Err(FilterError::WildcardNotAlone));
        check("sport/tennis/#/ranking", Err(FilterError::HashNotLast));
        check("#/", Err(FilterError::HashNotLast));
        check("##", Err(FilterError::WildcardNotAlone));
        // [MQTT-4.7.1-2]
        check("sport+", Err(FilterError::WildcardNotAlone));
        check("a/++/b", Err(FilterError::WildcardNotAlone));
    }

    #[test]
    fn share_names() {
        check("$share/g/a/b", Ok((Some("g"), "a/b")));
        check("$share/g//", Ok((Some("g"), "/")));
        check("$share/g/#", Ok((Some("g"), "#")));
        // [MQTT-4.8.2-1]
        check("$share//a", Err(FilterError::ShareNameInvalid));
        check("$share/g+/a", Err(FilterError::ShareNameInvalid));
        check("$share/#/a", Err(FilterError::ShareNameInvalid));
        // [MQTT-4.8.2-2]
        check("$share/g", Err(FilterError::NothingShared));
        check("$share/", Err(FilterError::ShareNameInvalid));
        check("$share/g/", Err(FilterError::Empty));
        check("$share/g\0/a", Err(FilterError::Nul));
        check("$share/g/a#", Err(FilterError::WildcardNotAlone));
    }
}
