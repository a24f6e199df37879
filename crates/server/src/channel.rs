//! A stream and what stands between it and MQTT: a proxy's word, TLS, a WebSocket, or nothing. Bytes
//! of packets come out of it and outboxes go in. One for all transports.

use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellbird_core::Proven;

use crate::address::Peer;
use crate::front::{self, Front};
use crate::stages::Stage;
use crate::stream::Stream;
use crate::tls::{self, SEALED_BYTES_MAX, SEALED_WIRE_BYTES, TlsStream};
use crate::websocket::{self, CloseCode, WebSocket};

/// One connection's way, from the outside inwards.
pub(crate) struct Channel {
    pub(crate) stream: Stream,
    front: Option<Box<Front>>,
    tls: Option<Box<TlsStream>>,
    websocket: Option<Box<WebSocket>>,
}

/// What all channels of a shard read into and write from.
#[derive(Default)]
pub(crate) struct Buffers {
    /// What the system reads and writes.
    wire: Vec<u8>,
    /// What is within records of TLS.
    plain: Vec<u8>,
}

/// What one read came to.
pub(crate) enum Got<'b> {
    /// Bytes, and those of packets that were in them: None if the connection is to end at once.
    Bytes { received: usize, is_drained: bool, payload: Option<&'b [u8]> },
    /// Nothing just now.
    Nothing,
    /// The peer is gone.
    End,
}

/// What sending an outbox came to.
pub(crate) enum Put {
    /// So many bytes of it left, and whether the system takes no more just now.
    Bytes { sent: usize, is_blocked: bool },
    /// The peer is gone.
    End,
}

/// Why no more packets come out of a channel.
#[derive(Debug)]
pub(crate) enum Ending {
    Front(front::Ending),
    Tls(tls::Ending),
    WebSocket(websocket::Ending),
}

impl Channel {
    pub(crate) fn new(
        stream: Stream,
        front: Option<Box<Front>>,
        tls: Option<Box<TlsStream>>,
        websocket: Option<Box<WebSocket>>,
    ) -> Self {
        Self { stream, front, tls, websocket }
    }

    /// Reads once, at most so many bytes.
    pub(crate) fn read<'b>(&mut self, buffers: &'b mut Buffers, bytes_max: usize) -> Got<'b> {
        let Buffers { wire, plain } = buffers;
        let kept = self.tls.as_mut().map_or(0, |tls| tls.begin(wire));
        let room = (wire.len() - kept).min(bytes_max);
        let count = match read(&mut self.stream, &mut wire[kept..kept + room]) {
            Ok(count) if count > 0 => count,
            outcome => {
                // Whatever comes of it: these bytes belong to the state of the connection.
                if let Some(tls) = &mut self.tls {
                    tls.take_back(&wire[..kept]);
                }
                let is_nothing =
                    outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
                return if is_nothing { Got::Nothing } else { Got::End };
            }
        };
        // A short read has drained it: the next bytes are a new edge.
        let is_drained = count < room;
        let wire = &mut wire[..kept + count];
        let is_sealed = self.tls.is_some();
        let payload = if self.is_layered() {
            // A panic in here ends this connection only.
            let unwrapped = catch_unwind(AssertUnwindSafe(|| self.unwrap(wire, plain)));
            unwrapped.ok().map(|found| if is_sealed { &plain[found] } else { &wire[found] })
        } else {
            Some(&*wire)
        };
        Got::Bytes { received: count, is_drained, payload }
    }

    /// Makes bytes that were read bytes of packets, in place; those within records of TLS in
    /// `plain`. Returns where these are.
    fn unwrap(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) -> Range<usize> {
        let Self { front, tls, websocket, .. } = self;
        plain.clear();
        let mut start = 0;
        if let Some(front) = front.as_mut().filter(|front| front.is_header()) {
            start = front.take(wire);
            if front.is_header() || front.ending().is_some() {
                return 0..0;
            }
        }
        let bytes = match tls {
            None => &mut wire[start..],
            Some(tls) => {
                tls.take(&mut wire[start..], plain);
                start = 0;
                plain
            }
        };
        let Some(websocket) = websocket else { return start..start + bytes.len() };
        let count = websocket.take(bytes);
        // Whoever is no proxy may have said it, too, and is not heard.
        let forwarded_for = websocket.take_forwarded_for();
        if let Some(front) = front.as_mut().filter(|front| front.is_request())
            && websocket.is_open()
        {
            front.hear(forwarded_for.as_deref());
            if front.ending().is_some() {
                return 0..0;
            }
        }
        start..start + count
    }

    /// Writes what is to be written before the outbox, and the outbox.
    pub(crate) fn send(&mut self, outbox: &[u8], buffers: &mut Buffers) -> Put {
        if self.tls.is_some() {
            return self.send_sealed(outbox, buffers);
        }
        let mut sent = 0;
        loop {
            let rest = &outbox[sent..];
            let [head, body] = match &mut self.websocket {
                Some(websocket) => websocket.pending(rest),
                None => [&[], rest],
            };
            let written = match (head, body) {
                ([], []) => return Put::Bytes { sent, is_blocked: false },
                ([], body) => self.stream.write(body),
                (head, []) => self.stream.write(head),
                _ => self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
            };
            match written {
                Ok(0) => return Put::End,
                Ok(count) => {
                    let websocket = self.websocket.as_mut();
                    sent += websocket.map_or(count, |websocket| websocket.sent(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Put::Bytes { sent, is_blocked: true };
                }
                Err(_) => return Put::End,
            }
        }
    }

    /// The same through TLS. What is sealed has left the outbox, though the system may not have
    /// taken it: that is [`SEALED_WIRE_BYTES`] at most.
    fn send_sealed(&mut self, outbox: &[u8], buffers: &mut Buffers) -> Put {
        let Self { stream, tls: Some(tls), websocket, .. } = self else { return Put::End };
        let mut sent = 0;
        loop {
            while !tls.pending().is_empty() {
                match write(stream, tls.pending()) {
                    Ok(0) | Err(None) => return Put::End,
                    Ok(count) => tls.sent(count),
                    Err(Some(Blocked)) => return Put::Bytes { sent, is_blocked: true },
                }
            }
            if !tls.is_open() {
                return Put::Bytes { sent, is_blocked: false };
            }
            let Buffers { wire, plain } = buffers;
            let rest = &outbox[sent..];
            let bytes = match websocket {
                None => {
                    let bytes = &rest[..rest.len().min(SEALED_BYTES_MAX)];
                    sent += bytes.len();
                    bytes
                }
                Some(websocket) => {
                    sent += frame(websocket, rest, plain);
                    plain
                }
            };
            if bytes.is_empty() {
                return Put::Bytes { sent, is_blocked: false };
            }
            // A panic in here ends this connection only.
            let sealed = catch_unwind(AssertUnwindSafe(|| tls.seal(bytes, wire)));
            let Ok(Ok(sealed)) = sealed else { return Put::End };
            let mut records = &wire[..sealed];
            while !records.is_empty() {
                match write(stream, records) {
                    Ok(0) | Err(None) => return Put::End,
                    Ok(count) => records = &records[count..],
                    Err(Some(Blocked)) => {
                        tls.keep(records);
                        return Put::Bytes { sent, is_blocked: true };
                    }
                }
            }
        }
    }

    /// Says goodbye to the peer of the WebSocket, behind what is sent. Whether there is one.
    pub(crate) fn close_websocket(&mut self, code: CloseCode) -> bool {
        if let Some(websocket) = &mut self.websocket {
            websocket.close(code);
        }
        self.websocket.is_some()
    }

    /// Says goodbye to the peer of TLS, behind what is sent. Whether there is one.
    pub(crate) fn close_tls(&mut self) -> bool {
        if let Some(tls) = &mut self.tls {
            // A panic in here ends the connection without a word, as it is to end.
            let _said = catch_unwind(AssertUnwindSafe(|| tls.close()));
        }
        self.tls.is_some()
    }

    /// Whether there is anything between the stream and MQTT.
    pub(crate) fn is_layered(&self) -> bool {
        self.tls.is_some()
            || self.websocket.is_some()
            || self.front.as_ref().is_some_and(|front| front.is_header())
    }

    /// Whether this comes before MQTT.
    pub(crate) fn has_stage(&self, stage: Stage) -> bool {
        match stage {
            Stage::Proxy => self.front.as_ref().is_some_and(|front| front.is_header()),
            Stage::Tls => self.is_handshaking(),
            Stage::Request => self.websocket.as_ref().is_some_and(|socket| !socket.is_open()),
        }
    }

    /// What it is at, if it has not come as far as MQTT.
    pub(crate) fn stage(&self) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| self.has_stage(*stage))
    }

    /// Who is at the other end: whom the proxy brings, if one does.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.front.as_ref().and_then(|front| front.peer()).or_else(|| self.stream.peer())
    }

    /// Whether the next bytes may ask for the long work of a handshake.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Who the client is, if TLS or a proxy has found that out since the last call.
    pub(crate) fn take_proven(&mut self) -> Option<Proven> {
        let by_tls = self.tls.as_mut().and_then(|tls| tls.take_proven());
        by_tls.or_else(|| self.front.as_mut()?.take_proven())
    }

    /// Whether something is to be written beside the outbox.
    pub(crate) fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.pending().is_empty())
            || self.websocket.as_ref().is_some_and(|websocket| websocket.has_pending())
    }

    /// Whether no more packets come out of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.ending().is_some())
            || self.websocket.as_ref().is_some_and(|websocket| websocket.ending().is_some())
            || self.front.as_ref().is_some_and(|front| front.ending().is_some())
    }

    /// Why, once that is so: what ended first, which is what is within.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let within = self.websocket.as_ref().and_then(|websocket| websocket.ending());
        let around = || self.tls.as_ref()?.ending().cloned();
        let before = || self.front.as_ref()?.ending().cloned();
        let within = within.map(Ending::WebSocket).or_else(|| around().map(Ending::Tls));
        within.or_else(|| before().map(Ending::Front))
    }

    /// Who was refused an upgrade to WebSocket, and why.
    pub(crate) fn refused(&self) -> Option<websocket::Refused> {
        self.websocket.as_ref().and_then(|websocket| websocket.refused())
    }

    /// Bytes of memory that wait for the peer.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.kept_bytes())
    }
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { wire: vec![0; WIRE_BYTES], plain: Vec::new() }
    }
}

/// Fills a buffer with frames, as many bytes as are sealed at a time. Returns how many bytes of
/// the outbox are in there.
fn frame(websocket: &mut WebSocket, outbox: &[u8], plain: &mut Vec<u8>) -> usize {
    plain.clear();
    let mut sent = 0;
    loop {
        let [head, body] = websocket.pending(&outbox[sent..]);
        let body = &body[..body.len().min(SEALED_BYTES_MAX - plain.len() - head.len())];
        plain.extend_from_slice(head);
        plain.extend_from_slice(body);
        let count = head.len() + body.len();
        if count == 0 {
            return sent;
        }
        sent += websocket.sent(count);
        if plain.len() + FRAME_HEAD_BYTES > SEALED_BYTES_MAX {
            return sent;
        }
    }
}

fn read(stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The system takes no more just now.
struct Blocked;

/// An error that is not [`Blocked`] means that the peer is gone.
fn write(stream: &mut Stream, bytes: &[u8]) -> Result<usize, Option<Blocked>> {
    loop {
        match stream.write(bytes) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Some(Blocked)),
            Err(_) => return Err(None),
        }
    }
}

/// One read takes at most this much: what a loopback socket holds, and what fits into L2.
const WIRE_BYTES: usize = 64 * 1024;
const _: () = assert!(SEALED_WIRE_BYTES <= WIRE_BYTES);
/// The longest control frame that goes out, or the header of a data frame.
const FRAME_HEAD_BYTES: usize = 4 + 125;
