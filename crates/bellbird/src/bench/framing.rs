//! Frames of WebSocket (RFC 6455, section 5), as a client that is to cost little makes them: the
//! mask is of zeros, so that no payload has to be touched.

use std::io;

/// The state of what comes.
#[derive(Default, Debug)]
pub(super) struct Framing {
    /// Of a header that is not whole.
    header: Vec<u8>,
    /// Bytes of the payload that are to come.
    left: u64,
}

const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0; 4];

impl Framing {
    /// One frame with all of it.
    pub(super) fn seal(&self, packets: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(packets.len() + 14);
        frame.push(0x80 | BINARY);
        let len = packets.len();
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..126), _) => frame.push(MASKED | len),
            (_, Ok(len)) => {
                frame.push(MASKED | 126);
                frame.extend_from_slice(&len.to_be_bytes());
            }
            (_, Err(_)) => {
                frame.push(MASKED | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend_from_slice(packets);
        frame
    }

    /// Takes bytes of frames, and appends those of packets.
    pub(super) fn open(&mut self, mut bytes: &[u8], packets: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                packets.extend_from_slice(&bytes[..count]);
                self.left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(len) = whole(&self.header)? {
                self.header.clear();
                self.left = len;
            }
        }
        Ok(())
    }
}

/// How long the payload is, if the header is whole.
fn whole(header: &[u8]) -> io::Result<Option<u64>> {
    let broken = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let [first, second, more @ ..] = header else { return Ok(None) };
    if !matches!(first & 0x0F, BINARY | CONTINUATION) {
        return Err(broken("the broker sent another frame than one with packets"));
    }
    let bytes = match second {
        0..=125 => return Ok(Some(u64::from(*second))),
        126 => 2,
        127 => 8,
        _ => return Err(broken("the broker sent a masked frame")),
    };
    let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Ok((more.len() == bytes).then(|| value(more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_lengths_of_three_kinds() {
        let check = |len: usize, head: &[u8]| {
            let sealed = Framing::default().seal(&vec![7; len]);
            assert_eq!(&sealed[..head.len()], head);
            assert_eq!(sealed[head.len()..head.len() + 4], MASK);
            assert_eq!(sealed.len(), head.len() + 4 + len);
        };
        check(0, &[0x82, 0x80]);
        check(125, &[0x82, 0xFD]);
        check(126, &[0x82, 0xFE, 0, 126]);
        check(65_535, &[0x82, 0xFE, 0xFF, 0xFF]);
        check(65_536, &[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn packets_are_found_however_the_frames_come() {
        let long = [&[0x00, 126, 1, 0][..], &[9; 256]].concat();
        let stream = [&[0x82, 2, 1, 2][..], &[0x02, 0], &long, &[0x80, 1, 3]].concat();
        let expected = [&[1, 2][..], &[9; 256], &[3]].concat();
        for size in [1, 2, 3, 7, stream.len()] {
            let (mut framing, mut packets) = (Framing::default(), Vec::new());
            for part in stream.chunks(size) {
                framing.open(part, &mut packets).unwrap();
            }
            assert_eq!(packets, expected, "{size}");
        }
    }

    #[test]
    fn other_frames_are_refused() {
        let check = |bytes: &[u8]| {
            assert!(Framing::default().open(bytes, &mut Vec::new()).is_err(), "{bytes:?}");
        };
        check(&[0x88, 0]);
        check(&[0x89, 0]);
        check(&[0x81, 1]);
        check(&[0x82, 0x81]);
    }
}
