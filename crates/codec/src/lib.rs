//! MQTT packets and their bytes, for MQTT 3.1, 3.1.1 and 5.0, in one packet model.
//!
//! A packet borrows from the buffer it was decoded from; decoding allocates nothing, and costs
//! time linear in the packet. Packets carry data and decide nothing: what depends on the state of
//! a session (aliases in use, quotas, an empty client identifier) is left to the session.

mod decode;
mod encode;
mod error;
mod packet;
mod properties;
mod property;
mod reason;
mod wire;

pub use decode::{Decoded, decode, decode_from_server};
pub use encode::{PINGREQ, PINGRESP, encode_puback, encode_pubcomp, encode_pubrec, encode_pubrel};
pub use error::DecodeError;
pub use packet::{
    Acknowledgement, Auth, Connack, Connect, Disconnect, NoQoS, Packet, PacketId, Publish,
    PublishFrame, PublishParts, QoS, RetainHandling, Suback, Subscribe, SubscribeBuffer,
    SubscribeFilter, SubscribeFilters, SubscribeFiltersIter, SubscribeOptions, Unsuback,
    Unsubscribe, UnsubscribeBuffer, UnsubscribeFilters, UnsubscribeFiltersIter, Version, Will,
    encode_publish, peek_version, publish_len,
};
pub use properties::{Properties, PropertiesIter, PropertyBuffer};
pub use property::Property;
pub use reason::{ReasonCode, UnknownReasonCode};
pub use wire::PACKET_BYTES_MAX;
