//! Letters to a shard's thread, with one wake-up per turn of the receiver.
//!
//! What travels in bulk is bounded by its sender: deliveries by credit (`core/post`), stored
//! records by the publishers' windows, messages from the log by one question of a session, sockets
//! by the limit on descriptors, answers by the queue of questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use bellbird_core::mail::Mail;
use bellbird_core::permit::{Gate, Verdict};
use bellbird_core::{
    Config, ConnectionId, Hello, Message, Position, ShardId, Storage, Subscriber, Ticket,
};
use bellbird_store::Batch;
use mio::Waker;

use crate::admission::Admission;
use crate::channel::Channel;
use crate::query::Query;
use crate::tls::Tls;

/// What one thread tells a shard.
pub(crate) enum Letter {
    /// A letter between cores.
    Mail { from: ShardId, mail: Mail },
    /// A connection that moves in, with what was read of it.
    Connection { channel: Channel, rest: Vec<u8>, hello: Box<Hello> },
    /// Records are stored; their batch comes back to be used again, unless it is still to be
    /// written.
    Stored { first: Ticket, count: u32, position: Position, batch: Option<Batch> },
    /// Messages that were in the log only.
    Fetched { of: Subscriber, messages: Vec<Option<Message>> },
    /// The log takes what must be stored, or not.
    Storage(Storage),
    /// The answer to a question about a user.
    Decided { connection: ConnectionId, verdict: Verdict },
    /// Other rules are in force.
    Gate(Arc<Gate>),
    /// An operator asks.
    Query(Query),
    /// Settings that count from here on.
    Config(Arc<Config>),
    /// What the listeners show new connections from here on, in their order; None as before.
    Tls(Arc<[Option<Tls>]>),
    /// Whom the listeners let come from here on, in their order; None as before.
    Admissions(Arc<[Option<Arc<Admission>>]>),
    /// Tell the clients and end.
    Stop,
}

/// Where letters for one shard are dropped.
#[derive(Clone)]
pub(crate) struct Slit {
    letters: Sender<Letter>,
    waker: Arc<Waker>,
    is_woken: Arc<AtomicBool>,
}

/// The shard's end.
pub(crate) struct Mailbox {
    letters: Receiver<Letter>,
    is_woken: Arc<AtomicBool>,
}

pub(crate) fn mailbox(waker: Waker) -> (Slit, Mailbox) {
    let (sender, receiver) = mpsc::channel();
    let is_woken = Arc::new(AtomicBool::new(false));
    let slit = Slit { letters: sender, waker: Arc::new(waker), is_woken: is_woken.clone() };
    (slit, Mailbox { letters: receiver, is_woken })
}

impl Slit {
    /// Drops a letter and wakes the shard unless somebody has since its last look. A shard that
    /// has ended needs no letters.
    pub(crate) fn drop_in(&self, letter: Letter) {
        if self.letters.send(letter).is_ok() && !self.is_woken.swap(true, Ordering::AcqRel) {
            // An eventfd cannot fail to be written but for a full counter, which wakes as well.
            let _woken = self.waker.wake();
        }
    }
}

impl Mailbox {
    /// The letters since the last look. Called before the first [`Mailbox::next`] of a turn.
    pub(crate) fn look(&self) {
        self.is_woken.store(false, Ordering::Release);
    }

    pub(crate) fn next(&self) -> Option<Letter> {
        self.letters.try_recv().ok()
    }
}
