//! One coarse, lazy wheel per shard: no timer operation per packet.
//!
//! An entry is looked at when its tick comes and goes back in if it turns out to be early:
//! something may happen late, never early.

use crate::identity::{ConnectionId, Time};

/// What a deadline belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// Keep alive.
    Connection(ConnectionId),
    /// Session expiry or a will, with the session's index. A look that comes too often does no harm.
    Session(u32),
    /// The time to say CONNECT.
    Strangers,
    /// Messages that wait for their time.
    Delayed,
    /// Retained messages that are over some time.
    Retained,
    /// Those that wait for the log.
    Held,
    /// Somebody who published too much may go on.
    Rate(ConnectionId),
}

/// Deadlines by the tick.
#[derive(Debug)]
pub(crate) struct Wheel {
    buckets: Vec<Vec<Timer>>,
    /// The last tick that was looked at.
    tick: u64,
    entries: usize,
    /// The next tick that has entries, or one before it.
    next: u64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], tick: 0, entries: 0, next: u64::MAX }
    }

    /// Has `timer` looked at not before `deadline`, or at the wheel's horizon if that is sooner.
    /// Returns when: the owner keeps it, and takes an earlier look for one of an older insertion.
    pub(crate) fn insert(&mut self, now: Time, deadline: Time, timer: Timer) -> Time {
        if self.entries == 0 {
            self.tick = now.0 / TICK_MS;
        }
        let due = deadline.0.div_ceil(TICK_MS);
        let horizon = self.tick + BUCKETS as u64 - 1;
        let tick = due.clamp(self.tick + 1, horizon);
        self.bucket(tick).push(timer);
        self.entries += 1;
        self.next = self.next.min(tick);
        Time(tick * TICK_MS)
    }

    /// Moves what may be due into `due`.
    pub(crate) fn advance(&mut self, now: Time, due: &mut impl Extend<Timer>) {
        let until = now.0 / TICK_MS;
        while self.tick < until && self.entries > 0 {
            self.tick += 1;
            let tick = self.tick;
            let bucket = std::mem::take(self.bucket(tick));
            self.entries -= bucket.len();
            due.extend(bucket);
        }
        if self.next <= self.tick {
            let ahead = self.tick + 1..self.tick + BUCKETS as u64;
            let next = ahead.clone().find(|tick| !self.bucket(*tick).is_empty());
            self.next = next.unwrap_or(u64::MAX);
        }
    }

    /// When to call [`Wheel::advance`] next.
    pub(crate) fn next(&self) -> Option<Time> {
        (self.entries > 0).then(|| Time(self.next * TICK_MS))
    }

    fn bucket(&mut self, tick: u64) -> &mut Vec<Timer> {
        let index = usize::try_from(tick % BUCKETS as u64).expect("fewer buckets than addresses");
        &mut self.buckets[index]
    }
}

/// Fine enough for a Keep Alive of one second, coarse enough to wake seldom.
const TICK_MS: u64 = 250;
/// The horizon in ticks: longer waits are looked at once in this time.
const BUCKETS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_early_and_every_entry_once() {
        let mut wheel = Wheel::new();
        let timer = |index| Timer::Session(index);
        let start = Time(1_000_500);
        for (index, delay_ms) in [(0, 0), (1, 1), (2, 600), (3, 3_000), (4, 10_000_000)] {
            wheel.insert(start, Time(start.0 + delay_ms), timer(index));
        }
        let check = |wheel: &mut Wheel, now, expected: &[u32]| {
            let mut due = Vec::new();
            wheel.advance(Time(now), &mut due);
            let expected: Vec<_> = expected.iter().map(|index| timer(*index)).collect();
            assert_eq!(due, expected, "at {now}");
        };
        check(&mut wheel, 1_000_749, &[]);
        check(&mut wheel, 1_000_750, &[0, 1]);
        check(&mut wheel, 1_001_249, &[]);
        check(&mut wheel, 1_001_250, &[2]);
        assert_eq!(wheel.next(), Some(Time(1_003_500)));
        check(&mut wheel, 1_003_500, &[3]);
        // The far one comes up at the horizon, to be put in again by its owner.
        check(&mut wheel, 1_000_500 + 511 * TICK_MS, &[4]);
        assert_eq!(wheel.next(), None);
    }
}
