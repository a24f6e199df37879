//! A message as it is printed.

use bellbird_codec::{Properties, QoS};

/// What came, whatever the version of MQTT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// Empty in 3.1.1.
    pub(crate) properties: Properties<'a>,
}
