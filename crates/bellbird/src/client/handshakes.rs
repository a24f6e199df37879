//! Messages on their way to the broker: packet ids, and the answers that QoS 1 and 2 wait for.

use std::collections::BTreeMap;

use bellbird_codec::{Acknowledgement, PacketId, QoS, ReasonCode};

/// The handshakes of one connection, at most as many as the broker takes at once.
#[derive(Debug)]
pub(crate) struct Handshakes {
    open: BTreeMap<PacketId, Awaits>,
    open_max: usize,
    last_id: u16,
}

/// The answer that a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Puback,
    Pubrec,
    Pubcomp,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The broker has the message.
    Done,
    /// The broker does not want the message.
    Refused(ReasonCode),
    /// PUBREL is to be sent.
    Release,
    /// Nobody waited for it.
    Unexpected,
}

impl Handshakes {
    /// Without open ones; `open_max` is at least 1. Ids up to `reserved` are left to others, at
    /// least until all have been used once.
    pub(crate) fn new(open_max: u16, reserved: u16) -> Self {
        Self { open: BTreeMap::new(), open_max: open_max.max(1).into(), last_id: reserved }
    }

    /// Begins a handshake; `None` at QoS 0, which has none. There must be room.
    pub(crate) fn begin(&mut self, qos: QoS) -> Option<PacketId> {
        let awaits = match qos {
            QoS::AtMostOnce => return None,
            QoS::AtLeastOnce => Awaits::Puback,
            QoS::ExactlyOnce => Awaits::Pubrec,
        };
        debug_assert!(self.has_room(), "the caller asks for room before");
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && !self.open.contains_key(&id)
            {
                self.open.insert(id, awaits);
                return Some(id);
            }
        }
    }

    /// A PUBACK.
    pub(crate) fn on_puback(&mut self, answer: &Acknowledgement<'_>) -> Progress {
        self.finish(answer, Awaits::Puback)
    }

    /// A PUBREC: with an error the handshake is over [MQTT-4.3.3-4].
    pub(crate) fn on_pubrec(&mut self, answer: &Acknowledgement<'_>) -> Progress {
        if answer.reason.is_error() {
            return self.finish(answer, Awaits::Pubrec);
        }
        match self.open.get_mut(&answer.packet_id) {
            Some(awaits) if *awaits == Awaits::Pubrec => {
                *awaits = Awaits::Pubcomp;
                Progress::Release
            }
            Some(_) | None => Progress::Unexpected,
        }
    }

    /// A PUBCOMP.
    pub(crate) fn on_pubcomp(&mut self, answer: &Acknowledgement<'_>) -> Progress {
        self.finish(answer, Awaits::Pubcomp)
    }

    /// Whether another message may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < self.open_max
    }

    /// Whether the broker has answered everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn finish(&mut self, answer: &Acknowledgement<'_>, awaits: Awaits) -> Progress {
        if self.open.get(&answer.packet_id) != Some(&awaits) {
            return Progress::Unexpected;
        }
        self.open.remove(&answer.packet_id);
        if answer.reason.is_error() { Progress::Refused(answer.reason) } else { Progress::Done }
    }
}

#[cfg(test)]
mod tests {
    use bellbird_codec::Properties;

    use super::*;

    fn answer(id: PacketId, reason: ReasonCode) -> Acknowledgement<'static> {
        Acknowledgement { packet_id: id, reason, properties: Properties::EMPTY }
    }

    #[test]
    fn each_qos_has_its_answers() {
        let mut handshakes = Handshakes::new(2, 0);
        assert_eq!(handshakes.begin(QoS::AtMostOnce), None);
        let first = handshakes.begin(QoS::AtLeastOnce).unwrap();
        let second = handshakes.begin(QoS::ExactlyOnce).unwrap();
        assert_eq!((first.value(), second.value()), (1, 2));
        assert!(!handshakes.has_room());
        let ok = ReasonCode::Success;
        assert_eq!(handshakes.on_puback(&answer(second, ok)), Progress::Unexpected);
        assert_eq!(handshakes.on_pubcomp(&answer(second, ok)), Progress::Unexpected);
        assert_eq!(handshakes.on_pubrec(&answer(second, ok)), Progress::Release);
        assert_eq!(handshakes.on_pubcomp(&answer(second, ok)), Progress::Done);
        let nobody = ReasonCode::NoMatchingSubscribers;
        assert_eq!(handshakes.on_puback(&answer(first, nobody)), Progress::Done);
        assert_eq!(handshakes.on_puback(&answer(first, ok)), Progress::Unexpected);
        assert!(handshakes.is_empty());
    }

    #[test]
    fn refusals_end_a_handshake() {
        let mut handshakes = Handshakes::new(10, 0);
        let refused = ReasonCode::QuotaExceeded;
        let id = handshakes.begin(QoS::AtLeastOnce).unwrap();
        assert_eq!(handshakes.on_puback(&answer(id, refused)), Progress::Refused(refused));
        let id = handshakes.begin(QoS::ExactlyOnce).unwrap();
        assert_eq!(handshakes.on_pubrec(&answer(id, refused)), Progress::Refused(refused));
        assert!(handshakes.is_empty());
    }

    #[test]
    fn ids_go_round_and_pass_over_those_in_use() {
        let mut handshakes = Handshakes::new(10, 2);
        let kept = handshakes.begin(QoS::AtLeastOnce).unwrap();
        assert_eq!(kept.value(), 3);
        let mut last = kept;
        for _ in 0..65_534 {
            last = handshakes.begin(QoS::AtLeastOnce).unwrap();
            handshakes.on_puback(&answer(last, ReasonCode::Success));
        }
        assert_eq!(last.value(), 2, "0 is no id");
        assert_eq!(handshakes.begin(QoS::AtLeastOnce).unwrap().value(), 4, "3 is in use");
    }
}
