//! The scheduler: which of the many things that could happen happens next.

use bellbird_core::Storage;
use bellbird_core::contract::Input;
use bellbird_core::identity::ShardId;
use bellbird_core::permit::{Action, Verdict};

use crate::plant::Plant;
use crate::show::ShowMail;
use crate::store::{End, Work};
use crate::world::World;

/// One kind of step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Act,
    Acknowledge,
    Up,
    Read,
    Write,
    Down,
    Arrive,
    Close,
    NoticeEnd,
    Mail,
    Change,
    Applied,
    Store,
    Report,
    Answer,
    Fetched,
    Prove,
    Time,
    Timeout,
    Cut,
    Reload,
    News,
    Room,
    Storage,
    End,
}

impl World {
    /// The chaotic part of a run.
    pub(crate) fn storm(&mut self) {
        let total: usize = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        for step in 0..self.shape.steps {
            self.step = step;
            // What has nothing to do gives way, so that few steps are idle.
            for _ in 0..5 {
                let mut at = self.rng.below(total);
                let chosen = WEIGHTS.iter().find(|(_, weight)| match at.checked_sub(*weight) {
                    Some(rest) => {
                        at = rest;
                        false
                    }
                    None => true,
                });
                if chosen.is_some_and(|(step, _)| self.take_step(*step)) {
                    break;
                }
            }
            self.stats.steps += 1;
            if step % 16 == 0 {
                self.check_ledgers();
            }
            if self.failure.is_some() {
                return;
            }
        }
    }

    /// Lets everything under way come to its end: no faults, no new wishes.
    pub(crate) fn calm(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.storage_is(Storage::Ready);
            if self.failure.is_some() {
                return;
            }
            self.step += 1;
            let mut is_busy = false;
            for step in CALM {
                is_busy |= self.take_step(step);
            }
            if !is_busy {
                self.quiet_at = self.now;
                return;
            }
        }
        self.fail("the node does not come to rest".into());
    }

    /// Returns whether there was anything to do.
    fn take_step(&mut self, step: Step) -> bool {
        match step {
            Step::Act => {
                let client = self.rng.below(self.clients.len());
                self.act(client);
                true
            }
            Step::Acknowledge => self.step_acknowledge(),
            Step::Up => self.step_up(),
            Step::Read => self.step_read(),
            Step::Write => self.step_write(),
            Step::Down => self.step_down(),
            Step::Arrive => {
                let links = self.links.iter().enumerate();
                let moving = links.filter(|(_, link)| link.moving.is_some()).map(|(link, _)| link);
                self.rng.any(moving).map(|link| self.arrive(link)).is_some()
            }
            Step::Close => self.step_close(),
            Step::NoticeEnd => {
                let links = self.links.iter().enumerate();
                let over = links.filter(|(_, link)| {
                    link.client_open && !link.server_open && link.down.is_empty()
                });
                self.rng.any(over.map(|(link, _)| link)).map(|link| self.notice_end(link)).is_some()
            }
            Step::Mail => self.step_mail(),
            Step::Change => self.step_change(),
            Step::Applied => self.step_applied(),
            Step::Store => self.step_store(),
            Step::Report => self.step_report(),
            Step::Answer => self.step_answer(),
            Step::Fetched => self.step_fetched(),
            Step::Prove => self.step_prove(),
            Step::Time => {
                // What is shown as retained is stored within a minute: checkpoints rely on it.
                let jump = self.shape.jumps && self.node.retaining.is_empty() && self.rng.chance(5);
                let ms = if jump { self.rng.between(20_000, 200_000) } else { self.rng.below(900) };
                self.pass(ms);
                true
            }
            Step::Timeout => self.step_timeout(),
            Step::Cut => self.step_cut(),
            Step::Reload => self.step_reload(),
            Step::News => self.step_news(),
            Step::Room => self.step_room(),
            Step::Storage => self.step_storage(),
            Step::End => self.step_end(),
        }
    }

    fn step_acknowledge(&mut self) -> bool {
        let clients = self.clients.iter().enumerate();
        let waiting =
            clients.filter(|(_, client)| client.link.is_some() && !client.acks.is_empty());
        let chosen = self.rng.any(waiting.map(|(client, _)| client));
        chosen.map(|client| self.acknowledge(client)).is_some()
    }

    /// Bytes on their way to the broker get there.
    fn step_up(&mut self) -> bool {
        let links = self.links.iter().enumerate();
        let some = links.filter(|(_, link)| !link.up.is_empty() && link.moving.is_none());
        let Some(link) = self.rng.any(some.map(|(link, _)| link)) else { return false };
        let bytes = self.some_bytes(self.links[link].up.len());
        let found = &mut self.links[link];
        let bytes: Vec<u8> = found.up.drain(..bytes).collect();
        if found.server_open && !found.closing {
            found.unread.extend_from_slice(&bytes);
            found.runnable = true;
        }
        true
    }

    fn step_read(&mut self) -> bool {
        let links = self.links.iter().enumerate();
        let some = links.filter(|(_, link)| link.runnable && link.place.is_some() && !link.closing);
        self.rng.any(some.map(|(link, _)| link)).map(|link| self.read(link)).is_some()
    }

    fn step_write(&mut self) -> bool {
        let links = self.links.iter().enumerate();
        let some = links.filter(|(_, link)| link.announced && link.place.is_some());
        let Some(link) = self.rng.any(some.map(|(link, _)| link)) else { return false };
        let bytes = self.some_bytes(self.outbox_len(link));
        self.write(link, bytes);
        true
    }

    fn step_down(&mut self) -> bool {
        let links = self.links.iter().enumerate();
        let some = links.filter(|(_, link)| link.client_open && !link.down.is_empty());
        let Some(link) = self.rng.any(some.map(|(link, _)| link)) else { return false };
        let bytes = self.some_bytes(self.links[link].down.len());
        self.receive(link, bytes);
        true
    }

    /// All of them, or cut anywhere.
    fn some_bytes(&mut self, count: usize) -> usize {
        if count < 2 || self.rng.chance(50) { count } else { self.rng.between(1, count) }
    }

    /// The broker closes what it said it would, and what the client has left.
    fn step_close(&mut self) -> bool {
        let links = (0..self.links.len()).filter(|link| {
            let found = &self.links[*link];
            let is_left = !found.client_open && found.up.is_empty() && !found.runnable;
            let is_written = found.closing && self.outbox_len(*link) == 0;
            found.place.is_some() && (is_left || is_written)
        });
        let chosen: Vec<usize> = links.collect();
        if chosen.is_empty() {
            return false;
        }
        let link = *self.rng.pick(&chosen);
        self.close(link);
        true
    }

    fn step_mail(&mut self) -> bool {
        let lanes = (0..self.node.mail.len()).filter(|lane| !self.node.mail[*lane].is_empty());
        let Some(lane) = self.rng.any(lanes) else { return false };
        let Some(mail) = self.node.mail[lane].pop_front() else { return false };
        let shards = self.node.shards.len();
        let (from, to) = (lane / shards, lane % shards);
        self.line(format_args!("{to}> mail from {from}{}", ShowMail(&mail)));
        self.note_errands(&mail);
        let from = ShardId(u8::try_from(from).unwrap_or(0));
        let _flow = self.feed(to, Input::Mail { from, mail });
        self.settle(to);
        true
    }

    fn step_change(&mut self) -> bool {
        let shards = (0..self.node.shards.len()).filter(|s| !self.node.changes[*s].is_empty());
        let Some(shard) = self.rng.any(shards) else { return false };
        let Some((ticket, changes)) = self.node.changes[shard].pop_front() else { return false };
        self.spoil_claims(&changes);
        let order = self.node.view.apply(&changes);
        self.line(format_args!("view: change {} of {shard} has order {order}", ticket.0));
        self.node.shown[shard] = ticket.0;
        let is_subscription =
            changes.iter().all(|c| matches!(c, bellbird_core::Change::Subscribe { .. }));
        if self.plant != Some(Plant::AppliedBeforeView) || !is_subscription {
            self.node.applied[shard].push_back((ticket, order));
        }
        true
    }

    fn step_applied(&mut self) -> bool {
        let shards = (0..self.node.shards.len()).filter(|s| !self.node.applied[*s].is_empty());
        let Some(shard) = self.rng.any(shards) else { return false };
        let Some((ticket, order)) = self.node.applied[shard].pop_front() else { return false };
        self.line(format_args!("{shard}> applied {} order {order}", ticket.0));
        self.turn = self.node.retaining.remove(&(shard, ticket));
        let unasked = self.node.retaining_unasked.remove(&(shard, ticket));
        if let Some(number) = self.turn.and_then(|turn| turn.message).or(unasked) {
            let tick = self.next_tick();
            self.messages[number].matched = Some(tick);
        }
        let _flow = self.feed(shard, Input::Applied { ticket, order });
        self.settle(shard);
        true
    }

    fn step_store(&mut self) -> bool {
        match self.store.work(&mut self.rng) {
            Work::Idle => false,
            Work::Done => true,
            Work::Full => {
                self.storage_is(Storage::Full);
                self.stats.without_room += 1;
                true
            }
            Work::Failed => {
                // A poisoned store ends the node; the disk works again afterwards.
                self.stats.poisoned += 1;
                let (end, shards) = (End::Killed, self.node.shards.len());
                self.end(end, shards);
                true
            }
        }
    }

    fn step_report(&mut self) -> bool {
        let Some(mut report) = self.store.report(&mut self.rng) else { return false };
        if self.plant == Some(Plant::WrongPosition) && self.rng.chance(30) {
            report.position.0 += 1;
        }
        self.stats.stored += u64::from(report.count);
        self.line(format_args!("{}> stored {report:?}", report.shard));
        self.note_positions(&report);
        let (first, count, position) = (report.first, report.count, report.position);
        let _flow = self.feed(report.shard, Input::Stored { first, count, position });
        self.settle(report.shard);
        true
    }

    fn step_answer(&mut self) -> bool {
        if self.node.asks.is_empty() {
            return false;
        }
        let index = self.rng.below(self.node.asks.len());
        let (shard, connection, action) = self.node.asks.remove(index);
        let verdict = if self.rng.chance(85) { Verdict::Yes } else { Verdict::No };
        self.line(format_args!("{shard}> decided {connection:?} {verdict:?}"));
        let link = self.node.places.get(&(shard, connection.index)).copied();
        let asker = link.filter(|link| {
            let found = &self.links[*link];
            found.place == Some((shard, connection)) && !found.closing
        });
        if let Some(number) = asker.and_then(|link| self.links[link].watch.sent.front())
            && action == Action::Publish
            && verdict == Verdict::No
        {
            self.messages[*number].is_denied = true;
        }
        let _flow = self.feed(shard, Input::Decided { connection, verdict });
        self.settle(shard);
        true
    }

    fn step_timeout(&mut self) -> bool {
        let shards = (0..self.node.shards.len()).filter(|shard| {
            self.node.shards[*shard].poll_timeout().is_some_and(|at| at <= self.now)
        });
        let Some(shard) = self.rng.any(shards) else { return false };
        let now = self.now.0;
        self.line(format_args!("{shard}> timeout at {now}"));
        self.node.shards[shard].handle_timeout(self.now, &self.node.view);
        self.settle(shard);
        true
    }

    /// The network fails under one connection: what is on its way is lost, or a part of it.
    fn step_cut(&mut self) -> bool {
        if !self.rng.chance(self.shape.cut) {
            return false;
        }
        let links = self.links.iter().enumerate().filter(|(_, link)| link.client_open);
        let Some(link) = self.rng.any(links.map(|(link, _)| link)) else { return false };
        self.stats.cuts += 1;
        let kept = self.rng.between(0, self.links[link].up.len());
        self.links[link].up.truncate(kept);
        self.line(format_args!("link {link} is cut"));
        self.notice_end(link);
        true
    }

    fn step_end(&mut self) -> bool {
        if self.rng.below(1_000) >= self.shape.crash {
            return false;
        }
        let ends = [End::Clean, End::Killed, End::PowerLost, End::PowerLost];
        let end = *self.rng.pick(&ends);
        let end = if self.shape.has_levels { End::Clean } else { end };
        let same = self.rng.chance(50);
        let shards = if same { self.shape.shards } else { self.rng.between(1, 4) };
        self.end(end, shards);
        if self.rng.chance(30) {
            // What was due when it ended has time to happen before anybody comes back.
            let ms = self.rng.between(3_000, 40_000);
            self.pass(ms);
            self.calm();
        }
        true
    }
}

const WEIGHTS: [(Step, usize); 25] = [
    (Step::Act, 40),
    (Step::Acknowledge, 12),
    (Step::Up, 20),
    (Step::Read, 22),
    (Step::Write, 16),
    (Step::Down, 16),
    (Step::Arrive, 6),
    (Step::Close, 4),
    (Step::NoticeEnd, 4),
    (Step::Mail, 12),
    (Step::Change, 8),
    (Step::Applied, 8),
    (Step::Store, 12),
    (Step::Report, 12),
    (Step::Answer, 4),
    (Step::Fetched, 8),
    (Step::Prove, 6),
    (Step::Time, 3),
    (Step::Timeout, 3),
    (Step::Cut, 6),
    (Step::Reload, 4),
    (Step::News, 4),
    (Step::Room, 4),
    (Step::Storage, 4),
    (Step::End, 12),
];

/// What goes on when nobody wants anything new.
const CALM: [Step; 19] = [
    Step::Acknowledge,
    Step::Up,
    Step::Read,
    Step::Write,
    Step::Down,
    Step::Arrive,
    Step::Close,
    Step::NoticeEnd,
    Step::Mail,
    Step::Change,
    Step::Applied,
    Step::Store,
    Step::Report,
    Step::Answer,
    Step::Fetched,
    Step::Prove,
    Step::News,
    Step::Storage,
    Step::Timeout,
];

/// Far more than any run needs to come to rest.
const ROUNDS_MAX: usize = 50_000;
