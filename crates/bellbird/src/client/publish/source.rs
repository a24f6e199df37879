//! The payloads of a run, one after the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Gives each payload when its time has come.
#[derive(Debug)]
pub(crate) enum Source {
    /// One payload, several times.
    Repeated {
        payload: Vec<u8>,
        left: u64,
        delay: Duration,
        /// The earliest time for the next one; `None` for the first.
        next_at: Option<Instant>,
    },
    /// Lines as they come.
    Lines { waiting: VecDeque<Vec<u8>>, current: Vec<u8>, has_ended: bool },
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// Publish this.
    Message(&'a [u8]),
    /// Ask again at this time.
    At(Instant),
    /// Ask again when there are more lines.
    MoreLines,
    /// That was all.
    End,
}

impl Source {
    pub(crate) fn repeated(payload: Vec<u8>, count: u64, delay: Duration) -> Self {
        Self::Repeated { payload, left: count, delay, next_at: None }
    }

    pub(crate) fn lines() -> Self {
        Self::Lines { waiting: VecDeque::new(), current: Vec::new(), has_ended: false }
    }

    /// The next payload.
    pub(crate) fn next(&mut self, now: Instant) -> Next<'_> {
        match self {
            Self::Repeated { left: 0, .. } => Next::End,
            Self::Repeated { next_at: Some(time), .. } if *time > now => Next::At(*time),
            Self::Repeated { payload, left, delay, next_at } => {
                *left -= 1;
                *next_at = now.checked_add(*delay);
                Next::Message(payload)
            }
            Self::Lines { waiting, current, has_ended } => match waiting.pop_front() {
                Some(line) => {
                    *current = line;
                    Next::Message(current)
                }
                None if *has_ended => Next::End,
                None => Next::MoreLines,
            },
        }
    }

    /// Lines that came; there are none unless they were asked for.
    pub(crate) fn add_lines(&mut self, lines: Vec<Vec<u8>>) {
        if let Self::Lines { waiting, .. } = self {
            waiting.extend(lines);
        }
    }

    /// No more lines will come.
    pub(crate) fn end_lines(&mut self) {
        if let Self::Lines { has_ended, .. } = self {
            *has_ended = true;
        }
    }

    /// Whether payloads come from stdin line by line.
    pub(crate) fn reads_lines(&self) -> bool {
        matches!(self, Self::Lines { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_keep_their_distance() {
        let start = Instant::now();
        let delay = Duration::from_secs(1);
        let mut source = Source::repeated(b"x".to_vec(), 2, delay);
        assert_eq!(source.next(start), Next::Message(b"x"));
        assert_eq!(source.next(start), Next::At(start + delay));
        assert_eq!(source.next(start + delay), Next::Message(b"x"));
        assert_eq!(source.next(start + delay), Next::End);
    }

    #[test]
    fn lines_are_given_in_order_and_asked_for() {
        let now = Instant::now();
        let mut source = Source::lines();
        assert_eq!(source.next(now), Next::MoreLines);
        source.add_lines(vec![b"a".to_vec(), Vec::new()]);
        assert_eq!(source.next(now), Next::Message(b"a"));
        assert_eq!(source.next(now), Next::Message(b""));
        assert_eq!(source.next(now), Next::MoreLines);
        source.end_lines();
        assert_eq!(source.next(now), Next::End);
    }
}
