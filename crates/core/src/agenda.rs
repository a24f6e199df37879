//! What is to be done at certain times, in their order, for many things behind one timer.

use std::collections::BTreeMap;

use crate::identity::Time;
use crate::timer::{Timer, Wheel};

/// Entries by time; a key tells those of the same time apart.
#[derive(Debug)]
pub(crate) struct Agenda<K, V> {
    entries: BTreeMap<(Time, K), V>,
    /// When the wheel looks here next.
    look_at: Option<Time>,
}

impl<K: Ord, V> Agenda<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry, and has the wheel look in time.
    pub(crate) fn add(
        &mut self,
        now: Time,
        (due, key): (Time, K),
        value: V,
        wheel: &mut Wheel,
        timer: Timer,
    ) {
        self.entries.insert((due, key), value);
        if self.look_at.is_none_or(|at| due < at) {
            self.look_at = Some(wheel.insert(now, due, timer));
        }
    }

    /// Takes what is due. Where nothing is, the wheel looks again when something will be.
    pub(crate) fn take_due(
        &mut self,
        now: Time,
        wheel: &mut Wheel,
        timer: Timer,
    ) -> Option<(K, V)> {
        // A look that an earlier one has made idle.
        if self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        let Some(first) = self.entries.first_entry() else {
            self.look_at = None;
            return None;
        };
        let due = first.key().0;
        if due > now {
            self.look_at = Some(wheel.insert(now, due, timer));
            return None;
        }
        let ((_, key), value) = first.remove_entry();
        Some((key, value))
    }
}

impl<K, V> Default for Agenda<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), look_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_not_early() {
        let (mut agenda, mut wheel) = (Agenda::default(), Wheel::new());
        let timer = Timer::Delayed;
        for (secs, name) in [(9, "late"), (3, "soon"), (3, "too")] {
            agenda.add(Time(0), (Time(secs * 1000), name), (), &mut wheel, timer);
        }
        let mut taken = Vec::new();
        while let Some(next) = wheel.next() {
            let mut due = Vec::new();
            wheel.advance(next, &mut due);
            for _ in due {
                while let Some((name, ())) = agenda.take_due(next, &mut wheel, timer) {
                    taken.push((next.0 / 1000, name));
                }
            }
        }
        assert_eq!(taken, [(3, "soon"), (3, "too"), (9, "late")]);
        assert_eq!(agenda.len(), 0);
    }
}
