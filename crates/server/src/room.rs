//! The room on the volume of the log: how much there is, and what that means.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bellbird_core::Storage;
use bellbird_store::{Log, Medium, StoreError};

use crate::committer::Watch;
use crate::distillery::Distillery;
use crate::mailbox::{Letter, Slit};

/// What the committer knows of the volume.
pub(crate) struct Room {
    storage: Storage,
    /// When the medium was asked last, and what had been written by then.
    looked: Option<(Instant, u64)>,
    /// Since when it is full.
    full_since: Instant,
    /// When it last tried to make room.
    tried_at: Option<Instant>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { storage: Storage::Ready, looked: None, full_since: now, tried_at: None }
    }

    /// How long to wait for work at most: a full volume is looked at again and again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.storage == Storage::Full).then_some(RETRY)
    }

    /// Asks the medium, if it is time to, and tells every shard what has changed.
    pub(crate) fn look<M: Medium>(&mut self, log: &Log<M>, watch: &Watch, slits: &[Slit]) {
        let now = Instant::now();
        if !self.is_time(now, log.bytes_written()) {
            return;
        }
        self.looked = Some((now, log.bytes_written()));
        let free_bytes = free_bytes(log);
        watch.note_free_bytes(free_bytes);
        let bytes_min = watch.free_bytes_min();
        let storage = storage(free_bytes, bytes_min, self.storage);
        let is_held = self.storage == Storage::Full && now < self.full_since + FULL_AT_LEAST;
        if storage == self.storage || is_held {
            return;
        }
        self.tell(storage, watch, slits);
        let place = Place { path: log.medium().path(""), free_bytes, bytes_min };
        match storage {
            Storage::Full => log::warn!("the disk is full: {place}; {REFUSED}; {REMEDY}"),
            Storage::Ready | Storage::Failed => {
                log::info!("the disk has room again: {place}; messages are stored again");
            }
        }
    }

    /// What counts as room may be another.
    pub(crate) fn look_again(&mut self) {
        self.looked = None;
    }

    /// The system refused to write for want of room.
    pub(crate) fn is_out<M: Medium>(
        &mut self,
        log: &Log<M>,
        error: &StoreError,
        watch: &Watch,
        slits: &[Slit],
    ) {
        let free_bytes = free_bytes(log);
        watch.note_free_bytes(free_bytes);
        self.full_since = Instant::now();
        if self.storage == Storage::Full {
            return;
        }
        let place =
            Place { path: log.medium().path(""), free_bytes, bytes_min: watch.free_bytes_min() };
        self.tell(Storage::Full, watch, slits);
        log::warn!("the disk is full: {error}: {place}; {REFUSED}; {REMEDY}");
    }

    /// What the volume had at the last look beyond what ends a time without room; none while it is
    /// full.
    pub(crate) fn spare_bytes(&self, watch: &Watch) -> u64 {
        let bytes_min = watch.free_bytes_min();
        let is_ready = self.storage == Storage::Ready;
        if is_ready { watch.free_bytes().saturating_sub(enough_again(bytes_min)) } else { 0 }
    }

    /// Has the log give back what it can, now and then while the volume is full.
    pub(crate) fn make<M>(
        &mut self,
        log: &mut Log<M>,
        distillery: &mut Distillery,
        watch: &Watch,
    ) -> Result<(), StoreError>
    where
        M: Medium + Send + 'static,
    {
        let now = Instant::now();
        let is_time = self.tried_at.is_none_or(|at| now >= at + MAKE_ROOM_EVERY);
        if self.storage != Storage::Full || !is_time {
            return Ok(());
        }
        self.tried_at = Some(now);
        match distillery.make_room(log, watch) {
            Err(StoreError::Full { .. }) => Ok(()),
            result => result,
        }
    }

    fn is_time(&self, now: Instant, bytes_written: u64) -> bool {
        self.storage == Storage::Full
            || self.looked.is_none_or(|(at, bytes)| {
                now >= at + LOOK_EVERY || bytes_written >= bytes + LOOK_EVERY_BYTES
            })
    }

    fn tell(&mut self, storage: Storage, watch: &Watch, slits: &[Slit]) {
        self.storage = storage;
        if storage == Storage::Full {
            self.full_since = Instant::now();
        }
        watch.note_storage(storage);
        for slit in slits {
            slit.drop_in(Letter::Storage(storage));
        }
    }
}

/// What ends a time without room: a quarter more than the least, so that it does not come and go
/// with each message.
fn enough_again(bytes_min: u64) -> u64 {
    bytes_min.saturating_add(bytes_min / 4)
}

/// What so much room means.
fn storage(free_bytes: u64, bytes_min: u64, now: Storage) -> Storage {
    let enough = if now == Storage::Full { enough_again(bytes_min) } else { bytes_min };
    if free_bytes < enough { Storage::Full } else { Storage::Ready }
}

/// A medium that cannot tell has room until it refuses.
fn free_bytes<M: Medium>(log: &Log<M>) -> u64 {
    log.medium().free_bytes().unwrap_or(u64::MAX)
}

/// The volume in words.
struct Place {
    path: PathBuf,
    free_bytes: u64,
    bytes_min: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, free_bytes, bytes_min } = self;
        write!(
            f,
            "{} MiB are free on the volume of {}, and store.free_bytes_min is {} MiB",
            free_bytes >> 20,
            path.display(),
            bytes_min >> 20
        )
    }
}

const REFUSED: &str = "messages that must be stored are refused (0x97 to clients of 5.0, no \
                       acknowledgement to the others), and QoS 0 is delivered and not retained";
const REMEDY: &str = "free space there, and the broker goes on by itself";

/// Between two looks at a volume that is full, and between two tries to write what had no room.
pub(crate) const RETRY: Duration = Duration::from_millis(200);
/// What the system refused may fit at once and be too much again: not as often as that.
const FULL_AT_LEAST: Duration = Duration::from_secs(1);
/// Between two looks at one that has room, for it takes a system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_BYTES: u64 = 1 << 20;
/// A checkpoint reads and writes all that lives.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_later_than_it_goes() {
        let check = |free: u64, min: u64, now, expected| {
            assert_eq!(storage(free, min, now), expected, "{free} of {min} after {now:?}");
        };
        check(100, 100, Storage::Ready, Storage::Ready);
        check(99, 100, Storage::Ready, Storage::Full);
        check(100, 100, Storage::Full, Storage::Full);
        check(124, 100, Storage::Full, Storage::Full);
        check(125, 100, Storage::Full, Storage::Ready);
        check(0, 0, Storage::Ready, Storage::Ready);
        check(0, 0, Storage::Full, Storage::Ready);
    }
}
