//! Where records stand: position to file and offset, coarse enough to stay in memory.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::format::{self, RECORD_HEADER};
use crate::limits::MARK_BYTES;

/// Places of some records of a file, going up: at most one for each [`MARK_BYTES`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Marks(Vec<Mark>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    position: u64,
    offset: u64,
}

/// What the log and its readers share. Clones are the same index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<Files>,
    has_grown: Condvar,
}

#[derive(Debug, Default)]
struct Files {
    /// The bound of the checkpoint, and its marks.
    checkpoint: Option<(u64, Marks)>,
    /// The first position of each segment, and its marks; going up.
    segments: Vec<(u64, Marks)>,
    /// Every record below is written.
    next: u64,
    /// Nothing more comes.
    is_over: bool,
    /// Readers that wait for it to grow: mostly none, and to wake none takes a system call.
    waiting: usize,
}

/// A file, and where in it to begin looking for a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) file: PlaceFile,
    pub(crate) offset: u64,
    /// Where the next place is; none if it is the file's last.
    pub(crate) end: Option<u64>,
}

/// Which file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PlaceFile {
    /// The checkpoint with this bound.
    Checkpoint(u64),
    /// The segment with this first position.
    Segment(u64),
}

impl Marks {
    /// A record, or the header of the batch it begins, stands there.
    pub(crate) fn note(&mut self, position: u64, offset: u64) {
        if self.0.last().is_none_or(|last| offset >= last.offset + MARK_BYTES) {
            self.0.push(Mark { position, offset });
        }
    }

    /// The records of a batch, whose first one stands at this offset.
    pub(crate) fn note_records(&mut self, first: u64, offset: u64, records: &[u8]) {
        let mut rest = records;
        let mut position = first;
        while let Some(body) = format::u32_at(rest, 0) {
            self.note(position, offset + (records.len() - rest.len()) as u64);
            rest = rest.get(RECORD_HEADER + body as usize..).unwrap_or_default();
            position += 1;
        }
    }

    fn place(&self, file: PlaceFile, position: u64) -> Option<Place> {
        let behind = self.0.partition_point(|mark| mark.position <= position);
        let offset = self.0.get(behind.checked_sub(1)?)?.offset;
        Some(Place { file, offset, end: self.0.get(behind).map(|mark| mark.offset) })
    }
}

impl PlaceFile {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Checkpoint(bound) => format::checkpoint_name(bound),
            Self::Segment(first) => format::segment_name(first),
        }
    }
}

impl Index {
    /// What a start found.
    pub(crate) fn new(
        checkpoint: Option<(u64, Marks)>,
        segments: Vec<(u64, Marks)>,
        next: u64,
    ) -> Self {
        let files = Files { checkpoint, segments, next, is_over: false, waiting: 0 };
        Self(Arc::new(Shared { files: Mutex::new(files), ..Shared::default() }))
    }

    /// A new segment begins.
    pub(crate) fn begin_segment(&self, first: u64) {
        self.lock().segments.push((first, Marks::default()));
    }

    /// A batch was written to the youngest segment: its header stands at this offset.
    pub(crate) fn append(&self, first: u64, count: u64, header: u64, records: &[u8]) {
        let mut files = self.lock();
        files.next = first + count;
        if let Some((_, marks)) = files.segments.last_mut() {
            marks.note(first, header);
            if records.len() as u64 >= MARK_BYTES {
                let offset = header + format::BATCH_HEADER as u64;
                marks.note_records(first, offset, records);
            }
        }
        if files.waiting > 0 {
            self.0.has_grown.notify_all();
        }
    }

    /// A checkpoint stands for everything below its bound.
    pub(crate) fn distilled(&self, bound: u64, marks: Marks) {
        let mut files = self.lock();
        files.segments.retain(|(first, _)| *first >= bound);
        files.checkpoint = Some((bound, marks));
    }

    /// Whoever waits for a record waits for nothing.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.0.has_grown.notify_all();
    }

    /// Where to look for the record of this position. Waits for one that is not written yet; none
    /// if there is no such record.
    pub(crate) fn place(&self, position: u64) -> Option<Place> {
        let mut files = self.lock();
        files.waiting += 1;
        let waits = |files: &mut Files| files.next <= position && !files.is_over;
        let waited = self.0.has_grown.wait_while(files, waits);
        let mut files = waited.unwrap_or_else(PoisonError::into_inner);
        files.waiting -= 1;
        if let Some((bound, marks)) = &files.checkpoint
            && position < *bound
        {
            return marks.place(PlaceFile::Checkpoint(*bound), position);
        }
        let behind = files.segments.partition_point(|(first, _)| *first <= position);
        let (first, marks) = files.segments.get(behind.checked_sub(1)?)?;
        marks.place(PlaceFile::Segment(*first), position)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // Each change leaves whole values behind.
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two indices are equal if they are the same one.
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Index {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_before_a_record_is_found() {
        let mut marks = Marks::default();
        for (position, offset) in [(10, 100), (11, 200), (40, 100 + MARK_BYTES), (90, 900_000)] {
            marks.note(position, offset);
        }
        let file = PlaceFile::Segment(10);
        let place = |position| marks.place(file, position).map(|found| (found.offset, found.end));
        assert_eq!(place(9), None);
        assert_eq!(place(10), Some((100, Some(100 + MARK_BYTES))));
        assert_eq!(place(39), Some((100, Some(100 + MARK_BYTES))), "11 is too near to be a mark");
        assert_eq!(place(40), Some((100 + MARK_BYTES, Some(900_000))));
        assert_eq!(place(1_000), Some((900_000, None)));
    }

    #[test]
    fn what_a_checkpoint_stands_for_is_looked_up_there() {
        let mut marks = Marks::default();
        marks.note(1, 40);
        let index = Index::new(None, vec![(1, marks.clone()), (5, marks)], 9);
        let file = |position| index.place(position).map(|place| place.file);
        assert_eq!(file(4), Some(PlaceFile::Segment(1)));
        let mut marks = Marks::default();
        marks.note(3, 32);
        index.distilled(5, marks);
        assert_eq!(file(4), Some(PlaceFile::Checkpoint(5)));
        assert_eq!(file(2), None, "it went with the checkpoint");
        assert_eq!(file(5), Some(PlaceFile::Segment(5)));
        index.end();
        assert_eq!(file(9), Some(PlaceFile::Segment(5)), "nobody waits any more");
    }
}
