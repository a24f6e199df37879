//! The bounds of this crate, each with its reason.

/// Bytes in a topic name, filter or share name: what the two length bytes of an MQTT string
/// can say [MQTT-1.5.4, MQTT-4.7.3-3].
pub const TEXT_BYTES_MAX: usize = 65_535;

/// Levels in a filter.
/// Each level may cost a node of the index, so 64 kB of slashes must not buy 65,536 nodes.
/// The specification has no such limit; 128 is far beyond any naming scheme in use.
pub const FILTER_LEVELS_MAX: usize = 128;
