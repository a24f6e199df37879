//! What waits for one session.

use std::collections::VecDeque;

use crate::away::Away;
use crate::identity::{DeliveryId, Position};
use crate::message::Message;
use crate::session::Queued;

/// Deliveries of QoS 1 and 2 in their order, and the bytes of their messages. It takes 8 bytes
/// until something waits, and gives back what it grew to.
///
/// Those in the middle of a long queue are references: their messages are in the log only, and
/// are asked for when their turn comes near.
#[derive(Default, Debug)]
pub(crate) struct Queue(Option<Box<Waiting>>);

#[derive(Default, Debug)]
struct Waiting {
    /// What goes next.
    front: VecDeque<Queued>,
    /// What stands behind it, if something is away.
    rest: Option<Box<Rest>>,
    /// The sum of all messages, wherever they are.
    bytes: usize,
    /// The sum of those that are here.
    bytes_here: usize,
    /// What of them could not leave when it was tried last.
    bytes_stuck: usize,
}

/// References, and what came after the last of them.
#[derive(Default, Debug)]
struct Rest {
    away: VecDeque<Away>,
    back: VecDeque<Queued>,
    /// How many of those away, from the front, are asked for.
    asked: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the messages; one that waits in several queues counts in each.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// The bytes of those that are not away.
    pub(crate) fn bytes_here(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes_here)
    }

    pub(crate) fn push_back(&mut self, delivery: Queued) {
        let waiting = self.0.get_or_insert_default();
        let bytes = delivery.message.size_bytes();
        waiting.bytes += bytes;
        waiting.bytes_here += bytes;
        match &mut waiting.rest {
            None => waiting.front.push_back(delivery),
            Some(rest) => rest.back.push_back(delivery),
        }
    }

    /// The next deliveries, so many at most, as far as their messages are here.
    pub(crate) fn next(&self, count: usize) -> impl ExactSizeIterator<Item = &Queued> {
        const NONE: &VecDeque<Queued> = &VecDeque::new();
        self.0.as_ref().map_or(NONE, |waiting| &waiting.front).iter().take(count)
    }

    /// The next delivery; none if nothing waits, or if its message is away.
    pub(crate) fn pop_front(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let delivery = waiting.front.pop_front()?;
        let bytes = delivery.message.size_bytes();
        waiting.bytes -= bytes;
        waiting.bytes_here -= bytes;
        self.settle();
        Some(delivery)
    }

    /// Where the messages stand that are to be brought back now: [`Queue::bring_back`] takes the
    /// answer, and until then nothing more is asked for.
    pub(crate) fn ask(&mut self) -> Option<Vec<Position>> {
        let waiting = self.0.as_deref_mut()?;
        let rest = waiting.rest.as_deref_mut()?;
        if rest.asked > 0 || waiting.front.len() >= ASK_BELOW {
            return None;
        }
        let mut positions = Vec::new();
        let mut bytes = 0;
        for away in rest.away.iter().take(ASK_DELIVERIES) {
            bytes += away.size_bytes();
            if bytes > ASK_BYTES && rest.asked > 0 {
                break;
            }
            rest.asked += 1;
            positions.extend(away.position());
        }
        Some(positions)
    }

    /// Takes the messages that [`Queue::ask`] asked for, in its order. Returns the deliveries
    /// whose message could not be read: they are no longer in the queue.
    pub(crate) fn bring_back(&mut self, messages: Vec<Option<Message>>) -> Vec<DeliveryId> {
        let mut lost = Vec::new();
        let Some(waiting) = self.0.as_deref_mut() else { return lost };
        let Some(rest) = waiting.rest.as_deref_mut() else { return lost };
        let asked = std::mem::take(&mut rest.asked);
        let mut messages = messages.into_iter();
        for away in rest.away.drain(..asked) {
            let bytes = away.size_bytes();
            let was_away = away.position().is_some();
            let message = if was_away { messages.next().flatten() } else { None };
            match away.back(message) {
                Ok(delivery) => {
                    waiting.bytes_here += if was_away { bytes } else { 0 };
                    waiting.front.push_back(delivery);
                }
                Err(id) => {
                    waiting.bytes -= bytes;
                    lost.push(id);
                }
            }
        }
        self.settle();
        lost
    }

    /// If more than so many bytes are here, leaves messages to the log until half of it is: those
    /// that go last first. What the log does not have stays.
    pub(crate) fn put_away(&mut self, bytes_here_max: usize) {
        let Some(waiting) = self.0.as_deref_mut() else { return };
        let Waiting { front, rest, bytes_here, bytes_stuck, .. } = waiting;
        if *bytes_here <= bytes_here_max.saturating_add(*bytes_stuck) {
            return;
        }
        let wanted = bytes_here_max / 2;
        let rest = rest.get_or_insert_default();
        let mut leave = |delivery: Queued| {
            let bytes = delivery.message.size_bytes();
            let away = Away::from(delivery);
            *bytes_here -= if away.position().is_some() { bytes } else { 0 };
            away
        };
        rest.away.extend(rest.back.drain(..).map(&mut leave));
        rest.back.shrink_to(KEEP);
        // What is asked for comes back behind the whole front.
        if rest.asked == 0 {
            let mut kept = 0;
            let fits = |delivery: &&Queued| {
                kept += delivery.message.size_bytes();
                kept <= wanted
            };
            let stays = front.iter().take_while(fits).count();
            for delivery in front.drain(stays..).rev() {
                rest.away.push_front(leave(delivery));
            }
            front.shrink_to(KEEP);
        }
        *bytes_stuck = bytes_here.saturating_sub(wanted);
        self.settle();
    }

    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&Queued) -> bool) {
        let Some(waiting) = self.0.as_deref_mut() else { return };
        let Waiting { front, rest, bytes, bytes_here, .. } = waiting;
        let mut stays = |delivery: &Queued| {
            let stays = keeps(delivery);
            let gone = if stays { 0 } else { delivery.message.size_bytes() };
            *bytes -= gone;
            *bytes_here -= gone;
            stays
        };
        front.retain(&mut stays);
        if let Some(Rest { away, back, asked }) = rest.as_deref_mut() {
            let mut left = *asked;
            away.retain(|away| {
                let is_asked = left > 0;
                left -= usize::from(is_asked);
                let is_kept = away.here().is_none_or(&mut stays);
                *asked -= usize::from(is_asked && !is_kept);
                is_kept
            });
            back.retain(&mut stays);
        }
        self.settle();
    }

    /// The deliveries whose message is here.
    pub(crate) fn iter_here(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| {
            let behind = waiting.rest.iter().flat_map(|rest| {
                let here = rest.away.iter().filter_map(Away::here);
                here.chain(&rest.back)
            });
            waiting.front.iter().chain(behind)
        })
    }

    /// Gives the memory back if nothing waits: the session is idle.
    pub(crate) fn forget_if_empty(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// What stands behind those away moves up once there are none. Busy sessions empty their
    /// queues all the time and keep a small one.
    fn settle(&mut self) {
        let Some(waiting) = self.0.as_deref_mut() else { return };
        if let Some(rest) = waiting.rest.take_if(|rest| rest.away.is_empty()) {
            waiting.front.extend(rest.back);
            waiting.bytes_stuck = 0;
        }
        if waiting.front.is_empty() && waiting.front.capacity() > KEEP && waiting.rest.is_none() {
            self.0 = None;
        }
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.front.len() + self.rest.as_ref().map_or(0, |rest| rest.away.len() + rest.back.len())
    }
}

impl FromIterator<Away> for Queue {
    fn from_iter<I: IntoIterator<Item = Away>>(away: I) -> Self {
        let away: VecDeque<Away> = away.into_iter().collect();
        if away.is_empty() {
            return Self::default();
        }
        let bytes = away.iter().map(Away::size_bytes).sum();
        let here = away.iter().filter_map(Away::here);
        let bytes_here = here.map(|delivery| delivery.message.size_bytes()).sum();
        let rest = Some(Box::new(Rest { away, ..Rest::default() }));
        Self(Some(Box::new(Waiting { rest, bytes, bytes_here, ..Waiting::default() })))
    }
}

/// Of deliveries; what had room for more goes once it is empty.
const KEEP: usize = 128;

/// A window of the usual size is not empty while the next messages are on their way.
const ASK_BELOW: usize = 64;

/// One question is for so many deliveries at most.
const ASK_DELIVERIES: usize = 256;

/// And for so many bytes, or for one message if it is larger.
const ASK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bellbird_codec::QoS;
    use bellbird_topics::{Namespace, TopicName};

    use super::*;
    use crate::identity::{Holder, MessageId};
    use crate::message::MessageParts;
    use crate::session::Lender;
    use crate::subscription::SubscriptionIds;

    fn message(number: u64) -> Message {
        Message::new(&MessageParts {
            id: MessageId { counter: number, ..MessageId::default() },
            namespace: Namespace::default(),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            topic: TopicName::parse("t").unwrap(),
            properties: &[],
            payload: &vec![0; usize::try_from(number % 7).unwrap() * 10],
        })
    }

    /// Every fifth one is not stored, every third one comes from a group.
    fn delivery(number: u64) -> Queued {
        let group = Holder { number: 9, incarnation: 1 };
        Queued {
            message: message(number),
            position: (!number.is_multiple_of(5)).then_some(Position(number)),
            qos: QoS::AtLeastOnce,
            retain: number.is_multiple_of(2),
            ids: SubscriptionIds::default(),
            lender: number.is_multiple_of(3).then(|| Box::new(Lender::Handed(group))),
        }
    }

    fn is(delivery: &Queued, number: u64) -> bool {
        let stored = delivery.stored().map(|id| (id.position.0, id.of.is_some()));
        let expected = (!number.is_multiple_of(5)).then_some((number, number.is_multiple_of(3)));
        delivery.message.id.counter == number
            && delivery.retain == number.is_multiple_of(2)
            && stored == expected
    }

    #[test]
    fn what_goes_next_is_what_is_here() {
        let mut queue = Queue::default();
        assert_eq!(queue.next(5).len(), 0);
        (0..100).for_each(|number| queue.push_back(delivery(number)));
        assert!(queue.next(7).zip(0..7).all(|(next, number)| is(next, number)));
        assert_eq!((queue.next(7).len(), queue.next(1000).len()), (7, 100));
        queue.put_away(1000);
        let here = queue.next(1000).len();
        assert!((1..100).contains(&here), "{here}");
        assert!(queue.next(1000).zip(0..).all(|(next, number)| is(next, number)));
    }

    /// Whatever leaves and comes back: the order, the bytes and every delivery are those of a
    /// plain list.
    #[test]
    fn a_queue_with_messages_away_is_a_queue() {
        let mut state: u64 = 7;
        let mut random = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let (mut fetched, mut popped, mut lost) = (0, 0, 0);
        for _ in 0..300 {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            let mut asked: Option<Vec<Position>> = None;
            let mut next = 0;
            for _ in 0..400 {
                match random(10) {
                    0..=3 => {
                        next += 1;
                        queue.push_back(delivery(next));
                        model.push_back(next);
                    }
                    4 | 5 => {
                        let Some(delivery) = queue.pop_front() else { continue };
                        let number = model.pop_front().unwrap();
                        assert!(is(&delivery, number), "{delivery:?} is not {number}");
                        popped += 1;
                    }
                    6 => queue.put_away(usize::try_from(random(300)).unwrap()),
                    7 => {
                        let Some(positions) = queue.ask() else { continue };
                        assert!(asked.is_none(), "one question at a time");
                        if positions.is_empty() {
                            assert!(queue.bring_back(Vec::new()).is_empty());
                        } else {
                            asked = Some(positions);
                        }
                    }
                    8 => {
                        let Some(positions) = asked.take() else { continue };
                        fetched += positions.len();
                        let is_lost = |position: &Position| position.0.is_multiple_of(11);
                        let answer = positions
                            .iter()
                            .map(|position| (!is_lost(position)).then(|| message(position.0)));
                        let gone = queue.bring_back(answer.collect());
                        let gone: Vec<u64> = gone.iter().map(|id| id.position.0).collect();
                        let expected = positions.iter().filter(|at| is_lost(at)).map(|at| at.0);
                        assert_eq!(gone, expected.collect::<Vec<u64>>());
                        model.retain(|number| !gone.contains(number));
                        lost += gone.len();
                    }
                    _ => {
                        // Only what is in memory may be asked to go: loans are.
                        let goes = |delivery: &Queued| delivery.position.is_none();
                        queue.retain(|delivery| !goes(delivery));
                        model.retain(|number| !number.is_multiple_of(5));
                    }
                }
                assert_eq!(queue.len(), model.len());
                let bytes = |number: &u64| message(*number).size_bytes();
                assert_eq!(queue.bytes(), model.iter().map(bytes).sum::<usize>());
                let here = queue.iter_here().map(|delivery| delivery.message.size_bytes());
                assert_eq!(queue.bytes_here(), here.sum::<usize>());
            }
        }
        assert!(fetched > 1_000 && popped > 10_000 && lost > 50, "{fetched} {popped} {lost}");
    }

    #[test]
    fn a_long_queue_keeps_what_goes_next_and_leaves_the_rest() {
        let mut queue = Queue::default();
        for number in (1..=1_000_u64).filter(|number| !number.is_multiple_of(5)) {
            queue.push_back(delivery(number));
            queue.put_away(1_000);
        }
        assert!(queue.bytes_here() <= 1_000, "{}", queue.bytes_here());
        let first = queue.pop_front().unwrap();
        assert!(is(&first, 1));
        queue.put_away(0);
        assert_eq!(queue.bytes_here(), 0);
        assert!(queue.pop_front().is_none(), "its message is away");
        let positions = queue.ask().unwrap();
        assert_eq!((positions[0], positions.len()), (Position(2), ASK_DELIVERIES));
        assert_eq!(queue.ask(), None);
    }

    /// Else each new delivery would go through the whole queue again.
    #[test]
    fn what_cannot_leave_is_not_tried_each_time() {
        let mut queue = Queue::default();
        for number in 1..=100 {
            queue.push_back(delivery(5 * number));
        }
        let bytes = queue.bytes_here();
        queue.put_away(100);
        assert_eq!(queue.bytes_here(), bytes);
        assert_eq!(queue.0.as_ref().unwrap().bytes_stuck, bytes - 50);
        queue.push_back(delivery(1));
        queue.put_away(100);
        assert_eq!(queue.0.as_ref().unwrap().rest.as_ref().unwrap().back.len(), 1);
    }
}
