//! Walks over the bytes of one segment, and finds its way again behind bytes that make no sense.

use crate::format::{BATCH_HEADER, BatchHeader, RECORD_HEADER, RawRecord};
use crate::limits::SEARCH_FACTOR;

/// Yields what stands in a segment behind its header, in the order of the positions.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    seed: u32,
    offset: usize,
    next: u64,
    bound: u64,
    /// Bytes whose checksum may still be tried while searching: keeps a search linear whatever
    /// the bytes pretend.
    search_budget: usize,
}

/// One thing in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step<'a> {
    /// The header of a batch.
    Batch(BatchHeader),
    /// An intact record and its stored bytes.
    Record(RawRecord<'a>, &'a [u8]),
    /// Bytes that make no sense; the positions from `first` and before `next` are lost with
    /// them. Both are equal if nothing intact follows.
    Gap { offset: usize, bytes: usize, first: u64, next: u64 },
}

impl<'a> Scanner<'a> {
    /// Begins at `offset`, where the record at position `first` is expected. Records at `bound`
    /// and above are void.
    pub(crate) fn new(bytes: &'a [u8], seed: u32, offset: usize, first: u64, bound: u64) -> Self {
        let search_budget = bytes.len().saturating_mul(SEARCH_FACTOR);
        Self { bytes, seed, offset: offset.min(bytes.len()), next: first, bound, search_budget }
    }

    /// The position that comes next.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Where the next step begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Whether all bytes have been yielded.
    pub(crate) fn is_at_end(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    /// Goes on at a higher position.
    pub(crate) fn skip_to(&mut self, position: u64) {
        self.next = self.next.max(position);
    }

    /// The next place at or behind the current one where something intact stands. The bound has
    /// no say in it: every start must find the same, whatever stands in younger segments.
    fn search(&mut self) -> Option<(usize, u64)> {
        for at in self.offset..self.bytes.len() {
            if let Some(header) = BatchHeader::decode(self.seed, self.bytes, at) {
                if header.first >= self.next {
                    return Some((at, header.first));
                }
            } else if self.search_budget > 0 {
                // No more records can be lost than had room before this place.
                let lost_max = ((at - self.offset) / RECORD_HEADER) as u64;
                let end = self.next.saturating_add(lost_max).saturating_add(1);
                let mut checked = 0;
                let window = (self.next, end);
                let found = RawRecord::decode(self.seed, self.bytes, at, window, &mut checked);
                self.search_budget = self.search_budget.saturating_sub(checked);
                if let Some(record) = found {
                    return Some((at, record.position));
                }
            }
        }
        None
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.offset >= self.bytes.len() || self.next >= self.bound {
            return None;
        }
        let (offset, first) = (self.offset, self.next);
        if let Some(header) = BatchHeader::decode(self.seed, self.bytes, offset)
            && header.first == first
        {
            self.offset += BATCH_HEADER;
            return Some(Step::Batch(header));
        }
        let window = (first, first.saturating_add(1));
        if let Some(record) = RawRecord::decode(self.seed, self.bytes, offset, window, &mut 0) {
            let end = offset + record.stored_len();
            self.offset = end;
            self.next += 1;
            return Some(Step::Record(record, &self.bytes[offset..end]));
        }
        let (end, next) = self.search().unwrap_or((self.bytes.len(), first));
        self.offset = end;
        let next = next.min(self.bound);
        self.next = next;
        Some(Step::Gap { offset, bytes: end - offset, first, next })
    }
}
