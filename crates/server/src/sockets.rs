//! A shard's sockets, in slots that are used again only in a later turn.

use bellbird_core::ConnectionId;
use mio::net::TcpStream;

use crate::websocket::WebSocket;

/// One socket and what its driver must remember.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) id: ConnectionId,
    /// What stands between the stream and MQTT, if the listener speaks WebSocket.
    pub(crate) websocket: Option<Box<WebSocket>>,
    /// Bytes read and not yet taken as packets: part of one, or packets that are parked.
    pub(crate) rest: Vec<u8>,
    /// How many of `rest` were taken already.
    pub(crate) taken: usize,
    /// Bytes that are needed before `rest` can be more than part of a packet.
    pub(crate) needed: usize,
    /// The kernel may have bytes that were not read.
    pub(crate) is_readable: bool,
    /// The peer will send no more: what is there is read until the end shows, as no edge follows.
    pub(crate) is_hung_up: bool,
    /// A send met a full buffer; the next writable edge goes on.
    pub(crate) is_blocked: bool,
    /// Stands on the list of those to go on with in the next turn.
    pub(crate) is_listed: bool,
}

/// A token has 31 bits for the generation.
const GENERATION_MASK: u32 = 0x7FFF_FFFF;

impl Socket {
    /// The bytes that were read and not taken.
    pub(crate) fn untaken(&self) -> &[u8] {
        &self.rest[self.taken..]
    }

    /// Whether bytes wait that may be packets: parked ones, or more than a turn takes.
    pub(crate) fn has_untaken(&self) -> bool {
        !self.untaken().is_empty() && self.untaken().len() >= self.needed
    }

    /// Keeps bytes behind those that wait.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.rest.drain(..self.taken);
            self.taken = 0;
        }
        self.rest.extend_from_slice(bytes);
    }
}

/// Slots of sockets. A freed slot rests until the turn ends: events of the same turn must not
/// reach its next user.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    freed: Vec<u32>,
}

impl Sockets {
    pub(crate) fn add(
        &mut self,
        stream: TcpStream,
        websocket: Option<Box<WebSocket>>,
        rest: Vec<u8>,
    ) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            u32::try_from(self.slots.len() - 1).expect("fewer descriptors than 2³²")
        });
        let generation = self.generations[index as usize];
        let id = ConnectionId { index, generation };
        self.slots[index as usize] = Some(Socket {
            stream,
            id,
            websocket,
            rest,
            taken: 0,
            needed: 0,
            is_readable: false,
            is_hung_up: false,
            is_blocked: false,
            is_listed: false,
        });
        id
    }

    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.slots.get_mut(id.index as usize)?.as_mut().filter(|socket| socket.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.get(id)?;
        self.freed.push(id.index);
        let generation = &mut self.generations[id.index as usize];
        *generation = generation.wrapping_add(1) & GENERATION_MASK;
        self.slots[id.index as usize].take()
    }

    pub(crate) fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }
}
