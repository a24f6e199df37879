//! A line on the terminal while a run lasts; nothing if standard error is no terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Tells once per second how far a run is.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    started: Instant,
    told: Instant,
    count: u64,
}

const PERIOD: Duration = Duration::from_secs(1);

impl Progress {
    /// Begins.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { is_shown: stderr().is_terminal(), started: now, told: now, count: 0 }
    }

    /// `count` of `what` are done by now.
    pub(super) fn tell(&mut self, what: &str, count: u64) {
        let since = self.told.elapsed();
        if !self.is_shown || since < PERIOD {
            return;
        }
        let rate = count.saturating_sub(self.count) as f64 / since.as_secs_f64();
        let seconds = self.started.elapsed().as_secs();
        eprint!("\r{seconds:>4} s  {count} {what}, {rate:.0}/s\x1b[K");
        self.told = Instant::now();
        self.count = count;
    }

    /// Wipes the line.
    pub(super) fn end(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
            // A terminal that is gone is no reason to fail.
            drop(stderr().flush());
        }
    }
}
