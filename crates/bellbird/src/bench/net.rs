//! The event loop: all connections of a run, read in batches and flushed once per turn.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bellbird_codec::Version;
use mio::{Events, Interest, Poll, Token};

use super::failure::Failure;
use super::frames::Frame;
use super::link::{Drained, Link};
use super::way::Connection;

/// The connections of a run, known by their numbers in the order they were added.
#[derive(Debug)]
pub(super) struct Net {
    version: Version,
    origin: Instant,
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    /// Were not read empty.
    again: Vec<usize>,
    /// Have something to flush.
    dirty: Vec<usize>,
    scratch: Box<[u8]>,
    traffic: Traffic,
}

/// How well reads and writes were batched.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Traffic {
    pub(super) frames: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// One read takes up to this; four of the longest frames fit.
const SCRATCH_BYTES: usize = 256 << 10;

impl Net {
    /// Without connections. Times count from `origin`.
    pub(super) fn new(version: Version, origin: Instant) -> Result<Self, Failure> {
        Ok(Self {
            version,
            origin,
            poll: Poll::new().map_err(Failure::system("open an event queue"))?,
            events: Events::with_capacity(EVENTS_MAX),
            links: Vec::new(),
            again: Vec::new(),
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            traffic: Traffic::default(),
        })
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, connection: Connection) -> Result<(), Failure> {
        let Connection { stream, layers, came } = connection;
        stream.set_nonblocking(true).map_err(Failure::system("make a socket non-blocking"))?;
        let mut link = Link::new(mio::net::TcpStream::from_std(stream), layers, came);
        if link.has_some() {
            queue(&mut link, self.links.len(), &mut self.again);
        }
        self.poll
            .registry()
            .register(
                &mut link.stream,
                Token(self.links.len()),
                Interest::READABLE | Interest::WRITABLE,
            )
            .map_err(Failure::system("watch a socket"))?;
        self.links.push(link);
        Ok(())
    }

    /// Waits up to `timeout`, reads what came and hands each frame to `on_frame` with the
    /// connection's number, the time of the read and the outbox for answers.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        mut on_frame: impl FnMut(usize, u64, Frame<'_>, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let timeout = if self.again.is_empty() { timeout } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Failure::system("wait for events")(error)),
        }
        let mut ready = std::mem::take(&mut self.again);
        for event in &self.events {
            let link = event.token().0;
            if event.is_writable() && self.links[link].blocked {
                self.links[link].blocked = false;
                mark(&mut self.links[link], link, &mut self.dirty);
            }
            self.links[link].hung_up |= event.is_read_closed();
            if event.is_readable() || event.is_read_closed() {
                queue(&mut self.links[link], link, &mut ready);
            }
        }
        for &link in &ready {
            self.links[link].queued = false;
            self.read(link, &mut on_frame)?;
        }
        Ok(())
    }

    #[inline]
    fn read(
        &mut self,
        number: usize,
        on_frame: &mut impl FnMut(usize, u64, Frame<'_>, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut now = None;
        let mut frames = 0;
        let origin = self.origin;
        let link = &mut self.links[number];
        let drained = link.read(self.version, &mut self.scratch, |frame, outbox| {
            frames += 1;
            on_frame(number, *now.get_or_insert_with(|| nanos_since(origin)), frame, outbox)
        })?;
        self.traffic.frames += frames;
        self.traffic.reads += 1;
        if drained == Drained::No {
            queue(link, number, &mut self.again);
        }
        if !link.outbox.is_empty() {
            mark(link, number, &mut self.dirty);
        }
        Ok(())
    }

    /// What is to be written on a connection by the next [`Self::flush`].
    #[inline]
    pub(super) fn outbox(&mut self, number: usize) -> &mut Vec<u8> {
        let link = &mut self.links[number];
        mark(link, number, &mut self.dirty);
        &mut link.outbox
    }

    /// Writes each outbox, one write per connection.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        while let Some(number) = self.dirty.pop() {
            let link = &mut self.links[number];
            link.dirty = false;
            if !link.blocked && link.has_to_write() {
                self.traffic.writes += 1;
                link.flush()?;
            }
        }
        Ok(())
    }

    /// Nanoseconds since the run's origin.
    pub(super) fn now(&self) -> u64 {
        nanos_since(self.origin)
    }

    /// See [`Link::is_congested`].
    pub(super) fn is_congested(&self, number: usize) -> bool {
        self.links[number].is_congested()
    }

    /// The batches so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[inline]
fn mark(link: &mut Link, number: usize, dirty: &mut Vec<usize>) {
    if !link.dirty {
        link.dirty = true;
        dirty.push(number);
    }
}

#[inline]
fn queue(link: &mut Link, number: usize, ready: &mut Vec<usize>) {
    if !link.queued {
        link.queued = true;
        ready.push(number);
    }
}

fn nanos_since(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
