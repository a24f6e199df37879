//! What waits for one session.

use std::collections::VecDeque;

use crate::session::Queued;

/// Deliveries of QoS 1 and 2 in their order, and the bytes of their messages. It takes 8 bytes
/// until something waits, and gives back what it grew to.
#[derive(Default, Debug)]
pub(crate) struct Queue(Option<Box<Waiting>>);

#[derive(Default, Debug)]
struct Waiting {
    deliveries: VecDeque<Queued>,
    /// The sum of their messages.
    bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.deliveries.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the messages; one that waits in several queues counts in each.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    pub(crate) fn push_back(&mut self, delivery: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += delivery.message.size_bytes();
        waiting.deliveries.push_back(delivery);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let delivery = waiting.deliveries.pop_front()?;
        waiting.bytes -= delivery.message.size_bytes();
        self.settle();
        Some(delivery)
    }

    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&Queued) -> bool) {
        let Some(waiting) = &mut self.0 else { return };
        let Waiting { deliveries, bytes } = &mut **waiting;
        deliveries.retain(|delivery| {
            let stays = keeps(delivery);
            *bytes -= if stays { 0 } else { delivery.message.size_bytes() };
            stays
        });
        self.settle();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| &waiting.deliveries)
    }

    /// Gives the memory back if nothing waits: the session is idle.
    pub(crate) fn forget_if_empty(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// Busy sessions empty their queues all the time and keep a small one.
    fn settle(&mut self) {
        let is_grown = |waiting: &Waiting| {
            waiting.deliveries.is_empty() && waiting.deliveries.capacity() > KEEP
        };
        if self.0.as_deref().is_some_and(is_grown) {
            self.0 = None;
        }
    }
}

impl FromIterator<Queued> for Queue {
    fn from_iter<I: IntoIterator<Item = Queued>>(deliveries: I) -> Self {
        let mut queue = Self::default();
        deliveries.into_iter().for_each(|delivery| queue.push_back(delivery));
        queue
    }
}

/// Of deliveries; what had room for more goes once it is empty.
const KEEP: usize = 128;
