//! Slots in pages: a table that grows without moving what is in it.

use std::ops::{Index, IndexMut};

/// Values by the number of their slot. A page is added when a slot in it is first used.
#[derive(Debug)]
pub struct Slots<T> {
    pages: Vec<Box<[Option<T>; PAGE]>>,
}

impl<T> Slots<T> {
    /// No slots.
    pub const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// The value in a slot.
    pub fn get(&self, index: u32) -> Option<&T> {
        let (page, place) = at(index);
        self.pages.get(page)?[place].as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (page, place) = at(index);
        self.pages.get_mut(page)?[place].as_mut()
    }

    /// Puts a value into a slot. Returns the one that it held.
    pub fn put(&mut self, index: u32, value: T) -> Option<T> {
        let (page, place) = at(index);
        while self.pages.len() <= page {
            self.pages.push(Box::new([const { None }; PAGE]));
        }
        self.pages[page][place].replace(value)
    }

    /// Empties a slot.
    pub fn take(&mut self, index: u32) -> Option<T> {
        let (page, place) = at(index);
        self.pages.get_mut(page)?[place].take()
    }

    /// The values, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pages.iter().flat_map(|page| page.iter());
        (0..).zip(slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The value in a slot that is known to have one.
impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the slot is in use")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the slot is in use")
    }
}

/// Which page, and where in it.
fn at(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / PAGE, index % PAGE)
}

/// Slots of a page: a few kB, so that a handful of clients takes no more.
const PAGE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_comes_back_and_nothing_else() {
        let mut slots = Slots::new();
        assert_eq!(slots.take(1_000_000), None);
        assert_eq!(slots.get(0), None);
        for index in [0, 63, 64, 1000] {
            assert_eq!(slots.put(index, index * 2), None);
        }
        assert_eq!((slots.get(62), slots.get(64), slots[1000]), (None, Some(&128), 2000));
        assert_eq!(slots.put(64, 7), Some(128));
        slots[63] = 127;
        assert_eq!(slots.take(0), Some(0));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(63, &127), (64, &7), (1000, &2000)]);
        assert_eq!(slots.get(u32::MAX), None);
    }
}
