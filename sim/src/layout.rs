//! The names and lengths of the store's files, as its `format.md` has them: the checks read files
//! without the code that they check.

/// What the name of a segment ends with.
pub(crate) const SEGMENT: &str = ".log";
/// What the name of a checkpoint ends with.
pub(crate) const CHECKPOINT: &str = ".checkpoint";
/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 40;
/// What a batch's header begins with, in place of a record's length.
pub(crate) const BATCH: u32 = 0xFFB1_7C42;
/// Its length.
pub(crate) const BATCH_HEADER: usize = 36;
/// Bytes of a record in front of its body; the first four are the body's length.
pub(crate) const RECORD_HEADER: usize = 17;

/// The number at this place, if there is one.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
