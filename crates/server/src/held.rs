//! Connections that wait for the log: nothing of them is read, but that they are asked for a sign
//! of life. A PINGREQ among what they have sent is answered before what stands in front of it.

use bellbird_codec::Packet;
use bellbird_core::{ConnectionId, Input, Time};

use crate::channel::Got;
use crate::event_loop::EventLoop;

/// Those that were found waiting since the last look.
#[derive(Default)]
pub(crate) struct Held {
    waiting: Vec<ConnectionId>,
    look_at: Time,
}

impl Held {
    /// When to look, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then_some(self.look_at)
    }
}

impl EventLoop {
    /// A connection is not read just now. If it waits for the log, it is looked at in a while.
    pub(crate) fn note_held(&mut self, now: Time, id: ConnectionId) {
        if !self.core.is_held(id) {
            return;
        }
        let Some(socket) = self.sockets.get(id).filter(|socket| !socket.is_held) else { return };
        socket.is_held = true;
        let held = &mut self.desk.held;
        if held.waiting.is_empty() {
            held.look_at = now.plus_secs(LOOK_SECS);
        }
        held.waiting.push(id);
    }

    /// Answers the PINGREQs of those that still wait, as far as they can be read.
    pub(crate) fn hear_held(&mut self, now: Time) {
        if self.desk.held.next().is_none_or(|at| at > now) {
            return;
        }
        for id in std::mem::take(&mut self.desk.held.waiting) {
            let Some(socket) = self.sockets.get(id) else { continue };
            socket.is_held = false;
            if self.core.is_held(id) && self.read_ahead(now, id) {
                let pings = self.sockets.get(id).map_or(0, |socket| socket.take_pings(PINGS));
                for _ in 0..pings {
                    self.input(now, Input::Packet { connection: id, packet: &Packet::Pingreq });
                }
                self.note_held(now, id);
            }
        }
    }

    /// Reads once, if little is kept of the connection. False if it is gone.
    fn read_ahead(&mut self, now: Time, id: ConnectionId) -> bool {
        let bytes_max = self.may_read(now, id);
        let Some(socket) = self.sockets.get(id) else { return false };
        let room = AHEAD_BYTES_MAX.saturating_sub(socket.untaken().len()).min(bytes_max);
        if !socket.is_readable || socket.channel.has_ended() || room == 0 {
            return true;
        }
        let mut buffers = std::mem::take(&mut self.desk.buffers);
        let is_there = match socket.channel.read(&mut buffers, room) {
            Got::Bytes { received, is_drained, payload } => {
                socket.is_readable = !is_drained || socket.is_hung_up;
                self.desk.bytes_received += received as u64;
                if let Some(payload) = payload {
                    socket.keep(payload);
                }
                if socket.channel.has_pending() {
                    self.desk.touched.push(id);
                }
                payload.is_some()
            }
            Got::Nothing => {
                socket.is_readable = false;
                true
            }
            // Nothing more comes; what came before it is taken first, a DISCONNECT perhaps.
            Got::End if !socket.untaken().is_empty() => {
                socket.is_hung_up = true;
                true
            }
            Got::End => false,
        };
        self.desk.buffers = buffers;
        if !is_there {
            self.lose(now, id);
        }
        is_there
    }
}

/// Between two looks: well below the shortest keep alive that is in use.
const LOOK_SECS: u64 = 1;
/// What is kept of a connection that waits, to find a PINGREQ in: what one read takes.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// PINGREQs that one look answers: a client has one under way.
const PINGS: usize = 8;
