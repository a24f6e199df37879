//! A copy of a log, also while a broker writes to it.
//!
//! Files that are complete do not change; the youngest segment is copied up to the last thing in it
//! that is intact. That is a point in time: whatever was stored before the copy began is in it.

use std::io;

use crate::error::StoreError;
use crate::format::{self, SEGMENT_HEADER, SegmentHeader};
use crate::limits::CHUNK_BYTES;
use crate::medium::{Medium, MediumFile};
use crate::recovery::{FileOf, Inspection, Layout, Reading, inspect};
use crate::scan::{Scanner, Step};

/// Copies the log of one medium to another, which must have none, and reads the copy as a start
/// does.
pub fn backup<F: Medium, T: Medium>(from: &F, to: &mut T) -> Result<Inspection, StoreError> {
    expect_log(from)?;
    if Layout::of(to)? != Layout::default() {
        return Err(StoreError::NotEmpty { path: to.path("") });
    }
    for _ in 0..TRIES {
        if copy_all(from, to)? {
            return inspect(to, Reading { record: &mut |_, _| {}, progress: &mut |_| {} });
        }
    }
    Err(StoreError::Restless { path: from.path("") })
}

/// An error unless there is a log: whoever names a directory by mistake is not told that all is
/// well.
pub fn expect_log<M: Medium>(medium: &M) -> Result<(), StoreError> {
    match Layout::of(medium)? {
        layout if layout == Layout::default() => Err(StoreError::NoLog { path: medium.path("") }),
        _ => Ok(()),
    }
}

/// Returns whether it worked: files go when a checkpoint was made of them.
fn copy_all<F: Medium, T: Medium>(from: &F, to: &mut T) -> Result<bool, StoreError> {
    let layout = Layout::of(from)?;
    let files: Vec<&FileOf> = layout.checkpoint.iter().chain(&layout.segments).collect();
    for (index, FileOf { name, .. }) in files.iter().enumerate() {
        // Nobody writes where a log was closed.
        let is_written = index + 1 == files.len() && layout.ends.is_empty();
        let part = part_of(name);
        remove_if_there(to, &part)?;
        let mut file = to.create(&part).map_err(|source| failed(to, "create", &part, source))?;
        let copied = if is_written {
            copy_intact(from, name, &mut file)
        } else {
            copy_whole(from, name, &mut file)
        };
        match copied.and_then(|()| file.sync()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed(to, "copy to", &part, source)),
        }
    }
    // The youngest first, for good: if this is interrupted, it shows that older ones are missing.
    let sync = |to: &mut T| to.sync_directory().map_err(|source| failed(to, "sync", "", source));
    for (index, FileOf { name, .. }) in files.iter().rev().enumerate() {
        let part = part_of(name);
        to.rename(&part, name).map_err(|source| failed(to, "rename a copy to", name, source))?;
        if index == 0 {
            sync(to)?;
        }
    }
    let segments = layout.segments.iter().map(|segment| segment.position);
    if let Some(youngest) = segments.chain(layout.newest.iter().copied()).max() {
        // As beside every log; without it only the loss of the youngest would not show.
        drop(to.create(&format::newest_name(youngest)));
    }
    for end in &layout.ends {
        drop(to.create(&format::end_name(*end)));
    }
    sync(to)?;
    Ok(true)
}

fn copy_whole<F: Medium>(from: &F, name: &str, file: &mut impl MediumFile) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let chunk = from.read_at(name, offset, CHUNK_BYTES)?;
        if chunk.is_empty() {
            return Ok(());
        }
        file.append(&chunk)?;
        offset += chunk.len() as u64;
    }
}

/// What is being written while it is read makes no sense yet; up to there all was read after it
/// had been written. A hole in what is on stable storage is damage, unless it was filled just now.
fn copy_intact<F: Medium>(from: &F, name: &str, file: &mut impl MediumFile) -> io::Result<()> {
    let bytes = from.read(name)?;
    let (bytes, end) = match intact(&bytes) {
        Intact { end, has_hole: false } => (bytes, end),
        Intact { has_hole: true, .. } => {
            let again = from.read(name)?;
            let end = intact(&again).end;
            (again, end)
        }
    };
    bytes[..end].chunks(CHUNK_BYTES).try_for_each(|chunk| file.append(chunk))
}

/// What a start would keep of the youngest segment.
struct Intact {
    end: usize,
    /// Something in it is damaged.
    has_hole: bool,
}

fn intact(bytes: &[u8]) -> Intact {
    let mut found = Intact { end: bytes.len(), has_hole: false };
    let Ok(SegmentHeader { key, first, synced }) = SegmentHeader::decode(bytes) else {
        return found;
    };
    let scan = || Scanner::new(bytes, format::seed(key), SEGMENT_HEADER, first, u64::MAX);
    let marks = scan().filter_map(|step| match step {
        Step::Batch(header) => Some(header.synced),
        Step::Record(..) | Step::Gap { .. } => None,
    });
    let synced = marks.fold(synced, u64::max);
    let mut scanner = scan();
    found.end = scanner.offset();
    while let Some(step) = scanner.next() {
        match step {
            Step::Batch(_) | Step::Record(..) => found.end = scanner.offset(),
            Step::Gap { first, .. } if first > synced => break,
            Step::Gap { .. } => found.has_hole = true,
        }
    }
    found
}

fn remove_if_there<T: Medium>(to: &mut T, name: &str) -> Result<(), StoreError> {
    match to.remove(name) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed(to, "remove", name, source))
        }
        _ => Ok(()),
    }
}

fn part_of(name: &str) -> String {
    format!("{name}.part")
}

fn failed<M: Medium>(
    medium: &M,
    operation: &'static str,
    name: &str,
    source: io::Error,
) -> StoreError {
    StoreError::Io { operation, path: medium.path(name), source }
}

/// A checkpoint takes longer than a copy of what it is made of.
const TRIES: usize = 20;
