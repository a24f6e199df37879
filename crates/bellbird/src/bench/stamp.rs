//! The first bytes of each payload: who sent it, as which in order, and when.

/// What a payload begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// When it was sent (at a fixed rate: when it should have been), in the run's nanoseconds.
    pub(super) sent_nanos: u64,
    /// Counts the messages of one publisher (of `offline`: to one session) from 0.
    pub(super) sequence: u32,
    /// The publisher (of `offline`: the session it is for).
    pub(super) publisher: u16,
    /// Tells runs apart: what another run left behind is not counted here.
    pub(super) run: u16,
}

/// Length of a stamp, hence the shortest payload.
pub(super) const STAMP_LEN: usize = 16;

impl Stamp {
    /// As bytes.
    pub(super) fn to_bytes(self) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..8].copy_from_slice(&self.sent_nanos.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.publisher.to_le_bytes());
        bytes[14..].copy_from_slice(&self.run.to_le_bytes());
        bytes
    }

    /// From the beginning of a payload; `None` if that is too short.
    pub(super) fn from_payload(payload: &[u8]) -> Option<Self> {
        let (time, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (run, _) = rest.split_first_chunk()?;
        Some(Self {
            sent_nanos: u64::from_le_bytes(*time),
            sequence: u32::from_le_bytes(*sequence),
            publisher: u16::from_le_bytes(*publisher),
            run: u16::from_le_bytes(*run),
        })
    }
}

/// A number for a run's tag, the same in every process.
pub(super) fn run_number(tag: &str) -> u16 {
    tag.bytes().fold(0x9e37, |hash: u16, byte| hash.rotate_left(5) ^ u16::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_way() {
        let stamp = Stamp { sent_nanos: u64::MAX - 1, sequence: 7, publisher: 513, run: 0xbeef };
        let mut payload = stamp.to_bytes().to_vec();
        payload.extend_from_slice(b"filler");
        assert_eq!(Stamp::from_payload(&payload), Some(stamp));
    }

    #[test]
    fn a_short_payload_has_no_stamp() {
        for len in 0..STAMP_LEN {
            assert_eq!(Stamp::from_payload(&vec![0; len]), None);
        }
    }

    #[test]
    fn tags_differ() {
        assert_ne!(run_number("a"), run_number("b"));
        assert_eq!(run_number("bench"), run_number("bench"));
    }
}
