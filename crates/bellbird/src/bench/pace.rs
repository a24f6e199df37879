//! When the next message is due at a fixed rate.

use std::time::Duration;

/// Due times in equal distances. A message that is late keeps its due time, so that its latency
/// shows the delay (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start_nanos: u64,
    interval_picos: u64,
    taken: u64,
}

/// The generator sleeps if the next message is further away than this, and spins otherwise:
/// the event queue's clock ticks in milliseconds.
const SLEEP_NANOS_MIN: u64 = 3_000_000;
/// It wakes so much before.
const WAKE_EARLY: Duration = Duration::from_millis(2);

impl Pace {
    /// `rate` messages per second from `start_nanos` on.
    pub(super) fn new(start_nanos: u64, rate: f64) -> Self {
        let interval = Duration::from_secs_f64((1e3 / rate).min(1e9));
        let interval_picos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { start_nanos, interval_picos, taken: 0 }
    }

    /// Takes the number and the due time of the next message, if that has come.
    #[inline]
    pub(super) fn take_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.next_due();
        if due > now {
            return None;
        }
        self.taken += 1;
        Some((self.taken - 1, due))
    }

    /// The message taken last could not be sent: it stays due.
    pub(super) fn give_back(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// How long the loop may sleep.
    pub(super) fn timeout(&self, now: u64) -> Duration {
        let left = self.next_due().saturating_sub(now);
        if left < SLEEP_NANOS_MIN {
            return Duration::ZERO;
        }
        Duration::from_nanos(left).saturating_sub(WAKE_EARLY)
    }

    fn next_due(&self) -> u64 {
        self.start_nanos.saturating_add(self.taken.saturating_mul(self.interval_picos) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let mut pace = Pace::new(100, 3.0);
        let mut due = Vec::new();
        while let Some((_, at)) = pace.take_due(2_000_000_050) {
            due.push(at);
        }
        assert_eq!(
            due,
            [100, 333_333_433, 666_666_766, 1_000_000_099, 1_333_333_433, 1_666_666_766]
        );
        assert_eq!(pace.take_due(2_000_000_100).map(|(number, _)| number), Some(6));
    }

    #[test]
    fn late_messages_keep_their_time() {
        let mut pace = Pace::new(0, 5000.0);
        assert_eq!(pace.take_due(1_000_000), Some((0, 0)));
        assert_eq!(pace.take_due(1_000_000), Some((1, 200_000)));
        pace.give_back();
        assert_eq!(pace.take_due(9_000_000), Some((1, 200_000)));
    }

    #[test]
    fn short_waits_spin() {
        let mut pace = Pace::new(0, 100.0);
        assert_eq!(pace.take_due(0), Some((0, 0)));
        assert_eq!(pace.timeout(0), Duration::from_millis(8));
        assert_eq!(pace.timeout(8_000_000), Duration::ZERO);
        assert_eq!(pace.timeout(20_000_000), Duration::ZERO);
    }
}
