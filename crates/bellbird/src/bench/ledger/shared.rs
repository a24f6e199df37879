//! Accounts where each message goes to one of several subscribers: whoever gets it, it is once.

use std::collections::VecDeque;

/// Accounts of all publishers of a run.
#[derive(Debug)]
pub(in crate::bench) struct SharedLedger {
    publishers: Vec<Arrivals>,
    /// For each pair: the sequence number after the last that came.
    next: Vec<u32>,
    duplicates: u64,
    overtaken: u64,
}

/// Which messages of one publisher came.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    /// All before this came, or are lost.
    first: u32,
    /// Whether those from `first` on came; the first of them did not.
    came: VecDeque<bool>,
    count: u64,
}

/// So many messages after one that did not come, it is lost.
const WAIT_MAX: usize = 1 << 17;

impl SharedLedger {
    /// Pair `n` is that of publisher `n % publishers`.
    pub(super) fn new(publishers: usize, pairs: usize) -> Self {
        Self {
            publishers: vec![Arrivals::default(); publishers],
            next: vec![0; pairs],
            duplicates: 0,
            overtaken: 0,
        }
    }

    /// Message `sequence` came to the subscriber of a pair. Returns how many it settles.
    #[inline]
    pub(super) fn receive(&mut self, pair: usize, sequence: u32) -> u32 {
        let publishers = self.publishers.len();
        if !self.publishers[pair % publishers].note(sequence) {
            self.duplicates += 1;
            return 0;
        }
        if sequence < self.next[pair] {
            self.overtaken += 1;
        }
        self.next[pair] = self.next[pair].max(sequence.saturating_add(1));
        1
    }

    /// Messages that never arrived, given how many each publisher published.
    pub(super) fn lost(&self, published: impl Fn(usize) -> u32) -> u64 {
        let missing = |(publisher, arrivals): (usize, &Arrivals)| {
            u64::from(published(publisher)).saturating_sub(arrivals.count)
        };
        self.publishers.iter().enumerate().map(missing).sum()
    }

    /// Messages that arrived again, at whichever subscriber.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages that arrived after a later one of the same publisher at the same subscriber.
    pub(super) fn overtaken(&self) -> u64 {
        self.overtaken
    }
}

impl Arrivals {
    /// Whether the message is new.
    fn note(&mut self, sequence: u32) -> bool {
        let Some(place) = sequence.checked_sub(self.first) else { return false };
        let place = place as usize;
        if self.came.len() <= place {
            self.came.resize(place + 1, false);
        }
        if std::mem::replace(&mut self.came[place], true) {
            return false;
        }
        self.count += 1;
        while self.came.front() == Some(&true) || self.came.len() > WAIT_MAX {
            self.came.pop_front();
            self.first = self.first.saturating_add(1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs and sequences as they arrive, of two publishers and two subscribers, of which the
    /// first publisher published 4 messages → settled, lost, duplicates, overtaken.
    fn check(arrivals: &[(usize, u32)], expected: (u32, u64, u64, u64)) {
        let mut ledger = SharedLedger::new(2, 4);
        let settled = arrivals.iter().map(|&(pair, sequence)| ledger.receive(pair, sequence)).sum();
        let lost = ledger.lost(|publisher| if publisher == 0 { 4 } else { 0 });
        let actual = (settled, lost, ledger.duplicates(), ledger.overtaken());
        assert_eq!(actual, expected, "{arrivals:?}");
    }

    #[test]
    fn accounts() {
        check(&[], (0, 4, 0, 0));
        check(&[(0, 0), (2, 1), (0, 2), (2, 3)], (4, 0, 0, 0));
        check(&[(2, 1), (0, 0), (2, 3), (0, 2)], (4, 0, 0, 0));
        check(&[(0, 0), (2, 0), (0, 1), (0, 1)], (2, 2, 2, 0));
        check(&[(0, 3), (0, 1), (2, 0)], (3, 1, 0, 1));
    }

    #[test]
    fn what_does_not_come_for_long_is_lost() {
        let mut ledger = SharedLedger::new(1, 1);
        let last = u32::try_from(WAIT_MAX).unwrap() + 10;
        for sequence in 1..=last {
            assert_eq!(ledger.receive(0, sequence), 1);
        }
        assert_eq!(ledger.publishers[0].came.len(), 0);
        assert_eq!((ledger.receive(0, 0), ledger.lost(|_| last + 1)), (0, 1));
    }
}
