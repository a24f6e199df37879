//! Files that others change while the broker runs: certificates, keys and lists that are renewed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGUSR2;

/// Looks at files now and then, and says when they have changed.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    known: Arc<Mutex<Marks>>,
    has_changed: Arc<AtomicBool>,
}

/// What files were like before they were read.
pub(crate) type Marks = Vec<(PathBuf, Option<Mark>)>;

impl Watch {
    /// Begins to look at these files. SIGUSR2 wakes the main thread when they have changed.
    pub(crate) fn begin(known: Marks) -> io::Result<Self> {
        let watch = Self { known: Arc::new(Mutex::new(known)), ..Self::default() };
        let own = watch.clone();
        thread::Builder::new().name("files".into()).spawn(move || own.run())?;
        Ok(watch)
    }

    /// Looks at these from now on. `read` says what they were like before they were read.
    pub(crate) fn look_at(&self, files: Vec<PathBuf>, read: &Marks) {
        let mark = |(path, now): (PathBuf, Option<Mark>)| {
            let before = read.iter().find(|(known, _)| *known == path).map(|(_, mark)| *mark);
            (path, before.unwrap_or(now))
        };
        *self.known() = marks(files).into_iter().map(mark).collect();
    }

    /// Whether they have changed since the last call.
    pub(crate) fn take_change(&self) -> bool {
        self.has_changed.swap(false, Ordering::Relaxed)
    }

    fn run(&self) {
        let mut last = Marks::new();
        loop {
            thread::sleep(LOOK_EVERY);
            let mut known = self.known();
            let now = marks(known.iter().map(|(path, _)| path.clone()).collect());
            // A certificate and its key are written one after the other: not before both rest.
            if now != *known && now == last {
                known.clone_from(&now);
                self.has_changed.store(true, Ordering::Relaxed);
                let _raised = signal_hook::low_level::raise(SIGUSR2);
            }
            last = now;
        }
    }

    fn known(&self) -> MutexGuard<'_, Marks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What files are like.
pub(crate) fn marks(files: Vec<PathBuf>) -> Marks {
    files.into_iter().map(|path| (path.clone(), Mark::of(&path))).collect()
}

/// What tells a file from what it was before. A link is looked through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            changed_at: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// A renewal is weeks before its time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
