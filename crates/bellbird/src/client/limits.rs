//! The bounds of the commands, each with the reason for its number.

use std::time::Duration;

/// One address of a broker gets so long to answer the call; a name may have several.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// A broker that took the call gets so long for its CONNACK, which may wait for an
/// authentication server behind it.
pub(crate) const CONNACK_PATIENCE: Duration = Duration::from_secs(15);

/// A broker that takes not one byte for so long is gone.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// At the end: for the broker to close after DISCONNECT, and before that for handshakes of QoS 2
/// of messages that were printed.
pub(crate) const FAREWELL_PATIENCE: Duration = Duration::from_secs(3);

/// Packets, lines and signals that wait for the deciding thread. When it is full, the readers wait,
/// and with them the broker.
pub(crate) const EVENTS_WAITING_MAX: usize = 256;

/// Bytes read from the socket or collected from lines at once, and bytes written at once.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Events handled before output is flushed and acknowledged, so that neither waits for the other.
pub(crate) const BATCH_EVENTS_MAX: usize = 256;

/// Retained messages found but not yet cleared by `--remove-retained`; beyond it the command fails
/// and may be run again.
pub(crate) const REMOVALS_WAITING_MAX: usize = 1_000_000;

/// Strings and binary data of the protocol, whose length has two bytes.
pub(crate) const FIELD_BYTES_MAX: usize = 65_535;
