//! How long somebody waits for the log: not for ever, or nobody would notice that it is stuck.
//!
//! Nothing notes when it began to wait. Tickets are consecutive, so a mark each second says which
//! of them are older; whoever waits for one below a mark that is too old is disconnected.

use std::collections::VecDeque;

use crate::connection::Cause;
use crate::identity::{ConnectionId, Time};
use crate::release::StoredFor;
use crate::shard::Shard;
use crate::storage::Waits;
use crate::timer::Timer;

/// Marks of the time, while something is under way.
#[derive(Default, Debug)]
pub(crate) struct Holding {
    marks: VecDeque<Mark>,
    /// Whoever waits for something before was disconnected.
    ended: Before,
    /// The wheel has an entry for the next mark.
    is_watched: bool,
}

/// At this time, all that was handed out had numbers before these.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Time,
    before: Before,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Before {
    ticket: u64,
    withheld: u64,
}

impl Shard {
    /// Has marks made from now on, if something is under way.
    #[inline]
    pub(crate) fn watch_held(&mut self, now: Time) {
        if !self.holding.is_watched && self.is_under_way() {
            self.mark(now);
        }
    }

    /// The time of a mark has come: whoever waits for too long is disconnected. The session stays,
    /// and what was taken is stored all the same once that is possible.
    pub(crate) fn check_held(&mut self, now: Time) {
        self.holding.is_watched = false;
        let hold_secs = u64::from(self.clients.config.hold_secs);
        let is_old = |mark: &mut Mark| mark.at.plus_secs(hold_secs) <= now;
        let mut old = None;
        while let Some(mark) = self.holding.marks.pop_front_if(is_old) {
            old = Some(mark.before);
        }
        if let Some(before) = old {
            let reason = self.storage.reason();
            for id in self.held_before(before) {
                self.disconnect(now, id, reason, Cause::Storage);
            }
            self.holding.ended = before;
        }
        let (releases, withheld) = (&self.releases, &self.withheld);
        let is_over = |mark: &mut Mark| {
            releases.are_stored_before(mark.before.ticket) && withheld.is_past(mark.before.withheld)
        };
        while self.holding.marks.pop_front_if(is_over).is_some() {}
        self.watch_held(now);
    }

    /// Whether something for which nobody waits any more, since it took too long, is still not
    /// stored.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.releases.are_stored_before(self.holding.ended.ticket)
    }

    #[cold]
    fn mark(&mut self, now: Time) {
        let before = Before { ticket: self.releases.next_ticket(), withheld: self.withheld.next() };
        if self.holding.marks.back().is_none_or(|last| last.before != before) {
            self.holding.marks.push_back(Mark { at: now, before });
        }
        self.holding.is_watched = true;
        self.timers.insert(now, now.plus_secs(1), Timer::Held);
    }

    fn is_under_way(&self) -> bool {
        self.releases.tickets_open() > 0 || !self.withheld.is_empty()
    }

    /// Whose acknowledgements speak for something before these numbers, and were not looked at
    /// before.
    fn held_before(&self, before: Before) -> Vec<ConnectionId> {
        let Before { ticket, withheld } = self.holding.ended;
        let tickets = self.releases.waiting(ticket, before.ticket).map(Waits::For);
        let withheld = self.withheld.between(withheld, before.withheld);
        tickets.chain(withheld).filter_map(|waits| self.who_waits(waits)).collect()
    }

    fn who_waits(&self, waits: Waits<'_>) -> Option<ConnectionId> {
        match waits {
            Waits::Itself(id) | Waits::For(&StoredFor::Connack(id)) => Some(id),
            Waits::For(StoredFor::Message(place) | StoredFor::Beside(place)) => {
                self.releases.connection(place.queue)
            }
            Waits::For(StoredFor::Reply(reply)) => Some(reply.connection),
            Waits::For(StoredFor::Ending(number)) => self.endings.waiting(*number),
            // No request of a client waits for these, but for that of a member whose session the
            // log need not know, which joins a group that the log is to know of: it waits on.
            Waits::For(
                StoredFor::Nothing
                | StoredFor::Session { .. }
                | StoredFor::Group(_)
                | StoredFor::Handing(_),
            ) => None,
        }
    }
}
