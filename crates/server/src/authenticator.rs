//! Questions about users, answered on threads of their own: a password hash takes far longer than
//! a turn may.
//!
//! The queue is bounded; who finds it full is refused, and counted.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bellbird_core::ConnectionId;
use bellbird_core::permit::{Action, Question, Verdict};

use crate::guard::guard;
use crate::mailbox::{Letter, Slit};

/// Whoever knows the users. It is asked on threads where it may take its time.
#[derive(Clone)]
pub struct Authenticator(Arc<dyn Fn(&Question) -> Verdict + Send + Sync>);

/// The threads that ask it.
pub(crate) struct Pool {
    threads: Vec<JoinHandle<()>>,
    desk: Desk,
}

/// Where a shard leaves its questions.
#[derive(Clone)]
pub(crate) struct Desk {
    questions: SyncSender<Asked>,
    shared: Arc<Shared>,
}

struct Shared {
    authenticator: Mutex<Option<Authenticator>>,
    is_over: AtomicBool,
    refused: AtomicU64,
}

struct Asked {
    connection: ConnectionId,
    question: Question,
    slit: Slit,
}

impl Authenticator {
    /// One that answers with this function.
    pub fn new(answer: impl Fn(&Question) -> Verdict + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

impl Pool {
    /// Starts the threads. Without an authenticator every answer is no.
    pub(crate) fn start(authenticator: Option<Authenticator>) -> std::io::Result<Self> {
        let (questions, queue) = mpsc::sync_channel(QUESTIONS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let shared = Arc::new(Shared {
            authenticator: Mutex::new(authenticator),
            is_over: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for index in 0..THREADS {
            let (queue, shared) = (queue.clone(), shared.clone());
            let run = move || guard(|| answer_all(&queue, &shared));
            threads.push(thread::Builder::new().name(format!("users-{index}")).spawn(run)?);
        }
        Ok(Self { threads, desk: Desk { questions, shared } })
    }

    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Questions asked from now on are answered by this one.
    pub(crate) fn replace(&self, authenticator: Option<Authenticator>) {
        *self.desk.shared.authenticator.lock().unwrap_or_else(PoisonError::into_inner) =
            authenticator;
    }

    /// How many questions found the queue full.
    pub(crate) fn refused(&self) -> u64 {
        self.desk.shared.refused.load(Ordering::Relaxed)
    }

    /// Whoever still waits in the queue gets no answer.
    pub(crate) fn end(&self) {
        self.desk.shared.is_over.store(true, Ordering::Release);
    }

    /// Waits for the answers that are being computed, after [`Pool::end`] and when all other
    /// desks are gone.
    pub(crate) fn join(self) {
        let Self { threads, desk } = self;
        drop(desk);
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Desk {
    /// Leaves a question whose answer comes as a letter, or returns the answer.
    pub(crate) fn ask(
        &self,
        connection: ConnectionId,
        question: Question,
        slit: &Slit,
    ) -> Option<Verdict> {
        // Only about users there is somebody to ask.
        if question.action != Action::Connect {
            return Some(Verdict::No);
        }
        match self.questions.try_send(Asked { connection, question, slit: slit.clone() }) {
            Ok(()) => None,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                Some(Verdict::Ask)
            }
        }
    }
}

fn answer_all(queue: &Mutex<Receiver<Asked>>, shared: &Shared) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Asked { connection, question, slit }) = next else { return };
        if shared.is_over.load(Ordering::Acquire) {
            continue;
        }
        let authenticator =
            shared.authenticator.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let verdict = authenticator.map_or(Verdict::No, |it| (it.0)(&question));
        slit.drop_in(Letter::Decided { connection, verdict });
    }
}

/// Each takes a core while it computes, and with argon2 some 50 MiB: logins must not take what
/// messages need.
const THREADS: usize = 2;
/// At 70 ms for an answer (argon2id as `bellbird passwd` writes it) the last one waits some five
/// seconds, within the time to say CONNECT.
const QUESTIONS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use mio::{Poll, Token, Waker};

    use super::*;
    use crate::mailbox::{Mailbox, mailbox};

    fn question(action: Action) -> Question {
        Question {
            client_id: "c".into(),
            user_name: Some("u".into()),
            action,
            subject: "c".into(),
            password: None,
        }
    }

    fn slit() -> (Poll, Slit, Mailbox) {
        let poll = Poll::new().unwrap();
        let (slit, letters) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, slit, letters)
    }

    #[test]
    fn a_full_queue_refuses_and_counts_and_the_end_waits_for_nobody_in_it() {
        let barrier = Arc::new(Barrier::new(THREADS + 1));
        let gate = barrier.clone();
        let pool = Pool::start(Some(Authenticator::new(move |_| {
            gate.wait();
            gate.wait();
            Verdict::Yes
        })))
        .unwrap();
        let desk = pool.desk();
        let (_poll, slit, letters) = slit();
        let ask = |index| {
            desk.ask(ConnectionId { index, generation: 1 }, question(Action::Connect), &slit)
        };
        assert_eq!((ask(0), ask(1)), (None, None));
        // Both are at work: the queue is empty.
        barrier.wait();
        for index in 0..u32::try_from(QUESTIONS_MAX).unwrap() {
            assert_eq!(ask(index), None);
        }
        assert_eq!(ask(7), Some(Verdict::Ask));
        assert_eq!(pool.refused(), 1);
        let elsewhere =
            desk.ask(ConnectionId { index: 0, generation: 0 }, question(Action::Publish), &slit);
        assert_eq!(elsewhere, Some(Verdict::No));
        drop(desk);
        pool.end();
        barrier.wait();
        pool.join();
        letters.look();
        assert_eq!(std::iter::from_fn(|| letters.next()).count(), THREADS);
    }
}
