//! What the strict profile refuses and the tolerant one lets pass and counts: what the standard
//! allows a server to refuse, and what real devices do.

use bellbird_codec::{Packet, Properties, Property, ReasonCode, Version};

use crate::connection::Phase;
use crate::contract::Flow;
use crate::event::Names;
use crate::identity::{ConnectionId, Time};
use crate::shard::Shard;

/// What a device may do that a server may refuse (`docs/profiles.md`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quirk {
    /// A control character or a non-character in a text (section 1.5.4).
    OddCharacters,
    /// A client identifier of 3.1 with more than 23 characters.
    LongClientId,
}

impl Quirk {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::OddCharacters, Self::LongClientId];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::OddCharacters => "odd_characters",
            Self::LongClientId => "long_client_id",
        }
    }
}

/// The quirk of a packet, if it has one.
pub(crate) fn quirk(packet: &Packet<'_>) -> Option<Quirk> {
    if has_odd_texts(packet) {
        return Some(Quirk::OddCharacters);
    }
    let Packet::Connect(connect) = packet else { return None };
    let is_old = connect.version == Version::V31;
    let is_long = is_old && connect.client_id.chars().count() > CLIENT_ID_MAX_31;
    is_long.then_some(Quirk::LongClientId)
}

fn has_odd_texts(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.as_ref();
            is_odd(connect.client_id)
                || connect.user_name.is_some_and(is_odd)
                || will.is_some_and(|will| is_odd(will.topic.as_str()) || says_odd(will.properties))
                || says_odd(connect.properties)
        }
        Packet::Publish(publish) => {
            publish.topic.is_some_and(|topic| is_odd(topic.as_str()))
                || says_odd(publish.properties)
        }
        Packet::Subscribe(subscribe) => {
            subscribe.filters.iter().any(|item| is_odd(item.text)) || says_odd(subscribe.properties)
        }
        Packet::Unsubscribe(unsubscribe) => {
            unsubscribe.filters.iter().any(|(text, _)| is_odd(text))
                || says_odd(unsubscribe.properties)
        }
        Packet::Connack(_)
        | Packet::Puback(_)
        | Packet::Pubrec(_)
        | Packet::Pubrel(_)
        | Packet::Pubcomp(_)
        | Packet::Suback(_)
        | Packet::Unsuback(_)
        | Packet::Pingreq
        | Packet::Pingresp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => false,
    }
}

impl Shard {
    /// What the strict profile does with a packet that has a quirk.
    pub(crate) fn refuse_quirk(&mut self, now: Time, id: ConnectionId, quirk: Quirk) -> Flow {
        let reason = match quirk {
            Quirk::OddCharacters => ReasonCode::MalformedPacket,
            Quirk::LongClientId => ReasonCode::ClientIdentifierNotValid,
        };
        match self.clients.connections.live(id).map(|connection| connection.phase) {
            Some(Phase::Fresh | Phase::Authenticating) => {
                self.refuse(now, id, Names::default(), reason)
            }
            Some(_) => self.break_off(now, id, reason),
            None => Flow::Park,
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // all others are numbers and bytes
fn says_odd(properties: Properties<'_>) -> bool {
    !properties.is_empty()
        && properties.iter().any(|property| match property {
            Property::ContentType(text)
            | Property::ResponseTopic(text)
            | Property::AuthenticationMethod(text) => is_odd(text),
            Property::UserProperty(name, value) => is_odd(name) || is_odd(value),
            _ => false,
        })
}

/// Control characters and non-characters, which a server may refuse (section 1.5.4).
fn is_odd(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    !is_plain
        && text.chars().any(|char| {
            let code = u32::from(char);
            char.is_control() || code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
        })
}

/// The longest client identifier of 3.1 (its section 3.1).
pub(crate) const CLIENT_ID_MAX_31: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters() {
        for odd in ["\u{1}", "a\u{7f}", "\u{85}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"] {
            assert!(is_odd(odd), "{odd:?}");
        }
        for fine in ["", "a/b", "\u{feff}", "ä€𝄞", "\u{fdcf}", "\u{fffd}"] {
            assert!(!is_odd(fine), "{fine:?}");
        }
    }
}
