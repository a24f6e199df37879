//! What a publisher has under way, and whether it may send another message.

use std::collections::VecDeque;

use bellbird_codec::QoS;

/// One publisher's window. Pure: the loop sends.
#[derive(Debug)]
pub(super) struct Publisher {
    limits: Limits,
    /// Messages sent; the next one's sequence number.
    sent: u32,
    /// Deliveries settled, received or skipped, over all subscribers.
    settled: u64,
    /// Deliveries given up on after a stall, so that a closed loop goes on.
    written_off: u64,
    acknowledged: u64,
    refused: u64,
    /// When the message with a packet id was sent; `None` if the id is free.
    sent_at: Vec<Option<u64>>,
    /// Oldest first, so that an id rests as long as possible.
    free_ids: VecDeque<u16>,
}

/// So many messages may be sent, and a window of them more.
const SENT_MAX: u32 = u32::MAX - 65_536;

/// The bounds of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) qos: QoS,
    pub(super) outstanding: usize,
    /// Bound on messages sent but not received by the subscribers; not at QoS 0, and only where the
    /// subscribers are there.
    pub(super) backlog: Option<usize>,
    /// Subscribers that each message reaches.
    pub(super) receivers: usize,
}

/// The broker acknowledged a message that is not under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UnexpectedAck;

impl Publisher {
    /// Has sent nothing yet.
    pub(super) fn new(limits: Limits) -> Self {
        let ids = if limits.qos != QoS::AtMostOnce {
            u16::try_from(limits.outstanding).unwrap_or(u16::MAX)
        } else {
            0
        };
        Self {
            limits,
            sent: 0,
            settled: 0,
            written_off: 0,
            acknowledged: 0,
            refused: 0,
            sent_at: vec![None; usize::from(ids) + 1],
            free_ids: (1..=ids).collect(),
        }
    }

    /// Takes sequence and packet id (0 at QoS 0) of a message sent `now`. Call it as often as
    /// [`Self::credit`] allows.
    #[inline]
    pub(super) fn take(&mut self, now: u64) -> (u32, u16) {
        let sequence = self.sent;
        self.sent += 1;
        let Some(id) = self.free_ids.pop_front() else { return (sequence, 0) };
        self.sent_at[usize::from(id)] = Some(now);
        (sequence, id)
    }

    /// So many deliveries are settled.
    #[inline]
    pub(super) fn settle(&mut self, deliveries: u32) {
        self.settled += u64::from(deliveries);
    }

    /// Whether the message with this packet id is not acknowledged yet.
    pub(super) fn is_under_way(&self, id: u16) -> bool {
        self.sent_at.get(usize::from(id)).is_some_and(Option::is_some)
    }

    /// A PUBACK or PUBCOMP came, or a PUBREC that refuses. Returns when its message was sent.
    #[inline]
    pub(super) fn acknowledge(&mut self, id: u16, code: u8) -> Result<u64, UnexpectedAck> {
        let slot = self.sent_at.get_mut(usize::from(id)).ok_or(UnexpectedAck)?;
        let sent_at = slot.take().ok_or(UnexpectedAck)?;
        self.free_ids.push_back(id);
        if code < 0x80 {
            self.acknowledged += 1;
        } else {
            self.refused += 1;
        }
        Ok(sent_at)
    }

    /// Gives up on what is under way at QoS 0. Returns whether there was anything.
    pub(super) fn write_off(&mut self) -> bool {
        let missing = self.unsettled_deliveries();
        if self.limits.qos != QoS::AtMostOnce || missing == 0 {
            return false;
        }
        self.written_off += missing;
        true
    }

    /// How many messages may be sent now.
    #[inline]
    pub(super) fn credit(&self) -> usize {
        if self.is_exhausted() {
            return 0;
        }
        if self.limits.qos == QoS::AtMostOnce {
            return self.limits.outstanding.saturating_sub(self.unsettled());
        }
        match self.limits.backlog {
            None => self.free_ids.len(),
            Some(backlog) => self.free_ids.len().min(backlog.saturating_sub(self.unsettled())),
        }
    }

    /// At a fixed rate only the packet ids bound what is under way.
    pub(super) fn may_send_paced(&self) -> bool {
        !self.is_exhausted() && (self.limits.qos == QoS::AtMostOnce || !self.free_ids.is_empty())
    }

    /// Messages sent.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Messages acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Messages the broker refused with a reason code.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Nothing is under way any more: no acknowledgement and no delivery is missing.
    pub(super) fn is_settled(&self) -> bool {
        let acknowledged = self.free_ids.len() + 1 == self.sent_at.len();
        let awaits_deliveries = self.limits.qos == QoS::AtMostOnce || self.limits.backlog.is_some();
        acknowledged && !(awaits_deliveries && self.unsettled_deliveries() > 0)
    }

    /// Sequence numbers end before they would begin again: no run is meant to get there.
    fn is_exhausted(&self) -> bool {
        self.sent >= SENT_MAX
    }

    /// Messages that not all subscribers have: with several subscribers, those of the average
    /// subscriber, rounded up.
    fn unsettled(&self) -> usize {
        let receivers = u64::try_from(self.limits.receivers).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.unsettled_deliveries().div_ceil(receivers)).unwrap_or(usize::MAX)
    }

    fn unsettled_deliveries(&self) -> u64 {
        let receivers = u64::try_from(self.limits.receivers).unwrap_or(u64::MAX);
        (u64::from(self.sent) * receivers).saturating_sub(self.settled + self.written_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(
        qos: QoS,
        outstanding: usize,
        backlog: Option<usize>,
        receivers: usize,
    ) -> Publisher {
        Publisher::new(Limits { qos, outstanding, backlog, receivers })
    }

    #[test]
    fn qos_0_waits_for_the_receivers() {
        let mut publisher = publisher(QoS::AtMostOnce, 2, None, 3);
        assert_eq!(publisher.take(5), (0, 0));
        assert_eq!(publisher.take(5), (1, 0));
        assert_eq!(publisher.credit(), 0);
        publisher.settle(2);
        assert_eq!(publisher.credit(), 0);
        publisher.settle(1);
        assert_eq!(publisher.credit(), 1);
        publisher.settle(3);
        assert_eq!(publisher.credit(), 2);
        assert!(publisher.is_settled());
    }

    #[test]
    fn qos_0_goes_on_after_a_loss() {
        let mut publisher = publisher(QoS::AtMostOnce, 2, None, 1);
        publisher.take(0);
        publisher.take(0);
        assert!(publisher.write_off());
        assert!(!publisher.write_off());
        assert_eq!(publisher.credit(), 2);
        publisher.settle(2);
        assert_eq!(publisher.credit(), 2);
    }

    #[test]
    fn qos_1_waits_for_acknowledgements_in_any_order() {
        let mut publisher = publisher(QoS::AtLeastOnce, 2, None, 1);
        assert_eq!(publisher.take(5), (0, 1));
        assert_eq!(publisher.take(6), (1, 2));
        assert_eq!(publisher.credit(), 0);
        assert!(publisher.is_under_way(2));
        assert_eq!(publisher.acknowledge(2, 0), Ok(6));
        assert!(!publisher.is_under_way(2) && !publisher.is_under_way(9));
        assert_eq!(publisher.acknowledge(2, 0), Err(UnexpectedAck));
        assert_eq!(publisher.take(7), (2, 2));
        assert_eq!(publisher.acknowledge(1, 0x97), Ok(5));
        assert_eq!((publisher.acknowledged(), publisher.refused()), (1, 1));
        assert!(!publisher.is_settled());
        assert_eq!(publisher.acknowledge(2, 0x10), Ok(7));
        assert!(publisher.is_settled());
    }

    #[test]
    fn strange_acknowledgements_are_noticed() {
        let mut publisher = publisher(QoS::AtLeastOnce, 2, None, 1);
        for id in [0, 1, 3, 65_535] {
            assert_eq!(publisher.acknowledge(id, 0), Err(UnexpectedAck));
        }
    }

    #[test]
    fn qos_1_does_not_run_away_from_its_subscriber() {
        let mut publisher = publisher(QoS::AtLeastOnce, 2, Some(3), 1);
        for _ in 0..3 {
            let (_, id) = publisher.take(0);
            publisher.acknowledge(id, 0).unwrap();
        }
        assert_eq!(publisher.credit(), 0);
        publisher.settle(1);
        assert_eq!(publisher.credit(), 1);
    }
}
