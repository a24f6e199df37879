//! Makes checkpoints beside the committer: what was synced long ago is read again, and what is
//! over goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellbird_core::Position;
use bellbird_store::{Distillation, Distilled, Log, Medium, StoreError};

use crate::alive::Alive;
use crate::committer::Watch;

/// At most one checkpoint is being made.
pub(crate) struct Distillery {
    running: Option<JoinHandle<Result<Distilled, StoreError>>>,
    is_over: Arc<AtomicBool>,
    /// Failed: it is tried again when there is more to do.
    failed: Option<Distillation>,
    /// The last one that was made because most of the one before was dead.
    last_of_dead: Option<OfDead>,
    alive: Alive,
}

/// What a checkpoint was made for, if not for the length of the log.
struct OfDead {
    /// The messages that were needed when it began, as the shards count them.
    alive: u64,
    /// Those in the checkpoint before it.
    messages: u64,
    /// Where the log ended then.
    next: Position,
    /// Whether it was made for what the one before it was made for in vain.
    is_second: bool,
}

impl Distillery {
    pub(crate) fn new(alive: Alive) -> Self {
        let (running, failed, is_over) = (None, None, Arc::default());
        Self { running, is_over, failed, last_of_dead: None, alive }
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
                // It does not have what ended since its last segment: another one may be due.
                self.last_of_dead = None;
                self.begin(distillation, log);
            }
        } else if log.is_mostly_dead(|| self.alive.messages()) && self.may_help(log) {
            let (alive, messages) = (self.alive.messages(), log.checkpoint_messages());
            let is_second = !self.has_helped(log, alive);
            let next = log.next_position();
            self.last_of_dead = Some(OfDead { alive, messages, next, is_second });
            match log.distillation_for_room() {
                Ok(distillation) => distillation.into_iter().for_each(|it| self.begin(it, log)),
                // It is what room is made for.
                Err(StoreError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether another one may bring something back. The shards count ahead of the log: the
    /// records of what they count as over may have come since, so one in vain is made once more.
    fn may_help<M: Medium>(&self, log: &Log<M>) -> bool {
        self.has_helped(log, self.alive.messages())
            || self
                .last_of_dead
                .as_ref()
                .is_some_and(|last| !last.is_second && last.next < log.next_position())
    }

    /// Whether the last one brought half of it back, or half of the rest is over since; else
    /// something is alive that the shards do not count.
    fn has_helped<M: Medium>(&self, log: &Log<M>, alive: u64) -> bool {
        self.last_of_dead.as_ref().is_none_or(|last| {
            log.checkpoint_messages() <= last.messages / 2 || alive < last.alive.div_ceil(2)
        })
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

/// Without an end in order, after a failure of the log, what runs is not wanted either.
impl Drop for Distillery {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// Looks at whether a checkpoint is made, while nothing is written.
const TAKE_IN_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bellbird_codec::QoS;
    use bellbird_core::message::{Message, MessageParts};
    use bellbird_core::record::{Record, Retain};
    use bellbird_core::{MessageId, Time};
    use bellbird_store::{Batch, Faulty, Options};
    use bellbird_topics::{Namespace, TopicName};

    use super::*;
    use crate::view::SharedView;

    const TOPICS: u64 = 40;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Each topic gets a message, or loses it.
    fn retain(log: &mut Log<Faulty>, round: u64, topics: u64, payload: Option<&[u8]>) {
        for number in 0..topics {
            let (order, at) = (round * TOPICS + number + 1, Time(round * 100_000 + number));
            let (namespace, topic) = (Namespace(0), format!("t/{number}"));
            let message = payload.map(|payload| {
                Message::new(&MessageParts {
                    id: MessageId { start: 1, shard: 0, counter: order },
                    namespace,
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    expires_at: None,
                    topic: TopicName::parse(&topic).unwrap(),
                    properties: &[],
                    payload,
                })
            });
            let topic = topic.as_str().into();
            let mut batch = Batch::new();
            batch.push(&Record::Retain(Retain { order, at, namespace, topic, message }));
            log.append(&[&batch], &mut Vec::new()).unwrap();
        }
        log.sync().unwrap();
    }

    /// A checkpoint that was begun for the length of the log has nothing of what ended since the
    /// last segment did, though the shards count that as over already.
    #[test]
    fn what_ended_while_a_checkpoint_was_made_goes_with_the_next() {
        let options = Options { segment_bytes: 4096 };
        let mut log = Log::open(Faulty::new(1), options, &mut |_, _| {}).unwrap().0;
        let mut distillery = Distillery::new(Alive::new(1, Arc::new(SharedView::new(0))));
        let watch = Watch::default();
        retain(&mut log, 0, TOPICS, Some(&[0xA5; 500]));
        distillery.tend(&mut log, &watch).unwrap();
        assert!(distillery.running.is_some());
        retain(&mut log, 1, TOPICS, None);
        // What ended within a minute is kept as an end.
        retain(&mut log, 2, 1, None);
        let until = Instant::now() + PATIENCE;
        let mut most = 0;
        loop {
            distillery.tend(&mut log, &watch).unwrap();
            most = most.max(log.checkpoint_messages());
            if most > TOPICS / 2 && log.checkpoint_messages() <= 1 {
                break;
            }
            assert!(Instant::now() < until, "{} stay", log.checkpoint_messages());
            thread::yield_now();
        }
    }
}
