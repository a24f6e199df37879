//! Which messages arrived: lost, duplicate and overtaken ones for each pair of publisher and
//! subscriber.

mod shared;

use shared::SharedLedger;

/// The accounts of a run, by who gets a message.
#[derive(Debug)]
pub(super) enum Accounts {
    /// Every subscriber that has to do with its publisher.
    Each(Ledger),
    /// One of the subscribers.
    OneOf(SharedLedger),
}

/// Accounts of all pairs of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    tracks: Vec<Track>,
    duplicates: u64,
    overtaken: u64,
}

/// One pair: what its subscriber waits for next, and what was skipped before.
#[derive(Clone, Debug, Default)]
struct Track {
    next: u32,
    skipped: Vec<Gap>,
    /// Skipped messages that the list of gaps had no room for: lost for good.
    forgotten: u64,
}

/// Messages `from..to` were skipped.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u32,
    to: u32,
}

/// Gaps remembered for each pair. A broker that drops makes one gap per burst; past this many,
/// what comes late is called a duplicate.
const GAPS_MAX: usize = 1024;

impl Accounts {
    /// For so many publishers, and pairs of them with subscribers.
    pub(super) fn new(is_shared: bool, publishers: usize, pairs: usize) -> Self {
        if is_shared {
            Self::OneOf(SharedLedger::new(publishers, pairs))
        } else {
            Self::Each(Ledger::new(pairs))
        }
    }

    /// Message `sequence` of a pair arrived. Returns how many messages are thereby settled.
    #[inline]
    pub(super) fn receive(&mut self, pair: usize, sequence: u32) -> u32 {
        match self {
            Self::Each(ledger) => ledger.receive(pair, sequence),
            Self::OneOf(ledger) => ledger.receive(pair, sequence),
        }
    }

    /// Messages that never arrived, given how many the publisher of a pair published.
    pub(super) fn lost(&self, published: impl Fn(usize) -> u32) -> u64 {
        match self {
            Self::Each(ledger) => ledger.lost(published),
            Self::OneOf(ledger) => ledger.lost(published),
        }
    }

    pub(super) fn duplicates(&self) -> u64 {
        match self {
            Self::Each(ledger) => ledger.duplicates(),
            Self::OneOf(ledger) => ledger.duplicates(),
        }
    }

    pub(super) fn overtaken(&self) -> u64 {
        match self {
            Self::Each(ledger) => ledger.overtaken(),
            Self::OneOf(ledger) => ledger.overtaken(),
        }
    }
}

impl Ledger {
    /// Accounts for so many pairs.
    pub(super) fn new(pairs: usize) -> Self {
        Self { tracks: vec![Track::default(); pairs], duplicates: 0, overtaken: 0 }
    }

    /// Message `sequence` of a pair arrived. Returns how many messages are thereby settled:
    /// it, and those before it that were skipped.
    #[inline]
    pub(super) fn receive(&mut self, pair: usize, sequence: u32) -> u32 {
        let track = &mut self.tracks[pair];
        if sequence == track.next {
            track.next = track.next.saturating_add(1);
            return 1;
        }
        self.receive_out_of_order(pair, sequence)
    }

    #[cold]
    fn receive_out_of_order(&mut self, pair: usize, sequence: u32) -> u32 {
        let track = &mut self.tracks[pair];
        if sequence > track.next {
            let settled = (sequence - track.next).saturating_add(1);
            track.skip(Gap { from: track.next, to: sequence });
            track.next = sequence.saturating_add(1);
            return settled;
        }
        if track.fill(sequence) {
            self.overtaken += 1;
        } else {
            self.duplicates += 1;
        }
        0
    }

    /// Messages that never arrived, given how many were published to each pair.
    pub(super) fn lost(&self, published: impl Fn(usize) -> u32) -> u64 {
        let tail = |pair: usize, track: &Track| published(pair).saturating_sub(track.next);
        self.tracks
            .iter()
            .enumerate()
            .map(|(pair, track)| u64::from(tail(pair, track)) + track.skipped_count())
            .sum()
    }

    /// Messages that arrived again.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages that arrived after a later one of the same publisher.
    pub(super) fn overtaken(&self) -> u64 {
        self.overtaken
    }
}

impl Track {
    fn skip(&mut self, gap: Gap) {
        if self.skipped.len() < GAPS_MAX {
            self.skipped.push(gap);
        } else {
            self.forgotten += gap.len();
        }
    }

    /// Takes a message out of the gaps; `false` if it is in none.
    fn fill(&mut self, sequence: u32) -> bool {
        let holds = |gap: &Gap| gap.from <= sequence && sequence < gap.to;
        let Some(place) = self.skipped.iter().position(holds) else { return false };
        let gap = self.skipped.swap_remove(place);
        for part in
            [Gap { from: gap.from, to: sequence }, Gap { from: sequence.saturating_add(1), ..gap }]
        {
            if part.from < part.to {
                self.skip(part);
            }
        }
        true
    }

    fn skipped_count(&self) -> u64 {
        self.forgotten + self.skipped.iter().copied().map(Gap::len).sum::<u64>()
    }
}

impl Gap {
    fn len(self) -> u64 {
        u64::from(self.to.saturating_sub(self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences as they arrive → settled in all, lost of `published`, duplicates, overtaken.
    fn check(arrivals: &[u32], published: u32, expected: (u32, u64, u64, u64)) {
        let mut ledger = Ledger::new(2);
        let settled = arrivals.iter().map(|&sequence| ledger.receive(1, sequence)).sum();
        let lost = ledger.lost(|pair| if pair == 1 { published } else { 0 });
        let actual = (settled, lost, ledger.duplicates(), ledger.overtaken());
        assert_eq!(actual, expected, "{arrivals:?}");
    }

    #[test]
    fn accounts() {
        check(&[], 0, (0, 0, 0, 0));
        check(&[0, 1, 2], 3, (3, 0, 0, 0));
        check(&[0, 1], 3, (2, 1, 0, 0));
        check(&[], 3, (0, 3, 0, 0));
        check(&[0, 3], 4, (4, 2, 0, 0));
        check(&[0, 0, 1, 1], 2, (2, 0, 2, 0));
        check(&[2, 0, 1], 3, (3, 0, 0, 2));
        check(&[4, 2, 2], 5, (5, 3, 1, 1));
        check(&[4, 0, 3, 1], 5, (5, 1, 0, 3));
        check(&[1, 0, 3, 2, 3], 4, (4, 0, 1, 2));
    }

    #[test]
    fn gaps_beyond_the_bound_stay_lost() {
        let mut ledger = Ledger::new(1);
        let published = 2 * u32::try_from(GAPS_MAX).unwrap() + 100;
        for sequence in (1..published).step_by(2) {
            ledger.receive(0, sequence);
        }
        assert_eq!(ledger.lost(|_| published), u64::from(published / 2));
        assert_eq!(ledger.tracks[0].skipped.len(), GAPS_MAX);
    }
}
