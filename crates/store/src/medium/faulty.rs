//! A medium in memory that loses what it may lose, and fails when told to.
//!
//! It is as mean as POSIX allows: unsynced bytes survive a crash in any part and order, unsynced
//! names in any combination. Same seed, same crash.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::medium::{Medium, MediumFile};

/// Files in memory. Clones share them: keep one to crash what another one writes.
#[derive(Clone, Debug)]
pub struct Faulty {
    state: Arc<Mutex<State>>,
}

/// A fault that happens once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The next sync of a file fails (EIO). As on Linux, what it should have written counts as
    /// clean from then on: reads see it, no later sync writes it.
    Sync,
    /// The next sync of the directory fails (EIO).
    SyncDirectory,
    /// The volume has room for so many more bytes; the write that exceeds them writes what fits
    /// and fails (ENOSPC).
    Space(usize),
    /// The next write writes so many bytes at most, then fails (EIO).
    ShortAppend(usize),
    /// So many more operations change something; then the process can do nothing any more but
    /// crash.
    Death(usize),
}

/// An open file of a [`Faulty`].
#[derive(Debug)]
pub struct FaultyFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    life: u64,
    /// Where the next append goes.
    end: usize,
}

impl Faulty {
    /// An empty medium. The seed decides its nonces.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State { random: Random::new(seed), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power fails: what is not synced survives in part or not at all, open files are dead.
    pub fn crash(&mut self, seed: u64) {
        let mut state = self.lock();
        let mut random = Random::new(seed);
        state.life += 1;
        state.faults.clear();
        for inode in state.inodes.values_mut() {
            inode.crash(&mut random);
        }
        let mut names: Vec<String> = state.names.keys().cloned().collect();
        names.extend(state.durable_names.keys().cloned());
        names.sort_unstable();
        names.dedup();
        for name in names {
            let old = state.durable_names.get(&name).copied();
            let new = state.names.get(&name).copied();
            match if random.below(2) == 0 { old } else { new } {
                Some(inode) => state.names.insert(name, inode),
                None => state.names.remove(&name),
            };
        }
        state.durable_names = state.names.clone();
    }

    /// The process ends, the machine goes on: nothing is lost, open files are dead, and what was
    /// not synced is still not synced.
    pub fn kill(&mut self) {
        let mut state = self.lock();
        state.life += 1;
        state.faults.clear();
    }

    /// From now on this fault waits for its moment.
    pub fn inject(&mut self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Inverts one bit of a file, on stable storage as well. Does nothing beyond its end.
    pub fn flip(&mut self, name: &str, bit: usize) {
        self.edit(name, |bytes| {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Changes the bytes of a file behind the log's back, on stable storage as well. A file that
    /// does not exist is created.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let id = match state.names.get(name) {
            Some(id) => *id,
            None => state.add(name),
        };
        state.durable_names.insert(name.to_owned(), id);
        let inode = state.inodes.entry(id).or_default();
        change(&mut inode.content);
        inode.durable = inode.content.clone();
        inode.unsynced.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Medium for Faulty {
    type File = FaultyFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.lock();
        let inode = state.names.get(name).and_then(|id| state.inodes.get(id));
        inode.map(|inode| inode.content.clone()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.read(name).map(|content| content.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let content = self.read(name)?;
        let from = usize::try_from(offset).map_or(content.len(), |at| at.min(content.len()));
        let to = from.saturating_add(bytes).min(content.len());
        Ok(content[from..to].to_vec())
    }

    fn create(&mut self, name: &str) -> io::Result<FaultyFile> {
        let mut state = self.lock();
        state.live()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.add(name);
        Ok(FaultyFile { state: Arc::clone(&self.state), inode, life: state.life, end: 0 })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        let removed = state.names.remove(name);
        removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        if state.take_fault(|fault| *fault == Fault::SyncDirectory).is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn nonce(&mut self) -> u64 {
        self.lock().random.next()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

impl MediumFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let start = self.end;
        let (written, result) = self.write(start, bytes)?;
        self.end += written;
        result
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let len = self.lock_alive()?.inodes.entry(self.inode).or_default().content.len();
        self.write(len, &vec![0; bytes])?.1
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.lock_alive()?;
        state.live()?;
        let fails = state.take_fault(|fault| *fault == Fault::Sync).is_some();
        let inode = state.inodes.entry(self.inode).or_default();
        if fails {
            inode.unsynced.clear();
            return Err(io::Error::from_raw_os_error(EIO));
        }
        for range in std::mem::take(&mut inode.unsynced) {
            inode.persist(range);
        }
        Ok(())
    }
}

impl FaultyFile {
    /// How many bytes were written, and how it ended.
    fn write(&self, start: usize, bytes: &[u8]) -> io::Result<(usize, io::Result<()>)> {
        let mut state = self.lock_alive()?;
        state.live()?;
        let len = state.inodes.entry(self.inode).or_default().content.len();
        let room = len.saturating_sub(start);
        let (written, failure) = state.admit(bytes.len(), room);
        let inode = state.inodes.entry(self.inode).or_default();
        let end = start + written;
        inode.content.resize(len.max(end), 0);
        inode.content[start..end].copy_from_slice(&bytes[..written]);
        inode.unsynced.push(start..end);
        let result = failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)));
        Ok((written, result))
    }

    fn lock_alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("the process that opened this file has ended"))
        }
    }
}

#[derive(Default, Debug)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    faults: Vec<Fault>,
    /// Counts crashes and kills; files of an earlier life are dead.
    life: u64,
    random: Random,
}

impl State {
    fn add(&mut self, name: &str) -> u64 {
        let id = self.inodes.len() as u64;
        self.inodes.insert(id, Inode::default());
        self.names.insert(name.to_owned(), id);
        id
    }

    /// Whether the process can still change something.
    fn live(&mut self) -> io::Result<()> {
        let death = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::Death(left) => Some(left),
            Fault::Sync | Fault::SyncDirectory | Fault::Space(_) | Fault::ShortAppend(_) => None,
        });
        match death {
            Some(0) => Err(io::Error::from_raw_os_error(EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_fault(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let index = self.faults.iter().position(wanted)?;
        Some(self.faults.remove(index))
    }

    /// How many bytes of a write are written, and how it fails. The file has `room` for some
    /// without growing.
    fn admit(&mut self, len: usize, room: usize) -> (usize, Option<i32>) {
        let short = |fault: &Fault| matches!(fault, Fault::ShortAppend(_));
        if let Some(Fault::ShortAppend(written)) = self.take_fault(short) {
            return (written.min(len), Some(EIO));
        }
        let space = |fault: &Fault| matches!(fault, Fault::Space(_));
        if let Some(Fault::Space(left)) = self.take_fault(space) {
            let growth = len.saturating_sub(room);
            if growth > left {
                return (room + left, Some(ENOSPC));
            }
            self.faults.push(Fault::Space(left - growth));
        }
        (len, None)
    }
}

#[derive(Default, Debug)]
struct Inode {
    /// What a process reads.
    content: Vec<u8>,
    /// What is on stable storage.
    durable: Vec<u8>,
    /// Parts of the content that are in no sync yet.
    unsynced: Vec<std::ops::Range<usize>>,
}

impl Inode {
    fn persist(&mut self, range: std::ops::Range<usize>) {
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.content[range]);
    }

    /// Of each unsynced write all, nothing, or some sectors survive; the length may survive
    /// without the bytes.
    fn crash(&mut self, random: &mut Random) {
        for range in std::mem::take(&mut self.unsynced) {
            let odds = [0, 0, 50, 90, 100, 100][random.index(6)];
            let mut start = range.start;
            while start < range.end {
                let end = range.end.min((start / SECTOR + 1) * SECTOR);
                if random.below(100) < odds {
                    self.persist(start..end);
                }
                start = end;
            }
        }
        if random.below(4) == 0 && self.durable.len() < self.content.len() {
            self.durable.resize(self.content.len(), 0);
        }
        self.content = self.durable.clone();
    }
}

/// Xorshift: good enough to choose faults, and the same everywhere.
#[derive(Clone, Default, Debug)]
struct Random {
    state: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and the state must not be 0.
        let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self { state: (mixed ^ (mixed >> 31)) | 1 }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("it is below a usize")
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere leaves whole values behind.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

const SECTOR: usize = 512;
/// The numbers of Linux, on every system: only messages show them.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
