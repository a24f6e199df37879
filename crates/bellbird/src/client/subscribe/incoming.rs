//! Messages on their way from the broker: topic aliases, handshakes of QoS 2, and the answers that
//! are due once a message is written out.

use std::collections::{BTreeMap, BTreeSet};

use bellbird_codec::{Acknowledgement, Packet, PacketId, Properties, Publish, QoS, ReasonCode};

use crate::client::failure::Failure;

/// The receiving side of one connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    alias_max: u16,
    aliases: BTreeMap<u16, String>,
    /// Ids of QoS 2 that wait for PUBREL: at most all 65,535.
    unreleased: BTreeSet<PacketId>,
    answers: Vec<Packet<'static>>,
}

impl Incoming {
    /// Nothing received yet; the broker may use aliases up to `alias_max`.
    pub(crate) fn new(alias_max: u16) -> Self {
        Self {
            alias_max,
            aliases: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            answers: Vec::new(),
        }
    }

    /// The topic, whether by name or by alias.
    pub(crate) fn topic(&mut self, publish: &Publish<'_>) -> Result<String, Failure> {
        let name = publish.topic.map(|topic| topic.as_str().to_owned());
        let Some(alias) = publish.properties.topic_alias() else {
            return Ok(name.unwrap_or_default());
        };
        if alias > self.alias_max {
            return Err(Failure::Lost(format!(
                "the broker used topic alias {alias}, and {} is the highest it may use",
                self.alias_max
            )));
        }
        if let Some(name) = name {
            self.aliases.insert(alias, name.clone());
            return Ok(name);
        }
        self.aliases.get(&alias).cloned().ok_or_else(|| {
            Failure::Lost(format!("the broker used topic alias {alias} before it gave it a name"))
        })
    }

    /// Whether this came before and was answered, but not yet released [MQTT-4.3.3-10].
    pub(crate) fn is_repetition(&self, publish: &Publish<'_>) -> bool {
        publish.qos == QoS::ExactlyOnce
            && publish.packet_id.is_some_and(|id| self.unreleased.contains(&id))
    }

    /// Prepares the answer to a message that was taken.
    pub(crate) fn answer(&mut self, publish: &Publish<'_>) {
        let Some(id) = publish.packet_id else { return };
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answers.push(Packet::Puback(answer(id, ReasonCode::Success))),
            QoS::ExactlyOnce => {
                self.unreleased.insert(id);
                self.answers.push(Packet::Pubrec(answer(id, ReasonCode::Success)));
            }
        }
    }

    /// A PUBREL; one of an earlier connection is answered as well, so that the broker is done.
    pub(crate) fn on_pubrel(&mut self, id: PacketId) {
        let reason = if self.unreleased.remove(&id) {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answers.push(Packet::Pubcomp(answer(id, reason)));
    }

    /// The answers that are due.
    pub(crate) fn take_answers(&mut self) -> Vec<Packet<'static>> {
        std::mem::take(&mut self.answers)
    }

    /// Whether no handshake is open.
    pub(crate) fn is_settled(&self) -> bool {
        self.unreleased.is_empty() && self.answers.is_empty()
    }
}

fn answer(packet_id: PacketId, reason: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement { packet_id, reason, properties: Properties::EMPTY }
}

#[cfg(test)]
mod tests {
    use bellbird_codec::{Property, PropertyBuffer};
    use bellbird_topics::TopicName;

    use super::*;

    fn publish<'a>(topic: &'a str, qos: QoS, properties: &'a PropertyBuffer) -> Publish<'a> {
        Publish {
            dup: false,
            qos,
            retain: false,
            topic: TopicName::parse(topic).ok(),
            packet_id: PacketId::new(7).filter(|_| qos != QoS::AtMostOnce),
            properties: properties.as_properties(),
            payload: b"",
            frame: b"",
        }
    }

    #[test]
    fn each_qos_has_its_answers() {
        let none = PropertyBuffer::new();
        let mut incoming = Incoming::new(0);
        let id = PacketId::new(7).unwrap();
        incoming.answer(&publish("a", QoS::AtMostOnce, &none));
        assert!(incoming.is_settled());
        incoming.answer(&publish("a", QoS::AtLeastOnce, &none));
        let success = answer(id, ReasonCode::Success);
        assert_eq!(incoming.take_answers(), [Packet::Puback(success)]);
        let twice = publish("a", QoS::ExactlyOnce, &none);
        assert!(!incoming.is_repetition(&twice));
        incoming.answer(&twice);
        assert_eq!(incoming.take_answers(), [Packet::Pubrec(success)]);
        assert!(incoming.is_repetition(&twice));
        assert!(!incoming.is_settled());
        incoming.on_pubrel(id);
        assert_eq!(incoming.take_answers(), [Packet::Pubcomp(success)]);
        assert!(incoming.is_settled());
        incoming.on_pubrel(id);
        let unknown = answer(id, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(incoming.take_answers(), [Packet::Pubcomp(unknown)]);
    }

    #[test]
    fn aliases_stand_for_topics() {
        let alias = |number| {
            let mut buffer = PropertyBuffer::new();
            buffer.push(Property::TopicAlias(number));
            buffer
        };
        let mut incoming = Incoming::new(2);
        let mut topic = |name, alias: &PropertyBuffer| {
            incoming
                .topic(&publish(name, QoS::AtMostOnce, alias))
                .map_err(|failure| failure.status())
        };
        assert_eq!(topic("a", &PropertyBuffer::new()), Ok("a".to_owned()));
        assert_eq!(topic("", &alias(1)), Err(7), "no name yet");
        assert_eq!(topic("b", &alias(1)), Ok("b".to_owned()));
        assert_eq!(topic("", &alias(1)), Ok("b".to_owned()));
        assert_eq!(topic("c", &alias(3)), Err(7), "above the maximum");
    }
}
