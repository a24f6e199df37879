//! A shard's thread reduced to its turns: match topics, poll, read the mail, change the view.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bellbird_core::Change;
use bellbird_topics::TopicName;
use mio::{Events, Poll, Token, Waker};

use crate::load::Load;
use crate::ways::Seat;

/// What the shards of one run do. The first one changes the view.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) readers: usize,
    pub(crate) batches_per_sec: u32,
    pub(crate) batches: Batches,
    pub(crate) is_by_mail: bool,
    pub(crate) duration: Duration,
    /// Where readers begin, so that the next run does not meet what is still in the caches.
    pub(crate) first_topic: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Batches {
    OfOne,
    OfTenThousand,
}

/// What one shard measured.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) turns: Vec<Duration>,
    pub(crate) is_reader: bool,
    /// From a batch being handed in until every shard sees it.
    pub(crate) latencies: Vec<Duration>,
    /// Spent in changing the view.
    pub(crate) applying: Duration,
    /// The longest uninterrupted time of that.
    pub(crate) applying_max: Duration,
}

enum Letter {
    Change { ticket: u64, changes: Arc<[Change]> },
    Applied { ticket: u64 },
    Stop,
}

#[derive(Clone)]
struct Slit {
    letters: Sender<Letter>,
    waker: Arc<Waker>,
    is_woken: Arc<AtomicBool>,
}

struct Turner<'a> {
    number: usize,
    plan: Plan,
    load: &'a Load,
    seat: &'a mut dyn Seat,
    poll: Poll,
    letters: Receiver<Letter>,
    slits: Vec<Slit>,
    next_topic: usize,
    handed_in: u32,
    /// By ticket: when it was handed in, and how many acknowledgements it waits for.
    waiting: VecDeque<(u64, Instant, usize)>,
    tally: Tally,
}

/// Runs all shards and returns what each measured.
pub(crate) fn run(seats: &mut [Box<dyn Seat>], load: &Load, plan: Plan) -> io::Result<Vec<Tally>> {
    let mut ends = Vec::new();
    let mut slits = Vec::new();
    for _ in 0..seats.len() {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
        let (letters, mailbox) = mpsc::channel();
        slits.push(Slit { letters, waker, is_woken: Arc::default() });
        ends.push((poll, mailbox));
    }
    let barrier = Barrier::new(seats.len());
    let first_reader = seats.len() - plan.readers;
    thread::scope(|scope| {
        let turners = seats.iter_mut().zip(ends).enumerate().map(|(number, (seat, end))| {
            let turner = Turner {
                number,
                plan,
                load,
                seat: &mut **seat,
                poll: end.0,
                letters: end.1,
                slits: slits.clone(),
                next_topic: plan.first_topic + number * load.topics.len() / 2,
                handed_in: 0,
                waiting: VecDeque::new(),
                tally: Tally { is_reader: number >= first_reader, ..Tally::default() },
            };
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                turner.run()
            })
        });
        let threads: Vec<_> = turners.collect();
        threads.into_iter().map(|thread| thread.join().expect("no shard panics")).collect()
    })
}

impl Turner<'_> {
    fn run(mut self) -> io::Result<Tally> {
        let start = Instant::now();
        let mut events = Events::with_capacity(16);
        let mut is_more = false;
        loop {
            if self.tally.is_reader {
                self.read_topics();
            }
            let timeout = match (self.tally.is_reader || is_more, self.number) {
                (true, _) => Some(Duration::ZERO),
                (false, 0) => Some(Duration::from_millis(1)),
                (false, _) => None,
            };
            self.poll.poll(&mut events, timeout)?;
            match self.read_mail() {
                Mail::Read => is_more = false,
                Mail::More => is_more = true,
                Mail::Stop => return Ok(self.tally),
            }
            if self.number == 0 {
                self.hand_in(start);
                if start.elapsed() > self.plan.duration && self.waiting.is_empty() {
                    (1..self.slits.len()).for_each(|to| self.slits[to].drop_in(Letter::Stop));
                    return Ok(self.tally);
                }
            }
        }
    }

    fn read_topics(&mut self) {
        let mut found = Vec::new();
        let start = Instant::now();
        for _ in 0..MATCHES_PER_TURN {
            self.next_topic = (self.next_topic + 1) % self.load.topics.len();
            let topic = TopicName::parse(&self.load.topics[self.next_topic]).expect("a topic");
            found.clear();
            std::hint::black_box(self.seat.matches(topic, &mut found));
            std::hint::black_box(&mut found);
        }
        self.tally.turns.push(start.elapsed());
    }

    fn hand_in(&mut self, start: Instant) {
        let elapsed = start.elapsed().min(self.plan.duration).as_secs_f64();
        while f64::from(self.handed_in) < elapsed * f64::from(self.plan.batches_per_sec) {
            let batches = match self.plan.batches {
                Batches::OfOne => &self.load.churn,
                Batches::OfTenThousand => &self.load.bursts,
            };
            let batch = batches[self.handed_in as usize % batches.len()].clone();
            self.handed_in += 1;
            let handed_in = Instant::now();
            self.apply(&batch);
            if self.plan.is_by_mail {
                self.post(handed_in, &batch);
            } else {
                self.tally.latencies.push(handed_in.elapsed());
            }
        }
    }

    /// In slices, so that the others can take them in several turns.
    fn post(&mut self, handed_in: Instant, batch: &Arc<[Change]>) {
        let ticket = u64::from(self.handed_in);
        let slices: Vec<Arc<[Change]>> = match batch.len() {
            1 => vec![batch.clone()],
            _ => batch.chunks(CHANGES_PER_TURN).map(Arc::from).collect(),
        };
        self.waiting.push_back((ticket, handed_in, slices.len() * (self.slits.len() - 1)));
        for changes in slices {
            for slit in &self.slits[1..] {
                slit.drop_in(Letter::Change { ticket, changes: changes.clone() });
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        let start = Instant::now();
        self.seat.apply(changes);
        let took = start.elapsed();
        self.tally.applying += took;
        self.tally.applying_max = self.tally.applying_max.max(took);
    }

    fn read_mail(&mut self) -> Mail {
        self.slits[self.number].is_woken.store(false, Ordering::Release);
        let mut changed = 0;
        while changed < CHANGES_PER_TURN {
            match self.letters.try_recv() {
                Ok(Letter::Change { ticket, changes }) => {
                    changed += changes.len();
                    self.apply(&changes);
                    self.slits[0].drop_in(Letter::Applied { ticket });
                }
                Ok(Letter::Applied { ticket }) => self.acknowledge(ticket),
                Ok(Letter::Stop) => return Mail::Stop,
                Err(_) => return Mail::Read,
            }
        }
        Mail::More
    }

    fn acknowledge(&mut self, ticket: u64) {
        let Some(entry) = self.waiting.iter_mut().find(|entry| entry.0 == ticket) else { return };
        entry.2 -= 1;
        while let Some((_, handed_in, 0)) = self.waiting.front() {
            self.tally.latencies.push(handed_in.elapsed());
            self.waiting.pop_front();
        }
    }
}

enum Mail {
    Read,
    More,
    Stop,
}

impl Slit {
    fn drop_in(&self, letter: Letter) {
        if self.letters.send(letter).is_ok() && !self.is_woken.swap(true, Ordering::AcqRel) {
            let _woken = self.waker.wake();
        }
    }
}

/// About 100 µs.
pub(crate) const MATCHES_PER_TURN: u32 = 100;
const CHANGES_PER_TURN: usize = 128;
