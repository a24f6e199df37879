//! Writes that go to the disk past the page cache.
//!
//! A sync of a few pages of the cache looks them up, marks them and waits for each; bytes that are
//! on their way to the disk already leave it nothing to do but to empty the disk's own cache.
//! The disk takes whole blocks at their places, from memory that is aligned like them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;

/// The way past the page cache for one file, if the file system has one.
#[derive(Default, Debug)]
pub(super) struct Direct {
    way: Way,
    /// What stands before the end in its block.
    begun: Vec<u8>,
    /// Memory to write from; used again.
    blocks: Blocks,
}

#[derive(Default, Debug)]
enum Way {
    #[default]
    Unknown,
    None,
    Open(File),
}

impl Direct {
    /// Writes the bytes at `end`, where the last append has ended, with the blocks that they begin
    /// and end in; behind them stand zeros. False if there is no way past the cache here, or too
    /// much for it.
    pub(super) fn append(&mut self, file: &File, end: u64, bytes: &[u8]) -> io::Result<bool> {
        if !self.is_small(bytes) || !self.is_open(file) {
            return Ok(false);
        }
        let (blocks, offset) = Self::blocks(&self.begun, &mut self.blocks, end, bytes);
        self.way.write(blocks, offset)
    }

    /// The same by way of the cache: it reads no block that is written as a whole. False if it is
    /// too much.
    pub(super) fn append_cached(
        &mut self,
        file: &File,
        end: u64,
        bytes: &[u8],
    ) -> io::Result<bool> {
        if !self.is_small(bytes) {
            return Ok(false);
        }
        let (blocks, offset) = Self::blocks(&self.begun, &mut self.blocks, end, bytes);
        file.write_all_at(blocks, offset).map(|()| true)
    }

    fn is_small(&self, bytes: &[u8]) -> bool {
        self.begun.len() + bytes.len() <= BYTES_MAX
    }

    /// The bytes and what stands before and behind them in their blocks, and where that begins.
    fn blocks<'a>(begun: &[u8], memory: &'a mut Blocks, end: u64, bytes: &[u8]) -> (&'a [u8], u64) {
        let (from, to) = (begun.len(), begun.len() + bytes.len());
        let blocks = memory.zeroed_behind(to, to.next_multiple_of(BLOCK));
        blocks[..from].copy_from_slice(begun);
        blocks[from..to].copy_from_slice(bytes);
        (blocks, end - from as u64)
    }

    /// Writes zeros at `end`. False if they are no whole blocks, or there is no way for them.
    pub(super) fn reserve(&mut self, file: &File, end: u64, bytes: usize) -> io::Result<bool> {
        let are_blocks = end.is_multiple_of(BLOCK as u64) && bytes.is_multiple_of(BLOCK);
        if !are_blocks || !self.is_open(file) {
            return Ok(false);
        }
        let mut zeros = Blocks::default();
        self.way.write(zeros.zeroed_behind(0, bytes), end)
    }

    /// These bytes were appended, whichever way.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let in_last_block = (self.begun.len() + bytes.len()) % BLOCK;
        if self.begun.len() + bytes.len() >= BLOCK {
            self.begun.clear();
        }
        let new = in_last_block - self.begun.len();
        self.begun.extend_from_slice(&bytes[bytes.len() - new..]);
    }

    /// Where the last block ends that an append of so many bytes at `end` writes.
    pub(super) fn reach(end: u64, bytes: usize) -> u64 {
        (end + bytes as u64).next_multiple_of(BLOCK as u64)
    }

    fn is_open(&mut self, file: &File) -> bool {
        if matches!(self.way, Way::Unknown) {
            // By its descriptor: its name changes.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = OFlags::DIRECT.bits().cast_signed();
            let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
            self.way = opened.map_or(Way::None, Way::Open);
        }
        matches!(self.way, Way::Open(_))
    }
}

impl Way {
    /// False if the file system wants other blocks than these, or none at all; what it has taken
    /// until then is written again.
    fn write(&mut self, blocks: &[u8], offset: u64) -> io::Result<bool> {
        let Self::Open(file) = self else { return Ok(false) };
        match file.write_all_at(blocks, offset) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                *self = Self::None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Memory that is aligned like blocks.
#[derive(Default, Debug)]
struct Blocks(Vec<u8>);

impl Blocks {
    /// So many bytes, of which those from `kept` on are zeros.
    fn zeroed_behind(&mut self, kept: usize, bytes: usize) -> &mut [u8] {
        if self.0.len() < bytes + BLOCK {
            self.0 = vec![0; bytes + BLOCK];
        }
        let aligned = self.0.as_ptr().align_offset(BLOCK);
        let blocks = &mut self.0[aligned..][..bytes];
        blocks[kept..].fill(0);
        blocks
    }
}

/// More than most disks and file systems want; those that want larger ones refuse these.
const BLOCK: usize = 4096;

/// Larger writes gain little, and the memory for them would stay.
const BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use rustix::io::{Errno, ReadWriteFlags};

    use super::*;

    fn path(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bellbird-{test}-{}", std::process::id()))
    }

    /// Whether the page cache has a byte of the file; None if nobody can know.
    fn is_cached(file: &File) -> Option<bool> {
        let mut read = [0];
        let mut parts = [io::IoSliceMut::new(&mut read)];
        match rustix::io::preadv2(file, &mut parts, 0, ReadWriteFlags::NOWAIT) {
            Ok(bytes) => Some(bytes > 0),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    fn new_file(path: &Path) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).open(path).unwrap()
    }

    /// Whether the file system takes writes past the cache, and whether they are seen to be. To
    /// look may begin to read the file, so this has a file of its own.
    fn probe(path: &Path) -> (bool, bool) {
        let file = new_file(path);
        file.write_all_at(&[1; BLOCK], 0).unwrap();
        let is_seen = is_cached(&file) == Some(true);
        let raw = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(path);
        let mut zeros = Blocks::default();
        let can = raw.is_ok_and(|raw| raw.write_at(zeros.zeroed_behind(0, BLOCK), 0).is_ok());
        // Some file systems take such writes and have them in the cache all the same.
        let is_past = is_seen && can && is_cached(&file) == Some(false);
        fs::remove_file(path).unwrap();
        (can, is_past)
    }

    /// Whether what goes past the cache is seen not to be in there. To look begins to read the file,
    /// and if the thread is made to wait just then, the read is over before the look is: so of
    /// several looks one must show it. What is in the cache is seen to be each time.
    fn stays_out(path: &Path) -> bool {
        let looks = |_| {
            let file = new_file(path);
            let mut direct = Direct::default();
            let goes_past = direct.reserve(&file, 0, 16 * BLOCK).unwrap()
                && direct.append(&file, 0, &[1; 5000]).unwrap();
            goes_past && is_cached(&file) == Some(false)
        };
        let is_out = (0..100).any(looks);
        fs::remove_file(path).unwrap();
        is_out
    }

    #[test]
    fn where_the_file_system_can_the_page_cache_has_nothing_of_it() {
        let (can, is_past) = probe(&path("probe"));
        let path = path("direct");
        let file = new_file(&path);
        let mut direct = Direct::default();
        assert_eq!(direct.reserve(&file, 0, 16 * BLOCK).unwrap(), can);
        assert_eq!(direct.append(&file, 0, &[1; 5000]).unwrap(), can);
        direct.note(&[1; 5000]);
        assert_eq!(direct.append(&file, 5000, &[2; 5000]).unwrap(), can);
        direct.note(&[2; 5000]);
        assert!(!is_past || stays_out(&path.with_extension("look")));
        assert!(direct.append_cached(&file, 10_000, &[3; 5000]).unwrap());
        if can {
            let read = fs::read(&path).unwrap();
            let (found, zeros) = read.split_at(15_000);
            assert_eq!(found, [[1; 5000], [2; 5000], [3; 5000]].concat());
            assert_eq!(zeros, [0; 16 * BLOCK - 15_000]);
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn parts_of_blocks_and_too_much_go_the_usual_way() {
        let path = path("usual");
        let file = File::create(&path).unwrap();
        let mut direct = Direct::default();
        assert!(!direct.reserve(&file, 40, BLOCK).unwrap());
        assert!(!direct.reserve(&file, 0, 100).unwrap());
        assert!(!direct.append(&file, 0, &vec![1; BYTES_MAX + 1]).unwrap());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_last_block_is_known_whatever_the_lengths() {
        for (lengths, expected) in [
            (&[10, 20][..], 30),
            (&[4096], 0),
            (&[4000, 96], 0),
            (&[4000, 97], 1),
            (&[0, 4095, 4097], 0),
            (&[5000, 1, 10_000], 15_001 - 3 * 4096),
        ] {
            let mut direct = Direct::default();
            let mut all = Vec::new();
            for (index, len) in lengths.iter().enumerate() {
                let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(index).take(*len).collect();
                direct.note(&bytes);
                all.extend(bytes);
            }
            assert_eq!(direct.begun, all[all.len() - expected..], "{lengths:?}");
        }
    }
}
