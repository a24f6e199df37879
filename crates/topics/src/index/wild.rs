//! Filters with wildcards: a tree, searched level by level.

use super::subscribers::Subscribers;
use crate::arena::NONE;
use crate::filter::Filter;
use crate::topic::{Namespace, TopicName};
use crate::tree::{Content, Node, Tree};

/// The subscribers of each filter that has wildcards.
#[derive(Debug)]
pub(crate) struct Wild<K, V> {
    tree: Tree<Branch<K, V>>,
    lists_bytes: usize,
}

/// Who subscribed to the filter that ends here, and the ways on through wildcards.
/// The ways are in the edge table too; here they save a look-up at each node visited.
#[derive(Debug)]
struct Branch<K, V> {
    plus: u32,
    hash: u32,
    subscribers: Subscribers<K, V>,
}

impl<K: Copy + Ord, V: Copy> Wild<K, V> {
    pub(crate) const fn new() -> Self {
        Wild { tree: Tree::new(), lists_bytes: 0 }
    }

    pub(crate) fn insert(
        &mut self,
        namespace: Namespace,
        filter: Filter<'_>,
        key: K,
        value: V,
    ) -> Option<V> {
        let mut node = self.tree.root_or_insert(namespace, Branch::new);
        for level in filter.levels() {
            let (child, _) = self.tree.child_or_insert(node, level, Branch::new);
            match level {
                "+" => self.tree.at_mut(node).content.plus = child,
                "#" => self.tree.at_mut(node).content.hash = child,
                _ => {}
            }
            node = child;
        }
        let subscribers = &mut self.tree.at_mut(node).content.subscribers;
        self.lists_bytes -= subscribers.heap_bytes();
        let old = subscribers.insert(key, value);
        self.lists_bytes += subscribers.heap_bytes();
        old
    }

    pub(crate) fn remove(&mut self, namespace: Namespace, filter: Filter<'_>, key: K) -> Option<V> {
        let node = self.tree.descend(namespace, filter.levels())?;
        let subscribers = &mut self.tree.at_mut(node).content.subscribers;
        self.lists_bytes -= subscribers.heap_bytes();
        let old = subscribers.remove(key);
        self.lists_bytes += subscribers.heap_bytes();
        self.prune(node);
        old
    }

    /// Keeps the nodes of one level that fit the topic so far, and steps from level to level.
    /// There are at most as many as filters, and two to the power of the level. Returns how many
    /// it looked at in all.
    pub(crate) fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut impl FnMut(&K, &V),
    ) -> usize {
        if self.tree.is_empty() {
            return 0;
        }
        let Some(root) = self.tree.root(namespace) else { return 0 };
        let mut nodes = 0;
        let (mut here, mut next) = (&mut Frontier::new(), &mut Frontier::new());
        here.push(root);
        // [MQTT-4.7.2-1]: in the first level only.
        let mut wildcards = !topic.is_reserved();
        for level in topic.as_bytes().split(|byte| *byte == b'/') {
            // Asked when the first node needs it: many have no way on but wildcards.
            let mut word = None;
            nodes += here.count();
            for node in here.iter() {
                let at = self.tree.at(node);
                if wildcards {
                    self.visit(at.content.hash, found);
                    next.push_some(at.content.plus);
                }
                if !at.has_literals() {
                    continue;
                }
                let word = *word.get_or_insert_with(|| self.tree.words().find_literal(level));
                if let Some(child) = word.and_then(|word| self.tree.child(node, word)) {
                    next.push(child);
                }
            }
            wildcards = true;
            std::mem::swap(&mut here, &mut next);
            next.clear();
            if here.is_empty() {
                return nodes;
            }
        }
        for node in here.iter() {
            let at = self.tree.at(node);
            at.content.subscribers.visit(found);
            // "sport/#" matches "sport".
            self.visit(at.content.hash, found);
        }
        nodes + here.count()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.tree.memory_bytes() + self.lists_bytes
    }

    #[cfg(test)]
    pub(crate) fn slots_len(&self) -> (usize, usize) {
        self.tree.slots_len()
    }

    #[cfg(test)]
    pub(crate) fn is_bare(&self) -> bool {
        self.tree.is_empty()
    }

    fn visit(&self, node: u32, found: &mut impl FnMut(&K, &V)) {
        if node != NONE {
            self.tree.at(node).content.subscribers.visit(found);
        }
    }

    /// Removes a node, if nothing needs it any more, and then those above it.
    fn prune(&mut self, mut node: u32) {
        while let Some(parent) = self.tree.remove_if_bare(node) {
            if parent == NONE {
                return;
            }
            let content = &mut self.tree.at_mut(parent).content;
            if content.plus == node {
                content.plus = NONE;
            }
            if content.hash == node {
                content.hash = NONE;
            }
            node = parent;
        }
    }
}

impl<K, V> Branch<K, V> {
    fn new() -> Self {
        Branch { plus: NONE, hash: NONE, subscribers: Subscribers::None }
    }
}

impl<K: Copy + Ord, V: Copy> Content for Branch<K, V> {
    fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }
}

impl<K, V> Node<Branch<K, V>> {
    fn has_literals(&self) -> bool {
        let wildcards = u32::from(self.content.plus != NONE) + u32::from(self.content.hash != NONE);
        self.children > wildcards
    }
}

/// The nodes of one level: a list that allocates only when it is long.
struct Frontier {
    first: [u32; FRONTIER_INLINE],
    len: usize,
    rest: Vec<u32>,
}

/// Reached by a topic for which 32 filters differ within the same level; more spill over.
const FRONTIER_INLINE: usize = 32;

impl Frontier {
    fn new() -> Self {
        Frontier { first: [NONE; FRONTIER_INLINE], len: 0, rest: Vec::new() }
    }

    fn push_some(&mut self, node: u32) {
        if node != NONE {
            self.push(node);
        }
    }

    fn push(&mut self, node: u32) {
        match self.first.get_mut(self.len) {
            Some(slot) => {
                *slot = node;
                self.len += 1;
            }
            None => self.rest.push(node),
        }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.rest.clear();
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn count(&self) -> usize {
        self.len + self.rest.len()
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.first[..self.len].iter().chain(&self.rest).copied()
    }
}
