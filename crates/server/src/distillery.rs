//! Makes checkpoints beside the committer: what was synced long ago is read again, and what is
//! over goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bellbird_store::{Distillation, Distilled, Log, Medium, StoreError};

use crate::committer::Watch;

/// At most one checkpoint is being made.
#[derive(Default)]
pub(crate) struct Distillery {
    running: Option<JoinHandle<Result<Distilled, StoreError>>>,
    is_over: Arc<AtomicBool>,
    /// Failed: it is tried again when there is more to do.
    failed: Option<Distillation>,
}

impl Distillery {
    /// Takes in what is made, and begins the next one if the log is long enough.
    pub(crate) fn tend<M>(&mut self, log: &mut Log<M>, watch: &Watch)
    where
        M: Medium + Send + 'static,
    {
        if let Some(thread) = self.running.take_if(|thread| thread.is_finished()) {
            self.take_in(thread, log, watch);
        }
        if self.running.is_some() {
            return;
        }
        let Some(distillation) = log.distillation() else { return };
        if self.failed.as_ref() == Some(&distillation) {
            return;
        }
        self.begin(distillation, log);
    }

    fn begin<M>(&mut self, distillation: Distillation, log: &Log<M>)
    where
        M: Medium + Send + 'static,
    {
        self.failed = Some(distillation.clone());
        let (medium, is_over) = (log.medium().clone(), self.is_over.clone());
        let run = move || distillation.run(&medium, &|| !is_over.load(Ordering::Acquire));
        match thread::Builder::new().name("distillery".into()).spawn(run) {
            Ok(thread) => self.running = Some(thread),
            Err(error) => log::warn!("no checkpoint of the log: {error}; the log grows on"),
        }
    }

    /// Begins a checkpoint of all there is, for the room it may bring, whether an earlier one
    /// failed or not.
    pub(crate) fn make_room<M>(&mut self, log: &mut Log<M>, watch: &Watch) -> Result<(), StoreError>
    where
        M: Medium + Send + 'static,
    {
        self.tend(log, watch);
        if self.running.is_none()
            && let Some(distillation) = log.distillation_for_room()?
        {
            self.begin(distillation, log);
        }
        Ok(())
    }

    /// What is not made by now is not made: the next start makes it.
    pub(crate) fn end<M: Medium>(&mut self, log: &mut Log<M>, watch: &Watch) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.running.take() {
            self.take_in(thread, log, watch);
        }
    }

    fn take_in<M: Medium>(
        &mut self,
        thread: JoinHandle<Result<Distilled, StoreError>>,
        log: &mut Log<M>,
        watch: &Watch,
    ) {
        let distilled = match thread.join() {
            Ok(Ok(distilled)) => distilled,
            Ok(Err(StoreError::Interrupted)) => return,
            Ok(Err(error)) => {
                return log::warn!(
                    "no checkpoint of the log: {error}; nothing is lost, and the log grows on \
                     until one succeeds"
                );
            }
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.failed = None;
        log.distilled(&distilled);
        watch.count_checkpoint();
        let Distilled { read_bytes, bytes, records, read, left, .. } = &distilled;
        log::debug!("checkpoint: {read_bytes} bytes of the log became {bytes}, {records} records");
        if read.damaged_places > 0 {
            log::error!("damage was found while a checkpoint was made: {read}");
        }
        for file in left {
            log::warn!("the log does not need this file any more and cannot remove it: {file}");
        }
    }
}
