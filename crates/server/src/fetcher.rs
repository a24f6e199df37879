//! Messages that are only in the log, read on a thread of their own: a disk may take its time.
//!
//! A holder asks for one handful at a time, so that what is under way is bounded by the sessions
//! that have a connection.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use bellbird_core::{Message, Position, Subscriber};
use bellbird_store::{Medium, Reader, Unread};

use crate::guard::guard;
use crate::mailbox::{Letter, Slit};

/// Which messages a session's queue wants back.
pub(crate) struct Wanted {
    pub(crate) of: Subscriber,
    pub(crate) positions: Vec<Position>,
}

/// Where a shard leaves its questions. The thread ends when every shard has dropped its own.
pub(crate) type Desk = Sender<Wanted>;

/// The thread that reads.
pub(crate) struct Fetcher {
    thread: JoinHandle<()>,
}

impl Fetcher {
    pub(crate) fn start<M>(reader: Reader<M>, slits: Vec<Slit>) -> std::io::Result<(Self, Desk)>
    where
        M: Medium + Send + 'static,
    {
        let (desk, wanted) = mpsc::channel();
        let run = move || guard(|| fetch_all(&reader, &wanted, &slits));
        let thread = thread::Builder::new().name("fetcher".into()).spawn(run)?;
        Ok((Self { thread }, desk))
    }

    /// Waits for its end.
    pub(crate) fn join(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

fn fetch_all<M: Medium>(reader: &Reader<M>, wanted: &Receiver<Wanted>, slits: &[Slit]) {
    for Wanted { of, positions } in wanted {
        let messages = fetch(reader, &positions);
        slits[of.slot.shard().index()].drop_in(Letter::Fetched { of, messages });
    }
}

/// The messages at these positions. What cannot be read is told; what is over is not, since its
/// session ended while it was asked for.
pub(crate) fn fetch<M: Medium>(reader: &Reader<M>, positions: &[Position]) -> Vec<Option<Message>> {
    let told = |result: Result<_, _>| {
        let tell = |unread: &Unread| match unread.path {
            Some(_) => log::error!("a message is lost: {unread}"),
            None => log::debug!("{unread}"),
        };
        result.inspect_err(tell).ok()
    };
    reader.read(positions).into_iter().map(told).collect()
}
