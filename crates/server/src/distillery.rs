//! Makes checkpoints beside the committer: what was synced long ago is read again, and what is
//! over goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellbird_store::{Distillation, Distilled, Log, Medium, StoreError};

use crate::alive::Alive;
use crate::committer::Watch;

/// At most one checkpoint is being made.
pub(crate) struct Distillery {
    running: Option<JoinHandle<Result<Distilled, StoreError>>>,
    is_over: Arc<AtomicBool>,
    /// Failed: it is tried again when there is more to do.
    failed: Option<Distillation>,
    /// The messages that were needed when the last one began.
    alive_then: u64,
    alive: Alive,
}

impl Distillery {
    pub(crate) fn new(alive: Alive) -> Self {
        let (running, failed, is_over) = (None, None, Arc::default());
        Self { running, is_over, failed, alive_then: u64::MAX, alive }
    }

    /// How long the log may go without being tended: what is made is to be taken in.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.running.is_some().then_some(TAKE_IN_EVERY)
    }

    /// Takes in what is made, and begins the next one if the log is long enough.
    pub(crate) fn tend<M>(&mut self, log: &mut Log<M>, watch: &Watch) -> Result<(), StoreError>
    where
        M: Medium + Send + 'static,
    {
        if let Some(thread) = self.running.take_if(|thread| thread.is_finished()) {
            self.take_in(thread, log, watch);
        }
        if self.running.is_some() {
            return Ok(());
        }
        if let Some(distillation) = log.distillation() {
            if self.failed.as_ref() != Some(&distillation) {
                self.begin(distillation, log);
            }
        } else if log.is_mostly_dead(|| self.alive.messages())
            // Each brings at least half of it back, or is the last: something else is alive.
            && self.alive.messages() < self.alive_then.div_ceil(2)
        {
            match log.distillation_for_room() {
                Ok(distillation) => distillation.into_iter().for_each(|it| self.begin(it, log)),
                // It is what room is made for.
                Err(StoreError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn begin<M>(&mut self, distillation: Distillation, log: &Log<M>)
    where
        M: Medium + Send + 'static,
    {
        self.failed = Some(distillation.clone());
        let (medium, is_over) = (log.medium().clone(), self.is_over.clone());
        self.alive_then = self.alive.messages();
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
        self.tend(log, watch)?;
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

/// Looks at whether a checkpoint is made, while nothing is written.
const TAKE_IN_EVERY: Duration = Duration::from_millis(200);
