//! The bounds of this crate, each with its reason.

/// Large enough that a segment's own cost (two syncs) vanishes, small enough to hold in memory.
pub(crate) const SEGMENT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// After a larger write the buffer's memory is given back.
pub(crate) const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// How far zeros are written ahead: enough that a small write rarely pays for it, so little that
/// the one which does is not late by more than a millisecond. `format.md` has the numbers.
pub(crate) const RESERVE_BYTES: u64 = 256 * 1024;

/// Larger writes would do nothing but write everything twice.
pub(crate) const RESERVE_FOR_BYTES_MAX: usize = 16 * 1024;

/// A file of zeros is made when small writes have filled this part of a segment: a log that stays
/// small needs none.
pub(crate) const PREALLOCATE_AT_SHARE: u64 = 4;

/// So much of it is written between two syncs: what a sync of the log's own may have to wait for.
pub(crate) const PREALLOCATED_AT_ONCE_BYTES: usize = 128 * 1024;

/// A search reads each byte a few times at most: true records do not overlap.
pub(crate) const SEARCH_FACTOR: usize = 16;

/// How many damaged places are listed one by one: a page for the operator; the rest is counted.
pub const DAMAGED_MAX: usize = 1000;

/// How far apart the places are that stay in memory to find a message by its position: one read
/// of a page passes a few dozen records.
pub(crate) const MARK_BYTES: u64 = 4 * 1024;

/// A checkpoint may be larger than what a machine has to spare: it is read and written in pieces.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
