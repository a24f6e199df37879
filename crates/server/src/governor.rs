//! The node's memory: how much is in use, how much may be, and what that means.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bellbird_core::{ConnectionId, Input, Memory, Time};

use crate::event_loop::EventLoop;

/// Knows how much memory the process uses.
#[derive(Clone, Debug)]
pub struct Governor {
    in_use: fn() -> usize,
    bytes_max: Arc<AtomicUsize>,
}

/// The node's memory at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryReport {
    /// Bytes in use.
    pub bytes: usize,
    /// Bytes that may be.
    pub bytes_max: usize,
    /// What the shards make of it.
    pub memory: Memory,
}

impl Governor {
    /// `in_use` gives the bytes that the process has allocated; it is called often.
    pub fn new(in_use: fn() -> usize, bytes_max: usize) -> Self {
        Self { in_use, bytes_max: Arc::new(AtomicUsize::new(bytes_max)) }
    }

    /// One that never finds memory short.
    pub fn idle() -> Self {
        Self::new(|| 0, usize::MAX)
    }

    /// Changes the ceiling.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// The stage that follows `now`. A stage is left a little below where it begins, so that it
    /// does not come and go with each message.
    fn next(&self, now: Memory) -> Memory {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        stage((self.in_use)(), bytes_max, now)
    }

    /// For an operator.
    pub(crate) fn report(&self) -> MemoryReport {
        let (bytes, bytes_max) = ((self.in_use)(), self.bytes_max.load(Ordering::Relaxed));
        MemoryReport { bytes, bytes_max, memory: stage(bytes, bytes_max, Memory::Ample) }
    }
}

fn stage(bytes: usize, bytes_max: usize, now: Memory) -> Memory {
    let percent = bytes / (bytes_max / 100).max(1);
    let entered = Memory::ALL.iter().zip(ENTER_PERCENT).rev().find(|(stage, from)| {
        let leeway = if **stage <= now { LEEWAY_PERCENT } else { 0 };
        percent + leeway >= *from
    });
    entered.map_or(Memory::Ample, |(stage, _)| *stage)
}

/// What a shard remembers of it.
#[derive(Default)]
pub(crate) struct Restraint {
    memory: Memory,
    /// When a connection may be ended next.
    shed_at: Time,
}

impl EventLoop {
    /// Looks at the memory, once a turn, and acts on it.
    pub(crate) fn govern(&mut self, now: Time) {
        let memory = self.governor.next(self.restraint.memory);
        if memory != self.restraint.memory {
            self.restraint = Restraint { memory, shed_at: Time(now.0 + GRACE_MS) };
            if self.id.0 == 0 {
                report(self.governor.report(), memory);
            }
            self.input(now, Input::Memory(memory));
        }
        if memory == Memory::Exhausted && now >= self.restraint.shed_at {
            self.restraint.shed_at = Time(now.0 + SHED_MS);
            self.shed(now);
        }
    }

    /// When it has to look again, though nothing happens.
    pub(crate) fn next_shedding(&self) -> Option<Time> {
        (self.restraint.memory == Memory::Exhausted).then_some(self.restraint.shed_at)
    }

    /// Ends the connection for which most bytes are kept, if that is worth it.
    fn shed(&mut self, now: Time) {
        let kept = |(id, bytes): (ConnectionId, usize)| (bytes + self.core.outbox(id).len(), id);
        let most = self.sockets.unread().map(kept).max_by_key(|(bytes, _)| *bytes);
        let Some((bytes, id)) = most.filter(|(bytes, _)| *bytes >= WORTH_BYTES) else { return };
        log::warn!("memory is exhausted: a connection for which {bytes} bytes were kept is ended");
        self.input(now, Input::Shed { connection: id });
    }
}

fn report(MemoryReport { bytes, bytes_max, .. }: MemoryReport, memory: Memory) {
    let (mib, mib_max) = (bytes >> 20, bytes_max >> 20);
    let what = match memory {
        Memory::Ample => return log::info!("memory is ample again: {mib} of {mib_max} MiB in use"),
        Memory::Tight => "slow clients get fewer messages of QoS 0",
        Memory::Short => "no new sessions, subscriptions, retained and delayed messages",
        Memory::Exhausted => "no messages, and the slowest clients are disconnected",
    };
    log::warn!("memory is {}: {mib} of {mib_max} MiB in use; {what}", memory.name());
}

/// Where the stages begin, in the order of [`Memory::ALL`].
const ENTER_PERCENT: [usize; 4] = [0, 80, 90, 100];
const LEEWAY_PERCENT: usize = 3;
/// Nobody is ended before: a packet that is just on its way has come whole by then.
const GRACE_MS: u64 = 1000;
/// A shard ends at most ten connections a second: what they held is free by then.
const SHED_MS: u64 = 100;
/// Below this a connection is not what takes the memory.
const WORTH_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_begin_with_their_share_and_end_a_little_below() {
        let check = |percent: usize, now, expected| {
            assert_eq!(stage(percent << 20, 100 << 20, now), expected, "{percent} % after {now:?}");
        };
        check(0, Memory::Ample, Memory::Ample);
        check(79, Memory::Ample, Memory::Ample);
        check(80, Memory::Ample, Memory::Tight);
        check(78, Memory::Tight, Memory::Tight);
        check(76, Memory::Tight, Memory::Ample);
        check(89, Memory::Tight, Memory::Tight);
        check(88, Memory::Short, Memory::Short);
        check(100, Memory::Ample, Memory::Exhausted);
        check(97, Memory::Exhausted, Memory::Exhausted);
        check(96, Memory::Exhausted, Memory::Short);
        check(300, Memory::Ample, Memory::Exhausted);
    }

    #[test]
    fn no_ceiling_is_never_reached() {
        assert_eq!(stage(usize::MAX / 2, usize::MAX, Memory::Ample), Memory::Ample);
        assert_eq!(stage(1, 0, Memory::Ample), Memory::Ample);
        assert_eq!(Governor::idle().report().memory, Memory::Ample);
    }
}
