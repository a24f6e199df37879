//! The node as an operator's tools see it: questions to all shards, and a few commands.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use bellbird_core::{RetainedSize, ShardId, Storage, home_of};
use bellbird_topics::Namespace;

use crate::address::Address;
use crate::census::Counts;
use crate::committer::{LogReport, Watch};
use crate::governor::{Governor, MemoryReport};
use crate::mailbox::{Letter, Slit};
use crate::query::{Client, Depth, Ending, Page, Query};
use crate::tls::Showing;
use crate::view::SharedView;

/// A handle of a running node for those who watch it. Calls wait for the shards, at most a
/// second: they belong on a thread that may.
#[derive(Clone)]
pub struct Control {
    slits: Vec<Slit>,
    view: Arc<SharedView>,
    log: Watch,
    governor: Governor,
    showing: Showing,
    started: Instant,
}

/// The whole node at one moment; each shard by itself is consistent.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The sum over all shards.
    pub counts: Counts,
    /// How many shards there are.
    pub shards: usize,
    /// Subscriptions in the view.
    pub subscriptions: usize,
    /// What is retained, topics of `$SYS` included.
    pub retained: RetainedSize,
    /// The log.
    pub log: LogReport,
    /// What is allocated, and what may be.
    pub memory: MemoryReport,
    /// Whole days that the certificate of each encrypted listener has left.
    pub certificate_days: Vec<(Address, u64)>,
    /// Since the node started.
    pub uptime: Duration,
}

/// Where a list of clients goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bookmark {
    /// The shard's number.
    pub shard: u8,
    /// The place on it.
    pub place: u32,
}

impl Control {
    pub(crate) fn new(
        slits: Vec<Slit>,
        view: Arc<SharedView>,
        log: Watch,
        governor: Governor,
        showing: Showing,
    ) -> Self {
        Self { slits, view, log, governor, showing, started: Instant::now() }
    }

    /// Why the node does not serve, if it does not: the log failed, or a shard does not answer.
    pub fn check(&self) -> Result<(), Trouble> {
        if self.log.storage() == Storage::Failed {
            return Err(Trouble::LogFailed);
        }
        self.status(Depth::Counters).map(drop)
    }

    /// Whether the log takes what must be stored.
    pub fn storage(&self) -> Storage {
        self.log.storage()
    }

    /// What all shards have counted.
    pub fn status(&self, depth: Depth) -> Result<Status, Trouble> {
        let (answer, answers) = channel();
        for slit in &self.slits {
            slit.drop_in(Letter::Query(Query::Counts { depth, answer: answer.clone() }));
        }
        drop(answer);
        let deadline = Instant::now() + ANSWER_WAIT;
        let mut counts = Counts::default();
        for _ in &self.slits {
            counts.add(&wait(&answers, deadline)?);
        }
        let (subscriptions, retained) = self.view.sizes();
        let (shards, uptime) = (self.slits.len(), self.started.elapsed());
        let (log, memory) = (self.log.report(), self.governor.report());
        let certificate_days = self.showing.days_left(SystemTime::now());
        Ok(Status {
            counts,
            shards,
            subscriptions,
            retained,
            log,
            memory,
            certificate_days,
            uptime,
        })
    }

    /// At least `limit` clients from a bookmark on, if there are so many, and where to go on.
    pub fn clients(
        &self,
        from: Bookmark,
        limit: usize,
    ) -> Result<(Vec<Client>, Option<Bookmark>), Trouble> {
        let mut clients = Vec::new();
        let mut bookmark = from;
        while clients.len() < limit {
            let Bookmark { shard, place } = bookmark;
            let Some(slit) = self.slits.get(usize::from(shard)) else { return Ok((clients, None)) };
            let page: Page = ask(slit, |answer| Query::Clients {
                from: place,
                places: PLACES_PER_PAGE,
                answer,
            })?;
            clients.extend(page.clients);
            bookmark = match page.next {
                Some(place) => Bookmark { shard, place },
                None => Bookmark { shard: shard.saturating_add(1), place: 0 },
            };
        }
        let has_more = usize::from(bookmark.shard) < self.slits.len();
        Ok((clients, has_more.then_some(bookmark)))
    }

    /// Ends a client's connection. Returns whether it had one.
    pub fn kick(&self, client_id: &str) -> Result<bool, Trouble> {
        ask(self.home(client_id)?, |answer| Query::Kick { client_id: client_id.into(), answer })
    }

    /// Ends a client's session, and its connection if it has one: its subscriptions and what
    /// waits for it are gone, and the log says so. Returns whether there was one.
    pub fn end_session(&self, client_id: &str) -> Result<bool, Trouble> {
        let slit = self.home(client_id)?;
        let (answer, answers) = channel();
        slit.drop_in(Letter::Query(Query::EndSession { client_id: client_id.into(), answer }));
        let deadline = Instant::now() + ANSWER_WAIT;
        match wait(&answers, deadline)? {
            Ending::NoSession => Ok(false),
            Ending::Stored => Ok(true),
            Ending::Begun => match wait(&answers, deadline) {
                Ok(_) => Ok(true),
                Err(_) => Err(Trouble::NotStored),
            },
        }
    }

    /// Publishes what the node says of itself: topics under `$SYS/` and their texts.
    pub fn say(&self, said: Vec<(Box<str>, Box<str>)>) {
        if let Some(slit) = self.slits.first()
            && !said.is_empty()
        {
            slit.drop_in(Letter::Query(Query::System { said }));
        }
    }

    /// The way to the shard where a client's session lives.
    fn home(&self, client_id: &str) -> Result<&Slit, Trouble> {
        let shards = u8::try_from(self.slits.len()).unwrap_or(u8::MAX);
        let ShardId(home) = home_of(Namespace::default(), client_id, shards);
        self.slits.get(usize::from(home)).ok_or(Trouble::NoAnswer)
    }
}

fn ask<T>(slit: &Slit, query: impl FnOnce(Sender<T>) -> Query) -> Result<T, Trouble> {
    let (answer, answers) = channel();
    slit.drop_in(Letter::Query(query(answer)));
    wait(&answers, Instant::now() + ANSWER_WAIT)
}

fn wait<T>(answers: &Receiver<T>, deadline: Instant) -> Result<T, Trouble> {
    let left = deadline.saturating_duration_since(Instant::now());
    answers.recv_timeout(left).map_err(|_| Trouble::NoAnswer)
}

/// Why the node does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing durable is acknowledged any more.
    LogFailed,
    /// A shard ends, or is stuck.
    NoAnswer,
    /// A session has ended, and the log does not say so yet.
    NotStored,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LogFailed => {
                "the log has failed: what must be stored is refused until the broker is started anew"
            }
            Self::NotStored => {
                "the session has ended, but the disk does not confirm it: after a crash it may be \
                 there again"
            }
            Self::NoAnswer => "an event loop does not answer: the broker ends, or it is stuck",
        })
    }
}

impl std::error::Error for Trouble {}

/// A turn takes milliseconds; a walk over a million sessions a few dozen of them.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Places a shard looks at for one letter: some 100 µs.
const PLACES_PER_PAGE: u32 = 256;
