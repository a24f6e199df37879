//! The packet ids of what a session is sent: each free when it is given, and none of those that
//! may have been under way at a crash given again after it.
//!
//! The log does not hear of each packet id of QoS 1: that would be a record before each message.
//! It hears up to where they may have been given, a block ahead, and a start goes on behind that.
//! So an acknowledgement that a client has kept since before the crash finds nothing that it could
//! end.

use bellbird_codec::PacketId;

/// Counts up and around.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PacketIds {
    /// The last one given, 0 if there was none.
    last: u16,
    /// The last one that may be given, if the session outlives its connection.
    reserved: u16,
    /// Ids inflight may lie ahead of the last one given.
    has_some_ahead: bool,
    /// The log was asked for more.
    is_asking: bool,
}

impl PacketIds {
    /// Those behind `reserved`, the last that an earlier life of the node may have given. Some are
    /// inflight already.
    pub(crate) fn behind(reserved: u16) -> Self {
        Self { last: reserved, reserved, has_some_ahead: true, is_asking: false }
    }

    /// The next one that is neither 0 nor inflight [MQTT-2.2.1-4]; none if more have to be reserved
    /// first.
    ///
    /// Once the count has gone round with ids inflight, or ids came back from the log, one of them
    /// may lie ahead, and they are looked through until none is left.
    pub(crate) fn next(
        &self,
        is_bounded: bool,
        is_inflight: impl Fn(PacketId) -> bool,
    ) -> Option<PacketId> {
        let (mut last, mut has_some_ahead) = (self.last, self.has_some_ahead);
        loop {
            if is_bounded && last == self.reserved {
                return None;
            }
            last = last.wrapping_add(1);
            match PacketId::new(last) {
                None => has_some_ahead = true,
                Some(id) if has_some_ahead && is_inflight(id) => {}
                Some(id) => return Some(id),
            }
        }
    }

    /// This one is given, the next.
    pub(crate) fn give(&mut self, id: PacketId) {
        self.has_some_ahead |= id.value() < self.last;
        self.last = id.value();
    }

    /// The next one, for a start: nothing is sent before a block behind it is reserved.
    pub(crate) fn give_next(&mut self, is_inflight: impl Fn(PacketId) -> bool) -> PacketId {
        let id = self.next(false, is_inflight).expect("it is not bounded");
        self.give(id);
        id
    }

    /// The next block to reserve begins behind the last one given.
    pub(crate) fn all_reserved(self) -> Self {
        Self { reserved: self.last, ..self }
    }

    /// Nothing is inflight.
    pub(crate) fn none_inflight(&mut self) {
        self.has_some_ahead = false;
    }

    /// Whether it is time to ask the log for more than these, by blocks of this size.
    pub(crate) fn are_few(&self, block: u16) -> bool {
        !self.is_asking && self.reserved.wrapping_sub(self.last) <= block / 2
    }

    /// Up to where to reserve with the next block. None if the log was asked before.
    pub(crate) fn ask(&mut self, block: u16) -> Option<PacketId> {
        let is_asked_now = !std::mem::replace(&mut self.is_asking, true);
        is_asked_now.then(|| self.through(block))
    }

    fn through(&self, block: u16) -> PacketId {
        let through = self.reserved.wrapping_add(block.max(1));
        PacketId::new(through.max(1)).expect("it is 1 at least")
    }

    /// The log knows that ids up to this one may be given.
    pub(crate) fn reserve(&mut self, through: PacketId) {
        (self.reserved, self.is_asking) = (through.value(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u16 = 8;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn take(ids: &mut PacketIds) -> Option<u16> {
        let next = ids.next(true, |_| false)?;
        ids.give(next);
        Some(next.value())
    }

    #[test]
    fn as_many_as_are_reserved() {
        let mut ids = PacketIds::default();
        assert!(take(&mut ids).is_none() && ids.are_few(BLOCK));
        let through = ids.ask(BLOCK).unwrap();
        assert_eq!(through.value(), 8);
        assert!(take(&mut ids).is_none() && !ids.are_few(BLOCK) && ids.ask(BLOCK).is_none());
        ids.reserve(through);
        for expected in 1..=8 {
            assert_eq!(ids.are_few(BLOCK), expected > 4, "{expected}");
            assert_eq!(take(&mut ids), Some(expected));
        }
        assert!(take(&mut ids).is_none());
    }

    #[test]
    fn around_zero() {
        let mut ids = PacketIds::behind(u16::MAX - 8);
        let through = ids.ask(9).unwrap();
        assert_eq!(through, id(1), "0 is no id");
        ids.reserve(through);
        let given: Vec<_> = std::iter::from_fn(|| take(&mut ids)).collect();
        assert_eq!(given, [65528, 65529, 65530, 65531, 65532, 65533, 65534, 65535, 1]);
    }

    #[test]
    fn those_inflight_are_passed_over_and_never_the_bound() {
        let mut ids = PacketIds::behind(100);
        ids.reserve(id(104));
        let is_inflight = |found: PacketId| (101..=103).contains(&found.value());
        assert_eq!(ids.next(true, is_inflight), Some(id(104)));
        assert_eq!(ids.next(true, |found| found.value() > 100), None);
        assert_eq!(ids.ask(BLOCK), Some(id(112)), "there is more behind them");
    }
}
