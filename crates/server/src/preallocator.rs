//! Makes the log's next file beside the committer, so that nobody waits for its zeros.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bellbird_store::{Log, Medium, Preallocated, Preallocation, StoreError};

/// At most one file is being made.
pub(crate) struct Preallocator<F> {
    running: Option<JoinHandle<Result<Preallocated<F>, StoreError>>>,
    is_over: Arc<AtomicBool>,
    /// Failed: it is tried again with the next segment.
    failed: Option<Preallocation>,
}

impl<F: Send + 'static> Preallocator<F> {
    pub(crate) fn new() -> Self {
        Self { running: None, is_over: Arc::default(), failed: None }
    }

    /// Takes in what is made, and begins the next one if the log is far enough and the volume has
    /// room for more than that.
    pub(crate) fn tend<M>(&mut self, log: &mut Log<M>, spare_bytes: u64)
    where
        M: Medium<File = F> + Send + 'static,
    {
        if let Some(thread) = self.running.take_if(|thread| thread.is_finished()) {
            self.take_in(thread, log);
        }
        if self.running.is_none()
            && let Some(preallocation) = log.preallocation()
            && preallocation.bytes() <= spare_bytes / 2
            && self.failed.as_ref() != Some(&preallocation)
        {
            self.begin(preallocation, log);
        }
    }

    /// What is not made by now is not made.
    pub(crate) fn end<M: Medium<File = F>>(&mut self, log: &mut Log<M>) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.running.take() {
            self.take_in(thread, log);
        }
    }

    fn begin<M>(&mut self, preallocation: Preallocation, log: &Log<M>)
    where
        M: Medium<File = F> + Send + 'static,
    {
        self.failed = Some(preallocation.clone());
        let (medium, is_over) = (log.medium().clone(), Arc::clone(&self.is_over));
        let run = move || preallocation.run(&medium, &|| !is_over.load(Ordering::Acquire));
        match thread::Builder::new().name("preallocator".into()).spawn(run) {
            Ok(thread) => self.running = Some(thread),
            Err(error) => log::debug!("no file for the next segment: {error}"),
        }
    }

    fn take_in<M: Medium<File = F>>(
        &mut self,
        thread: JoinHandle<Result<Preallocated<F>, StoreError>>,
        log: &mut Log<M>,
    ) {
        match thread.join() {
            Ok(Ok(file)) => {
                self.failed = None;
                log.preallocated(file);
            }
            Ok(Err(StoreError::Interrupted)) => {}
            // The log makes its file itself, and hears the same if it is anything serious.
            Ok(Err(error)) => log::warn!("no file was made for the log's next segment: {error}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Without an end in order, after a failure of the log, what runs is not wanted either.
impl<F> Drop for Preallocator<F> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bellbird_core::record::{Record, Settings};
    use bellbird_store::{Batch, Fault, Faulty, Options};

    use super::*;

    type Making = Preallocator<<Faulty as Medium>::File>;

    const SEGMENT_BYTES: u64 = 32_000;

    fn begun(medium: &Faulty) -> Log<Faulty> {
        let options = Options { segment_bytes: SEGMENT_BYTES };
        Log::open(medium.clone(), options, &mut |_, _| {}).unwrap().0
    }

    fn fill(log: &mut Log<Faulty>, records: usize) {
        for _ in 0..records {
            let mut batch = Batch::new();
            batch.push(&Record::Settings(Settings { key: "k".into(), value: [7; 900].into() }));
            log.append(&[&batch], &mut Vec::new()).unwrap();
        }
        log.sync().unwrap();
    }

    fn has_zeros(medium: &Faulty) -> bool {
        medium.list().unwrap().iter().any(|name| name == "zeros.tmp")
    }

    /// Until what runs is taken in.
    fn tend(preallocator: &mut Making, log: &mut Log<Faulty>, spare_bytes: u64) {
        let until = Instant::now() + Duration::from_secs(20);
        preallocator.tend(log, spare_bytes);
        while preallocator.running.is_some() {
            assert!(Instant::now() < until, "it is never made");
            thread::yield_now();
            preallocator.tend(log, 0);
        }
    }

    #[test]
    fn a_file_is_made_once_there_is_room_for_twice_as_much() {
        let medium = Faulty::new(1);
        let (mut log, mut preallocator) = (begun(&medium), Preallocator::new());
        fill(&mut log, 10);
        let bytes = log.preallocation().unwrap().bytes();
        tend(&mut preallocator, &mut log, 2 * bytes - 1);
        assert!(!has_zeros(&medium));
        tend(&mut preallocator, &mut log, 2 * bytes);
        assert!(has_zeros(&medium));
        assert_eq!(log.preallocation(), None);
        fill(&mut log, 1);
        assert!(!has_zeros(&medium), "it is the segment");
    }

    #[test]
    fn what_failed_is_tried_again_with_the_next_segment() {
        let mut medium = Faulty::new(1);
        let (mut log, mut preallocator) = (begun(&medium), Preallocator::new());
        fill(&mut log, 10);
        medium.inject(Fault::Sync);
        for _ in 0..3 {
            tend(&mut preallocator, &mut log, u64::MAX);
            assert!(!has_zeros(&medium));
        }
        fill(&mut log, 40);
        tend(&mut preallocator, &mut log, u64::MAX);
        assert!(has_zeros(&medium));
    }

    #[test]
    fn nothing_of_it_is_left_at_the_end() {
        let medium = Faulty::new(1);
        let (mut log, mut preallocator) = (begun(&medium), Preallocator::new());
        fill(&mut log, 10);
        preallocator.tend(&mut log, u64::MAX);
        preallocator.end(&mut log);
        log.close().unwrap();
        assert!(!has_zeros(&medium));
    }
}
