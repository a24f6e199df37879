//! A shard's sockets, in slots that are used again only in a later turn.

use bellbird_core::ConnectionId;
use mio::net::TcpStream;

/// One socket and what its driver must remember.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) id: ConnectionId,
    /// Bytes read and not yet taken as packets: part of one, or packets that are parked.
    pub(crate) rest: Vec<u8>,
    /// Bytes that are needed before `rest` can be more than part of a packet.
    pub(crate) needed: usize,
    /// The kernel may have bytes that were not read.
    pub(crate) is_readable: bool,
    /// A send met a full buffer; the next writable edge goes on.
    pub(crate) is_blocked: bool,
    /// Nothing is read any more.
    pub(crate) is_closing: bool,
    /// Stands on the list of those to go on with in the next turn.
    pub(crate) is_listed: bool,
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
    pub(crate) fn add(&mut self, stream: TcpStream, rest: Vec<u8>) -> ConnectionId {
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
            rest,
            needed: 0,
            is_readable: false,
            is_blocked: false,
            is_closing: false,
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
        *generation = generation.wrapping_add(1);
        self.slots[id.index as usize].take()
    }

    pub(crate) fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }
}
