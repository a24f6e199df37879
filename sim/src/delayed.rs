//! `$delayed/{seconds}/{topic}`: when each message may come, when it must, and that it comes once.

use bellbird_core::identity::{Holder, Time};
use bellbird_core::record::{Append, Commit, Operation};

use crate::exact::Written;
use crate::shape::DELAYED_MAX;
use crate::world::World;

/// One message that is published later.
pub(crate) struct Later {
    number: usize,
    pub(crate) secs: u32,
    /// It may come from the one time on, and must have come at the other; none before it was taken.
    due: Option<Due>,
    /// So many were waiting that it may have found no room.
    finds_no_room: bool,
    /// When it was acknowledged: it was stored by then.
    answered_at: Time,
    /// The record that says that it was published.
    done: Option<Written>,
    /// That record is stored: it does not come again, whatever happens.
    is_over: bool,
    /// The node ended when it may have been published, and the log may not have known it: it is
    /// published again rather than not at all.
    may_repeat: bool,
}

/// A message that was taken twice has one of two times, and only the log knows which.
#[derive(Clone, Copy)]
struct Due {
    from: Time,
    until: Time,
}

impl World {
    /// How long the next message is to wait, if it is to be one of these.
    pub(crate) fn draw_delay(&mut self) -> Option<u32> {
        let is_chosen = self.rng.chance(self.shape.delayed);
        is_chosen.then(|| *self.rng.pick(&[0, 1, 1, 5, 30, 400, 100_000]))
    }

    pub(crate) fn note_delay(&mut self, number: usize, secs: u32) {
        self.messages[number].later = Some(self.later.len());
        self.later.push(Later {
            number,
            secs,
            due: None,
            finds_no_room: false,
            answered_at: Time(0),
            done: None,
            is_over: false,
            may_repeat: false,
        });
    }

    /// A message was taken, for the first time or again: its time counts from here.
    pub(crate) fn delay_begins(&mut self, number: usize) {
        let Some(later) = self.messages[number].later else { return };
        let at = self.messages[number].at.plus_secs(u64::from(self.later[later].secs));
        let due = &mut self.later[later].due;
        let from = due.map_or(at, |due| due.from.min(at));
        *due = Some(Due { from, until: due.map_or(at, |due| due.until.max(at)) });
        self.stats.delayed += 1;
        let waits = |later: &&Later| later.due.is_some() && later.done.is_none();
        let waiting = self.later.iter().filter(waits).count();
        let max = DELAYED_MAX.div_ceil(self.node.shards.len());
        let finds_no_room =
            (self.shape.has_small_limits && waiting > max) || self.messages[number].lacked_room;
        self.later[later].finds_no_room = finds_no_room;
        self.messages[number].is_doubtful |= finds_no_room;
        self.note_what_is_due();
    }

    /// PUBACK or PUBREC was written.
    pub(crate) fn delay_is_answered(&mut self, number: usize) {
        if let Some(later) = self.messages[number].later {
            self.later[later].answered_at = self.now;
        }
    }

    /// It was refused after all, and the client says it again.
    pub(crate) fn delay_is_void(&mut self, number: usize) {
        if let Some(later) = self.messages[number].later {
            self.later[later].due = None;
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: usize) {
        self.pass_to(Time(self.now.0 + ms as u64));
    }

    pub(crate) fn pass_to(&mut self, now: Time) {
        self.now = now;
        self.note_what_is_due();
    }

    /// Time has passed: from here on these may be matched, nobody knows when.
    pub(crate) fn note_what_is_due(&mut self) {
        let now = self.now;
        let is_due = |later: &&Later| later.due.is_some_and(|due| due.from <= now);
        let due: Vec<usize> = self
            .later
            .iter()
            .filter(is_due)
            .map(|later| later.number)
            .filter(|number| self.messages[*number].handed.is_none())
            .collect();
        for number in due {
            let tick = self.next_tick();
            self.message_may_come(number, tick);
        }
    }

    /// Whether nobody may wait for this message any more than for one that was not delayed.
    pub(crate) fn must_have_come(&self, number: usize) -> bool {
        let later = self.messages[number].later.map(|later| &self.later[later]);
        let is_over = |at: Time| at.plus_secs(LATE_SECS) <= self.now;
        later.is_none_or(|later| {
            // Nobody looks before it is stored, nor while there is no node.
            let known_at = later.answered_at.max(self.started_at);
            later.due.is_some_and(|due| is_over(due.until.max(known_at)))
        })
    }

    /// Whether No Local may speak of this message: a start takes what a client published in an
    /// earlier session for its own as well, and of a will nobody may know which session had it.
    pub(crate) fn may_be_own(&self, number: usize, life: usize) -> bool {
        let message = &self.messages[number];
        let is_same_client = message.client == self.lives[life].client;
        message.life == Some(life) || (message.is_unasked() && is_same_client)
    }

    /// Whether it may be published more than once.
    pub(crate) fn may_come_again(&self, number: usize) -> bool {
        self.messages[number].later.is_some_and(|later| self.later[later].may_repeat)
    }

    /// The messages of a commit for the holder that stands for all that wait are published.
    pub(crate) fn note_published(&mut self, commit: &Commit, written: Written) {
        if !is_delayed(commit.holder) {
            return;
        }
        for operation in &commit.operations {
            let Operation::Done { delivery } = operation else { continue };
            let number = self.positions.get(&delivery.position);
            if let Some(later) = number.and_then(|number| self.messages[*number].later) {
                self.later[later].done = Some(written);
            }
        }
    }

    /// The node is about to end: what of these the log surely knows.
    pub(crate) fn note_what_is_over(&mut self) {
        for index in 0..self.later.len() {
            let done = self.later[index].done;
            self.later[index].is_over |= done.is_some_and(|done| self.is_written(done));
        }
    }

    /// What may come again now that the node has ended.
    pub(crate) fn delayed_after_end(&mut self, clean: bool) {
        let now = self.now;
        for later in &mut self.later {
            later.is_over |= clean && later.done.is_some();
            if later.is_over || later.due.is_none_or(|due| due.from > now) {
                continue;
            }
            later.done = None;
            later.may_repeat = true;
            // Where it was shown or matched before says nothing of the next time.
            self.messages[later.number].matched = Some(u64::MAX);
        }
    }

    /// Whether so many may have been waiting that this one had no room.
    pub(crate) fn is_quota_reached(&self, number: usize) -> bool {
        self.messages[number].later.is_some_and(|later| self.later[later].finds_no_room)
    }
}

/// Whether the record makes a message wait, or publishes one.
pub(crate) fn makes_wait(append: &Append) -> bool {
    append.holders.iter().any(|delivery| is_delayed(delivery.holder))
}

/// Stands in the log for all messages that wait; no client's session has this number.
pub(crate) fn is_delayed(holder: Holder) -> bool {
    holder.number == 0
}

/// The broker looks once a second.
const LATE_SECS: u64 = 2;
