//! The node's memory: how much is in use, how much may be, and what that means.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use bellbird_core::{ConnectionId, Input, Memory, Time};

use crate::event_loop::EventLoop;

/// Knows how much memory the process uses.
#[derive(Clone, Debug)]
pub struct Governor {
    allocator: Allocator,
    shared: Arc<Shared>,
}

/// What the program's allocator can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// The bytes that the process has allocated; it is called often.
    pub in_use: fn() -> usize,
    /// Gives the system what is free of them, where much was in use for a moment.
    pub give_back: fn(),
    /// Prepares for the calling thread to have much.
    pub widen: fn(),
}

/// What all shards look at.
#[derive(Debug)]
struct Shared {
    bytes_max: AtomicUsize,
    /// The place of the stage in [`Memory::ALL`].
    stage: AtomicUsize,
    /// The most that was in use since memory was given back last.
    peak: AtomicUsize,
    /// When that was.
    gave_back_at: AtomicU64,
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
    /// One that keeps what the allocator has handed out below a ceiling.
    pub fn new(allocator: Allocator, bytes_max: usize) -> Self {
        let (bytes_max, stage) = (AtomicUsize::new(bytes_max), AtomicUsize::new(0));
        let (peak, gave_back_at) = (AtomicUsize::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { bytes_max, stage, peak, gave_back_at });
        Self { allocator, shared }
    }

    /// One that never finds memory short.
    pub fn idle() -> Self {
        Self::new(Allocator { in_use: || 0, give_back: || {}, widen: || {} }, usize::MAX)
    }

    /// A log was read, and what it took is free again.
    pub(crate) fn log_was_read(&self) {
        (self.allocator.give_back)();
    }

    /// A shard's thread begins.
    pub(crate) fn shard_begins(&self) {
        (self.allocator.widen)();
    }

    /// Changes the ceiling.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.shared.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// The stage from here on, for the whole node.
    fn look(&self, now: Time) -> Memory {
        let MemoryReport { bytes, bytes_max, memory } = self.report();
        if self.must_give_back(now, bytes) {
            // Its own thread, for it takes a while. Without one it happens the next time.
            let _thread =
                thread::Builder::new().name("memory".into()).spawn(self.allocator.give_back);
        }
        let next = stage(bytes, bytes_max, memory);
        // Two shards that look at once may both find it changed; one of them says so.
        if next != memory
            && self.shared.stage.swap(next as usize, Ordering::Relaxed) != next as usize
        {
            report(self.report());
        }
        next
    }

    /// Whether less than half of what was in use is so now: the allocator keeps what it has.
    fn must_give_back(&self, now: Time, bytes: usize) -> bool {
        let Shared { peak, gave_back_at, .. } = &*self.shared;
        let highest = peak.load(Ordering::Relaxed);
        if bytes > highest {
            peak.fetch_max(bytes, Ordering::Relaxed);
        }
        if !is_worth_it(highest, bytes) {
            return false;
        }
        let last = gave_back_at.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        // Of two shards that look at once, one does it.
        let must = now.0 >= last + GIVE_BACK_EVERY_MS
            && gave_back_at.compare_exchange(last, now.0, order, order).is_ok();
        if must {
            peak.store(bytes, Ordering::Relaxed);
        }
        must
    }

    /// When memory is given back, if it has to wait.
    fn gives_back_at(&self) -> Option<Time> {
        let Shared { peak, gave_back_at, .. } = &*self.shared;
        let is_due = is_worth_it(peak.load(Ordering::Relaxed), (self.allocator.in_use)());
        is_due.then(|| Time(gave_back_at.load(Ordering::Relaxed) + GIVE_BACK_EVERY_MS))
    }

    /// Whether more is in use than may be.
    fn is_over(&self) -> bool {
        (self.allocator.in_use)() > self.shared.bytes_max.load(Ordering::Relaxed)
    }

    /// For an operator.
    pub(crate) fn report(&self) -> MemoryReport {
        let (bytes, shared) = ((self.allocator.in_use)(), &self.shared);
        let stage = shared.stage.load(Ordering::Relaxed);
        MemoryReport {
            bytes,
            bytes_max: shared.bytes_max.load(Ordering::Relaxed),
            memory: Memory::ALL.get(stage).copied().unwrap_or_default(),
        }
    }
}

/// Whether so much less is in use than at the highest that giving it back is worth its price.
fn is_worth_it(highest: usize, bytes: usize) -> bool {
    highest >= bytes.saturating_mul(2).saturating_add(GIVE_BACK_BYTES)
}

/// The stage that follows `now`. A stage is left a little below where it begins, so that it does
/// not come and go with each message.
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
    /// When it looks again, though nothing happens: other shards give memory back as well.
    look_at: Time,
    /// From when on connections may be ended.
    shed_from: Time,
}

impl EventLoop {
    /// Looks at the memory, once a turn, and acts on it.
    pub(crate) fn govern(&mut self, now: Time) {
        let memory = self.governor.look(now);
        if memory != self.restraint.memory {
            let were_held = self.restraint.memory >= Memory::Short && memory < Memory::Short;
            self.restraint.memory = memory;
            self.restraint.shed_from = Time(now.0 + GRACE_MS);
            self.input(now, Input::Memory(memory));
            if were_held {
                self.sockets.readable().into_iter().for_each(|id| self.list_again(id));
            }
        }
        if memory == Memory::Ample || now < self.restraint.look_at {
            return;
        }
        self.restraint.look_at = Time(now.0 + LOOK_MS);
        if memory == Memory::Exhausted && now >= self.restraint.shed_from {
            self.shed(now);
        }
    }

    /// How many bytes of a connection may be read. While memory is short, whoever has not said
    /// CONNECT is heard as far as one needs to say it.
    pub(crate) fn may_read(&mut self, now: Time, id: ConnectionId) -> usize {
        // Within one turn many connections may send much.
        if self.restraint.memory != Memory::Exhausted && self.governor.is_over() {
            self.govern(now);
        }
        if self.restraint.memory < Memory::Short || self.core.version(id).is_some() {
            usize::MAX
        } else if self.is_held(id) {
            0
        } else {
            STRANGER_BYTES
        }
    }

    /// Whether a connection is not read for now, as it has said enough for a CONNECT.
    pub(crate) fn is_held(&mut self, id: ConnectionId) -> bool {
        self.restraint.memory >= Memory::Short
            && self.core.version(id).is_none()
            && self.sockets.get(id).is_some_and(|socket| socket.untaken().len() >= STRANGER_BYTES)
    }

    /// When it has to look again, though nothing happens.
    pub(crate) fn next_look(&self) -> Option<Time> {
        let of_stage = (self.restraint.memory != Memory::Ample).then_some(self.restraint.look_at);
        of_stage.into_iter().chain(self.governor.gives_back_at()).min()
    }

    /// Ends connections, those first for which most bytes are kept, until this shard has done its
    /// part. Those for which little is kept stay.
    fn shed(&mut self, now: Time) {
        let MemoryReport { bytes, bytes_max, .. } = self.governor.report();
        let too_many = bytes.saturating_sub(bytes_max / 100 * (100 - LEEWAY_PERCENT));
        let my_part = too_many / self.slits.len();
        let kept = |(id, bytes): (ConnectionId, usize)| (bytes + self.core.outbox(id).len(), id);
        let kept = self.sockets.kept().map(kept);
        let mut most: Vec<_> = kept.filter(|(bytes, _)| *bytes >= WORTH_BYTES).collect();
        most.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let (mut ended, mut freed) = (0, 0);
        for (bytes, id) in most.into_iter().take(SHED_MAX) {
            if freed > my_part {
                break;
            }
            (ended, freed) = (ended + 1, freed + bytes);
            self.input(now, Input::Shed { connection: id });
        }
        if ended > 0 {
            log::warn!(
                "memory is exhausted: slow clients are disconnected ({ended}), for which {freed} \
                 bytes were kept"
            );
        }
    }
}

fn report(MemoryReport { bytes, bytes_max, memory }: MemoryReport) {
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
/// Between two times that memory is given back: others wait who allocate meanwhile.
const GIVE_BACK_EVERY_MS: u64 = 60_000;
/// What is not worth it.
const GIVE_BACK_BYTES: usize = 16 << 20;
/// What is kept of a CONNECT while memory is short: nearly all of them are smaller.
const STRANGER_BYTES: usize = 8192;
/// Nobody is ended before: a packet that is just on its way has come whole by then.
const GRACE_MS: u64 = 1000;
/// Between two looks while memory is not ample; what was ended is free by then.
const LOOK_MS: u64 = 100;
/// Connections that one turn ends at most: others have their turn as well.
const SHED_MAX: usize = 256;
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
    fn memory_is_given_back_when_most_of_it_is_free_and_not_all_the_time() {
        let allocator = Allocator { in_use: || 40 << 20, give_back: || {}, widen: || {} };
        let governor = Governor::new(allocator, usize::MAX);
        let minute = GIVE_BACK_EVERY_MS;
        let check = |now, mib: usize, expected, why| {
            assert_eq!(governor.must_give_back(Time(now), mib << 20), expected, "{why}");
        };
        check(minute, 100, false, "the highest so far");
        check(minute, 43, false, "less than half is free");
        check(minute, 42, true, "100 were in use, and these twice and 16 are less");
        check(minute + 1, 200, false, "the highest since");
        check(minute + 2, 10, false, "a moment ago it was");
        assert_eq!(governor.gives_back_at(), Some(Time(2 * minute)));
        check(2 * minute, 10, true, "it is time");
        check(9 * minute, 1, false, "nothing came since");
        assert_eq!(governor.gives_back_at(), None);
    }

    #[test]
    fn no_ceiling_is_never_reached() {
        assert_eq!(stage(usize::MAX / 2, usize::MAX, Memory::Ample), Memory::Ample);
        assert_eq!(stage(1, 0, Memory::Ample), Memory::Ample);
        assert_eq!(Governor::idle().report().memory, Memory::Ample);
    }
}
