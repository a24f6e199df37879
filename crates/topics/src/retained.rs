//! Retained values: one per topic, found by topic or by a walk over a filter.
//!
//! A walk is done in slices, and the tree may change between them; see `retained/walk.rs`.

use std::collections::BTreeSet;

pub use self::walk::{Cursor, Progress};
use self::walk::{Walk, levels_wanted};
use crate::arena::NONE;
use crate::filter::Filter;
use crate::topic::{Namespace, TopicName};
use crate::tree::{Content, Tree};

mod walk;

/// Values by topic.
#[derive(Debug)]
pub struct Retained<V> {
    /// A node is here only if there is a value at it or below: no walk meets an empty subtree.
    tree: Tree<Leaf<V>>,
    /// All nodes but the roots as (parent, node): the order in which walks go.
    ///
    /// Ordered by id rather than linked, so that a walk whose place has been removed goes on
    /// right behind it. It neither starts a level again nor depends on what else is removed.
    siblings: BTreeSet<(u32, u32)>,
    births: u64,
    len: usize,
}

#[derive(Debug)]
struct Leaf<V> {
    /// Tells this node from earlier ones with the same id.
    birth: u64,
    value: Option<V>,
}

impl<V> Retained<V> {
    /// Without values.
    pub const fn new() -> Self {
        Retained { tree: Tree::new(), siblings: BTreeSet::new(), births: 0, len: 0 }
    }

    /// Sets the value of a topic and returns the old one, if there was one.
    pub fn set(&mut self, namespace: Namespace, topic: TopicName<'_>, value: V) -> Option<V> {
        // A number for each call serves: at one place it makes at most one node.
        self.births += 1;
        let birth = self.births;
        let make = || Leaf { birth, value: None };
        let mut node = self.tree.root_or_insert(namespace, make);
        for level in topic.levels() {
            let (child, made) = self.tree.child_or_insert(node, level, make);
            if made {
                self.siblings.insert((node, child));
            }
            node = child;
        }
        let old = self.tree.at_mut(node).content.value.replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes the value of a topic and returns it, if there was one.
    pub fn clear(&mut self, namespace: Namespace, topic: TopicName<'_>) -> Option<V> {
        let node = self.tree.descend(namespace, topic.levels())?;
        let old = self.tree.at_mut(node).content.value.take()?;
        self.len -= 1;
        self.prune(node);
        Some(old)
    }

    /// The value of a topic.
    pub fn find(&self, namespace: Namespace, topic: TopicName<'_>) -> Option<&V> {
        let node = self.tree.descend(namespace, topic.levels())?;
        self.tree.at(node).content.value.as_ref()
    }

    /// Calls `found` for the values whose topics match, from where the cursor stands and for at
    /// most `budget` steps; a step visits or leaves a node, whether it has a value or not.
    ///
    /// The cursor belongs to this namespace and filter; begin with a new one.
    /// Between two calls values may come and go.
    /// A value that is there during the whole walk is found, and so is one that is replaced.
    /// Of values that are set or cleared meanwhile, some are found and some are not.
    /// A value may be found twice if it is cleared and set again.
    ///
    /// Each call makes progress, a budget of 0 counting as 1.
    pub fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        mut found: impl FnMut(&V),
    ) -> Progress {
        let wanted = levels_wanted(self.tree.words(), filter);
        let mut walk = Walk::resume(self, &wanted, cursor, namespace);
        for _ in 0..budget.max(1) {
            if walk.step(&mut found) == Progress::Done {
                return Progress::Done;
            }
        }
        walk.progress()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory in use and in reserve, estimated from capacities in constant time.
    /// What the values own elsewhere is not in it.
    pub fn memory_bytes(&self) -> usize {
        // The leaves of the ordered set are two thirds full and have a header.
        self.tree.memory_bytes() + self.siblings.len() * (size_of::<(u32, u32)>() * 3 / 2 + 2)
    }

    /// Removes a node, if it leads to no value any more, and then those above it.
    fn prune(&mut self, mut node: u32) {
        while let Some(parent) = self.tree.remove_if_bare(node) {
            if parent == NONE {
                return;
            }
            self.siblings.remove(&(parent, node));
            node = parent;
        }
    }
}

impl<V> Default for Retained<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Content for Leaf<V> {
    fn is_empty(&self) -> bool {
        self.value.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicName<'_> {
        TopicName::parse(text).unwrap()
    }

    #[track_caller]
    fn check(filter: &str, expected: &[&str]) {
        let topics = ["a", "a/b", "a/b/c", "a/", "/", "/b", "b/b", "$SYS/b", "$SYS", "a/$x", "$"];
        let mut retained = Retained::new();
        for text in topics {
            retained.set(Namespace(0), topic(text), text);
            retained.set(Namespace(7), topic(text), "elsewhere");
        }
        let filter = Filter::parse(filter).unwrap();
        for budget in [0, 1, 2, 1000] {
            let mut cursor = Cursor::new();
            let mut found = Vec::new();
            let mut slices = 0;
            let mut keep = |value: &&'static str| found.push(*value);
            while retained.walk(Namespace(0), filter, &mut cursor, budget, &mut keep)
                == Progress::More
            {
                slices += 1;
                assert!(slices < 100);
            }
            found.sort_unstable();
            assert_eq!(found, expected, "{filter}");
        }
    }

    #[test]
    fn walks_by_the_letter() {
        check("a", &["a"]);
        check("a/b", &["a/b"]);
        check("a/#", &["a", "a/", "a/$x", "a/b", "a/b/c"]);
        check("a/+", &["a/", "a/$x", "a/b"]);
        check("+/b", &["/b", "a/b", "b/b"]);
        check("+/b/#", &["/b", "a/b", "a/b/c", "b/b"]);
        check("+/+/c", &["a/b/c"]);
        check("+/+", &["/", "/b", "a/", "a/$x", "a/b", "b/b"]);
        check("/#", &["/", "/b"]);
        check("x/#", &[]);
        check("a/b/c/d/+", &[]);
        // [MQTT-4.7.2-1]
        check("#", &["/", "/b", "a", "a/", "a/$x", "a/b", "a/b/c", "b/b"]);
        check("+", &["a"]);
        check("$SYS/#", &["$SYS", "$SYS/b"]);
        check("$SYS/+", &["$SYS/b"]);
    }

    #[test]
    fn one_value_per_topic() {
        let mut retained = Retained::new();
        assert_eq!(retained.set(Namespace(0), topic("a/b"), 1), None);
        assert_eq!(retained.set(Namespace(0), topic("a/b"), 2), Some(1));
        assert_eq!(retained.find(Namespace(0), topic("a/b")), Some(&2));
        assert_eq!(retained.find(Namespace(0), topic("a")), None);
        assert_eq!(retained.find(Namespace(1), topic("a/b")), None);
        assert_eq!(retained.clear(Namespace(0), topic("a")), None);
        assert_eq!(retained.len(), 1);
        assert_eq!(retained.clear(Namespace(0), topic("a/b")), Some(2));
        assert!(retained.is_empty());
        assert!(retained.tree.is_empty());
    }

    #[test]
    fn a_cleared_place_is_passed() {
        let mut retained = Retained::new();
        for number in 0..10 {
            retained.set(Namespace(0), topic(&format!("a/{number}/x")), number);
        }
        let filter = Filter::parse("a/+/x").unwrap();
        let mut cursor = Cursor::new();
        let mut found = Vec::new();
        while retained.walk(Namespace(0), filter, &mut cursor, 1, |value| found.push(*value))
            == Progress::More
        {
            // The node that the cursor stands at goes, each time there is a new one.
            if let Some(last) = found.last() {
                retained.clear(Namespace(0), topic(&format!("a/{last}/x")));
            }
        }
        assert_eq!(found, (0..10).collect::<Vec<_>>());
        assert!(retained.is_empty());
    }

    #[test]
    fn a_place_used_again_is_not_mistaken() {
        let mut retained = Retained::new();
        for text in ["a/1", "b"] {
            retained.set(Namespace(0), topic(text), text);
        }
        let filter = Filter::parse("+/+").unwrap();
        let mut cursor = Cursor::new();
        // The walk opens "a"; its node is then used for "b/q", one level deeper.
        let progress = retained.walk(Namespace(0), filter, &mut cursor, 1, |_| panic!("not yet"));
        assert_eq!(progress, Progress::More);
        retained.clear(Namespace(0), topic("a/1"));
        retained.set(Namespace(0), topic("b/q/deep"), "b/q/deep");
        let mut found = Vec::new();
        let progress =
            retained.walk(Namespace(0), filter, &mut cursor, 100, |value| found.push(*value));
        assert_eq!((progress, found), (Progress::Done, vec![]));
    }

    #[test]
    fn churn_uses_memory_again() {
        let mut retained = Retained::new();
        let mut settled = None;
        for number in 0_u32..100_000 {
            retained.set(Namespace(0), topic(&format!("plant/{number}/state")), number);
            if let Some(old) = number.checked_sub(50) {
                let name = format!("plant/{old}/state");
                assert_eq!(retained.clear(Namespace(0), topic(&name)), Some(old));
            }
            if number == 1_000 {
                settled = Some((retained.tree.slots_len(), retained.memory_bytes()));
            }
        }
        let (slots, bytes) = settled.unwrap();
        assert_eq!(retained.tree.slots_len(), slots);
        // The keys change, and with them how full each of the many tables is.
        assert!(retained.memory_bytes() < bytes * 5 / 4);
    }
}
