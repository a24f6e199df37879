//! An outbox becomes frames without being copied; control frames go in between.

use super::close::CloseCode;
use super::reader::{BINARY, CLOSE, PONG};
use crate::limits::FRAME_BYTES_OUT_MAX;

/// What is being written beside the outbox.
#[derive(Default, Debug)]
pub(super) struct Writer {
    /// The answer to the upgrade, or whole control frames: at most that answer, a pong and a close.
    control: Vec<u8>,
    control_sent: usize,
    /// What the next pong says. A newer ping replaces it: a flood of pings waits in no queue.
    pong: Option<Box<[u8]>>,
    /// The header of the data frame that was begun; what is left of it stands at its end.
    head: [u8; HEAD_BYTES],
    head_left: u8,
    /// Bytes of the outbox that belong to that frame and are not sent; 0 between two frames.
    left: u16,
    is_closed: bool,
}

impl Writer {
    /// Says something that is no frame, before all others.
    pub(super) fn answer(&mut self, response: Vec<u8>) {
        self.control = response;
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, payload: Box<[u8]>) {
        if !self.is_closed {
            self.pong = Some(payload);
        }
    }

    /// Says close behind all control frames, once. No frame begins after it.
    pub(super) fn close(&mut self, code: Option<CloseCode>) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        if let Some(pong) = self.pong.take() {
            control_frame(PONG, &pong, &mut self.control);
        }
        match code {
            Some(code) => control_frame(CLOSE, &code.number().to_be_bytes(), &mut self.control),
            None => control_frame(CLOSE, &[], &mut self.control),
        }
    }

    /// What to write next: a part of a control frame, or of a data frame's header and payload.
    pub(super) fn pending<'a>(&'a mut self, outbox: &'a [u8]) -> [&'a [u8]; 2] {
        if self.left == 0 {
            if self.control.is_empty()
                && let Some(pong) = self.pong.take()
            {
                control_frame(PONG, &pong, &mut self.control);
            }
            if !self.control.is_empty() {
                return [&self.control[self.control_sent..], &[]];
            }
            if self.is_closed || outbox.is_empty() {
                return [&[], &[]];
            }
            self.begin(outbox.len());
        }
        let head = &self.head[HEAD_BYTES - usize::from(self.head_left)..];
        [head, &outbox[..usize::from(self.left).min(outbox.len())]]
    }

    /// Takes note of bytes that are written. Returns how many of them were the outbox's.
    pub(super) fn sent(&mut self, bytes: usize) -> usize {
        if self.left == 0 {
            self.control_sent += bytes;
            if self.control_sent >= self.control.len() {
                self.control = Vec::new();
                self.control_sent = 0;
            }
            return 0;
        }
        let of_head = bytes.min(usize::from(self.head_left));
        let of_outbox = (bytes - of_head).min(usize::from(self.left));
        self.head_left -= u8::try_from(of_head).expect("a header has four bytes");
        self.left -= u16::try_from(of_outbox).expect("no more than is left");
        of_outbox
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.control.is_empty() || self.pong.is_some()
    }

    /// Begins a frame of so many bytes, or as many as a frame has.
    fn begin(&mut self, bytes: usize) {
        self.left = u16::try_from(bytes).unwrap_or(FRAME_BYTES_OUT_MAX).min(FRAME_BYTES_OUT_MAX);
        let [high, low] = self.left.to_be_bytes();
        (self.head, self.head_left) = if self.left <= SHORT_BYTES_MAX {
            ([0, 0, FINAL | BINARY, low], 2)
        } else {
            ([FINAL | BINARY, 126, high, low], 4)
        };
    }
}

/// Appends a frame whose payload has at most 125 bytes.
fn control_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = u8::try_from(payload.len()).expect("control frames are short");
    out.extend_from_slice(&[FINAL | opcode, length]);
    out.extend_from_slice(payload);
}

const FINAL: u8 = 0x80;
const HEAD_BYTES: usize = 4;
/// What the second byte of a header can say by itself.
const SHORT_BYTES_MAX: u16 = 125;
