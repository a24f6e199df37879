//! From packets to bytes, appended to a vector. PUBLISH has its own writer in `packet/publish.rs`.

use crate::decode::kind;
use crate::packet::{Packet, PacketId, Version};
use crate::reason::ReasonCode;
use crate::wire::put_variable_integer;

/// PINGREQ, whole.
pub const PINGREQ: [u8; 2] = [kind::PINGREQ << 4, 0];

/// PINGRESP, whole.
pub const PINGRESP: [u8; 2] = [kind::PINGRESP << 4, 0];

impl Packet<'_> {
    /// Appends the packet as `version` writes it: 3.1.1 leaves properties and reason codes out,
    /// and writes nothing at all for AUTH, which it does not have. CONNECT follows its own version.
    /// Whether the packet means anything in 3.1.1, such as a PUBLISH without topic, is for the
    /// caller to know.
    ///
    /// # Panics
    /// If a field has more than 65,535 bytes or the packet more than [`crate::PACKET_BYTES_MAX`].
    /// Whatever was decoded in one version fits when encoded in the same.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::Publish(publish) => return publish.encode(version, out),
            Self::Pingreq | Self::Pingresp => {}
            Self::Auth(_) if !version.has_properties() => return,
            Self::Connect(connect) => connect.encode_body(out),
            Self::Connack(connack) => connack.encode_body(version, out),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.encode_body(version, out);
            }
            Self::Subscribe(subscribe) => subscribe.encode_body(version, out),
            Self::Suback(suback) => suback.encode_body(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode_body(version, out),
            Self::Unsuback(unsuback) => unsuback.encode_body(version, out),
            Self::Disconnect(disconnect) => disconnect.encode_body(version, out),
            Self::Auth(auth) => auth.encode_body(out),
        }
        insert_header(self.kind(), start, out);
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Connect(_) => kind::CONNECT,
            Self::Connack(_) => kind::CONNACK,
            Self::Publish(_) => kind::PUBLISH,
            Self::Puback(_) => kind::PUBACK,
            Self::Pubrec(_) => kind::PUBREC,
            Self::Pubrel(_) => kind::PUBREL,
            Self::Pubcomp(_) => kind::PUBCOMP,
            Self::Subscribe(_) => kind::SUBSCRIBE,
            Self::Suback(_) => kind::SUBACK,
            Self::Unsubscribe(_) => kind::UNSUBSCRIBE,
            Self::Unsuback(_) => kind::UNSUBACK,
            Self::Pingreq => kind::PINGREQ,
            Self::Pingresp => kind::PINGRESP,
            Self::Disconnect(_) => kind::DISCONNECT,
            Self::Auth(_) => kind::AUTH,
        }
    }
}

/// Appends a PUBACK without properties.
#[inline]
pub fn encode_puback(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    put_answer(kind::PUBACK, out, version, id, reason);
}

/// Appends a PUBREC without properties.
#[inline]
pub fn encode_pubrec(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    put_answer(kind::PUBREC, out, version, id, reason);
}

/// Appends a PUBREL without properties.
#[inline]
pub fn encode_pubrel(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    put_answer(kind::PUBREL, out, version, id, reason);
}

/// Appends a PUBCOMP without properties.
#[inline]
pub fn encode_pubcomp(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    put_answer(kind::PUBCOMP, out, version, id, reason);
}

/// Success needs no reason code, and a reason code no property length (section 3.4.2.1).
#[inline]
fn put_answer(kind: u8, out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    let [high, low] = id.value().to_be_bytes();
    let first = (kind << 4) | kind::flags(kind);
    if version.has_properties() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.value()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Puts the fixed header before the body that begins at `start`: written behind it and rotated to
/// the front. PUBLISH, which may be large, computes its length beforehand instead.
fn insert_header(kind: u8, start: usize, out: &mut Vec<u8>) {
    let body_end = out.len();
    out.push((kind << 4) | kind::flags(kind));
    put_variable_integer(body_end - start, out);
    let header = out.len() - body_end;
    out[start..].rotate_right(header);
}
