//! Codes of close frames (RFC 6455, section 7.4).

/// A code that may stand in a close frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All is done.
    pub const NORMAL: Self = Self(1000);
    /// The node ends.
    pub const GOING_AWAY: Self = Self(1001);
    /// The frames break RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Text, where MQTT has binary frames only [MQTT-6.0.0-1].
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// The reason beside the peer's own code is no text.
    pub const INVALID_DATA: Self = Self(1007);
    /// A frame declares more than [`crate::limits::FRAME_BYTES_MAX`].
    pub const TOO_BIG: Self = Self(1009);

    /// The code, if an endpoint may send it (section 7.4.2). 1004 to 1006 and 1015 never stand in
    /// a frame; 1012 to 1014 were registered later.
    pub fn new(code: u16) -> Option<Self> {
        let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        is_valid.then_some(Self(code))
    }

    /// As it stands in the frame.
    pub fn number(self) -> u16 {
        self.0
    }
}
