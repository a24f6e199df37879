//! Deliveries that a limit has dropped, as a line of the log: one a minute, whatever is dropped.
//!
//! Nothing happens where a delivery is dropped but that it is counted: each shard looks at its
//! counters once a turn, and puts what is new into one account for the node.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bellbird_core::{DropReason, Time};

use crate::telling::Name;

/// Dropped deliveries by reason, as [`bellbird_core::Ledger`] has them.
type Counters = [u64; DropReason::ALL.len()];

/// What all shards have dropped and no line has told yet.
#[derive(Default)]
pub(crate) struct Losses(Mutex<Untold>);

/// The same for one shard.
pub(crate) struct Watch {
    losses: Arc<Losses>,
    /// What is in the account already.
    seen: Counters,
    /// When to look into the account; none while there is nothing of ours in it.
    due: Option<Time>,
}

#[derive(Default)]
struct Untold {
    dropped: Counters,
    example: Option<Box<str>>,
    /// When the next line may be written.
    next: Time,
}

impl Watch {
    pub(crate) fn new(losses: Arc<Losses>) -> Self {
        Self { losses, seen: Default::default(), due: None }
    }

    /// Writes the line if there is one to write. The example is a client that lost something.
    pub(crate) fn look(
        &mut self,
        now: Time,
        dropped: &Counters,
        example: impl FnOnce() -> Option<Box<str>>,
    ) {
        if let Some(line) = self.line(now, dropped, example) {
            log::warn!("{line}");
        }
    }

    /// When to look, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due
    }

    fn line(
        &mut self,
        now: Time,
        dropped: &Counters,
        example: impl FnOnce() -> Option<Box<str>>,
    ) -> Option<Line> {
        let is_new = *dropped != self.seen;
        let Some(due) = self.due else {
            // What is dropped in one go is told in one line.
            self.due = is_new.then(|| now.plus_secs(1));
            return None;
        };
        if now < due {
            return None;
        }
        let mut untold = self.losses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new {
            untold.add(&self.seen, dropped, example);
            self.seen = *dropped;
        }
        self.due = None;
        if untold.dropped.iter().all(|count| *count == 0) {
            return None;
        }
        if now < untold.next {
            self.due = Some(untold.next);
            return None;
        }
        untold.next = now.plus_secs(PAUSE_SECS);
        let (dropped, example) = (std::mem::take(&mut untold.dropped), untold.example.take());
        Some(Line { dropped, example })
    }
}

impl Untold {
    /// Takes in what a shard has dropped between two looks, as far as it was a limit that did it.
    fn add(
        &mut self,
        before: &Counters,
        after: &Counters,
        example: impl FnOnce() -> Option<Box<str>>,
    ) {
        let mut is_any = false;
        let counts = self.dropped.iter_mut().zip(before.iter().zip(after));
        for (reason, (sum, (before, after))) in DropReason::ALL.into_iter().zip(counts) {
            if reason.is_of_limit() && after > before {
                *sum += after - before;
                is_any = true;
            }
        }
        if is_any {
            self.example = example().or_else(|| self.example.take());
        }
    }
}

/// What was dropped since the last line.
struct Line {
    dropped: Counters,
    example: Option<Box<str>>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.dropped.iter().sum();
        let deliveries = if count == 1 { "delivery" } else { "deliveries" };
        write!(f, "{count} {deliveries} dropped: ")?;
        let counts = DropReason::ALL.iter().zip(self.dropped).filter(|(_, count)| *count > 0);
        for (index, (reason, count)) in counts.enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {}", reason.name())?;
        }
        match &self.example {
            Some(client_id) => write!(f, "; for client {} among others", Name(client_id)),
            None => Ok(()),
        }
    }
}

const PAUSE_SECS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(DropReason, u64)]) -> Counters {
        let mut counters = Counters::default();
        for (reason, count) in counts {
            counters[*reason as usize] = *count;
        }
        counters
    }

    #[test]
    fn one_line_a_minute_for_all_shards() {
        use DropReason::{Offline, OutboxFull, QueueFull};
        let losses = Arc::new(Losses::default());
        let (mut one, mut other) = (Watch::new(losses.clone()), Watch::new(losses));
        let line = |watch: &mut Watch, millis, counts: &[_]| {
            let line = watch.line(Time(millis), &counters(counts), || Some("c".into()));
            (line.map(|line| line.to_string()), watch.next().map(|due| due.0))
        };
        assert_eq!(line(&mut one, 100_000, &[]), (None, None));
        assert_eq!(line(&mut one, 100_000, &[(QueueFull, 1)]), (None, Some(101_000)));
        let told =
            "5 deliveries dropped: 2 outbox_full, 3 queue_full; for client \"c\" among others";
        assert_eq!(
            line(&mut one, 101_000, &[(QueueFull, 3), (OutboxFull, 2)]),
            (Some(told.into()), None)
        );
        let more = [(QueueFull, 4), (OutboxFull, 2)];
        assert_eq!(line(&mut one, 102_000, &more), (None, Some(103_000)));
        assert_eq!(line(&mut one, 103_000, &more), (None, Some(161_000)));
        let theirs = [(QueueFull, 10)];
        assert_eq!(line(&mut other, 159_000, &theirs), (None, Some(160_000)));
        assert_eq!(line(&mut other, 160_000, &theirs), (None, Some(161_000)));
        let told = "11 deliveries dropped: 11 queue_full; for client \"c\" among others";
        assert_eq!(line(&mut one, 161_000, &more), (Some(told.into()), None));
        assert_eq!(line(&mut other, 161_000, &theirs), (None, None));
        // What is no loss is not told.
        let theirs = [(QueueFull, 10), (Offline, 5)];
        assert_eq!(line(&mut other, 300_000, &theirs), (None, Some(301_000)));
        assert_eq!(line(&mut other, 301_000, &theirs), (None, None));
    }

    #[test]
    fn a_single_one_without_a_name() {
        let mut dropped = Counters::default();
        dropped[DropReason::MailboxFull as usize] = 1;
        let line = Line { dropped, example: None };
        assert_eq!(line.to_string(), "1 delivery dropped: 1 mailbox_full");
    }
}
