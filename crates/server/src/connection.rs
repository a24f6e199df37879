//! The connection driver's inner half: bytes become packets and go to the core, within bounds.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bellbird_codec::{DecodeError, Decoded, decode, peek_version};
use bellbird_core::{ConnectionId, Flow, Input, Shard, Time, View};

/// What handing bytes to the core came to.
pub(crate) struct Fed {
    /// Bytes that were taken as packets.
    pub(crate) taken: usize,
    /// Bytes that are needed before the rest can be a packet; 0 if the rest is parked.
    pub(crate) needed: usize,
    /// Whether the turn's budget ended it.
    pub(crate) is_over_budget: bool,
}

/// What all connections may use of a turn: bytes of outboxes, which is also the fairness among
/// them. Each touched connection costs a write, however little is in it: so a turn fills 2 MiB, or
/// 1 KiB for each of many. At 1:1,000 and full load a delivery takes 0.42 µs of CPU with 2 MiB, and
/// 1.33 µs with a quarter of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Budget {
    /// [`Shard::appended_bytes`] and [`Shard::announced`] when the turn began.
    appended_bytes: u64,
    announced: u64,
}

impl Budget {
    /// That of a turn which begins now.
    pub(crate) fn new(core: &Shard) -> Self {
        Self { appended_bytes: core.appended_bytes(), announced: core.announced() }
    }

    /// Whether the turn is over.
    pub(crate) fn is_spent(self, core: &Shard) -> bool {
        let bytes = core.appended_bytes() - self.appended_bytes;
        bytes >= TURN_BYTES
            && bytes >= TURN_BYTES_MAX.min(CONNECTION_BYTES * (core.announced() - self.announced))
    }
}

/// What a turn fills of outboxes at least, before they are flushed.
const TURN_BYTES: u64 = 2 << 20;
/// The same for each connection among many: what costs about as much to write as the write.
const CONNECTION_BYTES: u64 = 1 << 10;
/// Outboxes take memory until they are flushed.
const TURN_BYTES_MAX: u64 = 16 << 20;

/// Hands the packets at the front of `bytes` to the core, as far as it takes them.
pub(crate) fn feed(
    core: &mut Shard,
    now: Time,
    view: &dyn View,
    id: ConnectionId,
    bytes: &[u8],
    budget: Budget,
) -> Fed {
    let mut fed = Fed { taken: 0, needed: 0, is_over_budget: false };
    if core.is_parked(id) {
        return fed;
    }
    let is_decoding = Cell::new(false);
    let hand_in = || hand_in(core, now, view, id, bytes, budget, &is_decoding, &mut fed);
    let error = match catch_unwind(AssertUnwindSafe(hand_in)) {
        Ok(Ok(())) => return fed,
        Ok(Err(error)) => error,
        // A panic in the codec ends this connection only.
        Err(_) if is_decoding.get() => DecodeError::PacketType,
        Err(panic) => resume_unwind(panic),
    };
    let rest = &bytes[fed.taken..];
    let looks_like = resemblance(rest).unwrap_or_default();
    log::debug!("connection {}/{}: no packet: {error}{looks_like}", id.index, id.generation);
    let version = peek_version(rest);
    let _flow = core.handle(now, Input::Malformed { connection: id, error, version }, view);
    fed
}

/// Says while it decodes that it does. An error is that of the bytes which were not taken.
///
/// What is caught is caught around the whole: a packet just read is used where it stands, for to
/// move it out of a closure costs more than to read it.
#[allow(clippy::too_many_arguments)] // those of `feed`, and where to note how far it came
fn hand_in(
    core: &mut Shard,
    now: Time,
    view: &dyn View,
    id: ConnectionId,
    bytes: &[u8],
    budget: Budget,
    is_decoding: &Cell<bool>,
    fed: &mut Fed,
) -> Result<(), DecodeError> {
    let mut version = core.version(id);
    let mut packet_bytes_max = core.packet_bytes_max(id);
    while fed.taken < bytes.len() {
        let rest = &bytes[fed.taken..];
        is_decoding.set(true);
        let decoded = decode(rest, version, packet_bytes_max);
        is_decoding.set(false);
        match decoded {
            Ok(Decoded::Packet { ref packet, len }) => {
                let flow = core.handle(now, Input::Packet { connection: id, packet }, view);
                if flow != Flow::Again {
                    fed.taken += len;
                }
                if flow != Flow::Continue {
                    return Ok(());
                }
                if version.is_none() {
                    version = core.version(id);
                    packet_bytes_max = core.packet_bytes_max(id);
                }
                if budget.is_spent(core) {
                    fed.is_over_budget = true;
                    return Ok(());
                }
            }
            Ok(Decoded::Incomplete { needed }) => {
                fed.needed = needed;
                return Ok(());
            }
            // Not before what waits for the view: it is answered first.
            Err(_) if core.is_parked(id) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What bytes are that are no MQTT, where that is plain to see: most often somebody took one port
/// for another.
fn resemblance(bytes: &[u8]) -> Option<&'static str> {
    let is_http = ["GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "DELETE ", "CONNECT "];
    if is_http.iter().any(|method| bytes.starts_with(method.as_bytes())) {
        Some("; it looks like HTTP: a WebSocket needs a listener of its own")
    } else if bytes.starts_with(&[0x16, 0x03]) {
        Some("; it looks like TLS, which needs a listener of its own")
    } else {
        None
    }
}
