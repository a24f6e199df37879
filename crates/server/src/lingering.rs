//! Connections that we have ended, until their clients can have read why.
//!
//! To close a socket that its peer still writes to makes the kernel reset it, and a reset takes
//! the last packet from the peer that has not read it yet. So our half is closed at once, the
//! rest after a while.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;

use bellbird_core::Time;

use crate::stream::Stream;

/// Sockets whose other half is closed later, the oldest first.
#[derive(Default)]
pub(crate) struct Lingering(VecDeque<(Time, Stream)>);

impl Lingering {
    /// Closes our half now.
    pub(crate) fn add(&mut self, now: Time, stream: Stream) {
        // The peer was faster, and there is nothing to wait for.
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        if self.0.len() == LINGERING_MAX {
            self.0.pop_front();
        }
        self.0.push_back((Time(now.0 + LINGER_MS), stream));
    }

    /// Closes those whose time is over.
    pub(crate) fn end(&mut self, now: Time) {
        while let Some((_, mut stream)) = self.0.pop_front_if(|(until, _)| *until <= now) {
            drain(&mut stream);
        }
    }

    /// When to call [`Lingering::end`] next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.0.front().map(|(until, _)| *until)
    }
}

/// What is left unread would make the kernel reset the connection.
fn drain(stream: &mut Stream) {
    let mut scratch = [0; 4096];
    for _ in 0..READS_MAX {
        match stream.read(&mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A round trip around the world, and a client's turn.
const LINGER_MS: u64 = 1_000;
/// What clients that are refused in crowds may cost in descriptors.
const LINGERING_MAX: usize = 256;
/// 64 kB: who sends more does not listen.
const READS_MAX: usize = 16;
