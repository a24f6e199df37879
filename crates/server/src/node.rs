//! Assembly: the log is replayed, the shards get what it says, the threads start.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bellbird_core::permit::Gate;
use bellbird_core::recovery::{Found, Recovery};
use bellbird_core::{Config, DropReason, Ledger, Shard, ShardId, Time};
use bellbird_store::{Batch, Files, Log, Options, Reading, StoreError};
use mio::{Poll, Waker};

use crate::address::Address;
use crate::admission::Admission;
use crate::alive::Alive;
use crate::authenticator::{Authenticator, Pool};
use crate::census::Census;
use crate::clock::Clock;
use crate::committer::{Committer, Orders, Task};
use crate::control::Control;
use crate::distillery::Distillery;
use crate::event_loop::{Desk, EventLoop, waker_token};
use crate::fetcher::{Fetcher, fetch};
use crate::governor::{Governor, Restraint};
use crate::guard::{guard, or_abort};
use crate::listen::{Listener, Transport};
use crate::losses::{Losses, Watch};
use crate::mailbox::{Letter, Mailbox, Slit, mailbox};
use crate::mechanism::Mechanisms;
use crate::progress::Patience;
use crate::sockets::Sockets;
use crate::telling::Teller;
use crate::tls::{Showing, Tls};
use crate::view::SharedView;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the log lives. It is created if need be.
    pub data: PathBuf,
    /// How long a segment of the log becomes, in bytes.
    pub segment_bytes: u64,
    /// Bytes that stay free on the log's volume; 0 for none.
    pub free_bytes_min: u64,
    /// Whether clients may use the authentication method `BELLBIRD-TEST`, which proves nothing.
    pub test_mechanism: bool,
    /// The core's own settings; `core.shards` is the number of event loops.
    pub core: Config,
    /// What clients may do.
    pub gate: Gate,
    /// Keeps an eye on the memory of the process.
    pub governor: Governor,
    /// Who knows the users, if the gate has any.
    pub authenticator: Option<Authenticator>,
}

/// A running broker.
pub struct Node {
    threads: Vec<JoinHandle<()>>,
    slits: Vec<Slit>,
    orders: Orders,
    committer: Committer,
    fetcher: Fetcher,
    authenticators: Pool,
    census: Arc<Census>,
    view: Arc<SharedView>,
    listening: Vec<(Address, Transport)>,
    showing: Showing,
    governor: Governor,
    report: StartReport,
}

/// What a start found on the disk.
#[derive(Clone, Debug)]
pub struct StartReport {
    /// The sessions and messages that go on.
    pub found: Found,
    /// What reading the log was like.
    pub log: bellbird_store::Recovery,
}

/// Counters of all shards since the start.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What became of the deliveries.
    pub ledger: Ledger,
    /// Deliveries that wait for their clients to come back.
    pub waiting: u64,
    /// Subscriptions in the view.
    pub subscriptions: usize,
    /// Topics with a retained message, but for those of `$SYS`.
    pub retained: usize,
    /// Clients that were refused since too many others were being let in.
    pub refused_busy: u64,
}

impl Node {
    /// Starts a broker on these listeners. `on_progress` hears, once a second, how far a long
    /// start is. `on_failure` runs if the log fails while it is running: nothing is acknowledged
    /// any more, and the process should end.
    pub fn start(
        settings: &Settings,
        listeners: &[Listener],
        on_progress: &mut dyn FnMut(&str),
        on_failure: impl FnOnce() + Send + 'static,
    ) -> Result<Self, NodeError> {
        let files = Files::open(&settings.data)?;
        let mut recovery = Recovery::new();
        let mut patience = Patience::begin(on_progress);
        let reading = Reading {
            record: &mut |position, record| recovery.replay(position, record),
            progress: &mut |progress| patience.hear(progress),
        };
        let (mut log, log_report) =
            Log::open_with(files, Options { segment_bytes: settings.segment_bytes }, reading)?;
        if log_report.damaged_places > 0 {
            log::error!("the log is damaged: {log_report}; see docs/store.md");
        }
        let clock = Clock::new(Time(recovery.last_time().0));
        let reader = log.reader();
        let recovered = recovery
            .finish(clock.now(), &settings.core, &mut |positions| fetch(&reader, positions));
        let mut first = Batch::new();
        first.push(&recovered.first_record);
        log.append(&[&first], &mut Vec::new())?;
        log.sync()?;
        if log_report.bytes > 0 {
            settings.governor.log_was_read();
        }
        let view = Arc::new(SharedView::new(recovered.last_order));
        view.apply(&recovered.changes);

        let mut polls = Vec::new();
        let mut slits = Vec::new();
        for _ in 0..settings.core.shards {
            let (poll, slit, letters) = event_poll()?;
            polls.push((poll, letters));
            slits.push(slit);
        }
        let (orders, order_queue) = mpsc::channel();
        let gate = Arc::new(settings.gate.clone());
        let core = Arc::new(settings.core.clone());
        let alive = Alive::new(settings.core.shards, view.clone());
        let mut shards = Vec::new();
        for (id, state) in (0..).map(ShardId).zip(recovered.shards) {
            let shard = Shard::new(id, core.clone(), gate.clone(), state);
            alive.note(id, shard.ledger());
            shards.push(shard);
        }
        let distillery = Distillery::new(alive.clone());
        let free_bytes_min = settings.free_bytes_min;
        let committer = Committer::start(
            log,
            order_queue,
            slits.clone(),
            distillery,
            free_bytes_min,
            on_failure,
        )?;
        let (fetcher, fetcher_desk) = Fetcher::start(reader, slits.clone())?;
        let census = Arc::new(Census::default());
        let losses = Arc::new(Losses::default());
        let authenticators = Pool::start(settings.authenticator.clone())?;
        let mut threads = Vec::new();
        for ((index, (poll, letters)), shard) in (0..).zip(polls).zip(shards) {
            let id = ShardId(index);
            let event_loop = EventLoop {
                id,
                core: shard,
                view: SharedView::clone(&view),
                poll,
                listeners: listeners.iter().map(Listener::handle).collect::<io::Result<_>>()?,
                mailbox: letters,
                slits: slits.clone(),
                orders: orders.clone(),
                fetcher: fetcher_desk.clone(),
                alive: alive.clone(),
                clock,
                census: census.clone(),
                sockets: Sockets::default(),
                authenticator: authenticators.desk(),
                mechanisms: Mechanisms::new(settings.test_mechanism),
                governor: settings.governor.clone(),
                restraint: Restraint::default(),
                teller: Teller::new(settings.core.shards),
                losses: Watch::new(losses.clone()),
                desk: Desk::default(),
            };
            let governor = settings.governor.clone();
            let run = move || {
                governor.shard_begins();
                guard(|| or_abort("an event loop", event_loop.run()))
            };
            threads.push(thread::Builder::new().name(format!("shard-{index}")).spawn(run)?);
        }
        let listening = listeners
            .iter()
            .map(|listener| (listener.address().clone(), listener.transport().clone()))
            .collect();
        let showing = listeners.iter().map(|it| (it.address().clone(), it.tls().cloned()));
        let showing = Showing::new(showing.collect());
        let report = StartReport { found: recovered.found, log: log_report };
        Ok(Self {
            threads,
            slits,
            orders,
            committer,
            fetcher,
            authenticators,
            census,
            view,
            listening,
            showing,
            governor: settings.governor.clone(),
            report,
        })
    }

    /// Puts other rules and users in force, for clients that are connected as well: what they may
    /// do is judged anew from here on. Who is connected stays so, even if its user is gone.
    pub fn set_access(&self, gate: Gate, authenticator: Option<Authenticator>) {
        // First the users: whoever is asked for by the new gate is asked of those who go with it.
        self.authenticators.replace(authenticator);
        let gate = Arc::new(gate);
        for slit in &self.slits {
            slit.drop_in(Letter::Gate(gate.clone()));
        }
    }

    /// Tells every client and every shard, and waits until all is on the disk.
    pub fn stop(self) -> Result<Summary, NodeError> {
        self.authenticators.end();
        for slit in &self.slits {
            slit.drop_in(Letter::Stop);
        }
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        drop(self.orders);
        let refused_busy = self.authenticators.refused();
        self.authenticators.join();
        self.committer.join()?;
        self.fetcher.join();
        let (subscriptions, retained) = self.view.sizes();
        let counts = self.census.sum();
        let waiting = counts.holdings.unwrap_or_default().waiting();
        Ok(Summary {
            ledger: counts.ledger,
            waiting,
            subscriptions,
            retained: retained.messages.saturating_sub(retained.system_messages),
            refused_busy,
        })
    }

    /// Gives every shard other settings, for what it decides from then on. Shards, mailboxes and
    /// the number of listeners must be those of the start.
    pub fn reload(&self, core: Config, memory_bytes_max: usize, free_bytes_min: u64) {
        self.governor.set_bytes_max(memory_bytes_max);
        self.committer.watch().set_free_bytes_min(free_bytes_min);
        // It has ended if the log has failed.
        let _told = self.orders.send(Task::Look);
        let core = Arc::new(core);
        for slit in &self.slits {
            slit.drop_in(Letter::Config(core.clone()));
        }
    }

    /// Shows clients that connect from now on other certificates: for each listener, in the order
    /// of the start, what it is encrypted with from now on, or None if that stays. Who is connected
    /// stays so.
    pub fn set_tls(&self, tls: Vec<Option<Tls>>) {
        self.showing.replace(&tls);
        let tls: Arc<[_]> = tls.into();
        for slit in &self.slits {
            slit.drop_in(Letter::Tls(tls.clone()));
        }
    }

    /// Lets others come from now on: for each listener, in the order of the start, who may, or None
    /// if that stays. Who is connected stays so.
    pub fn set_admissions(&self, admissions: Vec<Option<Arc<Admission>>>) {
        let admissions: Arc<[_]> = admissions.into();
        for slit in &self.slits {
            slit.drop_in(Letter::Admissions(admissions.clone()));
        }
    }

    /// Whether the log has failed.
    pub fn has_failed(&self) -> bool {
        self.committer.watch().has_failed()
    }

    /// A handle for those who watch the node.
    pub fn control(&self) -> Control {
        let log = self.committer.watch().clone();
        let (governor, showing) = (self.governor.clone(), self.showing.clone());
        Control::new(self.slits.clone(), self.view.clone(), log, governor, showing)
    }

    /// Where it listens, and for what.
    pub fn listening(&self) -> &[(Address, Transport)] {
        &self.listening
    }

    /// What the start found on the disk.
    pub fn report(&self) -> &StartReport {
        &self.report
    }
}

fn event_poll() -> io::Result<(Poll, Slit, Mailbox)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), waker_token())?;
    let (slit, letters) = mailbox(waker);
    Ok((poll, slit, letters))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { received, unmatched, routed, done, expired, dropped } = &self.ledger;
        write!(
            f,
            "received={received} unmatched={unmatched} routed={routed} done={done} \
             expired={expired}"
        )?;
        for (reason, count) in DropReason::ALL.iter().zip(dropped) {
            if *count > 0 {
                write!(f, " dropped({})={count}", reason.name())?;
            }
        }
        let Self { waiting, subscriptions, retained, .. } = self;
        write!(f, " waiting={waiting} subscriptions={subscriptions} retained={retained}")?;
        if self.refused_busy > 0 {
            write!(f, " refused(busy)={}", self.refused_busy)?;
        }
        Ok(())
    }
}

/// Why a node does not start or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// The log.
    Store(StoreError),
    /// The system refused a thread, a poll or a descriptor.
    System(io::Error),
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for NodeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::System(error) => write!(
                f,
                "the system refused a resource the broker needs: {error}; see the limits on \
                 threads and open files (ulimit -a)"
            ),
        }
    }
}

impl std::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::System(error) => Some(error),
        }
    }
}
