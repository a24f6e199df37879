//! The durable log: records in segment files, group commit, recovery by replay.
//!
//! A [`Log`] is owned by one committer. Shards encode their records into a [`Batch`], the
//! committer appends the batches of all shards with one write, syncs once, and tells the shards
//! that their records are stored. A start replays everything, in the order of the positions.
//! Complete segments become a checkpoint now and then, by a [`Distillation`], and go. A
//! [`Reader`] reads single messages meanwhile.
//!
//! The bytes are described in `format.md` beside this crate's manifest.

mod backup;
mod batch;
mod body;
mod bytes;
mod checkpoint;
mod distillation;
mod error;
mod format;
mod index;
mod limits;
mod log;
pub mod medium;
mod preallocation;
mod reader;
mod recovery;
mod scan;
mod settled;

pub use backup::{backup, expect_log};
pub use batch::Batch;
pub use distillation::{Distillation, Distilled, Keep};
pub use error::StoreError;
pub use limits::DAMAGED_MAX;
pub use log::{Log, Options};
pub use medium::{Event, Fault, Faulty, Files, Medium, MediumFile, SegmentFile, Survivors};
pub use preallocation::{Preallocated, Preallocation};
pub use reader::{Reader, Unread};
pub use recovery::{Damage, Inspection, Progress, Reading, Reason, Recovery, inspect};
