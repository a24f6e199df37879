//! The committer: one thread that owns the log. The next batch is all that arrived during the
//! running sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle};

use bellbird_core::{Position, ShardId, Ticket};
use bellbird_store::{Batch, Log, Medium, StoreError};

use crate::guard::guard;
use crate::mailbox::{Letter, Slit};

/// What an acknowledgement of something durable waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Stable storage: it survives the loss of power.
    #[default]
    Synced,
    /// The operating system: it survives the end of the process.
    Written,
    /// Nothing: the log follows behind.
    Memory,
}

/// Records of one shard's turn.
pub(crate) struct Order {
    pub(crate) from: ShardId,
    pub(crate) first: Ticket,
    pub(crate) batch: Batch,
}

/// The committer's thread; it ends when every shard has dropped its sender.
pub(crate) struct Committer {
    thread: JoinHandle<Result<(), StoreError>>,
    health: Health,
}

/// Whether the log takes what it is given, for whoever watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<AtomicBool>);

impl Health {
    pub(crate) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(crate) type Orders = Sender<Order>;

impl Committer {
    /// Starts the thread. `on_failure` runs on it if the log fails, after which nothing is
    /// reported stored any more.
    pub(crate) fn start<M>(
        log: Log<M>,
        durability: Durability,
        orders: Receiver<Order>,
        slits: Vec<Slit>,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self>
    where
        M: Medium + Send + 'static,
        M::File: Send,
    {
        let health = Health::default();
        let flag = health.0.clone();
        let run = move || {
            let result = guard(|| commit_all(log, durability, &orders, &slits));
            if result.is_err() {
                flag.store(true, Ordering::Release);
                on_failure();
                // Shards still hand in what they have; none of it is acknowledged.
                orders.iter().for_each(drop);
            }
            result
        };
        let thread = thread::Builder::new().name("committer".into()).spawn(run)?;
        Ok(Self { thread, health })
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Waits for the end: everything handed in is on stable storage.
    pub(crate) fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn commit_all<M: Medium>(
    mut log: Log<M>,
    durability: Durability,
    orders: &Receiver<Order>,
    slits: &[Slit],
) -> Result<(), StoreError> {
    let mut waiting: Vec<Order> = Vec::new();
    let mut positions = Vec::new();
    while let Ok(order) = orders.recv() {
        let mut bytes = order.batch.bytes_len();
        waiting.push(order);
        while bytes < COMMIT_BYTES
            && let Ok(order) = orders.try_recv()
        {
            bytes += order.batch.bytes_len();
            waiting.push(order);
        }
        if durability == Durability::Memory {
            let batches: Vec<Batch> = waiting.iter().map(|order| order.batch.clone()).collect();
            let mut next = log.next_position();
            positions.clear();
            for batch in &batches {
                positions.push(next);
                next = Position(next.0 + batch.len() as u64);
            }
            report(&mut waiting, &positions, slits);
            log.append(&batches.iter().collect::<Vec<_>>(), &mut positions)?;
            continue;
        }
        let batches: Vec<&Batch> = waiting.iter().map(|order| &order.batch).collect();
        log.append(&batches, &mut positions)?;
        if durability == Durability::Synced {
            log.sync()?;
        }
        report(&mut waiting, &positions, slits);
    }
    log.sync()
}

fn report(waiting: &mut Vec<Order>, positions: &[Position], slits: &[Slit]) {
    for (order, position) in waiting.drain(..).zip(positions) {
        let Order { from, first, mut batch } = order;
        let count = u32::try_from(batch.len()).expect("a batch counts its records in 32 bits");
        batch.clear();
        slits[from.index()].drop_in(Letter::Stored { first, count, position: *position, batch });
    }
}

/// Bytes of one commit, or one order if that is larger: what one write puts together.
const COMMIT_BYTES: usize = 16 << 20;
