//! Frames of a client become bytes of packets, in place (RFC 6455, section 5).

use super::close::CloseCode;
use crate::limits::FRAME_BYTES_MAX;

/// Where in a frame the bytes have come to. A frame may end in any of them.
#[derive(Default, Debug)]
pub(super) struct Reader {
    /// The header as far as it is there; its length is 0 within a payload.
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    /// The frame whose payload comes, and how much of it.
    frame: Option<Frame>,
    /// A message has begun and not ended: continuations follow.
    is_within_message: bool,
    /// The payload of a control frame as far as it is there.
    control: Vec<u8>,
    /// What the latest ping said: only this one needs a pong (section 5.5.3).
    pub(super) ping: Option<Box<[u8]>>,
}

/// Why no more frames are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The peer said close.
    Said(Option<CloseCode>),
    /// The peer broke the protocol.
    Broken(CloseCode),
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    is_final: bool,
    /// For the next byte of the payload first.
    mask: [u8; 4],
    left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Data,
    Close,
    Ping,
    Pong,
}

impl Reader {
    /// Takes bytes, and moves those of data frames to their front. Returns how many these are,
    /// and why it is over.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> (usize, Option<Stop>) {
        let (mut read, mut written) = (0, 0);
        while let Some(&byte) = bytes.get(read) {
            let Some(frame) = &mut self.frame else {
                read += 1;
                match self.head(byte) {
                    Ok(None) => continue,
                    Ok(Some(frame)) => self.frame = Some(frame),
                    Err(code) => return (written, Some(Stop::Broken(code))),
                }
                if let Some(stop) = self.finish() {
                    return (written, Some(stop));
                }
                continue;
            };
            let there = bytes.len() - read;
            let count = usize::try_from(frame.left).map_or(there, |left| left.min(there));
            if frame.kind == Kind::Data {
                bytes.copy_within(read..read + count, written);
                unmask(&mut bytes[written..written + count], &mut frame.mask);
                written += count;
            } else {
                let from = self.control.len();
                self.control.extend_from_slice(&bytes[read..read + count]);
                unmask(&mut self.control[from..], &mut frame.mask);
            }
            read += count;
            frame.left -= count as u64;
            if let Some(stop) = self.finish() {
                return (written, Some(stop));
            }
        }
        (written, None)
    }

    /// Takes a byte of a header. Each is judged when it is there: the same bytes end the same
    /// way, however they come.
    fn head(&mut self, byte: u8) -> Result<Option<Frame>, CloseCode> {
        let at = usize::from(self.head_len);
        self.head[at] = byte;
        self.head_len += 1;
        let head = &self.head[..=at];
        match *head {
            [first] => self.opcode(first).map(|_| None),
            [first, second]
                if second & MASKED == 0 || (is_control(first) && second & 0x7F > 125) =>
            {
                // Section 5.1: whoever does not mask is cut off; section 5.5: control frames are short.
                Err(CloseCode::PROTOCOL_ERROR)
            }
            [first, second, ..] => {
                let extended = match second & 0x7F {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                if head.len() < 2 + extended + MASK_BYTES {
                    return Ok(None);
                }
                let number = |bytes: &[u8]| {
                    bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
                };
                // More bytes than a length needs are let pass: nothing depends on it.
                let (length, mask) = head[2..].split_at(extended);
                let left = if extended == 0 { u64::from(second & 0x7F) } else { number(length) };
                if left >> 63 == 1 {
                    return Err(CloseCode::PROTOCOL_ERROR);
                }
                if left > FRAME_BYTES_MAX {
                    return Err(CloseCode::TOO_BIG);
                }
                let mask = mask.try_into().expect("a header ends with four bytes of mask");
                let kind = self.opcode(first)?;
                let is_final = first & FINAL != 0;
                self.head_len = 0;
                Ok(Some(Frame { kind, is_final, mask, left }))
            }
            [] => Ok(None),
        }
    }

    /// Judges the first byte of a header.
    fn opcode(&self, first: u8) -> Result<Kind, CloseCode> {
        // No extension gives these bits a meaning.
        if first & RESERVED != 0 || (is_control(first) && first & FINAL == 0) {
            return Err(CloseCode::PROTOCOL_ERROR);
        }
        match (first & OPCODE, self.is_within_message) {
            (CONTINUATION, true) | (BINARY, false) => Ok(Kind::Data),
            (TEXT, _) => Err(CloseCode::UNSUPPORTED_DATA),
            (CLOSE, _) => Ok(Kind::Close),
            (PING, _) => Ok(Kind::Ping),
            (PONG, _) => Ok(Kind::Pong),
            _ => Err(CloseCode::PROTOCOL_ERROR),
        }
    }

    /// Ends the frame if all of its payload was there.
    fn finish(&mut self) -> Option<Stop> {
        let frame = self.frame.take_if(|frame| frame.left == 0)?;
        match frame.kind {
            Kind::Data => self.is_within_message = !frame.is_final,
            Kind::Ping => self.ping = Some(std::mem::take(&mut self.control).into_boxed_slice()),
            Kind::Pong => self.control = Vec::new(),
            Kind::Close => return Some(said(&std::mem::take(&mut self.control))),
        }
        None
    }
}

/// What a close frame says (section 5.5.1): nothing, or a code and a text.
fn said(payload: &[u8]) -> Stop {
    match payload {
        [] => Stop::Said(None),
        [_] => Stop::Broken(CloseCode::PROTOCOL_ERROR),
        [high, low, reason @ ..] => match CloseCode::new(u16::from_be_bytes([*high, *low])) {
            None => Stop::Broken(CloseCode::PROTOCOL_ERROR),
            Some(_) if str::from_utf8(reason).is_err() => Stop::Broken(CloseCode::INVALID_DATA),
            code => Stop::Said(code),
        },
    }
}

/// Unmasks bytes, eight at a time, and turns the mask to where the next byte begins.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let four = u32::from_ne_bytes(*mask);
    let eight = u64::from(four) << 32 | u64::from(four);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let chunk: &mut [u8; 8] = chunk.try_into().expect("chunks have eight bytes");
        *chunk = (u64::from_ne_bytes(*chunk) ^ eight).to_ne_bytes();
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(bytes.len() % 4);
}

fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const MASK_BYTES: usize = 4;
/// Two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasking_goes_on_where_it_was() {
        let plain: Vec<u8> = (0..100).collect();
        for split in 0..plain.len() {
            let mut mask = [0x37, 0xFA, 0x21, 0x3D];
            let mut bytes: Vec<u8> =
                plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let (front, back) = bytes.split_at_mut(split);
            unmask(front, &mut mask);
            unmask(back, &mut mask);
            assert_eq!(bytes, plain, "{split}");
        }
    }
}
