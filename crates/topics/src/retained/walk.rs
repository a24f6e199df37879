//! A walk over the retained values that match a filter, resumable while the tree changes.
//!
//! Children are visited in the order of their ids, depth first.
//! A node keeps its id as long as there is a value at it or below, so a value that stays lies
//! on a path that stays, and the walk passes each path once: it leaves no gap.
//! A node made meanwhile may get an id behind or before the walk's place; either is legal.

use std::ops::Bound;

use super::Retained;
use crate::filter::Filter;
use crate::topic::Namespace;
use crate::words::{HASH, PLUS, Words};

/// Where a walk stands.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    begun: bool,
    /// The open nodes, from the root down; empty at the end of the walk.
    path: Vec<Place>,
    /// The child of the last open node behind which to go on.
    after: Option<u32>,
}

impl Cursor {
    /// At the start of a walk.
    pub const fn new() -> Self {
        Cursor { begun: false, path: Vec::new(), after: None }
    }
}

/// Whether a walk has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// There is more to visit: call again.
    More,
    /// Every node has been visited.
    Done,
}

/// A node that may have been removed since; the birth tells.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: u32,
    birth: u64,
}

/// What a filter asks of a level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Word(u32),
    /// A word that no retained topic has.
    Nothing,
    Any,
    Rest,
}

/// The levels of a filter. Words change their numbers between slices, so each slice asks anew.
pub(super) fn levels_wanted(words: &Words, filter: Filter<'_>) -> Vec<Wanted> {
    let wanted = |level| match words.find(level) {
        Some(PLUS) => Wanted::Any,
        Some(HASH) => Wanted::Rest,
        Some(word) => Wanted::Word(word),
        None => Wanted::Nothing,
    };
    filter.levels().map(wanted).collect()
}

/// One slice of a walk; the tree does not change during it.
pub(super) struct Walk<'a, V> {
    retained: &'a Retained<V>,
    wanted: &'a [Wanted],
    cursor: &'a mut Cursor,
}

impl<'a, V> Walk<'a, V> {
    pub(super) fn resume(
        retained: &'a Retained<V>,
        wanted: &'a [Wanted],
        cursor: &'a mut Cursor,
        namespace: Namespace,
    ) -> Self {
        let mut walk = Walk { retained, wanted, cursor };
        if !walk.cursor.begun {
            walk.cursor.begun = true;
            if let Some(root) = retained.tree.root(namespace) {
                walk.open(root);
            }
        }
        walk
    }

    /// Visits the next child of the last open node, or closes that node if there is none.
    pub(super) fn step(&mut self, found: &mut impl FnMut(&V)) -> Progress {
        let Some(&place) = self.cursor.path.last() else { return Progress::Done };
        let depth = self.cursor.path.len() - 1;
        match self.next_child(place, depth) {
            Some(child) => self.visit(child, depth, found),
            None => {
                // Dead or finished, the walk goes on behind it.
                self.cursor.path.pop();
                self.cursor.after = Some(place.node);
            }
        }
        self.progress()
    }

    pub(super) fn progress(&self) -> Progress {
        if self.cursor.path.is_empty() { Progress::Done } else { Progress::More }
    }

    fn visit(&mut self, child: u32, depth: usize, found: &mut impl FnMut(&V)) {
        self.cursor.after = Some(child);
        let rest = self.wanted_at(depth) == Wanted::Rest;
        // [MQTT-4.7.2-1]: at depth 0 a wildcard passes what begins with `$`.
        let wildcard = rest || self.wanted_at(depth) == Wanted::Any;
        if depth == 0 && wildcard && self.retained.tree.text(child).starts_with('$') {
            return;
        }
        let node = self.retained.tree.at(child);
        let below = &self.wanted[self.wanted.len().min(depth + 1)..];
        // "sport/#" matches "sport".
        let hit = rest || matches!(below, [] | [Wanted::Rest]);
        if hit && let Some(value) = &node.content.value {
            found(value);
        }
        if node.children > 0 && (rest || !below.is_empty()) {
            self.open(child);
        }
    }

    fn open(&mut self, node: u32) {
        let birth = self.retained.tree.at(node).content.birth;
        self.cursor.path.push(Place { node, birth });
        self.cursor.after = None;
    }

    fn next_child(&self, place: Place, depth: usize) -> Option<u32> {
        let node = self.retained.tree.find(place.node)?;
        if node.content.birth != place.birth {
            return None;
        }
        match self.wanted_at(depth) {
            Wanted::Nothing => None,
            // There is only one, and something was visited already.
            Wanted::Word(_) if self.cursor.after.is_some() => None,
            Wanted::Word(word) => self.retained.tree.child(place.node, word),
            Wanted::Any | Wanted::Rest => {
                let from = match self.cursor.after {
                    Some(after) => Bound::Excluded((place.node, after)),
                    None => Bound::Included((place.node, 0)),
                };
                let to = Bound::Included((place.node, u32::MAX));
                Some(self.retained.siblings.range((from, to)).next()?.1)
            }
        }
    }

    /// Behind the last level, `#` goes on asking.
    fn wanted_at(&self, depth: usize) -> Wanted {
        self.wanted[depth.min(self.wanted.len() - 1)]
    }
}
