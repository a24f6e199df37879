//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446), the server's side, without I/O.
//!
//! Records of a client go in and the bytes within them come out; bytes go in and records come out.
//! The buffers are the caller's: a connection keeps the record that is not whole yet, what the
//! system has not taken, and nothing while it is idle
//! ([0020](../../../docs/decisions/0020-tls.md)).

mod certificates;
mod clients;
mod configuration;
mod error;
mod showing;
mod subject;

use std::fmt;
use std::sync::Arc;

use bellbird_core::Proven;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

pub use self::clients::{ClientSettings, Demand, Template};
use self::clients::{Naming, Unnamed};
pub use self::configuration::{Tls, TlsSettings, TlsVersion};
pub use self::error::TlsError;
pub(crate) use self::showing::Showing;

/// One connection's state.
pub(crate) struct TlsStream {
    connection: UnbufferedServerConnection,
    /// What certificates of clients say, as long as the handshake lasts.
    naming: Option<Arc<Naming>>,
    /// What the client's has said.
    proven: Option<Proven>,
    /// What was read and is no whole record yet, or no whole message of the handshake.
    kept: Vec<u8>,
    /// Records that are to be written, and how many bytes of them are.
    outgoing: Vec<u8>,
    written: usize,
    ending: Option<Ending>,
}

/// Why nothing more comes out of a connection.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Ending {
    /// The peer said so (`close_notify`).
    Said,
    /// The peer broke the protocol, or nothing both sides know is left to agree on.
    Broken(rustls::Error),
    /// The peer sends a message of the handshake that is longer than any that is needed.
    TooLong,
    /// The peer's certificate is right, and does not say who it is.
    Unnamed(Unnamed),
}

impl TlsStream {
    /// The state of a connection that was just accepted.
    pub(crate) fn new(tls: &Tls) -> Self {
        Self {
            connection: tls.connection(),
            naming: tls.naming(),
            proven: None,
            kept: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            ending: None,
        }
    }

    /// Moves what is kept to the front of `wire`, to read behind it. Returns how many bytes
    /// these are: [`KEPT_BYTES_MAX`] at most.
    pub(crate) fn begin(&mut self, wire: &mut [u8]) -> usize {
        let kept = std::mem::take(&mut self.kept);
        wire[..kept.len()].copy_from_slice(&kept);
        kept.len()
    }

    /// Takes back what stood in front: nothing was read behind it.
    pub(crate) fn take_back(&mut self, kept: &[u8]) {
        self.kept = kept.to_vec();
    }

    /// Takes what stood in front, and what was read behind it. Appends what was within the
    /// records to `plain`; fewer bytes than the records have. After the end there are none.
    pub(crate) fn take(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) {
        if self.ending.is_some() {
            return;
        }
        match self.process(wire, plain) {
            Ok(used) if wire.len() - used > KEPT_BYTES_MAX => self.ending = Some(Ending::TooLong),
            Ok(used) => {
                self.kept = wire[used..].to_vec();
                if !self.connection.is_handshaking()
                    && let Some(naming) = self.naming.take()
                {
                    self.name(&naming, plain);
                }
            }
            Err(error) => self.ending = Some(Ending::Broken(error)),
        }
        if self.naming.is_some() {
            // Nobody has said yet who this is: whatever came along in the same read is nobody's.
            plain.clear();
        }
    }

    /// The handshake is done: says who the client is. If that is not to be had, it has said nothing.
    fn name(&mut self, naming: &Naming, plain: &mut Vec<u8>) {
        // Who needs one and has none has not come so far.
        let Some([certificate, ..]) = self.connection.peer_certificates() else { return };
        match naming.judge(certificate) {
            Ok(proven) => self.proven = Some(proven),
            Err(unnamed) => {
                plain.clear();
                self.ending = Some(Ending::Unnamed(unnamed));
            }
        }
    }

    /// Who the client is by its certificate, once after the handshake.
    pub(crate) fn take_proven(&mut self) -> Option<Proven> {
        self.proven.take()
    }

    /// Goes on as far as the bytes lead. Returns how many of them are done with.
    fn process(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, rustls::Error> {
        let (mut used, mut failure) = (0, None);
        loop {
            let (bytes, outcome) = self.step(&mut wire[used..], plain);
            used += bytes;
            let is_over = outcome.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                false
            });
            match failure {
                // What there is to say about it, an alert, comes with the next call, which needs the
                // rest of the bytes as well. Without one, there must be no next call.
                Some(error) if !self.connection.wants_write() => return Err(error),
                None if is_over => return Ok(used),
                Some(_) | None => {}
            }
        }
    }

    /// Goes on by one state. Returns how many bytes are done with, and whether it waits for more.
    fn step(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> (usize, Result<bool, rustls::Error>) {
        let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(wire);
        #[allow(clippy::wildcard_enum_match_arm)] // all others are the end of it
        let outcome = match state {
            Err(error) => Err(error),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut outcome = Ok(false);
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            plain.extend_from_slice(record.payload);
                        }
                        Err(error) => outcome = Err(error),
                    }
                }
                outcome
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(&mut self.outgoing, ALERT_BYTES, |room| match data.encode(room) {
                    Ok(bytes) => Ok(bytes),
                    Err(EncodeError::InsufficientSize(room)) => Err(room.required_size),
                    // It cannot be: this is the first call.
                    Err(EncodeError::AlreadyEncoded) => Ok(0),
                });
                Ok(false)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(false)
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.ending = Some(Ending::Said);
                Ok(true)
            }
            // It waits for more, or is ready to write; early data is not offered.
            Ok(_) => Ok(true),
        };
        (discard, outcome)
    }

    /// Whether bytes can be sealed: the handshake is done.
    pub(crate) fn is_open(&self) -> bool {
        // Whoever ended otherwise has left the library's state without the bytes that belong to it.
        let is_whole = matches!(self.ending, None | Some(Ending::Said | Ending::Unnamed(_)));
        is_whole && !self.connection.is_handshaking()
    }

    /// Whether the client and this side still agree on keys, which takes a thousand times as long
    /// as a message.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Makes records of bytes, [`SEALED_BYTES_MAX`] at most, into `wire`. Returns how long the
    /// records are; an error if the keys are used up (RFC 8446, section 5.5) and the peer has not
    /// taken new ones.
    pub(crate) fn seal(&mut self, plain: &[u8], wire: &mut [u8]) -> Result<usize, EncryptError> {
        // The part of a handshake message that is kept belongs to the connection's state.
        let status = self.connection.process_tls_records(&mut self.kept);
        match status.state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(plain, wire),
            // All that was to be done first was done when the bytes came.
            Ok(_) | Err(_) => Err(EncryptError::EncryptExhausted),
        }
    }

    /// Records that are to be written before all others.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.outgoing[self.written..]
    }

    /// Takes note that so many bytes of what was pending are written.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.outgoing.len() {
            self.outgoing = Vec::new();
            self.written = 0;
        }
    }

    /// Keeps records that the system did not take. Nothing is pending.
    pub(crate) fn keep(&mut self, records: &[u8]) {
        self.outgoing = records.to_vec();
        self.written = 0;
    }

    /// Says `close_notify` behind what is pending, if there is a connection to close.
    pub(crate) fn close(&mut self) {
        if !self.is_open() {
            return;
        }
        let status = self.connection.process_tls_records(&mut self.kept);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            append(&mut self.outgoing, ALERT_BYTES, |room| {
                match traffic.queue_close_notify(room) {
                    Ok(bytes) => Ok(bytes),
                    Err(EncryptError::InsufficientSize(room)) => Err(room.required_size),
                    Err(EncryptError::EncryptExhausted) => Ok(0),
                }
            });
        }
    }

    /// Why nothing more comes, once that is so.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Bytes of memory that wait for the peer, beside the state of the connection.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.len() + self.outgoing.len()
    }
}

/// Appends what `fill` writes: it is given room, and says how much it used or how much it needs.
fn append(to: &mut Vec<u8>, room: usize, mut fill: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    let start = to.len();
    let mut room = room;
    // The second time it is as much as it said.
    for _ in 0..2 {
        to.resize(start + room, 0);
        match fill(&mut to[start..]) {
            Ok(bytes) => return to.truncate(start + bytes),
            Err(needed) => room = needed,
        }
    }
    to.truncate(start);
}

/// As the operator reads it, with what to do about it where that is known.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said => f.write_str("the client has closed it"),
            Self::TooLong => {
                write!(f, "the client's handshake has a message of over {KEPT_BYTES_MAX} bytes")
            }
            Self::Unnamed(unnamed) => unnamed.fmt(f),
            Self::Broken(error) => f.write_str(&error::in_words(error)),
        }
    }
}

/// What one record carries at most (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
/// What a record takes beside what it carries: 5 bytes of header, and a nonce of 8 and 32 bytes at
/// its end at most.
const RECORD_HEAD_BYTES: usize = 64;
/// Bytes that are sealed at a time: three records of full size.
pub(crate) const SEALED_BYTES_MAX: usize = 3 * RECORD_BYTES_MAX;
/// What these take as records.
pub(crate) const SEALED_WIRE_BYTES: usize = 3 * (RECORD_BYTES_MAX + RECORD_HEAD_BYTES);
/// What is kept of what a client has sent: a record, or messages of a handshake with long
/// certificates.
const KEPT_BYTES_MAX: usize = 32 * 1024;
/// Enough for an alert; a flight of the handshake says how much it needs.
const ALERT_BYTES: usize = 64;

#[cfg(test)]
mod tests;
