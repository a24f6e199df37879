//! What a shard does without while the node's memory is short: least missed first.

use bellbird_codec::ReasonCode;

use crate::connection::Cause;
use crate::identity::{ConnectionId, Time};
use crate::shard::Shard;

/// How much memory the node has left, from most to least. Each stage keeps the restraints of those
/// before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Memory {
    /// Enough.
    #[default]
    Ample,
    /// Messages of QoS 0 are kept only briefly: a sixteenth of the outbox is for them, and none
    /// wait for clients that are away.
    Tight,
    /// Nothing new is taken in that stays: no sessions, no subscriptions, no retained or delayed
    /// messages. Clients of 5.0 hear Server busy or Quota exceeded.
    Short,
    /// No messages are taken in. Those of QoS 1 and 2 are refused with Quota exceeded, which a
    /// client of 3.1 or 3.1.1 learns by the end of its connection; those of QoS 0 are dropped. And
    /// the shell ends connections, those first for which most is kept.
    Exhausted,
}

impl Memory {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ample, Self::Tight, Self::Short, Self::Exhausted];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Tight => "tight",
            Self::Short => "short",
            Self::Exhausted => "exhausted",
        }
    }

    /// What is left of a bound on what can be done without: of an outbox for one more message of
    /// QoS 0, and of a queue's messages that are in the log as well.
    pub(crate) fn part_of(self, bytes_max: usize) -> usize {
        if self >= Self::Tight { bytes_max / TIGHT_PART } else { bytes_max }
    }
}

impl Shard {
    pub(crate) fn memory_is(&mut self, memory: Memory) {
        self.clients.memory = memory;
        if memory >= Memory::Tight {
            self.clients.pool.empty();
            self.clients.sweep = Some(0);
        }
    }

    /// The next slice of a walk over all sessions that leaves their queues to the log.
    pub(crate) fn sweep_on(&mut self) {
        let Some(first) = self.clients.sweep.take() else { return };
        let bytes_max = self.clients.memory.part_of(self.clients.config.queue_memory_bytes);
        let end = first.saturating_add(SWEEP_SESSIONS);
        for index in first..end.min(self.clients.sessions.places()) {
            if let Some(session) = self.clients.sessions.at(index)
                && session.durable
            {
                session.queue.put_away(bytes_max);
            }
        }
        if end < self.clients.sessions.places() {
            self.clients.sweep = Some(end);
        }
    }

    /// Ends a connection for the memory it takes; its session stays as if the network had.
    pub(crate) fn shed(&mut self, now: Time, id: ConnectionId) {
        self.disconnect(now, id, ReasonCode::QuotaExceeded, Cause::Memory);
    }

    /// Whether one more session finds room, and why not.
    pub(crate) fn room_for_session(&self) -> Result<(), ReasonCode> {
        let config = &self.clients.config;
        let mine = config.sessions_max.div_ceil(usize::from(config.shards));
        if self.clients.sessions.len() >= mine {
            Err(ReasonCode::QuotaExceeded)
        } else if self.clients.memory >= Memory::Short {
            Err(ReasonCode::ServerBusy)
        } else {
            Ok(())
        }
    }
}

/// 64 KiB of 1 MiB: what a connection on its way takes in a turn.
const TIGHT_PART: usize = 16;

/// Of one slice: a look at each, and a queue of the usual size costs some 20 µs.
const SWEEP_SESSIONS: u32 = 256;
