//! Waiting until all is there, or nothing comes any more.

use std::time::{Duration, Instant};

use super::progress::Progress;

/// A wait for what comes little by little; it tells how far it is.
#[derive(Debug)]
pub(super) struct Patience {
    what: &'static str,
    silence_max: Duration,
    end: Option<Instant>,
    moved: u64,
    moved_at: Instant,
    progress: Progress,
}

impl Patience {
    /// For `what`, as long as something moves within `silence_max`.
    pub(super) fn new(what: &'static str, silence_max: Duration) -> Self {
        let (moved_at, progress) = (Instant::now(), Progress::new());
        Self { what, silence_max, end: None, moved: 0, moved_at, progress }
    }

    /// For so long at most, whatever moves.
    pub(super) fn within(mut self, time_max: Duration) -> Self {
        self.end = Some(Instant::now() + time_max);
        self
    }

    /// Whether to go on. `moved` is another number whenever something has happened; so many are
    /// done.
    pub(super) fn goes_on(&mut self, moved: u64, done: u64) -> bool {
        self.progress.tell(self.what, done);
        let now = Instant::now();
        if moved != self.moved {
            (self.moved, self.moved_at) = (moved, now);
        }
        now - self.moved_at <= self.silence_max && self.end.is_none_or(|end| now <= end)
    }

    /// It is over, one way or the other. Returns how long nothing had moved.
    pub(super) fn end(self) -> Duration {
        self.progress.end();
        self.moved_at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn it_ends_without_movement_or_at_its_time() {
        let mut moving = Patience::new("done", LONG);
        assert!(moving.goes_on(0, 0) && moving.goes_on(0, 0) && moving.goes_on(1, 1));
        let mut still = Patience::new("done", Duration::ZERO);
        assert!(still.goes_on(1, 0));
        assert!(!still.goes_on(1, 0));
        assert!(still.goes_on(2, 0));
        let mut late = Patience::new("done", LONG).within(Duration::ZERO);
        assert!(!late.goes_on(1, 1));
    }
}
