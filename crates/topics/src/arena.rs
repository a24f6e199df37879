//! Values under small numbers that are used again after removal.

/// A list of values; each keeps its id until it is removed.
///
/// Kept in chunks: growth moves nothing, and at most one chunk is in reserve.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Chunk<T>>,
    /// The slots ever in use at one time.
    len: usize,
    /// The vacant slots. The last one vacated is filled first: it is still in the cache.
    vacant: Vec<u32>,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Arena { chunks: Vec::new(), len: 0, vacant: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.vacant.pop() {
            self.chunks[chunk_of(id)][slot_of(id)] = Some(value);
            return id;
        }
        let id = u32::try_from(self.len).ok().filter(|id| *id < IDS_MAX);
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(chunk());
        }
        self.chunks[self.len / CHUNK][self.len % CHUNK] = Some(value);
        self.len += 1;
        id.expect("four billion values do not fit into memory")
    }

    pub(crate) fn remove(&mut self, id: u32) -> T {
        let value = self.chunks[chunk_of(id)][slot_of(id)].take().expect(LIVING);
        self.vacant.push(id);
        value
    }

    pub(crate) fn at_mut(&mut self, id: u32) -> &mut T {
        self.chunks[chunk_of(id)][slot_of(id)].as_mut().expect(LIVING)
    }

    /// The value under an id that is known to be in use.
    pub(crate) fn at(&self, id: u32) -> &T {
        self.chunks[chunk_of(id)][slot_of(id)].as_ref().expect(LIVING)
    }

    /// The value under an id that may have been removed since.
    pub(crate) fn find(&self, id: u32) -> Option<&T> {
        self.chunks.get(chunk_of(id))?[slot_of(id)].as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == self.vacant.len()
    }

    #[cfg(test)]
    pub(crate) fn slots_len(&self) -> usize {
        self.len
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Option<T>>()
            + self.chunks.capacity() * size_of::<Chunk<T>>()
            + self.vacant.capacity() * size_of::<u32>()
    }
}

/// Slots in a chunk: 48 kB of nodes. The list of chunks for a million nodes fits the cache.
const CHUNK: usize = 1024;

type Chunk<T> = Box<[Option<T>; CHUNK]>;

fn chunk<T>() -> Chunk<T> {
    // Collected, because an array would pass over the stack first.
    let slots: Box<[Option<T>]> = (0..CHUNK).map(|_| None).collect();
    slots.try_into().ok().expect("the lengths are the same")
}

fn chunk_of(id: u32) -> usize {
    id as usize / CHUNK
}

fn slot_of(id: u32) -> usize {
    id as usize % CHUNK
}

/// No id, where an `Option` would double the size.
pub(crate) const NONE: u32 = u32::MAX;

/// The highest numbers have other meanings: `NONE` and the reserved words.
const IDS_MAX: u32 = u32::MAX - 8;

const LIVING: &str = "an id is dropped before its value is removed";

/// What the allocator takes for a block of `bytes`: a header, and steps of 16.
pub(crate) fn block_bytes(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_used_again() {
        let mut arena = Arena::new();
        let (a, b) = (arena.insert('a'), arena.insert('b'));
        assert_eq!((*arena.at(a), *arena.at(b)), ('a', 'b'));
        assert_eq!(arena.remove(a), 'a');
        assert_eq!(arena.find(a), None);
        assert_eq!(arena.insert('c'), a);
        assert_eq!(arena.slots_len(), 2);
        assert_eq!(arena.find(9), None);
        arena.remove(a);
        arena.remove(b);
        assert!(arena.is_empty());
    }

    #[test]
    fn chunks_join() {
        let mut arena = Arena::new();
        for number in 0..3000_u32 {
            assert_eq!(arena.insert(number), number);
        }
        assert!((0..3000).all(|id| *arena.at(id) == id));
        assert_eq!((arena.find(3000), arena.slots_len()), (None, 3000));
    }
}
