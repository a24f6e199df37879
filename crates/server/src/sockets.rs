//! A shard's sockets, in slots that are used again only in a later turn.

use bellbird_core::{ConnectionId, Slots};
use mio::net::TcpStream;

use crate::websocket::WebSocket;

/// One socket and what its driver must remember.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) id: ConnectionId,
    /// What stands between the stream and MQTT, if the listener speaks WebSocket.
    pub(crate) websocket: Option<Box<WebSocket>>,
    /// An idle connection owns no buffer.
    rest: Option<Box<Rest>>,
    /// The kernel may have bytes that were not read.
    pub(crate) is_readable: bool,
    /// The peer will send no more: what is there is read until the end shows, as no edge follows.
    pub(crate) is_hung_up: bool,
    /// A send met a full buffer; the next writable edge goes on.
    pub(crate) is_blocked: bool,
    /// Stands on the list of those to go on with in the next turn.
    pub(crate) is_listed: bool,
}

/// Bytes read and not yet taken as packets: part of one, or packets that are parked.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    /// How many of them were taken already.
    taken: usize,
    /// Bytes that are needed before they can be more than part of a packet.
    needed: usize,
}

/// A token has 31 bits for the generation.
const GENERATION_MASK: u32 = 0x7FFF_FFFF;

impl Socket {
    /// The bytes that were read and not taken.
    pub(crate) fn untaken(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.bytes[rest.taken..])
    }

    /// Whether bytes wait that may be packets: parked ones, or more than a turn takes.
    pub(crate) fn has_untaken(&self) -> bool {
        let is_enough = |rest: &Rest| rest.bytes.len() - rest.taken >= rest.needed;
        self.rest.as_deref().is_some_and(is_enough)
    }

    /// Keeps bytes behind those that wait.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let rest = self.rest.get_or_insert_default();
        if rest.taken > 0 {
            rest.bytes.drain(..rest.taken);
            rest.taken = 0;
        }
        rest.bytes.extend_from_slice(bytes);
    }

    /// `taken` more of the bytes are packets that the core has; before there are `needed`, no
    /// other is whole.
    pub(crate) fn advance(&mut self, taken: usize, needed: usize) {
        let Some(rest) = &mut self.rest else { return };
        rest.taken += taken;
        rest.needed = needed;
        if rest.taken == rest.bytes.len() {
            self.rest = None;
        }
    }
}

/// Slots of sockets. A freed slot rests until the turn ends: events of the same turn must not
/// reach its next user.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Slots<Socket>,
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
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("fewer descriptors than 2³²")
        });
        let generation = self.generations[index as usize];
        let id = ConnectionId { index, generation };
        let socket = Socket {
            stream,
            id,
            websocket,
            rest: (!rest.is_empty()).then(|| Box::new(Rest { bytes: rest, taken: 0, needed: 0 })),
            is_readable: false,
            is_hung_up: false,
            is_blocked: false,
            is_listed: false,
        };
        self.slots.put(index, socket);
        id
    }

    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.slots.get_mut(id.index).filter(|socket| socket.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.get(id)?;
        self.freed.push(id.index);
        let generation = &mut self.generations[id.index as usize];
        *generation = generation.wrapping_add(1) & GENERATION_MASK;
        self.slots.take(id.index)
    }

    /// How many bytes each connection sent that could not be taken yet.
    pub(crate) fn unread(&self) -> impl Iterator<Item = (ConnectionId, usize)> {
        self.slots.iter().map(|(_, socket)| (socket.id, socket.untaken().len()))
    }

    /// Those of which the kernel may have bytes that were not read.
    pub(crate) fn readable(&self) -> Vec<ConnectionId> {
        let readable = self.slots.iter().filter(|(_, socket)| socket.is_readable);
        readable.map(|(_, socket)| socket.id).collect()
    }

    pub(crate) fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }
}
