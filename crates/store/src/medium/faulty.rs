//! A medium in memory that loses what it may lose, and fails when told to.
//!
//! It is as mean as POSIX allows: unsynced bytes survive a crash in any part and order, unsynced
//! names in any combination. Same seed, same crash.

mod disk;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::medium::journal::{Event, Survivors};
use crate::medium::{Medium, MediumFile};

use disk::{Random, State};

/// Files in memory. Clones share them: keep one to crash what another one writes.
#[derive(Clone, Debug)]
pub struct Faulty {
    state: Arc<Mutex<State>>,
    stall: Arc<Stall>,
}

/// Syncs that take as long as somebody wants.
#[derive(Default, Debug)]
struct Stall {
    /// Whether syncs last, and how many of them do.
    held: Mutex<(bool, usize)>,
    has_changed: Condvar,
}

impl Stall {
    fn change(&self, change: impl FnOnce(&mut (bool, usize))) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.has_changed.notify_all();
    }

    fn wait_while(&self, mut lasts: impl FnMut((bool, usize)) -> bool) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.has_changed.wait_while(held, |held| lasts(*held)));
    }
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
    /// So many more operations change something; the next one fails (EIO) and does nothing.
    Refusal(usize),
    /// The same, and it fails because the volume is full (ENOSPC).
    Full(usize),
    /// So many more looks at names, lengths or bytes; the next one fails (EIO).
    Unreadable(usize),
    /// So many more operations change something; then the process can do nothing any more but
    /// crash.
    Death(usize),
}

/// An open file of a [`Faulty`].
#[derive(Debug)]
pub struct FaultyFile {
    state: Arc<Mutex<State>>,
    stall: Arc<Stall>,
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
        Self { state: Arc::new(Mutex::new(state)), stall: Arc::default() }
    }

    /// The power fails: what is not synced survives in part or not at all, open files are dead.
    pub fn crash(&mut self, seed: u64) {
        self.lock().change(Event::Crashed { seed });
    }

    /// The power fails, and of what is not synced this much survives; the seed decides what.
    pub fn crash_leaving(&mut self, survivors: Survivors, seed: u64) {
        self.lock().crash_leaving(survivors, &mut Random::new(seed));
    }

    /// The process ends, the machine goes on: nothing is lost, open files are dead, and what was
    /// not synced is still not synced.
    pub fn kill(&mut self) {
        let mut state = self.lock();
        state.life += 1;
        state.faults.clear();
    }

    /// From now on everything that changes something is written down.
    pub fn record(&mut self) {
        self.lock().journal.get_or_insert_default();
    }

    /// What was written down so far.
    pub fn journal(&self) -> Vec<Event> {
        self.lock().journal.clone().unwrap_or_default()
    }

    /// How much of it there is.
    pub fn journal_len(&self) -> usize {
        self.lock().journal.as_ref().map_or(0, Vec::len)
    }

    /// Does what was written down of another medium, which was the same so far.
    pub fn redo(&mut self, event: &Event) {
        self.lock().change(event.clone());
    }

    /// Another place that is just like this one, down to what is not synced.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().fork())), stall: Arc::default() }
    }

    /// From now on the syncs of files last until this is taken back.
    pub fn stall(&mut self, is_held: bool) {
        self.stall.change(|held| held.0 = is_held);
    }

    /// Waits until a sync lasts.
    pub fn wait_for_stalled(&self) {
        self.stall.wait_while(|(_, syncs)| syncs == 0);
    }

    /// From now on this fault waits for its moment.
    pub fn inject(&mut self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Whether a fault still waits for its moment.
    pub fn is_awaiting_fault(&self) -> bool {
        !self.lock().faults.is_empty()
    }

    /// From now on all files together have room for so many bytes at most (ENOSPC beyond), or for
    /// as many as there are.
    pub fn bound(&mut self, bytes_max: Option<usize>) {
        self.lock().bytes_max = bytes_max;
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
        state.inode(id).edit(change);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Medium for Faulty {
    type File = FaultyFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.look()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        state.look()?;
        state.content(name).map(<[u8]>::to_vec)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let mut state = self.lock();
        state.look()?;
        state.content(name).map(|content| content.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        state.look()?;
        let content = state.content(name)?;
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
        let inode = state.next_inode;
        state.change(Event::Created { name: name.to_owned(), file: inode });
        let (life, stall) = (state.life, Arc::clone(&self.stall));
        Ok(FaultyFile { state: Arc::clone(&self.state), stall, inode, life, end: 0 })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Event::Renamed { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Event::Removed { name: name.to_owned() });
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        state.live()?;
        if state.take_fault(|fault| *fault == Fault::SyncDirectory).is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.change(Event::DirectorySynced);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.free_bytes().map_or(u64::MAX, |bytes| bytes as u64))
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
        let mut state = self.lock_alive()?;
        let (at, file) = (self.end, self.inode);
        let (written, result) = state.admit(file, at, bytes.len())?;
        state.change(Event::Written { file, at, bytes: bytes[..written].to_vec() });
        drop(state);
        result?;
        self.end += bytes.len();
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let mut state = self.lock_alive()?;
        let file = self.inode;
        let at = state.inode(file).len();
        let (bytes, result) = state.admit(file, at, bytes)?;
        state.change(Event::Reserved { file, at, bytes });
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        self.stall.change(|held| held.1 += 1);
        self.stall.wait_while(|(is_held, _)| is_held);
        self.stall.change(|held| held.1 -= 1);
        let mut state = self.lock_alive()?;
        state.live()?;
        let file = self.inode;
        if state.take_fault(|fault| *fault == Fault::Sync).is_some() {
            state.change(Event::SyncFailed { file });
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.change(Event::Synced { file });
        Ok(())
    }
}

impl FaultyFile {
    fn lock_alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.state);
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("the process that opened this file has ended"))
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere leaves whole values behind.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The numbers of Linux, on every system: only messages show them.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
