//! MQTT over WebSocket (RFC 6455, section 6 of MQTT 5.0), the server's side, without I/O.
//!
//! Bytes of the socket go in and bytes of packets come out, in place; what has to be written comes
//! out as slices. Frames mean nothing: packets span and share them [MQTT-6.0.0-2]. No extension is
//! offered, and so no frame is compressed.

mod close;
mod handshake;
mod reader;
mod writer;

use std::sync::Arc;

pub use self::close::CloseCode;
use self::handshake::{Answer, Handshake};
pub use self::handshake::{Offer, Refused};
use self::reader::{Reader, Stop};
use self::writer::Writer;

/// One connection's state: about a hundred bytes, and no buffer while it is idle.
///
/// It keeps what is incomplete of the HTTP head ([`crate::limits::HEAD_BYTES_MAX`]), of a frame's
/// header (14 bytes) and of a control frame (125 bytes), and never the payload of a data frame.
#[derive(Debug)]
pub struct WebSocket {
    /// Until the upgrade is granted; what was refused stays, to be told.
    handshake: Option<Box<Handshake>>,
    reader: Reader,
    writer: Writer,
    /// What the request said of whom a proxy brings, until it is taken.
    forwarded_for: Option<Box<str>>,
    ending: Option<Ending>,
}

/// Why nothing more comes out of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ending {
    /// It never was one: the answer to the HTTP request says why.
    Refused,
    /// The peer said close, with this code.
    Said(Option<CloseCode>),
    /// The peer broke the protocol; the code says how.
    Broken(CloseCode),
}

impl WebSocket {
    /// The state of a connection that was just accepted.
    pub fn new(offer: Arc<Offer>) -> Self {
        Self {
            handshake: Some(Box::new(Handshake::new(offer))),
            reader: Reader::default(),
            writer: Writer::default(),
            forwarded_for: None,
            ending: None,
        }
    }

    /// Takes bytes that were read. Bytes of packets are at their front afterwards; returns how
    /// many. After the end there are none.
    pub fn take(&mut self, mut bytes: &mut [u8]) -> usize {
        if self.ending.is_some() {
            return 0;
        }
        if let Some(handshake) = &mut self.handshake {
            let (taken, answer) = handshake.take(bytes);
            let Some(Answer { response, is_welcome, forwarded_for }) = answer else { return 0 };
            self.forwarded_for = forwarded_for;
            self.writer.answer(response);
            if !is_welcome {
                self.ending = Some(Ending::Refused);
                return 0;
            }
            self.handshake = None;
            // Clients have to wait for the answer; those that do not lose nothing.
            bytes.copy_within(taken.., 0);
            let rest = bytes.len() - taken;
            bytes = &mut bytes[..rest];
        }
        let (payload, stop) = self.reader.take(bytes);
        if let Some(ping) = self.reader.ping.take() {
            self.writer.pong(ping);
        }
        self.ending = stop.map(|stop| match stop {
            Stop::Said(code) => Ending::Said(code),
            Stop::Broken(code) => Ending::Broken(code),
        });
        payload
    }

    /// What to write next, in two parts that belong together; nothing if both are empty. Bytes
    /// of the outbox are in the second part only, and stay at its front until they are
    /// [`WebSocket::sent`].
    pub fn pending<'a>(&'a mut self, outbox: &'a [u8]) -> [&'a [u8]; 2] {
        let is_open = self.is_open();
        self.writer.pending(if is_open { outbox } else { &[] })
    }

    /// Takes note that so many bytes of what was pending are written. Returns how many of them
    /// were the outbox's.
    pub fn sent(&mut self, bytes: usize) -> usize {
        self.writer.sent(bytes)
    }

    /// Says close behind what is pending: the peer's own code, what the peer did wrong, or else
    /// this code. The outbox is not read any more.
    pub fn close(&mut self, code: CloseCode) {
        if self.is_open() {
            self.writer.close(match self.ending {
                Some(Ending::Said(code)) => code,
                Some(Ending::Broken(code)) => Some(code),
                Some(Ending::Refused) | None => Some(code),
            });
        }
    }

    /// Whether something is to be written beside the outbox.
    pub fn has_pending(&self) -> bool {
        self.writer.has_pending()
    }

    /// Why nothing more comes, once that is so.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Who was refused the upgrade, and why.
    pub fn refused(&self) -> Option<Refused> {
        self.handshake.as_ref()?.refused()
    }

    /// Whether the upgrade is granted.
    pub fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// What the request said in `X-Forwarded-For`, once it is granted: all such fields, with commas
    /// between them.
    pub fn take_forwarded_for(&mut self) -> Option<Box<str>> {
        self.forwarded_for.take()
    }
}

#[cfg(test)]
mod tests;
