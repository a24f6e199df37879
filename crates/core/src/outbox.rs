//! Bytes that wait for a socket.

/// What one connection has still to be sent. An idle connection owns no buffer.
#[derive(Default, Debug)]
pub(crate) struct Outbox {
    buffer: Option<Box<Buffer>>,
    /// Messages of QoS 0 among the bytes, for the ledger.
    pub(crate) unsent: u32,
    /// The shell knows that there is something to send and reports when it sent it.
    pub(crate) announced: bool,
    /// The session has more to send as soon as there is room.
    pub(crate) hungry: bool,
}

/// Bytes, and how many of them the kernel has taken already.
#[derive(Default, Debug)]
struct Buffer {
    bytes: Vec<u8>,
    head: usize,
}

impl Outbox {
    /// The buffer to append to, taken from the pool if there is none yet.
    pub(crate) fn buffer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        &mut self.buffer.get_or_insert_with(|| pool.take()).bytes
    }

    /// Forgets `count` bytes from the front. Returns whether nothing is left.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut Pool) -> bool {
        let Some(buffer) = &mut self.buffer else { return true };
        buffer.head = (buffer.head + count).min(buffer.bytes.len());
        if buffer.head == buffer.bytes.len() {
            self.give_back(pool);
            return true;
        }
        if buffer.head >= COMPACT_BYTES && buffer.head > buffer.bytes.len() / 2 {
            buffer.bytes.drain(..buffer.head);
            buffer.head = 0;
        }
        false
    }

    /// The connection is gone, with what it was not sent. Returns how many messages of QoS 0
    /// that were.
    pub(crate) fn close(mut self, pool: &mut Pool) -> u32 {
        self.give_back(pool);
        self.unsent
    }

    fn give_back(&mut self, pool: &mut Pool) {
        if let Some(buffer) = self.buffer.take() {
            pool.give(buffer);
        }
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.bytes[buffer.head..])
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len() - buffer.head)
    }
}

/// Buffers that no connection needs just now, the last one used on top: it is still in the cache.
#[derive(Default, Debug)]
pub(crate) struct Pool {
    #[allow(clippy::vec_box)] // they go to an outbox and come back as they are
    free: Vec<Box<Buffer>>,
}

impl Pool {
    /// Gives the memory back.
    pub(crate) fn empty(&mut self) {
        self.free = Vec::new();
    }

    fn take(&mut self) -> Box<Buffer> {
        self.free
            .pop()
            .unwrap_or_else(|| Box::new(Buffer { bytes: Vec::with_capacity(FIRST_BYTES), head: 0 }))
    }

    fn give(&mut self, mut buffer: Box<Buffer>) {
        if self.free.len() < POOL_BUFFERS && buffer.bytes.capacity() <= KEEP_BYTES {
            buffer.bytes.clear();
            buffer.head = 0;
            self.free.push(buffer);
        }
    }
}

/// A first buffer holds a turn's worth of small packets.
const FIRST_BYTES: usize = 2048;
/// Larger buffers go back to the allocator: they were the exception.
const KEEP_BYTES: usize = 64 * 1024;
/// At most 16 MiB rest in the pool; a turn touches fewer connections than this.
const POOL_BUFFERS: usize = 256;
/// Moving the rest of a buffer to its front is worth it from here on.
const COMPACT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumes_in_pieces_and_returns_the_buffer() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        outbox.buffer(&mut pool).extend_from_slice(b"abcdef");
        assert!(!outbox.consume(2, &mut pool));
        assert_eq!((outbox.pending(), outbox.len()), (&b"cdef"[..], 4));
        assert!(outbox.consume(4, &mut pool));
        assert_eq!((outbox.len(), outbox.buffer.is_none(), pool.free.len()), (0, true, 1));
        assert!(outbox.buffer(&mut pool).is_empty());
    }

    #[test]
    fn a_long_blocked_outbox_does_not_keep_what_was_sent() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        outbox.buffer(&mut pool).extend_from_slice(&[7; 100_000]);
        assert!(!outbox.consume(70_000, &mut pool));
        assert_eq!((outbox.buffer(&mut pool).len(), outbox.len()), (30_000, 30_000));
    }

    #[test]
    fn what_a_lost_connection_was_not_sent_is_gone() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        outbox.buffer(&mut pool).extend_from_slice(b"abcdef");
        outbox.unsent = 3;
        assert!(!outbox.consume(1, &mut pool));
        assert_eq!((outbox.close(&mut pool), pool.free.len()), (3, 1));
        let mut next = Outbox::default();
        assert!(next.buffer(&mut pool).is_empty() && next.pending().is_empty());
    }
}
