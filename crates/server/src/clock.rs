//! The one clock of a node.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bellbird_core::Time;

/// At start the later of wall clock and log, then monotonic: it never goes back, and time counts
/// while the node was down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Time,
    started: Instant,
}

impl Clock {
    pub(crate) fn new(last_in_log: Time) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Time(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Self { origin: wall.max(last_in_log), started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time(self.origin.0.saturating_add(elapsed))
    }
}
