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

    /// Takes in what is made, and begins the next one if the log is far enough and `has_room`.
    pub(crate) fn tend<M>(&mut self, log: &mut Log<M>, has_room: bool)
    where
        M: Medium<File = F> + Send + 'static,
    {
        if let Some(thread) = self.running.take_if(|thread| thread.is_finished()) {
            self.take_in(thread, log);
        }
        if self.running.is_none()
            && has_room
            && let Some(preallocation) = log.preallocation()
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
