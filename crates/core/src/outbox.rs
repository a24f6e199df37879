//! Bytes that wait for a socket.

/// What one connection has still to be sent. An idle connection owns no buffer.
#[derive(Default, Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes at the front that the kernel has taken already.
    head: usize,
    /// Messages of QoS 0 among the bytes, for the ledger.
    pub(crate) unsent: u32,
    /// The shell knows that there is something to send and reports when it sent it.
    pub(crate) announced: bool,
    /// The session has more to send as soon as there is room.
    pub(crate) hungry: bool,
}

impl Outbox {
    /// The buffer to append to, taken from the pool if there is none yet.
    pub(crate) fn buffer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// Forgets `count` bytes from the front. Returns whether nothing is left.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut Pool) -> bool {
        self.head = (self.head + count).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.head = 0;
            pool.give(std::mem::take(&mut self.bytes));
            return true;
        }
        if self.head >= COMPACT_BYTES && self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        false
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }
}

/// Buffers that no connection needs just now, the last one used on top: it is still in the cache.
#[derive(Default, Debug)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES))
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.free.len() < POOL_BUFFERS && (1..=KEEP_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
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
        assert_eq!((outbox.len(), outbox.bytes.capacity(), pool.free.len()), (0, 0, 1));
        assert!(outbox.buffer(&mut pool).is_empty());
    }

    #[test]
    fn a_long_blocked_outbox_does_not_keep_what_was_sent() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        outbox.buffer(&mut pool).extend_from_slice(&[7; 100_000]);
        assert!(!outbox.consume(70_000, &mut pool));
        assert_eq!((outbox.bytes.len(), outbox.len()), (30_000, 30_000));
    }
}
