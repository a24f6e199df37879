//! What a start found, for the operator.

use std::fmt;
use std::path::PathBuf;

use bellbird_core::identity::{Position, Time};

/// What a start found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Segment files read.
    pub segments: u64,
    /// Bytes read, without zeros that were written ahead.
    pub bytes: u64,
    /// Bytes at the end of the last segment that were cut: nothing in them was ever reported
    /// stored.
    pub torn_bytes: u64,
    /// Where stored records are lost, in the order of the log; at most [`DAMAGED_MAX`](crate::DAMAGED_MAX) entries.
    pub damaged: Vec<Damage>,
    /// How many such places there are, listed or not.
    pub damaged_places: u64,
    /// How many stored records are lost, at most: see [`Recovery::is_known_exactly`].
    pub damaged_records: u64,
    /// The highest time in any replayed record: the clock never falls behind it.
    pub last_time: Time,
}

/// How far a start is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Records replayed so far.
    pub records: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes to read in all.
    pub bytes_total: u64,
}

/// A place in the log that was on stable storage and cannot be read any more. The file is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it the damage begins.
    pub offset: u64,
    /// How many bytes make no sense.
    pub bytes: u64,
    /// The position of the first lost record.
    pub first: Position,
    /// How many records are lost with them; 0 if only a header was hit. Where files are gone, how
    /// many positions: what stood there may have been over long ago.
    pub records: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a damaged place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The segment's header is damaged; its records are read as far as they can be.
    Header,
    /// A checksum does not hold, or the bytes are no records at all.
    Checksum,
    /// The file ends before the records that were in it, or a whole segment is gone.
    Missing,
    /// What stood before the first segment is gone.
    Before,
    /// The youngest segment is gone, and nobody knows how many records with it: it counts as one.
    Newest,
    /// The checksum holds, and yet the bytes say something else than a record.
    Body(&'static str),
}

impl Recovery {
    /// Without the place of the damage, for where another line names it.
    pub fn brief(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| self.write_brief(f))
    }

    /// Whether as many records are lost as [`Recovery::damaged_records`] says. Not where files are
    /// gone: how many of their records had not been over, nobody knows.
    pub fn is_known_exactly(&self) -> bool {
        !self.damaged.iter().any(|damage| damage.reason == Reason::Before)
    }

    /// Whether a file that is there is damaged; others are gone.
    pub fn has_damaged_files(&self) -> bool {
        self.damaged.iter().any(|damage| damage.reason != Reason::Before)
    }

    fn write_brief(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, segments, bytes, torn_bytes, .. } = self;
        let (of_records, of_segments) = (plural(*records), plural(*segments));
        write!(f, "recovered {records} record{of_records} from {segments} segment{of_segments}")?;
        write!(f, " ({bytes} byte{})", plural(*bytes))?;
        if *torn_bytes > 0 {
            let (s, were) = (plural(*torn_bytes), if *torn_bytes == 1 { "was" } else { "were" });
            write!(
                f,
                "; cut {torn_bytes} byte{s} that {were} being written when the broker ended"
            )?;
        }
        if self.damaged_places > 0 {
            let (lost, places) = (self.damaged_records, self.damaged_places);
            let (of_records, of_places) = (plural(lost), plural(places));
            let up_to = if self.is_known_exactly() { "" } else { "up to " };
            write!(
                f,
                "; LOST {up_to}{lost} stored record{of_records} in {places} damaged \
                 place{of_places}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_brief(f)?;
        if let Some(damage) = self.damaged.first() {
            write!(f, ", the first at {damage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, bytes, first, records, reason } = self;
        if *reason == Reason::Before {
            let (segment, last) = (segment.display(), first.0 + records.saturating_sub(1));
            return write!(
                f,
                "{segment}: {reason}; lost is what was not over of positions {first} to {last}",
                first = first.0
            );
        }
        let s = plural(*bytes);
        write!(f, "{} offset {offset}, {bytes} byte{s}: {reason}", segment.display())?;
        if *records > 0 {
            let s = plural(*records);
            write!(f, "; lost {records} record{s} from position {}", first.0)?;
        }
        Ok(())
    }
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "the segment's header is damaged"),
            Self::Checksum => write!(f, "the checksum does not hold"),
            Self::Before => write!(f, "the files before this one are gone"),
            Self::Newest => write!(f, "the youngest file is gone, with all that was in it"),
            Self::Missing => write!(f, "the file ends too early or the next one is gone"),
            Self::Body(what) => write!(f, "the record cannot be understood: {what}"),
        }
    }
}
