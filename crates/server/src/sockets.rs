//! A shard's sockets, in slots that are used again only in a later turn.

use crate::channel::Channel;
use bellbird_codec::PINGREQ;
use bellbird_core::{ConnectionId, Slots};

/// One socket and what its driver must remember.
pub(crate) struct Socket {
    pub(crate) channel: Channel,
    pub(crate) id: ConnectionId,
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
    /// Stands on the list of those that wait for the log.
    pub(crate) is_held: bool,
}

/// Bytes read and not yet taken as packets: part of one, or packets that are parked.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    /// How many of them were taken already.
    taken: usize,
    /// Bytes that are needed before they can be more than part of a packet.
    needed: usize,
    /// Up to here there is no PINGREQ.
    searched: usize,
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
            rest.searched = rest.searched.saturating_sub(rest.taken);
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

impl Socket {
    /// Takes so many PINGREQs at most out of the whole packets among the bytes that wait. Returns
    /// how many there were.
    pub(crate) fn take_pings(&mut self, pings_max: usize) -> usize {
        let pings = self.rest.as_deref_mut().map_or(0, |rest| rest.take_pings(pings_max));
        self.advance(0, 0);
        pings
    }
}

impl Rest {
    fn take_pings(&mut self, pings_max: usize) -> usize {
        self.searched = self.searched.max(self.taken);
        let mut pings = 0;
        while pings < pings_max
            && let Some(len) = packet_len(&self.bytes[self.searched..])
        {
            let packet = self.searched..self.searched + len;
            if self.bytes[packet.clone()] == PINGREQ {
                self.bytes.drain(packet);
                pings += 1;
            } else {
                self.searched = packet.end;
            }
        }
        pings
    }
}

/// How long the packet at the front of these bytes is, if all of it is there.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = 2 + index + len;
            return (whole <= bytes.len()).then_some(whole);
        }
    }
    None
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
    pub(crate) fn add(&mut self, channel: Channel, rest: Vec<u8>) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("fewer descriptors than 2³²")
        });
        let generation = self.generations[index as usize];
        let id = ConnectionId { index, generation };
        let socket = Socket {
            channel,
            id,
            rest: (!rest.is_empty()).then(|| Box::new(Rest { bytes: rest, ..Rest::default() })),
            is_readable: false,
            is_hung_up: false,
            is_blocked: false,
            is_listed: false,
            is_held: false,
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

    /// How many bytes are kept for each connection beside its outbox: those that it sent and that
    /// could not be taken yet, and those that it has not taken.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (ConnectionId, usize)> {
        let kept = |socket: &Socket| socket.untaken().len() + socket.channel.kept_bytes();
        self.slots.iter().map(move |(_, socket)| (socket.id, kept(socket)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_found_among_other_packets() {
        let publish = |len: usize| [vec![0x32, u8::try_from(len).unwrap()], vec![0; len]].concat();
        let check = |parts: &[&[u8]], taken: usize, pings: usize, left: &[&[u8]]| {
            let mut rest = Rest { bytes: parts.concat(), taken, ..Rest::default() };
            assert_eq!(rest.take_pings(3), pings, "{parts:?}");
            assert_eq!(rest.bytes[rest.taken..], left.concat(), "{parts:?}");
        };
        let (small, large) = (publish(3), [vec![0x30, 0x80, 0x01], vec![0xC0; 128]].concat());
        check(&[&PINGREQ], 0, 1, &[]);
        check(&[&small, &PINGREQ, &large, &PINGREQ, &small], 0, 2, &[&small, &large, &small]);
        check(&[&small, &PINGREQ], small.len(), 1, &[]);
        check(&[&large[..100], &PINGREQ], 0, 0, &[&large[..100], &PINGREQ]);
        check(&[&small, &PINGREQ[..1]], 0, 0, &[&small, &PINGREQ[..1]]);
        check(&[&PINGREQ, &PINGREQ, &PINGREQ, &PINGREQ], 0, 3, &[&PINGREQ]);
        // No packet at all: nothing behind it can be found.
        let broken: &[u8] = &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        check(&[broken, &PINGREQ], 0, 0, &[broken, &PINGREQ]);
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        let mut rest = Rest { bytes: [[0x32, 0], PINGREQ].concat(), ..Rest::default() };
        assert_eq!((rest.take_pings(3), rest.searched), (1, 2));
        rest.bytes.extend(PINGREQ);
        assert_eq!((rest.take_pings(3), rest.searched), (1, 2));
        // What is taken meanwhile has been searched too.
        rest.taken = 2;
        assert_eq!((rest.take_pings(3), rest.searched), (0, 2));
    }
}
