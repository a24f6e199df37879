//! Records encoded by a shard, ready for the committer.

use bellbird_core::record::Record;

use crate::body;
use crate::format::{self, RECORD_HEADER};

/// Records encoded by a shard, ready for the committer: all but their positions is settled.
///
/// Meant to be used again: [`Batch::clear`] keeps the allocation.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    records: u32,
}

impl Batch {
    /// An empty batch without an allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record behind the others.
    ///
    /// # Panics
    /// If the record takes 2³¹ bytes or more, or the batch has 2³² records: the limits on packets
    /// and queues lie far below.
    pub fn push(&mut self, record: &Record) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER]);
        let kind = body::encode(record, &mut self.bytes);
        format::begin_record(&mut self.bytes[start..], kind);
        self.records = self.records.checked_add(1).expect("a batch has fewer than 2³² records");
    }

    /// Forgets the records, keeps the allocation.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records as usize
    }

    /// How many bytes its records take in the log.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
