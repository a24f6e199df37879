//! A row of things that most sessions have none of.

use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::ops::Deref;

/// A deque that takes 8 bytes until something is in it, and gives back what it grew to.
///
/// It is read as a [`VecDeque`] is; what changes it is here, so that nothing is allocated by
/// looking for something to take out.
#[allow(clippy::box_collection)] // 8 bytes instead of 32
pub(crate) struct Row<T>(Option<Box<VecDeque<T>>>);

impl<T> Row<T> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, value: T) {
        self.0.get_or_insert_default().push_back(value);
    }

    /// Makes room for so many at once, if nothing is in it yet.
    pub(crate) fn begin(&mut self, count: usize) {
        if self.is_empty() && count > 0 {
            self.0.get_or_insert_default().reserve_exact(count);
        }
    }

    /// Panics if `index` is beyond the end.
    pub(crate) fn insert(&mut self, index: usize, value: T) {
        self.0.get_or_insert_default().insert(index, value);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let value = self.0.as_mut()?.pop_front()?;
        self.settle();
        Some(value)
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.0.as_mut()?.remove(index)?;
        self.settle();
        Some(value)
    }

    pub(crate) fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        if let Some(row) = &mut self.0 {
            row.retain(keeps);
            self.settle();
        }
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.as_mut()?.get_mut(index)
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.get_mut(0)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|row| row.iter_mut())
    }

    /// Gives the memory back if nothing is in it: it is idle.
    pub(crate) fn forget_if_empty(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// Busy sessions empty their rows all the time and keep a small one.
    fn settle(&mut self) {
        if self.0.as_ref().is_some_and(|row| row.is_empty() && row.capacity() > KEEP) {
            self.0 = None;
        }
    }
}

impl<T> Deref for Row<T> {
    type Target = VecDeque<T>;

    fn deref(&self) -> &VecDeque<T> {
        match &self.0 {
            Some(row) => row,
            None => const { &VecDeque::new() },
        }
    }
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'a, T> IntoIterator for &'a Row<T> {
    type Item = &'a T;
    type IntoIter = vec_deque::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> FromIterator<T> for Row<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let row: VecDeque<T> = values.into_iter().collect();
        Self((!row.is_empty()).then(|| Box::new(row)))
    }
}

/// A window of [`crate::limits::INFLIGHT_MAX`] stays; what had grown beyond goes.
const KEEP: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_one_pointer_and_looks_empty() {
        assert_eq!(size_of::<Row<String>>(), size_of::<usize>());
        let mut row = Row::<String>::new();
        assert!(row.is_empty() && row.front().is_none() && row.pop_front().is_none());
        assert!(row.0.is_none(), "nothing is allocated by looking");
    }

    #[test]
    fn room_is_made_at_once_and_for_nothing_none() {
        let mut row = Row::<u8>::new();
        row.begin(0);
        assert!(row.0.is_none());
        row.begin(20);
        assert_eq!(row.capacity(), 20);
        row.push_back(1);
        row.begin(100);
        assert_eq!(row.capacity(), 20, "it has begun");
    }

    #[test]
    fn a_small_row_stays_and_a_grown_one_goes() {
        let mut row = Row::new();
        row.push_back(1);
        assert_eq!(row.pop_front(), Some(1));
        assert!(row.0.is_some(), "the next one comes soon");
        (0..1000).for_each(|value| row.push_back(value));
        row.retain(|value| *value >= 999);
        assert_eq!(row.remove(0), Some(999));
        assert!(row.0.is_none());
        row.insert(0, 5);
        row.forget_if_empty();
        assert_eq!(row.iter().collect::<Vec<_>>(), [&5]);
        row.remove(0);
        row.forget_if_empty();
        assert!(row.0.is_none());
    }
}
