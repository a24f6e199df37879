//! One connection of the generator: a socket, what waits to be written, and the beginning of a
//! frame that is not complete yet.

use std::io::{ErrorKind, Read, Write};

use bellbird_codec::Version;
use mio::net::TcpStream;

use super::failure::Failure;
use super::frames::{Frame, first_frame};
use super::way::Layers;

/// A connection after its set-up, or with a CONNECT as the first thing it writes.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) outbox: Vec<u8>,
    partial: Vec<u8>,
    /// What stands between the stream and MQTT, and what is to be written through it.
    layers: Option<Box<Layers>>,
    sealed: Vec<u8>,
    /// The kernel took no more; wait for the write edge.
    pub(super) blocked: bool,
    /// On the list of connections to flush.
    pub(super) dirty: bool,
    /// On the list of connections to read.
    pub(super) queued: bool,
    /// The broker closes: read on until the end shows.
    pub(super) hung_up: bool,
}

/// Whether the socket may hold more than was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Drained {
    Yes,
    No,
}

/// More than this in an outbox, and its publisher holds back.
const OUTBOX_BYTES_MAX: usize = 4 << 20;

impl Link {
    /// Over a socket that does not block.
    pub(super) fn new(stream: TcpStream, layers: Option<Box<Layers>>, came: Vec<u8>) -> Self {
        Self {
            stream,
            outbox: Vec::new(),
            partial: came,
            layers,
            sealed: Vec::new(),
            blocked: false,
            dirty: false,
            queued: false,
            hung_up: false,
        }
    }

    /// Reads once and hands out the complete frames, with the outbox for answers.
    #[inline]
    pub(super) fn read(
        &mut self,
        version: Version,
        scratch: &mut [u8],
        mut on_frame: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<Drained, Failure> {
        if self.layers.is_some() {
            return self.read_layered(version, scratch, on_frame);
        }
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        let len = match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err(Failure::Broker("the broker closed a connection".to_owned())),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::Yes),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Drained::No),
            Err(error) => return Err(Failure::system("read from the broker")(error)),
        };
        let may_hold_more = self.hung_up || kept + len == scratch.len();
        let mut rest = &scratch[..kept + len];
        loop {
            match first_frame(version, rest) {
                Ok(Some((frame, len))) => {
                    on_frame(frame, &mut self.outbox)?;
                    rest = &rest[len..];
                }
                Ok(None) => break,
                Err(_) => {
                    return Err(Failure::Broker("the broker sent malformed bytes".to_owned()));
                }
            }
        }
        if rest.len() == scratch.len() {
            return Err(Failure::Broker("the broker sent a frame too long to be ours".to_owned()));
        }
        self.partial.clear();
        self.partial.extend_from_slice(rest);
        Ok(if may_hold_more { Drained::No } else { Drained::Yes })
    }

    /// The same through what stands between.
    fn read_layered(
        &mut self,
        version: Version,
        scratch: &mut [u8],
        mut on_frame: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<Drained, Failure> {
        let Some(layers) = &mut self.layers else { return Ok(Drained::Yes) };
        let len = match self.stream.read(scratch) {
            Ok(0) => return Err(Failure::Broker("the broker closed a connection".to_owned())),
            Ok(len) => len,
            // There may be something that came before.
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Drained::No),
            Err(error) => return Err(Failure::system("read from the broker")(error)),
        };
        layers
            .open(&scratch[..len], &mut self.partial)
            .map_err(|error| Failure::Broker(format!("the broker sent what is broken: {error}")))?;
        let mut taken = 0;
        loop {
            match first_frame(version, &self.partial[taken..]) {
                Ok(Some((frame, len))) => {
                    on_frame(frame, &mut self.outbox)?;
                    taken += len;
                }
                Ok(None) => break,
                Err(_) => {
                    return Err(Failure::Broker("the broker sent malformed bytes".to_owned()));
                }
            }
        }
        self.partial.drain(..taken);
        let may_hold_more = (self.hung_up && len > 0) || len == scratch.len();
        Ok(if may_hold_more { Drained::No } else { Drained::Yes })
    }

    /// Whether something came that was not handed out.
    pub(super) fn has_some(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Whether there is something to write.
    pub(super) fn has_to_write(&self) -> bool {
        !self.outbox.is_empty() || !self.sealed.is_empty()
    }

    /// Writes what waits, once. What the kernel does not take stays for the write edge.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let Some(layers) = &mut self.layers else { return self.write_outbox() };
        // What was sealed before goes first, and is a frame of its own.
        layers.seal(&self.outbox, &mut self.sealed).map_err(Failure::system("seal packets"))?;
        self.outbox.clear();
        std::mem::swap(&mut self.outbox, &mut self.sealed);
        let written = self.write_outbox();
        std::mem::swap(&mut self.outbox, &mut self.sealed);
        written
    }

    fn write_outbox(&mut self) -> Result<(), Failure> {
        while !self.blocked && !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(len) if len == self.outbox.len() => self.outbox.clear(),
                Ok(len) => {
                    self.outbox.drain(..len);
                    self.blocked = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::system("write to the broker")(error)),
            }
        }
        Ok(())
    }

    /// The broker does not keep up with reading.
    pub(super) fn is_congested(&self) -> bool {
        self.outbox.len() + self.sealed.len() > OUTBOX_BYTES_MAX
    }
}
