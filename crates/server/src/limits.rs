//! Bounds, each with its reason. Those of a turn stand where the turn is, in `event_loop`.

/// Bytes of the HTTP head that asks for a WebSocket: what browsers send with the cookies of a
/// site, and what many who never finish theirs may cost.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Fields of such a head: browsers send about 20, and proxies add a few.
pub const HEAD_FIELDS_MAX: usize = 64;

/// Payload bytes that a WebSocket frame of a client may declare: the largest packet of MQTT, which
/// has 268,435,455 bytes behind five of its header. Nothing is kept for a frame, whatever it says.
pub const FRAME_BYTES_MAX: u64 = 268_435_460;

/// Payload bytes of one WebSocket frame to a client: what clients take that bound the length of a
/// message tightly, and what a pong waits for at most. A larger packet spans several frames.
pub const FRAME_BYTES_OUT_MAX: u16 = 32 * 1024;
