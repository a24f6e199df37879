//! The files behind a medium in memory: what a process reads, what is on stable storage, and what
//! lies between.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::{EIO, ENOSPC, Fault};
use crate::medium::journal::{Event, Survivors};

#[derive(Clone, Default, Debug)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) next_inode: u64,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    /// What makes the names of the durable ones.
    pub(super) unsynced_names: Vec<Event>,
    pub(super) faults: Vec<Fault>,
    /// What all files may have together.
    pub(super) bytes_max: Option<usize>,
    /// Counts crashes and kills; files of an earlier life are dead.
    pub(super) life: u64,
    pub(super) random: Random,
    pub(super) journal: Option<Vec<Event>>,
}

impl State {
    /// Everything that changes files and names comes through here, and is done again from here.
    pub(super) fn change(&mut self, event: Event) {
        match &event {
            Event::Created { file, .. } => {
                self.inodes.insert(*file, Inode::default());
                self.next_inode = *file + 1;
                self.change_names(&event);
            }
            Event::Renamed { .. } | Event::Removed { .. } => self.change_names(&event),
            Event::Written { file, at, bytes } => self.inode(*file).write(*at, bytes, Kind::Data),
            Event::Reserved { file, at, bytes } => {
                self.inode(*file).write(*at, &vec![0; *bytes], Kind::Zeros);
            }
            Event::Synced { file } => self.inode(*file).sync(),
            Event::SyncFailed { file } => {
                let inode = self.inode(*file);
                inode.stray.append(&mut inode.unsynced);
            }
            Event::DirectorySynced => {
                self.durable_names = self.names.clone();
                self.unsynced_names.clear();
            }
            Event::Crashed { seed } => self.crash(&mut Random::new(*seed)),
        }
        if let Some(journal) = &mut self.journal {
            journal.push(event);
        }
    }

    fn change_names(&mut self, event: &Event) {
        apply_to_names(&mut self.names, event);
        self.unsynced_names.push(event.clone());
    }

    /// What a process reads in the file of this name.
    pub(super) fn content(&self, name: &str) -> io::Result<&[u8]> {
        let inode = self.names.get(name).and_then(|file| self.inodes.get(file));
        inode.map(|inode| &*inode.content).ok_or(io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, file: u64) -> &mut Inode {
        self.inodes.entry(file).or_default()
    }

    /// The meanest that POSIX allows.
    fn crash(&mut self, random: &mut Random) {
        self.life += 1;
        self.faults.clear();
        for inode in self.inodes.values_mut() {
            inode.crash(random);
        }
        let mut names: Vec<String> = self.names.keys().cloned().collect();
        names.extend(self.durable_names.keys().cloned());
        names.sort_unstable();
        names.dedup();
        for name in names {
            let old = self.durable_names.get(&name).copied();
            let new = self.names.get(&name).copied();
            match if random.below(2) == 0 { old } else { new } {
                Some(inode) => self.names.insert(name, inode),
                None => self.names.remove(&name),
            };
        }
        self.durable_names = self.names.clone();
        self.unsynced_names.clear();
    }

    pub(super) fn crash_leaving(&mut self, survivors: Survivors, random: &mut Random) {
        self.life += 1;
        self.faults.clear();
        for inode in self.inodes.values_mut() {
            inode.crash_leaving(survivors, random);
        }
        let odds = match survivors {
            Survivors::Nothing => 0,
            Survivors::Everything => 100,
            Survivors::Some => [0, 30, 70, 100][random.index(4)],
        };
        let mut lost: Vec<Event> = Vec::new();
        for event in std::mem::take(&mut self.unsynced_names) {
            if random.below(100) >= odds || lost.iter().any(|before| event.rests_on(before)) {
                lost.push(event);
            } else {
                apply_to_names(&mut self.durable_names, &event);
            }
        }
        self.names = self.durable_names.clone();
    }

    /// A copy of all that can still be seen, or could after a crash.
    pub(super) fn fork(&self) -> Self {
        let created = self.unsynced_names.iter().filter_map(|event| match event {
            Event::Created { file, .. } => Some(file),
            Event::Written { .. }
            | Event::Reserved { .. }
            | Event::Synced { .. }
            | Event::SyncFailed { .. }
            | Event::Renamed { .. }
            | Event::Removed { .. }
            | Event::DirectorySynced
            | Event::Crashed { .. } => None,
        });
        let files = self.names.values().chain(self.durable_names.values()).chain(created);
        let inodes = files.filter_map(|file| Some((*file, self.inodes.get(file)?.clone())));
        Self {
            inodes: inodes.collect(),
            next_inode: self.next_inode,
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            unsynced_names: self.unsynced_names.clone(),
            faults: self.faults.clone(),
            bytes_max: self.bytes_max,
            life: self.life,
            random: self.random.clone(),
            journal: None,
        }
    }

    pub(super) fn add(&mut self, name: &str) -> u64 {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Inode::default());
        self.names.insert(name.to_owned(), id);
        id
    }

    /// Whether the next operation that changes something does.
    pub(super) fn live(&mut self) -> io::Result<()> {
        let mut failure = None;
        self.faults.retain_mut(|fault| {
            let (left, errno, is_over) = match fault {
                Fault::Death(left) => (left, EIO, false),
                Fault::Refusal(left) => (left, EIO, true),
                Fault::Full(left) => (left, ENOSPC, true),
                Fault::Sync
                | Fault::SyncDirectory
                | Fault::Space(_)
                | Fault::ShortAppend(_)
                | Fault::Unreadable(_) => return true,
            };
            if let Some(less) = left.checked_sub(1) {
                *left = less;
                return true;
            }
            failure = Some(errno);
            !is_over
        });
        failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Whether the next look at something succeeds.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let mut failure = None;
        self.faults.retain_mut(|fault| {
            let Fault::Unreadable(left) = fault else { return true };
            if let Some(less) = left.checked_sub(1) {
                *left = less;
                return true;
            }
            failure = Some(EIO);
            false
        });
        failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    pub(super) fn take_fault(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let index = self.faults.iter().position(wanted)?;
        Some(self.faults.remove(index))
    }

    /// How many bytes of a write at this place are written, and how it ends.
    pub(super) fn admit(
        &mut self,
        file: u64,
        at: usize,
        len: usize,
    ) -> io::Result<(usize, io::Result<()>)> {
        self.live()?;
        let room = self.inode(file).content.len().saturating_sub(at);
        let short = |fault: &Fault| matches!(fault, Fault::ShortAppend(_));
        if let Some(Fault::ShortAppend(written)) = self.take_fault(short) {
            return Ok((written.min(len), Err(io::Error::from_raw_os_error(EIO))));
        }
        let space = |fault: &Fault| matches!(fault, Fault::Space(_));
        if let Some(Fault::Space(left)) = self.take_fault(space) {
            let growth = len.saturating_sub(room);
            if growth > left {
                return Ok((room + left, Err(io::Error::from_raw_os_error(ENOSPC))));
            }
            self.faults.push(Fault::Space(left - growth));
        }
        if let Some(left) = self.free_bytes()
            && len.saturating_sub(room) > left
        {
            return Ok((room + left, Err(io::Error::from_raw_os_error(ENOSPC))));
        }
        Ok((len, Ok(())))
    }

    /// Beside what the files have that have names.
    pub(super) fn free_bytes(&self) -> Option<usize> {
        let inodes = self.names.values().filter_map(|id| self.inodes.get(id));
        let used: usize = inodes.map(|inode| inode.content.len()).sum();
        Some(self.bytes_max?.saturating_sub(used))
    }
}

fn apply_to_names(names: &mut BTreeMap<String, u64>, event: &Event) {
    match event {
        Event::Created { name, file } => {
            names.insert(name.clone(), *file);
        }
        Event::Renamed { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Event::Removed { name } => {
            names.remove(name);
        }
        Event::Written { .. }
        | Event::Reserved { .. }
        | Event::Synced { .. }
        | Event::SyncFailed { .. }
        | Event::DirectorySynced
        | Event::Crashed { .. } => {}
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct Inode {
    /// What a process reads.
    content: Vec<u8>,
    /// What is on stable storage.
    durable: Vec<u8>,
    /// Parts of the content that are in no sync yet.
    unsynced: Vec<Part>,
    /// Parts that a failed sync left behind: no other sync writes them.
    stray: Vec<Part>,
}

/// A part of a file that was written.
#[derive(Clone, Debug)]
struct Part {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Data,
    /// Written ahead; data stands there now, maybe.
    Zeros,
}

impl Inode {
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    /// Changes its bytes, on stable storage as well.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.content);
        self.durable = self.content.clone();
        self.unsynced.clear();
        self.stray.clear();
    }

    fn write(&mut self, at: usize, bytes: &[u8], kind: Kind) {
        let range = at..at + bytes.len();
        self.content.resize(self.content.len().max(range.end), 0);
        self.content[range.clone()].copy_from_slice(bytes);
        self.unsynced.push(Part { range, kind });
    }

    fn sync(&mut self) {
        for part in std::mem::take(&mut self.unsynced) {
            self.persist(part.range);
        }
    }

    fn persist(&mut self, range: Range<usize>) {
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.content[range]);
    }

    /// Of each sector of a part the odds decide whether it survives.
    fn persist_some(&mut self, range: Range<usize>, odds: u64, random: &mut Random) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / SECTOR + 1) * SECTOR);
            if random.below(100) < odds {
                self.persist(start..end);
            }
            start = end;
        }
    }

    /// Of each unsynced write all, nothing, or some sectors survive; the length may survive
    /// without the bytes.
    fn crash(&mut self, random: &mut Random) {
        for part in std::mem::take(&mut self.unsynced) {
            let odds = [0, 0, 50, 90, 100, 100][random.index(6)];
            self.persist_some(part.range, odds, random);
        }
        if random.below(4) == 0 && self.durable.len() < self.content.len() {
            self.durable.resize(self.content.len(), 0);
        }
        self.stray.clear();
        self.content = self.durable.clone();
    }

    pub(super) fn crash_leaving(&mut self, survivors: Survivors, random: &mut Random) {
        let mut parts = std::mem::take(&mut self.stray);
        parts.append(&mut self.unsynced);
        // All of some writes, or some of all; the first ones, or any.
        let style = random.index(4);
        let first_lost = random.index(parts.len() + 1);
        for (index, Part { range, kind }) in parts.iter().enumerate() {
            let odds = match (survivors, style) {
                (Survivors::Nothing, _) => 0,
                (Survivors::Everything, _) => 100,
                (Survivors::Some, 0) => [0, 100][random.index(2)],
                (Survivors::Some, 1) => 50,
                (Survivors::Some, 2) if index < first_lost => 100,
                (Survivors::Some, 2) if index == first_lost => [0, 50, 90][random.index(3)],
                (Survivors::Some, 2) => 0,
                (Survivors::Some, _) => [0, 10, 50, 90, 100][random.index(5)],
            };
            match kind {
                Kind::Data => self.persist_some(range.clone(), odds, random),
                // What was written over them is a write of its own.
                Kind::Zeros if random.below(100) < odds => {
                    self.durable.resize(self.durable.len().max(range.end), 0);
                }
                Kind::Zeros => {}
            }
        }
        if survivors == Survivors::Some && random.below(3) == 0 && !parts.is_empty() {
            // As long as it was after some write, whatever else survived.
            let end = parts[random.index(parts.len())].range.end;
            self.durable.resize(self.durable.len().max(end), 0);
        }
        self.content = self.durable.clone();
    }
}

/// Xorshift: good enough to choose faults, and the same everywhere.
#[derive(Clone, Default, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and the state must not be 0.
        let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self { state: (mixed ^ (mixed >> 31)) | 1 }
    }

    pub(super) fn next(&mut self) -> u64 {
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

const SECTOR: usize = 512;
