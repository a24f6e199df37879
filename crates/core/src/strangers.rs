//! Connections that have not said CONNECT, or have not come through what it began.

use std::collections::VecDeque;

use bellbird_codec::ReasonCode;

use crate::config::Config;
use crate::connection::Cause;
use crate::identity::{ConnectionId, Time};
use crate::shard::Shard;
use crate::timer::Timer;

/// In the order in which they came, which is that of their deadlines: one entry in the wheel is
/// enough for all. Most leave with the next who comes, not ten seconds later.
#[derive(Default, Debug)]
pub(crate) struct Strangers {
    waiting: VecDeque<ConnectionId>,
    /// The wheel has an entry for them.
    is_watched: bool,
}

impl Shard {
    /// Somebody came: CONNECT has to follow in time.
    pub(crate) fn meet(&mut self, now: Time, id: ConnectionId) {
        while let Some(first) = self.strangers.waiting.front().copied()
            && self.stranger_since(first).is_none()
        {
            self.strangers.waiting.pop_front();
        }
        self.strangers.waiting.push_back(id);
        self.bound_strangers(now);
        self.check_strangers(now);
    }

    /// Keeps to this shard's part of those who may wait at a time: the one that has waited longest
    /// ends, for whoever is honest has said CONNECT by then.
    fn bound_strangers(&mut self, now: Time) {
        let Config { strangers_max, shards, .. } = *self.clients.config;
        let max = strangers_max.div_ceil(usize::from(shards));
        // Those who were let in are among them, until they come to the front. To find out takes a
        // look at each, which is worth it for an eighth of them.
        if self.strangers.waiting.len() <= max + max / 8 {
            return;
        }
        let mut waiting = std::mem::take(&mut self.strangers.waiting);
        waiting.retain(|id| self.stranger_since(*id).is_some());
        while waiting.len() > max
            && let Some(first) = waiting.pop_front()
        {
            self.disconnect(now, first, ReasonCode::ServerBusy, Cause::Crowded);
        }
        self.strangers.waiting = waiting;
    }

    /// Closes those whose time is over, and has the next one looked at when its time comes.
    pub(crate) fn check_strangers(&mut self, now: Time) {
        while let Some(first) = self.strangers.waiting.front().copied() {
            let handshake_secs = u64::from(self.clients.config.handshake_secs);
            let deadline = self.stranger_since(first).map(|since| since.plus_secs(handshake_secs));
            if let Some(deadline) = deadline
                && deadline > now
            {
                if !self.strangers.is_watched {
                    self.strangers.is_watched = true;
                    self.timers.insert(now, deadline, Timer::Strangers);
                }
                return;
            }
            self.strangers.waiting.pop_front();
            // An exchange of AUTH packets has as long for each step.
            self.check_silence(now, first);
        }
    }

    /// The wheel's entry for them is gone.
    pub(crate) fn watch_strangers(&mut self, now: Time) {
        self.strangers.is_watched = false;
        self.check_strangers(now);
    }

    /// When it came, if it is still there and has not come through.
    fn stranger_since(&mut self, id: ConnectionId) -> Option<Time> {
        let connection = self.clients.connections.live(id)?;
        connection.is_stranger().then_some(connection.opened_at)
    }
}
