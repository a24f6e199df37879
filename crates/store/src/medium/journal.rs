//! What was done to a medium in memory, one thing after the other: enough to do it again, as far
//! as one likes, and to lose the power there.

/// Something that changed a medium.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There is a new, empty file of this number.
    Created {
        /// Its name.
        name: String,
        /// How writes and syncs call it, whatever its name is by then.
        file: u64,
    },
    /// Bytes were written.
    Written {
        /// Into which file.
        file: u64,
        /// Where the first of them stands.
        at: usize,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Zeros were written ahead.
    Reserved {
        /// Into which file.
        file: u64,
        /// Where the first of them stands.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// What was written to this file is on stable storage.
    Synced {
        /// The file.
        file: u64,
    },
    /// A sync failed: what it should have written may survive in part, whatever is synced later.
    SyncFailed {
        /// The file.
        file: u64,
    },
    /// A file has another name.
    Renamed {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// A file is gone.
    Removed {
        /// Its name.
        name: String,
    },
    /// All names are on stable storage.
    DirectorySynced,
    /// The power failed, and what was lost followed from this seed.
    Crashed {
        /// The seed.
        seed: u64,
    },
}

/// What survives a loss of power beside what was synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// Any part that a file system with a journal of its names may show: of each write all, none
    /// or some sectors, in any order; lengths apart from bytes; names as if some of the changes
    /// had not come yet, though none of them without those it rests on.
    Some,
}

impl Event {
    /// The names that it changes.
    fn names(&self) -> [Option<&str>; 2] {
        match self {
            Self::Created { name, .. } | Self::Removed { name } => [Some(name), None],
            Self::Renamed { from, to } => [Some(from), Some(to)],
            Self::Written { .. }
            | Self::Reserved { .. }
            | Self::Synced { .. }
            | Self::SyncFailed { .. }
            | Self::DirectorySynced
            | Self::Crashed { .. } => [None, None],
        }
    }

    /// Whether it cannot have happened without the other one, which came before.
    pub(super) fn rests_on(&self, before: &Self) -> bool {
        let others = before.names();
        self.names().iter().any(|name| name.is_some() && others.contains(name))
    }
}
