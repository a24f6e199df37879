//! Rewrites: what stands for the topics and filters that clients say, told by a table.

use bellbird_core::Rewrite;

use crate::world::World;

/// Topics that clients say and that may be taken for others.
pub(crate) const SAID_TOPICS: [&str; 4] = ["old/b", "old/c/d", "mine", "in/y"];
/// The same for filters.
pub(crate) const SAID_FILTERS: [&str; 3] = ["old/+", "mine", "in/#"];
/// What they may be taken for, where it is no topic that clients say themselves.
pub(crate) const BY_CLIENT: [&str; 7] =
    ["by/c0", "by/c1", "by/c2", "by/c3", "by/c4", "by/c5", "by/c6"];

/// The operator's rewrites.
pub(crate) fn rewrites(settings: usize) -> Vec<Rewrite> {
    let rule = |(publishes, subscribes, from, to): (bool, bool, &str, &str)| Rewrite {
        publishes,
        subscribes,
        from: from.into(),
        to: to.into(),
    };
    let rules = match settings {
        0 => [
            (true, true, "old/+", "a/$1"),
            (true, true, "mine", "by/%c"),
            (true, false, "in/#", "$x/$1"),
        ],
        _ => [
            (true, false, "old/#", "b/$1"),
            (false, true, "mine", "b/b"),
            (false, true, "nobody/says/this", "a"),
        ],
    };
    rules.map(rule).into()
}

impl World {
    /// The topic that a client's topic stands for.
    pub(crate) fn topic_meant(
        &self,
        settings: usize,
        client: usize,
        said: &'static str,
    ) -> &'static str {
        match (self.shape.has_rewrites, settings, said) {
            (true, 0, "old/b") => "a/b",
            (true, 0, "mine") => BY_CLIENT[client],
            (true, 0, "in/y") => "$x/y",
            (true, 1, "old/b") => "b/b",
            (true, 1, "old/c/d") => "b/c/d",
            (_, _, said) => said,
        }
    }

    /// The filter that a client's filter stands for.
    pub(crate) fn filter_meant(&self, settings: usize, client: usize, said: &str) -> String {
        let meant = match (self.shape.has_rewrites, settings, said) {
            (true, 0, "old/+") => "a/+",
            (true, 0, "mine") => BY_CLIENT.get(client).copied().unwrap_or_default(),
            (true, 1, "mine") => "b/b",
            (_, _, said) => said,
        };
        meant.to_owned()
    }
}
